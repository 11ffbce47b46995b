package internetgateway_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/internetgateway"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/kindtest"
)

func build(t *testing.T) *kindtest.Bench {
	t.Helper()

	w, clock := kindtest.World()
	b := kindtest.New(t, internetgateway.New(w.EC2), w, clock, deploy.Spec{}, "internet-gateway")
	b.Others["vpc"] = kind.Other{ID: vpc(t, b)}

	return b
}

func vpc(t *testing.T, b *kindtest.Bench) string {
	t.Helper()

	out, err := b.World.EC2.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.20.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}

	return *out.Vpc.VpcId
}

func count(t *testing.T, b *kindtest.Bench) int {
	t.Helper()

	out, err := b.World.EC2.DescribeInternetGateways(t.Context(), &ec2.DescribeInternetGatewaysInput{})
	if err != nil {
		t.Fatal(err)
	}

	return len(out.InternetGateways)
}

func detach(t *testing.T, b *kindtest.Bench) {
	t.Helper()

	_, err := b.World.EC2.DetachInternetGateway(t.Context(), &ec2.DetachInternetGatewayInput{
		InternetGatewayId: aws.String(b.ID), VpcId: aws.String(b.Others["vpc"].ID),
	})
	if err != nil {
		t.Fatal(err)
	}
}

func stranger(t *testing.T, b *kindtest.Bench) {
	t.Helper()

	if _, err := b.World.EC2.CreateInternetGateway(t.Context(), &ec2.CreateInternetGatewayInput{}); err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	kindtest.Suite(t, kindtest.Subject{
		Build: build, Count: count, Late: func(b *kindtest.Bench, d time.Duration) { b.World.EC2.Lag = d },
		Tolerated: map[string]string{"AttachInternetGateway": "Resource.AlreadyAssociated"}, Foreign: stranger,
		Drifts: map[string]kindtest.Drift{
			"Detached": {Property: "vpcId", Change: detach},
			"AttachedElsewhere": {Property: "vpcId", Beyond: true, Change: func(t *testing.T, b *kindtest.Bench) {
				t.Helper()
				detach(t, b)

				_, err := b.World.EC2.AttachInternetGateway(t.Context(), &ec2.AttachInternetGatewayInput{
					InternetGatewayId: aws.String(b.ID), VpcId: aws.String(vpc(t, b)),
				})
				if err != nil {
					t.Fatal(err)
				}
			}},
		},
	})
}

func TestRemoveWaitsForPublicAddresses(t *testing.T) {
	b := build(t)
	b.Ensure(t)

	subnet, err := b.World.EC2.CreateSubnet(t.Context(), &ec2.CreateSubnetInput{
		VpcId: aws.String(b.Others["vpc"].ID), CidrBlock: aws.String("10.20.0.0/18"), AvailabilityZone: aws.String("us-east-1a"),
	})
	if err != nil {
		t.Fatal(err)
	}

	held := b.World.EC2.PlantInterface(*subnet.Subnet.SubnetId, "", true)

	_, err = b.Look(t.Context(), deploy.Remove)
	if !awserr.Is(err, deploy.NotReady) || !strings.Contains(err.Error(), "mapped public address") {
		t.Errorf("remove while an address is mapped: got %v, want AWS's message in class %q", err, deploy.NotReady)
	}

	b.World.EC2.PullInterface(held)
	b.Remove(t)

	if n := count(t, b); n != 0 {
		t.Errorf("gateways left: %d", n)
	}
}

func TestPlan(t *testing.T) {
	unmanaged := deploy.Compute{Environments: []deploy.Environment{{Name: "own", Type: deploy.Unmanaged}}}

	cases := map[string]struct {
		reason string
		spec   deploy.Spec
		want   int
	}{
		"Default":   {"the default network is public", deploy.Spec{}, 1},
		"Existing":  {"an existing network has its own way out", deploy.Spec{Network: deploy.Network{Existing: &deploy.ExistingNetwork{VPCID: "vpc-1"}}}, 0},
		"Unmanaged": {"instances that the owner brings need no network of ours", deploy.Spec{Compute: unmanaged}, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := len(internetgateway.New(nil).Plan(c.spec.WithDefaults())); got != c.want {
				t.Errorf("%s: got %d items, want %d", c.reason, got, c.want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	cases := map[string]struct {
		reason    string
		prepare   func(t *testing.T, b *kindtest.Bench)
		strangers int
		want      []string
	}{
		"Room":     {"four of five leave room for one", nil, 4, nil},
		"Full":     {"the quota is five by default", nil, 5, []string{"quota_exceeded"}},
		"LeftOver": {"ours that is there already needs no room", func(t *testing.T, b *kindtest.Bench) { t.Helper(); b.Ensure(t) }, 5, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := build(t)
			b.World.EC2.PageSize = 2 // all pages count

			if c.prepare != nil {
				c.prepare(t, b)
			}

			for range c.strangers {
				stranger(t, b)
			}

			var got []string
			for _, f := range b.Check(t) {
				got = append(got, f.Code)
			}

			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}
