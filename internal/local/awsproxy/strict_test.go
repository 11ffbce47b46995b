package awsproxy_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
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
	"github.com/google/go-cmp/cmp"
)

// TestStrict holds what needs moto and strict rules. The clock of the endpoint stands still unless a test moves it.
func TestStrict(t *testing.T) {
	t.Parallel()

	b := startBench(t, true)

	var offset atomic.Int64

	start := time.Now()
	b.proxy.SetClock(func() time.Time { return start.Add(time.Duration(offset.Load())) })

	// Time only goes on, for all; a test that needs a young role makes its role after its last step.
	later := func() { offset.Add(int64(time.Minute)) }

	for name, test := range map[string]func(*testing.T, *world, func()){
		"Throttle":           testThrottle,
		"BatchStates":        testBatchStates,
		"BatchEnabled":       testBatchEnabled,
		"QueueEnvironments":  testQueueEnvironments,
		"YoungRole":          testYoungRole,
		"StuckEnvironment":   testStuckEnvironment,
		"StuckMidway":        testStuckMidway,
		"Interfaces":         testInterfaces,
		"FreshReads":         testFreshReads,
		"ProfilePropagation": testProfilePropagation,
		"Boundary":           testBoundary,
		"ReferencedGroup":    testReferencedGroup,
		"EC2States":          testEC2States,
		"Endpoints":          testEndpoints,
		"PartialDelete":      testPartialDelete,
		"CreateBucketAgain":  testCreateBucketAgain,
		"HitsAreCounted":     testHitsAreCounted,
	} {
		// One after the other, since they share the clock.
		t.Run(name, func(t *testing.T) { test(t, b.world(), later) })
	}
}

// calm is the account as a person sees it, whom chance does not hit.
func (w *world) calm() *world { return w.as(w.account, "user") }

// rush is a function whose SDK tries twice, so that the one throttle of each call does not show.
func (w *world) rush() *world {
	f := w.as(w.account, "worker")
	f.cfg.RetryMaxAttempts = 2

	return f
}

func testThrottle(t *testing.T, w *world, _ func()) {
	t.Helper()

	ctx := t.Context()

	var codes []string

	for range 2 {
		_, e := w.ec2().DescribeVpcs(ctx, &ec2.DescribeVpcsInput{})
		_, i := w.iam().ListRoles(ctx, &iam.ListRolesInput{})
		_, b := w.batch().DescribeJobQueues(ctx, &batch.DescribeJobQueuesInput{})
		_, s := w.s3().ListBuckets(ctx, &s3.ListBucketsInput{})
		codes = append(codes, code(e), code(i), code(b), code(s))
	}

	want := []string{"RequestLimitExceeded", "Throttling", "TooManyRequestsException", "SlowDown", "", "", "", ""}
	if diff := cmp.Diff(want, codes); diff != "" {
		t.Errorf("the first and the second call of each (-want +got):\n%s", diff)
	}

	if _, err := w.calm().ec2().DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{}); err != nil {
		t.Errorf("a person is throttled: %v", err)
	}
}

// settled makes an environment and looks until it is VALID.
func (w *world) settled(t *testing.T, g ground) {
	t.Helper()

	_ = must[*batch.CreateComputeEnvironmentOutput](t)(w.batch().CreateComputeEnvironment(t.Context(), g.environment("env")))
	w.until(t, "env", "VALID")
}

func (w *world) until(t *testing.T, name, state string) {
	t.Helper()

	var seen []string

	for range 5 {
		status := string(w.environment(t, name).Status)
		if status == state {
			return
		}

		seen = append(seen, status)
	}

	t.Fatalf("the environment %s was %v, never %s", name, seen, state)
}

func (w *world) disable(t *testing.T) {
	t.Helper()

	_ = must[*batch.UpdateComputeEnvironmentOutput](t)(w.batch().UpdateComputeEnvironment(t.Context(), &batch.UpdateComputeEnvironmentInput{
		ComputeEnvironment: aws.String("env"), State: batchtypes.CEStateDisabled,
	}))
	w.until(t, "env", "VALID")
}

func (w *world) remove(t *testing.T) {
	t.Helper()

	_ = must[*batch.DeleteComputeEnvironmentOutput](t)(w.batch().DeleteComputeEnvironment(t.Context(), &batch.DeleteComputeEnvironmentInput{
		ComputeEnvironment: aws.String("env"),
	}))
}

