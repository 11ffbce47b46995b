package metaflow_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	batchtypes "github.com/aws/aws-sdk-go-v2/service/batch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// brought is what an owner brings, made with nothing but AWS's SDK.
type brought struct {
	p                   *product
	bucket, vpc, group  string
	subnets             []string
	role, queue         string // ARNs
	environment         string // ARN
	roleName, queueName string
	before              map[string]string
}

// made gives the answer of a call that must succeed.
func made[T any](t *testing.T) func(out T, err error) T {
	t.Helper()

	return func(out T, err error) T {
		t.Helper()

		if err != nil {
			t.Fatal(err)
		}

		return out
	}
}

func bring(t *testing.T, p *product) *brought {
	t.Helper()

	b := &brought{p: p, bucket: "owners-data", roleName: "owners-jobs", queueName: "owners-queue"}
	ctx := t.Context()
	b.bringBucket(ctx, t)
	b.bringNetwork(ctx, t)
	b.bringRole(ctx, t)
	b.bringQueue(ctx, t)
	b.before = b.look(t)

	return b
}

func (b *brought) bringBucket(ctx context.Context, t *testing.T) {
	t.Helper()

	api := b.p.s3()
	made[*s3.CreateBucketOutput](t)(api.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &b.bucket}))
	made[*s3.PutBucketTaggingOutput](t)(api.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{
		Bucket: &b.bucket, Tagging: &s3types.Tagging{TagSet: []s3types.Tag{{Key: aws.String(deploy.TagTenant), Value: aws.String(tenant)}}},
	}))
}

func (b *brought) bringNetwork(ctx context.Context, t *testing.T) {
	t.Helper()

	api := ec2.NewFromConfig(b.p.aws())
	b.vpc = aws.ToString(made[*ec2.CreateVpcOutput](t)(api.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.77.0.0/16")})).Vpc.VpcId)

	// EC2 takes one attribute a call.
	for _, attribute := range []*ec2.ModifyVpcAttributeInput{
		{VpcId: &b.vpc, EnableDnsSupport: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}},
		{VpcId: &b.vpc, EnableDnsHostnames: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}},
	} {
		made[*ec2.ModifyVpcAttributeOutput](t)(api.ModifyVpcAttribute(ctx, attribute))
	}

	gateway := made[*ec2.CreateInternetGatewayOutput](t)(api.CreateInternetGateway(ctx, &ec2.CreateInternetGatewayInput{})).InternetGateway.InternetGatewayId
	made[*ec2.AttachInternetGatewayOutput](t)(api.AttachInternetGateway(ctx, &ec2.AttachInternetGatewayInput{VpcId: &b.vpc, InternetGatewayId: gateway}))

	inVPC := []ec2types.Filter{{Name: aws.String("vpc-id"), Values: []string{b.vpc}}}
	table := made[*ec2.DescribeRouteTablesOutput](t)(api.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: inVPC})).RouteTables[0].RouteTableId
	made[*ec2.CreateRouteOutput](t)(api.CreateRoute(ctx, &ec2.CreateRouteInput{RouteTableId: table, GatewayId: gateway, DestinationCidrBlock: aws.String("0.0.0.0/0")}))

	for cidr, zone := range map[string]string{"10.77.0.0/20": "us-east-1a", "10.77.16.0/20": "us-east-1b"} {
		out := made[*ec2.CreateSubnetOutput](t)(api.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &b.vpc, CidrBlock: &cidr, AvailabilityZone: &zone}))
		b.subnets = append(b.subnets, aws.ToString(out.Subnet.SubnetId))
		made[*ec2.ModifySubnetAttributeOutput](t)(api.ModifySubnetAttribute(ctx, &ec2.ModifySubnetAttributeInput{
			SubnetId: out.Subnet.SubnetId, MapPublicIpOnLaunch: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)},
		}))
	}

	pending := func(s ec2types.Subnet) bool { return s.State != ec2types.SubnetStateAvailable }
	for slices.ContainsFunc(made[*ec2.DescribeSubnetsOutput](t)(api.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: inVPC})).Subnets, pending) {
	}

	for made[*ec2.DescribeVpcsOutput](t)(api.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{b.vpc}})).Vpcs[0].State != ec2types.VpcStateAvailable {
	}

	group := made[*ec2.CreateSecurityGroupOutput](t)(api.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		VpcId: &b.vpc, GroupName: aws.String("owners-jobs"), Description: aws.String("jobs"),
	}))
	b.group = aws.ToString(group.GroupId)
}

