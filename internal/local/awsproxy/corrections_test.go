package awsproxy_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	batchtypes "github.com/aws/aws-sdk-go-v2/service/batch/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsproxy"
)

func correctionTests() map[string]func(*testing.T, *world) {
	return map[string]func(*testing.T, *world){
		"DryRun":            testDryRun,
		"RouteTableToken":   testRouteTableToken,
		"TokensInARace":     testTokensInARace,
		"EndpointToken":     testEndpointToken,
		"TemplateToken":     testTemplateToken,
		"TransactionToken":  testTransactionToken,
		"DeletedEndpoints":  testDeletedEndpoints,
		"MissingTemplates":  testMissingTemplates,
		"TemplateTags":      testTemplateTags,
		"ServiceLinkedRole": testServiceLinkedRole,
		"BatchServiceRole":  testBatchServiceRole,
		"BatchErrors":       testBatchErrors,
		"BatchDefaults":     testBatchDefaults,
		"ComputeResources":  testComputeResources,
		"BatchShape":        testBatchShape,
		"BatchTags":         testBatchTags,
		"RuleHoldBatch":     testRuleHoldBatch,
		"BucketDefaults":    testBucketDefaults,
		"BucketOwner":       testBucketOwner,
		"BucketPolicy":      testBucketPolicy,
		"QuietDelete":       testQuietDelete,
		"TableID":           testTableID,
		"StateMachineTaken": testStateMachineTaken,
		"JournalNames":      testJournalNamesCorrection,
	}
}

// touched says whether the journal names a correction or strict rule for a call of the action.
func (w *world) touched(action, name string) bool {
	return slices.ContainsFunc(w.calls(), func(c awsproxy.Call) bool { return c.Action == action && slices.Contains(strings.Fields(c.Rule), name) })
}

func (w *world) vpc(t *testing.T) string {
	t.Helper()

	out := must[*ec2.CreateVpcOutput](t)(w.ec2().CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.20.0.0/16")}))

	return aws.ToString(out.Vpc.VpcId)
}

// ground is what a compute environment stands on.
type ground struct{ vpc, subnet, group, profile string }

func (w *world) ground(t *testing.T) ground {
	t.Helper()

	ctx := t.Context()
	g := ground{vpc: w.vpc(t), profile: "arn:aws:iam::" + w.account + ":instance-profile/prof"}

	subnet := must[*ec2.CreateSubnetOutput](t)(w.ec2().CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &g.vpc, CidrBlock: aws.String("10.20.0.0/20")}))
	group := must[*ec2.CreateSecurityGroupOutput](t)(w.ec2().CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		VpcId: &g.vpc, GroupName: aws.String("group"), Description: aws.String("test"),
	}))
	g.subnet, g.group = aws.ToString(subnet.Subnet.SubnetId), aws.ToString(group.GroupId)

	_ = must[*iam.CreateRoleOutput](t)(w.iam().CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("inst"), AssumeRolePolicyDocument: aws.String(trust)}))
	_ = must[*iam.CreateInstanceProfileOutput](t)(w.iam().CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("prof")}))
	_ = must[*iam.AddRoleToInstanceProfileOutput](t)(w.iam().AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{
		InstanceProfileName: aws.String("prof"), RoleName: aws.String("inst"),
	}))

	return g
}

func (g ground) environment(name string) *batch.CreateComputeEnvironmentInput {
	return &batch.CreateComputeEnvironmentInput{
		ComputeEnvironmentName: &name, Type: batchtypes.CETypeManaged,
		ComputeResources: &batchtypes.ComputeResource{
			Type: batchtypes.CRTypeEc2, MaxvCpus: aws.Int32(8), MinvCpus: aws.Int32(0), InstanceTypes: []string{"optimal"}, InstanceRole: &g.profile,
			Subnets: []string{g.subnet}, SecurityGroupIds: []string{g.group}, AllocationStrategy: batchtypes.CRAllocationStrategyBestFitProgressive,
		},
	}
}

func (w *world) environment(t *testing.T, name string) batchtypes.ComputeEnvironmentDetail {
	t.Helper()

	out := must[*batch.DescribeComputeEnvironmentsOutput](t)(w.batch().DescribeComputeEnvironments(t.Context(), &batch.DescribeComputeEnvironmentsInput{
		ComputeEnvironments: []string{name},
	}))
	if len(out.ComputeEnvironments) == 0 {
		return batchtypes.ComputeEnvironmentDetail{}
	}

	return out.ComputeEnvironments[0]
}

