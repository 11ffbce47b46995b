package policy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	batchtypes "github.com/aws/aws-sdk-go-v2/service/batch/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	"github.com/aws/aws-sdk-go-v2/service/sfn"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/awssfn"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/samtemplate"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/dynamo"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/memory"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/policy"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

const (
	installation = "simulated" // the simulation's
	stack        = "metaflow-deployer"
	account      = "123456789012"
	region       = "us-east-1"
	table        = stack + "-Table"
	machine      = "arn:aws:states:us-east-1:123456789012:stateMachine:" + stack + "-StateMachine"
	// The boundary's ARN in the simulation, and in a stack of the template.
	simulatedBoundary = "arn:aws:iam::123456789012:policy/boundary"
	boundary          = "arn:aws:iam::123456789012:policy/metaflow-deployer/simulated/metaflow-deployer-Boundary"
)

func inputs() samtemplate.Inputs {
	return samtemplate.Inputs{
		Region: region, Account: account, StackName: stack, APIEndpoint: "https://api.invalid", Parameters: map[string]string{"Installation": installation},
	}
}

func grants(t *testing.T) *policy.Grants {
	t.Helper()

	g, err := policy.ReadTemplate(filepath.Join(simulation.Root(), "template.yaml"), inputs())
	if err != nil {
		t.Fatal(err)
	}

	return g
}

// journal records what the functions of a simulated installation call: AWS through the fakes, the table and Step Functions through the real
// store/dynamo and awssfn on clients that only take down what they are asked.
type journal struct {
	t *testing.T
	w *simulation.World

	mu      sync.Mutex
	last    string
	entries []entry
}

type entry struct {
	call policy.Call
	sdk  any // the input as the fake got it
}

// record begins a journal. Break, where set, is asked at every point as World.Fault is.
func record(t *testing.T, w *simulation.World, fault func(point string) simulation.Action) *journal {
	t.Helper()

	j := &journal{t: t, w: w}

	w.Fault = func(point string) simulation.Action {
		j.last = point

		if fault == nil {
			return simulation.None
		}

		return fault(point)
	}

	onAWS, onStore := w.AWS.Fault, w.Store.Fault

	w.AWS.Fault = func(ctx context.Context, c awsfake.Call) awsfake.Fault {
		j.mu.Lock()
		defer j.mu.Unlock()

		j.last = ""
		f := onAWS(ctx, c)
		j.add(j.caller(), c.Service, c.Operation, c.Input, c.Input)

		return f
	}

	w.Store.Fault = func(ctx context.Context, method string, key deploy.Key) memory.Fault {
		j.mu.Lock()
		defer j.mu.Unlock()

		j.last = ""
		f := onStore(ctx, method, key)
		j.store(ctx, method, key)

		return f
	}

	return j
}

// caller tells which function is at the point that was passed last. What comes from no invocation is what the test itself does, in place of the API.
func (j *journal) caller() string {
	verb, rest, _ := strings.Cut(j.last, " ")

	switch workflow.Verb(verb) {
	case "":
		return "api"
	case workflow.VerbEnsure, workflow.VerbRemove:
		ref, _, _ := strings.Cut(rest, " ")

		k, ok := j.w.Graphs.Kinds.Find(deploy.Ref(ref).Kind())
		if !ok {
			j.t.Errorf("the point %q names no kind", j.last)

			return ""
		}

		return k.About().Family
	case workflow.VerbBegin, workflow.VerbRecord, workflow.VerbSettle, workflow.VerbClose:
		return "workflow"
	default:
		return verb
	}
}

func (j *journal) add(function, service, operation string, in, sdk any) {
	data, err := json.Marshal(in)
	if err != nil {
		j.t.Errorf("%s.%s: %v", service, operation, err)

		return
	}

	var m map[string]any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(data), simulatedBoundary, boundary)), &m); err != nil {
		j.t.Errorf("%s.%s: %v", service, operation, err)

		return
	}

	j.entries = append(j.entries, entry{policy.Call{Function: function, Service: service, Action: operation, Input: m}, sdk})
}

