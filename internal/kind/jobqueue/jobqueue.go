// Package jobqueue makes the job queues of a deployment in AWS Batch, over compute environments that are VALID, and looks at queues that the owner brings.
//
// A queue's name is unique in the account and Region. Nothing but the name is fixed: priority, state and the order of environments change in place. The
// package knows of compute environments only what Metaflow reads of the first one in a queue.
package jobqueue

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/batch/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// api is what this kind calls.
type api interface {
	CreateJobQueue(ctx context.Context, in *batch.CreateJobQueueInput, opts ...func(*batch.Options)) (*batch.CreateJobQueueOutput, error)
	DescribeJobQueues(ctx context.Context, in *batch.DescribeJobQueuesInput, opts ...func(*batch.Options)) (*batch.DescribeJobQueuesOutput, error)
	UpdateJobQueue(ctx context.Context, in *batch.UpdateJobQueueInput, opts ...func(*batch.Options)) (*batch.UpdateJobQueueOutput, error)
	DeleteJobQueue(ctx context.Context, in *batch.DeleteJobQueueInput, opts ...func(*batch.Options)) (*batch.DeleteJobQueueOutput, error)
	TagResource(ctx context.Context, in *batch.TagResourceInput, opts ...func(*batch.Options)) (*batch.TagResourceOutput, error)
	ListJobs(ctx context.Context, in *batch.ListJobsInput, opts ...func(*batch.Options)) (*batch.ListJobsOutput, error)
	TerminateJob(ctx context.Context, in *batch.TerminateJobInput, opts ...func(*batch.Options)) (*batch.TerminateJobOutput, error)
	DescribeComputeEnvironments(ctx context.Context, in *batch.DescribeComputeEnvironmentsInput, opts ...func(*batch.Options)) (*batch.DescribeComputeEnvironmentsOutput, error)
}

// JobQueue is the kind.
type JobQueue struct{ batch api }

// New takes the Batch client.
func New(client api) *JobQueue { return &JobQueue{batch: client} }

const (
	name = "job-queue"
	// what people read.
	noun = "job queue"

	computeEnvironment = "compute-environment"
)

// About implements kind.Kind.
func (*JobQueue) About() kind.About {
	return kind.About{
		Name: name, Family: "batch", Component: "compute", Settings: deploy.Queue{}, Many: true,
		Doc:   "A Batch job queue: where Metaflow submits jobs to.",
		Needs: []string{computeEnvironment},
		// The Terraform AWS provider allows 10 minutes for either.
		Ensuring: kind.Timing{Typical: 10 * time.Second, Deadline: 10 * time.Minute},
		// Counted from the last page of jobs that was ended; Batch ends by itself what is left, about 16 jobs a second (API reference, DeleteJobQueue).
		Removing: kind.Timing{Typical: 30 * time.Second, Deadline: 30 * time.Minute},
	}
}

// Plan lists one queue for each of the spec, made or existing.
func (*JobQueue) Plan(spec deploy.Spec) []kind.Item {
	var items []kind.Item

	for i, q := range spec.Compute.Queues {
		item := kind.Item{Ref: deploy.NewRef(name, q.Name), Pointer: fmt.Sprintf("/spec/compute/queues/%d", i)}

		if q.Existing != nil {
			item.Existing, item.Pointer = q.Existing.ARN, item.Pointer+"/existing/arn"
		} else {
			for _, e := range q.Environments {
				item.Needs = append(item.Needs, deploy.NewRef(computeEnvironment, e))
			}
		}

		items = append(items, item)
	}

	return items
}

