package main

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	batchtypes "github.com/aws/aws-sdk-go-v2/service/batch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func (p *program) environment() *string { return aws.String(p.Name + "-environment") }

func (p *program) queue() *string { return aws.String(p.Name + "-queue") }

func (p *program) makeCompute(ctx context.Context) error {
	template, err := p.ec2.CreateLaunchTemplate(ctx, &ec2.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String(p.Name + "-default"), TagSpecifications: []types.TagSpecification{p.tagged(types.ResourceTypeLaunchTemplate, "template")},
		LaunchTemplateData: &types.RequestLaunchTemplateData{
			BlockDeviceMappings: []types.LaunchTemplateBlockDeviceMappingRequest{{DeviceName: aws.String("/dev/xvda"), Ebs: &types.LaunchTemplateEbsBlockDeviceRequest{
				DeleteOnTermination: aws.Bool(true), Encrypted: aws.Bool(true), VolumeSize: aws.Int32(100), VolumeType: types.VolumeTypeGp3,
			}}},
			TagSpecifications: p.launched(),
			MetadataOptions: &types.LaunchTemplateInstanceMetadataOptionsRequest{
				HttpEndpoint: types.LaunchTemplateInstanceMetadataEndpointStateEnabled, HttpTokens: types.LaunchTemplateHttpTokensStateRequired,
				HttpPutResponseHopLimit: aws.Int32(2),
			},
		},
	})
	if err != nil {
		return err
	}

	p.Template = *template.LaunchTemplate.LaunchTemplateId

	if _, err := p.batch.CreateComputeEnvironment(ctx, &batch.CreateComputeEnvironmentInput{
		ComputeEnvironmentName: p.environment(), Type: batchtypes.CETypeManaged, State: batchtypes.CEStateEnabled, Tags: p.tags(),
		ComputeResources: &batchtypes.ComputeResource{
			Type: batchtypes.CRTypeEc2, AllocationStrategy: batchtypes.CRAllocationStrategyBestFitProgressive,
			InstanceTypes: []string{"m5", "m6i", "m7i", "c5", "c6i", "c7i", "r5", "r6i", "r7i"}, MinvCpus: aws.Int32(0), MaxvCpus: aws.Int32(64),
			InstanceRole: p.role("instance"), LaunchTemplate: &batchtypes.LaunchTemplateSpecification{LaunchTemplateId: &p.Template, Version: aws.String("1")},
			Subnets: p.Subnets, SecurityGroupIds: []string{p.Group}, Tags: p.tags(),
		},
	}); err != nil {
		return err
	}

	if err := until(ctx, p.environmentIs(func(e *batchtypes.ComputeEnvironmentDetail) bool {
		return e != nil && e.Status == batchtypes.CEStatusValid
	})); err != nil {
		return err
	}

	if _, err := p.batch.CreateJobQueue(ctx, &batch.CreateJobQueueInput{
		JobQueueName: p.queue(), Priority: aws.Int32(1), State: batchtypes.JQStateEnabled, Tags: p.tags(),
		ComputeEnvironmentOrder: []batchtypes.ComputeEnvironmentOrder{{ComputeEnvironment: p.environment(), Order: aws.Int32(1)}},
	}); err != nil {
		return err
	}

	return until(ctx, p.queueIs(func(q *batchtypes.JobQueueDetail) bool { return q != nil && q.Status == batchtypes.JQStatusValid }))
}

func (p *program) removeCompute(ctx context.Context) error {
	return each(ctx,
		call(p.batch.UpdateJobQueue, batch.UpdateJobQueueInput{JobQueue: p.queue(), State: batchtypes.JQStateDisabled}),
		func(ctx context.Context) error {
			return until(ctx, p.queueIs(func(q *batchtypes.JobQueueDetail) bool {
				return q != nil && q.State == batchtypes.JQStateDisabled && q.Status == batchtypes.JQStatusValid
			}))
		},
		call(p.batch.DeleteJobQueue, batch.DeleteJobQueueInput{JobQueue: p.queue()}),
		func(ctx context.Context) error {
			return until(ctx, p.queueIs(func(q *batchtypes.JobQueueDetail) bool { return q == nil || q.Status == batchtypes.JQStatusDeleted }))
		},
		call(p.batch.UpdateComputeEnvironment, batch.UpdateComputeEnvironmentInput{ComputeEnvironment: p.environment(), State: batchtypes.CEStateDisabled}),
		func(ctx context.Context) error {
			return until(ctx, p.environmentIs(func(e *batchtypes.ComputeEnvironmentDetail) bool {
				return e != nil && e.State == batchtypes.CEStateDisabled && e.Status == batchtypes.CEStatusValid
			}))
		},
		call(p.batch.DeleteComputeEnvironment, batch.DeleteComputeEnvironmentInput{ComputeEnvironment: p.environment()}),
		func(ctx context.Context) error {
			return until(ctx, p.environmentIs(func(e *batchtypes.ComputeEnvironmentDetail) bool {
				return e == nil || e.Status == batchtypes.CEStatusDeleted
			}))
		},
		call(p.ec2.DeleteLaunchTemplate, ec2.DeleteLaunchTemplateInput{LaunchTemplateId: &p.Template}),
	)
}

// environmentIs makes a look at the environment, nil where there is none.
func (p *program) environmentIs(wanted func(*batchtypes.ComputeEnvironmentDetail) bool) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		out, err := p.batch.DescribeComputeEnvironments(ctx, &batch.DescribeComputeEnvironmentsInput{ComputeEnvironments: []string{*p.environment()}})
		if err != nil {
			return false, err
		}

		var found *batchtypes.ComputeEnvironmentDetail
		if len(out.ComputeEnvironments) > 0 {
			found = &out.ComputeEnvironments[0]
		}

		if found != nil && found.Status == batchtypes.CEStatusInvalid {
			return false, fmt.Errorf("the environment is INVALID: %s", aws.ToString(found.StatusReason))
		}

		return wanted(found), nil
	}
}

// queueIs makes a look at the queue, nil where there is none.
func (p *program) queueIs(wanted func(*batchtypes.JobQueueDetail) bool) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		out, err := p.batch.DescribeJobQueues(ctx, &batch.DescribeJobQueuesInput{JobQueues: []string{*p.queue()}})
		if err != nil {
			return false, err
		}

		var found *batchtypes.JobQueueDetail
		if len(out.JobQueues) > 0 {
			found = &out.JobQueues[0]
		}

		return wanted(found), nil
	}
}

// launched are the tags of what Batch launches from the template.
func (p *program) launched() []types.LaunchTemplateTagSpecificationRequest {
	var all []types.LaunchTemplateTagSpecificationRequest
	for _, of := range []types.ResourceType{types.ResourceTypeInstance, types.ResourceTypeVolume} {
		all = append(all, types.LaunchTemplateTagSpecificationRequest{ResourceType: of, Tags: p.tagged(of, "launched").Tags})
	}

	return all
}
