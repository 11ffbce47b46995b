package metaflow_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	batchtypes "github.com/aws/aws-sdk-go-v2/service/batch/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsproxy"
)

// situation is a life in an account of its own, in which somebody or something gets in the product's way.
type situation struct {
	name string
	live func(t *testing.T, p *product)
}

func situations() []situation {
	return []situation{
		{"RoleSwappedWhileMade", roleSwappedWhileMade},
		{"RoleGoneBeforeDelete", roleGoneBeforeDelete},
		{"BoundaryGone", boundaryGone},
		{"EndpointThere", endpointThere},
		{"AskedDirectly", askedDirectly},
	}
}

// beside is the product in another account of the same stack.
func (p *product) beside(t *testing.T, n int) *product {
	t.Helper()

	other := *p
	other.account = fmt.Sprintf("%012d", 300000000000+n)

	w, err := p.stack.World(t.Context(), other.account, nil)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(w.Close)

	other.url = w.URL

	return &other
}

// local sends a request to the endpoint's own page of rules.
func (p *product) local(t *testing.T, method, query string, body any) []byte {
	t.Helper()

	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}

	req, err := http.NewRequestWithContext(t.Context(), method, p.stack.Endpoint+"/_local/rules"+query, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}

	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()

	out, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= http.StatusBadRequest {
		t.Fatalf("%s of the rules: %s %s %v", method, res.Status, out, err)
	}

	return out
}

// refuse lets AWS refuse a call of the functions for its rate until the account's rules are cleared: what happens next waits for us.
func (p *product) refuse(t *testing.T, service, action, code string) {
	t.Helper()
	p.local(t, http.MethodPost, "", map[string]any{
		"service": service, "action": action, "account": p.account,
		"then": map[string]any{"error": map[string]any{"status": 429, "code": code, "message": "not yet"}},
	})
}

// lose breaks the answers to the first two such calls: the first is refused for its rate, the second happens, and the SDK sends a third.
func (p *product) lose(t *testing.T, service, action string) {
	t.Helper()
	p.local(t, http.MethodPost, "", map[string]any{
		"service": service, "action": action, "account": p.account, "times": 2, "then": map[string]any{"lose": "response"},
	})
}

func (p *product) allow(t *testing.T) {
	t.Helper()
	p.local(t, http.MethodDelete, "?account="+p.account, nil)
}

// met counts the calls of the account's functions that a strict rule changed.
func (p *product) met(rule string) int {
	n := 0

	for _, c := range p.stack.Proxy().Calls() {
		if c.Account == p.account && isFunction(c) && slices.Contains(strings.Fields(c.Rule), "strict/"+rule) {
			n++
		}
	}

	return n
}

// until does something again and again until it says that it is enough, or the operation has ended.
func (p *product) until(t *testing.T, id, what string, enough func(operation) bool) {
	t.Helper()

	for {
		var op operation

		text := p.call(t, http.MethodGet, "/v1/operations/"+id, nil, 200)
		if err := json.Unmarshal(text, &op); err != nil {
			t.Fatal(err)
		}

		if enough(op) {
			return
		}

		if op.Done {
			t.Fatalf("the operation ended before %s: %s", what, text)
		}

		time.Sleep(200 * time.Millisecond) // bounded by the test's own deadline
	}
}

func (op operation) step(resource string) (state, waitingFor string) {
	for _, s := range op.Steps {
		if s.Resource == resource {
			return s.State, s.WaitingFor
		}
	}

	return "", ""
}

func (p *product) begin(t *testing.T, method, target string, body any) (id string, answer []byte) {
	t.Helper()

	var op operation

	answer = p.call(t, method, target, body, 202)
	if err := json.Unmarshal(answer, &op); err != nil {
		t.Fatal(err)
	}

	return op.ID, answer
}

// resources are the ids of a deployment's resources.
func (p *product) resources(t *testing.T, name string) map[string]string {
	t.Helper()

	var page struct{ Resources []struct{ Ref, ID string } }
	if err := json.Unmarshal(p.call(t, http.MethodGet, "/v1/deployments/"+name+"/resources?pageSize=100", nil, 200), &page); err != nil {
		t.Fatal(err)
	}

	ids := map[string]string{}
	for _, r := range page.Resources {
		ids[r.Ref] = r.ID
	}

	return ids
}

