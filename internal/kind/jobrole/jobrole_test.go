package jobrole_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/jobrole"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/kindtest"
)

var update = flag.Bool("update", false, "write the golden files")

const (
	boundary = "arn:aws:iam::123456789012:policy/metaflow-deployer/boundary"
	trust    = `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}`
	readAll  = `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}`
)

// setting is a world that the kind must work in.
type setting struct {
	partition, region string
	lag, idLag        time.Duration
	spec              deploy.Spec
}

func (s setting) build(t *testing.T) *kindtest.Bench {
	t.Helper()

	w, clock := kindtest.World()
	if s.partition != "" {
		w.Partition, w.Region = s.partition, s.region
	}

	w.IAM.Lag, w.IAM.IDLag = s.lag, s.idLag
	s.spec.Tags = map[string]string{"team": "forecast"}

	b := kindtest.New(t, jobrole.New(w.IAM), w, clock, s.spec, "job-role")
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
	} {
		t.Run(name, func(t *testing.T) {
			kindtest.Suite(t, kindtest.Subject{
				Build: s.build, Count: count, Named: true,
				Foreign: func(t *testing.T, b *kindtest.Bench) {
					t.Helper()
					// Names have no case and are unique across paths.
					create(t, b, strings.ToUpper(b.Name("job")), nil)
				},
				Drifts: drifts(),
			})
		})
	}
}

// TestRoleNeverStandsWithoutItsBoundary: between two calls the process may die, and a role without a boundary may do whatever its policies say.
func TestRoleNeverStandsWithoutItsBoundary(t *testing.T) {
	b := setting{}.build(t)
	b.World.Fault = kindtest.LoseOnce("CreateRole")

	if _, err := b.Look(t.Context(), deploy.Ensure); err == nil {
		t.Fatal("the answer was not lost")
	}

	out, err := b.World.IAM.GetRole(t.Context(), &iam.GetRoleInput{RoleName: aws.String(b.Name("job"))})
	must(t, err)

	if p := out.Role.PermissionsBoundary; p == nil || aws.ToString(p.PermissionsBoundaryArn) != boundary {
		t.Errorf("right after CreateRole the boundary is %+v", p)
	}
}

func drifts() map[string]kindtest.Drift {
	return map[string]kindtest.Drift{
		"TrustChanged": {Property: "trustPolicy", Change: func(t *testing.T, b *kindtest.Bench) {
			t.Helper()

			_, err := b.World.IAM.UpdateAssumeRolePolicy(t.Context(), &iam.UpdateAssumeRolePolicyInput{RoleName: &b.ID, PolicyDocument: aws.String(trust)})
			must(t, err)
		}},
		"PolicyChanged": {Property: "policy", Change: func(t *testing.T, b *kindtest.Bench) {
			t.Helper()

			_, err := b.World.IAM.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: &b.ID, PolicyName: aws.String("metaflow"), PolicyDocument: aws.String(readAll)})
			must(t, err)
		}},
		"PolicyRemoved": {Property: "policy", Change: func(t *testing.T, b *kindtest.Bench) {
			t.Helper()

			_, err := b.World.IAM.DeleteRolePolicy(t.Context(), &iam.DeleteRolePolicyInput{RoleName: &b.ID, PolicyName: aws.String("metaflow")})
			must(t, err)
		}},
		"BoundaryRemoved": {Property: "permissionsBoundary", Change: func(t *testing.T, b *kindtest.Bench) {
			t.Helper()

			_, err := b.World.IAM.DeleteRolePermissionsBoundary(t.Context(), &iam.DeleteRolePermissionsBoundaryInput{RoleName: &b.ID})
			must(t, err)
		}},
		"BoundaryChanged": {Property: "permissionsBoundary", Change: func(t *testing.T, b *kindtest.Bench) {
			t.Helper()

			_, err := b.World.IAM.PutRolePermissionsBoundary(t.Context(), &iam.PutRolePermissionsBoundaryInput{
				RoleName: &b.ID, PermissionsBoundary: aws.String("arn:aws:iam::aws:policy/AdministratorAccess"),
			})
			must(t, err)
		}},
		"OwnersTagGone": {Property: "tags", Change: func(t *testing.T, b *kindtest.Bench) {
			t.Helper()

			_, err := b.World.IAM.UntagRole(t.Context(), &iam.UntagRoleInput{RoleName: &b.ID, TagKeys: []string{"team"}})
			must(t, err)
		}},
	}
}