func testBatchStates(t *testing.T, w *world, later func()) {
	t.Helper()

	w = w.calm()
	ctx, g := t.Context(), w.ground(t)
	env, update := aws.String("env"), &batch.UpdateComputeEnvironmentInput{ComputeEnvironment: aws.String("env"), State: "DISABLED"}

	later()

	var states []string

	look := func() { states = append(states, string(w.environment(t, "env").Status)) }

	_ = must[*batch.CreateComputeEnvironmentOutput](t)(w.batch().CreateComputeEnvironment(ctx, g.environment("env")))

	_, err := w.batch().UpdateComputeEnvironment(ctx, update)
	if code(err) != "ClientException" || !strings.Contains(message(err), "resource is being modified") {
		t.Errorf("an update while CREATING answers %v", err)
	}

	look()
	look()
	look()

	_ = must[*batch.UpdateComputeEnvironmentOutput](t)(w.batch().UpdateComputeEnvironment(ctx, update))

	_, err = w.batch().DeleteComputeEnvironment(ctx, &batch.DeleteComputeEnvironmentInput{ComputeEnvironment: env})
	if !strings.Contains(message(err), "resource is being modified") {
		t.Errorf("a delete while UPDATING answers %v", err)
	}

	look()
	look()
	look()
	w.remove(t)

	if _, err := w.batch().CreateComputeEnvironment(ctx, g.environment("env")); !strings.Contains(message(err), "already exists") {
		t.Errorf("a create while DELETING answers %v", err)
	}

	look()
	look()
	look()

	want := []string{"CREATING", "CREATING", "VALID", "UPDATING", "UPDATING", "VALID", "DELETING", "DELETING", ""}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Errorf("the states (-want +got):\n%s", diff)
	}

	if !w.touched("DescribeComputeEnvironments", "strict/batch-states") || !w.touched("UpdateComputeEnvironment", "strict/batch-modified") {
		t.Error("the journal does not name the rules")
	}
}

func (w *world) queueState(t *testing.T, name string) string {
	t.Helper()

	out := must[*batch.DescribeJobQueuesOutput](t)(w.batch().DescribeJobQueues(t.Context(), &batch.DescribeJobQueuesInput{JobQueues: []string{name}}))
	if len(out.JobQueues) == 0 {
		return ""
	}

	return string(out.JobQueues[0].Status)
}

func (w *world) waitQueue(t *testing.T, name, state string) {
	t.Helper()

	for range 5 {
		if w.queueState(t, name) == state {
			return
		}
	}

	t.Fatalf("the queue %s never is %q", name, state)
}

func testBatchEnabled(t *testing.T, w *world, later func()) {
	t.Helper()

	w = w.calm()
	ctx, g := t.Context(), w.ground(t)

	later()
	w.settled(t, g)
	_ = must[*batch.CreateJobQueueOutput](t)(w.batch().CreateJobQueue(ctx, queue("queue", "env")))
	w.waitQueue(t, "queue", "VALID")

	deleteEnv := func(w *world) string {
		_, err := w.batch().DeleteComputeEnvironment(ctx, &batch.DeleteComputeEnvironmentInput{ComputeEnvironment: aws.String("env")})

		return message(err)
	}
	deleteQueue := func() string {
		_, err := w.batch().DeleteJobQueue(ctx, &batch.DeleteJobQueueInput{JobQueue: aws.String("queue")})

		return message(err)
	}

	got := []string{deleteEnv(w), deleteQueue()}
	w.disable(t)
	got = append(got, deleteEnv(w))

	_ = must[*batch.UpdateJobQueueOutput](t)(w.batch().UpdateJobQueue(ctx, &batch.UpdateJobQueueInput{JobQueue: aws.String("queue"), State: "DISABLED"}))
	w.waitQueue(t, "queue", "VALID")

	got = append(got, deleteQueue(), deleteEnv(w)) // the queue is DELETING still
	w.waitQueue(t, "queue", "")

	// The relationship lingers for functions.
	f := w.rush()
	got = append(got, deleteEnv(f), deleteEnv(f))

	want := []string{
		"Cannot delete, compute environment state must be DISABLED",
		"Cannot delete, job queue state must be DISABLED",
		"Cannot delete, found existing JobQueue relationship",
		"",
		"Cannot delete, found existing JobQueue relationship",
		"Cannot delete, found existing JobQueue relationship",
		"",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("deletes of environment and queue (-want +got):\n%s", diff)
	}
}

