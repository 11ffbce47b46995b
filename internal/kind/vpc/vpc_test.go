package vpc_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

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
		},
	})
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
