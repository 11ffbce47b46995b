package awsfake

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/batch/types"
)

const (
	jobEnding = 30 * time.Second
	// deletedShown is how long something that is gone is listed as DELETED.
	deletedShown = 5 * time.Second
)

// batchQuota is 50 environments and 50 queues per account and Region. Batch user guide, "AWS Batch service quotas".
const batchQuota = 50

// Batch is the fake of the service. Everything it refuses, it refuses with ClientException: the API has no other. API reference, "Common errors".
type Batch struct {
	// Invalid, where set, is asked when an environment leaves a transient status and may answer a status reason: it then ends INVALID.
	Invalid func(environment string, leaving types.CEStatus) string
	// InvalidQueue is the same for queues.
	InvalidQueue func(queue string) string
	// JobFails, where set, is asked when a submitted job would succeed and may answer why it fails instead.
	JobFails func(name string) string
	// JobStays, where set, is asked for the status that a submitted job does not get beyond, and the reason that Batch shows for that; an empty status is none.
	JobStays func(name string) (types.JobStatus, string)

	w            *World
	environments map[string]*environment
	queues       map[string]*queue
	jobs         map[string]*job
	definitions  map[string]*types.JobDefinition
}

type environment struct {
	types.ComputeEnvironmentDetail
	until time.Time
	// held is until when a queue that let go still holds it.
	held time.Time
}

type queue struct {
	types.JobQueueDetail
	until time.Time
}

type job struct {
	id, name, queue string
	status          types.JobStatus
	until           time.Time
	// goes: it moves on by itself at until. Why is the status reason.
	goes bool
	why  string
}

func newBatch(w *World) *Batch {
	return &Batch{w: w, environments: map[string]*environment{}, queues: map[string]*queue{}, jobs: map[string]*job{}, definitions: map[string]*types.JobDefinition{}}
}

// CreateComputeEnvironment makes one; the name is unique until the environment before it is gone. API reference,
// CreateComputeEnvironment, for what each type requires.
func (b *Batch) CreateComputeEnvironment(ctx context.Context, in *batch.CreateComputeEnvironmentInput, _ ...func(*batch.Options)) (*batch.CreateComputeEnvironmentOutput, error) {
	return do(ctx, b.w, "batch", "CreateComputeEnvironment", in, func() (*batch.CreateComputeEnvironmentOutput, error) {
		b.settle()

		n := aws.ToString(in.ComputeEnvironmentName)
		if err := batchName(n); err != nil {
			return nil, err
		}

		if e := b.environments[n]; e != nil && e.Status != types.CEStatusDeleted {
			return nil, clientException("Object already exists")
		}

		if len(b.environments) >= batchQuota {
			return nil, clientException("Compute environment limit of %d exceeded", batchQuota)
		}

		role := aws.ToString(in.ServiceRole)

		switch in.Type {
		case types.CETypeManaged:
			if err := batchManaged(in.ComputeResources); err != nil {
				return nil, err
			}

			if role == "" {
				role = b.serviceRole()
			}
		case types.CETypeUnmanaged:
			if in.ComputeResources != nil {
				return nil, clientException("computeResources must not be specified for an UNMANAGED compute environment")
			}

			if role == "" {
				return nil, clientException("serviceRole is required for an UNMANAGED compute environment")
			}
		}

		e := &environment{until: b.w.Now().Add(b.w.Takes.EnvironmentCreating)}
		e.ComputeEnvironmentName, e.ComputeEnvironmentArn = aws.String(n), aws.String(b.arn("compute-environment/"+n))
		e.Type, e.State, e.Status, e.StatusReason = in.Type, in.State, types.CEStatusCreating, aws.String("")
		e.ServiceRole, e.Tags, e.ComputeResources = aws.String(role), maps.Clone(in.Tags), cloneResources(in.ComputeResources)
		e.EcsClusterArn = aws.String(b.w.arn("ecs", b.w.Region, b.w.Account, "cluster/"+n+"_Batch_"+b.w.id("ecs")))

		if e.State == "" {
			e.State = types.CEStateEnabled
		}

		if r := e.ComputeResources; r != nil {
			r.DesiredvCpus = r.MinvCpus // Batch moves it by itself
		}

		b.environments[n] = e

		return &batch.CreateComputeEnvironmentOutput{ComputeEnvironmentName: e.ComputeEnvironmentName, ComputeEnvironmentArn: e.ComputeEnvironmentArn}, nil
	})
}

