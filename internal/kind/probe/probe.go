// Package probe proves that an environment works: a job goes through the default queue, starts on an instance, and writes and reads the bucket as the job
// role. It is there while an operation asks for it and leaves nothing but one small object in the bucket (Owner.ProbeObject), because a job role may not
// delete.
//
// The job takes the way that Metaflow's own jobs take: the image from a public registry, boto3 from PyPI, the role's credentials from ECS. So a network
// without a way out, a missing instance profile or a role that nobody may assume fail here, and not in somebody's first flow. The package knows Batch.
package probe

import (
	"context"
	"fmt"
	"maps"
	"slices"
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
	RegisterJobDefinition(ctx context.Context, in *batch.RegisterJobDefinitionInput, opts ...func(*batch.Options)) (*batch.RegisterJobDefinitionOutput, error)
	DescribeJobDefinitions(ctx context.Context, in *batch.DescribeJobDefinitionsInput, opts ...func(*batch.Options)) (*batch.DescribeJobDefinitionsOutput, error)
	DeregisterJobDefinition(ctx context.Context, in *batch.DeregisterJobDefinitionInput, opts ...func(*batch.Options)) (*batch.DeregisterJobDefinitionOutput, error)
	SubmitJob(ctx context.Context, in *batch.SubmitJobInput, opts ...func(*batch.Options)) (*batch.SubmitJobOutput, error)
	DescribeJobs(ctx context.Context, in *batch.DescribeJobsInput, opts ...func(*batch.Options)) (*batch.DescribeJobsOutput, error)
	ListJobs(ctx context.Context, in *batch.ListJobsInput, opts ...func(*batch.Options)) (*batch.ListJobsOutput, error)
	TerminateJob(ctx context.Context, in *batch.TerminateJobInput, opts ...func(*batch.Options)) (*batch.TerminateJobOutput, error)
}

// Probe is the kind.
type Probe struct{ batch api }

// New takes the Batch client.
func New(client api) *Probe { return &Probe{batch: client} }

const (
	name     = "probe"
	bucket   = "bucket"
	jobRole  = "job-role"
	jobQueue = "job-queue"
	// memoJob is the id of the job.
	memoJob = "job"
	// image holds Python and nothing that the job needs beside it: what is missing comes from PyPI, as for Metaflow's own jobs.
	image = "public.ecr.aws/docker/library/python:3.12-slim"
	// lasting is how long the job may run once it started, in seconds.
	lasting = 600
)

// script writes an object, reads it back and lists it: the three things that Metaflow's jobs do with the bucket.
const script = `
import boto3, os
s3, place = boto3.client("s3"), {"Bucket": os.environ["PROBE_BUCKET"], "Key": os.environ["PROBE_KEY"]}
body = os.environ["AWS_BATCH_JOB_ID"].encode()
s3.put_object(Body=body, **place)
assert s3.get_object(**place)["Body"].read() == body, "read something else than was written"
assert s3.list_objects_v2(Bucket=place["Bucket"], Prefix=place["Key"])["KeyCount"] > 0, "the object is not listed"
print("metaflow-deployer: the environment works")
`

// About implements kind.Kind.
func (*Probe) About() kind.About {
	return kind.About{
		Name: name, Family: "batch", Component: "compute", Passing: true, Needs: []string{bucket, jobRole, jobQueue},
		Doc: "A job that proves the environment: it starts through the default queue, and writes and reads the bucket as the job role.",
		// An instance has to start, and to pull the image.
		Ensuring: kind.Timing{Typical: 3 * time.Minute, Deadline: 30 * time.Minute},
		Removing: kind.Timing{Typical: 2 * time.Second, Deadline: 15 * time.Minute},
	}
}

// Plan asks for one probe, through the default queue.
func (*Probe) Plan(spec deploy.Spec) []kind.Item {
	return []kind.Item{{Ref: name, Needs: []deploy.Ref{bucket, jobRole, deploy.NewRef(jobQueue, spec.Compute.DefaultQueue)}, Pointer: "/verify"}}
}

// Ensure implements kind.Kind. The job's name is the operation's, so a job whose answer was lost is found again. A second definition or job, where a list
// lags, does no harm: every revision goes with Remove, and either job proves the same.
func (p *Probe) Ensure(ctx context.Context, c *kind.Call) (kind.Result, error) {
	// A job on Fargate needs an execution role, which nobody brings with a queue. API reference, RegisterJobDefinition, executionRoleArn.
	if platform := c.Others[deploy.NewRef(jobQueue, c.Spec.Compute.DefaultQueue)].Outputs["platform"]; strings.HasPrefix(platform, "FARGATE") {
		return kind.Result{}, deploy.Errorf(deploy.Invalid, deploy.CodeNotOfferedYet, "The default queue runs on %s, where a verification is not offered yet.", platform).
			WithRemedy("Leave verify out, and run a flow to see that it works.").At(c.Pointer)
	}

	definition, err := p.definition(ctx, c)
	if err != nil {
		return kind.Result{}, err
	}

	result := kind.Result{ID: aws.ToString(definition.JobDefinitionName), ARN: aws.ToString(definition.JobDefinitionArn), Waiting: string(types.JobStatusSubmitted)}

	job, err := p.job(ctx, c, result.ARN)
	if err != nil || job == "" {
		return result, err
	}

	out, err := p.batch.DescribeJobs(ctx, &batch.DescribeJobsInput{Jobs: []string{job}})
	if err != nil {
		return result, fmt.Errorf("describe job %s: %w", job, err)
	}

	if len(out.Jobs) == 0 {
		return result, nil
	}

	switch d := out.Jobs[0]; d.Status {
	case types.JobStatusSucceeded:
		result.Done, result.Waiting = true, ""
	case types.JobStatusFailed:
		return result, failure(c, d)
	default:
		result.Waiting = strings.TrimSuffix(string(d.Status)+": "+deploy.Scrub(aws.ToString(d.StatusReason)), ": ")
	}

	return result, nil
}