// The policies are what Metaflow's jobs need, to the letter: a reviewer reads the golden files.
func TestPolicies(t *testing.T) {
	for name, s := range map[string]setting{
		"made":            {},
		"made-china":      {partition: "aws-cn", region: "cn-north-1"},
		"existing":        {spec: deploy.Spec{Storage: deploy.Storage{Existing: &deploy.ExistingBucket{Bucket: "theirs"}}}},
		"existing-prefix": {spec: deploy.Spec{Storage: deploy.Storage{Existing: &deploy.ExistingBucket{Bucket: "theirs", Prefix: "/team/metaflow/"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.build(t)
			b.Ensure(t)

			role, err := b.World.IAM.GetRole(t.Context(), &iam.GetRoleInput{RoleName: &b.ID})
			must(t, err)

			policy, err := b.World.IAM.GetRolePolicy(t.Context(), &iam.GetRolePolicyInput{RoleName: &b.ID, PolicyName: aws.String("metaflow")})
			must(t, err)

			got := *role.Role.Arn + "\n" + decode(t, *role.Role.AssumeRolePolicyDocument) + "\n" + decode(t, *policy.PolicyDocument) + "\n"

			file := filepath.Join("testdata", name+".golden")
			if *update {
				must(t, os.WriteFile(file, []byte(got), 0o600))
			}

			want, err := os.ReadFile(file)
			must(t, err)

			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("policies (-want +got):\n%s", diff)
			}
		})
	}
}

// What the owner has put on our role goes with it, page by page.
func TestRemoveStripsTheRole(t *testing.T) {
	b := setting{}.build(t)
	b.Ensure(t)

	for _, name := range []string{"a", "b", "c", "d"} {
		_, err := b.World.IAM.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: &b.ID, PolicyName: &name, PolicyDocument: aws.String(readAll)})
		must(t, err)
		_, err = b.World.IAM.AttachRolePolicy(t.Context(), &iam.AttachRolePolicyInput{RoleName: &b.ID, PolicyArn: aws.String("arn:aws:iam::aws:policy/" + name)})
		must(t, err)
	}

	if obs := b.Observe(t); len(obs.Differences) > 0 {
		t.Errorf("differences: got %v, want none: what others add is theirs", obs.Differences)
	}

	// One look suffices: nothing on a later page is forgotten.
	_, err := b.Look(t.Context(), deploy.Remove)
	must(t, err)

	if got := count(t, b); got != 0 {
		t.Errorf("roles: got %d, want 0", got)
	}

	// Seconds after the create: once AWS has taken the removal, an empty look is to be believed.
	r, err := b.Look(t.Context(), deploy.Remove)
	must(t, err)

	if !r.Done {
		t.Errorf("a look that finds no role: got %+v, want done", r)
	}
}

// The installation may take policies only off roles that carry its boundary.
func TestRemoveRestoresTheBoundaryFirst(t *testing.T) {
	b := setting{}.build(t)
	b.Ensure(t)

	_, err := b.World.IAM.DeleteRolePermissionsBoundary(t.Context(), &iam.DeleteRolePermissionsBoundaryInput{RoleName: &b.ID})
	must(t, err)

	mark := len(b.World.Calls())

	b.Remove(t)

	if diff := cmp.Diff([]string{"PutRolePermissionsBoundary", "DeleteRolePolicy", "DeleteRole"}, b.Changes(mark)); diff != "" {
		t.Errorf("changing calls (-want +got):\n%s", diff)
	}
}

// A role without a boundary would be a privilege to borrow.
func TestNoRoleWithoutBoundary(t *testing.T) {
	b := setting{}.build(t)
	b.Boundary = ""

	if _, err := b.Look(t.Context(), deploy.Ensure); err == nil {
		t.Error("ensure without a boundary: got no error")
	}

	if got := count(t, b); got != 0 {
		t.Errorf("roles: got %d, want 0", got)
	}
}

// The boundary is a part of the installation, and only its operator can bring it back.
func TestMissingBoundaryIsToldOf(t *testing.T) {
	b := setting{}.build(t)
	b.World.Fault = kindtest.RefuseOnce("CreateRole", "NoSuchEntity")

	_, err := b.Look(t.Context(), deploy.Ensure)
	if e := awserr.Classify(err); err == nil || e.Code != "boundary_missing" || e.AWSCode != "NoSuchEntity" || !strings.Contains(e.Remedy, boundary) {
		t.Errorf("ensure with a boundary that is not there: %+v", err)
	}
}

