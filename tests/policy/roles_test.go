package policy_test

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/policy"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

const (
	managed = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
	// managedDocument is that policy's version v10 of 12 February 2026, which is AWS's.
	// https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AmazonEC2ContainerServiceforEC2Role.html
	managedDocument = `{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Resource": "*", "Action": [
			"ec2:DescribeTags", "ecs:CreateCluster", "ecs:DeregisterContainerInstance", "ecs:DiscoverPollEndpoint", "ecs:Poll", "ecs:RegisterContainerInstance",
			"ecs:StartTelemetrySession", "ecs:UpdateContainerInstancesState", "ecs:Submit*", "ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability",
			"ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage", "logs:CreateLogStream", "logs:PutLogEvents"]},
		{"Effect": "Allow", "Resource": "*", "Action": "ecs:TagResource",
			"Condition": {"StringEquals": {"ecs:CreateAction": ["CreateCluster", "RegisterContainerInstance"]}}},
		{"Effect": "Allow", "Resource": ["arn:aws:ecs:*:*:task/*/*", "arn:aws:ecs:*:*:container-instance/*/*"], "Action": "ecs:ListTagsForResource"}]}`
)

// made is a role as it stands after a create.
type made struct {
	arn, boundary string
	trust         policy.Document
	policies      []policy.Document
}

// rolesMade creates the default environment and reads its roles back, by the end of their names, and the name of its bucket.
func rolesMade(t *testing.T) (roles map[string]made, bucket string) {
	t.Helper()

	roles = map[string]made{}

	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()

		w, err := simulation.NewWorld(1)
		if err != nil {
			t.Fatal(err)
		}

		if _, err := w.Control.Create(ctx, admin, workflow.CreateRequest{Name: key.Name, Spec: deploy.Spec{}.WithDefaults()}); err != nil {
			t.Fatal(err)
		}

		if header, err := w.Settle(ctx, key); err != nil || header.Phase != deploy.PhaseActive {
			t.Fatalf("the deployment is %s: %v", header.Phase, err)
		}

		bucket = bucketOf(ctx, t, w)

		names, _ := w.AWS.IAM.Names()
		for _, name := range names {
			if name == "AWSServiceRoleForBatch" {
				continue
			}

			out, err := w.AWS.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
			if err != nil {
				t.Fatal(err)
			}

			r := made{arn: *out.Role.Arn, boundary: aws.ToString(out.Role.PermissionsBoundary.PermissionsBoundaryArn)}
			if r.trust, err = policy.ParseTrust(decoded(t, *out.Role.AssumeRolePolicyDocument)); err != nil {
				t.Fatal(err)
			}

			inline, err := w.AWS.IAM.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: &name})
			if err != nil {
				t.Fatal(err)
			}

			for _, p := range inline.PolicyNames {
				doc, err := w.AWS.IAM.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &name, PolicyName: &p})
				if err != nil {
					t.Fatal(err)
				}

				r.policies = append(r.policies, parse(t, string(decoded(t, *doc.PolicyDocument))))
			}

			attached, err := w.AWS.IAM.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: &name})
			if err != nil {
				t.Fatal(err)
			}

			for _, p := range attached.AttachedPolicies {
				if *p.PolicyArn != managed {
					t.Fatalf("role %s has %s attached, which is not known here", name, *p.PolicyArn)
				}

				r.policies = append(r.policies, parse(t, managedDocument))
			}

			roles[name[strings.LastIndex(name, "-")+1:]] = r
		}
	})

	return roles, bucket
}

// decoded: IAM answers documents URL-encoded. API reference, GetRole.
func decoded(t *testing.T, document string) []byte {
	t.Helper()

	text, err := url.PathUnescape(document)
	if err != nil {
		t.Fatal(err)
	}

	return []byte(text)
}