// store takes down what store/dynamo calls for a method of the store. Only Close and a watchdog that gives up drop items.
func (j *journal) store(ctx context.Context, method string, key deploy.Key) {
	caller := j.caller()
	db := dynamo.New(&takesDown{add: func(operation string, in any) { j.add(caller, "dynamodb", operation, in, nil) }}, table)

	entry := deploy.Entry{ID: "1", Tenant: key.Tenant, Deployment: key.Name}
	grant, hook := deploy.Grant{Tenant: key.Tenant, Kind: deploy.GrantBucket, Value: "b"}, deploy.Webhook{ID: "a", Tenant: key.Tenant}
	change := &store.Change{
		Deployment: &deploy.Deployment{Key: key}, Operations: []deploy.Operation{{ID: "a"}}, Resources: []deploy.Resource{{Ref: "vpc"}},
		Events: []deploy.Event{{Key: key, Sequence: 1}}, Entries: []deploy.Entry{entry},
		Usage: &store.Usage{Usage: deploy.Usage{Operations: 1}, Limit: deploy.Usage{Operations: 2}},
	}
	if strings.HasPrefix(j.last, string(workflow.VerbClose)) {
		change.Drop = []deploy.Resource{{Ref: "job-role", Version: 1}}
	}

	var err error

	switch method {
	case "Load":
		_, err = db.Load(ctx, key)
	case "Commit":
		err = db.Commit(ctx, key, change)
	case "Save":
		err = db.Save(ctx, key, &deploy.Resource{Ref: "vpc"})
	case "Operation":
		_, err = db.Operation(ctx, key, "a")
	case "Operations":
		_, err = db.Operations(ctx, key, 1, "")
	case "Deployments":
		_, _, err = db.Deployments(ctx, store.List{Tenant: key.Tenant, Size: 1})
	case "Unfinished":
		_, err = db.Unfinished(ctx, time.Now(), 1)
	case "Claim":
		_, err = db.Claim(ctx, store.Claim{Tenant: key.Tenant, Key: "k"})
	case "Release":
		err = db.Release(ctx, store.Claim{Tenant: key.Tenant, Key: "k"})
	case "Orphans":
		_, _, err = db.Orphans(ctx, 1, "")
	case "NoteOrphan":
		err = db.NoteOrphan(ctx, deploy.Orphan{Key: key})
	case "ForgetOrphan":
		err = db.ForgetOrphan(ctx, "vpc#1")
	case "Sweeps":
		_, err = db.Sweeps(ctx)
	case "NoteSweep":
		err = db.NoteSweep(ctx, deploy.Sweep{Family: "ec2"})
	case "Usage":
		_, err = db.Usage(ctx, key.Tenant)
	case "Queued":
		_, err = db.Queued(ctx, key.Tenant, 1)
	case "QueuedTenants":
		_, err = db.QueuedTenants(ctx, "", 1)
	case "Expiring":
		_, err = db.Expiring(ctx, time.Now(), 1)
	case "Append":
		err = db.Append(ctx, entry)
	case "Entries":
		_, _, _, err = db.Entries(ctx, key.Tenant, key.Name, 1, "")
	case "Grants":
		_, err = db.Grants(ctx, key.Tenant)
	case "Allow":
		err = db.Allow(ctx, grant, entry)
	case "Withdraw":
		err = db.Withdraw(ctx, grant, entry)
	case "Webhooks":
		_, err = db.Webhooks(ctx, key.Tenant)
	case "Subscribe":
		err = db.Subscribe(ctx, hook, entry)
	case "Unsubscribe":
		err = db.Unsubscribe(ctx, key.Tenant, hook.ID, entry)
	case "NoteCallback":
		err = db.NoteCallback(ctx, deploy.Callback{Key: key, RequestID: "a"})
	case "ForgetCallback":
		err = db.ForgetCallback(ctx, key, "a")
	case "Callbacks":
		_, err = db.Callbacks(ctx, key)
	case "Overdue":
		_, err = db.Overdue(ctx, time.Now(), 1)
	default:
		err = fmt.Errorf("the store's method %s is not known here", method)
	}

	if err != nil && !errors.Is(err, store.ErrNotFound) {
		j.t.Errorf("%s: %v", method, err)
	}
}

// calls are what was recorded, with the outcome where a fake knows it.
func (j *journal) calls() []policy.Call {
	codes := map[any]string{}
	for _, c := range j.w.AWS.Calls() {
		codes[c.Input] = c.Code
	}

	j.mu.Lock()
	defer j.mu.Unlock()

	var list []policy.Call

	for _, e := range j.entries {
		if e.sdk != nil {
			e.call.Code = codes[e.sdk]
		}

		list = append(list, e.call)
	}

	return list
}

