package plan_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	batchtypes "github.com/aws/aws-sdk-go-v2/service/batch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

// wish is a spec, and what stands in the account before anybody asks for it.
type wish struct {
	reason string
	name   string // of the deployment
	spec   deploy.Spec
	before func(ctx context.Context, t *testing.T, w *simulation.World, spec *deploy.Spec)
}

func environments(list ...deploy.Environment) deploy.Spec {
	return deploy.Spec{Compute: deploy.Compute{Environments: list}}
}

func named(names ...string) []deploy.Environment {
	var list []deploy.Environment
	for _, n := range names {
		list = append(list, deploy.Environment{Name: n})
	}

	return list
}

func wishes() map[string]wish {
	unmanaged := deploy.Environment{Name: "own", Type: deploy.Unmanaged}

	return map[string]wish{
		"Default":     {reason: "the environment of an empty spec"},
		"Tags":        {reason: "tags go onto everything and change nothing else", spec: deploy.Spec{Tags: map[string]string{"team": "research", "cost-center": "42"}}},
		"NameTag":     {reason: "an owner's Name replaces ours", spec: deploy.Spec{Tags: map[string]string{"Name": "mine"}}},
		"OldVersions": {reason: "a lifecycle of the owner's", spec: deploy.Spec{Storage: deploy.Storage{OldVersionsDays: 7}}},
		"Prefixes":    {reason: "prefixes make no resources", spec: deploy.Spec{Storage: deploy.Storage{FlowsPrefix: "a/b", DataToolsPrefix: "c"}}},
		"Zones":       {reason: "zones by name", spec: deploy.Spec{Network: deploy.Network{Zones: []string{"us-east-1b", "us-east-1a"}}}},
		"ThreeZones":  {reason: "a subnet for each", spec: deploy.Spec{Network: deploy.Network{Zones: []string{"us-east-1a", "us-east-1b", "us-east-1c"}}}},
		"Range":       {reason: "another private range", spec: deploy.Spec{Network: deploy.Network{CIDR: "192.168.0.0/16"}}},
		"SmallRange":  {reason: "the smallest range", spec: deploy.Spec{Network: deploy.Network{CIDR: "172.16.3.0/24"}}},
		"MaxVcpus":    {reason: "more at a time", spec: environments(deploy.Environment{Name: "big", MaxVcpus: 1000})},
		"MinVcpus":    {reason: "some kept running", spec: environments(deploy.Environment{Name: "warm", MinVcpus: 4})},
		"Disk":        {reason: "another disk", spec: environments(deploy.Environment{Name: "disk", DiskGiB: 500})},
		"Types":       {reason: "one instance type", spec: environments(deploy.Environment{Name: "typed", InstanceTypes: []string{"m5.large"}})},
		"Families":    {reason: "families", spec: environments(deploy.Environment{Name: "typed", InstanceTypes: []string{"m5", "c5"}})},
		"Optimal":     {reason: "Batch's own word", spec: environments(deploy.Environment{Name: "typed", InstanceTypes: []string{"optimal"}})},
		"Two":         {reason: "two environments behind one queue", spec: environments(named("small", "large")...)},
		"Three":       {reason: "as many as a queue takes", spec: environments(named("a", "b", "c")...)},
		"Hyphens":     {reason: "ids that differ in a hyphen only", spec: environments(named("a-1", "a1", "a-")...)},
		"Unmanaged":   {reason: "behind a managed one", spec: environments(deploy.Environment{Name: "main"}, unmanaged)},
		"UnmanagedAlone": {reason: "instances and network are the owner's, the default queue too", before: func(ctx context.Context, t *testing.T, w *simulation.World, spec *deploy.Spec) {
			t.Helper()
			theirQueue(ctx, t, w, spec)
			spec.Compute.Environments = []deploy.Environment{unmanaged}
		}},
		"Ten": {reason: "as many environments and queues as a spec takes", spec: ten()},
		"TwoQueues": {reason: "each over its own", spec: deploy.Spec{Compute: deploy.Compute{
			Environments: named("a", "b"), Queues: []deploy.Queue{{Name: "qa", Environments: []string{"a"}}, {Name: "qb", Environments: []string{"b"}}},
		}}},
		"SharedEnvironment": {reason: "two queues over one, by priority", spec: deploy.Spec{Compute: deploy.Compute{
			Environments: named("a"), Queues: []deploy.Queue{{Name: "low", Priority: 1}, {Name: "high", Priority: 100}}, DefaultQueue: "high",
		}}},
		"Order":      {reason: "a queue's order is not the spec's", spec: deploy.Spec{Compute: deploy.Compute{Environments: named("a", "b"), Queues: []deploy.Queue{{Name: "q", Environments: []string{"b", "a"}}}}}},
		"QueueName":  {reason: "names of queues and environments may be the same", spec: deploy.Spec{Compute: deploy.Compute{Environments: named("same"), Queues: []deploy.Queue{{Name: "same"}}}}},
		"LongNames":  {reason: "the longest names everywhere", name: strings.Repeat("n", 24), spec: environments(named(strings.Repeat("e", 24))...)},
		"GroupName":  {reason: "EC2 takes no group whose name begins with sg-", name: "sg-team"},
		"Bucket":     {reason: "the owner's bucket", before: theirBucket},
		"Network":    {reason: "the owner's network, with a group of ours in it", before: theirNetwork},
		"Group":      {reason: "the owner's group too", before: theirGroup},
		"Role":       {reason: "the owner's job role", before: theirRole},
		"Queue":      {reason: "the owner's queue, and nothing to run jobs on of our own", before: theirQueue},
		"QueueToo":   {reason: "the owner's queue beside one of ours", before: theirQueueToo},
		"Everything": {reason: "all of it is the owner's", before: theirEverything},
		"LinkedRole": {reason: "the account has Batch's role already", before: linkedRole},
		"Neighbour":  {reason: "another deployment takes its part of the quotas", before: neighbour},
		"Again":      {reason: "a deleted deployment's name, with the data that it left", before: again},
		"AfterAll":   {reason: "a deleted deployment's name, with nothing left", before: afterPurge},
		"AfterFail":  {reason: "the name of a create that was rolled back", before: afterFailure},
	}
}