func order(environments ...string) []batchtypes.ComputeEnvironmentOrder {
	var out []batchtypes.ComputeEnvironmentOrder
	for i, e := range environments {
		out = append(out, batchtypes.ComputeEnvironmentOrder{Order: aws.Int32(int32(i + 1)), ComputeEnvironment: aws.String(e)})
	}

	return out
}

func message(err error) string {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return ""
	}

	return api.ErrorMessage()
}

func testDryRun(t *testing.T, w *world) {
	t.Helper()

	vpc := w.vpc(t)

	_, err := w.ec2().CreateSubnet(t.Context(), &ec2.CreateSubnetInput{VpcId: &vpc, CidrBlock: aws.String("10.20.0.0/20"), DryRun: aws.Bool(true)})
	if code(err) != "DryRunOperation" {
		t.Errorf("a dry run answers %v", err)
	}

	out := must[*ec2.DescribeSubnetsOutput](t)(w.ec2().DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{
		Filters: []ec2types.Filter{{Name: aws.String("vpc-id"), Values: []string{vpc}}},
	}))
	if len(out.Subnets) != 0 {
		t.Error("a dry run made a subnet")
	}
}

func testRouteTableToken(t *testing.T, w *world) {
	t.Helper()

	ctx, vpc, other := t.Context(), w.vpc(t), w.vpc(t)
	create := func(vpc, token string) (string, error) {
		out, err := w.ec2().CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: &vpc, ClientToken: &token})
		if err != nil {
			return "", err
		}

		return aws.ToString(out.RouteTable.RouteTableId), nil
	}

	first := must[string](t)(create(vpc, "one"))
	if again := must[string](t)(create(vpc, "one")); again != first {
		t.Errorf("the same token made %s after %s", again, first)
	}

	if another := must[string](t)(create(vpc, "two")); another == first {
		t.Error("another token gave the same table")
	}

	if _, err := create(other, "one"); code(err) != "IdempotentParameterMismatch" {
		t.Errorf("the same token with other parameters answers %v", err)
	}

	_ = must[*ec2.DeleteRouteTableOutput](t)(w.ec2().DeleteRouteTable(ctx, &ec2.DeleteRouteTableInput{RouteTableId: &first}))

	if after := must[string](t)(create(vpc, "one")); after == first {
		t.Error("the token gives a table that is deleted")
	}
}

func testTokensInARace(t *testing.T, w *world) {
	t.Helper()

	ctx, vpc := t.Context(), w.vpc(t)
	ids := make(chan string, 8)

	for range cap(ids) {
		go func() {
			out, err := w.ec2().CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: &vpc, ClientToken: aws.String("race")})
			if err != nil {
				ids <- err.Error()

				return
			}

			ids <- aws.ToString(out.RouteTable.RouteTableId)
		}()
	}

	seen := map[string]bool{}
	for range cap(ids) {
		seen[<-ids] = true
	}

	if len(seen) != 1 {
		t.Errorf("eight calls with one token gave %v", seen)
	}
}

func testEndpointToken(t *testing.T, w *world) {
	t.Helper()

	ctx, vpc := t.Context(), w.vpc(t)
	seen := map[string]bool{}

	for range 2 {
		out := must[*ec2.CreateVpcEndpointOutput](t)(w.ec2().CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{
			VpcId: &vpc, ServiceName: aws.String("com.amazonaws." + region + ".s3"), ClientToken: aws.String("tok"),
		}))
		seen[aws.ToString(out.VpcEndpoint.VpcEndpointId)] = true
	}

	if len(seen) != 1 {
		t.Errorf("one token made %v", seen)
	}
}

func testTemplateToken(t *testing.T, w *world) {
	t.Helper()

	create := func(name string) (string, error) {
		out, err := w.ec2().CreateLaunchTemplate(t.Context(), &ec2.CreateLaunchTemplateInput{
			LaunchTemplateName: &name, ClientToken: aws.String("tok"), LaunchTemplateData: &ec2types.RequestLaunchTemplateData{UserData: aws.String("aGk=")},
		})
		if err != nil {
			return "", err
		}

		return aws.ToString(out.LaunchTemplate.LaunchTemplateId), nil
	}

	first := must[string](t)(create("template-one"))
	if again := must[string](t)(create("template-one")); again != first {
		t.Errorf("the same token made %s after %s", again, first)
	}

	if _, err := create("template-two"); code(err) != "IdempotentParameterMismatch" {
		t.Errorf("the same token with another name answers %v", err)
	}
}