// batchManaged says what a managed EC2 environment lacks. API reference, ComputeResource.
func batchManaged(r *types.ComputeResource) error {
	switch {
	case r == nil:
		return clientException("computeResources is required for a MANAGED compute environment")
	case r.MaxvCpus == nil || len(r.Subnets) == 0:
		return clientException("maxvCpus and subnets are required")
	case strings.HasPrefix(string(r.Type), "FARGATE"):
		return nil
	case aws.ToString(r.InstanceRole) == "" || len(r.InstanceTypes) == 0:
		return clientException("instanceRole and instanceTypes are required for EC2 compute environments")
	case r.MinvCpus == nil:
		return clientException("minvCpus is required for EC2 compute environments")
	case aws.ToInt32(r.MinvCpus) > aws.ToInt32(r.MaxvCpus):
		return clientException("minvCpus must be less than or equal to maxvCpus")
	}

	return batchTypes(r.InstanceTypes)
}

// batchTypes refuses instance types of several processor architectures. API reference, ComputeResource, instanceTypes; the message as in aws-cdk's issue 31148.
func batchTypes(list []string) error {
	if slices.ContainsFunc(list, batchArm) && slices.ContainsFunc(list, func(t string) bool { return !batchArm(t) }) {
		return clientException("arm-based instance type cannot be used with other instance types.")
	}

	return nil
}

// batchArm tells whether a type or family is Arm: "g" for AWS Graviton behind the generation. EC2, "Amazon EC2 instance type naming conventions".
func batchArm(t string) bool {
	family, _, _ := strings.Cut(t, ".")
	options := strings.TrimLeft(strings.TrimLeft(family, "abcdefghijklmnopqrstuvwxyz"), "0123456789")

	return family == "a1" || family == "default_arm64" || strings.HasPrefix(options, "g")
}

// DescribeComputeEnvironments takes names and ARNs, leaves out what is not there, and pages.
func (b *Batch) DescribeComputeEnvironments(ctx context.Context, in *batch.DescribeComputeEnvironmentsInput, _ ...func(*batch.Options)) (*batch.DescribeComputeEnvironmentsOutput, error) {
	return do(ctx, b.w, "batch", "DescribeComputeEnvironments", in, func() (*batch.DescribeComputeEnvironmentsOutput, error) {
		b.settle()

		var all []types.ComputeEnvironmentDetail

		for _, e := range batchListed(b.environments, in.ComputeEnvironments) {
			d := e.ComputeEnvironmentDetail
			d.ComputeResources, d.Tags = cloneResources(d.ComputeResources), maps.Clone(d.Tags)
			all = append(all, d)
		}

		out := &batch.DescribeComputeEnvironmentsOutput{}

		var err error
		out.ComputeEnvironments, out.NextToken, err = batchPage(all, in.MaxResults, in.NextToken)

		return out, err
	})
}

// UpdateComputeEnvironment changes one. A scaling update is quick; an update of the infrastructure takes its time, and only environments with the service-linked role
// and a progressive strategy can have one. API reference, UpdateComputeEnvironment; Batch user guide, "Updating compute environments".
func (b *Batch) UpdateComputeEnvironment(ctx context.Context, in *batch.UpdateComputeEnvironmentInput, _ ...func(*batch.Options)) (*batch.UpdateComputeEnvironmentOutput, error) {
	return do(ctx, b.w, "batch", "UpdateComputeEnvironment", in, func() (*batch.UpdateComputeEnvironmentOutput, error) {
		b.settle()

		e, err := b.environment(in.ComputeEnvironment, "update")
		if err != nil {
			return nil, err
		}

		takes := b.w.Takes.EnvironmentScaling

		if u := in.ComputeResources; u != nil {
			if e.ComputeResources == nil {
				return nil, clientException("computeResources must not be specified for an UNMANAGED compute environment")
			}

			infrastructure, err := b.infrastructure(e, u)
			if err != nil {
				return nil, err
			}

			if err := batchTypes(u.InstanceTypes); err != nil {
				return nil, err
			}

			if infrastructure {
				takes = b.w.Takes.EnvironmentUpdating
			}

			applyUpdate(e.ComputeResources, u)
		}

		if in.State != "" {
			e.State = in.State
		}

		e.Status, e.until = types.CEStatusUpdating, b.w.Now().Add(takes)

		return &batch.UpdateComputeEnvironmentOutput{ComputeEnvironmentName: e.ComputeEnvironmentName, ComputeEnvironmentArn: e.ComputeEnvironmentArn}, nil
	})
}

