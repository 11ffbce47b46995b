package securitygroup_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/kindtest"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/securitygroup"
)

const ref = deploy.Ref("security-group/jobs")

func build(t *testing.T) *kindtest.Bench {
	t.Helper()

	w, clock := kindtest.World()
	b := kindtest.New(t, securitygroup.New(w.EC2), w, clock, deploy.Spec{}, ref)
	b.Others["vpc"] = kind.Other{ID: vpc(t, w)}

	return b
}

func vpc(t *testing.T, w *awsfake.World) string {
	t.Helper()

	out, err := w.EC2.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.20.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}

	return *out.Vpc.VpcId
}

func group(t *testing.T, w *awsfake.World, name, vpc string, tags ...types.Tag) string {
	t.Helper()

	out, err := w.EC2.CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{
		GroupName: aws.String(name), Description: aws.String("of the owner"), VpcId: aws.String(vpc),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeSecurityGroup, Tags: tags}},
	})
	if err != nil {
		t.Fatal(err)
	}

	return *out.GroupId
}

// count leaves out default groups, which come and go with their VPC.
func count(t *testing.T, b *kindtest.Bench) int {
	t.Helper()

	out, err := b.World.EC2.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{})
	if err != nil {
		t.Fatal(err)
	}

	n := 0

	for _, g := range out.SecurityGroups {
		if aws.ToString(g.GroupName) != "default" {
			n++
		}
	}

	return n
}

func open(description string) []types.IpPermission {
	return []types.IpPermission{{IpProtocol: aws.String("-1"), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0"), Description: aws.String(description)}}}}
}

func TestConformance(t *testing.T) {
	kindtest.Suite(t, kindtest.Subject{
		Build: build, Count: count, Late: func(b *kindtest.Bench, d time.Duration) { b.World.EC2.Lag = d },
		Tolerated: map[string]string{"CreateSecurityGroup": "InvalidVpcID.NotFound", "UpdateSecurityGroupRuleDescriptionsEgress": "InvalidGroup.NotFound"}, Named: true,
		Foreign: func(t *testing.T, b *kindtest.Bench) {
			t.Helper()
			group(t, b.World, b.Name("jobs"), b.Others["vpc"].ID)
		},
		Drifts: map[string]kindtest.Drift{
			"SSHOpened": {Property: "ingress", Change: func(t *testing.T, b *kindtest.Bench) {
				t.Helper()

				_, err := b.World.EC2.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{
					GroupId: aws.String(b.ID), IpPermissions: []types.IpPermission{{
						IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}},
					}},
				})
				if err != nil {
					t.Fatal(err)
				}
			}},
			"EgressClosed": {Property: "egress", Change: func(t *testing.T, b *kindtest.Bench) {
				t.Helper()

				_, err := b.World.EC2.RevokeSecurityGroupEgress(t.Context(), &ec2.RevokeSecurityGroupEgressInput{GroupId: aws.String(b.ID), IpPermissions: open("")})
				if err != nil {
					t.Fatal(err)
				}
			}},
			"EgressRenamed": {Property: "egressDescription", Change: func(t *testing.T, b *kindtest.Bench) {
				t.Helper()

				_, err := b.World.EC2.UpdateSecurityGroupRuleDescriptionsEgress(t.Context(), &ec2.UpdateSecurityGroupRuleDescriptionsEgressInput{
					GroupId: aws.String(b.ID), IpPermissions: open("mine now"),
				})
				if err != nil {
					t.Fatal(err)
				}
			}},
		},
	})
}

func TestNothingComesInAndEverythingGoesOut(t *testing.T) {
	b := build(t)
	b.Ensure(t)

	out, err := b.World.EC2.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{GroupIds: []string{b.ID}})
	if err != nil {
		t.Fatal(err)
	}

	g := out.SecurityGroups[0]
	if len(g.IpPermissions) != 0 {
		t.Errorf("ingress: got %d rules, want none", len(g.IpPermissions))
	}

	if len(g.IpPermissionsEgress) != 1 || aws.ToString(g.IpPermissionsEgress[0].IpRanges[0].Description) == "" {
		t.Errorf("egress: want the one default rule, described; got %d rules", len(g.IpPermissionsEgress))
	}
}

// deaf is an EC2 that answers 200 to the first removal of rules and finds none of them, as it may in a default VPC.
type deaf struct {
	*awsfake.EC2
	asked int
}

func (d *deaf) RevokeSecurityGroupIngress(ctx context.Context, in *ec2.RevokeSecurityGroupIngressInput, opts ...func(*ec2.Options)) (*ec2.RevokeSecurityGroupIngressOutput, error) {
	if d.asked++; d.asked == 1 {
		return &ec2.RevokeSecurityGroupIngressOutput{Return: aws.Bool(true), UnknownIpPermissions: in.IpPermissions}, nil
	}

	return d.EC2.RevokeSecurityGroupIngress(ctx, in, opts...)
}

func TestRemovedIngressIsLookedAtAgain(t *testing.T) {
	b := build(t)
	b.Ensure(t)

	_, err := b.World.EC2.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: aws.String(b.ID), IpPermissions: open("")})
	if err != nil {
		t.Fatal(err)
	}

	b.Kind = securitygroup.New(&deaf{EC2: b.World.EC2})
	b.Ensure(t)

	if d := b.Observe(t).Differences; len(d) > 0 {
		t.Errorf("the group is called ready with %v", d)
	}
}

