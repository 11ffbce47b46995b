package awsproxy_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsproxy"
)

const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// TestMoto holds what needs moto but no strict rules. Its parts share one moto and use accounts of their own.
func TestMoto(t *testing.T) {
	t.Parallel()

	b := startBench(t, false)

	for name, test := range map[string]func(*testing.T, *bench){
		"Journal":         testJournal,
		"Accounts":        testAccounts,
		"Objects":         testObjects,
		"RuleError":       testRuleError,
		"RuleLose":        testRuleLose,
		"RuleDelay":       testRuleDelay,
		"RuleKill":        testRuleKill,
		"RuleMatch":       testRuleMatch,
		"RuleHoldEC2":     testRuleHoldEC2,
		"MalformedRules":  testMalformedRules,
		"UserIsNotBroken": testUserIsNotBroken,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, b)
		})
	}

	for name, test := range correctionTests() {
		t.Run("Correction/"+name, func(t *testing.T) {
			t.Parallel()
			test(t, b.world())
		})
	}
}

func testJournal(t *testing.T, b *bench) {
	t.Helper()

	w := b.world()
	ctx := t.Context()

	vpc := must[*ec2.CreateVpcOutput](t)(w.ec2().CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")}))
	id := aws.ToString(vpc.Vpc.VpcId)
	_, _ = w.ec2().DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: aws.String("vpc-0123456789abcdef0")})
	_, _ = w.ec2().CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{id}, Tags: []ec2types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
	_, _ = w.iam().CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("r"), Path: aws.String("/p/"), AssumeRolePolicyDocument: aws.String(trust)})
	_, _ = w.iam().PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String("r"), PolicyName: aws.String("x"), PolicyDocument: aws.String(trust)})
	_, _ = w.s3().HeadBucket(ctx, &s3.HeadBucketInput{Bucket: aws.String("no-such-bucket-here")})

	ec2arn := "arn:aws:ec2:" + region + ":" + w.account + ":vpc/"
	role := []string{"arn:aws:iam::" + w.account + ":role/p/r"}
	want := []awsproxy.Call{
		{Service: "ec2", Action: "CreateVpc", Target: id, Status: 200, Resources: []string{ec2arn + id}},
		{
			Service: "ec2", Action: "DeleteVpc", Target: "vpc-0123456789abcdef0", Status: 400, Code: "InvalidVpcID.NotFound",
			Resources: []string{ec2arn + "vpc-0123456789abcdef0"},
		},
		{Service: "ec2", Action: "CreateTags", Target: id, Status: 200, Resources: []string{ec2arn + id}},
		{Service: "iam", Action: "CreateRole", Target: "r", Status: 200, Resources: role},
		// The document is a trust policy, which moto refuses as a role's policy.
		{Service: "iam", Action: "PutRolePolicy", Target: "r", Status: 400, Code: "MalformedPolicyDocument", Resources: role},
		{
			Service: "s3", Action: "HeadBucket", Target: "no-such-bucket-here", Status: 404, Code: "NotFound",
			Resources: []string{"arn:aws:s3:::no-such-bucket-here"},
		},
	}

	ignore := cmpopts.IgnoreFields(awsproxy.Call{}, "Time", "Account", "Function", "AccessKey", "Region", "Input", "Rule")
	if diff := cmp.Diff(want, w.calls(), ignore); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}

	for _, c := range w.calls() {
		if errs := b.proxy.Check(c); len(errs) > 0 {
			t.Errorf("%s is not valid: %v", c.Action, errs)
		}
	}

	if errs := b.proxy.Check(awsproxy.Call{Service: "ec2", Action: "CreateVpc", Input: map[string]any{"CidrBlok": "x"}}); len(errs) != 1 {
		t.Errorf("a member that nobody knows gives %v", errs)
	}

	first := w.calls()[0]
	if first.Function != "worker" || first.AccessKey != "LOCAL-"+w.account+"-worker-1" || first.Region != region || first.Input["CidrBlock"] != "10.0.0.0/16" {
		t.Errorf("the first call is not told whole: %+v", first)
	}

	_, text := b.do(t, http.MethodGet, "/_local/calls?account="+w.account, "")

	var page []map[string]any
	if err := json.Unmarshal([]byte(text), &page); err != nil || len(page) != len(want) {
		t.Fatalf("the page has %d calls, want %d (%v)", len(page), len(want), err)
	}

	for _, member := range []string{"time", "function", "service", "action", "target", "status", "code"} {
		if _, ok := page[1][member]; !ok {
			t.Errorf("the page's call lacks %s: %v", member, page[1])
		}
	}

	if status, _ := b.do(t, http.MethodDelete, "/_local/calls?account="+w.account, ""); status != http.StatusNoContent || len(w.calls()) != 0 {
		t.Errorf("clearing answers %d and leaves %d calls", status, len(w.calls()))
	}
}

