package instancerole_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/instancerole"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/kindtest"
)

const (
	boundary = "arn:aws:iam::123456789012:policy/metaflow-deployer/boundary"
	trust    = `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}]}`
	policy   = "policy/service-role/AmazonEC2ContainerServiceforEC2Role"
)

// setting is a world that the kind must work in.
type setting struct {
	partition, region string
	lag, idLag        time.Duration
}

func (s setting) build(t *testing.T) *kindtest.Bench {
	t.Helper()

	w, clock := kindtest.World()
	if s.partition != "" {
		w.Partition, w.Region = s.partition, s.region
	}

	w.IAM.Lag, w.IAM.IDLag = s.lag, s.idLag

	b := kindtest.New(t, instancerole.New(w.IAM), w, clock, deploy.Spec{}, "instance-role")
	b.Boundary = boundary

	return b
}

func count(_ *testing.T, b *kindtest.Bench) int {
	roles, _ := b.World.IAM.Names()

	return len(roles)
}

func TestConformance(t *testing.T) {
	for name, s := range map[string]setting{
		"Plain":      {},
		"SlowToShow": {lag: 5 * time.Second, idLag: 9 * time.Second},
		// The fake attaches no policy of another partition.
		"GovCloud": {partition: "aws-us-gov", region: "us-gov-west-1"},
	} {
		t.Run(name, func(t *testing.T) {
			kindtest.Suite(t, kindtest.Subject{
				Build: s.build, Count: count, Named: true,
				Foreign: func(t *testing.T, b *kindtest.Bench) {
					t.Helper()

					_, err := b.World.IAM.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String(b.Name("instance")), AssumeRolePolicyDocument: aws.String(trust)})
					must(t, err)
					b.Clock.Advance(time.Hour) // whoever made it did so long ago
				},
				Drifts: map[string]kindtest.Drift{
					"PolicyDetached": {Property: "attachedPolicy", Change: func(t *testing.T, b *kindtest.Bench) {
						t.Helper()

						_, err := b.World.IAM.DetachRolePolicy(t.Context(), &iam.DetachRolePolicyInput{RoleName: &b.ID, PolicyArn: aws.String(b.Owner.ARN("iam", "", "aws", policy))})
						must(t, err)
					}},
					"TrustChanged": {Property: "trustPolicy", Change: func(t *testing.T, b *kindtest.Bench) {
						t.Helper()

						_, err := b.World.IAM.UpdateAssumeRolePolicy(t.Context(), &iam.UpdateAssumeRolePolicyInput{RoleName: &b.ID, PolicyDocument: aws.String(trust)})
						must(t, err)
					}},
					"BoundaryRemoved": {Property: "permissionsBoundary", Change: func(t *testing.T, b *kindtest.Bench) {
						t.Helper()

						_, err := b.World.IAM.DeleteRolePermissionsBoundary(t.Context(), &iam.DeleteRolePermissionsBoundaryInput{RoleName: &b.ID})
						must(t, err)
					}},
				},
			})
		})
	}
}

// A role that an instance profile still holds: ours lets go, another's holds on until its owner acts, and the reader is told which.
func TestRemoveFromProfiles(t *testing.T) {
	b := setting{}.build(t)
	b.Ensure(t)

	var ours []types.Tag
	for k, v := range b.Owner.TagsFor("instance-profile") {
		ours = append(ours, types.Tag{Key: aws.String(k), Value: aws.String(v)})
	}

	for name, tags := range map[string][]types.Tag{"ours-1": ours, "ours-2": ours, "ours-3": ours, "theirs": nil} {
		_, err := b.World.IAM.CreateInstanceProfile(t.Context(), &iam.CreateInstanceProfileInput{InstanceProfileName: &name, Tags: tags})
		must(t, err)
		_, err = b.World.IAM.AddRoleToInstanceProfile(t.Context(), &iam.AddRoleToInstanceProfileInput{InstanceProfileName: &name, RoleName: &b.ID})
		must(t, err)
	}

	mark := len(b.World.Calls())

	for range 3 {
		r, err := b.Look(t.Context(), deploy.Remove)
		must(t, err)

		if r.Done || !strings.Contains(r.Waiting, "theirs") {
			t.Errorf("remove: got %+v, want to wait for the instance profile theirs", r)
		}
	}

	want := []string{"RemoveRoleFromInstanceProfile", "RemoveRoleFromInstanceProfile", "RemoveRoleFromInstanceProfile"}
	if diff := cmp.Diff(want, b.Changes(mark)); diff != "" {
		t.Errorf("changing calls (-want +got):\n%s", diff)
	}

	_, err := b.World.IAM.RemoveRoleFromInstanceProfile(t.Context(), &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: aws.String("theirs"), RoleName: &b.ID})
	must(t, err)
	b.Remove(t)

	if got := count(t, b); got != 0 {
		t.Errorf("roles: got %d, want 0", got)
	}
}

func TestPlan(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		spec   deploy.Spec
		want   int
	}{
		"Default":   {"one managed environment", deploy.Spec{}, 1},
		"Two":       {"all environments share it", environments(deploy.EC2, deploy.EC2), 1},
		"Unmanaged": {"the owner brings the instances", environments(deploy.Unmanaged), 0},
		"Both":      {"one of them is managed", environments(deploy.Unmanaged, deploy.EC2), 1},
	} {
		t.Run(name, func(t *testing.T) {
			if got := len(instancerole.New(nil).Plan(tc.spec.WithDefaults())); got != tc.want {
				t.Errorf("items: got %d, want %d: %s", got, tc.want, tc.reason)
			}
		})
	}
}

func environments(kinds ...deploy.EnvironmentType) deploy.Spec {
	var s deploy.Spec
	for i, k := range kinds {
		s.Compute.Environments = append(s.Compute.Environments, deploy.Environment{Name: string(rune('a' + i)), Type: k})
	}

	return s
}

func TestLongestName(t *testing.T) {
	c := &kind.Call{Owner: deploy.Owner{Name: strings.Repeat("n", 24)}}
	if n := len(c.Name("instance")); n > 64 {
		t.Errorf("role name: got %d characters, want at most 64", n)
	}
}

func must(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}
