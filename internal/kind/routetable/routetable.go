// Package routetable makes the route table of a deployment's public subnets, with a default route to the internet gateway.
//
// CreateRouteTable takes a client token, so a create whose answer was lost is simply repeated. EC2 forgets tokens, so a table is searched by tag first.
package routetable

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/ec2tag"
)

// api is what this kind calls.
type api interface {
	CreateRouteTable(ctx context.Context, in *ec2.CreateRouteTableInput, opts ...func(*ec2.Options)) (*ec2.CreateRouteTableOutput, error)
	DescribeRouteTables(ctx context.Context, in *ec2.DescribeRouteTablesInput, opts ...func(*ec2.Options)) (*ec2.DescribeRouteTablesOutput, error)
	CreateRoute(ctx context.Context, in *ec2.CreateRouteInput, opts ...func(*ec2.Options)) (*ec2.CreateRouteOutput, error)
	ReplaceRoute(ctx context.Context, in *ec2.ReplaceRouteInput, opts ...func(*ec2.Options)) (*ec2.ReplaceRouteOutput, error)
	DeleteRouteTable(ctx context.Context, in *ec2.DeleteRouteTableInput, opts ...func(*ec2.Options)) (*ec2.DeleteRouteTableOutput, error)
	ec2tag.API
}

// RouteTable is the kind.
type RouteTable struct{ ec2 api }

// New takes the EC2 client.
func New(client api) *RouteTable { return &RouteTable{ec2: client} }

// name is the kind's name, which is also the ref: all subnets of a deployment share one table.
const name = "route-table"

// everywhere is the destination of the default route.
const everywhere = "0.0.0.0/0"

// About implements kind.Kind.
func (*RouteTable) About() kind.About {
	return kind.About{
		Name: name, Family: "ec2", Component: "network", Settings: deploy.Network{}, Needs: []string{"vpc", "internet-gateway"},
		Doc:      "The default route of the subnets, to the internet gateway.",
		Ensuring: kind.Timing{Typical: 3 * time.Second, Deadline: 5 * time.Minute},
		Removing: kind.Timing{Typical: 2 * time.Second, Deadline: 10 * time.Minute},
	}
}

// Plan asks for a table in a network that we make.
func (*RouteTable) Plan(spec deploy.Spec) []kind.Item {
	if len(spec.Managed()) == 0 || spec.Network.Existing != nil {
		return nil
	}

	return []kind.Item{{Ref: name, Needs: []deploy.Ref{"vpc", "internet-gateway"}, Pointer: "/spec/network"}}
}

// Ensure implements kind.Kind.
func (r *RouteTable) Ensure(ctx context.Context, c *kind.Call) (kind.Result, error) {
	var found *types.RouteTable

	id, err := kind.Repeatable(ctx, c, func(ctx context.Context) (string, error) {
		var err error
		found, err = r.find(ctx, c)

		return id(found), err
	}, func(ctx context.Context) (string, error) {
		out, err := r.ec2.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{
			VpcId: aws.String(c.One("vpc").ID), ClientToken: aws.String(c.Token()),
			TagSpecifications: ec2tag.Spec(types.ResourceTypeRouteTable, c.Tags()),
		})
		if err != nil {
			return "", fmt.Errorf("create route table: %w", err)
		}

		found = out.RouteTable

		return id(found), nil
	})
	if err = awserr.IgnoreGone(err); err != nil { // "not found" is the VPC, which is not visible everywhere yet
		return kind.Result{}, err
	}

	if found == nil {
		return kind.Result{ID: id, Waiting: "to see the route table"}, nil
	}

	obs := observe(c, found)
	result := kind.Result{Done: true, ID: id, ARN: obs.ARN, Outputs: obs.Outputs}

	for _, d := range obs.Differences {
		mended, err := r.mend(ctx, c, id, d)
		if err != nil {
			return kind.Result{ID: id, Waiting: d.Property}, err
		}

		if !mended {
			result.Done, result.Waiting = false, d.Property+": "+d.Have
		}
	}

	return result, nil
}

// mend puts one property right, and tells whether EC2 has done so; what it does not see yet is left to the next look.
func (r *RouteTable) mend(ctx context.Context, c *kind.Call, id string, d kind.Difference) (bool, error) {
	switch d.Property {
	case propRoute:
		return r.route(ctx, c, id, d.Have != kind.None)
	case propRouteState:
		return false, nil // the gateway is detached: the route works again once it is attached
	case kind.PropertyTags:
		return ec2tag.Mend(ctx, r.ec2, c, id)
	default:
		return false, c.Immutable("route table", id, d)
	}
}

