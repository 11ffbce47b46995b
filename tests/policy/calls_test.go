package policy_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/tests/policy"
)

// TestEveryFunctionMayDoWhatItDoesAndNoMore runs whole operations and holds every call against the policies of the function that made it.
func TestEveryFunctionMayDoWhatItDoesAndNoMore(t *testing.T) {
	g := grants(t)

	var all []policy.Ask

	for name, s := range scenarios() {
		t.Run(name, func(t *testing.T) {
			asks := run(t, s)

			refused, err := g.Judge(asks)
			if err != nil {
				t.Fatal(err)
			}

			var lines []string
			for _, r := range refused {
				lines = append(lines, short(r.String()))
			}

			slices.Sort(lines)

			for _, line := range slices.Compact(lines) {
				t.Errorf("%s: AWS would refuse: %s", s.reason, line)
			}

			all = append(all, asks...)
		})
	}

	t.Run("events out", func(t *testing.T) {
		asks := eventsOut(t)

		refused, err := g.Judge(asks)
		if err != nil {
			t.Fatal(err)
		}

		for _, r := range refused {
			t.Errorf("AWS would refuse: %s", r)
		}

		all = append(all, asks...)
	})

	if t.Failed() {
		t.Fatal("what AWS would refuse comes first")
	}

	spares, err := g.Spares(all)
	if err != nil {
		t.Fatal(err)
	}

	got := map[policy.Spare]string{}
	for _, s := range spares {
		got[s] = rare()[s]
	}

	if diff := cmp.Diff(rare(), got); diff != "" {
		t.Errorf("a permission that no run needs is either too much, or is listed with the path that needs it (-listed +spare):\n%s", diff)
	}
}

// rare lists the permissions that the simulated runs do not need, with the path that does.
func rare() map[policy.Spare]string {
	const mends = "an ensure that finds the thing changed from outside (drift, or a crash between create and configuration) puts it right: "

	return map[policy.Spare]string{
		{Function: "batch", Sid: "Ours", Action: "batch:TagResource"}:              mends + "tags of an environment or queue",
		{Function: "ec2", Sid: "Look", Action: "ec2:DescribeNetworkInterfaces"}:    "a removal that is refused with DependencyViolation names the interfaces that hold it",
		{Function: "ec2", Sid: "Ours", Action: "ec2:AuthorizeSecurityGroupEgress"}: mends + "the group's egress rule",
		{Function: "ec2", Sid: "Ours", Action: "ec2:RevokeSecurityGroupIngress"}:   mends + "an ingress rule that somebody added",
		{Function: "ec2", Sid: "Ours", Action: "ec2:ModifyVpcEndpoint"}:            mends + "the endpoint's route tables",
		{Function: "ec2", Sid: "Ours", Action: "ec2:ReplaceRoute"}:                 mends + "a default route that leads elsewhere",
		{Function: "ec2", Sid: "Ours", Action: "ec2:ReplaceRouteTableAssociation"}: mends + "a subnet that is associated with another route table",
		{Function: "iam", Sid: "Roles", Action: "iam:UpdateAssumeRolePolicy"}:      mends + "the trust policy",
		{Function: "iam", Sid: "RolesWithinBoundary", Action: "iam:PutRolePermissionsBoundary"}: mends +
			"the boundary; the condition lets our own boundary be put and no other",
		{Function: "s3", Sid: "Buckets", Action: "s3:PutBucketPublicAccessBlock"}: mends + "the block of public access, which new buckets have from the start",
		{Function: "s3", Sid: "Buckets", Action: "s3:PutEncryptionConfiguration"}: mends + "the encryption, which new buckets have from the start",
		{Function: "watchdog", Sid: "Records", Action: "dynamodb:DeleteItem"}:     "the watchdog gives an operation up and closes it in place of the workflow",
	}
}