// takeOut takes the role out of an instance profile and answers its name.
func (p *product) takeOut(t *testing.T, profile string) string {
	t.Helper()

	api := iam.NewFromConfig(p.aws())
	role := made[*iam.GetInstanceProfileOutput](t)(api.GetInstanceProfile(t.Context(), &iam.GetInstanceProfileInput{InstanceProfileName: &profile})).InstanceProfile.Roles[0].RoleName
	made[*iam.RemoveRoleFromInstanceProfileOutput](t)(api.RemoveRoleFromInstanceProfile(t.Context(), &iam.RemoveRoleFromInstanceProfileInput{
		InstanceProfileName: &profile, RoleName: role,
	}))

	return aws.ToString(role)
}

func (p *product) putBack(t *testing.T, profile, role string) {
	t.Helper()
	made[*iam.AddRoleToInstanceProfileOutput](t)(iam.NewFromConfig(p.aws()).AddRoleToInstanceProfile(t.Context(), &iam.AddRoleToInstanceProfileInput{
		InstanceProfileName: &profile, RoleName: &role,
	}))
}

func (p *product) environment(ctx context.Context, t *testing.T, name string) batchtypes.ComputeEnvironmentDetail {
	t.Helper()

	out := made[*batch.DescribeComputeEnvironmentsOutput](t)(batch.NewFromConfig(p.aws()).DescribeComputeEnvironments(ctx,
		&batch.DescribeComputeEnvironmentsInput{ComputeEnvironments: []string{name}}))
	if len(out.ComputeEnvironments) == 0 {
		t.Fatalf("there is no environment %s", name)
	}

	return out.ComputeEnvironments[0]
}

// judged lets Batch judge an environment anew and answers what came of it.
func (p *product) judged(ctx context.Context, t *testing.T, name string) batchtypes.CEStatus {
	t.Helper()
	made[*batch.UpdateComputeEnvironmentOutput](t)(batch.NewFromConfig(p.aws()).UpdateComputeEnvironment(ctx, &batch.UpdateComputeEnvironmentInput{
		ComputeEnvironment: &name, State: batchtypes.CEStateEnabled,
	}))

	return p.settled(ctx, t, name)
}

// roleSwappedWhileMade: while the environment is being made, an administrator takes its role out of the profile and puts it in again, which makes the role
// young; and once more before the queue is made, so that the environment that was ready turns INVALID under it. Nothing of this fails the create.
func roleSwappedWhileMade(t *testing.T, p *product) {
	const environment, queue = "compute-environment/default", "job-queue/default"

	p.refuse(t, "batch", "CreateComputeEnvironment", "TooManyRequestsException")
	p.refuse(t, "batch", "CreateJobQueue", "TooManyRequestsException")

	id, created := p.begin(t, http.MethodPost, "/v1/deployments", map[string]any{"name": "swapped"})
	p.until(t, id, "the environment was asked for", func(op operation) bool {
		state, _ := op.step(environment)

		return state == "RUNNING"
	})

	ids := p.resources(t, "swapped")
	swap := func() { p.putBack(t, ids["instance-profile"], p.takeOut(t, ids["instance-profile"])) }

	swap()
	p.allow(t)
	p.refuse(t, "batch", "CreateJobQueue", "TooManyRequestsException")
	p.until(t, id, "a young role was met", func(operation) bool {
		swap()

		return p.met("young-role") > 0
	})
	p.until(t, id, "the environment was ready", func(op operation) bool {
		state, _ := op.step(environment)

		return state == "READY"
	})

	name := p.resources(t, "swapped")[environment]

	for swap(); p.judged(t.Context(), t, name) != batchtypes.CEStatusInvalid; swap() {
	}

	p.allow(t)
	p.until(t, id, "the queue was refused", func(operation) bool { return p.met("queue-environments") > 0 })

	for p.judged(t.Context(), t, name) != batchtypes.CEStatusValid {
		time.Sleep(time.Second) // until the role is no longer young
	}

	op := p.end(t, created, "SUCCEEDED")
	if state, _ := op.step(queue); state != "READY" {
		t.Errorf("the queue is %s", state)
	}
}