func (w *world) table(t *testing.T, name string) *ddbtypes.TableDescription {
	t.Helper()

	out := must[*dynamodb.CreateTableOutput](t)(w.dynamodb().CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: ddbtypes.BillingModePayPerRequest,
		AttributeDefinitions: []ddbtypes.AttributeDefinition{{AttributeName: aws.String("pk"), AttributeType: "S"}},
		KeySchema:            []ddbtypes.KeySchemaElement{{AttributeName: aws.String("pk"), KeyType: "HASH"}},
	}))

	return out.TableDescription
}

func testTransactionToken(t *testing.T, w *world) {
	t.Helper()

	w.table(t, "items")

	write := func(key, token string) error {
		_, err := w.dynamodb().TransactWriteItems(t.Context(), &dynamodb.TransactWriteItemsInput{
			ClientRequestToken: &token, TransactItems: []ddbtypes.TransactWriteItem{{Put: &ddbtypes.Put{
				TableName: aws.String("items"), ConditionExpression: aws.String("attribute_not_exists(pk)"),
				Item: map[string]ddbtypes.AttributeValue{"pk": &ddbtypes.AttributeValueMemberS{Value: key}},
			}}},
		})

		return err
	}

	for name, tt := range []struct{ reason, key, token, want string }{
		{"the first time", "a", "one", ""},
		{"a replay is a success", "a", "one", ""},
		{"another token is another transaction", "a", "two", "TransactionCanceledException"},
		{"a refused token is free", "b", "two", ""},
		{"other parameters", "c", "one", "IdempotentParameterMismatchException"},
	} {
		if err := write(tt.key, tt.token); code(err) != tt.want {
			t.Errorf("%d %s: answers %q, want %q", name, tt.reason, code(err), tt.want)
		}
	}
}

func testDeletedEndpoints(t *testing.T, w *world) {
	t.Helper()

	ctx, vpc := t.Context(), w.vpc(t)
	made := must[*ec2.CreateVpcEndpointOutput](t)(w.ec2().CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{
		VpcId: &vpc, ServiceName: aws.String("com.amazonaws." + region + ".s3"),
	}))
	id := aws.ToString(made.VpcEndpoint.VpcEndpointId)

	// One that is not there does not keep the other from being deleted.
	out := must[*ec2.DeleteVpcEndpointsOutput](t)(w.ec2().DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{
		VpcEndpointIds: []string{"vpce-0123456789abcdef0", id},
	}))
	if made.VpcEndpoint.VpcEndpointType != ec2types.VpcEndpointTypeGateway {
		t.Errorf("the endpoint is a %s", made.VpcEndpoint.VpcEndpointType)
	}

	if len(out.Unsuccessful) != 1 || aws.ToString(out.Unsuccessful[0].Error.Code) != "InvalidVpcEndpoint.NotFound" {
		t.Errorf("the endpoint that is not there is told as %+v", out.Unsuccessful)
	}

	_, err := w.ec2().DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{id}})
	if code(err) != "InvalidVpcEndpointId.NotFound" {
		t.Errorf("a deleted endpoint is looked for: %v", err)
	}

	all := must[*ec2.DescribeVpcEndpointsOutput](t)(w.ec2().DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{}))
	if len(all.VpcEndpoints) != 0 {
		t.Errorf("a deleted endpoint is listed: %+v", all.VpcEndpoints)
	}
}

func testMissingTemplates(t *testing.T, w *world) {
	t.Helper()

	ctx, id, name := t.Context(), "lt-0123456789abcdef0", "no-such-template"

	_, describeID := w.ec2().DescribeLaunchTemplates(ctx, &ec2.DescribeLaunchTemplatesInput{LaunchTemplateIds: []string{id}})
	_, deleteID := w.ec2().DeleteLaunchTemplate(ctx, &ec2.DeleteLaunchTemplateInput{LaunchTemplateId: &id})
	_, deleteName := w.ec2().DeleteLaunchTemplate(ctx, &ec2.DeleteLaunchTemplateInput{LaunchTemplateName: &name})

	want := []string{"InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateName.NotFoundException"}
	if diff := cmp.Diff(want, []string{code(describeID), code(deleteID), code(deleteName)}); diff != "" {
		t.Errorf("a template that is not there (-want +got):\n%s", diff)
	}
}

