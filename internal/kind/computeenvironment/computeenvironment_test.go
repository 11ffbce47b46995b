package computeenvironment_test

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
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/computeenvironment"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/kindtest"
)

const (
	ref     = deploy.Ref("compute-environment/default")
	roleARN = "arn:aws:iam::123456789012:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch"
	profile = "arn:aws:iam::123456789012:instance-profile/demo"
)

func managed() deploy.Spec {
	return deploy.Spec{
		Compute: deploy.Compute{Environments: []deploy.Environment{{Name: "default", InstanceTypes: []string{"m5.large", "c5"}}}},
		Tags:    map[string]string{"team": "research"},
	}
}

func unmanaged() deploy.Spec {
	spec := managed()
	spec.Compute.Environments[0] = deploy.Environment{Name: "default", Type: deploy.Unmanaged}

	return spec
}

func must(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

func build(t *testing.T, spec deploy.Spec, ref deploy.Ref) *kindtest.Bench {
	t.Helper()

	w, clock := kindtest.World()
	w.EC2.Offers = map[string][]string{"us-east-1a": {"m5.large", "m5.xlarge", "c5.large", "p3.2xlarge"}, "us-east-1b": {"m5.large", "r6i.large"}}

	b := kindtest.New(t, computeenvironment.New(w.Batch, w.EC2), w, clock, spec, ref)
	others(b)

	return b
}

func others(b *kindtest.Bench) {
	for _, need := range b.Needs {
		switch need.Kind() {
		case "service-linked-role":
			b.Others[need] = kind.Other{ID: "AWSServiceRoleForBatch", ARN: roleARN}
		case "instance-profile":
			b.Others[need] = kind.Other{ID: "demo", ARN: profile}
		case "launch-template":
			b.Others[need] = kind.Other{ID: "lt-1", Outputs: map[string]string{"version": "3"}}
		default:
			b.Others[need] = kind.Other{ID: need.Kind() + "-" + need.ID()}
		}
	}
}

// environments lists what the world holds.
func environments(t *testing.T, b *kindtest.Bench) []types.ComputeEnvironmentDetail {
	t.Helper()

	out, err := b.World.Batch.DescribeComputeEnvironments(t.Context(), &batch.DescribeComputeEnvironmentsInput{})
	must(t, err)

	return slices.DeleteFunc(out.ComputeEnvironments, func(d types.ComputeEnvironmentDetail) bool { return d.Status == types.CEStatusDeleted })
}

func count(t *testing.T, b *kindtest.Bench) int {
	t.Helper()

	return len(environments(t, b))
}

// name of the environment under test: the generation is part of it.
func name(b *kindtest.Bench) string { return b.Name(b.Ref.ID() + "-" + b.Generation()) }

func update(u types.ComputeResourceUpdate) func(t *testing.T, b *kindtest.Bench) {
	return change(batch.UpdateComputeEnvironmentInput{ComputeResources: &u})
}

func change(in batch.UpdateComputeEnvironmentInput) func(t *testing.T, b *kindtest.Bench) {
	return func(t *testing.T, b *kindtest.Bench) {
		t.Helper()

		in.ComputeEnvironment = aws.String(name(b))
		_, err := b.World.Batch.UpdateComputeEnvironment(t.Context(), &in)
		must(t, err)
		b.Clock.Advance(2 * time.Minute)
	}
}

func untag(t *testing.T, b *kindtest.Bench) {
	t.Helper()

	_, err := b.World.Batch.UntagResource(t.Context(), &batch.UntagResourceInput{ResourceArn: aws.String(b.ARN), TagKeys: []string{"team"}})
	must(t, err)
}

func foreign(t *testing.T, b *kindtest.Bench) {
	t.Helper()

	tags := b.Tags()
	tags[deploy.TagInstallation] = "other"

	_, err := b.World.Batch.CreateComputeEnvironment(t.Context(), &batch.CreateComputeEnvironmentInput{
		ComputeEnvironmentName: aws.String(name(b)), Type: types.CETypeUnmanaged, ServiceRole: aws.String("role"), Tags: tags,
	})
	must(t, err)
	b.Clock.Advance(time.Minute)
}

func TestSuite(t *testing.T) {
	disabled := kindtest.Drift{Property: "state", Change: change(batch.UpdateComputeEnvironmentInput{State: types.CEStateDisabled})}

	t.Run("Managed", func(t *testing.T) {
		kindtest.Suite(t, kindtest.Subject{
			Build: func(t *testing.T) *kindtest.Bench { t.Helper(); return build(t, managed(), ref) },
			Count: count, Foreign: foreign, Named: true,
			Drifts: map[string]kindtest.Drift{
				"Disabled": disabled,
				"Tag":      {Property: "tags", Change: untag},
				"Most":     {Property: "maxvCpus", Change: update(types.ComputeResourceUpdate{MaxvCpus: aws.Int32(8)})},
				"Least":    {Property: "minvCpus", Change: update(types.ComputeResourceUpdate{MinvCpus: aws.Int32(2)})},
				"Types":    {Property: "instanceTypes", Change: update(types.ComputeResourceUpdate{InstanceTypes: []string{"c5"}})},
				"Profile":  {Property: "instanceRole", Change: update(types.ComputeResourceUpdate{InstanceRole: aws.String("other")})},
				"Template": {Property: "launchTemplate", Change: update(types.ComputeResourceUpdate{
					LaunchTemplate: &types.LaunchTemplateSpecification{LaunchTemplateId: aws.String("lt-1"), Version: aws.String("2")},
				})},
				"Subnets":      {Property: "subnets", Change: update(types.ComputeResourceUpdate{Subnets: []string{"subnet-9"}})},
				"Groups":       {Property: "securityGroupIds", Change: update(types.ComputeResourceUpdate{SecurityGroupIds: []string{"sg-9"}})},
				"InstanceTags": {Property: "computeResources.tags", Change: update(types.ComputeResourceUpdate{Tags: map[string]string{"team": "other"}})},
				"Spot":         {Property: "type", Change: update(types.ComputeResourceUpdate{Type: types.CRTypeSpot})},
				"Strategy": {Property: "allocationStrategy", Change: update(types.ComputeResourceUpdate{
					AllocationStrategy: types.CRUpdateAllocationStrategySpotCapacityOptimized,
				})},
			},
		})
	})

	t.Run("Unmanaged", func(t *testing.T) {
		kindtest.Suite(t, kindtest.Subject{
			Build: func(t *testing.T) *kindtest.Bench { t.Helper(); return build(t, unmanaged(), ref) },
			Count: count, Foreign: foreign, Named: true,
			Drifts: map[string]kindtest.Drift{"Disabled": disabled, "Tag": {Property: "tags", Change: untag}},
		})
	})
}

func TestPlan(t *testing.T) {
	tests := map[string]struct {
		reason string
		spec   deploy.Spec
		want   []deploy.Ref
	}{
		"default": {
			reason: "two subnets and the group that we make",
			want:   []deploy.Ref{"service-linked-role", "subnet/1", "subnet/2", "security-group/jobs", "instance-profile", "launch-template/default"},
		},
		"three zones": {
			reason: "a subnet for each", spec: deploy.Spec{Network: deploy.Network{Zones: []string{"a", "b", "c"}}},
			want: []deploy.Ref{"service-linked-role", "subnet/1", "subnet/2", "subnet/3", "security-group/jobs", "instance-profile", "launch-template/default"},
		},
		"existing network": {
			reason: "its subnets, and a group that we make in it", spec: deploy.Spec{Network: deploy.Network{Existing: &deploy.ExistingNetwork{SubnetIDs: []string{"s"}}}},
			want: []deploy.Ref{"service-linked-role", "subnet/1", "security-group/jobs", "instance-profile", "launch-template/default"},
		},
		"existing groups": {
			reason: "its groups too",
			spec:   deploy.Spec{Network: deploy.Network{Existing: &deploy.ExistingNetwork{SubnetIDs: []string{"s"}, SecurityGroupIDs: []string{"g", "h"}}}},
			want:   []deploy.Ref{"service-linked-role", "subnet/1", "security-group/1", "security-group/2", "instance-profile", "launch-template/default"},
		},
		"unmanaged": {reason: "the owner brings instances and their network", spec: unmanaged(), want: []deploy.Ref{"service-linked-role"}},
	}

	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			items := computeenvironment.New(nil, nil).Plan(tc.spec.WithDefaults())
			if len(items) != 1 || items[0].Ref != ref || items[0].Pointer != "/spec/compute/environments/0" {
				t.Fatalf("%s: got %+v", tc.reason, items)
			}

			if diff := cmp.Diff(tc.want, items[0].Needs); diff != "" {
				t.Errorf("%s: needs (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestWhatIsMade(t *testing.T) {
	ignore := cmpopts.IgnoreUnexported(types.ComputeResource{}, types.LaunchTemplateSpecification{})

	t.Run("Managed", func(t *testing.T) {
		b := build(t, managed(), ref)
		mark := len(b.World.Calls())

		b.Ensure(t)

		got := environments(t, b)[0]
		want := &types.ComputeResource{
			Type: types.CRTypeEc2, AllocationStrategy: types.CRAllocationStrategyBestFitProgressive, MinvCpus: aws.Int32(0), MaxvCpus: aws.Int32(64),
			InstanceTypes: []string{"m5.large", "c5"}, InstanceRole: aws.String(profile), Subnets: []string{"subnet-1", "subnet-2"},
			SecurityGroupIds: []string{"security-group-jobs"}, Tags: b.Tags(),
			LaunchTemplate: &types.LaunchTemplateSpecification{LaunchTemplateId: aws.String("lt-1"), Version: aws.String("3")},
		}

		for _, c := range b.World.Calls()[mark:] {
			if in, ok := c.Input.(*batch.CreateComputeEnvironmentInput); ok {
				if diff := cmp.Diff(want, in.ComputeResources, ignore); diff != "" {
					t.Errorf("compute resources asked for (-want +got):\n%s", diff)
				}

				if in.ServiceRole != nil {
					t.Errorf("service role: got %q, want none, so that Batch takes its own", *in.ServiceRole)
				}
			}
		}

		if diff := cmp.Diff(b.Tags(), got.Tags); diff != "" {
			t.Errorf("tags (-want +got):\n%s", diff)
		}
	})

	t.Run("Unmanaged", func(t *testing.T) {
		b := build(t, unmanaged(), ref)
		b.Ensure(t)

		got := environments(t, b)[0]
		if got.Type != types.CETypeUnmanaged || aws.ToString(got.ServiceRole) != roleARN || got.ComputeResources != nil {
			t.Errorf("got %s, role %s, %+v", got.Type, aws.ToString(got.ServiceRole), got.ComputeResources)
		}
	})
}

// What Batch moves by itself, the order of lists and the owner's own tags are no differences.
func TestNoFalseDifferences(t *testing.T) {
	b := build(t, managed(), ref)
	b.Ensure(t)

	tags := b.Tags()
	tags["cost"] = "42"

	update(types.ComputeResourceUpdate{
		DesiredvCpus: aws.Int32(5), Subnets: []string{"subnet-2", "subnet-1"}, InstanceTypes: []string{"c5", "m5.large"}, Tags: tags,
	})(t, b)

	_, err := b.World.Batch.TagResource(t.Context(), &batch.TagResourceInput{ResourceArn: aws.String(b.ARN), Tags: map[string]string{"cost": "42"}})
	must(t, err)

	if obs := b.Observe(t); len(obs.Differences) > 0 {
		t.Errorf("differences: %v", obs.Differences)
	}

	// An update of the instances' tags keeps what the owner added.
	b.Owner.Tags = map[string]string{"team": "new"}
	b.Ensure(t)

	got := environments(t, b)[0]
	if got.ComputeResources.Tags["cost"] != "42" || got.ComputeResources.Tags["team"] != "new" || got.Tags["cost"] != "42" || got.Tags["team"] != "new" {
		t.Errorf("tags after the update: %v, of instances %v", got.Tags, got.ComputeResources.Tags)
	}
}

func TestUpdateSendsOnlyWhatDiffers(t *testing.T) {
	b := build(t, managed(), ref)
	b.Ensure(t)

	b.Spec.Compute.Environments[0].MaxVcpus = 128
	mark := len(b.World.Calls())

	b.Ensure(t)

	if diff := cmp.Diff([]string{"UpdateComputeEnvironment"}, b.Changes(mark)); diff != "" {
		t.Errorf("changing calls (-want +got):\n%s", diff)
	}

	for _, c := range b.World.Calls()[mark:] {
		if in, ok := c.Input.(*batch.UpdateComputeEnvironmentInput); ok {
			want := &types.ComputeResourceUpdate{MaxvCpus: aws.Int32(128)}
			if diff := cmp.Diff(want, in.ComputeResources, cmpopts.IgnoreUnexported(types.ComputeResourceUpdate{})); diff != "" || in.State != "" {
				t.Errorf("update (-want +got), state %q:\n%s", in.State, diff)
			}
		}
	}
}

// The choice of instance types is made once: it stays although the Region offers more later.
func TestDefaultInstanceTypes(t *testing.T) {
	b := build(t, deploy.Spec{}, ref)
	b.Ensure(t)

	want := []string{"m5", "c5", "r6i"}
	got := environments(t, b)[0].ComputeResources.InstanceTypes

	if diff := cmp.Diff(want, got, cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Errorf("instance types (-want +got):\n%s", diff)
	}

	b.World.EC2.Offers["us-east-1a"] = append(b.World.EC2.Offers["us-east-1a"], "m7i.large")

	if d := b.Observe(t).Differences; len(d) > 0 {
		t.Errorf("differences after the Region grew: %v", d)
	}

	none := build(t, deploy.Spec{}, ref)
	none.World.EC2.Offers = map[string][]string{"us-east-1a": {"p3.2xlarge"}}

	if _, err := none.Until(t.Context(), deploy.Ensure); err == nil || awserr.Classify(err).Code != "no_instance_type" {
		t.Errorf("a Region without any: got %v, want no_instance_type", err)
	}
}

func TestInvalid(t *testing.T) {
	const young = "CLIENT_ERROR - User is not authorized to perform: sts:AssumeRole on resource"

	tests := map[string]struct {
		reason string
		text   string
		// lasts is how long Batch finds it invalid.
		lasts time.Duration
		class deploy.Class
	}{
		"young role":    {reason: "the role is seen after a minute", text: young, lasts: time.Minute},
		"young profile": {reason: "the profile is seen after two minutes", text: "CLIENT_ERROR - Invalid IAM Instance Profile name", lasts: 2 * time.Minute},
		"Batch's words": {reason: "Batch itself writes it without blanks", text: "CLIENT_ERROR - Invalid IamInstanceProfile: research-instance", lasts: 2 * time.Minute},
		"no role":       {reason: "nobody is patient for ever", text: young, lasts: time.Hour, class: deploy.Denied},
		"else":          {reason: "no update cures this", text: "CLIENT_ERROR - The subnet ID 'subnet-1' does not exist", lasts: time.Minute, class: deploy.Invalid},
	}

	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := build(t, managed(), ref)
			begin := b.Clock.Now()
			b.World.Batch.Invalid = func(string, types.CEStatus) string {
				if b.Clock.Now().Sub(begin) < tc.lasts {
					return tc.text
				}

				return ""
			}

			_, err := b.Until(t.Context(), deploy.Ensure)
			if tc.class == "" {
				must(t, err)

				return
			}

			e := awserr.Classify(err)
			if err == nil || e.Class != tc.class || e.Code != "compute_environment_invalid" || !strings.Contains(e.Message, tc.text) || e.Remedy == "" {
				t.Errorf("%s: got %+v, want class %q with the status reason", tc.reason, e, tc.class)
			}

			if waited := b.Clock.Now().Sub(begin); waited > 5*time.Minute {
				t.Errorf("%s: gave up after %s", tc.reason, waited)
			}

			if got := b.Observe(t).State; got != kind.Failed {
				t.Errorf("%s: state: got %q, want %q", tc.reason, got, kind.Failed)
			}

			b.World.Batch.Invalid = nil
			b.Remove(t)

			if got := count(t, b); got != 0 {
				t.Errorf("%s: environments after the removal: got %d, want 0", tc.reason, got)
			}
		})
	}
}