// roleGoneBeforeDelete: the delete of a deployment whose environment lost its role, and which somebody else's queue uses. Batch lets go of neither; the caller
// learns why, puts things right, and resumes. The answers to the first calls that change environment and queue are lost.
func roleGoneBeforeDelete(t *testing.T, p *product) {
	const environment = "compute-environment/default"

	p.create(t, "stuck", map[string]any{})

	ids, queues := p.resources(t, "stuck"), batch.NewFromConfig(p.aws())
	role := p.takeOut(t, ids["instance-profile"])
	foreign := made[*batch.CreateJobQueueOutput](t)(queues.CreateJobQueue(t.Context(), &batch.CreateJobQueueInput{
		JobQueueName: aws.String("foreign"), Priority: aws.Int32(1), State: batchtypes.JQStateDisabled,
		ComputeEnvironmentOrder: []batchtypes.ComputeEnvironmentOrder{{Order: aws.Int32(1), ComputeEnvironment: aws.String(ids[environment])}},
	}))

	for _, action := range []string{"UpdateJobQueue", "DeleteJobQueue", "UpdateComputeEnvironment"} {
		p.lose(t, "batch", action)
	}

	id, deleted := p.begin(t, http.MethodDelete, "/v1/deployments/stuck?data=purge", nil)

	p.until(t, id, "the foreign queue was in the way", func(operation) bool { return p.met("batch-enabled") > 0 })

	in := &batch.DescribeJobQueuesInput{JobQueues: []string{"foreign"}}
	for made[*batch.DescribeJobQueuesOutput](t)(queues.DescribeJobQueues(t.Context(), in)).JobQueues[0].Status != batchtypes.JQStatusValid {
	}

	made[*batch.DeleteJobQueueOutput](t)(queues.DeleteJobQueue(t.Context(), &batch.DeleteJobQueueInput{JobQueue: foreign.JobQueueArn}))

	for len(made[*batch.DescribeJobQueuesOutput](t)(queues.DescribeJobQueues(t.Context(), in)).JobQueues) > 0 {
	}

	p.until(t, id, "the environment was stuck", func(op operation) bool {
		_, waitingFor := op.step(environment)

		return strings.Contains(waitingFor, "sts:AssumeRole")
	})

	if p.met("batch-modified") == 0 {
		t.Error("no call was sent again while Batch was at work on the first")
	}

	// Nobody here waits for half an hour.
	p.until(t, id, "it was given up", func(op operation) bool {
		p.age(t, environment, time.Hour)

		return op.Done
	})

	op := p.end(t, deleted, "NEEDS_ATTENTION")
	if e := op.Error; e == nil || e.Resource != environment || e.Remedy == "" {
		t.Errorf("the error should be the environment's, with a remedy: %+v", op.Error)
	}

	for resource, want := range map[string]string{"job-queue/default": "GONE", environment: "FAILED", "instance-profile": "SKIPPED", "subnet/1": "SKIPPED"} {
		if state, _ := op.step(resource); state != want {
			t.Errorf("%s is %s, want %s", resource, state, want)
		}
	}

	p.putBack(t, ids["instance-profile"], role)

	_, resumed := p.begin(t, http.MethodPost, "/v1/operations/"+op.ID+":resume", nil)
	p.finish(t, resumed)
	p.call(t, http.MethodGet, "/v1/deployments/stuck", nil, 404)

	if out := made[*batch.DescribeComputeEnvironmentsOutput](t)(queues.DescribeComputeEnvironments(t.Context(), &batch.DescribeComputeEnvironmentsInput{})); len(out.ComputeEnvironments) > 0 {
		t.Errorf("%d environments are left", len(out.ComputeEnvironments))
	}
}