func testAccounts(t *testing.T, b *bench) {
	t.Helper()

	one, two := b.world(), b.world()
	ctx := t.Context()

	_ = must[*iam.CreateRoleOutput](t)(one.iam().CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("enter"), AssumeRolePolicyDocument: aws.String(trust)}))

	if _, err := two.iam().GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String("enter")}); code(err) != "NoSuchEntity" {
		t.Errorf("the other account sees the role: %v", err)
	}

	keys := must[*sts.AssumeRoleOutput](t)(two.sts().AssumeRole(ctx, &sts.AssumeRoleInput{
		RoleArn: aws.String("arn:aws:iam::" + one.account + ":role/enter"), RoleSessionName: aws.String("session"),
	}))
	cfg := two.cfg
	cfg.Credentials = credentials.NewStaticCredentialsProvider(
		aws.ToString(keys.Credentials.AccessKeyId), aws.ToString(keys.Credentials.SecretAccessKey), aws.ToString(keys.Credentials.SessionToken),
	)

	if _, err := iam.NewFromConfig(cfg).GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String("enter")}); err != nil {
		t.Errorf("keys of a role act in another account than the role's: %v", err)
	}

	last := one.calls()[len(one.calls())-1]
	if last.Function != "worker" || last.Action != "GetRole" {
		t.Errorf("a call with a role's keys belongs to %q, want the function that asked for them", last.Function)
	}
}

func testObjects(t *testing.T, b *bench) {
	t.Helper()

	w := b.world()
	ctx := t.Context()
	bucket := aws.String("objects-" + w.account)

	_ = must[*s3.CreateBucketOutput](t)(w.s3().CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket}))

	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<19)
	_ = must[*s3.PutObjectOutput](t)(w.s3().PutObject(ctx, &s3.PutObjectInput{
		Bucket: bucket, Key: aws.String("dir/a b+c"), Body: bytes.NewReader(big), Metadata: map[string]string{"user-attr": "me"},
	}))

	out := must[*s3.GetObjectOutput](t)(w.s3().GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("dir/a b+c")}))

	got, err := io.ReadAll(out.Body)
	if err != nil || sha256.Sum256(got) != sha256.Sum256(big) {
		t.Errorf("8 MiB came back as %d bytes (%v)", len(got), err)
	}

	head := must[*s3.HeadObjectOutput](t)(w.s3().HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: aws.String("dir/a b+c")}))
	if aws.ToInt64(head.ContentLength) != int64(len(big)) || head.Metadata["user-attr"] != "me" {
		t.Errorf("HeadObject shows %d bytes and %v", aws.ToInt64(head.ContentLength), head.Metadata)
	}

	presigned, err := s3.NewPresignClient(w.s3()).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("dir/a b+c")})
	if err != nil {
		t.Fatal(err)
	}

	names := rawHeaderNames(t, presigned.URL)
	if !strings.Contains(names, "\nx-amz-meta-user-attr:") {
		t.Errorf("x-amz-meta-* did not keep its case:\n%s", names)
	}

	_, err = w.s3().GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("nothing")})
	if code(err) != "NoSuchKey" {
		t.Errorf("a missing object is %v", err)
	}

	targets := map[string]bool{}
	for _, c := range w.calls() {
		targets[c.Action+" "+c.Target] = true
	}

	if !targets["PutObject "+*bucket+"/dir/a b+c"] {
		t.Errorf("the object is no target: %v", targets)
	}
}