// takesDown is a table in which nothing is found and every write succeeds.
type takesDown struct {
	add func(operation string, in any)
}

func (d *takesDown) Query(_ context.Context, in *dynamodb.QueryInput, _ ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	d.add("Query", in)

	return &dynamodb.QueryOutput{}, nil
}

func (d *takesDown) GetItem(_ context.Context, in *dynamodb.GetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	d.add("GetItem", in)

	return &dynamodb.GetItemOutput{}, nil
}

func (d *takesDown) PutItem(_ context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	d.add("PutItem", in)

	return &dynamodb.PutItemOutput{}, nil
}

func (d *takesDown) DeleteItem(_ context.Context, in *dynamodb.DeleteItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error) {
	d.add("DeleteItem", in)

	return &dynamodb.DeleteItemOutput{}, nil
}

func (d *takesDown) TransactWriteItems(
	_ context.Context, in *dynamodb.TransactWriteItemsInput, _ ...func(*dynamodb.Options),
) (*dynamodb.TransactWriteItemsOutput, error) {
	d.add("TransactWriteItems", in)

	return &dynamodb.TransactWriteItemsOutput{}, nil
}

// tellsSteps takes down what awssfn asks of Step Functions.
type tellsSteps struct {
	add func(operation string, in any)
}

func (s *tellsSteps) StartExecution(_ context.Context, in *sfn.StartExecutionInput, _ ...func(*sfn.Options)) (*sfn.StartExecutionOutput, error) {
	s.add("StartExecution", in)

	return &sfn.StartExecutionOutput{}, nil
}

func (s *tellsSteps) DescribeExecution(_ context.Context, in *sfn.DescribeExecutionInput, _ ...func(*sfn.Options)) (*sfn.DescribeExecutionOutput, error) {
	s.add("DescribeExecution", in)

	return &sfn.DescribeExecutionOutput{}, nil
}

// starter is the simulation's engine with a journal of what awssfn would have called.
type starter struct {
	workflow.Starter
	aws *awssfn.Starter
	// lost: the next start has no effect.
	lost bool
}

func (s *starter) Start(ctx context.Context, e workflow.Execution) error {
	if err := s.aws.Start(ctx, e); err != nil {
		return err
	}

	if s.lost {
		s.lost = false

		return nil
	}

	return s.Starter.Start(ctx, e)
}

func (s *starter) Alive(ctx context.Context, e workflow.Execution) (alive, known bool, err error) {
	if _, _, err := s.aws.Alive(ctx, e); err != nil {
		return false, false, err
	}

	return s.Starter.Alive(ctx, e)
}

// steps puts the journal in front of the engine, for the API and the watchdog, and of Service Quotas.
func (j *journal) steps(lost bool) {
	quota := j.w.Control.Quota
	j.w.Control.Quota = func(ctx context.Context, service, code string, otherwise int) int {
		j.mu.Lock()
		j.add("api", "servicequotas", "GetServiceQuota", &servicequotas.GetServiceQuotaInput{ServiceCode: &service, QuotaCode: &code}, nil)
		j.mu.Unlock()

		return quota(ctx, service, code, otherwise)
	}

	j.w.Control.Permits = permits(&judge{t: j.t, grants: grants(j.t), told: func(in *iam.SimulatePrincipalPolicyInput) {
		j.mu.Lock()
		defer j.mu.Unlock()

		j.add("api", "iam", "SimulatePrincipalPolicy", in, nil)
	}})

	for function, at := range map[string]*workflow.Starter{"api": &j.w.Control.Starter, "watchdog": &j.w.Dog.Starter} {
		*at = &starter{Starter: *at, aws: awssfn.New(&tellsSteps{add: func(operation string, in any) {
			j.mu.Lock()
			defer j.mu.Unlock()

			j.add(function, "sfn", operation, in, nil)
		}}, machine), lost: lost && function == "api"}
	}
}

var (
	key   = deploy.Key{Tenant: "acme", Name: "research"}
	admin = deploy.Principal{Tenant: "acme", Actor: "ada", Roles: []deploy.Role{deploy.Viewer, deploy.Deployer, deploy.Admin}}
)

