package jobqueue_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/batch/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/jobqueue"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/kindtest"
)

const ref = deploy.Ref("job-queue/default")

// two environments in an order that is not that of their names.
func twoEnvironments() deploy.Spec {
	return deploy.Spec{
		Compute: deploy.Compute{
			Environments: []deploy.Environment{{Name: "large"}, {Name: "own", Type: deploy.Unmanaged}, {Name: "big"}},
			Queues:       []deploy.Queue{{Name: "default", Priority: 7, Environments: []string{"large", "big", "own"}}},
		},
		Tags: map[string]string{"team": "research"},
	}
}

// environment makes one in Batch, VALID, and returns its ARN.
func environment(t *testing.T, w *awsfake.World, clock *kindtest.Clock, name string, cr types.CRType, tags map[string]string) string {
	t.Helper()

	in := &batch.CreateComputeEnvironmentInput{ComputeEnvironmentName: aws.String(name), Type: types.CETypeManaged, Tags: tags}
	if cr == "" {
		in.Type, in.ServiceRole = types.CETypeUnmanaged, aws.String("role")
	} else {
		in.ComputeResources = &types.ComputeResource{
			Type: cr, AllocationStrategy: types.CRAllocationStrategyBestFitProgressive, MinvCpus: aws.Int32(0), MaxvCpus: aws.Int32(4),
			Subnets: []string{"subnet-1"}, InstanceTypes: []string{"m5"}, InstanceRole: aws.String("profile"),
		}
	}

	out, err := w.Batch.CreateComputeEnvironment(t.Context(), in)
	must(t, err)
	clock.Advance(minute)

	return aws.ToString(out.ComputeEnvironmentArn)
}

const minute = time.Minute