// Ensure implements kind.Kind.
func (q *JobQueue) Ensure(ctx context.Context, c *kind.Call) (kind.Result, error) {
	found, err := q.find(ctx, queueName(c))
	if err != nil {
		return kind.Result{}, err
	}

	if found == nil {
		return q.create(ctx, c)
	}

	if !c.Owns(found.Tags) {
		return kind.Result{}, c.Foreign(noun, queueName(c))
	}

	result := kind.Result{ID: queueName(c), ARN: aws.ToString(found.JobQueueArn), Outputs: outputs(c, found), Waiting: string(found.Status)}

	switch found.Status {
	case types.JQStatusValid:
	case types.JQStatusInvalid:
		return result, deploy.Errorf(deploy.Invalid, "job_queue_invalid", "AWS Batch finds the job queue %s invalid: %s", queueName(c), deploy.Scrub(aws.ToString(found.StatusReason))).
			WithRemedy("Look at the compute environments that the queue names.").At(c.Pointer)
	default: // CREATING, UPDATING, and DELETING: the name is free again when that is over
		return result, nil
	}

	differences := compare(c, found)
	if len(differences) == 0 {
		result.Done, result.Waiting = true, ""

		return result, nil
	}

	result.Waiting = string(types.JQStatusUpdating)

	return result, q.update(ctx, c, found, differences)
}

// Observe implements kind.Kind.
func (q *JobQueue) Observe(ctx context.Context, c *kind.Call) (kind.Observation, error) {
	if c.Existing != "" {
		return q.existing(ctx, c)
	}

	found, err := q.find(ctx, queueName(c))
	if err != nil {
		return kind.Observation{}, err
	}

	if found == nil || !c.Owns(found.Tags) {
		return kind.Observation{State: kind.Absent}, nil
	}

	return kind.Observation{
		State: state(found), ID: queueName(c), ARN: aws.ToString(found.JobQueueArn), Outputs: outputs(c, found), Differences: compare(c, found),
	}, nil
}

func state(found *types.JobQueueDetail) kind.State {
	switch found.Status {
	case types.JQStatusValid:
		return kind.Ready
	case types.JQStatusInvalid:
		return kind.Failed
	default:
		return kind.InProgress
	}
}

// queueName is at most 33 (slug) + 1 + 24 = 58 characters; AWS allows 128.
func queueName(c *kind.Call) string { return c.Name(c.Ref.ID()) }

// outputs of a queue that we made: its first environment's type is the spec's.
func outputs(c *kind.Call, found *types.JobQueueDetail) map[string]string {
	platform := ""

	if queue, _ := c.Spec.Queue(c.Ref.ID()); len(queue.Environments) > 0 {
		first, _ := c.Spec.Environment(queue.Environments[0])
		platform = string(first.Type)
	}

	return outputsOf(found, platform)
}

func outputsOf(found *types.JobQueueDetail, platform string) map[string]string {
	return map[string]string{"arn": aws.ToString(found.JobQueueArn), "state": string(found.State), "platform": platform}
}

// find returns the queue of a name or ARN, whoever made it, or nil. Batch answers an empty list for what is not there, and for a while after a removal an
// entry that says DELETED.
func (q *JobQueue) find(ctx context.Context, nameOrARN string) (*types.JobQueueDetail, error) {
	out, err := q.batch.DescribeJobQueues(ctx, &batch.DescribeJobQueuesInput{JobQueues: []string{nameOrARN}})
	if err != nil {
		return nil, fmt.Errorf("describe job queue %s: %w", nameOrARN, err)
	}

	for _, d := range out.JobQueues {
		if (aws.ToString(d.JobQueueName) == nameOrARN || aws.ToString(d.JobQueueArn) == nameOrARN) && d.Status != types.JQStatusDeleted {
			return &d, nil
		}
	}

	return nil, nil
}