// route points the default route at our internet gateway, and tells whether EC2 has done so. A gateway or table that EC2 does not see yet, and a route that
// we do not, are left to the next look.
func (r *RouteTable) route(ctx context.Context, c *kind.Call, id string, there bool) (bool, error) {
	gateway := aws.String(c.One("internet-gateway").ID)

	if there {
		_, err := r.ec2.ReplaceRoute(ctx, &ec2.ReplaceRouteInput{RouteTableId: aws.String(id), DestinationCidrBlock: aws.String(everywhere), GatewayId: gateway})
		if awserr.IgnoreGone(err) != nil {
			return false, fmt.Errorf("replace default route of %s: %w", id, err)
		}

		return err == nil, nil
	}

	_, err := r.ec2.CreateRoute(ctx, &ec2.CreateRouteInput{RouteTableId: aws.String(id), DestinationCidrBlock: aws.String(everywhere), GatewayId: gateway})
	if awserr.IgnoreGone(err) != nil && awserr.Code(err) != "RouteAlreadyExists" {
		return false, fmt.Errorf("create default route of %s: %w", id, err)
	}

	return err == nil, nil
}

// Remove implements kind.Kind. A table that subnets still use is refused (DependencyViolation); the caller looks again.
func (r *RouteTable) Remove(ctx context.Context, c *kind.Call) (kind.Result, error) {
	found, err := r.find(ctx, c)
	if err != nil {
		return kind.Result{}, err
	}

	if found == nil {
		return kind.Result{Done: !c.Unsure(), Waiting: "to be sure that no route table was made"}, nil
	}

	_, err = r.ec2.DeleteRouteTable(ctx, &ec2.DeleteRouteTableInput{RouteTableId: found.RouteTableId})
	if err = awserr.IgnoreGone(err); err != nil {
		return kind.Result{ID: id(found)}, fmt.Errorf("delete route table %s: %w", id(found), err)
	}

	c.Removed()

	return kind.Result{ID: id(found), Waiting: "deleting"}, nil
}

// Observe implements kind.Kind.
func (r *RouteTable) Observe(ctx context.Context, c *kind.Call) (kind.Observation, error) {
	found, err := r.find(ctx, c)
	if err != nil || found == nil {
		return kind.Observation{State: kind.Absent}, err
	}

	return observe(c, found), nil
}

// The properties that Observe compares beside the VPC and tags.
const (
	propRoute      = "defaultRoute"
	propRouteState = "defaultRouteState"
)

func observe(c *kind.Call, found *types.RouteTable) kind.Observation {
	obs := kind.Observation{
		State: kind.Ready, ID: id(found),
		ARN: c.Owner.ARN("ec2", c.Owner.Region, c.Owner.Account, "route-table/"+id(found)),
	}

	want, have, state := c.One("internet-gateway").ID, "", types.RouteStateActive

	for i := range found.Routes {
		if route := &found.Routes[i]; aws.ToString(route.DestinationCidrBlock) == everywhere {
			have, state = target(route), route.State
		}
	}

	obs.Differences = kind.Differing(
		kind.Difference{Property: "vpcId", Want: c.One("vpc").ID, Have: aws.ToString(found.VpcId)},
		kind.Difference{Property: propRoute, Want: want, Have: have}, ec2tag.Differ(c, found.Tags),
	)

	// That a route to elsewhere leads nowhere is no second difference.
	if want == have {
		obs.Differences = append(obs.Differences, kind.Differing(kind.Difference{Property: propRouteState, Want: string(types.RouteStateActive), Have: string(state)})...)
	}

	return obs
}

// target is what a route leads to: of these members AWS fills in one.
func target(r *types.Route) string {
	for _, id := range []*string{
		r.GatewayId, r.NatGatewayId, r.NetworkInterfaceId, r.TransitGatewayId, r.VpcPeeringConnectionId, r.LocalGatewayId, r.CarrierGatewayId,
		r.EgressOnlyInternetGatewayId, r.CoreNetworkArn,
	} {
		if id != nil {
			return *id
		}
	}

	return "something else"
}

// find returns the table that carries our tags, or nil.
func (r *RouteTable) find(ctx context.Context, c *kind.Call) (*types.RouteTable, error) {
	out, err := r.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: ec2tag.Filters(c.Identity())})
	if err != nil {
		return nil, fmt.Errorf("look for the route table by tag: %w", err)
	}

	if len(out.RouteTables) == 0 {
		return nil, nil
	}

	return &out.RouteTables[0], nil
}

func id(t *types.RouteTable) string {
	if t == nil {
		return ""
	}

	return aws.ToString(t.RouteTableId)
}