func must(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

func build(t *testing.T, spec deploy.Spec, ref deploy.Ref) *kindtest.Bench {
	t.Helper()

	w, clock := kindtest.World()
	b := kindtest.New(t, jobqueue.New(w.Batch), w, clock, spec, ref)

	for _, need := range b.Needs {
		e, _ := b.Spec.Environment(need.ID())

		cr := types.CRType(e.Type)
		if e.Type == deploy.Unmanaged {
			cr = ""
		}

		b.Others[need] = kind.Other{ID: need.ID(), ARN: environment(t, w, clock, need.ID(), cr, nil)}
	}

	return b
}

// queues lists what the world holds.
func queues(t *testing.T, b *kindtest.Bench) []types.JobQueueDetail {
	t.Helper()

	out, err := b.World.Batch.DescribeJobQueues(t.Context(), &batch.DescribeJobQueuesInput{})
	must(t, err)

	return slices.DeleteFunc(out.JobQueues, func(d types.JobQueueDetail) bool { return d.Status == types.JQStatusDeleted })
}

func update(in batch.UpdateJobQueueInput) func(t *testing.T, b *kindtest.Bench) {
	return func(t *testing.T, b *kindtest.Bench) {
		t.Helper()

		in.JobQueue = aws.String(b.Name("default"))
		_, err := b.World.Batch.UpdateJobQueue(t.Context(), &in)
		must(t, err)
		b.Clock.Advance(minute)
	}
}

func TestSuite(t *testing.T) {
	kindtest.Suite(t, kindtest.Subject{
		Build: func(t *testing.T) *kindtest.Bench { return build(t, twoEnvironments(), ref) },
		Count: func(t *testing.T, b *kindtest.Bench) int { return len(queues(t, b)) },
		Foreign: func(t *testing.T, b *kindtest.Bench) {
			tags := b.Tags()
			tags[deploy.TagTenant] = "other"

			_, err := b.World.Batch.CreateJobQueue(t.Context(), &batch.CreateJobQueueInput{
				JobQueueName: aws.String(b.Name("default")), Priority: aws.Int32(1), Tags: tags,
				ComputeEnvironmentOrder: []types.ComputeEnvironmentOrder{{ComputeEnvironment: aws.String("large"), Order: aws.Int32(1)}},
			})
			must(t, err)
			b.Clock.Advance(minute)
		},
		Named: true,
		Drifts: map[string]kindtest.Drift{
			"Disabled": {Property: "state", Change: update(batch.UpdateJobQueueInput{State: types.JQStateDisabled})},
			"Priority": {Property: "priority", Change: update(batch.UpdateJobQueueInput{Priority: aws.Int32(1)})},
			"Order": {Property: "computeEnvironmentOrder", Change: update(batch.UpdateJobQueueInput{ComputeEnvironmentOrder: []types.ComputeEnvironmentOrder{
				{ComputeEnvironment: aws.String("large"), Order: aws.Int32(2)},
				{ComputeEnvironment: aws.String("big"), Order: aws.Int32(1)},
				{ComputeEnvironment: aws.String("own"), Order: aws.Int32(3)},
			}})},
			"Shorter": {Property: "computeEnvironmentOrder", Change: update(batch.UpdateJobQueueInput{ComputeEnvironmentOrder: []types.ComputeEnvironmentOrder{
				{ComputeEnvironment: aws.String("large"), Order: aws.Int32(1)},
			}})},
			"Tag": {Property: "tags", Change: func(t *testing.T, b *kindtest.Bench) {
				_, err := b.World.Batch.UntagResource(t.Context(), &batch.UntagResourceInput{ResourceArn: aws.String(b.ARN), TagKeys: []string{"team"}})
				must(t, err)
			}},
		},
	})
}

func TestPlan(t *testing.T) {
	spec := twoEnvironments()
	spec.Compute.Queues = append(spec.Compute.Queues, deploy.Queue{Name: "own", Existing: &deploy.ExistingQueue{ARN: "the-arn"}})

	want := []kind.Item{
		{
			Ref: "job-queue/default", Pointer: "/spec/compute/queues/0",
			Needs: []deploy.Ref{"compute-environment/large", "compute-environment/big", "compute-environment/own"},
		},
		{Ref: "job-queue/own", Pointer: "/spec/compute/queues/1/existing/arn", Existing: "the-arn"},
	}
	if diff := cmp.Diff(want, jobqueue.New(nil).Plan(spec.WithDefaults())); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
}

func TestWhatIsMade(t *testing.T) {
	b := build(t, twoEnvironments(), ref)
	r := b.Ensure(t)

	arn := "arn:aws:batch:us-east-1:123456789012:job-queue/" + b.Name("default")

	want := kind.Result{Done: true, ID: b.Name("default"), ARN: arn, Outputs: map[string]string{"arn": arn, "state": "ENABLED", "platform": "EC2"}}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}

	got := queues(t, b)[0]
	if aws.ToInt32(got.Priority) != 7 || got.State != types.JQStateEnabled {
		t.Errorf("priority and state: got %d, %s", aws.ToInt32(got.Priority), got.State)
	}

	var order []string
	for _, o := range got.ComputeEnvironmentOrder {
		order = append(order, fmt.Sprint(aws.ToInt32(o.Order), " ", aws.ToString(o.ComputeEnvironment)))
	}

	prefix := "arn:aws:batch:us-east-1:123456789012:compute-environment/"
	if diff := cmp.Diff([]string{"1 " + prefix + "large", "2 " + prefix + "big", "3 " + prefix + "own"}, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}

	if diff := cmp.Diff(b.Tags(), got.Tags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
}

// Only what differs is sent, and tags that the owner added stay.
func TestUpdateSendsOnlyWhatDiffers(t *testing.T) {
	b := build(t, twoEnvironments(), ref)
	b.Ensure(t)

	_, err := b.World.Batch.TagResource(t.Context(), &batch.TagResourceInput{ResourceArn: aws.String(b.ARN), Tags: map[string]string{"cost": "42"}})
	must(t, err)

	if d := b.Observe(t).Differences; len(d) > 0 {
		t.Errorf("a tag of the owner's own counts as a difference: %v", d)
	}

	b.Spec.Compute.Queues[0].Priority = 9
	mark := len(b.World.Calls())

	b.Ensure(t)

	if diff := cmp.Diff([]string{"UpdateJobQueue"}, b.Changes(mark)); diff != "" {
		t.Errorf("changing calls (-want +got):\n%s", diff)
	}

	for _, c := range b.World.Calls()[mark:] {
		if in, ok := c.Input.(*batch.UpdateJobQueueInput); ok && (in.State != "" || in.ComputeEnvironmentOrder != nil || aws.ToInt32(in.Priority) != 9) {
			t.Errorf("update: got %+v, want the priority alone", in)
		}
	}

	if got := queues(t, b)[0].Tags["cost"]; got != "42" {
		t.Errorf("the owner's tag: got %q, want 42", got)
	}
}

func TestInvalidIsFinal(t *testing.T) {
	b := build(t, twoEnvironments(), ref)
	b.World.Batch.InvalidQueue = func(string) string { return "COMPUTE_ENVIRONMENT_ERROR" }

	_, err := b.Until(t.Context(), deploy.Ensure)
	if e := awserr.Classify(err); err == nil || e.Class != deploy.Invalid || e.Code != "job_queue_invalid" || !strings.Contains(e.Message, "COMPUTE_ENVIRONMENT_ERROR") {
		t.Errorf("got %v, want job_queue_invalid with the reason", err)
	}

	if got := b.Observe(t).State; got != kind.Failed {
		t.Errorf("state: got %q, want %q", got, kind.Failed)
	}

	b.Remove(t)

	if got := len(queues(t, b)); got != 0 {
		t.Errorf("queues after the removal: got %d, want 0", got)
	}
}

// Batch takes environments of one processor architecture; what an unmanaged one has is not known to it.
func TestMixedArchitectures(t *testing.T) {
	spec := twoEnvironments()
	b := build(t, spec, ref)

	change := func(name string, families ...string) {
		t.Helper()

		_, err := b.World.Batch.UpdateComputeEnvironment(t.Context(), &batch.UpdateComputeEnvironmentInput{
			ComputeEnvironment: aws.String(name), ComputeResources: &types.ComputeResourceUpdate{InstanceTypes: families},
		})
		must(t, err)
		b.Clock.Advance(minute)
	}

	change("big", "m6g")

	_, err := b.Until(t.Context(), deploy.Ensure)
	if e := awserr.Classify(err); err == nil || e.Class != deploy.Invalid || !strings.Contains(e.Message, "architectures") {
		t.Errorf("got %v, want Batch's refusal", err)
	}

	change("large", "c7g", "r8g")
	b.Ensure(t)
}

// A queue that is still on its way out keeps its name: the create waits for it.
func TestEnsureWhileTheOldOneIsDeleted(t *testing.T) {
	b := build(t, twoEnvironments(), ref)
	b.Ensure(t)

	for range 100 {
		r, err := b.Look(t.Context(), deploy.Remove)
		must(t, err)

		if r.Waiting == string(types.JQStatusDeleting) {
			break
		}

		b.Clock.Advance(time.Second)
	}

	b.NextOperation()

	if r, err := b.Look(t.Context(), deploy.Ensure); err != nil || r.Done || r.Waiting != "DELETING" {
		t.Errorf("ensure over the old one: got %+v, %v, want to wait for DELETING", r, err)
	}

	b.Ensure(t)

	if got := len(queues(t, b)); got != 1 {
		t.Errorf("queues: got %d, want 1", got)
	}
}

// Every job in every status is told to end before the queue goes, in bounded steps, whatever breaks on the way.
func TestRemoveEndsEveryJob(t *testing.T) {
	living := []types.JobStatus{
		types.JobStatusSubmitted, types.JobStatusPending, types.JobStatusRunnable, types.JobStatusStarting, types.JobStatusRunning,
	}

	tests := map[string]struct {
		reason string
		fault  func(n int, c awsfake.Call) awsfake.Fault
	}{
		"undisturbed": {reason: "jobs end page by page"},
		"throttled": {reason: "a refused TerminateJob repeats its page", fault: func(n int, c awsfake.Call) awsfake.Fault {
			if c.Operation == "TerminateJob" && n%70 == 0 {
				return awsfake.Fault{Before: &smithy.GenericAPIError{Code: "TooManyRequestsException", Message: "Too Many Requests"}}
			}

			return awsfake.Fault{}
		}},
		"job gone": {reason: "a job that is gone meanwhile counts as ended", fault: func(n int, c awsfake.Call) awsfake.Fault {
			if c.Operation == "TerminateJob" && n%70 == 0 {
				return awsfake.Fault{Lost: &smithy.GenericAPIError{Code: "ClientException", Message: "Job does not exist"}}
			}

			return awsfake.Fault{}
		}},
		"token forgotten": {reason: "a page token that Batch no longer takes starts the status over", fault: func(n int, c awsfake.Call) awsfake.Fault {
			if in, ok := c.Input.(*batch.ListJobsInput); ok && in.NextToken != nil && n%2 == 0 {
				return awsfake.Fault{Before: &smithy.GenericAPIError{Code: "ServerException", Message: "token"}}
			}

			return awsfake.Fault{}
		}},
	}

	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := build(t, twoEnvironments(), ref)
			b.Ensure(t)

			jobs := map[string]bool{}

			for _, status := range living {
				for range 120 {
					jobs[b.World.Batch.Submit(b.Name("default"), status)] = true
				}
			}

			over := b.World.Batch.Submit(b.Name("default"), types.JobStatusSucceeded)
			elsewhere := b.World.Batch.Submit("other", types.JobStatusRunning)

			if tc.fault != nil {
				n := 0
				b.World.Fault = func(_ context.Context, c awsfake.Call) awsfake.Fault {
					n++

					return tc.fault(n, c)
				}
			}

			mark := len(b.World.Calls())

			b.Remove(t)

			told := map[string]bool{}

			for _, c := range b.World.Calls()[mark:] {
				if in, ok := c.Input.(*batch.TerminateJobInput); ok {
					told[aws.ToString(in.JobId)] = true

					if aws.ToString(in.Reason) == "" {
						t.Error("a job was ended without a reason")
					}
				}

				if c.Operation == "DeleteJobQueue" && len(told) < len(jobs) {
					t.Errorf("%s: the queue was deleted when %d of %d jobs were told to end", tc.reason, len(told), len(jobs))
				}
			}

			if diff := cmp.Diff(jobs, told); diff != "" {
				t.Errorf("%s: jobs told to end (-want +got):\n%s", tc.reason, diff)
			}

			if told[over] || told[elsewhere] {
				t.Errorf("%s: a job that was over, or of another queue, was told to end", tc.reason)
			}
		})
	}
}

