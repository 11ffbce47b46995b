// Package vpcendpoint makes the gateway endpoint through which a deployment's subnets reach S3: free of charge, and off the internet.
//
// CreateVpcEndpoint takes a client token, so a create whose answer was lost is simply repeated. EC2 forgets tokens, so an endpoint is searched by tag
// first. Its route is EC2's own and comes and goes with it.
package vpcendpoint

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/ec2tag"
)

// api is what this kind calls.
type api interface {
	CreateVpcEndpoint(ctx context.Context, in *ec2.CreateVpcEndpointInput, opts ...func(*ec2.Options)) (*ec2.CreateVpcEndpointOutput, error)
	DescribeVpcEndpoints(ctx context.Context, in *ec2.DescribeVpcEndpointsInput, opts ...func(*ec2.Options)) (*ec2.DescribeVpcEndpointsOutput, error)
	ModifyVpcEndpoint(ctx context.Context, in *ec2.ModifyVpcEndpointInput, opts ...func(*ec2.Options)) (*ec2.ModifyVpcEndpointOutput, error)
	DeleteVpcEndpoints(ctx context.Context, in *ec2.DeleteVpcEndpointsInput, opts ...func(*ec2.Options)) (*ec2.DeleteVpcEndpointsOutput, error)
	ec2tag.API
}

// VPCEndpoint is the kind.
type VPCEndpoint struct{ ec2 api }

// New takes the EC2 client.
func New(client api) *VPCEndpoint { return &VPCEndpoint{ec2: client} }

// name is the kind's name, which is also the ref: a deployment has one endpoint, to S3.
const name = "vpc-endpoint"

// About implements kind.Kind.
func (*VPCEndpoint) About() kind.About {
	return kind.About{
		Name: name, Family: "ec2", Component: "network", Settings: deploy.Network{}, Needs: []string{"vpc", "route-table"},
		Doc: "The gateway through which jobs reach S3 without leaving AWS's network.",
		// Jobs that still run reach their bucket through it.
		RemoveAfter: []string{"job-queue", "compute-environment"},
		Ensuring:    kind.Timing{Typical: 5 * time.Second, Deadline: 10 * time.Minute},
		Removing:    kind.Timing{Typical: 10 * time.Second, Deadline: 10 * time.Minute},
	}
}

// Plan asks for an endpoint in a network that we make.
func (*VPCEndpoint) Plan(spec deploy.Spec) []kind.Item {
	if len(spec.Managed()) == 0 || spec.Network.Existing != nil {
		return nil
	}

	return []kind.Item{{Ref: name, Needs: []deploy.Ref{"vpc", "route-table"}, Pointer: "/spec/network"}}
}

// service is the name of S3's endpoint service. It starts with com.amazonaws in every partition, in China too.
func service(c *kind.Call) string { return "com.amazonaws." + c.Owner.Region + ".s3" }

// Ensure implements kind.Kind.
func (e *VPCEndpoint) Ensure(ctx context.Context, c *kind.Call) (kind.Result, error) {
	var found *types.VpcEndpoint

	// To a token that it knows EC2 repeats its first answer, whatever has become of the endpoint.
	first := !c.Tried()

	id, err := kind.Repeatable(ctx, c, func(ctx context.Context) (string, error) {
		var err error
		found, err = e.find(ctx, c)

		return id(found), err
	}, func(ctx context.Context) (string, error) {
		out, err := e.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{
			VpcId: aws.String(c.One("vpc").ID), ServiceName: aws.String(service(c)), VpcEndpointType: types.VpcEndpointTypeGateway,
			RouteTableIds: []string{c.One("route-table").ID}, ClientToken: aws.String(c.Token()),
			TagSpecifications: ec2tag.Spec(types.ResourceTypeVpcEndpoint, c.Tags()),
		})
		if awserr.Code(err) == "RouteAlreadyExists" {
			taken := awserr.Classify(err)
			taken.Code = "endpoint_route_taken"

			return "", taken.WithRemedy("Delete the other S3 endpoint of route table %s, and create the deployment again.", c.One("route-table").ID)
		}

		if err != nil {
			return "", fmt.Errorf("create S3 endpoint: %w", err)
		}

		if first {
			found = out.VpcEndpoint
		}

		return aws.ToString(out.VpcEndpoint.VpcEndpointId), nil
	})
	if err = awserr.IgnoreGone(err); err != nil { // "not found" is the VPC or its route table, which is not visible everywhere yet
		return kind.Result{}, err
	}

	if found == nil {
		return kind.Result{ID: id, Waiting: "to see the endpoint"}, nil
	}

	obs := observe(c, found)

	switch obs.State {
	case kind.InProgress:
		return kind.Result{ID: id, Waiting: state(found)}, nil
	case kind.Failed:
		return kind.Result{ID: id}, deploy.Errorf(deploy.Invalid, "endpoint_failed", "The S3 endpoint %s is %s%s.", id, state(found), reason(found)).
			WithRemedy("Delete the deployment and create it again.")
	case kind.Absent, kind.Ready:
	}

	result := kind.Result{Done: true, ID: id, ARN: obs.ARN, Outputs: obs.Outputs, Waiting: "route table and tags"}

	for _, d := range obs.Differences {
		mended, err := e.mend(ctx, c, id, d)
		if err != nil {
			return kind.Result{ID: id, Waiting: d.Property}, err
		}

		result.Done = result.Done && mended
	}

	return result, nil
}