// Batch takes instance types of one processor architecture, in a create and in an update.
func TestMixedArchitectures(t *testing.T) {
	spec := managed()
	spec.Compute.Environments[0].InstanceTypes = []string{"m5.large", "m6g.large"}

	_, err := build(t, spec, ref).Until(t.Context(), deploy.Ensure)
	if e := awserr.Classify(err); err == nil || e.Class != deploy.Invalid || !strings.Contains(e.Message, "arm-based instance type") {
		t.Errorf("create: got %v, want Batch's refusal", err)
	}

	b := build(t, managed(), ref)
	b.Ensure(t)

	_, err = b.World.Batch.UpdateComputeEnvironment(t.Context(), &batch.UpdateComputeEnvironmentInput{
		ComputeEnvironment: aws.String(name(b)), ComputeResources: &types.ComputeResourceUpdate{InstanceTypes: []string{"optimal", "a1"}},
	})
	if err == nil || !strings.Contains(err.Error(), "arm-based instance type") {
		t.Errorf("update: got %v, want Batch's refusal", err)
	}

	update(types.ComputeResourceUpdate{InstanceTypes: []string{"m6g", "c7gn.large"}})(t, b)
}

// An invalid environment is nudged now and then, not at each look.
func TestInvalidIsNudgedSparingly(t *testing.T) {
	b := build(t, managed(), ref)
	b.World.Batch.Invalid = func(string, types.CEStatus) string { return "Instance profile is not there" }
	mark := len(b.World.Calls())

	if _, err := b.Until(t.Context(), deploy.Ensure); err == nil {
		t.Fatal("want an error")
	}

	nudges := 0

	for _, line := range b.Changes(mark) {
		if line == "UpdateComputeEnvironment" {
			nudges++
		}
	}

	// Three minutes at one each 15 seconds.
	if nudges < 3 || nudges > 13 {
		t.Errorf("updates: got %d, want some but at most 13", nudges)
	}
}