func testTemplateTags(t *testing.T, w *world) {
	t.Helper()

	ctx := t.Context()
	tag := func(k, v string) []ec2types.Tag { return []ec2types.Tag{{Key: &k, Value: &v}} }

	made := must[*ec2.CreateLaunchTemplateOutput](t)(w.ec2().CreateLaunchTemplate(ctx, &ec2.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String("tagged"), LaunchTemplateData: &ec2types.RequestLaunchTemplateData{InstanceType: "m5.large"},
		TagSpecifications: []ec2types.TagSpecification{{ResourceType: ec2types.ResourceTypeLaunchTemplate, Tags: append(tag("stays", "1"), tag("goes", "1")...)}},
	}))
	ids := []string{*made.LaunchTemplate.LaunchTemplateId}

	_ = must[*ec2.CreateTagsOutput](t)(w.ec2().CreateTags(ctx, &ec2.CreateTagsInput{Resources: ids, Tags: tag("comes", "a & b")}))
	_ = must[*ec2.DeleteTagsOutput](t)(w.ec2().DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: ids, Tags: []ec2types.Tag{{Key: aws.String("goes")}}}))

	out := must[*ec2.DescribeLaunchTemplatesOutput](t)(w.ec2().DescribeLaunchTemplates(ctx, &ec2.DescribeLaunchTemplatesInput{LaunchTemplateIds: ids}))

	got := map[string]string{}
	for _, tag := range out.LaunchTemplates[0].Tags {
		got[*tag.Key] = *tag.Value
	}

	if diff := cmp.Diff(map[string]string{"stays": "1", "comes": "a & b"}, got); diff != "" {
		t.Errorf("tags of a template (-want +got):\n%s", diff)
	}
}

func testServiceLinkedRole(t *testing.T, w *world) {
	t.Helper()

	ctx, name := t.Context(), aws.String("AWSServiceRoleForBatch")

	if _, err := w.iam().GetRole(ctx, &iam.GetRoleInput{RoleName: name}); code(err) != "NoSuchEntity" {
		t.Errorf("before it is made the role answers %v", err)
	}

	in := &iam.CreateServiceLinkedRoleInput{AWSServiceName: aws.String("batch.amazonaws.com")}

	out := must[*iam.CreateServiceLinkedRoleOutput](t)(w.iam().CreateServiceLinkedRole(ctx, in))
	if got := aws.ToString(out.Role.Arn); got != "arn:aws:iam::"+w.account+":role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch" {
		t.Errorf("the role is %s", got)
	}

	_, err := w.iam().CreateServiceLinkedRole(ctx, in)

	want := "Service role name AWSServiceRoleForBatch has been taken in this account, please try a different suffix."
	if code(err) != "InvalidInput" || message(err) != want {
		t.Errorf("a second role answers %v", err)
	}

	if _, err := w.iam().GetRole(ctx, &iam.GetRoleInput{RoleName: name}); err != nil {
		t.Errorf("the role is not found: %v", err)
	}
}

func testBatchServiceRole(t *testing.T, w *world) {
	t.Helper()

	g := w.ground(t)

	_ = must[*batch.CreateComputeEnvironmentOutput](t)(w.batch().CreateComputeEnvironment(t.Context(), g.environment("env")))

	want := "arn:aws:iam::" + w.account + ":role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch"
	if got := aws.ToString(w.environment(t, "env").ServiceRole); got != want {
		t.Errorf("the environment uses %s, want %s", got, want)
	}

	if _, err := w.iam().GetRole(t.Context(), &iam.GetRoleInput{RoleName: aws.String("AWSServiceRoleForBatch")}); err != nil {
		t.Errorf("Batch did not make its role: %v", err)
	}
}

func testBatchErrors(t *testing.T, w *world) {
	t.Helper()

	ctx, g, none := t.Context(), w.ground(t), aws.String("none")

	_ = must[*batch.CreateComputeEnvironmentOutput](t)(w.batch().CreateComputeEnvironment(ctx, g.environment("env")))
	_ = must[*batch.CreateJobQueueOutput](t)(w.batch().CreateJobQueue(ctx, queue("queue", "env")))

	for name, tt := range map[string]struct {
		reason string
		call   func(context.Context) error
		text   string
	}{
		"EnvironmentTaken": {
			"a taken name", func(ctx context.Context) error {
				_, err := w.batch().CreateComputeEnvironment(ctx, g.environment("env"))

				return err
			}, "already exists",
		},
		"QueueTaken": {
			"a taken name", func(ctx context.Context) error {
				_, err := w.batch().CreateJobQueue(ctx, queue("queue", "env"))

				return err
			}, "already exists",
		},
		"DeleteEnvironment": {
			"moto says OK", func(ctx context.Context) error {
				_, err := w.batch().DeleteComputeEnvironment(ctx, &batch.DeleteComputeEnvironmentInput{ComputeEnvironment: none})

				return err
			}, "none does not exist",
		},
		"DeleteQueue": {
			"moto says OK", func(ctx context.Context) error {
				_, err := w.batch().DeleteJobQueue(ctx, &batch.DeleteJobQueueInput{JobQueue: none})

				return err
			}, "none does not exist",
		},
		"UpdateEnvironment": {
			"moto does not say which", func(ctx context.Context) error {
				_, err := w.batch().UpdateComputeEnvironment(ctx, &batch.UpdateComputeEnvironmentInput{ComputeEnvironment: none, State: "DISABLED"})

				return err
			}, "none does not exist",
		},
		"Subnet": {
			"moto has a code of its own", func(ctx context.Context) error {
				in := g.environment("other")
				in.ComputeResources.Subnets = []string{"subnet-0123456789abcdef0"}
				_, err := w.batch().CreateComputeEnvironment(ctx, in)

				return err
			}, "subnet-0123456789abcdef0",
		},
	} {
		if err := tt.call(ctx); code(err) != "ClientException" || !strings.Contains(message(err), tt.text) {
			t.Errorf("%s (%s): answers %v, want ClientException with %q", name, tt.reason, err, tt.text)
		}
	}
}

