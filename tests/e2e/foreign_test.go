package e2e

import (
	"maps"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	batchtypes "github.com/aws/aws-sdk-go-v2/service/batch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const ecsTrust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// makeRole makes a role as a person would.
func (w *world) makeRole(name string) {
	w.Helper()

	in := &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: aws.String(ecsTrust)}

	must[*iam.CreateRoleOutput](w)(w.aws.iam.CreateRole(w.Context(), in))
}

func (w *world) makeBucket(name string) {
	w.Helper()

	must[*s3.CreateBucketOutput](w)(w.aws.s3.CreateBucket(w.Context(), &s3.CreateBucketInput{Bucket: &name}))
}

// makeEnvironment makes a managed environment in a subnet of the default VPC.
func (w *world) makeEnvironment(name string) string {
	w.Helper()

	profile := "foreign-" + name
	subnets := must[*ec2.DescribeSubnetsOutput](w)(w.aws.ec2.DescribeSubnets(w.Context(), &ec2.DescribeSubnetsInput{})).Subnets
	groups := must[*ec2.DescribeSecurityGroupsOutput](w)(w.aws.ec2.DescribeSecurityGroups(w.Context(), &ec2.DescribeSecurityGroupsInput{})).SecurityGroups

	w.makeRole(profile)

	arn := *must[*iam.CreateInstanceProfileOutput](w)(w.aws.iam.CreateInstanceProfile(w.Context(),
		&iam.CreateInstanceProfileInput{InstanceProfileName: &profile})).InstanceProfile.Arn

	return *must[*batch.CreateComputeEnvironmentOutput](w)(w.aws.batch.CreateComputeEnvironment(w.Context(), &batch.CreateComputeEnvironmentInput{
		ComputeEnvironmentName: &name, Type: batchtypes.CETypeManaged,
		ComputeResources: &batchtypes.ComputeResource{
			Type: batchtypes.CRTypeEc2, MaxvCpus: aws.Int32(4), MinvCpus: aws.Int32(0), InstanceTypes: []string{"m5.large"}, InstanceRole: &arn,
			Subnets: []string{*subnets[0].SubnetId}, SecurityGroupIds: []string{*groups[0].GroupId},
		},
	})).ComputeEnvironmentArn
}

func (w *world) makeQueue(name, environment string) string {
	w.Helper()

	return *must[*batch.CreateJobQueueOutput](w)(w.aws.batch.CreateJobQueue(w.Context(), &batch.CreateJobQueueInput{
		JobQueueName: &name, Priority: aws.Int32(1), State: batchtypes.JQStateEnabled,
		ComputeEnvironmentOrder: []batchtypes.ComputeEnvironmentOrder{{Order: aws.Int32(1), ComputeEnvironment: &environment}},
	})).JobQueueArn
}

// TestForeign puts something of somebody else under a name that the product derives: the create is rolled back, and what is there stays as it is.
func TestForeign(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason, ref string
		make        func(w *world, name string)
	}{
		"Role":        {"a role without our tags", "job-role", func(w *world, name string) { w.makeRole(name) }},
		"Bucket":      {"a bucket of this account without our tags", "bucket", func(w *world, name string) { w.makeBucket(name) }},
		"Environment": {"a compute environment without our tags", "compute-environment/default", func(w *world, name string) { w.makeEnvironment(name) }},
		"Queue": {"a queue without our tags", "job-queue/default", func(w *world, name string) {
			w.makeQueue(name, w.makeEnvironment("foreign"))
		}},
		"Profile": {"an instance profile without our tags", "instance-profile", func(w *world, name string) {
			must[*iam.CreateInstanceProfileOutput](w)(w.aws.iam.CreateInstanceProfile(w.Context(), &iam.CreateInstanceProfileInput{InstanceProfileName: &name}))
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			w.active("research", nil)
			r := find(w, "research", c.ref)
			w.gone("research")

			c.make(w, r.ID)

			before := w.inventory()
			begun := len(w.calls())

			op := w.finish(w.create("research", nil).ID, "ROLLED_BACK")
			if e := op.Error; e == nil || e.Class != "conflict" || e.Resource != c.ref || e.Remedy == "" {
				t.Errorf("%s: the error should be a conflict of %s: %s", c.reason, c.ref, show(e))
			}

			w.same(c.reason, before, w.inventory())

			for _, call := range w.calls()[begun:] {
				if changing(call) && call.Status < 300 && (call.Target == r.ID || slices.Contains(call.Resources, r.ARN)) && call.Service != "dynamodb" {
					// An instance role has the name of its profile.
					if _, ofRole := call.Input["RoleName"]; ofRole && c.ref == "instance-profile" {
						continue
					}

					t.Errorf("%s: it was touched by %s %v", c.reason, call.Action, slices.Collect(maps.Keys(call.Input)))
				}
			}
		})
	}
}
