package computeenvironment

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// propertyState is, beside tags, what is not mended through computeResources.
const propertyState = "state"

// memoTypes holds the instance types that were chosen for an environment that names none, so that the choice never changes under its owner.
const memoTypes = "instanceTypes"

// want builds the compute resources that the spec asks for; nil for an unmanaged environment.
//
// No desiredvCpus: Batch moves it. No serviceRole: without it Batch uses its service-linked role, which alone allows updates of the infrastructure, as
// do the progressive allocation strategies. Batch user guide, "Perform infrastructure updates".
func (e *ComputeEnvironment) want(ctx context.Context, c *kind.Call) (*types.ComputeResource, error) {
	env, ok := c.Spec.Environment(c.Ref.ID())
	if !ok {
		return nil, deploy.Errorf(deploy.Internal, "not_in_spec", "The spec has no compute environment %s.", c.Ref.ID())
	}

	if env.Type == deploy.Unmanaged {
		return nil, nil
	}

	instanceTypes, err := e.instanceTypes(ctx, c, env)
	if err != nil {
		return nil, err
	}

	template := c.Others[deploy.NewRef(launchTemplate, env.Name)]

	return &types.ComputeResource{
		Type:               types.CRType(env.Type),
		AllocationStrategy: types.CRAllocationStrategy(env.AllocationStrategy),
		MinvCpus:           aws.Int32(int32(env.MinVcpus)), //nolint:gosec // the schema bounds it by 10,000
		MaxvCpus:           aws.Int32(int32(env.MaxVcpus)), //nolint:gosec // the schema bounds it by 10,000
		InstanceTypes:      instanceTypes,
		InstanceRole:       aws.String(c.One(instanceProfile).ARN),
		LaunchTemplate:     &types.LaunchTemplateSpecification{LaunchTemplateId: aws.String(template.ID), Version: aws.String(template.Outputs["version"])},
		Subnets:            ids(c.All(subnet)),
		SecurityGroupIds:   ids(c.All(securityGroup)),
		Tags:               c.Tags(),
	}, nil
}

func ids(others []kind.Other) []string {
	list := make([]string, 0, len(others))
	for _, o := range others {
		list = append(list, o.ID)
	}

	return list
}

// instanceTypes returns what the spec names, or else what was chosen before, or else chooses.
func (e *ComputeEnvironment) instanceTypes(ctx context.Context, c *kind.Call, env deploy.Environment) ([]string, error) {
	if len(env.InstanceTypes) > 0 {
		return env.InstanceTypes, nil
	}

	if chosen := c.Memo[memoTypes]; chosen != "" {
		return strings.Split(chosen, ","), nil
	}

	offered, err := e.offered(ctx)
	if err != nil {
		return nil, err
	}

	chosen := slices.DeleteFunc(deploy.DefaultFamilies(), func(f string) bool { return !offered[f] })
	if len(chosen) == 0 {
		return nil, deploy.Errorf(deploy.Invalid, "no_instance_type", "The Region %s offers none of the default instance families.", c.Owner.Region).
			WithRemedy("Name instance types under instanceTypes.").At(c.Pointer)
	}

	c.Note(memoTypes, strings.Join(chosen, ","))

	return chosen, nil
}

// offered lists the instance types and families of the Region.
func (e *ComputeEnvironment) offered(ctx context.Context) (map[string]bool, error) {
	all := map[string]bool{}

	pages := ec2.NewDescribeInstanceTypeOfferingsPaginator(e.ec2, &ec2.DescribeInstanceTypeOfferingsInput{LocationType: ec2types.LocationTypeRegion})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the instance types of the Region: %w", err)
		}

		for _, o := range page.InstanceTypeOfferings {
			family, _, _ := strings.Cut(string(o.InstanceType), ".")
			all[string(o.InstanceType)], all[family] = true, true
		}
	}

	return all, nil
}