func ten() deploy.Spec {
	var c deploy.Compute

	for n := range 10 {
		e := "e" + string(rune('0'+n))
		c.Environments = append(c.Environments, deploy.Environment{Name: e})
		c.Queues = append(c.Queues, deploy.Queue{Name: "q" + string(rune('0'+n)), Environments: []string{e}})
	}

	return deploy.Spec{Compute: c}
}

func must[T any](t *testing.T) func(v T, err error) T {
	t.Helper()

	return func(v T, err error) T {
		t.Helper()

		if err != nil {
			t.Fatal(err)
		}

		return v
	}
}

// tenants tags what the caller's tenant may use.
const tenantTag = deploy.TagTenant

func theirBucket(ctx context.Context, t *testing.T, w *simulation.World, spec *deploy.Spec) {
	t.Helper()

	must[*s3.CreateBucketOutput](t)(w.AWS.S3.CreateBucket(ctx, &s3.CreateBucketInput{
		Bucket:                    aws.String("data-of-theirs"),
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{Tags: []s3types.Tag{{Key: aws.String(tenantTag), Value: aws.String(key.Tenant)}}},
	}))

	time.Sleep(time.Minute)

	spec.Storage.Existing = &deploy.ExistingBucket{Bucket: "data-of-theirs", Prefix: "teams/a"}
}

func theirNetwork(ctx context.Context, t *testing.T, w *simulation.World, spec *deploy.Spec) {
	t.Helper()

	vpc := must[*ec2.CreateVpcOutput](t)(w.AWS.EC2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})).Vpc.VpcId
	time.Sleep(time.Minute) // virtual: what is new is not seen at once

	must[*ec2.ModifyVpcAttributeOutput](t)(w.AWS.EC2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{
		VpcId: vpc, EnableDnsHostnames: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)},
	}))

	subnet := must[*ec2.CreateSubnetOutput](t)(w.AWS.EC2.CreateSubnet(ctx, &ec2.CreateSubnetInput{
		VpcId: vpc, CidrBlock: aws.String("10.0.0.0/24"), AvailabilityZone: aws.String("us-east-1a"),
	}))
	time.Sleep(time.Minute)

	spec.Network.Existing = &deploy.ExistingNetwork{VPCID: *vpc, SubnetIDs: []string{*subnet.Subnet.SubnetId}}
}

func theirGroup(ctx context.Context, t *testing.T, w *simulation.World, spec *deploy.Spec) {
	t.Helper()
	theirNetwork(ctx, t, w, spec)

	group := must[*ec2.CreateSecurityGroupOutput](t)(w.AWS.EC2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		VpcId: aws.String(spec.Network.Existing.VPCID), GroupName: aws.String("jobs"), Description: aws.String("Jobs"),
	}))

	time.Sleep(time.Minute)

	spec.Network.Existing.SecurityGroupIDs = []string{*group.GroupId}
}

