// Package vpc makes the VPC of a deployment: a private IPv4 range with DNS support and DNS hostnames on.
//
// CreateVpc has neither a client token nor a unique name, so a VPC is searched by tag before it is created (kind.Once).
package vpc

import (
	"context"
	"fmt"
	"strconv"
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
	CreateVpc(ctx context.Context, in *ec2.CreateVpcInput, opts ...func(*ec2.Options)) (*ec2.CreateVpcOutput, error)
	DescribeVpcs(ctx context.Context, in *ec2.DescribeVpcsInput, opts ...func(*ec2.Options)) (*ec2.DescribeVpcsOutput, error)
	ModifyVpcAttribute(ctx context.Context, in *ec2.ModifyVpcAttributeInput, opts ...func(*ec2.Options)) (*ec2.ModifyVpcAttributeOutput, error)
	DescribeVpcAttribute(ctx context.Context, in *ec2.DescribeVpcAttributeInput, opts ...func(*ec2.Options)) (*ec2.DescribeVpcAttributeOutput, error)
	DeleteVpc(ctx context.Context, in *ec2.DeleteVpcInput, opts ...func(*ec2.Options)) (*ec2.DeleteVpcOutput, error)
}

// VPC is the kind.
type VPC struct{ ec2 api }

// New takes the EC2 client.
func New(client api) *VPC { return &VPC{ec2: client} }

// name is the kind's name, which is also the ref: a deployment has one VPC.
const name = "vpc"

// About implements kind.Kind.
func (*VPC) About() kind.About {
	return kind.About{
		ForLife: true,
		Name:    name, Family: "ec2", Component: "network", Settings: deploy.Network{},
		Doc:      "The private network that jobs run in.",
		Ensuring: kind.Timing{Typical: 5 * time.Second, Deadline: 5 * time.Minute},
		// Network interfaces of a compute environment linger for up to 45 minutes after it is gone, and hold the VPC.
		Removing: kind.Timing{Typical: 2 * time.Second, Deadline: time.Hour},
	}
}

// Plan asks for a VPC where Batch starts instances.
func (*VPC) Plan(spec deploy.Spec) []kind.Item {
	if len(spec.Managed()) == 0 {
		return nil
	}

	if e := spec.Network.Existing; e != nil {
		return []kind.Item{{Ref: name, Existing: e.VPCID, Pointer: "/spec/network/existing/vpcId"}}
	}

	return []kind.Item{{Ref: name, Pointer: "/spec/network", Fixed: struct{ CIDR string }{spec.Network.CIDR}}}
}

// Ensure implements kind.Kind.
func (v *VPC) Ensure(ctx context.Context, c *kind.Call) (kind.Result, error) {
	id, err := kind.Once(ctx, c, func(ctx context.Context) (string, error) { return v.find(ctx, c) }, func(ctx context.Context) (string, error) {
		out, err := v.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{
			CidrBlock:         aws.String(c.Spec.Network.CIDR),
			TagSpecifications: ec2tag.Spec(types.ResourceTypeVpc, c.Tags()),
		}, ec2tag.OneAttempt)
		if err != nil {
			return "", fmt.Errorf("create VPC: %w", err)
		}

		return aws.ToString(out.Vpc.VpcId), nil
	})
	if err != nil {
		return kind.Result{}, err
	}

	if id == "" {
		return kind.Result{Waiting: "to be sure that no VPC was made"}, nil
	}

	obs, err := v.look(ctx, c, id)
	if err != nil || obs.State != kind.Ready {
		return kind.Result{ID: id, Waiting: "pending"}, awserr.IgnoreGone(err)
	}

	for _, d := range obs.Differences {
		if d.Property == "cidr" {
			return kind.Result{ID: id}, c.Immutable("VPC", id, d)
		}

		if err := v.enable(ctx, id, d.Property); err != nil {
			return kind.Result{ID: id, Waiting: "DNS attributes"}, awserr.IgnoreGone(err)
		}
	}

	return kind.Result{Done: len(obs.Differences) == 0, ID: id, ARN: obs.ARN, Outputs: obs.Outputs, Waiting: "DNS attributes"}, nil
}

// Remove implements kind.Kind.
func (v *VPC) Remove(ctx context.Context, c *kind.Call) (kind.Result, error) {
	id, err := v.find(ctx, c)
	if err != nil {
		return kind.Result{}, err
	}

	if id == "" {
		return kind.Result{Done: !c.Unsure(), Waiting: "to be sure that no VPC was made"}, nil
	}

	_, err = v.ec2.DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: aws.String(id)})
	if err = awserr.IgnoreGone(err); err != nil {
		return kind.Result{ID: id}, fmt.Errorf("delete VPC %s: %w", id, err)
	}

	c.Removed()

	// Gone is what a look says, not what a delete answers.
	return kind.Result{ID: id, Waiting: "deleting"}, nil
}

