package awsfake

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/batch/types"
)

// jobTaking is how long a job that is submitted takes from one status to the next.
const jobTaking = 20 * time.Second

// RegisterJobDefinition makes the next revision of a name, each time. API reference, RegisterJobDefinition.
func (b *Batch) RegisterJobDefinition(ctx context.Context, in *batch.RegisterJobDefinitionInput, _ ...func(*batch.Options)) (*batch.RegisterJobDefinitionOutput, error) {
	return do(ctx, b.w, "batch", "RegisterJobDefinition", in, func() (*batch.RegisterJobDefinitionOutput, error) {
		n := aws.ToString(in.JobDefinitionName)
		if err := batchName(n); err != nil {
			return nil, err
		}

		if in.Type == types.JobDefinitionTypeContainer && in.ContainerProperties == nil {
			return nil, clientException("containerProperties is required for a container job definition")
		}

		revision := int32(1)

		for _, d := range b.definitions {
			if aws.ToString(d.JobDefinitionName) == n {
				revision = max(revision, aws.ToInt32(d.Revision)+1)
			}
		}

		arn := b.arn(fmt.Sprintf("job-definition/%s:%d", n, revision))
		b.definitions[arn] = &types.JobDefinition{
			JobDefinitionName: aws.String(n), JobDefinitionArn: aws.String(arn), Revision: aws.Int32(revision), Status: aws.String("ACTIVE"),
			Type: aws.String(string(in.Type)), Tags: maps.Clone(in.Tags), ContainerProperties: in.ContainerProperties,
		}

		return &batch.RegisterJobDefinitionOutput{JobDefinitionName: aws.String(n), JobDefinitionArn: aws.String(arn), Revision: aws.Int32(revision)}, nil
	})
}

// DescribeJobDefinitions lists revisions, of one name and status where they are asked for. What is deregistered stays, INACTIVE.
func (b *Batch) DescribeJobDefinitions(ctx context.Context, in *batch.DescribeJobDefinitionsInput, _ ...func(*batch.Options)) (*batch.DescribeJobDefinitionsOutput, error) {
	return do(ctx, b.w, "batch", "DescribeJobDefinitions", in, func() (*batch.DescribeJobDefinitionsOutput, error) {
		out := &batch.DescribeJobDefinitionsOutput{}

		for _, arn := range slices.Sorted(maps.Keys(b.definitions)) {
			d := b.definitions[arn]
			if in.JobDefinitionName != nil && *in.JobDefinitionName != *d.JobDefinitionName || in.Status != nil && *in.Status != *d.Status {
				continue
			}

			shown := *d
			shown.Tags = maps.Clone(d.Tags)
			out.JobDefinitions = append(out.JobDefinitions, shown)
		}

		return out, nil
	})
}

// DeregisterJobDefinition takes a revision out of use.
func (b *Batch) DeregisterJobDefinition(ctx context.Context, in *batch.DeregisterJobDefinitionInput, _ ...func(*batch.Options)) (*batch.DeregisterJobDefinitionOutput, error) {
	return do(ctx, b.w, "batch", "DeregisterJobDefinition", in, func() (*batch.DeregisterJobDefinitionOutput, error) {
		d := b.definitions[aws.ToString(in.JobDefinition)]
		if d == nil {
			return nil, clientException("Job definition %s does not exist", aws.ToString(in.JobDefinition))
		}

		d.Status = aws.String("INACTIVE")

		return &batch.DeregisterJobDefinitionOutput{}, nil
	})
}

// SubmitJob puts a job into a queue, each time another. It goes through its statuses by itself and succeeds, unless JobFails says otherwise.
func (b *Batch) SubmitJob(ctx context.Context, in *batch.SubmitJobInput, _ ...func(*batch.Options)) (*batch.SubmitJobOutput, error) {
	return do(ctx, b.w, "batch", "SubmitJob", in, func() (*batch.SubmitJobOutput, error) {
		b.settle()

		q, err := b.queue(in.JobQueue, "submit to")
		if err != nil {
			return nil, err
		}

		if q.State != types.JQStateEnabled {
			return nil, clientException("Job queue %s is not enabled", aws.ToString(in.JobQueue))
		}

		if d := b.definitions[aws.ToString(in.JobDefinition)]; d == nil || *d.Status != "ACTIVE" {
			return nil, clientException("Job definition %s does not exist or is not active", aws.ToString(in.JobDefinition))
		}

		j := &job{
			id: b.w.id("job"), name: aws.ToString(in.JobName), queue: aws.ToString(q.JobQueueName), status: types.JobStatusSubmitted, goes: true,
			until: b.w.Now().Add(jobTaking),
		}
		b.jobs[j.id] = j

		return &batch.SubmitJobOutput{JobId: aws.String(j.id), JobName: in.JobName}, nil
	})
}

// DescribeJobs shows jobs by id; what it does not know it leaves out.
func (b *Batch) DescribeJobs(ctx context.Context, in *batch.DescribeJobsInput, _ ...func(*batch.Options)) (*batch.DescribeJobsOutput, error) {
	return do(ctx, b.w, "batch", "DescribeJobs", in, func() (*batch.DescribeJobsOutput, error) {
		b.settle()

		out := &batch.DescribeJobsOutput{}

		for _, id := range in.Jobs {
			j := b.jobs[id]
			if j == nil {
				continue
			}

			d := types.JobDetail{JobId: aws.String(id), JobName: aws.String(j.name), JobQueue: aws.String(j.queue), Status: j.status, StatusReason: aws.String(j.why)}
			if j.status == types.JobStatusFailed {
				d.Container = &types.ContainerDetail{ExitCode: aws.Int32(1), LogStreamName: aws.String("probe/default/" + id)}
			}

			out.Jobs = append(out.Jobs, d)
		}

		return out, nil
	})
}

// going moves a submitted job on by its statuses.
func (b *Batch) going(j *job) {
	order := []types.JobStatus{types.JobStatusSubmitted, types.JobStatusRunnable, types.JobStatusStarting, types.JobStatusRunning, types.JobStatusSucceeded}

	for j.goes && !b.w.Now().Before(j.until) {
		if b.JobStays != nil {
			if status, why := b.JobStays(j.name); status == j.status {
				j.why = why

				return
			}
		}

		j.status, j.until = order[slices.Index(order, j.status)+1], j.until.Add(jobTaking)

		if j.status == types.JobStatusSucceeded {
			j.goes = false

			if b.JobFails != nil {
				if why := b.JobFails(j.name); why != "" {
					j.status, j.why = types.JobStatusFailed, why
				}
			}
		}
	}
}
