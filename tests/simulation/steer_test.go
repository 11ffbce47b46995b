package simulation_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

func current(ctx context.Context, t *testing.T, w *simulation.World) deploy.Operation {
	t.Helper()

	record, err := w.Store.Load(ctx, key)
	if err != nil {
		t.Fatal(err)
	}

	return record.Operation
}

// TestCancelAtAnyMoment cancels a create each second of its life: whatever was under way, it ends rolled back whole.
func TestCancelAtAnyMoment(t *testing.T) {
	t.Parallel()

	for after := range 60 {
		synctest.Test(t, func(t *testing.T) {
			w, err := simulation.NewWorld(uint64(after))
			if err != nil {
				t.Fatal(err)
			}

			ctx, before := t.Context(), w.AWS.Inventory()

			admitted, err := w.Control.Create(ctx, owner, workflow.CreateRequest{Name: key.Name, Spec: deploy.Spec{}.WithDefaults()})
			if err != nil {
				t.Fatal(err)
			}

			time.Sleep(time.Duration(after) * time.Second)

			done := current(ctx, t, w).State.Done()
			_, err = w.Control.Cancel(ctx, owner, workflow.SteerRequest{Name: key.Name, Operation: admitted.Operation.ID})

			if done != (err != nil) {
				t.Fatalf("after %ds: an operation that has ended cannot be cancelled, any other can: %v", after, err)
			}

			header, err := w.Settle(ctx, key)
			if err != nil {
				t.Fatalf("after %ds: %v", after, err)
			}

			if done {
				return
			}

			if op := current(ctx, t, w); header.Phase != deploy.PhaseFailed || op.Error == nil || op.Error.Code != "cancelled" {
				t.Fatalf("after %ds:\n%s", after, explain(ctx, t, w))
			}

			if diff := cmp.Diff(before, shared(w.AWS.Inventory())); diff != "" {
				t.Errorf("after %ds, cancelled but not whole (-before +after):\n%s", after, diff)
			}
		})
	}
}

// TestNeedsAttention lets AWS refuse one removal for good: the delete ends with the residue listed, and each way out leads out.
func TestNeedsAttention(t *testing.T) {
	t.Parallel()

	stuck := func(ctx context.Context, t *testing.T, w *simulation.World) deploy.Operation {
		t.Helper()
		create(ctx, t, w, deploy.Spec{})

		w.Fault = func(point string) simulation.Action {
			if strings.Contains(point, "ec2.DeleteSecurityGroup") {
				return simulation.Refuse
			}

			return simulation.None
		}

		if header := remove(ctx, t, w, deploy.Purge); header.Phase != deploy.PhaseNeedsAttention {
			t.Fatalf("a removal that AWS refuses must not pass for done:\n%s", explain(ctx, t, w))
		}

		op := current(ctx, t, w)
		if op.Error == nil || op.Error.Resource != "security-group/jobs" || op.Error.Remedy == "" {
			t.Errorf("the error must name what resists and a remedy: %+v", op.Error)
		}

		return op
	}

	t.Run("Resume", func(t *testing.T) {
		t.Parallel()
		world(t, func(t *testing.T, w *simulation.World) {
			ctx, before := t.Context(), w.AWS.Inventory()
			op := stuck(ctx, t, w)
			w.Fault = nil

			if _, err := w.Control.Resume(ctx, owner, workflow.SteerRequest{Name: key.Name, Operation: op.ID}); err != nil {
				t.Fatal(err)
			}

			header, err := w.Settle(ctx, key)
			if err != nil || header.Phase != deploy.PhaseDeleted || current(ctx, t, w).State != deploy.Succeeded {
				t.Fatalf("%v\n%s", err, explain(ctx, t, w))
			}

			if diff := cmp.Diff(before, shared(w.AWS.Inventory())); diff != "" {
				t.Errorf("(-before +after):\n%s", diff)
			}
		})
	})

	t.Run("Skip", func(t *testing.T) {
		t.Parallel()
		world(t, func(t *testing.T, w *simulation.World) {
			ctx := t.Context()
			op := stuck(ctx, t, w)

			if _, err := w.Control.Skip(ctx, owner, workflow.SteerRequest{Name: key.Name, Operation: op.ID, Resource: "job-queue/default"}); err == nil {
				t.Error("what is gone cannot be left behind")
			}

			// The group stays, so the VPC around it cannot go: AWS says so, and the owner decides again.
			for _, ref := range []deploy.Ref{"security-group/jobs", "vpc"} {
				if _, err := w.Control.Skip(ctx, owner, workflow.SteerRequest{Name: key.Name, Operation: op.ID, Resource: ref}); err != nil {
					t.Fatal(err)
				}

				if _, err := w.Settle(ctx, key); err != nil {
					t.Fatal(err)
				}
			}

			op = current(ctx, t, w)
			if op.State != deploy.Succeeded {
				t.Fatalf("with both left behind nothing is in the way:\n%s", explain(ctx, t, w))
			}

			left := 0

			for _, s := range op.Steps {
				if s.LeftBehind {
					left++
				}
			}

			if left != 2 || len(shared(w.AWS.Inventory())) != 2 {
				t.Errorf("what was left behind must be on record and still there: %d, %v", left, w.AWS.Inventory())
			}
		})
	})
}