func TestExisting(t *testing.T) {
	const arn = "arn:aws:iam::123456789012:role/team/jobs"

	ecs := strings.Replace(trust, "ec2", "ecs-tasks", 1)
	ours := []types.Tag{{Key: aws.String(deploy.TagTenant), Value: aws.String("acme")}}

	for name, tc := range map[string]struct {
		reason       string
		arn          string
		trust        string
		tags         []types.Tag
		admin        bool
		granted      string
		want         []string
		wantUnusable bool
	}{
		"Tenants":       {reason: "tagged for the caller's tenant", arn: arn, trust: ecs, tags: ours},
		"Admin":         {reason: "an admin may use any", arn: arn, trust: ecs, admin: true},
		"Granted":       {reason: "an admin allowed it for the tenant", arn: arn, trust: ecs, granted: arn},
		"GrantedOther":  {reason: "an admin allowed another one", arn: arn, trust: ecs, granted: arn + "-2", want: []string{"existing_not_allowed"}},
		"Untagged":      {reason: "it would grant what is not the tenant's", arn: arn, trust: ecs, want: []string{"existing_not_allowed"}},
		"OfADeployment": {reason: "it goes with that deployment", arn: arn, trust: ecs, admin: true, tags: append(ours, types.Tag{Key: aws.String(deploy.TagDeployment), Value: aws.String("x")}), want: []string{"existing_belongs_to_deployment"}},
		"OtherTrust":    {reason: "tasks cannot assume it", arn: arn, trust: trust, tags: ours, want: []string{"existing_unusable"}, wantUnusable: true},
		"OtherPath":     {reason: "the name is there, the ARN is not", arn: "arn:aws:iam::123456789012:role/jobs", trust: ecs, tags: ours, want: []string{"existing_not_found"}, wantUnusable: true},
		"OtherAccount":  {reason: "a role of that name here is another role", arn: "arn:aws:iam::999999999999:role/team/jobs", trust: ecs, admin: true, want: []string{"existing_not_found"}, wantUnusable: true},
		"NotThere":      {reason: "nothing of that name", arn: "arn:aws:iam::123456789012:role/team/none", trust: ecs, admin: true, want: []string{"existing_not_found"}, wantUnusable: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := setting{spec: deploy.Spec{Access: deploy.Access{Existing: &deploy.ExistingAccess{JobRoleARN: tc.arn}}}}.build(t)
			b.Admin = tc.admin
			b.Granted = func(kind deploy.GrantKind, value string) bool { return kind == deploy.GrantRole && value == tc.granted }

			_, err := b.World.IAM.CreateRole(t.Context(), &iam.CreateRoleInput{
				RoleName: aws.String("jobs"), Path: aws.String("/team/"), AssumeRolePolicyDocument: &tc.trust, Tags: tc.tags,
			})
			must(t, err)

			var codes []string

			for _, f := range b.Check(t) {
				codes = append(codes, f.Code)

				if f.Pointer != "/spec/access/existing/jobRoleArn" || f.Remedy == "" || f.Message == "" {
					t.Errorf("finding: got %+v, want a pointer, a message and a remedy", f)
				}
			}

			if diff := cmp.Diff(tc.want, codes); diff != "" {
				t.Errorf("findings (-want +got): %s\n%s", tc.reason, diff)
			}

			obs := b.Observe(t)
			if usable := obs.State == kind.Ready && len(obs.Problems) == 0; usable == tc.wantUnusable {
				t.Errorf("observation: got %+v, want usable %t", obs, !tc.wantUnusable)
			} else if usable && obs.ARN != tc.arn {
				t.Errorf("observation: ARN: got %s, want %s", obs.ARN, tc.arn)
			}
		})
	}
}

func TestCheckOfWhatWeMake(t *testing.T) {
	if got := (setting{}).build(t).Check(t); len(got) > 0 {
		t.Errorf("findings: got %v, want none", got)
	}
}

// All four of our tags must agree, or the role is not ours.
func TestConflictIsNotAdopted(t *testing.T) {
	b := setting{}.build(t)

	tags := []types.Tag{
		{Key: aws.String(deploy.TagInstallation), Value: aws.String("test")},
		{Key: aws.String(deploy.TagDeployment), Value: aws.String("demo")},
		{Key: aws.String(deploy.TagResource), Value: aws.String("job-role")},
		{Key: aws.String(deploy.TagTenant), Value: aws.String("other")},
	}
	create(t, b, b.Name("job"), tags)

	if _, err := b.Until(t.Context(), deploy.Ensure); !awserr.Is(err, deploy.Conflict) {
		t.Errorf("ensure: got %v, want a conflict", err)
	}
}

func TestLongestName(t *testing.T) {
	c := &kind.Call{Owner: deploy.Owner{Name: strings.Repeat("n", 24)}}
	if n := len(c.Name("job")); n > 64 {
		t.Errorf("role name: got %d characters, want at most 64", n)
	}
}

func create(t *testing.T, b *kindtest.Bench, name string, tags []types.Tag) {
	t.Helper()

	_, err := b.World.IAM.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: &name, Path: aws.String("/elsewhere/"), AssumeRolePolicyDocument: aws.String(trust), Tags: tags})
	must(t, err)
	// Whoever made it did so long ago.
	b.Clock.Advance(time.Hour)
}

func decode(t *testing.T, document string) string {
	t.Helper()

	s, err := url.PathUnescape(document)
	must(t, err)

	var pretty bytes.Buffer

	must(t, json.Indent(&pretty, []byte(s), "", "  "))

	return pretty.String()
}

func must(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}
