package probe_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/batch/types"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/kindtest"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/probe"
)

const (
	role = "arn:aws:iam::123456789012:role/metaflow-deployer/test/demo-job"
	// queue is another's name, so that only the ARN leads to it.
	queue = "the-queue"
)

func must(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

// build makes a queue that works, and the probe of an environment with it.
func build(t *testing.T) *kindtest.Bench {
	t.Helper()

	w, clock := kindtest.World()
	b := kindtest.New(t, probe.New(w.Batch), w, clock, deploy.Spec{Tags: map[string]string{"team": "research"}}, "probe")

	_, err := w.Batch.CreateComputeEnvironment(t.Context(), &batch.CreateComputeEnvironmentInput{
		ComputeEnvironmentName: aws.String("environment"), Type: types.CETypeUnmanaged, ServiceRole: aws.String("role"),
	})
	must(t, err)
	clock.Advance(time.Minute)

	made, err := w.Batch.CreateJobQueue(t.Context(), &batch.CreateJobQueueInput{
		JobQueueName: aws.String(queue), Priority: aws.Int32(1),
		ComputeEnvironmentOrder: []types.ComputeEnvironmentOrder{{ComputeEnvironment: aws.String("environment"), Order: aws.Int32(1)}},
	})
	must(t, err)
	clock.Advance(time.Minute)

	b.Others = map[deploy.Ref]kind.Other{
		"bucket": {ID: "the-bucket"}, "job-role": {ARN: role}, "job-queue/default": {ID: "default", ARN: *made.JobQueueArn},
	}

	return b
}

// jobs lists those of an operation, whatever their status.
func jobs(t *testing.T, b *kindtest.Bench, operation string) []types.JobSummary {
	t.Helper()

	out, err := b.World.Batch.ListJobs(t.Context(), &batch.ListJobsInput{
		JobQueue: aws.String(queue), Filters: []types.KeyValuesPair{{Name: aws.String("JOB_NAME"), Values: []string{operation + "-probe"}}},
	})
	must(t, err)

	return out.JobSummaryList
}

// active lists the ARNs of definitions in use, whoever registered them.
func active(t *testing.T, b *kindtest.Bench) []string {
	t.Helper()

	out, err := b.World.Batch.DescribeJobDefinitions(t.Context(), &batch.DescribeJobDefinitionsInput{Status: aws.String("ACTIVE")})
	must(t, err)

	var arns []string
	for _, d := range out.JobDefinitions {
		arns = append(arns, *d.JobDefinitionArn)
	}

	return arns
}

// register puts a definition into the account.
func register(t *testing.T, b *kindtest.Bench, name string, tags map[string]string) string {
	t.Helper()

	out, err := b.World.Batch.RegisterJobDefinition(t.Context(), &batch.RegisterJobDefinitionInput{
		JobDefinitionName: aws.String(name), Type: types.JobDefinitionTypeContainer, ContainerProperties: &types.ContainerProperties{}, Tags: tags,
	})
	must(t, err)

	return *out.JobDefinitionArn
}

// begin looks until the job is in a status.
func begin(t *testing.T, b *kindtest.Bench, status types.JobStatus) {
	t.Helper()

	for range 300 {
		r, err := b.Look(t.Context(), deploy.Ensure)
		must(t, err)

		if r.Waiting == string(status) {
			return
		}

		b.Clock.Advance(time.Second)
	}

	t.Fatalf("the job is never %s", status)
}

func TestWhatIsSent(t *testing.T) {
	b := build(t)
	r := b.Ensure(t)

	name := b.Name("probe")

	want := kind.Result{Done: true, ID: name, ARN: "arn:aws:batch:us-east-1:123456789012:job-definition/" + name + ":1"}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}

	for _, c := range b.World.Calls() {
		switch in := c.Input.(type) {
		case *batch.RegisterJobDefinitionInput:
			p := in.ContainerProperties

			got := map[string]string{"role": aws.ToString(p.JobRoleArn)}
			for _, e := range p.Environment {
				got[*e.Name] = *e.Value
			}

			bucket, key := b.Owner.ProbeObject(b.Spec)
			if diff := cmp.Diff(map[string]string{"role": role, "AWS_DEFAULT_REGION": "us-east-1", "PROBE_BUCKET": bucket, "PROBE_KEY": key}, got); diff != "" {
				t.Errorf("what the job gets (-want +got):\n%s", diff)
			}

			if aws.ToInt32(in.RetryStrategy.Attempts) != 1 || aws.ToInt32(in.Timeout.AttemptDurationSeconds) == 0 {
				t.Errorf("a probe runs once, and not for ever: %+v, %+v", in.RetryStrategy, in.Timeout)
			}

			if diff := cmp.Diff(b.Tags(), in.Tags); diff != "" {
				t.Errorf("tags of the definition (-want +got):\n%s", diff)
			}
		case *batch.SubmitJobInput:
			if aws.ToString(in.JobDefinition) != want.ARN || aws.ToString(in.JobQueue) != b.Others["job-queue/default"].ARN {
				t.Errorf("submitted: %+v", in)
			}

			if len(in.Tags) > 0 {
				t.Errorf("a tagged job needs a grant on the definition: %v", in.Tags)
			}
		}
	}
}

