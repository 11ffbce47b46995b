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
	ec2tag.API
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
	var found *types.Vpc

	id, err := kind.Once(ctx, c, func(ctx context.Context) (string, error) {
		var err error
		found, err = v.find(ctx, c)

		return id(found), err
	}, func(ctx context.Context) (string, error) {
		out, err := v.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{
			CidrBlock:         aws.String(c.Spec.Network.CIDR),
			TagSpecifications: ec2tag.Spec(types.ResourceTypeVpc, c.Tags()),
		}, ec2tag.OneAttempt)
		if err != nil {
			return "", fmt.Errorf("create VPC: %w", err)
		}

		found = out.Vpc

		return id(found), nil
	})
	if err != nil {
		return kind.Result{}, err
	}

	if found == nil {
		return kind.Result{Waiting: "to be sure that no VPC was made"}, nil
	}

	obs, err := v.look(ctx, c, found)
	if err != nil || obs.State != kind.Ready {
		return kind.Result{ID: id, Waiting: "pending"}, awserr.IgnoreGone(err)
	}

	for _, d := range obs.Differences {
		if mended, err := v.mend(ctx, c, id, d); !mended {
			return kind.Result{ID: id, Waiting: d.Property}, err
		}
	}

	return kind.Result{Done: true, ID: id, ARN: obs.ARN, Outputs: obs.Outputs}, nil
}

// mend puts one property right, and tells whether EC2 has done so; what it does not see yet is left to the next look.
func (v *VPC) mend(ctx context.Context, c *kind.Call, id string, d kind.Difference) (bool, error) {
	switch d.Property {
	case "cidr":
		return false, c.Immutable("VPC", id, d)
	case kind.PropertyTags:
		return ec2tag.Mend(ctx, v.ec2, c, id)
	default:
		err := v.enable(ctx, id, d.Property)

		return err == nil, awserr.IgnoreGone(err)
	}
}

// Remove implements kind.Kind.
func (v *VPC) Remove(ctx context.Context, c *kind.Call) (kind.Result, error) {
	found, err := v.find(ctx, c)
	if err != nil {
		return kind.Result{}, err
	}

	if found == nil {
		return kind.Result{Done: !c.Unsure(), Waiting: "to be sure that no VPC was made"}, nil
	}

	_, err = v.ec2.DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: found.VpcId})
	if err = awserr.IgnoreGone(err); err != nil {
		return kind.Result{ID: id(found)}, fmt.Errorf("delete VPC %s: %w", id(found), err)
	}

	c.Removed()

	// Gone is what a look says, not what a delete answers.
	return kind.Result{ID: id(found), Waiting: "deleting"}, nil
}

// Observe implements kind.Kind.
func (v *VPC) Observe(ctx context.Context, c *kind.Call) (kind.Observation, error) {
	look := v.find
	if c.Existing != "" {
		look = v.existing
	}

	found, err := look(ctx, c)
	if err != nil || found == nil {
		return kind.Observation{State: kind.Absent}, err
	}

	obs, err := v.look(ctx, c, found)
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

	have := 0

	pages := ec2.NewDescribeVpcsPaginator(v.ec2, &ec2.DescribeVpcsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("count VPCs: %w", err)
		}

		for i := range page.Vpcs {
			if c.Owns(ec2tag.Map(page.Vpcs[i].Tags)) {
				return nil, nil // left over from an earlier attempt: nothing new is needed
			}
		}

		have += len(page.Vpcs)
	}

	return kind.Headroom(c, "VPCs", have, c.Quota(ctx, "vpc", quotaVPCs, defaultVPCs),
		"Request an increase of \"VPCs per Region\" in Service Quotas, delete a VPC, or name one of your own under network.existing."), nil
}

// find returns the VPC that carries our tags, or nil.
func (v *VPC) find(ctx context.Context, c *kind.Call) (*types.Vpc, error) {
	out, err := v.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: ec2tag.Filters(c.Identity())})
	if err != nil {
		return nil, fmt.Errorf("look for the VPC by tag: %w", err)
	}

	if len(out.Vpcs) == 0 {
		return nil, nil
	}

	return &out.Vpcs[0], nil
}

// existing returns the VPC that the owner named, or nil.
func (v *VPC) existing(ctx context.Context, c *kind.Call) (*types.Vpc, error) {
	out, err := v.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{c.Existing}})
	if awserr.Gone(err) || err == nil && len(out.Vpcs) == 0 {
		return nil, nil
	}

	if err != nil {
		return nil, fmt.Errorf("describe VPC %s: %w", c.Existing, err)
	}

	return &out.Vpcs[0], nil
}

func id(v *types.Vpc) string {
	if v == nil {
		return ""
	}

	return aws.ToString(v.VpcId)
}

// look compares a VPC with what is wanted.
func (v *VPC) look(ctx context.Context, c *kind.Call, found *types.Vpc) (kind.Observation, error) {
	id := id(found)
	obs := kind.Observation{
		State: kind.Ready, ID: id, ARN: c.Owner.ARN("ec2", c.Owner.Region, c.Owner.Account, "vpc/"+id),
		Outputs: map[string]string{"cidr": aws.ToString(found.CidrBlock)},
	}

	if found.State != types.VpcStateAvailable {
		obs.State = kind.InProgress

		return obs, nil
	}

	var dns []kind.Difference

	for _, attribute := range []types.VpcAttributeName{types.VpcAttributeNameEnableDnsSupport, types.VpcAttributeNameEnableDnsHostnames} {
		on, err := v.attribute(ctx, id, attribute)
		if err != nil {
			return obs, err
		}

		dns = append(dns, kind.Differing(kind.Difference{Property: string(attribute), Want: "true", Have: strconv.FormatBool(on)})...)
	}

	if c.Existing == "" {
		obs.Differences = append(kind.Differing(
			kind.Difference{Property: "cidr", Want: c.Spec.Network.CIDR, Have: aws.ToString(found.CidrBlock)}, ec2tag.Differ(c, found.Tags),
		), dns...)

		return obs, nil
	}

	// What is the owner's, the owner sets right.
	obs.Problems = kind.Belongs(c, "VPC", ec2tag.Map(found.Tags))

	if len(dns) > 0 {
		obs.Problems = append(obs.Problems, kind.Unusable(c, "The VPC "+id+" has DNS support or DNS hostnames off.",
			"Turn both on: instances find ECS and S3 by name."))
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
