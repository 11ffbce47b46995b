package e2e

import (
	"net/http"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	batchtypes "github.com/aws/aws-sdk-go-v2/service/batch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
)

type drift struct {
	Drifted   bool `json:"drifted"`
	Resources []struct {
		Resource    string `json:"resource"`
		State       string `json:"state"`
		Differences []struct{ Property, Want, Have string }
	} `json:"resources"`
}

// drift answers what differs, a line for each resource and property.
func (w *world) drift(name string) []string {
	w.Helper()

	found := as[drift](w, w.insist(request{method: "POST", path: "/v1/deployments/" + name + ":drift"}), http.StatusOK)

	var lines []string

	for _, r := range found.Resources {
		for _, d := range r.Differences {
			lines = append(lines, r.Resource+" "+d.Property)
			w.Logf("%s %s: want %s, have %s", r.Resource, d.Property, d.Want, d.Have)
		}
	}

	if found.Drifted != (len(lines) > 0) || len(found.Resources) == 0 {
		w.Errorf("drifted is %t with %d differences of %d resources", found.Drifted, len(lines), len(found.Resources))
	}

	slices.Sort(lines)

	return lines
}

// TestDrift lets a person with a console change settings of every service behind the product's back: each is told, and a repair brings all of them back.
func TestDrift(t *testing.T) {
	t.Parallel()

	w, ctx := newWorld(t), t.Context()
	w.active("research", object{"tags": object{"team": "ml"}})

	if lines := w.drift("research"); len(lines) > 0 {
		t.Fatalf("drift after a create: %v", lines)
	}

	before := w.inventory()

	id, arn := map[string]string{}, map[string]string{}
	for _, r := range w.resources("research") {
		id[r.Ref], arn[r.Ref] = r.ID, r.ARN
	}

	bucket, role := id["bucket"], id["job-role"]

	must[*s3.PutBucketVersioningOutput](w)(w.aws.s3.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket: &bucket, VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusSuspended},
	}))
	must[*s3.DeleteBucketLifecycleOutput](w)(w.aws.s3.DeleteBucketLifecycle(ctx, &s3.DeleteBucketLifecycleInput{Bucket: &bucket}))
	must[*s3.DeletePublicAccessBlockOutput](w)(w.aws.s3.DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: &bucket}))

	var set []s3types.Tag
	for k, v := range w.bucketTags(bucket) {
		if k != "team" {
			set = append(set, s3types.Tag{Key: aws.String(k), Value: aws.String(v)})
		}
	}

	must[*s3.PutBucketTaggingOutput](w)(w.aws.s3.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: &bucket, Tagging: &s3types.Tagging{TagSet: set}}))

	must[*iam.PutRolePolicyOutput](w)(w.aws.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{
		RoleName: &role, PolicyName: aws.String("metaflow"),
		PolicyDocument: aws.String(`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}`),
	}))
	must[*iam.UntagRoleOutput](w)(w.aws.iam.UntagRole(ctx, &iam.UntagRoleInput{RoleName: &role, TagKeys: []string{"team"}}))
	must[*iam.DetachRolePolicyOutput](w)(w.aws.iam.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{
		RoleName: aws.String(id["instance-role"]), PolicyArn: aws.String("arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"),
	}))

	must[*ec2.AuthorizeSecurityGroupIngressOutput](w)(w.aws.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: aws.String(id["security-group/jobs"]), IpPermissions: []ec2types.IpPermission{{
			IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: []ec2types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}},
		}},
	}))
	must[*ec2.ModifyVpcAttributeOutput](w)(w.aws.ec2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{
		VpcId: aws.String(id["vpc"]), EnableDnsHostnames: &ec2types.AttributeBooleanValue{Value: aws.Bool(false)},
	}))
	must[*ec2.DeleteRouteOutput](w)(w.aws.ec2.DeleteRoute(ctx, &ec2.DeleteRouteInput{
		RouteTableId: aws.String(id["route-table"]), DestinationCidrBlock: aws.String("0.0.0.0/0"),
	}))

	tagged := []string{"vpc", "internet-gateway", "route-table", "subnet/1", "subnet/2", "vpc-endpoint", "security-group/jobs", "launch-template/default"}

	var ids []string
	for _, ref := range tagged {
		ids = append(ids, id[ref])
	}

	must[*ec2.CreateTagsOutput](w)(w.aws.ec2.CreateTags(ctx, &ec2.CreateTagsInput{
		Resources: ids, Tags: []ec2types.Tag{{Key: aws.String("team"), Value: aws.String("ops")}},
	}))

	must[*batch.UpdateJobQueueOutput](w)(w.aws.batch.UpdateJobQueue(ctx, &batch.UpdateJobQueueInput{
		JobQueue: aws.String(id["job-queue/default"]), Priority: aws.Int32(99),
	}))
	must[*batch.TagResourceOutput](w)(w.aws.batch.TagResource(ctx, &batch.TagResourceInput{
		ResourceArn: aws.String(arn["job-queue/default"]), Tags: map[string]string{"team": "ops"},
	}))
	must[*batch.UpdateComputeEnvironmentOutput](w)(w.aws.batch.UpdateComputeEnvironment(ctx, &batch.UpdateComputeEnvironmentInput{
		ComputeEnvironment: aws.String(id["compute-environment/default"]), State: batchtypes.CEStateDisabled,
		ComputeResources: &batchtypes.ComputeResourceUpdate{MaxvCpus: aws.Int32(2)},
	}))

	want := []string{
		"bucket lifecycle", "bucket publicAccessBlock", "bucket tags", "bucket versioning", "compute-environment/default maxvCpus", "compute-environment/default state",
		"instance-role attachedPolicy", "job-queue/default priority", "job-queue/default tags", "job-role policy", "job-role tags", "route-table defaultRoute",
		"security-group/jobs ingress", "vpc enableDnsHostnames",
	}
	for _, ref := range tagged {
		want = append(want, ref+" tags")
	}

	slices.Sort(want)

	if diff := cmp.Diff(want, w.drift("research")); diff != "" {
		t.Errorf("what was changed and what is told (-want +got):\n%s", diff)
	}

	op := as[operation](w, w.insist(request{method: "POST", path: "/v1/deployments/research:repair"}), http.StatusAccepted)
	w.finish(op.ID, "SUCCEEDED")

	if lines := w.drift("research"); len(lines) > 0 {
		t.Errorf("drift after the repair: %v", lines)
	}

	w.same("after the repair", before, w.inventory())
	w.gone("research")
}