// A page is a bounded number of calls, and counts as progress: the deadline is counted from it.
func TestRemoveWorksInBoundedSteps(t *testing.T) {
	b := build(t, twoEnvironments(), ref)
	b.Ensure(t)

	for range 1000 {
		b.World.Batch.Submit(b.Name("default"), types.JobStatusRunnable)
	}

	progressed := 0

	for range 1000 {
		mark := len(b.World.Calls())

		r, err := b.Look(t.Context(), deploy.Remove)
		must(t, err)

		if calls := len(b.World.Calls()) - mark; calls > 60 {
			t.Fatalf("calls in one look: got %d, want at most 60", calls)
		}

		if r.Progressed {
			progressed++
		}

		if r.Done {
			break
		}

		b.Clock.Advance(time.Second)
	}

	// 20 pages of RUNNABLE jobs; statuses without jobs cost no look of their own.
	if progressed != 20 {
		t.Errorf("looks that progressed: got %d, want 20", progressed)
	}
}

// An unknown state of affairs: the create may have happened, so an empty look right after it is not believed.
func TestRemoveRightAfterALostCreate(t *testing.T) {
	b := build(t, twoEnvironments(), ref)
	b.Memo = map[string]string{"creating": b.Clock.Now().Format(time.RFC3339Nano)}

	if r, err := b.Look(t.Context(), deploy.Remove); err != nil || r.Done {
		t.Errorf("got %+v, %v, want not gone yet", r, err)
	}

	b.Clock.Advance(2 * time.Minute)
	b.Remove(t)
}

