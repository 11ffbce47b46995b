package metaflow_test

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsproxy"
	"github.com/metaflow-deployer/metaflow-deployer/tests/metaflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/policy"
)

// userActions are what a person needs of AWS to run a flow, by the call. Passing the job role (iam:PassRole) comes with RegisterJobDefinition and is no
// call. Multipart calls come with large objects only.
func userActions() map[string]string {
	return map[string]string{
		"s3.HeadObject": "s3:GetObject", "s3.GetObject": "s3:GetObject", "s3.PutObject": "s3:PutObject", "s3.ListObjectsV2": "s3:ListBucket",
		"batch.DescribeJobQueues": "batch:DescribeJobQueues", "batch.DescribeComputeEnvironments": "batch:DescribeComputeEnvironments",
		"batch.DescribeJobDefinitions": "batch:DescribeJobDefinitions", "batch.RegisterJobDefinition": "batch:RegisterJobDefinition",
		"batch.SubmitJob": "batch:SubmitJob", "batch.DescribeJobs": "batch:DescribeJobs", "batch.TerminateJob": "batch:TerminateJob",
	}
}

// judgeUser fails on a call of the scientist's that is not known to be needed: whoever hands out policies for people must learn of it.
func (p *product) judgeUser(t *testing.T, s *scientist) {
	t.Helper()

	actions, made := userActions(), map[string]int{}

	for _, c := range p.stack.Proxy().Calls() {
		if c.AccessKey == s.key {
			name := c.Service + "." + c.Action
			made[name]++

			if actions[name] == "" {
				t.Errorf("Metaflow called %s on %s, which is not known to be needed", name, c.Target)
			}
		}
	}

	for _, name := range []string{"batch.SubmitJob", "batch.RegisterJobDefinition", "s3.PutObject"} {
		if made[name] == 0 {
			t.Errorf("the journal has no %s of the scientist's; it has %v", name, made)
		}
	}

	t.Logf("calls of the person: %v", made)
}

// judgeJobs holds every call of the jobs against the policies of the role they ran as. The emulator lets everything pass; AWS does not.
func (p *product) judgeJobs(t *testing.T, jobs []metaflow.Job) {
	t.Helper()

	role := p.role(t, path.Base(jobs[0].Role))

	trusted, err := policy.Trusts(role.trust, "ecs-tasks.amazonaws.com", policy.Context{"aws:SourceAccount": {local.Account}})
	if err != nil || !trusted {
		t.Errorf("role %s lets no task assume it: %v", jobs[0].Role, err)
	}

	var keys []string
	for _, j := range jobs {
		keys = append(keys, j.AccessKeys...)
	}

	made := map[string]int{}

	for _, c := range p.stack.Proxy().Calls() {
		if !slices.Contains(keys, c.AccessKey) {
			continue
		}

		made[c.Service+"."+c.Action]++

		requests, err := asked(c)
		if err != nil {
			t.Error(err)
		}

		for _, request := range requests {
			if decision, err := role.decide(request); err != nil || decision != policy.Allowed {
				t.Errorf("%s on %s is %s, %v", request.Action, request.Resource, decision, err)
			}
		}
	}

	if made["s3.PutObject"] == 0 || made["s3.GetObject"] == 0 {
		t.Errorf("the journal lacks calls of the jobs: %v", made)
	}

	t.Logf("calls of the jobs: %v", made)
}

// asked is what S3 asks of the caller's policies. Jobs call nothing else.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html.
func asked(c awsproxy.Call) ([]policy.Request, error) {
	action := map[string]string{"HeadObject": "s3:GetObject", "GetObject": "s3:GetObject", "PutObject": "s3:PutObject", "ListObjectsV2": "s3:ListBucket"}[c.Action]
	if c.Service != "s3" || action == "" {
		return nil, fmt.Errorf("a job called %s.%s on %s, which is not known to be needed", c.Service, c.Action, c.Target)
	}

	bucket, _ := c.Input["Bucket"].(string)
	key, _ := c.Input["Key"].(string)
	arn := "arn:aws:s3:::" + bucket
	context := policy.Context{"aws:ResourceAccount": {local.Account}}
	list := policy.Request{Action: "s3:ListBucket", Resource: arn, Context: context}

	if action == "s3:ListBucket" {
		return []policy.Request{list}, nil
	}

	requests := []policy.Request{{Action: action, Resource: arn + "/" + key, Context: context}}
	// S3 tells that a key is missing only to who may list; to others it says 403, with which Metaflow stops. API reference, HeadObject, "Permissions".
	if c.Status == http.StatusNotFound {
		requests = append(requests, list)
	}

	return requests, nil
}

// role is what a role may do.
type role struct {
	trust    policy.Document
	policies []policy.Document
	boundary *policy.Document
}

func (r role) decide(request policy.Request) (policy.Decision, error) {
	if r.boundary == nil {
		return policy.Decide(r.policies, request)
	}

	return policy.DecideWithin(*r.boundary, r.policies, request)
}

// role reads a role with its inline policies and its boundary. Attached policies are left out: what passes passes without them.
func (p *product) role(t *testing.T, name string) role {
	t.Helper()

	api := iam.NewFromConfig(p.aws())
	document := func(parse func([]byte) (policy.Document, error), text *string) policy.Document {
		t.Helper()

		plain, err := url.QueryUnescape(aws.ToString(text))
		if err != nil {
			t.Fatal(err)
		}

		return made[policy.Document](t)(parse([]byte(plain)))
	}

	found := made[*iam.GetRoleOutput](t)(api.GetRole(t.Context(), &iam.GetRoleInput{RoleName: &name})).Role
	r := role{trust: document(policy.ParseTrust, found.AssumeRolePolicyDocument)}

	for _, one := range made[*iam.ListRolePoliciesOutput](t)(api.ListRolePolicies(t.Context(), &iam.ListRolePoliciesInput{RoleName: &name})).PolicyNames {
		out := made[*iam.GetRolePolicyOutput](t)(api.GetRolePolicy(t.Context(), &iam.GetRolePolicyInput{RoleName: &name, PolicyName: &one}))
		r.policies = append(r.policies, document(policy.Parse, out.PolicyDocument))
	}

	if b := found.PermissionsBoundary; b != nil {
		managed := made[*iam.GetPolicyOutput](t)(api.GetPolicy(t.Context(), &iam.GetPolicyInput{PolicyArn: b.PermissionsBoundaryArn})).Policy
		version := made[*iam.GetPolicyVersionOutput](t)(api.GetPolicyVersion(t.Context(), &iam.GetPolicyVersionInput{PolicyArn: managed.Arn, VersionId: managed.DefaultVersionId}))
		limit := document(policy.Parse, version.PolicyVersion.Document)
		r.boundary = &limit
	}

	return r
}