var moment = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`)

// age moves every time in the record of a resource back, as if it had begun earlier. It knows no more of the record than that a time is written as RFC 3339 has
// it, and stands back when somebody has written meanwhile.
func (p *product) age(t *testing.T, resource string, by time.Duration) {
	t.Helper()

	table := dynamodb.NewFromConfig(p.aws())
	name := made[*dynamodb.ListTablesOutput](t)(table.ListTables(t.Context(), &dynamodb.ListTablesInput{})).TableNames[0]

	for _, it := range made[*dynamodb.ScanOutput](t)(table.Scan(t.Context(), &dynamodb.ScanInput{TableName: &name})).Items {
		sort, _ := it["sk"].(*dynamotypes.AttributeValueMemberS)
		body, _ := it["body"].(*dynamotypes.AttributeValueMemberS)

		if sort == nil || body == nil || !strings.HasSuffix(sort.Value, "#"+resource) {
			continue
		}

		before := it["version"]
		it["body"] = &dynamotypes.AttributeValueMemberS{Value: moment.ReplaceAllStringFunc(body.Value, func(text string) string {
			at, err := time.Parse(time.RFC3339Nano, text)
			if err != nil || at.Year() < 2000 {
				return text // the zero time
			}

			return at.Add(-by).Format(time.RFC3339Nano)
		})}

		_, err := table.PutItem(t.Context(), &dynamodb.PutItemInput{
			TableName: &name, Item: it, ConditionExpression: aws.String("#version = :read"),
			ExpressionAttributeNames: map[string]string{"#version": "version"}, ExpressionAttributeValues: map[string]dynamotypes.AttributeValue{":read": before},
		})
		if _, late := errors.AsType[*dynamotypes.ConditionalCheckFailedException](err); err != nil && !late {
			t.Fatal(err)
		}
	}
}

// boundaryGone: somebody deleted the installation's permissions boundary. No role is made without it, and the caller learns what is missing.
func boundaryGone(t *testing.T, p *product) {
	api := iam.NewFromConfig(p.aws())

	for _, one := range made[*iam.ListPoliciesOutput](t)(api.ListPolicies(t.Context(), &iam.ListPoliciesInput{Scope: iamtypes.PolicyScopeTypeLocal})).Policies {
		made[*iam.DeletePolicyOutput](t)(api.DeletePolicy(t.Context(), &iam.DeletePolicyInput{PolicyArn: one.Arn}))
	}

	op := p.end(t, p.call(t, http.MethodPost, "/v1/deployments", map[string]any{"name": "unbound"}, 202), "ROLLED_BACK")
	if e := op.Error; e == nil || e.AWSCode != "NoSuchEntity" || e.Code != "boundary_missing" || e.Remedy == "" {
		t.Errorf("the error should tell that the boundary is missing, with a remedy: %+v", op.Error)
	}
}

// endpointThere: while the deployment's network is made, somebody puts an endpoint of their own into its route table, where there is no room for a second, and a
// security group that names the deployment's. The rollback waits until both are gone.
func endpointThere(t *testing.T, p *product) {
	p.refuse(t, "ec2", "CreateVpcEndpoint", "RequestLimitExceeded")

	id, created := p.begin(t, http.MethodPost, "/v1/deployments", map[string]any{"name": "crowded"})
	p.until(t, id, "the endpoint was asked for", func(op operation) bool {
		endpoint, _ := op.step("vpc-endpoint")
		group, _ := op.step("security-group/jobs")

		return endpoint == "RUNNING" && group == "READY"
	})

	ids, network := p.resources(t, "crowded"), ec2.NewFromConfig(p.aws())
	theirs := made[*ec2.CreateVpcEndpointOutput](t)(network.CreateVpcEndpoint(t.Context(), &ec2.CreateVpcEndpointInput{
		VpcId: aws.String(ids["vpc"]), RouteTableIds: []string{ids["route-table"]}, VpcEndpointType: ec2types.VpcEndpointTypeGateway,
		ServiceName: aws.String("com.amazonaws." + local.Region + ".s3"),
	})).VpcEndpoint.VpcEndpointId
	group := made[*ec2.CreateSecurityGroupOutput](t)(network.CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{
		VpcId: aws.String(ids["vpc"]), GroupName: aws.String("theirs"), Description: aws.String("theirs"),
	})).GroupId
	made[*ec2.AuthorizeSecurityGroupIngressOutput](t)(network.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: group, IpPermissions: []ec2types.IpPermission{{IpProtocol: aws.String("-1"), UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: aws.String(ids["security-group/jobs"])}}}},
	}))
	p.allow(t)
	p.until(t, id, "their endpoint was in the way", func(operation) bool { return p.met("endpoint-route-taken") > 0 })
	made[*ec2.DeleteVpcEndpointsOutput](t)(network.DeleteVpcEndpoints(t.Context(), &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{*theirs}}))
	p.until(t, id, "their group was in the way", func(operation) bool { return p.met("ec2-dependents") > 0 })
	made[*ec2.DeleteSecurityGroupOutput](t)(network.DeleteSecurityGroup(t.Context(), &ec2.DeleteSecurityGroupInput{GroupId: group}))

	op := p.end(t, created, "ROLLED_BACK")
	if e := op.Error; e == nil || e.Resource != "vpc-endpoint" || e.AWSCode != "RouteAlreadyExists" || e.Code != "endpoint_route_taken" || e.Remedy == "" {
		t.Errorf("the error should be the endpoint's, with a remedy: %+v", op.Error)
	}
}

// direct begins the access keys of what is neither a person nor one of the product's functions.
const direct = "direct"

// askedDirectly meets what the product is built never to meet: it disables what it deletes, and asks STS nothing.
func askedDirectly(t *testing.T, p *product) {
	cfg := p.aws()
	cfg.Credentials = credentials.NewStaticCredentialsProvider("LOCAL-"+p.account+"-"+direct+"-0", "local", "")
	cfg.RetryMaxAttempts = 1

	b := &brought{p: p, queueName: "direct"}
	b.bringNetwork(t.Context(), t)
	b.bringQueue(t.Context(), t)

	queues := batch.NewFromConfig(p.aws())

	_, queue := queues.DeleteJobQueue(t.Context(), &batch.DeleteJobQueueInput{JobQueue: &b.queue})
	_, environment := queues.DeleteComputeEnvironment(t.Context(), &batch.DeleteComputeEnvironmentInput{ComputeEnvironment: &b.environment})
	_, identity := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})

	got := []string{refusal(queue), refusal(environment), refusal(identity)}
	want := []string{
		"ClientException: Cannot delete, job queue state must be DISABLED", "ClientException: Cannot delete, compute environment state must be DISABLED",
		"Throttling: Rate exceeded",
	}

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is ENABLED, and the first call to STS (-want +got):\n%s", diff)
	}
}

func refusal(err error) string {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return fmt.Sprint(err)
	}

	return api.ErrorCode() + ": " + api.ErrorMessage()
}

// isFunction tells the product's functions from people, jobs and what a test pretends to be.
func isFunction(c awsproxy.Call) bool {
	_, err := os.Stat(path.Join("..", "..", "functions", c.Function))

	return c.Function != "" && err == nil
}

// neverMet are the rules that the product is built never to meet.
func neverMet() []string { return []string{"strict/throttle-sts"} }

// strictRules holds the journal against the table: each rule was met by the product and overcome in the lives above, or is one that it never meets.
func strictRules(p *product) func(*testing.T) {
	return func(t *testing.T) {
		var page struct {
			Strict []struct{ Name string }
		}
		if err := json.Unmarshal(p.local(t, http.MethodGet, "", nil), &page); err != nil {
			t.Fatal(err)
		}

		product, others := map[string]int{}, map[string]int{}

		for _, c := range p.stack.Proxy().Calls() {
			for name := range strings.FieldsSeq(c.Rule) {
				if isFunction(c) {
					product[name]++
				} else {
					others[name]++
				}

				// Of this rule's two halves the product meets one only: an environment that somebody else's queue uses.
				if isFunction(c) && name == "strict/batch-enabled" && c.Action == "DeleteJobQueue" {
					t.Errorf("the product deleted the queue %s while it was ENABLED", c.Target)
				}
			}
		}

		through, asked := 0, 0

		for _, rule := range page.Strict {
			t.Logf("%-32s %4d times in the product's way, %4d in others'", rule.Name, product[rule.Name], others[rule.Name])

			switch never := slices.Contains(neverMet(), rule.Name); {
			case never && product[rule.Name] > 0:
				t.Errorf("the product met %s, which it is built never to meet", rule.Name)
			case never && others[rule.Name] == 0, !never && product[rule.Name] == 0:
				t.Errorf("nobody met %s", rule.Name)
			case never:
				asked++
			default:
				through++
			}
		}

		if len(page.Strict) == 0 {
			t.Error("there are no strict rules")
		}

		t.Logf("%d rules: %d overcome by the product, %d asked directly", len(page.Strict), through, asked)
	}
}