func queue(name string, environments ...string) *batch.CreateJobQueueInput {
	return &batch.CreateJobQueueInput{JobQueueName: &name, Priority: aws.Int32(1), ComputeEnvironmentOrder: order(environments...)}
}

func testBatchDefaults(t *testing.T, w *world) {
	t.Helper()

	ctx, g := t.Context(), w.ground(t)

	in := g.environment("env")
	in.ComputeResources.MinvCpus = nil
	in.ComputeResources.InstanceTypes = []string{"default_x86_64"}
	_ = must[*batch.CreateComputeEnvironmentOutput](t)(w.batch().CreateComputeEnvironment(ctx, in))
	_ = must[*batch.CreateJobQueueOutput](t)(w.batch().CreateJobQueue(ctx, queue("queue", "env")))

	env := w.environment(t, "env")
	if env.State != "ENABLED" || aws.ToInt32(env.ComputeResources.MinvCpus) != 0 || !cmp.Equal(env.ComputeResources.InstanceTypes, []string{"default_x86_64"}) {
		t.Errorf("the environment is %s with %+v", env.State, env.ComputeResources)
	}

	out := must[*batch.DescribeJobQueuesOutput](t)(w.batch().DescribeJobQueues(ctx, &batch.DescribeJobQueuesInput{JobQueues: []string{"queue"}}))
	if out.JobQueues[0].State != "ENABLED" {
		t.Errorf("the queue is %s", out.JobQueues[0].State)
	}
}

func testComputeResources(t *testing.T, w *world) {
	t.Helper()

	ctx, g := t.Context(), w.ground(t)

	_ = must[*batch.CreateComputeEnvironmentOutput](t)(w.batch().CreateComputeEnvironment(ctx, g.environment("env")))

	for _, change := range []*batchtypes.ComputeResourceUpdate{{MaxvCpus: aws.Int32(77)}, {MaxvCpus: aws.Int32(78)}, {MinvCpus: aws.Int32(2)}} {
		_ = must[*batch.UpdateComputeEnvironmentOutput](t)(w.batch().UpdateComputeEnvironment(ctx, &batch.UpdateComputeEnvironmentInput{
			ComputeEnvironment: aws.String("arn:aws:batch:" + region + ":" + w.account + ":compute-environment/env"), ComputeResources: change,
		}))
	}

	got := w.environment(t, "env").ComputeResources
	if aws.ToInt32(got.MaxvCpus) != 78 || aws.ToInt32(got.MinvCpus) != 2 || !cmp.Equal(got.Subnets, []string{g.subnet}) {
		t.Errorf("after the changes the resources are %+v", got)
	}

	_ = must[*batch.DeleteComputeEnvironmentOutput](t)(w.batch().DeleteComputeEnvironment(ctx, &batch.DeleteComputeEnvironmentInput{ComputeEnvironment: aws.String("env")}))
	_ = must[*batch.CreateComputeEnvironmentOutput](t)(w.batch().CreateComputeEnvironment(ctx, g.environment("env")))

	if got := aws.ToInt32(w.environment(t, "env").ComputeResources.MaxvCpus); got != 8 {
		t.Errorf("a new environment of the name has the old one's %d vCPUs", got)
	}

	_ = must[*batch.CreateComputeEnvironmentOutput](t)(w.batch().CreateComputeEnvironment(ctx, &batch.CreateComputeEnvironmentInput{
		ComputeEnvironmentName: aws.String("unmanaged"), Type: batchtypes.CETypeUnmanaged, UnmanagedvCpus: aws.Int32(7),
	}))

	if got := aws.ToInt32(w.environment(t, "unmanaged").UnmanagedvCpus); got != 7 {
		t.Errorf("the unmanaged environment has %d vCPUs, want 7", got)
	}
}

