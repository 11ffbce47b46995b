package vpcendpoint_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/kindtest"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/vpcendpoint"
)

func build(t *testing.T) *kindtest.Bench {
	t.Helper()

	w, clock := kindtest.World()
	b := kindtest.New(t, vpcendpoint.New(w.EC2), w, clock, deploy.Spec{}, "vpc-endpoint")

	out, err := w.EC2.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.20.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}

	b.Others["vpc"] = kind.Other{ID: *out.Vpc.VpcId}
	b.Others["route-table"] = kind.Other{ID: table(t, b)}

	return b
}

func table(t *testing.T, b *kindtest.Bench) string {
	t.Helper()

	out, err := b.World.EC2.CreateRouteTable(t.Context(), &ec2.CreateRouteTableInput{VpcId: aws.String(b.Others["vpc"].ID)})
	if err != nil {
		t.Fatal(err)
	}

	return *out.RouteTable.RouteTableId
}

// count leaves out what EC2 still lists as deleted.
func count(t *testing.T, b *kindtest.Bench) int {
	t.Helper()

	out, err := b.World.EC2.DescribeVpcEndpoints(t.Context(), &ec2.DescribeVpcEndpointsInput{})
	if err != nil {
		t.Fatal(err)
	}

	n := 0

	for _, e := range out.VpcEndpoints {
		if e.State != "deleted" {
			n++
		}
	}

	return n
}

func TestConformance(t *testing.T) {
	kindtest.Suite(t, kindtest.Subject{
		Build: build, Count: count, Late: func(b *kindtest.Bench, d time.Duration) { b.World.EC2.Lag = d },
		Tolerated: map[string]string{"CreateVpcEndpoint": "InvalidRouteTableId.NotFound"},
		Foreign: func(t *testing.T, b *kindtest.Bench) {
			t.Helper()

			_, err := b.World.EC2.CreateVpcEndpoint(t.Context(), &ec2.CreateVpcEndpointInput{
				VpcId: aws.String(b.Others["vpc"].ID), ServiceName: aws.String("com.amazonaws.us-east-1.s3"), RouteTableIds: []string{table(t, b)},
			})
			if err != nil {
				t.Fatal(err)
			}
		},
		Drifts: map[string]kindtest.Drift{
			"TableRemoved": {Property: "routeTableIds", Change: func(t *testing.T, b *kindtest.Bench) {
				t.Helper()

				_, err := b.World.EC2.ModifyVpcEndpoint(t.Context(), &ec2.ModifyVpcEndpointInput{
					VpcEndpointId: aws.String(b.ID), RemoveRouteTableIds: []string{b.Others["route-table"].ID},
				})
				if err != nil {
					t.Fatal(err)
				}
			}},
		},
	})
}

// A route table holds one route for S3. Whoever put theirs in first has to take it out.
func TestSomebodyElsesEndpointIsInTheWay(t *testing.T) {
	b := build(t)
	if _, err := b.World.EC2.CreateVpcEndpoint(t.Context(), &ec2.CreateVpcEndpointInput{
		VpcId: aws.String(b.Others["vpc"].ID), ServiceName: aws.String("com.amazonaws.us-east-1.s3"), RouteTableIds: []string{b.Others["route-table"].ID},
	}); err != nil {
		t.Fatal(err)
	}

	_, err := b.Look(t.Context(), deploy.Ensure)
	if e := awserr.Classify(err); err == nil || e.Class != deploy.Conflict || e.Code != "endpoint_route_taken" || !strings.Contains(e.Remedy, b.Others["route-table"].ID) {
		t.Errorf("ensure where an endpoint is already: %+v", err)
	}
}

func TestFurtherTablesAreTheOwners(t *testing.T) {
	b := build(t)
	b.Ensure(t)

	_, err := b.World.EC2.ModifyVpcEndpoint(t.Context(), &ec2.ModifyVpcEndpointInput{VpcEndpointId: aws.String(b.ID), AddRouteTableIds: []string{table(t, b)}})
	if err != nil {
		t.Fatal(err)
	}

	if d := b.Observe(t).Differences; len(d) > 0 {
		t.Errorf("a further route table is no difference, got %v", d)
	}
}

