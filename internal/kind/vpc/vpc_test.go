package vpc_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/kindtest"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/vpc"
)

func build(t *testing.T) *kindtest.Bench {
	t.Helper()

	w, clock := kindtest.World()

	return kindtest.New(t, vpc.New(w.EC2), w, clock, deploy.Spec{}, "vpc")
}

func count(t *testing.T, b *kindtest.Bench) int {
	t.Helper()

	out, err := b.World.EC2.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{})
	if err != nil {
		t.Fatal(err)
	}

	return len(out.Vpcs)
}

func TestConformance(t *testing.T) {
	kindtest.Suite(t, kindtest.Subject{
		Build: build, Count: count, Late: func(b *kindtest.Bench, d time.Duration) { b.World.EC2.Lag = d },
		Tolerated: map[string]string{"ModifyVpcAttribute": "InvalidVpcID.NotFound", "DescribeVpcAttribute": "InvalidVpcID.NotFound"},
		Foreign: func(t *testing.T, b *kindtest.Bench) {
			t.Helper()
			create(t, b, "10.20.0.0/16")
		},
		Drifts: map[string]kindtest.Drift{
			"DNSHostnamesOff": {Property: "enableDnsHostnames", Change: func(t *testing.T, b *kindtest.Bench) {
				t.Helper()
				modify(t, b, &ec2.ModifyVpcAttributeInput{VpcId: &b.ID, EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(false)}})
			}},
			"DNSSupportOff": {Property: "enableDnsSupport", Change: func(t *testing.T, b *kindtest.Bench) {
				t.Helper()
				modify(t, b, &ec2.ModifyVpcAttributeInput{VpcId: &b.ID, EnableDnsSupport: &types.AttributeBooleanValue{Value: aws.Bool(false)}})
			}},
			"OtherRange": {Property: "cidr", Beyond: true, Change: func(_ *testing.T, b *kindtest.Bench) { b.Spec.Network.CIDR = "10.99.0.0/16" }},
		},
	})
}

func TestOtherRangeIsRefused(t *testing.T) {
	b := build(t)
	b.Ensure(t)

	b.Spec.Network.CIDR = "10.99.0.0/16"

	if _, err := b.Until(t.Context(), deploy.Ensure); !awserr.Is(err, deploy.Conflict) {
		t.Errorf("ensure with another range: got %v, want class %q", err, deploy.Conflict)
	}
}

func TestRemoveWaitsForWhatLivesInIt(t *testing.T) {
	b := build(t)
	b.Ensure(t)

	subnet, err := b.World.EC2.CreateSubnet(t.Context(), &ec2.CreateSubnetInput{
		VpcId: aws.String(b.ID), CidrBlock: aws.String("10.20.0.0/18"), AvailabilityZone: aws.String("us-east-1a"),
	})
	if err != nil {
		t.Fatal(err)
	}

	if _, err := b.Look(t.Context(), deploy.Remove); !awserr.Is(err, deploy.NotReady) {
		t.Errorf("remove with a subnet inside: got %v, want class %q", err, deploy.NotReady)
	}

	if _, err := b.World.EC2.DeleteSubnet(t.Context(), &ec2.DeleteSubnetInput{SubnetId: subnet.Subnet.SubnetId}); err != nil {
		t.Fatal(err)
	}

	b.Remove(t)
}

func TestCheck(t *testing.T) {
	cases := map[string]struct {
		reason    string
		leftOver  bool
		strangers int
		want      []string
	}{
		"Room":     {"four of five leave room for one", false, 4, nil},
		"Full":     {"the quota is five by default, and all pages count", false, 5, []string{"quota_exceeded"}},
		"LeftOver": {"ours that is there already needs no room", true, 5, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := build(t)
			b.World.EC2.PageSize = 2

			if c.leftOver {
				b.Ensure(t)
			}

			for range c.strangers {
				create(t, b, "10.20.0.0/16")
			}

			if diff := cmp.Diff(c.want, codes(b.Check(t))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func TestCheckExisting(t *testing.T) {
	cases := map[string]struct {
		reason string
		dns    bool
		tags   []types.Tag
		want   []string
	}{
		"Usable": {"DNS is on", true, nil, nil},
		"NoDNS":  {"without DNS hostnames instances do not find ECS", false, nil, []string{"existing_unusable"}},
		"OfADeployment": {
			"a VPC that a deployment made goes with it", true,
			[]types.Tag{{Key: aws.String(deploy.TagDeployment), Value: aws.String("other")}},
			[]string{"existing_belongs_to_deployment"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			made := build(t)
			id := create(t, made, "172.16.0.0/16", c.tags...)
			made.Clock.Advance(time.Minute)

			if c.dns {
				modify(t, made, &ec2.ModifyVpcAttributeInput{VpcId: &id, EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(true)}})
			}

			b := existing(t, made, id)
			if diff := cmp.Diff(c.want, codes(b.Check(t))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}

			if obs := b.Observe(t); obs.ID != id || obs.Outputs["cidr"] != "172.16.0.0/16" {
				t.Errorf("observe: got %s %v", obs.ID, obs.Outputs)
			}
		})
	}

	t.Run("Absent", func(t *testing.T) {
		b := existing(t, build(t), "vpc-0")
		if diff := cmp.Diff([]string{"existing_not_found"}, codes(b.Check(t))); diff != "" {
			t.Errorf("no such VPC (-want +got):\n%s", diff)
		}
	})
}

func existing(t *testing.T, made *kindtest.Bench, id string) *kindtest.Bench {
	t.Helper()

	spec := deploy.Spec{Network: deploy.Network{Existing: &deploy.ExistingNetwork{VPCID: id, SubnetIDs: []string{"subnet-1"}}}}

	return kindtest.New(t, made.Kind, made.World, made.Clock, spec, "vpc")
}

func codes(findings []deploy.Finding) []string {
	var all []string
	for _, f := range findings {
		all = append(all, f.Code)
	}

	return all
}

func create(t *testing.T, b *kindtest.Bench, cidr string, tags ...types.Tag) string {
	t.Helper()

	out, err := b.World.EC2.CreateVpc(t.Context(), &ec2.CreateVpcInput{
		CidrBlock: aws.String(cidr), TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeVpc, Tags: tags}},
	})
	if err != nil {
		t.Fatal(err)
	}

	return *out.Vpc.VpcId
}

func modify(t *testing.T, b *kindtest.Bench, in *ec2.ModifyVpcAttributeInput) {
	t.Helper()

	if _, err := b.World.EC2.ModifyVpcAttribute(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}