// bringRole makes a job role that may do in the bucket, under the prefix, what Metaflow asks for.
func (b *brought) bringRole(ctx context.Context, t *testing.T) {
	t.Helper()

	api := iam.NewFromConfig(b.p.aws())
	out := made[*iam.CreateRoleOutput](t)(api.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName:                 &b.roleName,
		AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`),
		Tags:                     []iamtypes.Tag{{Key: aws.String(deploy.TagTenant), Value: aws.String(tenant)}},
	}))
	b.role = aws.ToString(out.Role.Arn)
	made[*iam.PutRolePolicyOutput](t)(api.PutRolePolicy(ctx, &iam.PutRolePolicyInput{
		RoleName: &b.roleName, PolicyName: aws.String("data"), PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::` + b.bucket + `/team/one/*"},
			{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::` + b.bucket + `"}]}`),
	}))
}

// bringQueue makes a queue over a managed environment in the same network.
func (b *brought) bringQueue(ctx context.Context, t *testing.T) {
	t.Helper()

	roles, api := iam.NewFromConfig(b.p.aws()), batch.NewFromConfig(b.p.aws())
	name := aws.String("owners-instances")
	made[*iam.CreateRoleOutput](t)(roles.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName:                 name,
		AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`),
	}))

	profile := made[*iam.CreateInstanceProfileOutput](t)(roles.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: name}))
	made[*iam.AddRoleToInstanceProfileOutput](t)(roles.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: name, RoleName: name}))

	environment := made[*batch.CreateComputeEnvironmentOutput](t)(api.CreateComputeEnvironment(ctx, &batch.CreateComputeEnvironmentInput{
		ComputeEnvironmentName: aws.String("owners-environment"), Type: batchtypes.CETypeManaged,
		ComputeResources: &batchtypes.ComputeResource{
			Type: batchtypes.CRTypeEc2, AllocationStrategy: batchtypes.CRAllocationStrategyBestFitProgressive, InstanceTypes: []string{"m5.large"},
			MinvCpus: aws.Int32(0), MaxvCpus: aws.Int32(16), Subnets: b.subnets, SecurityGroupIds: []string{b.group}, InstanceRole: profile.InstanceProfile.Arn,
		},
	}))
	b.environment = aws.ToString(environment.ComputeEnvironmentArn)

	for status := b.p.settled(ctx, t, b.environment); status != batchtypes.CEStatusValid; status = b.p.judged(ctx, t, b.environment) {
		time.Sleep(time.Second) // until the role is no longer young
	}

	queue := made[*batch.CreateJobQueueOutput](t)(api.CreateJobQueue(ctx, &batch.CreateJobQueueInput{
		JobQueueName: &b.queueName, Priority: aws.Int32(5), State: batchtypes.JQStateEnabled,
		ComputeEnvironmentOrder: []batchtypes.ComputeEnvironmentOrder{{Order: aws.Int32(1), ComputeEnvironment: environment.ComputeEnvironmentArn}},
	}))
	b.queue = aws.ToString(queue.JobQueueArn)

	for {
		out := made[*batch.DescribeJobQueuesOutput](t)(api.DescribeJobQueues(ctx, &batch.DescribeJobQueuesInput{JobQueues: []string{b.queueName}}))
		if out.JobQueues[0].Status == batchtypes.JQStatusValid {
			return
		}
	}
}

// settled looks at an environment until Batch is no longer at work on it, and answers how it is.
func (p *product) settled(ctx context.Context, t *testing.T, environment string) batchtypes.CEStatus {
	t.Helper()

	for {
		status := p.environment(ctx, t, environment).Status
		if status != batchtypes.CEStatusCreating && status != batchtypes.CEStatusUpdating {
			return status
		}
	}
}

// look reads everything that was brought, so that two looks can be compared: what AWS shows of each thing, or the error code with which it says that there
// is no such setting.
func (b *brought) look(t *testing.T) map[string]string {
	t.Helper()

	var (
		ctx     = t.Context()
		buckets = b.p.s3()
		network = ec2.NewFromConfig(b.p.aws())
		roles   = iam.NewFromConfig(b.p.aws())
		queues  = batch.NewFromConfig(b.p.aws())
		bucket  = &b.bucket
		inVPC   = []ec2types.Filter{{Name: aws.String("vpc-id"), Values: []string{b.vpc}}}
	)

	seen := map[string]string{}

	for what, look := range map[string]func() (any, error){
		"bucket tags": func() (any, error) {
			out, err := buckets.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: bucket})
			if err != nil {
				return nil, err
			}

			return out.TagSet, nil
		},
		"bucket policy": func() (any, error) {
			out, err := buckets.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: bucket})
			if err != nil {
				return nil, err
			}

			return out.Policy, nil
		},
		"bucket lifecycle": func() (any, error) {
			out, err := buckets.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: bucket})
			if err != nil {
				return nil, err
			}

			return out.Rules, nil
		},
		"bucket versioning": func() (any, error) {
			out, err := buckets.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: bucket})
			if err != nil {
				return nil, err
			}

			return out.Status, nil
		},
		"vpc": func() (any, error) {
			out, err := network.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{b.vpc}})
			if err != nil {
				return nil, err
			}

			return out.Vpcs, nil
		},
		"subnets": func() (any, error) {
			out, err := network.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: inVPC})
			if err != nil {
				return nil, err
			}

			return out.Subnets, nil
		},
		"security groups": func() (any, error) {
			out, err := network.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: inVPC})
			if err != nil {
				return nil, err
			}

			return out.SecurityGroups, nil
		},
		"route tables": func() (any, error) {
			out, err := network.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: inVPC})
			if err != nil {
				return nil, err
			}

			return out.RouteTables, nil
		},
		"endpoints": func() (any, error) {
			out, err := network.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{Filters: inVPC})
			if err != nil {
				return nil, err
			}

			return out.VpcEndpoints, nil
		},
		"role": func() (any, error) {
			out, err := roles.GetRole(ctx, &iam.GetRoleInput{RoleName: &b.roleName})
			if err != nil {
				return nil, err
			}

			out.Role.RoleLastUsed = nil // the jobs used it

			return out.Role, nil
		},
		"role policies": func() (any, error) {
			out, err := roles.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: &b.roleName})
			if err != nil {
				return nil, err
			}

			return out.PolicyNames, nil
		},
		"role policy": func() (any, error) {
			out, err := roles.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &b.roleName, PolicyName: aws.String("data")})
			if err != nil {
				return nil, err
			}

			return out.PolicyDocument, nil
		},
		"queue": func() (any, error) {
			out, err := queues.DescribeJobQueues(ctx, &batch.DescribeJobQueuesInput{JobQueues: []string{b.queueName}})
			if err != nil {
				return nil, err
			}

			return out.JobQueues, nil
		},
		"environment": func() (any, error) {
			out, err := queues.DescribeComputeEnvironments(ctx, &batch.DescribeComputeEnvironmentsInput{ComputeEnvironments: []string{b.environment}})
			if err != nil {
				return nil, err
			}

			return out.ComputeEnvironments, nil
		},
	} {
		v, err := look()
		if api, ok := errors.AsType[smithy.APIError](err); ok {
			seen[what] = api.ErrorCode()

			continue
		}

		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}

		text, err := json.Marshal(v)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}

		seen[what] = string(text)
	}

	for _, what := range []string{"bucket tags", "vpc", "subnets", "security groups", "role", "role policy", "queue", "environment"} {
		if len(seen[what]) < len(`[{"a":"b"}]`) || seen[what][0] == 'N' {
			t.Fatalf("%s: is not there: %s", what, seen[what])
		}
	}

	return seen
}