// EC2 knows a token longer than the endpoint: to the create that is sent again it answers what it answered first, and that endpoint may be gone.
func TestRepeatedAnswerIsNotBelieved(t *testing.T) {
	b := build(t)
	b.World.Takes.EndpointPending, b.World.Takes.EndpointDeleting = 0, 0
	b.World.Fault = kindtest.LoseOnce("CreateVpcEndpoint")

	if _, err := b.Look(t.Context(), deploy.Ensure); !awserr.Is(err, deploy.Transient) {
		t.Fatalf("create whose answer is lost: got %v, want class %q", err, deploy.Transient)
	}

	for id := range b.World.Inventory() {
		if _, made, ok := strings.Cut(id, "ec2 vpce-"); ok {
			b.World.Vanish("ec2 vpce-" + made)
		}
	}

	mark := len(b.World.Calls())

	r, err := b.Look(t.Context(), deploy.Ensure)
	if err != nil || r.Done {
		t.Errorf("ensure with a repeated answer: got %+v, %v, want to look first", r, err)
	}

	if diff := cmp.Diff([]string{"CreateVpcEndpoint"}, b.Changes(mark)); diff != "" {
		t.Errorf("changing calls (-want +got):\n%s", diff)
	}
}

// answers is EC2 with endpoints in a state of the test's choice.
type answers struct {
	*awsfake.EC2

	state        types.State
	unsuccessful string
}

func (a *answers) DescribeVpcEndpoints(ctx context.Context, in *ec2.DescribeVpcEndpointsInput, opts ...func(*ec2.Options)) (*ec2.DescribeVpcEndpointsOutput, error) {
	out, err := a.EC2.DescribeVpcEndpoints(ctx, in, opts...)
	if err == nil && a.state != "" {
		for i := range out.VpcEndpoints {
			out.VpcEndpoints[i].State = a.state
			out.VpcEndpoints[i].LastError = &types.LastError{Message: aws.String("no such service")}
		}
	}

	return out, err
}

func (a *answers) DeleteVpcEndpoints(ctx context.Context, in *ec2.DeleteVpcEndpointsInput, opts ...func(*ec2.Options)) (*ec2.DeleteVpcEndpointsOutput, error) {
	if a.unsuccessful == "" {
		return a.EC2.DeleteVpcEndpoints(ctx, in, opts...)
	}

	return &ec2.DeleteVpcEndpointsOutput{Unsuccessful: []types.UnsuccessfulItem{{
		ResourceId: aws.String(in.VpcEndpointIds[0]), Error: &types.UnsuccessfulItemError{Code: aws.String(a.unsuccessful), Message: aws.String("no")},
	}}}, nil
}

func TestStates(t *testing.T) {
	cases := map[string]struct {
		reason string
		state  types.State
		want   kind.State
		class  deploy.Class
	}{
		"LowerCase": {"the usual spelling", "available", kind.Ready, ""},
		"UpperCase": {"the API model's spelling", types.StateAvailable, kind.Ready, ""},
		"Pending":   {"on its way", types.StatePending, kind.InProgress, ""},
		"Deleting":  {"a removal must end before a create", types.StateDeleting, kind.InProgress, ""},
		"Deleted":   {"EC2 lists deleted endpoints for a while", types.StateDeleted, kind.Absent, ""},
		"Failed":    {"it will never come", types.StateFailed, kind.Failed, deploy.Invalid},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := build(t)
			b.Ensure(t)

			b.Kind = vpcendpoint.New(&answers{EC2: b.World.EC2, state: c.state})

			if got := b.Observe(t).State; got != c.want {
				t.Errorf("%s: observe says %q, want %q", c.reason, got, c.want)
			}

			if c.want == kind.Absent {
				return
			}

			r, err := b.Look(t.Context(), deploy.Ensure)
			if r.Done != (c.want == kind.Ready) {
				t.Errorf("%s: ensure answers done=%v", c.reason, r.Done)
			}

			if (err != nil) != (c.class != "") || err != nil && !awserr.Is(err, c.class) {
				t.Errorf("%s: ensure answers %v, want class %q", c.reason, err, c.class)
			}
		})
	}
}

func TestRemoveReadsRefusalsInTheAnswer(t *testing.T) {
	cases := map[string]struct {
		reason string
		code   string
		class  deploy.Class
	}{
		"Gone":    {"not found is what a removal wants", "InvalidVpcEndpoint.NotFound", ""},
		"Denied":  {"an answer with status 200 may hold a refusal", "UnauthorizedOperation", deploy.Denied},
		"Waiting": {"or a reason to look again", "DependencyViolation", deploy.NotReady},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := build(t)
			b.Ensure(t)

			b.Kind = vpcendpoint.New(&answers{EC2: b.World.EC2, unsuccessful: c.code})

			r, err := b.Look(t.Context(), deploy.Remove)
			if r.Done {
				t.Errorf("%s: gone is what a look says", c.reason)
			}

			if (err != nil) != (c.class != "") || err != nil && !awserr.Is(err, c.class) {
				t.Errorf("%s: got %v, want class %q", c.reason, err, c.class)
			}
		})
	}
}