func testBatchShape(t *testing.T, w *world) {
	t.Helper()

	ctx, g := t.Context(), w.ground(t)

	_ = must[*batch.CreateComputeEnvironmentOutput](t)(w.batch().CreateComputeEnvironment(ctx, g.environment("env")))
	_ = must[*batch.CreateJobQueueOutput](t)(w.batch().CreateJobQueue(ctx, queue("queue", "env")))

	if got := w.environment(t, "env"); got.ContainerOrchestrationType != "ECS" || aws.ToString(got.StatusReason) != "ComputeEnvironment Healthy" {
		t.Errorf("the environment is shown as %s, %s", got.ContainerOrchestrationType, aws.ToString(got.StatusReason))
	}

	out := must[*batch.DescribeJobQueuesOutput](t)(w.batch().DescribeJobQueues(ctx, &batch.DescribeJobQueuesInput{}))

	want := "arn:aws:batch:" + region + ":" + w.account + ":compute-environment/env"
	if got := aws.ToString(out.JobQueues[0].ComputeEnvironmentOrder[0].ComputeEnvironment); got != want {
		t.Errorf("the queue shows its environment as %s, want %s", got, want)
	}
}

func testRuleHoldBatch(t *testing.T, w *world) {
	t.Helper()

	ctx, g := t.Context(), w.ground(t)
	hold := map[string]any{"hold": map[string]any{"polls": 2}}

	for _, action := range []string{"CreateComputeEnvironment", "UpdateComputeEnvironment", "DeleteComputeEnvironment"} {
		w.rule(t, "batch", action, map[string]any{"match": map[string]any{}, "then": hold})
	}

	var states []string

	look := func() {
		for range 3 {
			states = append(states, string(w.environment(t, "env").Status))
		}
	}

	_ = must[*batch.CreateComputeEnvironmentOutput](t)(w.batch().CreateComputeEnvironment(ctx, g.environment("env")))

	look()

	_ = must[*batch.UpdateComputeEnvironmentOutput](t)(w.batch().UpdateComputeEnvironment(ctx, &batch.UpdateComputeEnvironmentInput{
		ComputeEnvironment: aws.String("env"), State: "DISABLED",
	}))

	look()

	_ = must[*batch.DeleteComputeEnvironmentOutput](t)(w.batch().DeleteComputeEnvironment(ctx, &batch.DeleteComputeEnvironmentInput{ComputeEnvironment: aws.String("env")}))

	look()

	want := []string{"CREATING", "CREATING", "VALID", "UPDATING", "UPDATING", "VALID", "DELETING", "DELETING", ""}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Errorf("the states of an environment's life (-want +got):\n%s", diff)
	}
}

func (w *world) bucket(t *testing.T, tags ...s3types.Tag) *string {
	t.Helper()

	name := aws.String("bucket-" + w.account)
	in := &s3.CreateBucketInput{Bucket: name}

	if len(tags) > 0 {
		in.CreateBucketConfiguration = &s3types.CreateBucketConfiguration{Tags: tags}
	}

	_ = must[*s3.CreateBucketOutput](t)(w.s3().CreateBucket(t.Context(), in))

	return name
}

// testBatchTags makes an environment and a queue of names that tagged ones had.
func testBatchTags(t *testing.T, w *world) {
	t.Helper()

	g := w.ground(t)
	environment, q := g.environment("env"), queue("queue", "env")
	environment.Tags, q.Tags = map[string]string{"a": "1", "b": "2"}, map[string]string{"c": "3"}
	tags := func() map[string]string {
		t.Helper()

		_ = must[*batch.CreateComputeEnvironmentOutput](t)(w.batch().CreateComputeEnvironment(t.Context(), environment))
		arn := must[*batch.CreateJobQueueOutput](t)(w.batch().CreateJobQueue(t.Context(), q)).JobQueueArn
		all := maps.Clone(w.environment(t, "env").Tags)
		maps.Copy(all, must[*batch.ListTagsForResourceOutput](t)(w.batch().ListTagsForResource(t.Context(), &batch.ListTagsForResourceInput{ResourceArn: arn})).Tags)

		_ = must[*batch.DeleteJobQueueOutput](t)(w.batch().DeleteJobQueue(t.Context(), &batch.DeleteJobQueueInput{JobQueue: aws.String("queue")}))
		_ = must[*batch.DeleteComputeEnvironmentOutput](t)(w.batch().DeleteComputeEnvironment(t.Context(), &batch.DeleteComputeEnvironmentInput{ComputeEnvironment: aws.String("env")}))

		return all
	}

	first := tags()
	environment.Tags, q.Tags = map[string]string{"b": "4"}, nil

	if diff := cmp.Diff([]map[string]string{{"a": "1", "b": "2", "c": "3"}, {"b": "4"}}, []map[string]string{first, tags()}); diff != "" {
		t.Errorf("the tags of the first and the second of a name (-want +got):\n%s", diff)
	}
}