// infrastructure tells whether an update replaces instances, and refuses what Batch refuses.
func (b *Batch) infrastructure(e *environment, u *types.ComputeResourceUpdate) (bool, error) {
	replaces := u.Type != "" || u.AllocationStrategy != "" || u.InstanceRole != nil || u.InstanceTypes != nil || u.LaunchTemplate != nil ||
		u.Subnets != nil || u.SecurityGroupIds != nil || u.Tags != nil

	if !replaces {
		if u.MinvCpus == nil && u.MaxvCpus == nil && u.DesiredvCpus == nil {
			return false, clientException("At least one compute-resources attribute must be specified")
		}

		return false, nil
	}

	// AllocationStrategy BEST_FIT, and another service role than Batch's own, rule such updates out.
	if aws.ToString(e.ServiceRole) != b.serviceRole() || e.ComputeResources.AllocationStrategy == types.CRAllocationStrategyBestFit {
		return false, clientException("The fields can be updated only for compute environments having a Batch service-linked role and a progressive allocation strategy")
	}

	return true, nil
}

func applyUpdate(r *types.ComputeResource, u *types.ComputeResourceUpdate) {
	r.MinvCpus, r.MaxvCpus, r.DesiredvCpus = batchOr(u.MinvCpus, r.MinvCpus), batchOr(u.MaxvCpus, r.MaxvCpus), batchOr(u.DesiredvCpus, r.DesiredvCpus)
	r.InstanceRole, r.LaunchTemplate = batchOr(u.InstanceRole, r.InstanceRole), batchOr(u.LaunchTemplate, r.LaunchTemplate)

	if u.Type != "" {
		r.Type = u.Type
	}

	if u.AllocationStrategy != "" {
		r.AllocationStrategy = types.CRAllocationStrategy(u.AllocationStrategy)
	}

	if u.InstanceTypes != nil {
		r.InstanceTypes = slices.Clone(u.InstanceTypes)
	}

	// An empty list takes them away. API reference, ComputeResourceUpdate.
	if u.Subnets != nil {
		r.Subnets = slices.Clone(u.Subnets)
	}

	if u.SecurityGroupIds != nil {
		r.SecurityGroupIds = slices.Clone(u.SecurityGroupIds)
	}

	if u.Tags != nil {
		r.Tags = maps.Clone(u.Tags)
	}
}

func batchOr[T any](v, otherwise *T) *T {
	if v != nil {
		return v
	}

	return otherwise
}

// DeleteComputeEnvironment wants it disabled and in no queue. API reference, DeleteComputeEnvironment; the messages as in the Terraform AWS provider's issues.
func (b *Batch) DeleteComputeEnvironment(ctx context.Context, in *batch.DeleteComputeEnvironmentInput, _ ...func(*batch.Options)) (*batch.DeleteComputeEnvironmentOutput, error) {
	return do(ctx, b.w, "batch", "DeleteComputeEnvironment", in, func() (*batch.DeleteComputeEnvironmentOutput, error) {
		b.settle()

		e, err := b.environment(in.ComputeEnvironment, "delete")
		if err != nil {
			return nil, err
		}

		if e.State != types.CEStateDisabled {
			return nil, clientException("Cannot delete, compute environment state must be DISABLED")
		}

		if b.inQueue(e) {
			return nil, clientException("Cannot delete, found existing JobQueue relationship")
		}

		e.Status, e.until = types.CEStatusDeleting, b.w.Now().Add(b.w.Takes.EnvironmentDeleting)

		return &batch.DeleteComputeEnvironmentOutput{}, nil
	})
}

func (b *Batch) inQueue(e *environment) bool {
	for _, q := range b.queues {
		for _, o := range q.ComputeEnvironmentOrder {
			if q.Status != types.JQStatusDeleted && aws.ToString(o.ComputeEnvironment) == aws.ToString(e.ComputeEnvironmentArn) {
				return true
			}
		}
	}

	return b.w.Now().Before(e.held)
}

