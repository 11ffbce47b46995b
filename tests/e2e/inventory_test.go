package e2e

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// clients are the SDK in the hands of the person at this computer: no rule ever touches their calls.
type clients struct {
	s3    *s3.Client
	iam   *iam.Client
	ec2   *ec2.Client
	batch *batch.Client
	sfn   *sfn.Client
	sqs   *sqs.Client
	bus   *eventbridge.Client
}

func newClients(cfg aws.Config) clients {
	return clients{
		s3:  s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }),
		iam: iam.NewFromConfig(cfg), ec2: ec2.NewFromConfig(cfg), batch: batch.NewFromConfig(cfg), sfn: sfn.NewFromConfig(cfg),
		sqs: sqs.NewFromConfig(cfg), bus: eventbridge.NewFromConfig(cfg),
	}
}

// inventory is everything that an account has, by a line that names it, with its tags. Service-linked roles are left out: they belong to AWS's services,
// and no delete takes them away.
type inventory map[string]string

// must gives a value that the emulator has to answer.
func must[T any](w *world) func(T, error) T {
	return func(v T, err error) T {
		w.Helper()

		if err != nil {
			w.Fatal(err)
		}

		return v
	}
}

func (w *world) inventory() inventory {
	w.Helper()

	all := inventory{}
	w.listS3(all)
	w.listIAM(all)
	w.listEC2(all)
	w.listBatch(all)

	return all
}

func tags[T any](list []T, pair func(T) (*string, *string)) string {
	var out []string

	for _, t := range list {
		k, v := pair(t)
		out = append(out, aws.ToString(k)+"="+aws.ToString(v))
	}

	slices.Sort(out)

	return strings.Join(out, " ")
}

func iamTag(t iamtypes.Tag) (*string, *string) { return t.Key, t.Value }
func ec2Tag(t ec2types.Tag) (*string, *string) { return t.Key, t.Value }

func (w *world) bucketTags(name string) map[string]string {
	w.Helper()

	got := map[string]string{}

	out, err := w.aws.s3.GetBucketTagging(w.Context(), &s3.GetBucketTaggingInput{Bucket: &name})
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == "NoSuchTagSet" {
		return got
	}

	if err != nil {
		w.Fatal(err)
	}

	for _, t := range out.TagSet {
		got[*t.Key] = *t.Value
	}

	return got
}

func (w *world) listS3(all inventory) {
	w.Helper()

	for _, b := range must[*s3.ListBucketsOutput](w)(w.aws.s3.ListBuckets(w.Context(), &s3.ListBucketsInput{})).Buckets {
		have := w.bucketTags(*b.Name)

		var lines []string
		for _, k := range slices.Sorted(maps.Keys(have)) {
			lines = append(lines, k+"="+have[k])
		}

		all["s3 bucket "+*b.Name] = strings.Join(lines, " ")

		versions := must[*s3.ListObjectVersionsOutput](w)(w.aws.s3.ListObjectVersions(w.Context(), &s3.ListObjectVersionsInput{Bucket: b.Name}))
		for _, v := range versions.Versions {
			all[fmt.Sprintf("s3 object %s/%s %s", *b.Name, *v.Key, aws.ToString(v.VersionId))] = aws.ToString(v.ETag)
		}

		for _, v := range versions.DeleteMarkers {
			all[fmt.Sprintf("s3 delete-marker %s/%s %s", *b.Name, *v.Key, aws.ToString(v.VersionId))] = ""
		}
	}
}

func (w *world) listIAM(all inventory) {
	w.Helper()

	for p := iam.NewListRolesPaginator(w.aws.iam, &iam.ListRolesInput{}); p.HasMorePages(); {
		for _, r := range must[*iam.ListRolesOutput](w)(p.NextPage(w.Context())).Roles {
			if strings.HasPrefix(*r.Path, "/aws-service-role/") {
				continue
			}

			inline := must[*iam.ListRolePoliciesOutput](w)(w.aws.iam.ListRolePolicies(w.Context(), &iam.ListRolePoliciesInput{RoleName: r.RoleName})).PolicyNames
			attached := must[*iam.ListAttachedRolePoliciesOutput](w)(w.aws.iam.ListAttachedRolePolicies(w.Context(), &iam.ListAttachedRolePoliciesInput{RoleName: r.RoleName}))
			line := strings.Join(inline, ",")

			for _, a := range attached.AttachedPolicies {
				line += " " + *a.PolicyArn
			}

			owner := must[*iam.ListRoleTagsOutput](w)(w.aws.iam.ListRoleTags(w.Context(), &iam.ListRoleTagsInput{RoleName: r.RoleName}))
			all["iam role "+*r.Arn] = line + " " + tags(owner.Tags, iamTag)
		}
	}

	for _, p := range must[*iam.ListInstanceProfilesOutput](w)(w.aws.iam.ListInstanceProfiles(w.Context(), &iam.ListInstanceProfilesInput{})).InstanceProfiles {
		all["iam instance-profile "+*p.Arn] = fmt.Sprint(len(p.Roles)) + " " + tags(p.Tags, iamTag)
	}

	local := &iam.ListPoliciesInput{Scope: iamtypes.PolicyScopeTypeLocal}
	for _, p := range must[*iam.ListPoliciesOutput](w)(w.aws.iam.ListPolicies(w.Context(), local)).Policies {
		all["iam policy "+*p.Arn] = ""
	}
}

