package instanceprofile_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/instanceprofile"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/kindtest"
)

// setting is a world that the kind must work in.
type setting struct{ lag, idLag time.Duration }

const (
	roleName = "demo-role"
	trust    = `{"Version": "2012-10-17", "Statement": []}`
)

// build makes a world with the role in it, as the kind of the role leaves it.
func (s setting) build(t *testing.T) *kindtest.Bench {
	t.Helper()

	w, clock := kindtest.World()
	w.IAM.Lag, w.IAM.IDLag = s.lag, s.idLag

	b := kindtest.New(t, instanceprofile.New(w.IAM), w, clock, deploy.Spec{Tags: map[string]string{"team": "forecast"}}, "instance-profile")
	makeRole(t, b, roleName)

	b.Others["instance-role"] = kind.Other{ID: roleName, Outputs: map[string]string{"name": roleName}}

	return b
}

func count(_ *testing.T, b *kindtest.Bench) int {
	_, profiles := b.World.IAM.Names()

	return len(profiles)
}

func TestConformance(t *testing.T) {
	for name, s := range map[string]setting{
		"Plain":      {},
		"SlowToShow": {lag: 5 * time.Second, idLag: 15 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			kindtest.Suite(t, kindtest.Subject{
				Build: s.build, Count: count, Named: true,
				Foreign: func(t *testing.T, b *kindtest.Bench) {
					t.Helper()

					_, err := b.World.IAM.CreateInstanceProfile(t.Context(), &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String(strings.ToUpper(b.Name("instance")))})
					must(t, err)
					b.Clock.Advance(time.Hour) // whoever made it did so long ago
				},
				Drifts: map[string]kindtest.Drift{
					"RoleOut": {Property: "role", Change: takeOut},
					"OtherRoleIn": {Property: "role", Change: func(t *testing.T, b *kindtest.Bench) {
						t.Helper()
						takeOut(t, b)
						makeRole(t, b, "other")
						putIn(t, b, "other")
					}},
					"OwnersTagGone": {Property: "tags", Change: func(t *testing.T, b *kindtest.Bench) {
						t.Helper()

						_, err := b.World.IAM.UntagInstanceProfile(t.Context(), &iam.UntagInstanceProfileInput{InstanceProfileName: &b.ID, TagKeys: []string{"team"}})
						must(t, err)
					}},
				},
			})
		})
	}
}

// EC2 sees a new profile late: it is not handed on before three good looks running and 10 s of age.
func TestReadyIsLate(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		idLag  time.Duration
		pause  time.Duration
		want   time.Duration
	}{
		"ByAge":   {"three looks are over long before", 0, time.Second, 10 * time.Second},
		"ByLooks": {"a look every 8 s: one that puts the role in, and three that find all well", 0, 8 * time.Second, 24 * time.Second},
		"ByARN":   {"the ARN is malformed for 15 s, and good looks count from then on", 15 * time.Second, time.Second, 17 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			b := setting{idLag: tc.idLag}.build(t)
			start := b.Clock.Now()

			for {
				r, err := b.Look(t.Context(), deploy.Ensure)
				must(t, err)

				if r.Done {
					break
				}

				if b.Clock.Now().Sub(start) > time.Minute {
					t.Fatalf("not ready after a minute: %+v", r)
				}

				b.Clock.Advance(tc.pause)
			}

			if got := b.Clock.Now().Sub(start); got != tc.want {
				t.Errorf("ready after %s, want %s: %s", got, tc.want, tc.reason)
			}
		})
	}
}

// Looks at a profile that is too young to be handed on tell nothing. Its age is what AWS's clock says: where ours is behind, nobody can tell, and looking
// goes on as ever.
func TestYoungProfileIsLeftAlone(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		behind time.Duration
		want   int
	}{
		"Usual":       {"one look before the create, and the three that are wanted", 0, 4},
		"ClockBehind": {"one look each second", time.Hour, 11},
	} {
		t.Run(name, func(t *testing.T) {
			b := setting{}.build(t)
			b.World.Now = func() time.Time { return b.Clock.Now().Add(tc.behind) }

			for range 11 {
				_, err := b.Look(t.Context(), deploy.Ensure)
				must(t, err)
				b.Clock.Advance(time.Second)
			}

			got := 0

			for _, c := range b.World.Calls() {
				if c.Operation == "GetInstanceProfile" {
					got++
				}
			}

			if got != tc.want {
				t.Errorf("looks within 10 s: got %d, want %d: %s", got, tc.want, tc.reason)
			}
		})
	}
}

// stale is an IAM whose first looks at a profile do not show its role.
type stale struct {
	*awsfake.IAM
	looks int
}