func TestExisting(t *testing.T) {
	const mine = "arn:aws:batch:us-east-1:123456789012:job-queue/mine"

	tests := map[string]struct {
		reason    string
		arn       string
		first     types.CRType
		tags      map[string]string
		state     types.JQState
		invalid   bool
		wantState kind.State
		want      []string
		platform  string
	}{
		"usable":  {reason: "enabled, valid, a managed environment first", arn: mine, first: types.CRTypeEc2, wantState: kind.Ready, platform: "EC2"},
		"fargate": {reason: "the platform is the first environment's", arn: mine, first: types.CRTypeFargate, wantState: kind.Ready, platform: "FARGATE"},
		"absent":  {reason: "no such queue", arn: mine + "-not", first: types.CRTypeEc2, wantState: kind.Absent, want: []string{"existing_not_found"}},
		"elsewhere": {
			reason: "Batch does not see other Regions", arn: strings.Replace(mine, "us-east-1", "eu-west-1", 1), first: types.CRTypeEc2,
			wantState: kind.Absent, want: []string{"existing_not_found"},
		},
		"disabled": {
			reason: "it takes no jobs", arn: mine, first: types.CRTypeEc2, state: types.JQStateDisabled, wantState: kind.Ready, platform: "EC2",
			want: []string{"existing_unusable"},
		},
		"invalid": {
			reason: "it runs no jobs", arn: mine, first: types.CRTypeEc2, invalid: true, wantState: kind.Failed, platform: "EC2", want: []string{"existing_unusable"},
		},
		"unmanaged": {reason: "Metaflow reads the first environment's compute resources", arn: mine, wantState: kind.Ready, want: []string{"existing_unusable"}},
		"of another deployment": {
			reason: "it goes when that deployment goes", arn: mine, first: types.CRTypeEc2, tags: map[string]string{deploy.TagDeployment: "x"},
			wantState: kind.Ready, platform: "EC2", want: []string{"existing_belongs_to_deployment"},
		},
	}

	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w, clock := kindtest.World()
			first := environment(t, w, clock, "first", tc.first, nil)

			if tc.invalid {
				w.Batch.InvalidQueue = func(string) string { return "broken" }
			}

			_, err := w.Batch.CreateJobQueue(t.Context(), &batch.CreateJobQueueInput{
				JobQueueName: aws.String("mine"), Priority: aws.Int32(1), State: tc.state, Tags: tc.tags,
				ComputeEnvironmentOrder: []types.ComputeEnvironmentOrder{{ComputeEnvironment: aws.String(first), Order: aws.Int32(1)}},
			})
			must(t, err)
			clock.Advance(minute)

			spec := deploy.Spec{Compute: deploy.Compute{Queues: []deploy.Queue{{Name: "default", Existing: &deploy.ExistingQueue{ARN: tc.arn}}}}}
			b := kindtest.New(t, jobqueue.New(w.Batch), w, clock, spec, ref)

			var got []string

			for _, f := range b.Check(t) {
				got = append(got, f.Code)

				if f.Pointer != "/spec/compute/queues/0/existing/arn" || f.Remedy == "" {
					t.Errorf("%s: finding without its pointer or remedy: %+v", tc.reason, f)
				}
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: findings (-want +got):\n%s", tc.reason, diff)
			}

			obs := b.Observe(t)
			if obs.State != tc.wantState || obs.Outputs["platform"] != tc.platform {
				t.Errorf("%s: got state %q, platform %q, want %q, %q", tc.reason, obs.State, obs.Outputs["platform"], tc.wantState, tc.platform)
			}

			if obs.State == kind.Ready && (obs.ID != "mine" || obs.ARN != mine || obs.Outputs["arn"] != mine) {
				t.Errorf("%s: got %+v, want id and ARN of the queue", tc.reason, obs)
			}
		})
	}
}

