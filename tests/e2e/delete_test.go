package e2e

import (
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/batch"
	batchtypes "github.com/aws/aws-sdk-go-v2/service/batch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestDeleteHalfDeleted removes some things behind the product's back: a delete takes what is missing for done.
func TestDeleteHalfDeleted(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	before := w.inventory()
	w.active("research", nil)

	ctx := t.Context()
	queue, template, bucket := find(w, "research", "job-queue/default").ARN, find(w, "research", "launch-template/default").ID, find(w, "research", "bucket").ID
	role := find(w, "research", "job-role").ID

	must[*batch.UpdateJobQueueOutput](w)(w.aws.batch.UpdateJobQueue(ctx, &batch.UpdateJobQueueInput{JobQueue: &queue, State: batchtypes.JQStateDisabled}))
	must[*batch.DeleteJobQueueOutput](w)(w.aws.batch.DeleteJobQueue(ctx, &batch.DeleteJobQueueInput{JobQueue: &queue}))
	must[*ec2.DeleteLaunchTemplateOutput](w)(w.aws.ec2.DeleteLaunchTemplate(ctx, &ec2.DeleteLaunchTemplateInput{LaunchTemplateId: &template}))
	must[*s3.DeleteBucketOutput](w)(w.aws.s3.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &bucket}))

	for _, p := range must[*iam.ListRolePoliciesOutput](w)(w.aws.iam.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: &role})).PolicyNames {
		must[*iam.DeleteRolePolicyOutput](w)(w.aws.iam.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &role, PolicyName: &p}))
	}

	must[*iam.DeleteRoleOutput](w)(w.aws.iam.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: &role}))

	first := w.delete("research", "purge")

	// A second delete is the first one; one that treats the data otherwise is refused.
	if again := w.delete("research", "purge"); again.ID != first.ID {
		t.Errorf("the second delete is operation %s, want %s", again.ID, first.ID)
	}

	other := as[problem](w, w.ask(request{method: "DELETE", path: "/v1/deployments/research?data=keep"}), http.StatusConflict)
	if other.Code != "operation_in_progress" || other.Operation != "/v1/operations/"+first.ID || other.Remedy == "" {
		t.Errorf("a delete that keeps the data, while one purges: %s", show(other))
	}

	w.finish(first.ID, "SUCCEEDED")
	w.same("after the delete", before, w.inventory())

	if p := as[problem](w, w.ask(request{method: "DELETE", path: "/v1/deployments/research"}), http.StatusNotFound); p.Code != "not_found" {
		t.Errorf("a delete of what is deleted: %s", show(p))
	}

	if a := w.ask(request{method: "DELETE", path: "/v1/deployments/research?allowMissing=true"}); a.status != http.StatusNoContent {
		t.Errorf("a delete of what is deleted, with allowMissing: %d %s", a.status, a.body)
	}
}

// TestDeleteSupersedes deletes in the middle of a create, at several moments.
func TestDeleteSupersedes(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason string
		moment func(operation) bool
	}{
		"AtOnce":  {"perhaps before the first state has run", func(operation) bool { return true }},
		"Begun":   {"the first things are being made", func(op operation) bool { return op.in("vpc") == "RUNNING" || op.in("vpc") == "READY" }},
		"Network": {"some things stand, others are being made", func(op operation) bool { return op.in("route-table") != "PENDING" && op.in("route-table") != "WAITING" }},
		"Environment": {"the last but one is being made", func(op operation) bool {
			return op.in("compute-environment/default") == "RUNNING" || op.in("compute-environment/default") == "READY"
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			before := w.inventory()
			made := w.create("research", nil)
			w.until(made.ID, c.moment)

			w.gone("research")
			w.same(c.reason, before, w.inventory())

			if phase := w.deployment("research").Phase; phase != "DELETED" {
				t.Errorf("%s: the phase is %s", c.reason, phase)
			}

			if op := w.operation(made.ID); op.State != "ROLLED_BACK" || op.Error == nil || op.Error.Code != "superseded" || op.Error.Remedy == "" {
				t.Errorf("%s: the create should have been superseded: %s", c.reason, show(op))
			}
		})
	}
}

// in is the state of a resource's step.
func (op operation) in(ref string) string {
	for _, s := range op.Steps {
		if s.Resource == ref {
			return s.State
		}
	}

	return "PENDING"
}

// TestNeedsAttention refuses one removal for good: the delete goes on past it and lists what is left; a second delete finishes.
func TestNeedsAttention(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason, service, action, ref string
		// left are the resources that must stand there still, because they need what resisted or it needs them.
		left []string
	}{
		"Queue":  {"everything that the queue uses must wait", "batch", "DeleteJobQueue", "job-queue/default", []string{"job-queue/default", "compute-environment/default"}},
		"Bucket": {"nothing waits for the bucket", "s3", "DeleteBucket", "bucket", []string{"bucket"}},
		"Vpc":    {"the last of its chain", "ec2", "DeleteVpc", "vpc", []string{"vpc"}},
		"Subnet": {"one of two, and the network behind them", "ec2", "DeleteSubnet", "subnet/1", []string{"subnet/1", "subnet/2", "vpc"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			before := w.inventory()
			w.active("research", nil)
			w.rule(object{"service": c.service, "action": c.action, "then": denial(c.service)})

			op := w.finish(w.delete("research", "purge").ID, "NEEDS_ATTENTION")
			if e := op.Error; e == nil || e.Class != "denied" || e.Remedy == "" || e.AWSCode == "" {
				t.Errorf("%s: the error should be the refusal: %s", c.reason, show(e))
			}

			if d := w.deployment("research"); d.Phase != "NEEDS_ATTENTION" || d.Resources.Total < len(c.left) {
				t.Errorf("%s: %s", c.reason, show(d))
			}

			listed, ours := map[string]bool{}, w.inventory().ours("research")
			for _, r := range w.resources("research") {
				listed[r.Ref] = true
			}

			for ref := range ours {
				if !listed[ref] {
					t.Errorf("%s: %s is there still and not listed", c.reason, ref)
				}
			}

			for _, ref := range c.left {
				if len(ours[ref]) == 0 || !listed[ref] {
					t.Errorf("%s: %s should be there (%d) and listed (%v)", c.reason, ref, len(ours[ref]), listed[ref])
				}
			}

			w.unbroken()
			w.gone("research")
			w.same(c.reason, before, w.inventory())
		})
	}
}