func testRuleError(t *testing.T, b *bench) {
	t.Helper()

	w := b.world()
	ctx := t.Context()

	w.rule(t, "iam", "CreateRole", map[string]any{"times": 2, "then": map[string]any{
		"error": map[string]any{"status": 400, "code": "Throttling", "message": "Rate exceeded"},
	}})

	var codes []string

	for range 3 {
		_, err := w.iam().CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(trust)})
		codes = append(codes, code(err))
	}

	if diff := cmp.Diff([]string{"Throttling", "Throttling", ""}, codes); diff != "" {
		t.Errorf("a rule of two times (-want +got):\n%s", diff)
	}

	c := w.calls()
	if !strings.HasPrefix(c[0].Rule, "user/") || c[0].Code != "Throttling" || c[2].Rule != "" {
		t.Errorf("the journal does not name the rule: %+v", c)
	}

	_, text := b.do(t, http.MethodGet, "/_local/rules?account="+w.account, "")
	if !strings.Contains(text, `"hits":2`) {
		t.Errorf("the page does not count: %s", text)
	}

	_, _ = b.do(t, http.MethodDelete, "/_local/rules?account="+w.account, "")
	_, text = b.do(t, http.MethodGet, "/_local/rules?account="+w.account, "")

	if !strings.Contains(text, `"rules":[]`) {
		t.Errorf("rules are left: %s", text)
	}
}

func testRuleLose(t *testing.T, b *bench) {
	t.Helper()

	w := b.world()
	ctx := t.Context()

	w.rule(t, "ec2", "CreateVpc", map[string]any{"then": map[string]any{"lose": "response"}})

	_, err := w.ec2().CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	if code(err) != "?" {
		t.Errorf("a lost answer gives %v, want a broken connection", err)
	}

	out := must[*ec2.DescribeVpcsOutput](t)(w.ec2().DescribeVpcs(ctx, &ec2.DescribeVpcsInput{
		Filters: []ec2types.Filter{{Name: aws.String("cidr"), Values: []string{"10.0.0.0/16"}}},
	}))
	if len(out.Vpcs) != 1 {
		t.Errorf("the call happened %d times, want once", len(out.Vpcs))
	}

	if c := w.calls()[0]; c.Status != 200 || c.Target == "" {
		t.Errorf("the journal does not tell what AWS did: %+v", c)
	}
}

func testRuleDelay(t *testing.T, b *bench) {
	t.Helper()

	w := b.world()

	w.rule(t, "sts", "GetCallerIdentity", map[string]any{"times": 1, "then": map[string]any{"delay": "300ms"}})

	start := time.Now()
	_ = must[*sts.GetCallerIdentityOutput](t)(w.sts().GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}))

	if took := time.Since(start); took < 300*time.Millisecond {
		t.Errorf("the call took %s only", took)
	}
}

func testRuleKill(t *testing.T, b *bench) {
	t.Helper()

	w := b.world()
	ctx := t.Context()

	w.rule(t, "iam", "CreateRole", map[string]any{
		"match": map[string]any{"/RoleName": "before"}, "then": map[string]any{"kill": "before"},
	})
	w.rule(t, "iam", "CreateRole", map[string]any{"match": map[string]any{"/RoleName": "after"}, "then": map[string]any{"kill": "after"}})

	for name, exists := range map[string]bool{"before": false, "after": true} {
		_, err := w.iam().CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String(name), AssumeRolePolicyDocument: aws.String(trust)})
		if code(err) != "?" {
			t.Errorf("kill %s answers %v", name, err)
		}

		_, err = w.iam().GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String(name)})
		if (err == nil) != exists {
			t.Errorf("kill %s: the role is there: %t, want %t", name, err == nil, exists)
		}
	}

	b.mu.Lock()
	defer b.mu.Unlock()

	killed := 0

	for _, key := range b.killed {
		if key == "LOCAL-"+w.account+"-worker-1" {
			killed++
		}
	}

	if killed != 2 {
		t.Errorf("the process was ended %d times, want 2", killed)
	}
}

