package policy_test

import (
	"testing"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/tests/policy"
)

// TestNoPrivilegeToBorrow tries what a function that was taken over would try. Each line stands next to what the function does all day, so that a
// refusal cannot come from a misspelling: the call with its one difference undone is allowed.
func TestNoPrivilegeToBorrow(t *testing.T) {
	t.Parallel()

	const (
		ours    = "arn:aws:iam::123456789012:role/metaflow-deployer/" + installation + "/research-job"
		profile = "arn:aws:iam::123456789012:instance-profile/metaflow-deployer/" + installation + "/research-instance"
		ec2     = "arn:aws:ec2:us-east-1:123456789012:"
		batch   = "arn:aws:batch:us-east-1:123456789012:"
		tag     = "aws:RequestTag/" + deploy.TagInstallation
		tagged  = "aws:ResourceTag/" + deploy.TagInstallation
		own     = "aws:ResourceAccount"
		bound   = "iam:PermissionsBoundary"
		records = "arn:aws:dynamodb:us-east-1:123456789012:table/" + table
		leading = "dynamodb:LeadingKeys"
	)

	type request = policy.Request

	cases := map[string]struct {
		reason, function string
		fine, refused    request
	}{
		"role without boundary": {
			"a role without our boundary could do anything", "iam",
			request{Action: "iam:CreateRole", Resource: ours, Context: policy.Context{bound: {boundary}}},
			request{Action: "iam:CreateRole", Resource: ours},
		},
		"role with another boundary": {
			"so could one with a boundary of somebody's own", "iam",
			request{Action: "iam:CreateRole", Resource: ours, Context: policy.Context{bound: {boundary}}},
			request{Action: "iam:CreateRole", Resource: ours, Context: policy.Context{bound: {"arn:aws:iam::123456789012:policy/everything"}}},
		},
		"role elsewhere": {
			"roles are made under our path only", "iam",
			request{Action: "iam:CreateRole", Resource: ours, Context: policy.Context{bound: {boundary}}},
			request{Action: "iam:CreateRole", Resource: "arn:aws:iam::123456789012:role/admin", Context: policy.Context{bound: {boundary}}},
		},
		"role of another installation": {
			"another copy of the product is another's", "iam",
			request{Action: "iam:DeleteRole", Resource: ours},
			request{Action: "iam:DeleteRole", Resource: "arn:aws:iam::123456789012:role/metaflow-deployer/other/research-job"},
		},
		"records of whoever reads webhooks": {
			"what carries events out knows where they go, and no record", "events",
			request{Action: "dynamodb:Query", Resource: records, Context: policy.Context{leading: {"T#acme#WEBHOOKS"}}},
			request{Action: "dynamodb:Query", Resource: records, Context: policy.Context{leading: {"D#acme#research"}}},
		},
		"records of whoever calls outside": {
			"the one function that strangers answer reads no record", "webhook",
			request{Action: "dynamodb:Query", Resource: records, Context: policy.Context{leading: {"T#acme#WEBHOOKS"}}},
			request{Action: "dynamodb:Query", Resource: records},
		},
		"writes of whoever calls outside": {
			"and writes nothing", "webhook",
			request{Action: "dynamodb:Query", Resource: records, Context: policy.Context{leading: {"T#acme#WEBHOOKS"}}},
			request{Action: "dynamodb:PutItem", Resource: records, Context: policy.Context{leading: {"T#acme#WEBHOOKS"}}},
		},
		"messages of whoever calls outside": {
			"it takes messages and makes none", "webhook",
			request{Action: "sqs:DeleteMessage", Resource: "arn:aws:sqs:us-east-1:123456789012:metaflow-deployer-WebhookQueue.fifo"},
			request{Action: "sqs:SendMessage", Resource: "arn:aws:sqs:us-east-1:123456789012:metaflow-deployer-WebhookQueue.fifo"},
		},
		"somebody's bus": {
			"events go onto our own bus", "events",
			request{Action: "events:PutEvents", Resource: "arn:aws:events:us-east-1:123456789012:event-bus/" + installation + "-deployer"},
			request{Action: "events:PutEvents", Resource: "arn:aws:events:us-east-1:123456789012:event-bus/default"},
		},
		"policy on an unbounded role": {
			"a role that lost its boundary gets no policy", "iam",
			request{Action: "iam:PutRolePolicy", Resource: ours, Context: policy.Context{bound: {boundary}}},
			request{Action: "iam:PutRolePolicy", Resource: ours},
		},
		"wider boundary": {
			"the boundary is not replaced", "iam",
			request{Action: "iam:PutRolePermissionsBoundary", Resource: ours, Context: policy.Context{bound: {boundary}}},
			request{Action: "iam:PutRolePermissionsBoundary", Resource: ours, Context: policy.Context{bound: {"arn:aws:iam::aws:policy/AdministratorAccess"}}},
		},
		"no boundary": {
			"the boundary is not taken off", "iam",
			request{Action: "iam:PutRolePermissionsBoundary", Resource: ours, Context: policy.Context{bound: {boundary}}},
			request{Action: "iam:DeleteRolePermissionsBoundary", Resource: ours, Context: policy.Context{bound: {boundary}}},
		},
		"boundary itself": {
			"the boundary's own text is not touched", "iam",
			request{Action: "iam:DeleteRole", Resource: ours},
			request{Action: "iam:CreatePolicyVersion", Resource: boundary},
		},
		"another managed policy": {
			"one managed policy is attached and no other", "iam",
			request{Action: "iam:AttachRolePolicy", Resource: ours, Context: policy.Context{bound: {boundary}, "iam:PolicyARN": {managed}}},
			request{Action: "iam:AttachRolePolicy", Resource: ours, Context: policy.Context{
				bound: {boundary}, "iam:PolicyARN": {"arn:aws:iam::aws:policy/AdministratorAccess"},
			}},
		},
		"a neighbour of the managed policy": {
			"nor one that stands next to it", "iam",
			request{Action: "iam:AttachRolePolicy", Resource: ours, Context: policy.Context{bound: {boundary}, "iam:PolicyARN": {managed}}},
			request{Action: "iam:AttachRolePolicy", Resource: ours, Context: policy.Context{
				bound: {boundary}, "iam:PolicyARN": {"arn:aws:iam::aws:policy/service-role/AWSBatchServiceRole"},
			}},
		},
		"somebody's role into our profile": {
			"an instance must not get an administrator's role", "iam",
			request{Action: "iam:PassRole", Resource: ours, Context: policy.Context{"iam:PassedToService": {"ec2.amazonaws.com"}}},
			request{Action: "iam:PassRole", Resource: "arn:aws:iam::123456789012:role/admin", Context: policy.Context{"iam:PassedToService": {"ec2.amazonaws.com"}}},
		},
		"our role to a function": {
			"roles go to EC2 and to nobody else", "iam",
			request{Action: "iam:PassRole", Resource: ours, Context: policy.Context{"iam:PassedToService": {"ec2.amazonaws.com"}}},
			request{Action: "iam:PassRole", Resource: ours, Context: policy.Context{"iam:PassedToService": {"lambda.amazonaws.com"}}},
		},
		"our role to a function in China": {
			"EC2 has a name of its own there, and roles go to nobody else", "batch",
			request{Action: "iam:PassRole", Resource: ours, Context: policy.Context{"iam:PassedToService": {"ec2.amazonaws.com.cn"}}},
			request{Action: "iam:PassRole", Resource: ours, Context: policy.Context{"iam:PassedToService": {"lambda.amazonaws.com"}}},
		},
		"our role into a profile in China": {
			"EC2 has a name of its own there, and roles go to nobody else", "iam",
			request{Action: "iam:PassRole", Resource: ours, Context: policy.Context{"iam:PassedToService": {"ec2.amazonaws.com.cn"}}},
			request{Action: "iam:PassRole", Resource: ours, Context: policy.Context{"iam:PassedToService": {"batch.amazonaws.com"}}},
		},
		"tags of a job": {
			"jobs are the users', and none is tagged", "batch",
			request{Action: "batch:SubmitJob", Resource: batch + "job/1"},
			request{Action: "batch:TagResource", Resource: batch + "job/1", Context: policy.Context{tag: {installation}}},
		},
		"somebody's definition": {
			"jobs are sent by a definition of the probe and by no other", "batch",
			request{Action: "batch:SubmitJob", Resource: batch + "job-definition/research-probe:1"},
			request{Action: "batch:SubmitJob", Resource: batch + "job-definition/train:1"},
		},
		"somebody's profile": {
			"profiles of others are read and not changed", "iam",
			request{Action: "iam:AddRoleToInstanceProfile", Resource: profile},
			request{Action: "iam:AddRoleToInstanceProfile", Resource: "arn:aws:iam::123456789012:instance-profile/web"},
		},
		"another service-linked role": {
			"only Batch's", "iam",
			request{
				Action: "iam:CreateServiceLinkedRole", Resource: "arn:aws:iam::123456789012:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch",
				Context: policy.Context{"iam:AWSServiceName": {"batch.amazonaws.com"}},
			},
			request{
				Action: "iam:CreateServiceLinkedRole", Resource: "arn:aws:iam::123456789012:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch",
				Context: policy.Context{"iam:AWSServiceName": {"organizations.amazonaws.com"}},
			},
		},
		"audit trail, api": {
			"records come and go, but what was done stays told", "api",
			request{Action: "dynamodb:DeleteItem", Resource: records, Context: policy.Context{leading: {"D#research#first"}}},
			request{Action: "dynamodb:DeleteItem", Resource: records, Context: policy.Context{leading: {"T#research#AUDIT"}}},
		},
		"audit trail changed, api": {
			"only counters are added to", "api",
			request{Action: "dynamodb:UpdateItem", Resource: records, Context: policy.Context{leading: {"T#research#USAGE"}}},
			request{Action: "dynamodb:UpdateItem", Resource: records, Context: policy.Context{leading: {"T#research#AUDIT"}}},
		},
		"audit trail, workflow": {
			"records come and go, but what was done stays told", "workflow",
			request{Action: "dynamodb:DeleteItem", Resource: records, Context: policy.Context{leading: {"D#research#first"}}},
			request{Action: "dynamodb:DeleteItem", Resource: records, Context: policy.Context{leading: {"T#research#AUDIT"}}},
		},
		"audit trail changed, workflow": {
			"only counters are added to", "workflow",
			request{Action: "dynamodb:UpdateItem", Resource: records, Context: policy.Context{leading: {"T#research#USAGE"}}},
			request{Action: "dynamodb:UpdateItem", Resource: records, Context: policy.Context{leading: {"T#research#AUDIT"}}},
		},
		"audit trail, watchdog": {
			"records come and go, but what was done stays told", "watchdog",
			request{Action: "dynamodb:DeleteItem", Resource: records, Context: policy.Context{leading: {"D#research#first"}}},
			request{Action: "dynamodb:DeleteItem", Resource: records, Context: policy.Context{leading: {"T#research#AUDIT"}}},
		},
		"audit trail changed, watchdog": {
			"only counters are added to", "watchdog",
			request{Action: "dynamodb:UpdateItem", Resource: records, Context: policy.Context{leading: {"T#research#USAGE"}}},
			request{Action: "dynamodb:UpdateItem", Resource: records, Context: policy.Context{leading: {"T#research#AUDIT"}}},
		},
		"grant, s3": {
			"what makes resources allows nobody anything", "s3",
			request{Action: "dynamodb:PutItem", Resource: records, Context: policy.Context{leading: {"D#research#first"}}},
			request{Action: "dynamodb:PutItem", Resource: records, Context: policy.Context{leading: {"T#research#GRANTS"}}},
		},
		"audit trail, s3": {
			"nor does it tell of things that were not done", "s3",
			request{Action: "dynamodb:PutItem", Resource: records, Context: policy.Context{leading: {"SWEEP"}}},
			request{Action: "dynamodb:PutItem", Resource: records, Context: policy.Context{leading: {"T#research#AUDIT"}}},
		},
		"grant, iam": {
			"what makes resources allows nobody anything", "iam",
			request{Action: "dynamodb:PutItem", Resource: records, Context: policy.Context{leading: {"D#research#first"}}},
			request{Action: "dynamodb:PutItem", Resource: records, Context: policy.Context{leading: {"T#research#GRANTS"}}},
		},
		"audit trail, iam": {
			"nor does it tell of things that were not done", "iam",
			request{Action: "dynamodb:PutItem", Resource: records, Context: policy.Context{leading: {"SWEEP"}}},
			request{Action: "dynamodb:PutItem", Resource: records, Context: policy.Context{leading: {"T#research#AUDIT"}}},
		},
		"grant, ec2": {
			"what makes resources allows nobody anything", "ec2",
			request{Action: "dynamodb:PutItem", Resource: records, Context: policy.Context{leading: {"D#research#first"}}},
			request{Action: "dynamodb:PutItem", Resource: records, Context: policy.Context{leading: {"T#research#GRANTS"}}},
		},
		"audit trail, ec2": {
			"nor does it tell of things that were not done", "ec2",
			request{Action: "dynamodb:PutItem", Resource: records, Context: policy.Context{leading: {"SWEEP"}}},
			request{Action: "dynamodb:PutItem", Resource: records, Context: policy.Context{leading: {"T#research#AUDIT"}}},
		},
		"grant, batch": {
			"what makes resources allows nobody anything", "batch",
			request{Action: "dynamodb:PutItem", Resource: records, Context: policy.Context{leading: {"D#research#first"}}},
			request{Action: "dynamodb:PutItem", Resource: records, Context: policy.Context{leading: {"T#research#GRANTS"}}},
		},
		"audit trail, batch": {
			"nor does it tell of things that were not done", "batch",
			request{Action: "dynamodb:PutItem", Resource: records, Context: policy.Context{leading: {"SWEEP"}}},
			request{Action: "dynamodb:PutItem", Resource: records, Context: policy.Context{leading: {"T#research#AUDIT"}}},
		},
		"untagged VPC": {
			"what is new carries our tag", "ec2",
			request{Action: "ec2:CreateVpc", Resource: ec2 + "vpc/*", Context: policy.Context{tag: {installation}}},
			request{Action: "ec2:CreateVpc", Resource: ec2 + "vpc/*"},
		},
		"somebody's VPC": {
			"what is not ours is not removed", "ec2",
			request{Action: "ec2:DeleteVpc", Resource: ec2 + "vpc/vpc-1", Context: policy.Context{tagged: {installation}}},
			request{Action: "ec2:DeleteVpc", Resource: ec2 + "vpc/vpc-1"},
		},
		"VPC of another installation": {
			"nor what another copy of the product made", "ec2",
			request{Action: "ec2:DeleteVpc", Resource: ec2 + "vpc/vpc-1", Context: policy.Context{tagged: {installation}}},
			request{Action: "ec2:DeleteVpc", Resource: ec2 + "vpc/vpc-1", Context: policy.Context{tagged: {"other"}}},
		},
		"subnet in somebody's VPC": {
			"only security groups are made in an owner's VPC", "ec2",
			request{Action: "ec2:CreateSecurityGroup", Resource: ec2 + "vpc/vpc-1"},
			request{Action: "ec2:CreateSubnet", Resource: ec2 + "vpc/vpc-1"},
		},
		"untagged route table": {
			"no statement lets a route table be made without our tag", "ec2",
			request{Action: "ec2:CreateRouteTable", Resource: ec2 + "route-table/*", Context: policy.Context{tag: {installation}}},
			request{Action: "ec2:CreateRouteTable", Resource: ec2 + "route-table/*"},
		},
		"our tag on somebody's VPC": {
			"whoever could tag could adopt", "ec2",
			request{Action: "ec2:CreateTags", Resource: ec2 + "vpc/*", Context: policy.Context{tag: {installation}, "ec2:CreateAction": {"CreateVpc"}}},
			request{Action: "ec2:CreateTags", Resource: ec2 + "vpc/vpc-1", Context: policy.Context{tag: {installation}}},
		},
		"our VPC given away": {
			"what is ours is tagged so that it stays ours", "ec2",
			request{Action: "ec2:CreateTags", Resource: ec2 + "vpc/vpc-1", Context: policy.Context{tag: {installation}, tagged: {installation}}},
			request{Action: "ec2:CreateTags", Resource: ec2 + "vpc/vpc-1", Context: policy.Context{tag: {"other"}, tagged: {installation}}},
		},
		"another installation's VPC taken": {
			"whoever could tag could adopt", "ec2",
			request{Action: "ec2:CreateTags", Resource: ec2 + "vpc/vpc-1", Context: policy.Context{tag: {installation}, tagged: {installation}}},
			request{Action: "ec2:CreateTags", Resource: ec2 + "vpc/vpc-1", Context: policy.Context{tag: {installation}, tagged: {"other"}}},
		},
		"instances": {
			"the product starts none itself", "ec2",
			request{Action: "ec2:DescribeVpcs", Resource: "*"},
			request{Action: "ec2:RunInstances", Resource: ec2 + "instance/*", Context: policy.Context{tag: {installation}}},
		},
		"somebody's queue": {
			"what is not ours is not removed", "batch",
			request{Action: "batch:DeleteJobQueue", Resource: batch + "job-queue/q", Context: policy.Context{tagged: {installation}}},
			request{Action: "batch:DeleteJobQueue", Resource: batch + "job-queue/q"},
		},
		// On a queue that carries no installation's tag it could: Batch has no condition key that tells a create from a later call.
		"our tag on another installation's queue": {
			"whoever could tag could adopt", "batch",
			request{Action: "batch:TagResource", Resource: batch + "job-queue/q", Context: policy.Context{tag: {installation}}},
			request{Action: "batch:TagResource", Resource: batch + "job-queue/q", Context: policy.Context{tag: {installation}, tagged: {"other"}}},
		},
		"somebody's role for a compute environment": {
			"an administrator's role must not end on instances", "batch",
			request{Action: "iam:PassRole", Resource: ours, Context: policy.Context{"iam:PassedToService": {"ec2.amazonaws.com"}}},
			request{Action: "iam:PassRole", Resource: "arn:aws:iam::123456789012:role/admin", Context: policy.Context{"iam:PassedToService": {"ec2.amazonaws.com"}}},
		},
		"somebody's bucket": {
			"a bucket whose name is not of our form is not changed", "s3",
			request{Action: "s3:PutBucketPolicy", Resource: "arn:aws:s3:::a-metaflow", Context: policy.Context{own: {account}}},
			request{Action: "s3:PutBucketPolicy", Resource: "arn:aws:s3:::payroll", Context: policy.Context{own: {account}}},
		},
		"bucket of another account": {
			"a foreign bucket of such a name is out of reach", "s3",
			request{Action: "s3:PutBucketPolicy", Resource: "arn:aws:s3:::a-metaflow", Context: policy.Context{own: {account}}},
			request{Action: "s3:PutBucketPolicy", Resource: "arn:aws:s3:::a-metaflow", Context: policy.Context{own: {"210987654321"}}},
		},
		"objects of a bucket": {
			"the product reads nobody's data", "s3",
			request{Action: "s3:DeleteObjectVersion", Resource: "arn:aws:s3:::a-metaflow/x", Context: policy.Context{own: {account}}},
			request{Action: "s3:GetObject", Resource: "arn:aws:s3:::a-metaflow/x", Context: policy.Context{own: {account}}},
		},
		"changes by the API": {
			"the API looks and starts, and changes nothing", "api",
			request{Action: "ec2:DescribeVpcs", Resource: "*"},
			request{Action: "ec2:CreateVpc", Resource: ec2 + "vpc/*", Context: policy.Context{tag: {installation}}},
		},
		"another machine": {
			"the API starts our machine only", "api",
			request{Action: "states:StartExecution", Resource: machine},
			request{Action: "states:StartExecution", Resource: "arn:aws:states:us-east-1:123456789012:stateMachine:other"},
		},
		"another table": {
			"every function keeps to the one table", "workflow",
			request{Action: "dynamodb:PutItem", Resource: "arn:aws:dynamodb:us-east-1:123456789012:table/" + table},
			request{Action: "dynamodb:PutItem", Resource: "arn:aws:dynamodb:us-east-1:123456789012:table/other"},
		},
		"dropping records": {
			"a worker writes and removes no record", "ec2",
			request{Action: "dynamodb:PutItem", Resource: "arn:aws:dynamodb:us-east-1:123456789012:table/" + table},
			request{Action: "dynamodb:DeleteItem", Resource: "arn:aws:dynamodb:us-east-1:123456789012:table/" + table},
		},
	}

	g := grants(t)

	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			fine, err := policy.Decide(g.Functions[c.function], c.fine)
			if err != nil {
				t.Fatal(err)
			}

			if fine != policy.Allowed {
				t.Errorf("%s on %s is %s: the comparison shows nothing", c.fine.Action, c.fine.Resource, fine)
			}

			refused, err := policy.Decide(g.Functions[c.function], c.refused)
			if err != nil {
				t.Fatal(err)
			}

			if refused == policy.Allowed {
				t.Errorf("%s: %s on %s is allowed", c.reason, c.refused.Action, c.refused.Resource)
			}
		})
	}
}