func testBucketDefaults(t *testing.T, w *world) {
	t.Helper()

	ctx := t.Context()
	tags := []s3types.Tag{{Key: aws.String("own"), Value: aws.String("a&b")}}
	name := w.bucket(t, tags...)

	got := must[*s3.GetBucketTaggingOutput](t)(w.s3().GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: name}))
	if len(got.TagSet) != 1 || aws.ToString(got.TagSet[0].Value) != "a&b" {
		t.Errorf("the bucket has the tags %+v", got.TagSet)
	}

	block := must[*s3.GetPublicAccessBlockOutput](t)(w.s3().GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: name}))
	if b := block.PublicAccessBlockConfiguration; !aws.ToBool(b.BlockPublicAcls) || !aws.ToBool(b.RestrictPublicBuckets) {
		t.Errorf("public access is blocked as %+v", b)
	}

	controls := must[*s3.GetBucketOwnershipControlsOutput](t)(w.s3().GetBucketOwnershipControls(ctx, &s3.GetBucketOwnershipControlsInput{Bucket: name}))
	if got := controls.OwnershipControls.Rules[0].ObjectOwnership; got != s3types.ObjectOwnershipBucketOwnerEnforced {
		t.Errorf("objects are owned by %s", got)
	}

	crypt := must[*s3.GetBucketEncryptionOutput](t)(w.s3().GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: name}))
	if got := crypt.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault.SSEAlgorithm; got != s3types.ServerSideEncryptionAes256 {
		t.Errorf("objects are encrypted with %s", got)
	}

	// The second create in us-east-1 is good and leaves things as they were made since.
	_ = must[*s3.DeletePublicAccessBlockOutput](t)(w.s3().DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: name}))
	w.bucket(t)

	if _, err := w.s3().GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: name}); code(err) != "NoSuchPublicAccessBlockConfiguration" {
		t.Errorf("a second create put the defaults back: %v", err)
	}

	// Another bucket of that name starts without the tags of this one.
	_ = must[*s3.DeleteBucketOutput](t)(w.s3().DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: name}))
	w.bucket(t)

	if out, err := w.s3().GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: name}); code(err) != "NoSuchTagSet" {
		t.Errorf("a bucket of the same name has the tags %+v, %v", out, err)
	}
}

func testBucketOwner(t *testing.T, w *world) {
	t.Helper()

	ctx, name, foreign := t.Context(), w.bucket(t), w.world()

	_, head := foreign.s3().HeadBucket(ctx, &s3.HeadBucketInput{Bucket: name})
	_, list := foreign.s3().ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: name})
	_, create := foreign.s3().CreateBucket(ctx, &s3.CreateBucketInput{Bucket: name})
	_, expected := w.s3().HeadBucket(ctx, &s3.HeadBucketInput{Bucket: name, ExpectedBucketOwner: &foreign.account})
	_, right := w.s3().HeadBucket(ctx, &s3.HeadBucketInput{Bucket: name, ExpectedBucketOwner: &w.account})

	want := []string{"Forbidden", "AccessDenied", "BucketAlreadyExists", "Forbidden", ""}
	if diff := cmp.Diff(want, []string{code(head), code(list), code(create), code(expected), code(right)}); diff != "" {
		t.Errorf("a bucket and its owner (-want +got):\n%s", diff)
	}

	_ = must[*s3.DeleteBucketOutput](t)(w.s3().DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: name}))

	if _, err := foreign.s3().CreateBucket(ctx, &s3.CreateBucketInput{Bucket: name}); err != nil {
		t.Errorf("the name of a deleted bucket is not free: %v", err)
	}
}