// create sends the create call. The look before found nothing of that name.
func (q *JobQueue) create(ctx context.Context, c *kind.Call) (kind.Result, error) {
	result := kind.Result{ID: queueName(c), Waiting: "CREATING"}

	looked := func(context.Context) (string, error) { return "", nil }

	_, err := kind.Repeatable(ctx, c, looked, func(ctx context.Context) (string, error) {
		out, err := q.batch.CreateJobQueue(ctx, &batch.CreateJobQueueInput{
			JobQueueName: aws.String(queueName(c)), State: types.JQStateEnabled, Priority: priority(c), ComputeEnvironmentOrder: order(c), Tags: c.Tags(),
		})
		if awserr.Is(err, deploy.Conflict) {
			return "", nil // an earlier attempt's or somebody else's: the next look reads its tags
		}

		if err != nil {
			return "", fmt.Errorf("create job queue %s: %w", queueName(c), err)
		}

		result.ARN = aws.ToString(out.JobQueueArn)

		return queueName(c), nil
	})

	return result, err
}

func priority(c *kind.Call) *int32 {
	queue, _ := c.Spec.Queue(c.Ref.ID())

	return aws.Int32(int32(queue.Priority)) //nolint:gosec // the schema bounds it by 1,000
}

// order lists the environments as the spec does; Item.Needs has them in that order.
func order(c *kind.Call) []types.ComputeEnvironmentOrder {
	var all []types.ComputeEnvironmentOrder

	for _, e := range c.All(computeEnvironment) {
		all = append(all, types.ComputeEnvironmentOrder{ComputeEnvironment: aws.String(e.ARN), Order: aws.Int32(int32(len(all) + 1))}) //nolint:gosec // at most 3
	}

	return all
}

// The settings that may differ.
const (
	propertyState    = "state"
	propertyPriority = "priority"
	propertyOrder    = "computeEnvironmentOrder"
)

// compare lists what is not as wanted. What the owner added to tags is left alone, and the numbers that put environments in order may be any.
func compare(c *kind.Call, found *types.JobQueueDetail) []kind.Difference {
	return kind.Differing(
		kind.Difference{Property: propertyState, Want: string(types.JQStateEnabled), Have: string(found.State)},
		kind.Difference{Property: propertyPriority, Want: strconv.Itoa(int(aws.ToInt32(priority(c)))), Have: strconv.Itoa(int(aws.ToInt32(found.Priority)))},
		kind.Difference{Property: propertyOrder, Want: strings.Join(inOrder(order(c)), ", "), Have: strings.Join(inOrder(found.ComputeEnvironmentOrder), ", ")},
		kind.Tags(c.Tags(), found.Tags),
	)
}

// inOrder lists the ARNs of environments, first to last.
func inOrder(list []types.ComputeEnvironmentOrder) []string {
	var arns []string

	for _, o := range slices.SortedStableFunc(slices.Values(list), func(a, b types.ComputeEnvironmentOrder) int {
		return int(aws.ToInt32(a.Order)) - int(aws.ToInt32(b.Order))
	}) {
		arns = append(arns, aws.ToString(o.ComputeEnvironment))
	}

	return arns
}

// update changes what differs.
func (q *JobQueue) update(ctx context.Context, c *kind.Call, found *types.JobQueueDetail, differences []kind.Difference) error {
	in, send := &batch.UpdateJobQueueInput{JobQueue: found.JobQueueName}, false

	for _, d := range differences {
		switch d.Property {
		case kind.PropertyTags:
			// The owner's further tags stay: TagResource adds and replaces only.
			if _, err := q.batch.TagResource(ctx, &batch.TagResourceInput{ResourceArn: found.JobQueueArn, Tags: c.Tags()}); err != nil {
				return fmt.Errorf("tag job queue %s: %w", queueName(c), err)
			}
		case propertyState:
			in.State, send = types.JQStateEnabled, true
		case propertyPriority:
			in.Priority, send = priority(c), true
		case propertyOrder:
			in.ComputeEnvironmentOrder, send = order(c), true
		}
	}

	if !send {
		return nil
	}

	if _, err := q.batch.UpdateJobQueue(ctx, in); err != nil {
		return fmt.Errorf("update job queue %s: %w", queueName(c), err)
	}

	return nil
}