// TestNotOnFargate: there the job would need a role that nobody has.
func TestNotOnFargate(t *testing.T) {
	b := build(t)
	queue := b.Others["job-queue/default"]
	queue.Outputs = map[string]string{"platform": "FARGATE_SPOT"}
	b.Others["job-queue/default"] = queue

	before := len(b.World.Calls())

	if _, err := b.Until(t.Context(), deploy.Ensure); deploy.AsError(err).Code != deploy.CodeNotOfferedYet || len(b.World.Calls()) > before {
		t.Errorf("got %v after %d calls", err, len(b.World.Calls())-before)
	}
}

// The job runs as long as it takes; whoever waits is told how far it is.
func TestWaitingTellsTheStatus(t *testing.T) {
	b := build(t)

	var seen []string

	for range 300 {
		r, err := b.Look(t.Context(), deploy.Ensure)
		must(t, err)

		if r.Done {
			break
		}

		if len(seen) == 0 || seen[len(seen)-1] != r.Waiting {
			seen = append(seen, r.Waiting)
		}

		b.Clock.Advance(time.Second)
	}

	if diff := cmp.Diff([]string{"SUBMITTED", "RUNNABLE", "STARTING", "RUNNING"}, seen); diff != "" {
		t.Errorf("waiting (-want +got):\n%s", diff)
	}
}

// A job that never starts is what the deadline tells of: Batch's reason must be in it.
func TestWaitingTellsWhyAJobDoesNotStart(t *testing.T) {
	b := build(t)
	b.World.Batch.JobStays = func(string) (types.JobStatus, string) {
		return types.JobStatusRunnable, "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"
	}

	begin(t, b, "RUNNABLE: MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE")
	b.Clock.Advance(time.Hour)

	if r, err := b.Look(t.Context(), deploy.Ensure); err != nil || r.Done {
		t.Errorf("a job that waits is neither done nor failed: %+v, %v", r, err)
	}

	b.Remove(t)

	if got := jobs(t, b, b.Operation)[0].Status; got != types.JobStatusFailed {
		t.Errorf("the job after the removal: got %s, want it ended", got)
	}
}

func TestFailedJobTellsWhy(t *testing.T) {
	b := build(t)
	b.World.Batch.JobFails = func(string) string { return "Essential container in task exited" }

	_, err := b.Until(t.Context(), deploy.Ensure)

	e := awserr.Classify(err)
	if err == nil || e.Class != deploy.Invalid || e.Code != "probe_failed" || e.Remedy == "" || e.Pointer != "/verify" {
		t.Fatalf("got %+v, want probe_failed", e)
	}

	id := aws.ToString(jobs(t, b, b.Operation)[0].JobId)

	for _, part := range []string{id, "Essential container in task exited", "exit code 1", "log stream probe/default/" + id + " of /aws/batch/job"} {
		if !strings.Contains(e.Message, part) {
			t.Errorf("%q does not tell %q", e.Message, part)
		}
	}

	b.Remove(t)

	if left := active(t, b); len(left) > 0 {
		t.Errorf("left after a probe that failed: %v", left)
	}
}

// A create whose answer was lost is found again, whether or not the process lives.
func TestLostAnswers(t *testing.T) {
	for _, operation := range []string{"RegisterJobDefinition", "SubmitJob"} {
		for name, dies := range map[string]bool{"ProcessLives": false, "ProcessDies": true} {
			t.Run(operation+"/"+name, func(t *testing.T) {
				b := build(t)
				b.World.Fault = kindtest.LoseOnce(operation)

				if dies {
					b.Die(t.Context(), deploy.Ensure)
				} else if _, err := b.Look(t.Context(), deploy.Ensure); err == nil {
					t.Fatal("an answer was lost and nobody noticed")
				}

				b.Ensure(t)

				if got := len(jobs(t, b, b.Operation)); got != 1 {
					t.Errorf("jobs: got %d, want 1", got)
				}

				if got := len(active(t, b)); got != 1 {
					t.Errorf("definitions: got %d, want 1", got)
				}
			})
		}
	}
}