// CreateJobQueue wants its environments VALID, at most three, all on instances or all on Fargate, and of one processor architecture. API reference,
// CreateJobQueue and ComputeEnvironmentOrder.
func (b *Batch) CreateJobQueue(ctx context.Context, in *batch.CreateJobQueueInput, _ ...func(*batch.Options)) (*batch.CreateJobQueueOutput, error) {
	return do(ctx, b.w, "batch", "CreateJobQueue", in, func() (*batch.CreateJobQueueOutput, error) {
		b.settle()

		n := aws.ToString(in.JobQueueName)
		if err := batchName(n); err != nil {
			return nil, err
		}

		if q := b.queues[n]; q != nil && q.Status != types.JQStatusDeleted {
			return nil, clientException("Object already exists")
		}

		if len(b.queues) >= batchQuota {
			return nil, clientException("Job queue limit of %d exceeded", batchQuota)
		}

		order, err := b.order(in.ComputeEnvironmentOrder)
		if err != nil {
			return nil, err
		}

		q := &queue{until: b.w.Now().Add(b.w.Takes.QueueCreating)}
		q.JobQueueName, q.JobQueueArn = aws.String(n), aws.String(b.arn("job-queue/"+n))
		q.State, q.Status, q.Priority, q.Tags, q.ComputeEnvironmentOrder = in.State, types.JQStatusCreating, in.Priority, maps.Clone(in.Tags), order

		if q.State == "" {
			q.State = types.JQStateEnabled
		}

		b.queues[n] = q

		return &batch.CreateJobQueueOutput{JobQueueName: q.JobQueueName, JobQueueArn: q.JobQueueArn}, nil
	})
}

// order checks a queue's environments and answers them with their ARNs, as Batch does.
func (b *Batch) order(list []types.ComputeEnvironmentOrder) ([]types.ComputeEnvironmentOrder, error) {
	if len(list) == 0 || len(list) > 3 {
		return nil, clientException("A job queue takes one to three compute environments")
	}

	out, fargate, arm, managed := make([]types.ComputeEnvironmentOrder, 0, len(list)), 0, 0, 0

	for _, o := range list {
		e := b.lookup(o.ComputeEnvironment)
		if e == nil {
			return nil, clientException("computeEnvironment %s does not exist", aws.ToString(o.ComputeEnvironment))
		}

		if e.Status != types.CEStatusValid && e.Status != types.CEStatusUpdating {
			return nil, clientException("%s is not in VALID state", aws.ToString(o.ComputeEnvironment))
		}

		if e.ComputeResources != nil && strings.HasPrefix(string(e.ComputeResources.Type), "FARGATE") {
			fargate++
		}

		if e.ComputeResources != nil {
			managed++

			if slices.ContainsFunc(e.ComputeResources.InstanceTypes, batchArm) {
				arm++
			}
		}

		out = append(out, types.ComputeEnvironmentOrder{ComputeEnvironment: e.ComputeEnvironmentArn, Order: o.Order})
	}

	if fargate != 0 && fargate != len(list) {
		return nil, clientException("Fargate and EC2 compute environments cannot be mixed in a job queue")
	}

	if arm != 0 && arm != managed {
		return nil, clientException("Compute environments of different architectures cannot be mixed in a job queue")
	}

	return out, nil
}

// DescribeJobQueues takes names and ARNs, leaves out what is not there, and pages.
func (b *Batch) DescribeJobQueues(ctx context.Context, in *batch.DescribeJobQueuesInput, _ ...func(*batch.Options)) (*batch.DescribeJobQueuesOutput, error) {
	return do(ctx, b.w, "batch", "DescribeJobQueues", in, func() (*batch.DescribeJobQueuesOutput, error) {
		b.settle()

		var all []types.JobQueueDetail

		for _, q := range batchListed(b.queues, in.JobQueues) {
			d := q.JobQueueDetail
			d.ComputeEnvironmentOrder, d.Tags = slices.Clone(d.ComputeEnvironmentOrder), maps.Clone(d.Tags)
			all = append(all, d)
		}

		out := &batch.DescribeJobQueuesOutput{}

		var err error
		out.JobQueues, out.NextToken, err = batchPage(all, in.MaxResults, in.NextToken)

		return out, err
	})
}