func (w *world) listEC2(all inventory) {
	w.Helper()

	c, ctx := w.aws.ec2, w.Context()

	for _, v := range must[*ec2.DescribeVpcsOutput](w)(c.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{})).Vpcs {
		all["ec2 "+*v.VpcId] = tags(v.Tags, ec2Tag)
	}

	for _, v := range must[*ec2.DescribeSubnetsOutput](w)(c.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})).Subnets {
		all["ec2 "+*v.SubnetId] = tags(v.Tags, ec2Tag)
	}

	for _, v := range must[*ec2.DescribeInternetGatewaysOutput](w)(c.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{})).InternetGateways {
		all["ec2 "+*v.InternetGatewayId] = tags(v.Tags, ec2Tag)
	}

	for _, v := range must[*ec2.DescribeRouteTablesOutput](w)(c.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{})).RouteTables {
		all["ec2 "+*v.RouteTableId] = fmt.Sprintf("routes %d, associations %d %s", len(v.Routes), len(v.Associations), tags(v.Tags, ec2Tag))
	}

	for _, v := range must[*ec2.DescribeSecurityGroupsOutput](w)(c.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{})).SecurityGroups {
		all["ec2 "+*v.GroupId] = fmt.Sprintf("rules %d %d %s", len(v.IpPermissions), len(v.IpPermissionsEgress), tags(v.Tags, ec2Tag))
	}

	for _, v := range must[*ec2.DescribeVpcEndpointsOutput](w)(c.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{})).VpcEndpoints {
		all["ec2 "+*v.VpcEndpointId] = fmt.Sprint(v.State) + " " + tags(v.Tags, ec2Tag)
	}

	for _, v := range must[*ec2.DescribeLaunchTemplatesOutput](w)(c.DescribeLaunchTemplates(ctx, &ec2.DescribeLaunchTemplatesInput{})).LaunchTemplates {
		all["ec2 "+*v.LaunchTemplateId] = fmt.Sprintf("version %d %s", *v.LatestVersionNumber, tags(v.Tags, ec2Tag))
	}

	for _, v := range must[*ec2.DescribeAddressesOutput](w)(c.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{})).Addresses {
		all["ec2 "+aws.ToString(v.AllocationId)] = tags(v.Tags, ec2Tag)
	}
}

func (w *world) listBatch(all inventory) {
	w.Helper()

	pairs := func(m map[string]string) string {
		var out []string
		for _, k := range slices.Sorted(maps.Keys(m)) {
			out = append(out, k+"="+m[k])
		}

		return strings.Join(out, " ")
	}

	environments := must[*batch.DescribeComputeEnvironmentsOutput](w)(w.aws.batch.DescribeComputeEnvironments(w.Context(), &batch.DescribeComputeEnvironmentsInput{}))
	for _, e := range environments.ComputeEnvironments {
		all["batch environment "+*e.ComputeEnvironmentName] = fmt.Sprint(e.State, " ", e.Status, " ", pairs(e.Tags))
	}

	queues := must[*batch.DescribeJobQueuesOutput](w)(w.aws.batch.DescribeJobQueues(w.Context(), &batch.DescribeJobQueuesInput{}))
	for _, q := range queues.JobQueues {
		all["batch queue "+*q.JobQueueName] = fmt.Sprint(q.State, " ", q.Status, " ", pairs(q.Tags))
	}
}

// same fails the test where two inventories differ.
func (w *world) same(what string, before, after inventory) {
	w.Helper()

	if diff := cmp.Diff(before, after); diff != "" {
		w.Errorf("%s: the account is not as it was (-before +after):\n%s", what, diff)
	}
}

// ours lists what carries the product's tag for a deployment, by the resource that the tag names.
func (all inventory) ours(deployment string) map[string][]string {
	out := map[string][]string{}

	for line, have := range all {
		if !strings.Contains(" "+have+" ", " metaflow-deployer:deployment="+deployment+" ") {
			continue
		}

		for part := range strings.FieldsSeq(have) {
			if ref, ok := strings.CutPrefix(part, "metaflow-deployer:resource="); ok {
				out[ref] = append(out[ref], line)
			}
		}
	}

	return out
}
