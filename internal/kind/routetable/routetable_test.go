package routetable_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/kindtest"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/routetable"
)

func build(t *testing.T) *kindtest.Bench {
	t.Helper()

	w, clock := kindtest.World()
	b := kindtest.New(t, routetable.New(w.EC2), w, clock, deploy.Spec{}, "route-table")

	out, err := w.EC2.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.20.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}

	b.Others["vpc"] = kind.Other{ID: *out.Vpc.VpcId}
	b.Others["internet-gateway"] = kind.Other{ID: gateway(t, b)}
	attach(t, b, b.Others["internet-gateway"].ID)

	return b
}

func gateway(t *testing.T, b *kindtest.Bench) string {
	t.Helper()

	out, err := b.World.EC2.CreateInternetGateway(t.Context(), &ec2.CreateInternetGatewayInput{})
	if err != nil {
		t.Fatal(err)
	}

	return *out.InternetGateway.InternetGatewayId
}

func attach(t *testing.T, b *kindtest.Bench, id string) {
	t.Helper()

	_, err := b.World.EC2.AttachInternetGateway(t.Context(), &ec2.AttachInternetGatewayInput{InternetGatewayId: aws.String(id), VpcId: aws.String(b.Others["vpc"].ID)})
	if err != nil {
		t.Fatal(err)
	}
}

func detach(t *testing.T, b *kindtest.Bench) {
	t.Helper()

	_, err := b.World.EC2.DetachInternetGateway(t.Context(), &ec2.DetachInternetGatewayInput{
		InternetGatewayId: aws.String(b.Others["internet-gateway"].ID), VpcId: aws.String(b.Others["vpc"].ID),
	})
	if err != nil {
		t.Fatal(err)
	}
}

// count leaves out main tables, which come and go with their VPC.
func count(t *testing.T, b *kindtest.Bench) int {
	t.Helper()

	out, err := b.World.EC2.DescribeRouteTables(t.Context(), &ec2.DescribeRouteTablesInput{})
	if err != nil {
		t.Fatal(err)
	}

	n := 0

	for _, table := range out.RouteTables {
		main := false
		for _, a := range table.Associations {
			main = main || aws.ToBool(a.Main)
		}

		if !main {
			n++
		}
	}

	return n
}

func TestConformance(t *testing.T) {
	kindtest.Suite(t, kindtest.Subject{
		Build: build, Count: count, Late: func(b *kindtest.Bench, d time.Duration) { b.World.EC2.Lag = d },
		Tolerated: map[string]string{"CreateRouteTable": "InvalidVpcID.NotFound", "CreateRoute": "RouteAlreadyExists"},
		Foreign: func(t *testing.T, b *kindtest.Bench) {
			t.Helper()

			if _, err := b.World.EC2.CreateRouteTable(t.Context(), &ec2.CreateRouteTableInput{VpcId: aws.String(b.Others["vpc"].ID)}); err != nil {
				t.Fatal(err)
			}
		},
		Drifts: map[string]kindtest.Drift{
			"RouteDeleted": {Property: "defaultRoute", Change: func(t *testing.T, b *kindtest.Bench) {
				t.Helper()

				_, err := b.World.EC2.DeleteRoute(t.Context(), &ec2.DeleteRouteInput{RouteTableId: aws.String(b.ID), DestinationCidrBlock: aws.String("0.0.0.0/0")})
				if err != nil {
					t.Fatal(err)
				}
			}},
			"RouteElsewhere": {Property: "defaultRoute", Change: func(t *testing.T, b *kindtest.Bench) {
				t.Helper()

				other := gateway(t, b)
				detach(t, b)
				attach(t, b, other)

				_, err := b.World.EC2.ReplaceRoute(t.Context(), &ec2.ReplaceRouteInput{
					RouteTableId: aws.String(b.ID), DestinationCidrBlock: aws.String("0.0.0.0/0"), GatewayId: aws.String(other),
				})
				if err != nil {
					t.Fatal(err)
				}

				_, err = b.World.EC2.DetachInternetGateway(t.Context(), &ec2.DetachInternetGatewayInput{
					InternetGatewayId: aws.String(other), VpcId: aws.String(b.Others["vpc"].ID),
				})
				if err != nil {
					t.Fatal(err)
				}

				attach(t, b, b.Others["internet-gateway"].ID)
			}},
			"Blackhole": {Property: "defaultRouteState", Beyond: true, Change: detach},
		},
	})
}

// A route that is there although the look did not show it may lead anywhere: it is read before the table is called ready.
func TestRefusedRouteIsRead(t *testing.T) {
	b := build(t)
	b.World.Fault = kindtest.RefuseOnce("CreateRoute", "RouteAlreadyExists")

	if r, err := b.Look(t.Context(), deploy.Ensure); err != nil || r.Done {
		t.Errorf("ensure with a route that does not show: got %+v, %v, want to look again", r, err)
	}
}

func TestBlackholeHealsWithTheGateway(t *testing.T) {
	b := build(t)
	b.Ensure(t)
	detach(t, b)

	if r, err := b.Look(t.Context(), deploy.Ensure); err != nil || r.Done {
		t.Errorf("ensure with a blackhole: got %+v, %v, want to wait", r, err)
	}

	attach(t, b, b.Others["internet-gateway"].ID)
	b.Ensure(t)
}

func TestRemoveWaitsForSubnets(t *testing.T) {
	b := build(t)
	b.Ensure(t)

	subnet, err := b.World.EC2.CreateSubnet(t.Context(), &ec2.CreateSubnetInput{
		VpcId: aws.String(b.Others["vpc"].ID), CidrBlock: aws.String("10.20.0.0/18"), AvailabilityZone: aws.String("us-east-1a"),
	})
	if err != nil {
		t.Fatal(err)
	}

	_, err = b.World.EC2.AssociateRouteTable(t.Context(), &ec2.AssociateRouteTableInput{RouteTableId: aws.String(b.ID), SubnetId: subnet.Subnet.SubnetId})
	if err != nil {
		t.Fatal(err)
	}

	if _, err := b.Look(t.Context(), deploy.Remove); !awserr.Is(err, deploy.NotReady) {
		t.Errorf("remove while a subnet uses the table: got %v, want class %q", err, deploy.NotReady)
	}

	if _, err := b.World.EC2.DeleteSubnet(t.Context(), &ec2.DeleteSubnetInput{SubnetId: subnet.Subnet.SubnetId}); err != nil {
		t.Fatal(err)
	}

	b.Remove(t)

	if n := count(t, b); n != 0 {
		t.Errorf("tables left: %d", n)
	}
}