// Observe implements kind.Kind.
func (v *VPC) Observe(ctx context.Context, c *kind.Call) (kind.Observation, error) {
	id := c.Existing

	if id == "" {
		var err error
		if id, err = v.find(ctx, c); err != nil || id == "" {
			return kind.Observation{State: kind.Absent}, err
		}
	}

	obs, err := v.look(ctx, c, id)
	if awserr.Gone(err) {
		return kind.Observation{State: kind.Absent}, nil
	}

	return obs, err
}

// VPCs and quota code per Region: Service Quotas, "VPCs per Region", 5 by default.
const (
	quotaVPCs   = "L-F678F1CE"
	defaultVPCs = 5
)

// Check implements kind.Checker: room for one more VPC, or an existing one that is there.
func (v *VPC) Check(ctx context.Context, c *kind.Call) ([]deploy.Finding, error) {
	if c.Existing != "" {
		return kind.CheckExisting(ctx, v, c, "VPC")
	}

	if id, err := v.find(ctx, c); err != nil || id != "" {
		return nil, err // left over from an earlier attempt: nothing new is needed
	}

	have := 0

	pages := ec2.NewDescribeVpcsPaginator(v.ec2, &ec2.DescribeVpcsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("count VPCs: %w", err)
		}

		have += len(page.Vpcs)
	}

	return kind.Headroom(c, "VPCs", have, c.Quota(ctx, "vpc", quotaVPCs, defaultVPCs),
		"Request an increase of \"VPCs per Region\" in Service Quotas, delete a VPC, or name one of your own under network.existing."), nil
}

// find returns the id of the VPC that carries our tags, or an empty one.
func (v *VPC) find(ctx context.Context, c *kind.Call) (string, error) {
	out, err := v.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: ec2tag.Filters(c.Identity())})
	if err != nil {
		return "", fmt.Errorf("look for the VPC by tag: %w", err)
	}

	if len(out.Vpcs) == 0 {
		return "", nil
	}

	return aws.ToString(out.Vpcs[0].VpcId), nil
}

func (v *VPC) look(ctx context.Context, c *kind.Call, id string) (kind.Observation, error) {
	out, err := v.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{id}})
	if err != nil {
		return kind.Observation{}, fmt.Errorf("describe VPC %s: %w", id, err)
	}

	if len(out.Vpcs) == 0 {
		return kind.Observation{State: kind.Absent}, nil
	}

	found := out.Vpcs[0]
	obs := kind.Observation{
		State: kind.Ready, ID: id, ARN: c.Owner.ARN("ec2", c.Owner.Region, c.Owner.Account, "vpc/"+id),
		Outputs: map[string]string{"cidr": aws.ToString(found.CidrBlock)},
	}

	if found.State != types.VpcStateAvailable {
		obs.State = kind.InProgress

		return obs, nil
	}

	if have := aws.ToString(found.CidrBlock); c.Existing == "" && have != c.Spec.Network.CIDR {
		obs.Differences = append(obs.Differences, kind.Difference{Property: "cidr", Want: c.Spec.Network.CIDR, Have: have})
	}

	for _, attribute := range []types.VpcAttributeName{types.VpcAttributeNameEnableDnsSupport, types.VpcAttributeNameEnableDnsHostnames} {
		on, err := v.attribute(ctx, id, attribute)
		if err != nil {
			return obs, err
		}

		if !on {
			obs.Differences = append(obs.Differences, kind.Difference{Property: string(attribute), Want: "true", Have: strconv.FormatBool(on)})
		}
	}

	if c.Existing != "" {
		obs.Problems = kind.Belongs(c, "VPC", ec2tag.Map(found.Tags))

		if len(obs.Differences) > 0 {
			obs.Problems = append(obs.Problems, kind.Unusable(c, "The VPC "+id+" has DNS support or DNS hostnames off.",
				"Turn both on: instances find ECS and S3 by name."))
		}
	}

	return obs, nil
}

func (v *VPC) attribute(ctx context.Context, id string, attribute types.VpcAttributeName) (bool, error) {
	out, err := v.ec2.DescribeVpcAttribute(ctx, &ec2.DescribeVpcAttributeInput{VpcId: aws.String(id), Attribute: attribute})
	if err != nil {
		return false, fmt.Errorf("read %s of VPC %s: %w", attribute, id, err)
	}

	value := out.EnableDnsSupport
	if attribute == types.VpcAttributeNameEnableDnsHostnames {
		value = out.EnableDnsHostnames
	}

	return value != nil && aws.ToBool(value.Value), nil
}

// enable switches one attribute on: AWS takes one a call.
func (v *VPC) enable(ctx context.Context, id, attribute string) error {
	in, on := &ec2.ModifyVpcAttributeInput{VpcId: aws.String(id)}, &types.AttributeBooleanValue{Value: aws.Bool(true)}

	if attribute == string(types.VpcAttributeNameEnableDnsHostnames) {
		in.EnableDnsHostnames = on
	} else {
		in.EnableDnsSupport = on
	}

	if _, err := v.ec2.ModifyVpcAttribute(ctx, in); err != nil {
		return fmt.Errorf("enable %s of VPC %s: %w", attribute, id, err)
	}

	return nil
}