func testRuleMatch(t *testing.T, b *bench) {
	t.Helper()

	fault := map[string]any{"error": map[string]any{"status": 403, "code": "UnauthorizedOperation", "message": "no"}}
	for name, tt := range map[string]struct {
		reason string
		match  map[string]any
		want   string
	}{
		"Exact":     {reason: "a pointer and its value", match: map[string]any{"/CidrBlock": "10.0.0.0/16"}, want: "UnauthorizedOperation"},
		"Nested":    {reason: "a pointer through lists", match: map[string]any{"/TagSpecifications/0/Tags/0/Key": "k"}, want: "UnauthorizedOperation"},
		"OtherCase": {reason: "the first letter's case does not count", match: map[string]any{"/cidrBlock": "10.0.0.0/16"}, want: "UnauthorizedOperation"},
		"Whole":     {reason: "a whole structure as value", match: map[string]any{"/TagSpecifications/0/Tags/0": map[string]any{"Key": "k", "Value": "1"}}, want: "UnauthorizedOperation"},
		"Prefix":    {reason: "a prefix is no match", match: map[string]any{"/CidrBlock": "10."}},
		"Type":      {reason: "a number is not its text", match: map[string]any{"/TagSpecifications/0/Tags/0/Value": 1}},
		"Absent":    {reason: "a pointer to nothing", match: map[string]any{"/TagSpecifications/4": "x"}},
		"Both":      {reason: "all pointers must fit", match: map[string]any{"/CidrBlock": "10.0.0.0/16", "/TagSpecifications/0/ResourceType": "subnet"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := b.world()
			w.rule(t, "ec2", "CreateVpc", map[string]any{"match": tt.match, "then": fault})

			_, err := w.ec2().CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), TagSpecifications: []ec2types.TagSpecification{{
				ResourceType: ec2types.ResourceTypeVpc, Tags: []ec2types.Tag{{Key: aws.String("k"), Value: aws.String("1")}},
			}}})
			if code(err) != tt.want {
				t.Errorf("%s: the call answers %q, want %q", tt.reason, code(err), tt.want)
			}
		})
	}

	w := b.world()
	w.rule(t, "ec2", "CreateVpc", map[string]any{"function": "another", "then": fault})

	if _, err := w.ec2().CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")}); err != nil {
		t.Errorf("a rule for another function took effect: %v", err)
	}
}

func testRuleHoldEC2(t *testing.T, b *bench) {
	t.Helper()

	w := b.world()
	ctx := t.Context()

	w.rule(t, "ec2", "CreateVpc", map[string]any{"then": map[string]any{"hold": map[string]any{"polls": 2}}})

	made := must[*ec2.CreateVpcOutput](t)(w.ec2().CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")}))
	states := []string{string(made.Vpc.State)}

	for range 3 {
		out := must[*ec2.DescribeVpcsOutput](t)(w.ec2().DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{*made.Vpc.VpcId}}))
		states = append(states, string(out.Vpcs[0].State))
	}

	if diff := cmp.Diff([]string{"pending", "pending", "pending", "available"}, states); diff != "" {
		t.Errorf("held for two looks (-want +got):\n%s", diff)
	}

	tagged := must[*ec2.CreateVpcEndpointOutput](t)(w.ec2().CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{
		VpcId: made.Vpc.VpcId, ServiceName: aws.String("com.amazonaws." + region + ".s3"), VpcEndpointType: ec2types.VpcEndpointTypeGateway,
		TagSpecifications: []ec2types.TagSpecification{{
			ResourceType: ec2types.ResourceTypeVpcEndpoint, Tags: []ec2types.Tag{{Key: aws.String("k"), Value: aws.String("v")}},
		}},
	}))
	id := aws.ToString(tagged.VpcEndpoint.VpcEndpointId)

	w.rule(t, "ec2", "DeleteVpcEndpoints", map[string]any{"then": map[string]any{"hold": map[string]any{"polls": 2}}})
	_ = must[*ec2.DeleteVpcEndpointsOutput](t)(w.ec2().DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{id}}))

	byTag := &ec2.DescribeVpcEndpointsInput{Filters: []ec2types.Filter{{Name: aws.String("tag:k"), Values: []string{"v"}}}}
	byOther := &ec2.DescribeVpcEndpointsInput{Filters: []ec2types.Filter{{Name: aws.String("tag:k"), Values: []string{"w"}}}}
	byID := &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{id}}

	if out := must[*ec2.DescribeVpcEndpointsOutput](t)(w.ec2().DescribeVpcEndpoints(ctx, byOther)); len(out.VpcEndpoints) != 0 {
		t.Errorf("a look for another tag finds the deleted endpoint")
	}

	for _, look := range []*ec2.DescribeVpcEndpointsInput{byTag, byID} {
		out := must[*ec2.DescribeVpcEndpointsOutput](t)(w.ec2().DescribeVpcEndpoints(ctx, look))
		if len(out.VpcEndpoints) != 1 || !strings.EqualFold(string(out.VpcEndpoints[0].State), "deleting") {
			t.Errorf("the deleted endpoint is shown as %+v, want deleting", out.VpcEndpoints)
		}
	}

	if out := must[*ec2.DescribeVpcEndpointsOutput](t)(w.ec2().DescribeVpcEndpoints(ctx, byTag)); len(out.VpcEndpoints) != 0 {
		t.Errorf("the endpoint is still there: %+v", out.VpcEndpoints)
	}
}