func TestRolesMayDoWhatTheyAreForAndNoMore(t *testing.T) {
	t.Parallel()

	roles, bucket := rolesMade(t)
	limit, known := grants(t).Boundaries[boundary]

	if !known {
		t.Fatal("the template has no boundary of that ARN")
	}

	if diff := cmp.Diff([]string{"instance", "job"}, slices.Sorted(maps.Keys(roles))); diff != "" {
		t.Fatalf("a role that is not judged here (-known +made):\n%s", diff)
	}

	s3 := "arn:aws:s3:::" + bucket
	own := policy.Context{"aws:ResourceAccount": {account}}
	foreign := policy.Context{"aws:ResourceAccount": {"210987654321"}}

	t.Run("job", func(t *testing.T) {
		t.Parallel()

		// Everything that might be asked for: what the boundary lets through, what Metaflow's developers may do, and ways to more power.
		actions := append(expanded(limit), "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:GetBucketLocation", "s3:ListAllMyBuckets", "s3:PutBucketPolicy",
			"s3:GetObjectVersion", "s3:AbortMultipartUpload", "iam:PassRole", "iam:PutRolePolicy", "sts:AssumeRole", "batch:SubmitJob", "lambda:InvokeFunction",
			"dynamodb:PutItem", "dynamodb:GetItem", "ec2:RunInstances", "secretsmanager:GetSecretValue", "kms:Decrypt", "logs:CreateLogGroup")
		resources := []string{
			"*", s3, s3 + "/flows/a", s3 + "-of-others", s3 + "-of-others/flows/a", "arn:aws:s3:::other", "arn:aws:s3:::other/flows/a",
			"arn:aws:iam::123456789012:role/admin", "arn:aws:dynamodb:us-east-1:123456789012:table/" + table,
		}

		var allowed []string

		for _, action := range actions {
			for _, resource := range resources {
				decision, err := policy.DecideWithin(limit, roles["job"].policies, policy.Request{Action: action, Resource: resource, Context: own})
				if err != nil {
					t.Fatal(err)
				}

				if decision == policy.Allowed {
					allowed = append(allowed, action+" "+strings.ReplaceAll(resource, bucket, "BUCKET"))
				}
			}
		}

		// Counted in runs of Metaflow 2.19.39. Without s3:ListBucket a HEAD of a missing key answers 403, and Metaflow stops.
		want := []string{"s3:GetObject arn:aws:s3:::BUCKET/flows/a", "s3:ListBucket arn:aws:s3:::BUCKET", "s3:PutObject arn:aws:s3:::BUCKET/flows/a"}

		slices.Sort(allowed)

		if diff := cmp.Diff(want, allowed); diff != "" {
			t.Errorf("what a job may do (-wanted +allowed):\n%s", diff)
		}

		decision, err := policy.DecideWithin(limit, roles["job"].policies, policy.Request{Action: "s3:GetObject", Resource: s3 + "/flows/a", Context: foreign})
		if err != nil || decision == policy.Allowed {
			t.Errorf("a bucket of this name in another account must be out of reach: %s, %v", decision, err)
		}
	})

	t.Run("instance", func(t *testing.T) {
		t.Parallel()

		for _, action := range expanded(parse(t, managedDocument)) {
			r := policy.Request{Action: action, Resource: "*"}

			switch action {
			case "ecs:TagResource":
				r.Context = policy.Context{"ecs:CreateAction": {"RegisterContainerInstance"}}
			case "ecs:ListTagsForResource":
				r.Resource = "arn:aws:ecs:us-east-1:123456789012:container-instance/a/b"
			}

			decision, err := policy.DecideWithin(limit, roles["instance"].policies, r)
			if err != nil {
				t.Fatal(err)
			}

			if decision != policy.Allowed {
				t.Errorf("%s is %s: an instance that Batch starts needs it", action, decision)
			}
		}

		decision, err := policy.DecideWithin(limit, roles["instance"].policies, policy.Request{Action: "s3:GetObject", Resource: s3 + "/flows/a", Context: own})
		if err != nil || decision == policy.Allowed {
			t.Errorf("an instance has no business with the data: %s, %v", decision, err)
		}
	})

	t.Run("boundary", func(t *testing.T) {
		t.Parallel()

		needed := expanded(parse(t, managedDocument))
		for _, d := range roles["job"].policies {
			needed = append(needed, expanded(d)...)
		}

		slices.Sort(needed)

		if diff := cmp.Diff(slices.Compact(needed), expanded(limit)); diff != "" {
			t.Errorf("the boundary lets through what some role needs and nothing else (-needed +boundary):\n%s", diff)
		}
	})

	for name, r := range roles {
		if r.boundary != simulatedBoundary {
			t.Errorf("role %s carries the boundary %q", name, r.boundary)
		}

		if !strings.HasPrefix(r.arn, "arn:aws:iam::"+account+":role/metaflow-deployer/"+installation+"/") {
			t.Errorf("role %s is at %s, not under our path", name, r.arn)
		}
	}

	t.Run("trust", func(t *testing.T) {
		t.Parallel()

		cases := map[string]struct {
			reason, role, service string
			context               policy.Context
			want                  bool
		}{
			"jobs":               {"Batch runs jobs as ECS tasks", "job", "ecs-tasks.amazonaws.com", policy.Context{"aws:SourceAccount": {account}}, true},
			"jobs of others":     {"another account's tasks are confused deputies", "job", "ecs-tasks.amazonaws.com", policy.Context{"aws:SourceAccount": {"210987654321"}}, false},
			"job, EC2":           {"an instance is no job", "job", "ec2.amazonaws.com", nil, false},
			"job, Lambda":        {"nor is a function", "job", "lambda.amazonaws.com", policy.Context{"aws:SourceAccount": {account}}, false},
			"instances":          {"EC2 sets no aws:SourceAccount", "instance", "ec2.amazonaws.com", nil, true},
			"instance, a task":   {"a job is no instance", "instance", "ecs-tasks.amazonaws.com", policy.Context{"aws:SourceAccount": {account}}, false},
			"instance, a Lambda": {"nor is a function", "instance", "lambda.amazonaws.com", nil, false},
		}

		for name, c := range cases {
			got, err := policy.Trusts(roles[c.role].trust, c.service, c.context)
			if err != nil {
				t.Fatal(err)
			}

			if got != c.want {
				t.Errorf("%s: %s: trusts %s: %t", name, c.reason, c.service, got)
			}
		}
	})
}

// expanded lists a document's actions, each pattern as the actions that it stands for.
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
func expanded(d policy.Document) []string {
	var all []string

	for _, s := range d.Statements {
		for _, a := range s.Actions {
			if a == "ecs:Submit*" {
				all = append(all, "ecs:SubmitAttachmentStateChanges", "ecs:SubmitContainerStateChange", "ecs:SubmitTaskStateChange")

				continue
			}

			all = append(all, a)
		}
	}

	slices.Sort(all)

	return slices.Compact(all)
}