// failure tells why a job failed, in Batch's words and the container's.
func failure(c *kind.Call, d types.JobDetail) error {
	why := []string{aws.ToString(d.StatusReason)}

	if d.Container != nil {
		why = append(why, aws.ToString(d.Container.Reason))

		if d.Container.ExitCode != nil {
			why = append(why, fmt.Sprintf("exit code %d", *d.Container.ExitCode))
		}

		if stream := aws.ToString(d.Container.LogStreamName); stream != "" {
			why = append(why, "log stream "+stream+" of /aws/batch/job")
		}
	}

	why = slices.DeleteFunc(why, func(s string) bool { return s == "" })

	return deploy.Errorf(deploy.Invalid, "probe_failed", "The probe job %s failed: %s.", aws.ToString(d.JobId), deploy.Scrub(strings.Join(why, "; "))).
		WithRemedy("Read that log stream. Jobs need a way to S3, to the image registry and to PyPI, and a role that ecs-tasks.amazonaws.com may assume.").At(c.Pointer)
}

// definition returns the newest revision that is ours, or registers one.
func (p *Probe) definition(ctx context.Context, c *kind.Call) (types.JobDefinition, error) {
	found, err := p.definitions(ctx, c)
	if err != nil || len(found) > 0 {
		return first(found), err
	}

	var made types.JobDefinition

	_, err = kind.Repeatable(ctx, c, func(context.Context) (string, error) { return "", nil }, func(ctx context.Context) (string, error) {
		out, err := p.batch.RegisterJobDefinition(ctx, &batch.RegisterJobDefinitionInput{
			JobDefinitionName: aws.String(definitionName(c)), Type: types.JobDefinitionTypeContainer, Tags: c.Tags(),
			RetryStrategy: &types.RetryStrategy{Attempts: aws.Int32(1)}, Timeout: &types.JobTimeout{AttemptDurationSeconds: aws.Int32(lasting)},
			ContainerProperties: &types.ContainerProperties{
				Image: aws.String(image), JobRoleArn: aws.String(c.One(jobRole).ARN),
				Command: []string{"/bin/sh", "-c", "python3 -m pip install --quiet boto3 && exec python3 -c '" + script + "'"},
				ResourceRequirements: []types.ResourceRequirement{
					{Type: types.ResourceTypeVcpu, Value: aws.String("1")}, {Type: types.ResourceTypeMemory, Value: aws.String("512")},
				},
				Environment: environment(c),
			},
		})
		if err != nil {
			return "", fmt.Errorf("register job definition %s: %w", definitionName(c), err)
		}

		made = types.JobDefinition{JobDefinitionName: out.JobDefinitionName, JobDefinitionArn: out.JobDefinitionArn}

		return aws.ToString(out.JobDefinitionArn), nil
	})

	return made, err
}

func first(list []types.JobDefinition) types.JobDefinition {
	if len(list) == 0 {
		return types.JobDefinition{}
	}

	return list[0]
}

func environment(c *kind.Call) []types.KeyValuePair {
	where, key := c.Owner.ProbeObject(c.Spec)
	values := map[string]string{"AWS_DEFAULT_REGION": c.Owner.Region, "PROBE_BUCKET": where, "PROBE_KEY": key}

	var list []types.KeyValuePair
	for _, name := range slices.Sorted(maps.Keys(values)) {
		list = append(list, types.KeyValuePair{Name: aws.String(name), Value: aws.String(values[name])})
	}

	return list
}

// definitionName is at most 33 (slug) + 6 = 39 characters; AWS allows 128.
func definitionName(c *kind.Call) string { return c.Name(name) }

// jobName is at most 24 (deployment) + 27 (ULID) + 6 = 57 characters; AWS allows 128.
func jobName(c *kind.Call) string { return c.Operation + "-" + name }