func testMalformedRules(t *testing.T, b *bench) {
	t.Helper()

	for name, tt := range map[string]struct{ reason, rule, names string }{
		"NotJSON":      {"text", `hello`, "rule"},
		"NoService":    {"a missing member", `{"action":"CreateVpc","then":{"lose":"response"}}`, "service"},
		"NoAction":     {"a missing member", `{"service":"ec2","then":{"lose":"response"}}`, "action"},
		"NoThen":       {"a missing member", `{"service":"ec2","action":"CreateVpc"}`, "then"},
		"Service":      {"a service's other name", `{"service":"states","action":"StartExecution","then":{"lose":"response"}}`, "service"},
		"Action":       {"an action of another service", `{"service":"ec2","action":"CreateRole","then":{"lose":"response"}}`, "action"},
		"Unknown":      {"a member nobody knows", `{"service":"ec2","action":"CreateVpc","when":1,"then":{"lose":"response"}}`, "when"},
		"TimesZero":    {"never", `{"service":"ec2","action":"CreateVpc","times":0,"then":{"lose":"response"}}`, "times"},
		"TimesText":    {"text for a number", `{"service":"ec2","action":"CreateVpc","times":"1","then":{"lose":"response"}}`, "times"},
		"Pointer":      {"no pointer", `{"service":"ec2","action":"CreateVpc","match":{"CidrBlock":1},"then":{"lose":"response"}}`, "match"},
		"Empty":        {"nothing to do", `{"service":"ec2","action":"CreateVpc","then":{}}`, "then"},
		"Two":          {"two things to do", `{"service":"ec2","action":"CreateVpc","then":{"lose":"response","delay":"1s"}}`, "then"},
		"Lose":         {"losing something else", `{"service":"ec2","action":"CreateVpc","then":{"lose":"request"}}`, "then.lose"},
		"Delay":        {"no duration", `{"service":"ec2","action":"CreateVpc","then":{"delay":"soon"}}`, "then.delay"},
		"Kill":         {"no point in time", `{"service":"ec2","action":"CreateVpc","then":{"kill":"now"}}`, "then.kill"},
		"Polls":        {"no looks", `{"service":"ec2","action":"CreateVpc","then":{"hold":{"polls":0}}}`, "then.hold.polls"},
		"HoldText":     {"text for an object", `{"service":"ec2","action":"CreateVpc","then":{"hold":"10s"}}`, "then.hold must be an object, not string"},
		"HoldIAM":      {"no state between", `{"service":"iam","action":"CreateRole","then":{"hold":{"polls":1}}}`, "then.hold"},
		"ErrorCode":    {"no code", `{"service":"ec2","action":"CreateVpc","then":{"error":{"status":400}}}`, "then.error.code"},
		"ErrorStatus":  {"a good status", `{"service":"ec2","action":"CreateVpc","then":{"error":{"status":200,"code":"x"}}}`, "then.error.status"},
		"ErrorUnknown": {"a member nobody knows", `{"service":"ec2","action":"CreateVpc","then":{"error":{"status":400,"code":"x","why":"y"}}}`, "why"},
		"Account":      {"no account", `{"service":"ec2","action":"CreateVpc","account":"me","then":{"lose":"response"}}`, "account"},
	} {
		t.Run(name, func(t *testing.T) {
			status, text := b.do(t, http.MethodPost, "/_local/rules", tt.rule)
			if status != http.StatusBadRequest || !strings.Contains(text, tt.names) {
				t.Errorf("%s: answered %d %s, want 400 naming %s", tt.reason, status, text, tt.names)
			}
		})
	}
}

func testUserIsNotBroken(t *testing.T, b *bench) {
	t.Helper()

	w := b.world()
	w.rule(t, "sts", "GetCallerIdentity", map[string]any{"then": map[string]any{"lose": "response"}})

	user := b.as(w.account, "user")
	if _, err := user.sts().GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
		t.Errorf("a rule broke a person's call: %v", err)
	}

	calls := w.calls()
	if len(calls) != 1 || calls[0].Function != "user" {
		t.Errorf("a person's call is not in the journal: %+v", calls)
	}
}