// UpdateJobQueue refuses while the queue is CREATING, UPDATING or DELETING.
func (b *Batch) UpdateJobQueue(ctx context.Context, in *batch.UpdateJobQueueInput, _ ...func(*batch.Options)) (*batch.UpdateJobQueueOutput, error) {
	return do(ctx, b.w, "batch", "UpdateJobQueue", in, func() (*batch.UpdateJobQueueOutput, error) {
		b.settle()

		q, err := b.queue(in.JobQueue, "update")
		if err != nil {
			return nil, err
		}

		if in.ComputeEnvironmentOrder != nil {
			order, err := b.order(in.ComputeEnvironmentOrder)
			if err != nil {
				return nil, err
			}

			b.letGo(q)
			q.ComputeEnvironmentOrder = order
		}

		if in.State != "" {
			q.State = in.State
		}

		q.Priority = batchOr(in.Priority, q.Priority)
		q.Status, q.until = types.JQStatusUpdating, b.w.Now().Add(b.w.Takes.QueueUpdating)

		return &batch.UpdateJobQueueOutput{JobQueueName: q.JobQueueName, JobQueueArn: q.JobQueueArn}, nil
	})
}

// DeleteJobQueue wants it disabled; the jobs in it are terminated. API reference, DeleteJobQueue.
func (b *Batch) DeleteJobQueue(ctx context.Context, in *batch.DeleteJobQueueInput, _ ...func(*batch.Options)) (*batch.DeleteJobQueueOutput, error) {
	return do(ctx, b.w, "batch", "DeleteJobQueue", in, func() (*batch.DeleteJobQueueOutput, error) {
		b.settle()

		q, err := b.queue(in.JobQueue, "delete")
		if err != nil {
			return nil, err
		}

		if q.State != types.JQStateDisabled {
			return nil, clientException("Cannot delete, job queue state must be DISABLED")
		}

		q.Status, q.until = types.JQStatusDeleting, b.w.Now().Add(b.w.Takes.QueueDeleting)

		return &batch.DeleteJobQueueOutput{}, nil
	})
}

// Submit puts a job into a queue in any status, for tests.
func (b *Batch) Submit(queue string, status types.JobStatus) string {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()

	j := &job{id: b.w.id("job"), queue: queue, status: status}
	b.jobs[j.id] = j

	return j.id
}

// ListJobs answers RUNNING jobs unless told another status. A token stands for the last job of the page before, so that jobs which leave the status
// meanwhile shift nothing. API reference, ListJobs.
func (b *Batch) ListJobs(ctx context.Context, in *batch.ListJobsInput, _ ...func(*batch.Options)) (*batch.ListJobsOutput, error) {
	return do(ctx, b.w, "batch", "ListJobs", in, func() (*batch.ListJobsOutput, error) {
		b.settle()

		status := in.JobStatus
		if status == "" {
			status = types.JobStatusRunning
		}

		var rest []types.JobSummary

		queue := aws.ToString(in.JobQueue)
		queue = queue[strings.LastIndex(queue, "/")+1:]

		for _, j := range sorted(b.jobs) {
			if j.queue == queue && j.listed(in.Filters, status) && j.id > aws.ToString(in.NextToken) {
				rest = append(rest, types.JobSummary{JobId: aws.String(j.id), JobName: aws.String(j.name), Status: j.status})
			}
		}

		page, next, err := batchPage(rest, in.MaxResults, nil)
		if next != nil {
			next = page[len(page)-1].JobId
		}

		return &batch.ListJobsOutput{JobSummaryList: page, NextToken: next}, err
	})
}

// listed tells whether a job is in a list. A filter by name makes Batch ignore the status.
func (j *job) listed(filters []types.KeyValuesPair, status types.JobStatus) bool {
	for _, f := range filters {
		if aws.ToString(f.Name) == "JOB_NAME" {
			return slices.Contains(f.Values, j.name)
		}
	}

	return j.status == status
}