func TestQuota(t *testing.T) {
	tests := map[string]struct {
		reason string
		others int
		ours   bool
		queues int
		ref    deploy.Ref
		want   []string
	}{
		"room":         {reason: "49 and one make 50", others: 49, queues: 1, ref: ref},
		"full":         {reason: "50 are all there may be", others: 50, queues: 1, ref: ref, want: []string{"quota_exceeded"}},
		"together":     {reason: "all queues of the spec count", others: 49, queues: 2, ref: ref, want: []string{"quota_exceeded"}},
		"said once":    {reason: "the first one speaks for all", others: 50, queues: 2, ref: "job-queue/second"},
		"ours already": {reason: "what an earlier attempt left is used again", others: 49, ours: true, queues: 1, ref: ref},
	}

	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			spec := deploy.Spec{Compute: deploy.Compute{Queues: []deploy.Queue{{Name: "default"}, {Name: "second"}}[:tc.queues]}}
			b := build(t, spec, tc.ref)

			for i := range tc.others {
				_, err := b.World.Batch.CreateJobQueue(t.Context(), &batch.CreateJobQueueInput{
					JobQueueName: aws.String(fmt.Sprint("other-", i)), Priority: aws.Int32(1),
					ComputeEnvironmentOrder: []types.ComputeEnvironmentOrder{{ComputeEnvironment: aws.String("default"), Order: aws.Int32(1)}},
				})
				must(t, err)
			}

			if tc.ours {
				b.Ensure(t)
				b.NextOperation()
			}

			var got []string

			for _, f := range b.Check(t) {
				got = append(got, f.Code)

				if f.Class != deploy.Quota || f.Pointer != "/spec/compute/queues" {
					t.Errorf("%s: got %+v", tc.reason, f)
				}
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: findings (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// API reference, CreateJobQueue: up to 128 letters, digits, hyphens and underscores.
func TestLongestName(t *testing.T) {
	longest := strings.Repeat("q", 24)
	b := build(t, deploy.Spec{Compute: deploy.Compute{Queues: []deploy.Queue{{Name: longest}}}}, deploy.NewRef("job-queue", longest))
	b.Owner.Name = strings.Repeat("d", 24)

	if r := b.Ensure(t); len(r.ID) != 58 {
		t.Errorf("longest name: got %d characters (%s), want 58 of at most 128", len(r.ID), r.ID)
	}
}

// A look may lag behind an earlier attempt's create: that the name is taken is no error until the tags show whose it is.
func TestNameTakenByWhatDoesNotShowYet(t *testing.T) {
	b := build(t, twoEnvironments(), ref)
	b.World.Fault = func(_ context.Context, c awsfake.Call) awsfake.Fault {
		if strings.HasPrefix(c.Operation, "Create") {
			return awsfake.Fault{Before: &smithy.GenericAPIError{Code: "ClientException", Message: "Object already exists"}}
		}

		return awsfake.Fault{}
	}

	if r, err := b.Look(t.Context(), deploy.Ensure); err != nil || r.Done {
		t.Errorf("got %+v, %v, want to look again", r, err)
	}

	b.World.Fault = nil
	b.Ensure(t)
}
