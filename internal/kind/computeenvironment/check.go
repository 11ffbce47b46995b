package computeenvironment

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// quota is how many compute environments an account may have in a Region. It cannot be raised. Batch user guide, "AWS Batch service quotas".
const quota = 50

// Check implements kind.Checker: room for all environments of the spec, and instance types that the Region has.
func (e *ComputeEnvironment) Check(ctx context.Context, c *kind.Call) ([]deploy.Finding, error) {
	findings, err := e.room(ctx, c)
	if err != nil {
		return nil, err
	}

	unknown, err := e.unknownTypes(ctx, c)

	return append(findings, unknown...), err
}

// room speaks for all environments of the spec together, so only the first one reports.
func (e *ComputeEnvironment) room(ctx context.Context, c *kind.Call) ([]deploy.Finding, error) {
	planned := e.Plan(c.Spec)
	if planned[0].Ref != c.Ref {
		return nil, nil
	}

	all, err := e.list(ctx)
	if err != nil {
		return nil, err
	}

	findings := foreign(c, planned, all)

	// One that is left over from an earlier attempt is used again.
	planned = slices.DeleteFunc(planned, func(item kind.Item) bool {
		return slices.ContainsFunc(all, func(d types.ComputeEnvironmentDetail) bool {
			return aws.ToString(d.ComputeEnvironmentName) == c.Name(item.Ref.ID()+"-"+item.Generation()) && c.Owner.Owns(item.Ref, d.Tags)
		})
	})

	c.Quotas = append(c.Quotas, deploy.QuotaUse{Name: "compute environments", Region: c.Owner.Region, Used: len(all), Needs: len(planned), Limit: quota})

	if len(all)+len(planned) <= quota {
		return findings, nil
	}

	return append(findings, deploy.Errorf(deploy.Quota, "quota_exceeded", "The account has %d of %d compute environments in %s, and this spec needs %d more.",
		len(all), quota, c.Owner.Region, len(planned)).
		WithRemedy("AWS does not raise this quota: delete a compute environment, ask for fewer, or use another account or Region.").
		At("/spec/compute/environments").Finding()), nil
}

// foreign reports names of ours that somebody else's environments have.
func foreign(c *kind.Call, planned []kind.Item, all []types.ComputeEnvironmentDetail) []deploy.Finding {
	var findings []deploy.Finding

	for _, item := range planned {
		own := *c
		own.Item = item

		for _, d := range all {
			if aws.ToString(d.ComputeEnvironmentName) == environmentName(&own) && !own.Owns(d.Tags) {
				taken, _ := kind.Taken(&own, own.Foreign(noun, environmentName(&own)))
				findings = append(findings, taken...)
			}
		}
	}

	return findings
}

// byBatch are the names that stand for a choice of Batch's own. API reference, ComputeResource, instanceTypes.
func byBatch() []string { return []string{"optimal", "default_x86_64", "default_arm64"} }

func (e *ComputeEnvironment) unknownTypes(ctx context.Context, c *kind.Call) ([]deploy.Finding, error) {
	env, _ := c.Spec.Environment(c.Ref.ID())

	if !slices.ContainsFunc(env.InstanceTypes, func(t string) bool { return !slices.Contains(byBatch(), t) }) {
		return nil, nil
	}

	offered, err := e.offered(ctx)
	if err != nil {
		return nil, err
	}

	var findings []deploy.Finding

	for i, t := range env.InstanceTypes {
		if offered[t] || slices.Contains(byBatch(), t) {
			continue
		}

		findings = append(findings, deploy.Errorf(deploy.Invalid, "unknown_instance_type", "The Region %s has no instance type or family %s.", c.Owner.Region, t).
			WithRemedy("Name a type such as m5.xlarge or a family such as m5 that the Region offers (aws ec2 describe-instance-type-offerings).").
			At(fmt.Sprintf("%s/instanceTypes/%d", c.Pointer, i)).Finding())
	}

	return findings, nil
}