// TerminateJob fails a job that has no container yet at once; one that has takes until the container stopped. API reference, TerminateJob.
func (b *Batch) TerminateJob(ctx context.Context, in *batch.TerminateJobInput, _ ...func(*batch.Options)) (*batch.TerminateJobOutput, error) {
	return do(ctx, b.w, "batch", "TerminateJob", in, func() (*batch.TerminateJobOutput, error) {
		b.settle()

		j := b.jobs[aws.ToString(in.JobId)]

		switch {
		case aws.ToString(in.Reason) == "":
			return nil, clientException("reason must not be empty")
		case j == nil:
			return nil, clientException("Job %s does not exist", aws.ToString(in.JobId))
		case j.status == types.JobStatusStarting, j.status == types.JobStatusRunning:
			if j.until.IsZero() || j.goes {
				j.goes, j.until = false, b.w.Now().Add(jobEnding)
			}
		case j.status != types.JobStatusSucceeded:
			j.status, j.goes = types.JobStatusFailed, false
		}

		return &batch.TerminateJobOutput{}, nil
	})
}

// TagResource adds and replaces tags.
func (b *Batch) TagResource(ctx context.Context, in *batch.TagResourceInput, _ ...func(*batch.Options)) (*batch.TagResourceOutput, error) {
	return do(ctx, b.w, "batch", "TagResource", in, func() (*batch.TagResourceOutput, error) {
		b.settle()

		tags, err := b.tags(aws.ToString(in.ResourceArn))
		if err != nil {
			return nil, err
		}

		maps.Copy(tags, in.Tags)

		return &batch.TagResourceOutput{}, nil
	})
}

// UntagResource takes tags away.
func (b *Batch) UntagResource(ctx context.Context, in *batch.UntagResourceInput, _ ...func(*batch.Options)) (*batch.UntagResourceOutput, error) {
	return do(ctx, b.w, "batch", "UntagResource", in, func() (*batch.UntagResourceOutput, error) {
		b.settle()

		tags, err := b.tags(aws.ToString(in.ResourceArn))
		if err != nil {
			return nil, err
		}

		for _, k := range in.TagKeys {
			delete(tags, k)
		}

		return &batch.UntagResourceOutput{}, nil
	})
}

func (b *Batch) tags(arn string) (map[string]string, error) {
	if e := b.lookup(&arn); e != nil {
		if e.Tags == nil {
			e.Tags = map[string]string{}
		}

		return e.Tags, nil
	}

	for _, q := range b.queues {
		if aws.ToString(q.JobQueueArn) == arn {
			if q.Tags == nil {
				q.Tags = map[string]string{}
			}

			return q.Tags, nil
		}
	}

	return nil, clientException("%s does not exist", arn)
}

// settle lets time pass: what was under way for long enough is done.
func (b *Batch) settle() {
	now := b.w.Now()

	for n, e := range b.environments {
		if e.until.IsZero() || now.Before(e.until) {
			continue
		}

		leaving, end := e.Status, e.until
		e.until = time.Time{}

		reason := ""
		if b.Invalid != nil && leaving != types.CEStatusDeleted {
			reason = b.Invalid(n, leaving)
		}

		e.StatusReason = aws.String(reason)

		switch {
		case leaving == types.CEStatusDeleted:
			delete(b.environments, n)
		case reason != "":
			e.Status = types.CEStatusInvalid
		case leaving == types.CEStatusDeleting:
			e.Status, e.until = types.CEStatusDeleted, end.Add(deletedShown)
		default:
			e.Status = types.CEStatusValid
		}
	}

	for n, q := range b.queues {
		if !q.until.IsZero() && !now.Before(q.until) {
			b.settleQueue(n, q)
		}
	}

	for _, j := range b.jobs {
		b.going(j)

		if !j.goes && !j.until.IsZero() && !now.Before(j.until) && j.status != types.JobStatusSucceeded {
			j.status, j.until = types.JobStatusFailed, time.Time{}
		}
	}
}

func (b *Batch) settleQueue(n string, q *queue) {
	leaving, end := q.Status, q.until
	q.until = time.Time{}

	switch leaving {
	case types.JQStatusDeleted:
		delete(b.queues, n)
	case types.JQStatusDeleting:
		q.Status, q.until = types.JQStatusDeleted, end.Add(deletedShown)
		b.letGo(q)

		for _, j := range b.jobs {
			if j.queue == n && j.status != types.JobStatusSucceeded {
				j.status, j.goes = types.JobStatusFailed, false
			}
		}
	default:
		q.Status = types.JQStatusValid

		if b.InvalidQueue != nil {
			if reason := b.InvalidQueue(n); reason != "" {
				q.Status, q.StatusReason = types.JQStatusInvalid, aws.String(reason)
			}
		}
	}
}

