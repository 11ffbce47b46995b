package awsfake

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// EC2 is the fake of the service, as far as the network kinds call it.
type EC2 struct {
	w    *World
	vpcs map[string]*vpc
}

type vpc struct {
	id, cidr            string
	dnsSupport, dnsHost bool
	tags                map[string]string
}

func newEC2(w *World) *EC2 { return &EC2{w: w, vpcs: map[string]*vpc{}} }

// CreateVpc has neither a token nor a unique name: each call makes one. API reference, CreateVpc.
func (e *EC2) CreateVpc(ctx context.Context, in *ec2.CreateVpcInput, _ ...func(*ec2.Options)) (*ec2.CreateVpcOutput, error) {
	return do(ctx, e.w, "ec2", "CreateVpc", in, func() (*ec2.CreateVpcOutput, error) {
		v := &vpc{id: e.w.id("vpc"), cidr: aws.ToString(in.CidrBlock), dnsSupport: true, tags: tagSpec(in.TagSpecifications, types.ResourceTypeVpc)}
		e.vpcs[v.id] = v

		return &ec2.CreateVpcOutput{Vpc: e.describe(v)}, nil
	})
}

// DescribeVpcs answers InvalidVpcID.NotFound for an unknown id, and an empty list for filters that match nothing.
func (e *EC2) DescribeVpcs(ctx context.Context, in *ec2.DescribeVpcsInput, _ ...func(*ec2.Options)) (*ec2.DescribeVpcsOutput, error) {
	return do(ctx, e.w, "ec2", "DescribeVpcs", in, func() (*ec2.DescribeVpcsOutput, error) {
		out := &ec2.DescribeVpcsOutput{}

		for _, id := range in.VpcIds {
			if e.vpcs[id] == nil {
				return nil, refuse("InvalidVpcID.NotFound", "The vpc ID '%s' does not exist", id)
			}
		}

		for _, v := range sorted(e.vpcs) {
			if (len(in.VpcIds) == 0 || slices.Contains(in.VpcIds, v.id)) && tagged(in.Filters, v.tags) {
				out.Vpcs = append(out.Vpcs, *e.describe(v))
			}
		}

		return out, nil
	})
}

// ModifyVpcAttribute takes one attribute a call. API reference, ModifyVpcAttribute.
func (e *EC2) ModifyVpcAttribute(ctx context.Context, in *ec2.ModifyVpcAttributeInput, _ ...func(*ec2.Options)) (*ec2.ModifyVpcAttributeOutput, error) {
	return do(ctx, e.w, "ec2", "ModifyVpcAttribute", in, func() (*ec2.ModifyVpcAttributeOutput, error) {
		v := e.vpcs[aws.ToString(in.VpcId)]
		if v == nil {
			return nil, refuse("InvalidVpcID.NotFound", "The vpc ID '%s' does not exist", aws.ToString(in.VpcId))
		}

		if (in.EnableDnsSupport != nil) == (in.EnableDnsHostnames != nil) {
			return nil, refuse("InvalidParameterCombination", "Only one attribute can be modified at a time")
		}

		if in.EnableDnsSupport != nil {
			v.dnsSupport = aws.ToBool(in.EnableDnsSupport.Value)
		}

		if in.EnableDnsHostnames != nil {
			v.dnsHost = aws.ToBool(in.EnableDnsHostnames.Value)
		}

		return &ec2.ModifyVpcAttributeOutput{}, nil
	})
}

// DescribeVpcAttribute reads one attribute.
func (e *EC2) DescribeVpcAttribute(ctx context.Context, in *ec2.DescribeVpcAttributeInput, _ ...func(*ec2.Options)) (*ec2.DescribeVpcAttributeOutput, error) {
	return do(ctx, e.w, "ec2", "DescribeVpcAttribute", in, func() (*ec2.DescribeVpcAttributeOutput, error) {
		v := e.vpcs[aws.ToString(in.VpcId)]
		if v == nil {
			return nil, refuse("InvalidVpcID.NotFound", "The vpc ID '%s' does not exist", aws.ToString(in.VpcId))
		}

		return &ec2.DescribeVpcAttributeOutput{
			VpcId:              in.VpcId,
			EnableDnsSupport:   &types.AttributeBooleanValue{Value: aws.Bool(v.dnsSupport)},
			EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(v.dnsHost)},
		}, nil
	})
}

// DeleteVpc refuses while anything lives in the VPC. User guide, "Delete your VPC".
func (e *EC2) DeleteVpc(ctx context.Context, in *ec2.DeleteVpcInput, _ ...func(*ec2.Options)) (*ec2.DeleteVpcOutput, error) {
	return do(ctx, e.w, "ec2", "DeleteVpc", in, func() (*ec2.DeleteVpcOutput, error) {
		id := aws.ToString(in.VpcId)
		if e.vpcs[id] == nil {
			return nil, refuse("InvalidVpcID.NotFound", "The vpc ID '%s' does not exist", id)
		}

		delete(e.vpcs, id)

		return &ec2.DeleteVpcOutput{}, nil
	})
}

func (e *EC2) describe(v *vpc) *types.Vpc {
	return &types.Vpc{VpcId: aws.String(v.id), CidrBlock: aws.String(v.cidr), State: types.VpcStateAvailable, OwnerId: aws.String(e.w.Account), Tags: ec2Tags(v.tags)}
}

func tagSpec(specs []types.TagSpecification, of types.ResourceType) map[string]string {
	tags := map[string]string{}

	for _, s := range specs {
		if s.ResourceType != of {
			continue
		}

		for _, t := range s.Tags {
			tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
	}

	return tags
}

func ec2Tags(tags map[string]string) []types.Tag {
	var list []types.Tag
	for _, k := range sortedKeys(tags) {
		list = append(list, types.Tag{Key: aws.String(k), Value: aws.String(tags[k])})
	}

	return list
}

// tagged applies the tag:Key filters; other filters are the business of each Describe.
func tagged(filters []types.Filter, tags map[string]string) bool {
	for _, f := range filters {
		key, ok := strings.CutPrefix(aws.ToString(f.Name), "tag:")
		if ok && !slices.Contains(f.Values, tags[key]) {
			return false
		}
	}

	return true
}