// scenario is one life of a deployment.
type scenario struct {
	reason string
	// before lays out what exists, and says what it is tagged with.
	before func(ctx context.Context, t *testing.T, w *simulation.World, spec *deploy.Spec) map[string]map[string]string
	// during changes what exists while the deployment stands, as people do.
	during func(ctx context.Context, t *testing.T, w *simulation.World)
	fault  func(point string) simulation.Action
	// lives is what happens while the deployment stands, all of it in the journal but for what it sets aside.
	lives func(ctx context.Context, t *testing.T, w *simulation.World, j *journal)
	// lost: the first execution never comes to be.
	lost  bool
	fails bool
	data  deploy.Data
}

func scenarios() map[string]scenario {
	var brought deploy.Spec

	return map[string]scenario{
		"stacked": {
			reason: "a CloudFormation stack has deployments too, of what is the owner's and of its own",
			before: func(ctx context.Context, t *testing.T, w *simulation.World, spec *deploy.Spec) map[string]map[string]string {
				t.Helper()

				there := existing(ctx, t, w, spec, true)
				brought = *spec

				return there
			},
			lives: stacked(&brought),
			data:  deploy.Purge,
		},
		"default": {
			reason: "the environment of an empty spec, removed with its data",
			during: func(ctx context.Context, t *testing.T, w *simulation.World) {
				t.Helper()
				fill(ctx, t, w)
			},
			data: deploy.Purge,
		},
		"kept": {
			reason: "a delete that keeps the data",
			during: func(ctx context.Context, t *testing.T, w *simulation.World) {
				t.Helper()
				fill(ctx, t, w)
			},
			data: deploy.Keep,
		},
		"existing": {
			reason: "network, bucket and job role are the owner's",
			before: func(ctx context.Context, t *testing.T, w *simulation.World, spec *deploy.Spec) map[string]map[string]string {
				t.Helper()

				return existing(ctx, t, w, spec, false)
			},
			data: deploy.Purge,
		},
		"existing group": {
			reason: "the security group is the owner's too",
			before: func(ctx context.Context, t *testing.T, w *simulation.World, spec *deploy.Spec) map[string]map[string]string {
				t.Helper()

				return existing(ctx, t, w, spec, true)
			},
			data: deploy.Purge,
		},
		"abandoned": {reason: "the execution is lost and the watchdog starts the operation again", lost: true, data: deploy.Purge},
		"named": {
			reason: "instance types are named, an environment is unmanaged, jobs are left in the queue",
			before: func(_ context.Context, _ *testing.T, _ *simulation.World, spec *deploy.Spec) map[string]map[string]string {
				spec.Compute.Environments = []deploy.Environment{{Name: "big", InstanceTypes: []string{"m5.large"}}, {Name: "own", Type: deploy.Unmanaged}}

				return nil
			},
			during: func(ctx context.Context, t *testing.T, w *simulation.World) {
				t.Helper()

				out, err := w.AWS.Batch.DescribeJobQueues(ctx, &batch.DescribeJobQueuesInput{})
				if err != nil || len(out.JobQueues) != 1 {
					t.Fatalf("one queue is wanted: %v, %v", out, err)
				}

				w.AWS.Batch.Submit(*out.JobQueues[0].JobQueueName, batchtypes.JobStatusRunnable)
			},
			data: deploy.Purge,
		},
		"swept": {
			reason: "the record loses one resource after the other, and the sweeper removes them",
			lives:  forgotten,
			data:   deploy.Purge,
		},
		"changed": {
			reason: "the environment is verified, changed in place and by replacement, looked at for drift and repaired",
			lives: func(ctx context.Context, t *testing.T, w *simulation.World, _ *journal) {
				t.Helper()
				change(ctx, t, w)
			},
			data: deploy.Purge,
		},
		"rolled back": {
			reason: "the queue is refused and everything goes again",
			fault: func(point string) simulation.Action {
				if strings.Contains(point, "batch.CreateJobQueue") {
					return simulation.Refuse
				}

				return simulation.None
			},
			fails: true,
		},
	}
}

// bucketOf finds the deployment's bucket.
func bucketOf(ctx context.Context, t *testing.T, w *simulation.World) string {
	t.Helper()

	r, err := w.Store.Load(ctx, key)
	if err != nil {
		t.Fatal(err)
	}

	return r.Find("bucket").ID
}