func (s *stale) GetInstanceProfile(ctx context.Context, in *iam.GetInstanceProfileInput, opts ...func(*iam.Options)) (*iam.GetInstanceProfileOutput, error) {
	out, err := s.IAM.GetInstanceProfile(ctx, in, opts...)
	if err == nil && s.looks > 0 {
		s.looks--
		out.InstanceProfile.Roles = nil
	}

	return out, err
}

// A role that is in already, although the look did not show it, is no error: the next look reads which one.
func TestRoleIsInAlready(t *testing.T) {
	b := setting{}.build(t)

	_, err := b.Look(t.Context(), deploy.Ensure)
	must(t, err)

	api := &stale{IAM: b.World.IAM, looks: 2}
	b.Kind = instanceprofile.New(api)

	b.Ensure(t)

	if api.looks != 0 {
		t.Errorf("stale looks left: %d, want 0", api.looks)
	}

	refused := 0

	for _, c := range b.World.Calls() {
		if c.Code == "LimitExceeded" {
			refused++
		}
	}

	if refused != 2 {
		t.Errorf("refused calls: got %d, want 2", refused)
	}
}

// The role went away behind our back: the profile waits for it rather than fail.
func TestRoleDoesNotShowYet(t *testing.T) {
	b := setting{}.build(t)
	b.Others["instance-role"] = kind.Other{Outputs: map[string]string{"name": "late"}}

	for range 3 {
		r, err := b.Look(t.Context(), deploy.Ensure)
		if err != nil || r.Done {
			t.Fatalf("ensure: got %+v, %v, want to wait", r, err)
		}
	}

	makeRole(t, b, "late")
	b.Ensure(t)
}

func TestRoleIsNotKnown(t *testing.T) {
	b := setting{}.build(t)
	delete(b.Others, "instance-role")

	if _, err := b.Until(t.Context(), deploy.Ensure); !awserr.Is(err, deploy.Internal) {
		t.Errorf("ensure: got %v, want class internal", err)
	}
}

// Whatever role is in it comes out, also one that others have put there.
func TestRemoveWithAnotherRole(t *testing.T) {
	b := setting{}.build(t)
	b.Ensure(t)
	takeOut(t, b)
	makeRole(t, b, "other")
	putIn(t, b, "other")

	mark := len(b.World.Calls())

	for _, done := range []bool{false, true} {
		r, err := b.Look(t.Context(), deploy.Remove)
		must(t, err)

		if r.Done != done {
			t.Errorf("remove: got %+v, want done %t", r, done)
		}
	}

	if diff := cmp.Diff([]string{"RemoveRoleFromInstanceProfile", "DeleteInstanceProfile"}, b.Changes(mark)); diff != "" {
		t.Errorf("changing calls (-want +got):\n%s", diff)
	}

	if roles, _ := b.World.IAM.Names(); len(roles) != 2 {
		t.Errorf("roles: got %v, want both left", roles)
	}
}

func TestPlan(t *testing.T) {
	items := instanceprofile.New(nil).Plan(deploy.Spec{}.WithDefaults())
	if len(items) != 1 || !cmp.Equal(items[0].Needs, []deploy.Ref{"instance-role"}) {
		t.Errorf("items for the default spec: got %+v, want one that needs the instance role", items)
	}

	unmanaged := deploy.Spec{Compute: deploy.Compute{Environments: []deploy.Environment{{Name: "a", Type: deploy.Unmanaged}}}}
	if items := instanceprofile.New(nil).Plan(unmanaged.WithDefaults()); len(items) != 0 {
		t.Errorf("items without a managed environment: got %+v, want none", items)
	}
}

func TestLongestName(t *testing.T) {
	c := &kind.Call{Owner: deploy.Owner{Name: strings.Repeat("n", 24)}}
	if n := len(c.Name("instance")); n > 128 {
		t.Errorf("profile name: got %d characters, want at most 128", n)
	}
}

func makeRole(t *testing.T, b *kindtest.Bench, name string) {
	t.Helper()

	_, err := b.World.IAM.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: aws.String(trust)})
	must(t, err)
	b.Clock.Advance(b.World.IAM.Lag)
}

func putIn(t *testing.T, b *kindtest.Bench, role string) {
	t.Helper()

	_, err := b.World.IAM.AddRoleToInstanceProfile(t.Context(), &iam.AddRoleToInstanceProfileInput{InstanceProfileName: &b.ID, RoleName: &role})
	must(t, err)
}

func takeOut(t *testing.T, b *kindtest.Bench) {
	t.Helper()

	_, err := b.World.IAM.RemoveRoleFromInstanceProfile(t.Context(), &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: &b.ID, RoleName: aws.String(roleName)})
	must(t, err)
}

func must(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}