// mend puts one property right, and tells whether EC2 has done so. Route tables are left to the next look.
func (e *VPCEndpoint) mend(ctx context.Context, c *kind.Call, id string, d kind.Difference) (bool, error) {
	switch d.Property {
	case propRouteTables:
		_, err := e.ec2.ModifyVpcEndpoint(ctx, &ec2.ModifyVpcEndpointInput{VpcEndpointId: aws.String(id), AddRouteTableIds: []string{c.One("route-table").ID}})
		if err = awserr.IgnoreGone(err); err != nil {
			return false, fmt.Errorf("add route table to S3 endpoint %s: %w", id, err)
		}

		return false, nil
	case kind.PropertyTags:
		return ec2tag.Mend(ctx, e.ec2, c, id)
	default:
		return false, c.Immutable("S3 endpoint", id, d)
	}
}

// Remove implements kind.Kind.
func (e *VPCEndpoint) Remove(ctx context.Context, c *kind.Call) (kind.Result, error) {
	found, err := e.find(ctx, c)
	if err != nil {
		return kind.Result{}, err
	}

	if found == nil {
		return kind.Result{Done: !c.Unsure(), Waiting: "to be sure that no endpoint was made"}, nil
	}

	if state(found) == "deleting" {
		return kind.Result{ID: id(found), Waiting: "deleting"}, nil
	}

	out, err := e.ec2.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{id(found)}})
	if err == nil {
		err = unsuccessful(out.Unsuccessful)
	}

	if err = awserr.IgnoreGone(err); err != nil {
		return kind.Result{ID: id(found)}, fmt.Errorf("delete S3 endpoint %s: %w", id(found), err)
	}

	c.Removed()

	return kind.Result{ID: id(found), Waiting: "deleting"}, nil
}

// unsuccessful finds the refusal in an answer that came with HTTP status 200.
func unsuccessful(items []types.UnsuccessfulItem) error {
	for _, item := range items {
		if item.Error != nil {
			return &smithy.GenericAPIError{Code: aws.ToString(item.Error.Code), Message: aws.ToString(item.Error.Message)}
		}
	}

	return nil
}

// Observe implements kind.Kind.
func (e *VPCEndpoint) Observe(ctx context.Context, c *kind.Call) (kind.Observation, error) {
	found, err := e.find(ctx, c)
	if err != nil || found == nil {
		return kind.Observation{State: kind.Absent}, err
	}

	return observe(c, found), nil
}

// propRouteTables is the one property beside tags that AWS changes in place.
const propRouteTables = "routeTableIds"

func observe(c *kind.Call, found *types.VpcEndpoint) kind.Observation {
	obs := kind.Observation{ID: id(found), ARN: c.Owner.ARN("ec2", c.Owner.Region, c.Owner.Account, "vpc-endpoint/"+id(found))}

	switch state(found) {
	case "available":
		obs.State = kind.Ready
	case "pending", "deleting":
		obs.State = kind.InProgress

		return obs
	default:
		obs.State = kind.Failed

		return obs
	}

	// Route tables that others added are theirs.
	table, tables := c.One("route-table").ID, strings.Join(found.RouteTableIds, ", ")
	if slices.Contains(found.RouteTableIds, table) {
		tables = table
	}

	obs.Differences = kind.Differing(
		kind.Difference{Property: "vpcId", Want: c.One("vpc").ID, Have: aws.ToString(found.VpcId)},
		kind.Difference{Property: "serviceName", Want: service(c), Have: aws.ToString(found.ServiceName)},
		kind.Difference{Property: "vpcEndpointType", Want: string(types.VpcEndpointTypeGateway), Have: endpointType(found)},
		kind.Difference{Property: propRouteTables, Want: table, Have: tables},
		ec2tag.Differ(c, found.Tags),
	)

	return obs
}

// endpointType takes none for Gateway: in AWS GovCloud endpoints may show no type.
func endpointType(found *types.VpcEndpoint) string {
	if found.VpcEndpointType == "" || strings.EqualFold(string(found.VpcEndpointType), string(types.VpcEndpointTypeGateway)) {
		return string(types.VpcEndpointTypeGateway)
	}

	return string(found.VpcEndpointType)
}

// state is in lower case, because EC2 answers "available" and "Available" alike.
func state(found *types.VpcEndpoint) string { return strings.ToLower(string(found.State)) }

func reason(found *types.VpcEndpoint) string {
	if found.LastError == nil || aws.ToString(found.LastError.Message) == "" {
		return ""
	}

	return ": " + aws.ToString(found.LastError.Message)
}

// find returns the endpoint that carries our tags, or nil. EC2 goes on listing a deleted endpoint for a while.
func (e *VPCEndpoint) find(ctx context.Context, c *kind.Call) (*types.VpcEndpoint, error) {
	out, err := e.ec2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{Filters: ec2tag.Filters(c.Identity())})
	if err != nil {
		return nil, fmt.Errorf("look for the S3 endpoint by tag: %w", err)
	}

	for i := range out.VpcEndpoints {
		if state(&out.VpcEndpoints[i]) != "deleted" {
			return &out.VpcEndpoints[i], nil
		}
	}

	return nil, nil
}

func id(e *types.VpcEndpoint) string {
	if e == nil {
		return ""
	}

	return aws.ToString(e.VpcEndpointId)
}