// fill puts objects, old versions and an unfinished upload into the deployment's bucket, as Metaflow does.
func fill(ctx context.Context, t *testing.T, w *simulation.World) {
	t.Helper()

	bucket := aws.String(bucketOf(ctx, t, w))

	for range 2 {
		if _, err := w.AWS.S3.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("flows/a")}); err != nil {
			t.Fatal(err)
		}
	}

	if _, err := w.AWS.S3.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String("flows/b")}); err != nil {
		t.Fatal(err)
	}
}

// existing lays out a network, with or without a security group to use, a bucket and a job role that are not ours.
func existing(ctx context.Context, t *testing.T, w *simulation.World, spec *deploy.Spec, grouped bool) map[string]map[string]string {
	t.Helper()

	must := func(err error) {
		t.Helper()

		if err != nil {
			t.Fatal(err)
		}
	}

	vpc, err := w.AWS.EC2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	must(err)
	time.Sleep(time.Minute) // virtual: what is new is not seen at once

	_, err = w.AWS.EC2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{
		VpcId: vpc.Vpc.VpcId, EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(true)},
	})
	must(err)

	subnet, err := w.AWS.EC2.CreateSubnet(ctx, &ec2.CreateSubnetInput{
		VpcId: vpc.Vpc.VpcId, CidrBlock: aws.String("10.0.0.0/24"), AvailabilityZone: aws.String(region + "a"),
	})
	must(err)

	group, err := w.AWS.EC2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		VpcId: vpc.Vpc.VpcId, GroupName: aws.String("jobs"), Description: aws.String("Jobs"),
	})
	must(err)

	_, err = w.AWS.S3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("data-of-ours")})
	must(err)

	_, err = w.AWS.IAM.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("jobs"), AssumeRolePolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)})
	must(err)

	time.Sleep(time.Minute)

	spec.Network.Existing = &deploy.ExistingNetwork{VPCID: *vpc.Vpc.VpcId, SubnetIDs: []string{*subnet.Subnet.SubnetId}}
	spec.Storage.Existing = &deploy.ExistingBucket{Bucket: "data-of-ours"}
	spec.Access.Existing = &deploy.ExistingAccess{JobRoleARN: "arn:aws:iam::" + account + ":role/jobs"}

	if grouped {
		spec.Network.Existing.SecurityGroupIDs = []string{*group.GroupId}
	}

	return map[string]map[string]string{*vpc.Vpc.VpcId: nil, *subnet.Subnet.SubnetId: nil, *group.GroupId: nil, "data-of-ours": nil}
}

// run lives a scenario and answers what AWS was to authorize in it.
func run(t *testing.T, s scenario) []policy.Ask {
	t.Helper()

	var (
		calls []policy.Call
		there map[string]map[string]string
	)

	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()

		w, err := simulation.NewWorld(1)
		if err != nil {
			t.Fatal(err)
		}

		var spec deploy.Spec
		if s.before != nil {
			there = s.before(ctx, t, w, &spec)
		}

		j := record(t, w, s.fault)
		j.steps(s.lost)

		claim := &store.Claim{Tenant: key.Tenant, Key: "once", Fingerprint: "a"}
		if _, err := w.Control.Create(ctx, admin, workflow.CreateRequest{Name: key.Name, Spec: spec.WithDefaults(), Claim: claim}); err != nil {
			t.Fatal(err)
		}

		header, err := w.Settle(ctx, key)
		if err != nil {
			t.Fatal(err)
		}

		if want := map[bool]deploy.Phase{false: deploy.PhaseActive, true: deploy.PhaseFailed}[s.fails]; header.Phase != want {
			t.Fatalf("the deployment is %s, want %s", header.Phase, want)
		}

		look(ctx, t, w, header)

		if !s.fails {
			if s.during != nil {
				aside(j, func() { s.during(ctx, t, w) })
			}

			if s.lives != nil {
				s.lives(ctx, t, w, j)
			}

			if _, err := w.Control.Delete(ctx, admin, workflow.DeleteRequest{Name: key.Name, Data: s.data}); err != nil {
				t.Fatal(err)
			}

			if header, err = w.Settle(ctx, key); err != nil || header.Phase != deploy.PhaseDeleted {
				t.Fatalf("the deployment is %s, %v; want DELETED", header.Phase, err)
			}
		}

		calls = j.calls()
	})

	place := policy.Place{Partition: "aws", Region: region, Account: account}

	asks, err := policy.NewWorld(place, map[string]string{deploy.TagInstallation: installation}, there).Asks(calls)
	if err != nil {
		t.Fatal(err)
	}

	return asks
}