func (b *Batch) letGo(q *queue) {
	for _, o := range q.ComputeEnvironmentOrder {
		if e := b.lookup(o.ComputeEnvironment); e != nil {
			e.held = b.w.Now().Add(b.w.Takes.RelationLag)
		}
	}
}

func (b *Batch) lookup(nameOrARN *string) *environment {
	for _, e := range batchListed(b.environments, []string{aws.ToString(nameOrARN)}) {
		if e.Status != types.CEStatusDeleted {
			return e
		}
	}

	return nil
}

// environment finds one that may be changed now.
func (b *Batch) environment(nameOrARN *string, verb string) (*environment, error) {
	e := b.lookup(nameOrARN)
	if e == nil {
		return nil, clientException("%s does not exist", aws.ToString(nameOrARN))
	}

	if e.Status != types.CEStatusValid && e.Status != types.CEStatusInvalid {
		return nil, clientException("Cannot %s, resource is being modified.", verb)
	}

	return e, nil
}

// queue finds one that may be changed now.
func (b *Batch) queue(nameOrARN *string, verb string) (*queue, error) {
	for _, q := range batchListed(b.queues, []string{aws.ToString(nameOrARN)}) {
		if q.Status == types.JQStatusDeleted {
			continue
		}

		if q.Status != types.JQStatusValid && q.Status != types.JQStatusInvalid {
			return nil, clientException("Cannot %s, resource is being modified.", verb)
		}

		return q, nil
	}

	return nil, clientException("%s does not exist", aws.ToString(nameOrARN))
}

func (b *Batch) arn(resource string) string {
	return b.w.arn("batch", b.w.Region, b.w.Account, resource)
}

// serviceRole is the account's service-linked role. Batch user guide, "Using service-linked roles for AWS Batch".
func (b *Batch) serviceRole() string {
	return b.w.arn("iam", "", b.w.Account, "role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch")
}

func clientException(format string, args ...any) error {
	return refuse("ClientException", format, args...)
}

// batchName is the rule for names of environments and queues. API reference, CreateComputeEnvironment and CreateJobQueue.
func batchName(n string) error {
	if len(n) < 1 || len(n) > 128 || !spelled(n[:1], "") || !spelled(n, "_-") {
		return clientException("%q is not a valid name", n)
	}

	return nil
}

// batchListed finds what a list of names and ARNs names, in the order of names; an empty list wants everything.
func batchListed[T interface{ arn() *string }](all map[string]T, list []string) []T {
	if len(list) == 0 {
		return sorted(all)
	}

	named := map[string]T{}

	for _, nameOrARN := range list {
		name := nameOrARN[strings.LastIndex(nameOrARN, "/")+1:]
		if v, ok := all[name]; ok && (nameOrARN == name || nameOrARN == aws.ToString(v.arn())) {
			named[name] = v
		}
	}

	return sorted(named)
}

func (e *environment) arn() *string { return e.ComputeEnvironmentArn }
func (q *queue) arn() *string       { return q.JobQueueArn }

// batchPage cuts one page of at most 100 out of a list; the token is the place to go on.
func batchPage[T any](all []T, size *int32, token *string) ([]T, *string, error) {
	from := 0

	if token != nil {
		var err error
		if from, err = strconv.Atoi(*token); err != nil {
			return nil, nil, clientException("Invalid nextToken")
		}
	}

	limit := 100
	if size != nil {
		limit = int(*size)
	}

	from = min(from, len(all))
	to := min(from+limit, len(all))

	if to == len(all) {
		return all[from:], nil, nil
	}

	return all[from:to], aws.String(strconv.Itoa(to)), nil
}

func cloneResources(r *types.ComputeResource) *types.ComputeResource {
	if r == nil {
		return nil
	}

	c := *r
	c.Subnets, c.SecurityGroupIds, c.InstanceTypes, c.Tags = slices.Clone(r.Subnets), slices.Clone(r.SecurityGroupIds), slices.Clone(r.InstanceTypes), maps.Clone(r.Tags)

	return &c
}