// definitions lists the active revisions that are ours, newest first.
func (p *Probe) definitions(ctx context.Context, c *kind.Call) ([]types.JobDefinition, error) {
	var all []types.JobDefinition

	pages := batch.NewDescribeJobDefinitionsPaginator(p.batch, &batch.DescribeJobDefinitionsInput{
		JobDefinitionName: aws.String(definitionName(c)), Status: aws.String("ACTIVE"),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describe job definition %s: %w", definitionName(c), err)
		}

		for _, d := range page.JobDefinitions {
			if c.Owns(d.Tags) {
				all = append(all, d)
			}
		}
	}

	slices.SortFunc(all, func(a, b types.JobDefinition) int { return int(aws.ToInt32(b.Revision) - aws.ToInt32(a.Revision)) })

	return all, nil
}

// job returns the id of the operation's job, and submits it if there is none.
func (p *Probe) job(ctx context.Context, c *kind.Call, definition string) (string, error) {
	if id := c.Memo[memoJob]; id != "" {
		return id, nil
	}

	jobs, err := p.jobs(ctx, c)
	if err != nil {
		return "", err
	}

	if len(jobs) > 0 {
		c.Note(memoJob, aws.ToString(jobs[0].JobId))

		return aws.ToString(jobs[0].JobId), nil
	}

	// Without tags: nobody looks for them, and AWS would ask for batch:TagResource on the definition.
	out, err := p.batch.SubmitJob(ctx, &batch.SubmitJobInput{
		JobName: aws.String(jobName(c)), JobDefinition: aws.String(definition), JobQueue: aws.String(queue(c)),
	})
	if err != nil {
		return "", fmt.Errorf("submit job %s: %w", jobName(c), err)
	}

	c.Note(memoJob, aws.ToString(out.JobId))

	return aws.ToString(out.JobId), nil
}

func queue(c *kind.Call) string {
	return c.Others[deploy.NewRef(jobQueue, c.Spec.Compute.DefaultQueue)].ARN
}

// jobs lists the operation's jobs in the queue, whatever their status. API reference, ListJobs: with a filter by name, jobStatus is ignored.
func (p *Probe) jobs(ctx context.Context, c *kind.Call) ([]types.JobSummary, error) {
	var all []types.JobSummary

	pages := batch.NewListJobsPaginator(p.batch, &batch.ListJobsInput{
		JobQueue: aws.String(queue(c)), Filters: []types.KeyValuesPair{{Name: aws.String("JOB_NAME"), Values: []string{jobName(c)}}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list jobs %s: %w", jobName(c), err)
		}

		all = append(all, page.JobSummaryList...)
	}

	return all, nil
}

// Remove implements kind.Kind: ends the job if it still runs, and takes every revision of the definition out of use. Batch forgets both by itself.
func (p *Probe) Remove(ctx context.Context, c *kind.Call) (kind.Result, error) {
	if queue(c) != "" {
		jobs, err := p.jobs(ctx, c)
		if awserr.IgnoreGone(err) != nil {
			return kind.Result{}, err
		}

		for _, j := range jobs {
			if j.Status == types.JobStatusSucceeded || j.Status == types.JobStatusFailed {
				continue
			}

			_, err := p.batch.TerminateJob(ctx, &batch.TerminateJobInput{JobId: j.JobId, Reason: aws.String("The operation that asked for it has ended.")})
			if awserr.IgnoreGone(err) != nil {
				return kind.Result{}, fmt.Errorf("terminate job %s: %w", aws.ToString(j.JobId), err)
			}
		}
	}

	found, err := p.definitions(ctx, c)
	if err != nil {
		return kind.Result{}, err
	}

	if len(found) == 0 {
		delete(c.Memo, memoJob)

		return kind.Result{Done: !c.Unsure(), Waiting: "to be sure that no job definition was registered"}, nil
	}

	for _, d := range found {
		_, err := p.batch.DeregisterJobDefinition(ctx, &batch.DeregisterJobDefinitionInput{JobDefinition: d.JobDefinitionArn})
		if awserr.IgnoreGone(err) != nil {
			return kind.Result{}, fmt.Errorf("deregister job definition %s: %w", aws.ToString(d.JobDefinitionArn), err)
		}
	}

	c.Removed()

	return kind.Result{Waiting: "INACTIVE"}, nil
}

// Observe implements kind.Kind.
func (p *Probe) Observe(ctx context.Context, c *kind.Call) (kind.Observation, error) {
	found, err := p.definitions(ctx, c)
	if err != nil || len(found) == 0 {
		return kind.Observation{State: kind.Absent}, err
	}

	return kind.Observation{State: kind.Ready, ID: aws.ToString(found[0].JobDefinitionName), ARN: aws.ToString(found[0].JobDefinitionArn)}, nil
}

// List implements kind.Lister.
func (p *Probe) List(ctx context.Context, place deploy.Owner) ([]kind.Found, error) {
	var all []kind.Found

	pages := batch.NewDescribeJobDefinitionsPaginator(p.batch, &batch.DescribeJobDefinitionsInput{Status: aws.String("ACTIVE")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list job definitions: %w", err)
		}

		for i := range page.JobDefinitions {
			d := &page.JobDefinitions[i]

			found := kind.Found{ID: aws.ToString(d.JobDefinitionName), ARN: aws.ToString(d.JobDefinitionArn), Tags: d.Tags}
			if found.Of(place, name) {
				all = append(all, found)
			}
		}
	}

	return all, nil
}