// change does to a deployment whatever may be done to one that stands.
func change(ctx context.Context, t *testing.T, w *simulation.World) {
	t.Helper()

	spec := deploy.Spec{
		Compute: deploy.Compute{
			Environments: []deploy.Environment{{Name: "default", MaxVcpus: 128, DiskGiB: 200}, {Name: "more"}},
			Queues:       []deploy.Queue{{Name: "default", Priority: 3, Environments: []string{"default", "more"}}, {Name: "second", Environments: []string{"more"}}},
		},
		Tags: map[string]string{"team": "ml"},
	}
	second := spec
	second.Compute.Environments = []deploy.Environment{spec.Compute.Environments[0], {Name: "more", Type: deploy.Unmanaged}}
	second.Compute.Queues = spec.Compute.Queues[:1]

	request := workflow.UpdateRequest{Name: key.Name}

	for _, step := range []struct {
		what string
		act  func(context.Context) (workflow.Admitted, error)
	}{
		{"verify", func(ctx context.Context) (workflow.Admitted, error) { return w.Control.Verify(ctx, admin, request) }},
		{"update", func(ctx context.Context) (workflow.Admitted, error) {
			r := request
			r.Spec = spec.WithDefaults()

			return w.Control.Update(ctx, admin, r)
		}},
		{"replace", func(ctx context.Context) (workflow.Admitted, error) {
			r := request
			r.Spec = second.WithDefaults()

			return w.Control.Update(ctx, admin, r)
		}},
		{"repair", func(ctx context.Context) (workflow.Admitted, error) { return w.Control.Repair(ctx, admin, request) }},
	} {
		if err := w.Call(ctx, "api", func(ctx context.Context) error {
			_, err := step.act(ctx)

			return err
		}); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}

		if header, err := w.Settle(ctx, key); err != nil || header.Phase != deploy.PhaseActive {
			t.Fatalf("after %s the deployment is %s, %v", step.what, header.Phase, err)
		}

		if err := w.Call(ctx, "api", func(ctx context.Context) error {
			found, err := w.Control.Drift(ctx, admin, key.Name)
			if err == nil && found.Drifted() {
				t.Errorf("after %s there is drift: %+v", step.what, found)
			}

			return err
		}); err != nil {
			t.Fatalf("drift after %s: %v", step.what, err)
		}
	}
}

// aside keeps what people do out of the journal.
func aside(j *journal, act func()) {
	j.mu.Lock()
	before := len(j.entries)
	j.mu.Unlock()

	act()

	j.mu.Lock()
	j.entries = j.entries[:before]
	j.mu.Unlock()
}

// look reads what the API's routes read.
func look(ctx context.Context, t *testing.T, w *simulation.World, header deploy.Deployment) {
	t.Helper()

	_, err1 := w.Store.Operation(ctx, key, header.Operation)
	_, err2 := w.Store.Operations(ctx, key, 10, "")
	_, _, err3 := w.Store.Deployments(ctx, store.List{Tenant: key.Tenant, Size: 10})

	_, _, err4 := w.Store.Orphans(ctx, 10, "")

	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}

	_, err1 = w.Control.Plan(ctx, admin, workflow.CreateRequest{Name: "another", Spec: header.Spec})
	_, err2 = w.Control.PlanUpdate(ctx, admin, workflow.UpdateRequest{Name: header.Name, Spec: header.Spec})

	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}

	claim := store.Claim{Tenant: key.Tenant, Key: "refused", Fingerprint: "a"}
	if _, err := w.Store.Claim(ctx, claim); err != nil {
		t.Fatal(err)
	}

	if err := w.Store.Release(ctx, claim); err != nil {
		t.Fatal(err)
	}
}

var digits = regexp.MustCompile(`[0-9a-f]{17}`)

// short drops the made-up part of ids, so that a list of refusals can be read.
func short(s string) string { return digits.ReplaceAllString(s, "1") }