func testQueueEnvironments(t *testing.T, w *world, later func()) {
	t.Helper()

	w = w.calm()
	ctx, g := t.Context(), w.ground(t)

	later()

	fargate := &batch.CreateComputeEnvironmentInput{
		ComputeEnvironmentName: aws.String("fargate"), Type: batchtypes.CETypeManaged, ComputeResources: &batchtypes.ComputeResource{
			Type: batchtypes.CRTypeFargate, MaxvCpus: aws.Int32(4), Subnets: []string{g.subnet}, SecurityGroupIds: []string{g.group},
		},
	}
	_ = must[*batch.CreateComputeEnvironmentOutput](t)(w.batch().CreateComputeEnvironment(ctx, fargate))
	_ = must[*batch.CreateComputeEnvironmentOutput](t)(w.batch().CreateComputeEnvironment(ctx, g.environment("env")))

	if _, err := w.batch().CreateJobQueue(ctx, queue("early", "env")); !strings.Contains(message(err), "not in VALID state") {
		t.Errorf("a queue on an environment that is CREATING answers %v", err)
	}

	w.until(t, "env", "VALID")
	w.until(t, "fargate", "VALID")
	_ = must[*batch.UpdateComputeEnvironmentOutput](t)(w.batch().UpdateComputeEnvironment(ctx, &batch.UpdateComputeEnvironmentInput{
		ComputeEnvironment: aws.String("env"), State: batchtypes.CEStateEnabled,
	}))

	if _, err := w.batch().CreateJobQueue(ctx, queue("early", "env")); !strings.Contains(message(err), "not in VALID state") {
		t.Errorf("a queue on an environment that is UPDATING answers %v", err)
	}

	w.until(t, "env", "VALID")

	if _, err := w.batch().CreateJobQueue(ctx, queue("mixed", "env", "fargate")); !strings.Contains(message(err), "cannot be mixed") {
		t.Errorf("a mixed queue answers %v", err)
	}

	if _, err := w.batch().CreateJobQueue(ctx, queue("good", "env")); err != nil {
		t.Errorf("a good queue answers %v", err)
	}
}

func testYoungRole(t *testing.T, w *world, later func()) {
	t.Helper()

	w = w.calm()
	ctx, g := t.Context(), w.ground(t)

	_ = must[*batch.CreateComputeEnvironmentOutput](t)(w.batch().CreateComputeEnvironment(ctx, g.environment("env")))
	w.until(t, "env", "INVALID")

	if reason := aws.ToString(w.environment(t, "env").StatusReason); !strings.Contains(reason, "CLIENT_ERROR") || !strings.Contains(reason, "sts:AssumeRole") {
		t.Errorf("the reason is %q", reason)
	}

	later()

	if got := w.environment(t, "env").Status; got != "INVALID" {
		t.Errorf("without an update the environment is %s", got)
	}

	_ = must[*batch.UpdateComputeEnvironmentOutput](t)(w.batch().UpdateComputeEnvironment(ctx, &batch.UpdateComputeEnvironmentInput{
		ComputeEnvironment: aws.String("env"), State: "ENABLED",
	}))
	w.until(t, "env", "VALID")
}

func (w *world) detachRole(t *testing.T) {
	t.Helper()

	_ = must[*iam.RemoveRoleFromInstanceProfileOutput](t)(w.iam().RemoveRoleFromInstanceProfile(t.Context(), &iam.RemoveRoleFromInstanceProfileInput{
		InstanceProfileName: aws.String("prof"), RoleName: aws.String("inst"),
	}))
}

func testStuckEnvironment(t *testing.T, w *world, later func()) {
	t.Helper()

	w = w.calm()
	g := w.ground(t)

	later()
	w.settled(t, g)
	w.disable(t)
	w.detachRole(t)
	w.remove(t)

	for range 10 {
		if got := w.environment(t, "env"); got.Status != "DELETING" || !strings.Contains(aws.ToString(got.StatusReason), "sts:AssumeRole") {
			t.Fatalf("the environment without its role is %q, %q", got.Status, aws.ToString(got.StatusReason))
		}
	}

	_ = must[*iam.AddRoleToInstanceProfileOutput](t)(w.iam().AddRoleToInstanceProfile(t.Context(), &iam.AddRoleToInstanceProfileInput{
		InstanceProfileName: aws.String("prof"), RoleName: aws.String("inst"),
	}))
	w.until(t, "env", "")
}

func testStuckMidway(t *testing.T, w *world, later func()) {
	t.Helper()

	w = w.calm()
	g := w.ground(t)

	later()
	w.settled(t, g)
	w.disable(t)
	w.remove(t)
	w.detachRole(t)

	for range 10 {
		if got := w.environment(t, "env").Status; got != "DELETING" {
			t.Fatalf("the environment whose role went is %q", got)
		}
	}
}