// What an earlier operation found out says nothing of today.
func TestEachOperationSendsItsOwnJob(t *testing.T) {
	b := build(t)
	b.Ensure(t)

	first := b.Operation

	b.NextOperation()
	b.World.Batch.JobFails = func(string) string { return "no way to the registry" }

	if _, err := b.Until(t.Context(), deploy.Ensure); !awserr.Is(err, deploy.Invalid) {
		t.Errorf("got %v, want the new job to fail", err)
	}

	if one, two := len(jobs(t, b, first)), len(jobs(t, b, b.Operation)); one != 1 || two != 1 {
		t.Errorf("jobs of the two operations: got %d and %d, want one each", one, two)
	}

	if got := len(active(t, b)); got != 1 {
		t.Errorf("definitions: got %d, want the first used again", got)
	}
}

func TestRemove(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		at     types.JobStatus
		want   types.JobStatus
	}{
		"Waiting": {"a job that has no container is failed at once", types.JobStatusRunnable, types.JobStatusFailed},
		"Running": {"a job that runs is ended", types.JobStatusRunning, types.JobStatusFailed},
		"Over":    {"a job that is over stays as it ended", "", types.JobStatusSucceeded},
	} {
		t.Run(name, func(t *testing.T) {
			b := build(t)

			// Others' definitions, of another name and of ours.
			strangers := []string{register(t, b, "theirs", nil), register(t, b, b.Name("probe"), map[string]string{deploy.TagInstallation: "other"})}

			if c.at == "" {
				b.Ensure(t)
			} else {
				begin(t, b, c.at)
			}

			// A second revision of ours, as a list that lags lets it come to be.
			register(t, b, b.Name("probe"), b.Tags())

			mark := len(b.World.Calls())

			b.Remove(t)

			if diff := cmp.Diff(slices.Sorted(slices.Values(strangers)), active(t, b)); diff != "" {
				t.Errorf("definitions in use after the removal (-others' +got):\n%s", diff)
			}

			if ended := slices.Contains(b.Changes(mark), "TerminateJob"); ended != (c.at != "") {
				t.Errorf("%s: TerminateJob was called: %t", c.reason, ended)
			}

			b.Clock.Advance(time.Minute)

			if got := jobs(t, b, b.Operation)[0].Status; got != c.want {
				t.Errorf("%s: got %s, want %s", c.reason, got, c.want)
			}

			if b.Unsure() || b.Memo["job"] != "" {
				t.Errorf("what is gone is still on record: %v", b.Memo)
			}

			mark = len(b.World.Calls())

			b.Remove(t)

			if changes := b.Changes(mark); len(changes) > 0 {
				t.Errorf("a second removal changed something: %v", changes)
			}
		})
	}
}

func TestRemoveWhatNeverWas(t *testing.T) {
	for name, c := range map[string]struct {
		reason  string
		prepare func(b *kindtest.Bench)
	}{
		"Queue":   {"nothing was sent", func(*kindtest.Bench) {}},
		"NoQueue": {"the queue was never made, so no job can be in it", func(b *kindtest.Bench) { delete(b.Others, "job-queue/default") }},
	} {
		t.Run(name, func(t *testing.T) {
			b := build(t)
			c.prepare(b)

			mark := len(b.World.Calls())

			b.Remove(t)

			if changes := b.Changes(mark); len(changes) > 0 {
				t.Errorf("%s: %v", c.reason, changes)
			}
		})
	}
}

// An unknown state of affairs: the create may have happened, so an empty look right after it is not believed.
func TestRemoveRightAfterALostCreate(t *testing.T) {
	b := build(t)
	b.Memo = map[string]string{"creating": b.Clock.Now().Format(time.RFC3339Nano)}

	if r, err := b.Look(t.Context(), deploy.Remove); err != nil || r.Done {
		t.Errorf("got %+v, %v, want not gone yet", r, err)
	}

	b.Clock.Advance(2 * time.Minute)
	b.Remove(t)
}

func TestObserve(t *testing.T) {
	b := build(t)
	register(t, b, b.Name("probe"), map[string]string{deploy.TagInstallation: "other"})

	if got := b.Observe(t).State; got != kind.Absent {
		t.Errorf("with somebody else's definition: got %q, want %q", got, kind.Absent)
	}

	r := b.Ensure(t)

	if diff := cmp.Diff(kind.Observation{State: kind.Ready, ID: r.ID, ARN: r.ARN}, b.Observe(t)); diff != "" {
		t.Errorf("observe (-want +got):\n%s", diff)
	}
}