// difference is one setting that is not as wanted, and how to ask Batch for it.
type difference struct {
	kind.Difference
	apply func(*types.ComputeResourceUpdate)
}

// notChecked: Batch refuses to change the service role from its service-linked role to another, and has no call that changes a managed environment into an
// unmanaged one or back (API reference, UpdateComputeEnvironment).
func notChecked(managed bool) []string {
	if managed {
		return []string{"environmentType"}
	}

	return []string{"environmentType", "serviceRole"}
}

// compare lists what is not as wanted. Order means nothing in lists, and what the owner added to tags is left alone.
func compare(c *kind.Call, want *types.ComputeResource, found *types.ComputeEnvironmentDetail) []difference {
	var all []difference

	add := func(property, want, have string, apply func(*types.ComputeResourceUpdate)) {
		for _, d := range kind.Differing(kind.Difference{Property: property, Want: want, Have: have}) {
			all = append(all, difference{Difference: d, apply: apply})
		}
	}
	tagged := func(property string, want, have map[string]string, apply func(*types.ComputeResourceUpdate)) {
		d := kind.Tags(want, have)
		add(property, d.Want, d.Have, apply)
	}

	add(propertyState, string(types.CEStateEnabled), string(found.State), nil)
	tagged(kind.PropertyTags, c.Tags(), found.Tags, nil)

	have := found.ComputeResources
	if want == nil || have == nil {
		return all
	}

	add("type", string(want.Type), string(have.Type), func(u *types.ComputeResourceUpdate) { u.Type = want.Type })
	add("allocationStrategy", string(want.AllocationStrategy), string(have.AllocationStrategy), func(u *types.ComputeResourceUpdate) {
		u.AllocationStrategy = types.CRUpdateAllocationStrategy(want.AllocationStrategy)
	})
	add("minvCpus", number(want.MinvCpus), number(have.MinvCpus), func(u *types.ComputeResourceUpdate) { u.MinvCpus = want.MinvCpus })
	add("maxvCpus", number(want.MaxvCpus), number(have.MaxvCpus), func(u *types.ComputeResourceUpdate) { u.MaxvCpus = want.MaxvCpus })
	add("instanceTypes", set(want.InstanceTypes), set(have.InstanceTypes), func(u *types.ComputeResourceUpdate) { u.InstanceTypes = want.InstanceTypes })
	add("instanceRole", aws.ToString(want.InstanceRole), aws.ToString(have.InstanceRole), func(u *types.ComputeResourceUpdate) { u.InstanceRole = want.InstanceRole })
	add("launchTemplate", template(want.LaunchTemplate), template(have.LaunchTemplate), func(u *types.ComputeResourceUpdate) { u.LaunchTemplate = want.LaunchTemplate })
	add("subnets", set(want.Subnets), set(have.Subnets), func(u *types.ComputeResourceUpdate) { u.Subnets = want.Subnets })
	add("securityGroupIds", set(want.SecurityGroupIds), set(have.SecurityGroupIds), func(u *types.ComputeResourceUpdate) { u.SecurityGroupIds = want.SecurityGroupIds })
	tagged("computeResources.tags", want.Tags, have.Tags, func(u *types.ComputeResourceUpdate) {
		u.Tags = maps.Clone(have.Tags) // this one replaces the whole set
		if u.Tags == nil {
			u.Tags = map[string]string{}
		}

		maps.Copy(u.Tags, want.Tags)
	})

	return all
}

// set writes a list whose order means nothing.
func set(list []string) string { return strings.Join(slices.Sorted(slices.Values(list)), ", ") }

func number(n *int32) string {
	if n == nil {
		return ""
	}

	return strconv.Itoa(int(*n))
}

func template(t *types.LaunchTemplateSpecification) string {
	if t == nil {
		return ""
	}

	return aws.ToString(t.LaunchTemplateId) + " version " + aws.ToString(t.Version)
}