func testInterfaces(t *testing.T, w *world, later func()) {
	t.Helper()

	ctx, calm := t.Context(), w.calm()
	g := calm.ground(t)

	later()
	calm.settled(t, g)
	calm.disable(t)
	calm.remove(t)
	calm.until(t, "env", "")

	f := w.rush()

	var codes []string

	for range 4 {
		_, err := f.ec2().DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: &g.subnet})
		codes = append(codes, code(err))
	}

	for range 4 {
		_, err := f.ec2().DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: &g.group})
		codes = append(codes, code(err))
	}

	const refused = "DependencyViolation"
	if diff := cmp.Diff([]string{refused, refused, refused, "", refused, refused, refused, ""}, codes); diff != "" {
		t.Errorf("subnet and group after the environment (-want +got):\n%s", diff)
	}

	if !w.touched("DeleteSubnet", "strict/lingering-interfaces") || !w.touched("DeleteSecurityGroup", "strict/lingering-interfaces") {
		t.Error("the journal does not name the rule")
	}
}

func testFreshReads(t *testing.T, w *world, _ func()) {
	t.Helper()

	w = w.rush()
	ctx, calm := t.Context(), w.calm()
	vpc := w.vpc(t)

	if _, err := calm.ec2().DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{vpc}}); err != nil {
		t.Errorf("a person does not find the VPC: %v", err)
	}

	_, err := w.ec2().DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{vpc}})
	if code(err) != "InvalidVpcID.NotFound" {
		t.Errorf("the first look by id answers %v", err)
	}

	byTag := &ec2.DescribeVpcsInput{Filters: []ec2types.Filter{{Name: aws.String("cidr"), Values: []string{"10.20.0.0/16"}}}}
	if out := must[*ec2.DescribeVpcsOutput](t)(w.ec2().DescribeVpcs(ctx, byTag)); len(out.Vpcs) != 0 {
		t.Error("the second look finds the VPC")
	}

	if out := must[*ec2.DescribeVpcsOutput](t)(w.ec2().DescribeVpcs(ctx, byTag)); len(out.Vpcs) != 1 {
		t.Error("the third look does not find the VPC")
	}
}

func testProfilePropagation(t *testing.T, w *world, _ func()) {
	t.Helper()

	w = w.rush()
	ctx := t.Context()

	_ = must[*iam.CreateInstanceProfileOutput](t)(w.iam().CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("p")}))

	var codes []string

	for range 3 {
		_, err := w.iam().GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: aws.String("p")})
		codes = append(codes, code(err))
	}

	if diff := cmp.Diff([]string{"NoSuchEntity", "NoSuchEntity", ""}, codes); diff != "" {
		t.Errorf("looks at a new profile (-want +got):\n%s", diff)
	}
}

func testBoundary(t *testing.T, w *world, _ func()) {
	t.Helper()

	w = w.calm()
	create := func(name, arn string) error {
		_, err := w.iam().CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: aws.String(trust), PermissionsBoundary: &arn})

		return err
	}

	if err := create("bad", "arn:aws:iam::"+w.account+":policy/none"); code(err) != "NoSuchEntity" {
		t.Errorf("a boundary that is not there answers %v", err)
	}

	if err := create("good", "arn:aws:iam::aws:policy/ReadOnlyAccess"); err != nil {
		t.Errorf("a boundary that is there answers %v", err)
	}
}

func testReferencedGroup(t *testing.T, w *world, _ func()) {
	t.Helper()

	w = w.calm()
	ctx, vpc := t.Context(), w.vpc(t)
	group := func(name string) *string {
		return must[*ec2.CreateSecurityGroupOutput](t)(w.ec2().CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
			GroupName: &name, Description: aws.String("test"), VpcId: &vpc,
		})).GroupId
	}
	named, naming := group("named"), group("naming")
	rule := []ec2types.IpPermission{{IpProtocol: aws.String("-1"), UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: named}}}}

	for _, g := range []*string{named, naming} {
		_ = must[*ec2.AuthorizeSecurityGroupIngressOutput](t)(w.ec2().AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{
			GroupId: g, IpPermissions: rule,
		}))
	}

	remove := func() error {
		_, err := w.ec2().DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: named})

		return err
	}

	if err := remove(); code(err) != "DependencyViolation" {
		t.Errorf("a group that another one names answers %v", err)
	}

	_ = must[*ec2.RevokeSecurityGroupIngressOutput](t)(w.ec2().RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{
		GroupId: naming, IpPermissions: rule,
	}))

	if err := remove(); err != nil {
		t.Errorf("a group that only names itself answers %v", err)
	}
}