// Without its role an environment cannot be deleted: that is said, and the removal goes on once the role is back.
func TestStuckOnRemoval(t *testing.T) {
	b := build(t, managed(), ref)
	b.Ensure(t)
	b.World.Batch.Invalid = func(_ string, leaving types.CEStatus) string {
		if leaving == types.CEStatusDeleting {
			return "CLIENT_ERROR - not authorized to perform: sts:AssumeRole"
		}

		return ""
	}

	_, err := b.Until(t.Context(), deploy.Remove)
	if e := awserr.Classify(err); err == nil || e.Class != deploy.Denied || e.Code != "compute_environment_stuck" || !strings.Contains(e.Message, "AssumeRole") {
		t.Fatalf("got %v, want compute_environment_stuck with the reason", err)
	}

	b.World.Batch.Invalid = nil
	b.Remove(t)

	if got := count(t, b); got != 0 {
		t.Errorf("environments: got %d, want 0", got)
	}
}

// An environment in a queue waits until the queue is gone and Batch has noticed.
func TestRemoveWaitsForTheQueue(t *testing.T) {
	b := build(t, managed(), ref)
	b.Ensure(t)

	_, err := b.World.Batch.CreateJobQueue(t.Context(), &batch.CreateJobQueueInput{
		JobQueueName: aws.String("q"), State: types.JQStateDisabled, Priority: aws.Int32(1),
		ComputeEnvironmentOrder: []types.ComputeEnvironmentOrder{{ComputeEnvironment: aws.String(b.ARN), Order: aws.Int32(1)}},
	})
	must(t, err)

	for range 60 {
		r, err := b.Look(t.Context(), deploy.Remove)
		if r.Done || err != nil && !awserr.Is(err, deploy.NotReady) {
			t.Fatalf("in a queue: got %+v, %v, want to wait", r, err)
		}

		b.Clock.Advance(time.Second)
	}

	_, err = b.World.Batch.DeleteJobQueue(t.Context(), &batch.DeleteJobQueueInput{JobQueue: aws.String("q")})
	must(t, err)
	b.Remove(t)

	if got := count(t, b); got != 0 {
		t.Errorf("environments: got %d, want 0", got)
	}
}