func testBucketPolicy(t *testing.T, w *world) {
	t.Helper()

	ctx, name := t.Context(), w.bucket(t)
	get := func() (string, error) {
		out, err := w.s3().GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: name})
		if err != nil {
			return "", err
		}

		return aws.ToString(out.Policy), nil
	}
	put := func(policy string) error {
		_, err := w.s3().PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: name, Policy: &policy})

		return err
	}

	tls := fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::%s","arn:aws:s3:::%s/*"],`+
		`"Condition":{"Bool":{"aws:SecureTransport":"false"}}}}`, *name, *name)
	deny := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":["arn:aws:s3:::%s/*"]}]}`, *name)

	if err := put(tls); err != nil {
		t.Fatal(err)
	}

	if got := must[string](t)(get()); got != tls {
		t.Errorf("the policy reads %s", got)
	}

	_ = must[*s3.PutObjectOutput](t)(w.s3().PutObject(ctx, &s3.PutObjectInput{Bucket: name, Key: aws.String("k"), Body: strings.NewReader("x")}))

	object := &s3.GetObjectInput{Bucket: name, Key: aws.String("k")}
	if _, err := w.s3().GetObject(ctx, object); err != nil {
		t.Errorf("a policy for insecure transport refuses loopback: %v", err)
	}

	// A policy without conditions takes its place, and moto judges it.
	if err := put(deny); err != nil {
		t.Fatal(err)
	}

	if got := must[string](t)(get()); got != deny {
		t.Errorf("the second policy reads %s", got)
	}

	if err := put(tls); err != nil {
		t.Fatal(err)
	}

	if _, err := w.s3().GetObject(ctx, object); err != nil {
		t.Errorf("the policy that was replaced still refuses: %v", err)
	}

	_ = must[*s3.DeleteBucketPolicyOutput](t)(w.s3().DeleteBucketPolicy(ctx, &s3.DeleteBucketPolicyInput{Bucket: name}))

	if _, err := get(); code(err) != "NoSuchBucketPolicy" {
		t.Errorf("after the policy's end it reads %v", err)
	}

	gone := "no-such-bucket-" + w.account
	if _, err := w.s3().PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &gone, Policy: &tls}); code(err) != "NoSuchBucket" {
		t.Errorf("a policy for no bucket answers %v", err)
	}
}

func testQuietDelete(t *testing.T, w *world) {
	t.Helper()

	name := w.bucket(t)

	for quiet, want := range map[bool]int{true: 0, false: 1} {
		out := must[*s3.DeleteObjectsOutput](t)(w.s3().DeleteObjects(t.Context(), &s3.DeleteObjectsInput{
			Bucket: name, Delete: &s3types.Delete{Quiet: &quiet, Objects: []s3types.ObjectIdentifier{{Key: aws.String("k")}}},
		}))
		if len(out.Deleted) != want {
			t.Errorf("quiet %t lists %d deleted objects, want %d", quiet, len(out.Deleted), want)
		}
	}
}

func testTableID(t *testing.T, w *world) {
	t.Helper()

	made := w.table(t, "items")
	out := must[*dynamodb.DescribeTableOutput](t)(w.dynamodb().DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: aws.String("items")}))

	if id := aws.ToString(out.Table.TableId); len(id) != 36 || id != aws.ToString(made.TableId) {
		t.Errorf("the table's id is %q when looked at and %q when made", id, aws.ToString(made.TableId))
	}

	if other := aws.ToString(w.table(t, "others").TableId); other == aws.ToString(made.TableId) {
		t.Error("two tables have one id")
	}
}

func testStateMachineTaken(t *testing.T, w *world) {
	t.Helper()

	create := func(definition string) error {
		_, err := w.sfn().CreateStateMachine(t.Context(), &sfn.CreateStateMachineInput{
			Name: aws.String("machine"), RoleArn: aws.String("arn:aws:iam::" + w.account + ":role/states"), Definition: &definition,
		})

		return err
	}

	const one, two = `{"StartAt":"A","States":{"A":{"Type":"Succeed"}}}`, `{"StartAt":"B","States":{"B":{"Type":"Succeed"}}}`

	if got := []string{code(create(one)), code(create(one)), code(create(two))}; !cmp.Equal(got, []string{"", "", "StateMachineAlreadyExists"}) {
		t.Errorf("create, the same again and another: %v", got)
	}
}

func testJournalNamesCorrection(t *testing.T, w *world) {
	t.Helper()

	g := w.ground(t)

	_ = must[*batch.CreateComputeEnvironmentOutput](t)(w.batch().CreateComputeEnvironment(t.Context(), g.environment("env")))

	if !w.touched("CreateComputeEnvironment", "correction/batch-service-role") {
		t.Errorf("the journal does not name the correction: %+v", w.calls())
	}

	_, page := w.do(t, http.MethodGet, "/_local/rules", "")
	if !strings.Contains(page, `"name":"correction/batch-service-role"`) {
		t.Errorf("the page does not list the corrections: %s", page)
	}
}