func testEC2States(t *testing.T, w *world, _ func()) {
	t.Helper()

	w = w.calm()
	ctx, vpc := t.Context(), w.vpc(t)
	look := func() string {
		out, err := w.ec2().DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{vpc}})
		if err != nil {
			return code(err)
		}

		return string(out.Vpcs[0].State)
	}

	states := []string{look(), look(), look()}
	_ = must[*ec2.DeleteVpcOutput](t)(w.ec2().DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: &vpc}))
	states = append(states, look(), look(), look())

	want := []string{"pending", "pending", "available", "available", "available", "InvalidVpcID.NotFound"}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Errorf("the life of a VPC (-want +got):\n%s", diff)
	}
}

func testEndpoints(t *testing.T, w *world, _ func()) {
	t.Helper()

	w = w.rush()
	ctx, vpc := t.Context(), w.vpc(t)
	table := must[*ec2.CreateRouteTableOutput](t)(w.ec2().CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: &vpc}))
	create := func(token string) (*ec2.CreateVpcEndpointOutput, error) {
		return w.ec2().CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{
			VpcId: &vpc, ServiceName: aws.String("com.amazonaws." + region + ".s3"), RouteTableIds: []string{*table.RouteTable.RouteTableId}, ClientToken: &token,
		})
	}
	made := must[*ec2.CreateVpcEndpointOutput](t)(create("one"))

	if _, err := create("two"); code(err) != "RouteAlreadyExists" {
		t.Errorf("a second endpoint for the table answers %v", err)
	}

	if _, err := create("one"); err != nil {
		t.Errorf("the first endpoint's token answers %v", err)
	}

	id := aws.ToString(made.VpcEndpoint.VpcEndpointId)

	var failed []int

	for range 2 {
		out := must[*ec2.DeleteVpcEndpointsOutput](t)(w.ec2().DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{id}}))
		failed = append(failed, len(out.Unsuccessful))
	}

	if diff := cmp.Diff([]int{1, 0}, failed); diff != "" {
		t.Errorf("deletes that fail inside a good answer (-want +got):\n%s", diff)
	}
}

func testPartialDelete(t *testing.T, w *world, _ func()) {
	t.Helper()

	ctx, calm := t.Context(), w.calm()
	name := calm.bucket(t)

	for _, key := range []string{"a", "b", "c"} {
		_ = must[*s3.PutObjectOutput](t)(calm.s3().PutObject(ctx, &s3.PutObjectInput{Bucket: name, Key: aws.String(key)}))
	}

	remove := func(keys ...string) *s3.DeleteObjectsOutput {
		var ids []s3types.ObjectIdentifier
		for _, key := range keys {
			ids = append(ids, s3types.ObjectIdentifier{Key: aws.String(key)})
		}

		return must[*s3.DeleteObjectsOutput](t)(w.rush().s3().DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: name, Delete: &s3types.Delete{Objects: ids}}))
	}
	left := func() int32 {
		return aws.ToInt32(must[*s3.ListObjectsV2Output](t)(calm.s3().ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: name})).KeyCount)
	}

	out := remove("a", "b", "c")
	if len(out.Errors) != 1 || len(out.Deleted) != 2 || aws.ToString(out.Errors[0].Key) != "a" || left() != 1 {
		t.Errorf("the first call deleted %d, failed with %+v and left %d", len(out.Deleted), out.Errors, left())
	}

	if out := remove("a"); len(out.Errors) != 0 || left() != 0 {
		t.Errorf("the second call failed with %+v and left %d", out.Errors, left())
	}
}

func testCreateBucketAgain(t *testing.T, w *world, _ func()) {
	t.Helper()

	w = w.calm()
	name := w.bucket(t)

	if _, err := w.s3().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: name}); err != nil {
		t.Errorf("a second create in us-east-1 answers %v", err)
	}
}

func testHitsAreCounted(t *testing.T, w *world, _ func()) {
	t.Helper()

	_, _ = w.ec2().DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{})

	_, text := w.do(t, http.MethodGet, "/_local/rules", "")

	var page struct {
		Strict []struct {
			Name, Source string
			Hits         int
		}
	}
	if err := json.Unmarshal([]byte(text), &page); err != nil {
		t.Fatal(err)
	}

	hits := map[string]int{}

	for _, line := range page.Strict {
		if _, twice := hits[line.Name]; twice || line.Source == "" {
			t.Errorf("the line %q is there twice or has no source", line.Name)
		}

		hits[line.Name] = line.Hits
	}

	if hits["strict/throttle-ec2"] == 0 {
		t.Errorf("the throttle was not counted: %v", hits)
	}
}