func theirRole(ctx context.Context, t *testing.T, w *simulation.World, spec *deploy.Spec) {
	t.Helper()

	must[*iam.CreateRoleOutput](t)(w.AWS.IAM.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName: aws.String("jobs"), AssumeRolePolicyDocument: aws.String(
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`),
	}))
	time.Sleep(time.Minute)

	spec.Access.Existing = &deploy.ExistingAccess{JobRoleARN: "arn:aws:iam::" + w.AWS.Account + ":role/jobs"}
}

func theirQueue(ctx context.Context, t *testing.T, w *simulation.World, spec *deploy.Spec) {
	t.Helper()

	linkedRole(ctx, t, w, spec)
	time.Sleep(time.Minute)

	environment := must[*batch.CreateComputeEnvironmentOutput](t)(w.AWS.Batch.CreateComputeEnvironment(ctx, &batch.CreateComputeEnvironmentInput{
		ComputeEnvironmentName: aws.String("theirs"), Type: batchtypes.CETypeManaged, ComputeResources: &batchtypes.ComputeResource{
			Type: batchtypes.CRTypeEc2, MinvCpus: aws.Int32(0), MaxvCpus: aws.Int32(8), InstanceTypes: []string{"m5"}, InstanceRole: aws.String("theirs"),
			Subnets: []string{"subnet-1"}, SecurityGroupIds: []string{"sg-1"},
		},
	}))
	time.Sleep(time.Minute)

	queue := must[*batch.CreateJobQueueOutput](t)(w.AWS.Batch.CreateJobQueue(ctx, &batch.CreateJobQueueInput{
		JobQueueName: aws.String("theirs"), Priority: aws.Int32(1), State: batchtypes.JQStateEnabled,
		ComputeEnvironmentOrder: []batchtypes.ComputeEnvironmentOrder{{ComputeEnvironment: environment.ComputeEnvironmentArn, Order: aws.Int32(1)}},
	}))
	time.Sleep(time.Minute)

	spec.Compute.Queues = []deploy.Queue{{Name: "theirs", Existing: &deploy.ExistingQueue{ARN: *queue.JobQueueArn}}}
}

func theirQueueToo(ctx context.Context, t *testing.T, w *simulation.World, spec *deploy.Spec) {
	t.Helper()
	theirQueue(ctx, t, w, spec)

	spec.Compute.Environments = named("ours")
	spec.Compute.Queues = append(spec.Compute.Queues, deploy.Queue{Name: "ours", Environments: []string{"ours"}})
}

func theirEverything(ctx context.Context, t *testing.T, w *simulation.World, spec *deploy.Spec) {
	t.Helper()
	theirBucket(ctx, t, w, spec)
	theirGroup(ctx, t, w, spec)
	theirRole(ctx, t, w, spec)
	theirQueueToo(ctx, t, w, spec)
}

func linkedRole(ctx context.Context, t *testing.T, w *simulation.World, _ *deploy.Spec) {
	t.Helper()

	must[*iam.CreateServiceLinkedRoleOutput](t)(w.AWS.IAM.CreateServiceLinkedRole(ctx, &iam.CreateServiceLinkedRoleInput{AWSServiceName: aws.String("batch.amazonaws.com")}))
	time.Sleep(time.Minute)
}

func neighbour(ctx context.Context, t *testing.T, w *simulation.World, _ *deploy.Spec) {
	t.Helper()
	live(ctx, t, w, deploy.Key{Tenant: "other", Name: key.Name}, deploy.Spec{}, deploy.PhaseActive)
}

func again(ctx context.Context, t *testing.T, w *simulation.World, _ *deploy.Spec) {
	t.Helper()

	bucket := live(ctx, t, w, key, deploy.Spec{}, deploy.PhaseActive).Find("bucket").ID
	must[*s3.PutObjectOutput](t)(w.AWS.S3.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("flows/a")}))
	end(ctx, t, w, deploy.Keep)
}

func afterPurge(ctx context.Context, t *testing.T, w *simulation.World, _ *deploy.Spec) {
	t.Helper()
	live(ctx, t, w, key, deploy.Spec{}, deploy.PhaseActive)
	end(ctx, t, w, deploy.Purge)
}

func afterFailure(ctx context.Context, t *testing.T, w *simulation.World, _ *deploy.Spec) {
	t.Helper()
	w.Stand("batch", "CreateJobQueue", simulation.Refuse, 240*time.Hour)
	live(ctx, t, w, key, deploy.Spec{}, deploy.PhaseFailed)
	w.Lift()
}

// pause lets virtual time pass, until what is new is seen and what changes has changed.
func pause() { time.Sleep(5 * time.Minute) }
