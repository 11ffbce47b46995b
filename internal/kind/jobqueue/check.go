package jobqueue

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/batch/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// quota is how many job queues an account may have in a Region. It cannot be raised. Batch user guide, "AWS Batch service quotas".
const quota = 50

// Check implements kind.Checker: room for all queues of the spec, or an existing one that Metaflow can use.
func (q *JobQueue) Check(ctx context.Context, c *kind.Call) ([]deploy.Finding, error) {
	if c.Existing != "" {
		return kind.CheckExisting(ctx, q, c, noun)
	}

	// The first one speaks for all queues that the spec wants made.
	planned := slices.DeleteFunc(q.Plan(c.Spec), func(item kind.Item) bool { return item.Existing != "" })
	if planned[0].Ref != c.Ref {
		return nil, nil
	}

	var all []types.JobQueueDetail

	pages := batch.NewDescribeJobQueuesPaginator(q.batch, &batch.DescribeJobQueuesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("count job queues: %w", err)
		}

		all = append(all, page.JobQueues...)
	}

	all = slices.DeleteFunc(all, func(d types.JobQueueDetail) bool { return d.Status == types.JQStatusDeleted })

	findings := foreign(c, planned, all)

	// One that is left over from an earlier attempt is used again.
	planned = slices.DeleteFunc(planned, func(item kind.Item) bool {
		return slices.ContainsFunc(all, func(d types.JobQueueDetail) bool {
			return aws.ToString(d.JobQueueName) == c.Name(item.Ref.ID()) && c.Owner.Owns(item.Ref, d.Tags)
		})
	})

	c.Quotas = append(c.Quotas, deploy.QuotaUse{Name: "job queues", Region: c.Owner.Region, Used: len(all), Needs: len(planned), Limit: quota})

	if len(all)+len(planned) <= quota {
		return findings, nil
	}

	return append(findings, deploy.Errorf(deploy.Quota, "quota_exceeded", "The account has %d of %d job queues in %s, and this spec needs %d more.",
		len(all), quota, c.Owner.Region, len(planned)).
		WithRemedy("AWS does not raise this quota: delete a job queue, name one of your own under existing, or use another account or Region.").
		At("/spec/compute/queues").Finding()), nil
}

// foreign reports names of ours that somebody else's queues have.
func foreign(c *kind.Call, planned []kind.Item, all []types.JobQueueDetail) []deploy.Finding {
	var findings []deploy.Finding

	for _, item := range planned {
		own := *c
		own.Item = item

		for _, d := range all {
			if aws.ToString(d.JobQueueName) == queueName(&own) && !own.Owns(d.Tags) {
				taken, _ := kind.Taken(&own, own.Foreign(noun, queueName(&own)))
				findings = append(findings, taken...)
			}
		}
	}

	return findings
}

// existing looks at a queue that the owner named by ARN and says what keeps Metaflow from using it: Metaflow reads the compute resources of the first
// environment to learn the platform, so that one must be managed.
func (q *JobQueue) existing(ctx context.Context, c *kind.Call) (kind.Observation, error) {
	// Batch sees its own Region and account only.
	if !strings.HasPrefix(c.Existing, c.Owner.ARN("batch", c.Owner.Region, c.Owner.Account, "job-queue/")) {
		return kind.Observation{State: kind.Absent}, nil
	}

	found, err := q.find(ctx, c.Existing)
	if err != nil {
		return kind.Observation{}, err
	}

	if found == nil || found.Status == types.JQStatusDeleting {
		return kind.Observation{State: kind.Absent}, nil
	}

	obs := kind.Observation{State: state(found), ID: aws.ToString(found.JobQueueName), ARN: c.Existing, Problems: kind.Belongs(c, noun, found.Tags)}

	unusable := func(message, remedy string) { obs.Problems = append(obs.Problems, kind.Unusable(c, message, remedy)) }

	if found.State != types.JQStateEnabled {
		unusable("The job queue "+obs.ID+" is DISABLED: it takes no jobs.", "Enable it.")
	}

	if found.Status == types.JQStatusInvalid {
		unusable("AWS Batch finds the job queue "+obs.ID+" invalid: "+deploy.Scrub(aws.ToString(found.StatusReason)), "Look at its compute environments.")
	}

	platform, err := q.platform(ctx, found)
	if err != nil {
		return kind.Observation{}, err
	}

	if platform == "" {
		unusable("The first compute environment of the job queue "+obs.ID+" is not a managed one, and Metaflow reads its compute resources.",
			"Put a managed compute environment first in the queue.")
	}

	obs.Outputs = outputsOf(found, platform)

	return obs, nil
}

// platform is the type of the first environment's compute resources (EC2, SPOT, FARGATE, FARGATE_SPOT), or empty if there is no such environment.
func (q *JobQueue) platform(ctx context.Context, found *types.JobQueueDetail) (string, error) {
	arns := inOrder(found.ComputeEnvironmentOrder)
	if len(arns) == 0 {
		return "", nil
	}

	out, err := q.batch.DescribeComputeEnvironments(ctx, &batch.DescribeComputeEnvironmentsInput{ComputeEnvironments: arns[:1]})
	if err != nil {
		return "", fmt.Errorf("describe compute environment %s: %w", arns[0], err)
	}

	for _, d := range out.ComputeEnvironments {
		if d.ComputeResources != nil { // only managed ones have them
			return string(d.ComputeResources.Type), nil
		}
	}

	return "", nil
}