// A replacement has a name of its own; a removal takes every generation, and leaves the neighbours whose names begin alike.
func TestRemoveTakesEveryGeneration(t *testing.T) {
	b := build(t, managed(), ref)
	b.Ensure(t)
	first := b.ID

	b.Item = computeenvironment.New(nil, nil).Plan(unmanaged().WithDefaults())[0]
	b.Spec = unmanaged().WithDefaults()
	b.Ensure(t)

	if b.ID == first || count(t, b) != 2 {
		t.Fatalf("a replacement: got %q beside %q, %d environments, want two names", b.ID, first, count(t, b))
	}

	neighbour := kindtest.New(t, b.Kind, b.World, b.Clock, deploy.Spec{Compute: deploy.Compute{
		Environments: []deploy.Environment{{Name: "default-2", Type: deploy.Unmanaged}},
	}}, "compute-environment/default-2")
	others(neighbour)
	neighbour.Ensure(t)

	b.Remove(t)

	left := environments(t, b)
	if len(left) != 1 || aws.ToString(left[0].ComputeEnvironmentName) != neighbour.ID {
		t.Errorf("left after the removal: %d, want %s alone", len(left), neighbour.ID)
	}
}

func TestCheck(t *testing.T) {
	types3 := []deploy.Environment{{Name: "default", InstanceTypes: []string{"m5.large", "p3", "optimal", "z9", "m5.metal"}}}

	tests := map[string]struct {
		reason string
		others int
		ours   bool
		envs   []deploy.Environment
		ref    deploy.Ref
		want   []string
	}{
		"room":         {reason: "49 and one make 50", others: 49, ref: ref},
		"full":         {reason: "50 are all there may be", others: 50, ref: ref, want: []string{"quota_exceeded /spec/compute/environments"}},
		"together":     {reason: "all environments of the spec count", others: 49, envs: []deploy.Environment{{Name: "default"}, {Name: "second"}}, ref: ref, want: []string{"quota_exceeded /spec/compute/environments"}},
		"said once":    {reason: "the first one speaks for all", others: 50, envs: []deploy.Environment{{Name: "default"}, {Name: "second"}}, ref: "compute-environment/second"},
		"ours already": {reason: "what an earlier attempt left is used again", others: 49, ours: true, ref: ref},
		"types": {reason: "types and families that the Region lacks, by their place", envs: types3, ref: ref, want: []string{
			"unknown_instance_type /spec/compute/environments/0/instanceTypes/3", "unknown_instance_type /spec/compute/environments/0/instanceTypes/4",
		}},
		"Batch's own": {reason: "names that stand for Batch's choice", envs: []deploy.Environment{{Name: "default", InstanceTypes: []string{"optimal"}}}, ref: ref},
	}

	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := build(t, deploy.Spec{Compute: deploy.Compute{Environments: tc.envs}}, tc.ref)

			for i := range tc.others {
				_, err := b.World.Batch.CreateComputeEnvironment(t.Context(), &batch.CreateComputeEnvironmentInput{
					ComputeEnvironmentName: aws.String(fmt.Sprint("other-", i)), Type: types.CETypeUnmanaged, ServiceRole: aws.String("role"),
				})
				must(t, err)
			}

			if tc.ours {
				b.Ensure(t)
				b.NextOperation()
			}

			b.Others = nil // Check knows nothing of them

			var got []string
			for _, f := range b.Check(t) {
				got = append(got, f.Code+" "+f.Pointer)

				if f.Remedy == "" {
					t.Errorf("%s: no remedy: %+v", tc.reason, f)
				}
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: findings (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// API reference, CreateComputeEnvironment: up to 128 letters, digits, hyphens and underscores.
func TestLongestName(t *testing.T) {
	longest := strings.Repeat("e", 24)
	b := build(t, deploy.Spec{Compute: deploy.Compute{Environments: []deploy.Environment{{Name: longest}}}}, deploy.NewRef("compute-environment", longest))
	b.Owner.Name = strings.Repeat("d", 24)

	if r := b.Ensure(t); len(r.ID) != 67 {
		t.Errorf("longest name: got %d characters (%s), want 67 of at most 128", len(r.ID), r.ID)
	}
}

// The create may have happened, so an empty look right after it is not believed.
func TestRemoveRightAfterALostCreate(t *testing.T) {
	b := build(t, managed(), ref)
	b.Memo = map[string]string{"creating": b.Clock.Now().Format(time.RFC3339Nano)}

	if r, err := b.Look(t.Context(), deploy.Remove); err != nil || r.Done {
		t.Errorf("got %+v, %v, want not gone yet", r, err)
	}

	b.Clock.Advance(2 * time.Minute)
	b.Remove(t)
}

// A look may lag behind an earlier attempt's create: that the name is taken is no error until the tags show whose it is.
func TestNameTakenByWhatDoesNotShowYet(t *testing.T) {
	b := build(t, managed(), ref)
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
