package jobqueue

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/batch/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

const (
	// memoStatus holds the job status whose jobs are being ended, memoPage the token of the page to go on with.
	memoStatus = "jobStatus"
	memoPage   = "jobPage"
	// finished stands for a status after the last: every job has been told to end.
	finished = "none"

	// page is how many jobs one look ends, one call each: a few seconds.
	page = 50
)

// living lists the statuses of jobs that are not over, in the order that a job goes through them, so that none slips past. ListJobs answers RUNNING ones
// only unless told which. API reference, ListJobs.
func living() []string {
	return []string{
		string(types.JobStatusSubmitted), string(types.JobStatusPending), string(types.JobStatusRunnable), string(types.JobStatusStarting), string(types.JobStatusRunning),
	}
}

// Remove implements kind.Kind: disabled, so that no job comes any more; then every job is told to end; then deleted.
func (q *JobQueue) Remove(ctx context.Context, c *kind.Call) (kind.Result, error) {
	found, err := q.find(ctx, queueName(c))
	if err != nil {
		return kind.Result{}, err
	}

	if found == nil || !c.Owns(found.Tags) {
		forget(c)

		return kind.Result{Done: found != nil || !c.Unsure(), Waiting: "to be sure that no job queue was made"}, nil
	}

	switch {
	case found.Status != types.JQStatusValid && found.Status != types.JQStatusInvalid:
		return kind.Result{Waiting: strings.TrimSuffix(string(found.Status)+": "+deploy.Scrub(aws.ToString(found.StatusReason)), ": ")}, nil
	case found.State != types.JQStateDisabled:
		forget(c)

		_, err := q.batch.UpdateJobQueue(ctx, &batch.UpdateJobQueueInput{JobQueue: found.JobQueueName, State: types.JQStateDisabled})
		if awserr.IgnoreGone(err) != nil {
			return kind.Result{}, fmt.Errorf("disable job queue %s: %w", queueName(c), err)
		}

		return kind.Result{Waiting: string(types.JQStateDisabled)}, nil
	}

	if ended, result, err := q.endJobs(ctx, c); err != nil || !ended {
		return result, err
	}

	_, err = q.batch.DeleteJobQueue(ctx, &batch.DeleteJobQueueInput{JobQueue: found.JobQueueName})
	if awserr.IgnoreGone(err) != nil {
		return kind.Result{}, fmt.Errorf("delete job queue %s: %w", queueName(c), err)
	}

	c.Removed()

	return kind.Result{Waiting: string(types.JQStatusDeleting)}, nil
}

// endJobs tells one page of jobs to end and turns the page; statuses without jobs are passed over in the same look. It does not wait for jobs: one may take
// its time, and Batch ends what is left of a queue that is deleted. Going once through all statuses is enough, since a disabled queue takes no more jobs.
func (q *JobQueue) endJobs(ctx context.Context, c *kind.Call) (ended bool, result kind.Result, err error) {
	for {
		status := c.Memo[memoStatus]
		if status == "" {
			status = living()[0]
		}

		if status == finished {
			return true, kind.Result{}, nil
		}

		in := &batch.ListJobsInput{JobQueue: aws.String(queueName(c)), JobStatus: types.JobStatus(status), MaxResults: aws.Int32(page)}
		if token := c.Memo[memoPage]; token != "" {
			in.NextToken = aws.String(token)
		}

		// A token that Batch no longer knows would be refused for ever.
		delete(c.Memo, memoPage)

		out, err := q.batch.ListJobs(ctx, in)
		if err != nil {
			return false, kind.Result{}, fmt.Errorf("list %s jobs of job queue %s: %w", status, queueName(c), err)
		}

		for _, job := range out.JobSummaryList {
			_, err := q.batch.TerminateJob(ctx, &batch.TerminateJobInput{JobId: job.JobId, Reason: aws.String("The job queue is being deleted.")})
			if awserr.IgnoreGone(err) != nil {
				return false, kind.Result{}, fmt.Errorf("terminate job %s: %w", aws.ToString(job.JobId), err)
			}
		}

		next := status
		if token := aws.ToString(out.NextToken); token != "" {
			c.Note(memoPage, token)
		} else {
			next = after(status)
		}

		c.Note(memoStatus, next)

		if len(out.JobSummaryList) > 0 || next == status {
			return false, kind.Result{Progressed: true, Waiting: fmt.Sprintf("%s jobs to end", status)}, nil
		}
	}
}

func after(status string) string {
	all := append(living(), finished)

	return all[slices.Index(all, status)+1]
}

func forget(c *kind.Call) {
	delete(c.Memo, memoStatus)
	delete(c.Memo, memoPage)
}