func TestRemoveSaysWhatHoldsTheGroup(t *testing.T) {
	b := build(t)
	b.Ensure(t)

	var held []string
	for range 5 {
		held = append(held, b.World.EC2.PlantInterface("subnet-1", "ECS task", false, b.ID))
	}

	r, err := b.Look(t.Context(), deploy.Remove)
	if err != nil || r.Done {
		t.Fatalf("remove while interfaces use the group: got %+v, %v, want to wait", r, err)
	}

	for _, want := range []string{held[0], "ECS task", "and 2 more"} {
		if !strings.Contains(r.Waiting, want) {
			t.Errorf("waiting says %q, want %q in it", r.Waiting, want)
		}
	}

	for _, id := range held {
		b.World.EC2.PullInterface(id)
	}

	other := group(t, b.World, "database", b.Others["vpc"].ID)
	pair := []types.IpPermission{{IpProtocol: aws.String("-1"), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: aws.String(b.ID)}}}}

	_, err = b.World.EC2.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: aws.String(other), IpPermissions: pair})
	if err != nil {
		t.Fatal(err)
	}

	if r, err = b.Look(t.Context(), deploy.Remove); err != nil || !strings.Contains(r.Waiting, other) {
		t.Errorf("remove while another group names ours: got %+v, %v, want %s in what it waits for", r, err, other)
	}

	_, err = b.World.EC2.RevokeSecurityGroupIngress(t.Context(), &ec2.RevokeSecurityGroupIngressInput{GroupId: aws.String(other), IpPermissions: pair})
	if err != nil {
		t.Fatal(err)
	}

	b.Remove(t)

	if n := count(t, b); n != 1 {
		t.Errorf("groups left: %d, want only the owner's", n)
	}
}

func TestPlan(t *testing.T) {
	existing := deploy.ExistingNetwork{VPCID: "vpc-1", SubnetIDs: []string{"subnet-1"}}
	named := existing
	named.SecurityGroupIDs = []string{"sg-1", "sg-2"}

	cases := map[string]struct {
		reason string
		spec   deploy.Spec
		want   []string
	}{
		"Default":   {"one group for all environments", deploy.Spec{}, []string{"security-group/jobs"}},
		"Existing":  {"an existing VPC without groups gets one of ours", deploy.Spec{Network: deploy.Network{Existing: &existing}}, []string{"security-group/jobs"}},
		"Named":     {"named groups are used", deploy.Spec{Network: deploy.Network{Existing: &named}}, []string{"security-group/1 sg-1", "security-group/2 sg-2"}},
		"Unmanaged": {"instances that the owner brings need none", deploy.Spec{Compute: deploy.Compute{Environments: []deploy.Environment{{Name: "own", Type: deploy.Unmanaged}}}}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, i := range securitygroup.New(nil).Plan(c.spec.WithDefaults()) {
				got = append(got, strings.TrimSpace(string(i.Ref)+" "+i.Existing))
			}

			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func TestCheckExisting(t *testing.T) {
	cases := map[string]struct {
		reason string
		id     func(t *testing.T, w *awsfake.World, vpc string) string
		want   []string
	}{
		"Usable": {"a group of the named VPC", func(t *testing.T, w *awsfake.World, vpc string) string { t.Helper(); return group(t, w, "own", vpc) }, nil},
		"Absent": {"no such group", func(*testing.T, *awsfake.World, string) string { return "sg-0" }, []string{"existing_not_found"}},
		"OtherVPC": {
			"a group of another VPC cannot be used", func(t *testing.T, w *awsfake.World, _ string) string {
				t.Helper()
				return group(t, w, "own", vpc(t, w))
			},
			[]string{"existing_unusable"},
		},
		"OfADeployment": {
			"a group that a deployment made goes with it", func(t *testing.T, w *awsfake.World, vpc string) string {
				t.Helper()

				return group(t, w, "own", vpc, types.Tag{Key: aws.String(deploy.TagDeployment), Value: aws.String("other")})
			},
			[]string{"existing_belongs_to_deployment"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w, clock := kindtest.World()
			home := vpc(t, w)
			spec := deploy.Spec{Network: deploy.Network{Existing: &deploy.ExistingNetwork{
				VPCID: home, SubnetIDs: []string{"subnet-1"}, SecurityGroupIDs: []string{c.id(t, w, home)},
			}}}
			b := kindtest.New(t, securitygroup.New(w.EC2), w, clock, spec, "security-group/1")

			var got []string

			for _, f := range b.Check(t) {
				got = append(got, f.Code)

				if f.Pointer != "/spec/network/existing/securityGroupIds/0" || f.Remedy == "" {
					t.Errorf("%s: finding without pointer or remedy: %+v", c.reason, f)
				}
			}

			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func TestEveryNameIsAccepted(t *testing.T) {
	cases := map[string]struct{ reason, name string }{
		"Longest": {"EC2 takes up to 255 characters", strings.Repeat("d", 24)},
		"SG":      {"EC2 refuses names that start with sg-", "sg-team"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := build(t)
			b.Owner.Name = c.name
			b.Ensure(t)

			if n := count(t, b); n != 1 {
				t.Errorf("%s: got %d groups, want 1", c.reason, n)
			}
		})
	}
}
