package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// own is what an owner has already.
type own struct {
	bucket, vpc, group, role, queue string
	subnets                         []string
}

// makeOwn makes one of everything that a spec can name under existing, tagged for the tenant where the contract asks for it.
func (w *world) makeOwn() own {
	w.Helper()

	const key, tenant = "metaflow-deployer:tenant", "research"

	ctx, o := w.Context(), own{bucket: "own-" + w.Account, role: "own-jobs"}
	w.makeBucket(o.bucket)
	must[*s3.PutBucketTaggingOutput](w)(w.aws.s3.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{
		Bucket: &o.bucket, Tagging: &s3types.Tagging{TagSet: []s3types.Tag{{Key: aws.String(key), Value: aws.String(tenant)}}},
	}))
	must[*s3.PutObjectOutput](w)(w.aws.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &o.bucket, Key: aws.String("mine"), Body: strings.NewReader("mine")}))

	w.makeRole(o.role)
	must[*iam.TagRoleOutput](w)(w.aws.iam.TagRole(ctx, &iam.TagRoleInput{RoleName: &o.role, Tags: []iamtypes.Tag{{Key: aws.String(key), Value: aws.String(tenant)}}}))

	for _, s := range must[*ec2.DescribeSubnetsOutput](w)(w.aws.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})).Subnets[:2] {
		o.vpc, o.subnets = *s.VpcId, append(o.subnets, *s.SubnetId)
	}

	o.group = *must[*ec2.CreateSecurityGroupOutput](w)(w.aws.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		GroupName: aws.String("own"), Description: aws.String("own"), VpcId: &o.vpc,
	})).GroupId
	o.queue = w.makeQueue("own", w.makeEnvironment("own"))

	return o
}

func (o own) spec() object {
	return object{
		"storage": object{"existing": object{"bucket": o.bucket, "prefix": "team/a"}},
		"network": object{"existing": object{"vpcId": o.vpc, "subnetIds": o.subnets, "securityGroupIds": []string{o.group}}},
		"access":  object{"existing": object{"jobRoleArn": "arn:aws:iam::" + o.account() + ":role/" + o.role}},
		"compute": object{
			"environments": []object{{"name": "small"}},
			"queues":       []object{{"name": "theirs", "existing": object{"arn": o.queue}}, {"name": "ours", "environments": []string{"small"}}},
		},
	}
}

func (o own) account() string { return strings.TrimPrefix(o.bucket, "own-") }

func TestExisting(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	o := w.makeOwn()
	before := w.inventory()

	w.active("research", o.spec())

	config := configuration(w, "research")
	for key, want := range map[string]string{
		"METAFLOW_DATASTORE_SYSROOT_S3":   "s3://" + o.bucket + "/team/a/",
		"METAFLOW_DATATOOLS_S3ROOT":       "s3://" + o.bucket + "/team/a/",
		"METAFLOW_BATCH_JOB_QUEUE":        o.queue,
		"METAFLOW_ECS_S3_ACCESS_IAM_ROLE": "role/" + o.role,
	} {
		if !strings.Contains(config[key], want) {
			t.Errorf("%s is %q and does not point to %q", key, config[key], want)
		}
	}

	for _, r := range w.resources("research") {
		mine := slices.Contains([]string{"bucket", "vpc", "subnet", "security-group", "job-role"}, r.Kind) || r.Ref == "job-queue/theirs"
		if mine != (r.Origin == "EXISTING") && r.Origin != "SHARED" {
			t.Errorf("%s has the origin %s", r.Ref, r.Origin)
		}
	}

	// What stood before is as it was, whatever else is there now.
	now := w.inventory()
	for line, have := range before {
		if now[line] != have {
			t.Errorf("%s was %q and is %q", line, have, now[line])
		}
	}

	w.gone("research")
	w.same("after the purge", before, w.inventory())
}
