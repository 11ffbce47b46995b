package simulation_test

import (
	"strings"
	"testing"

	batchtypes "github.com/aws/aws-sdk-go-v2/service/batch/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

// TestProbeThatNeverStarts: when a probe is given up, its owner is told what Batch said of it, and the deployment stands as it did.
func TestProbeThatNeverStarts(t *testing.T) {
	t.Parallel()

	world(t, func(t *testing.T, w *simulation.World) {
		ctx := t.Context()
		standing(ctx, t, w, deploy.Spec{})

		w.AWS.Batch.JobStays = func(string) (batchtypes.JobStatus, string) {
			return batchtypes.JobStatusRunnable, "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"
		}

		if _, err := w.Control.Verify(ctx, owner, workflow.UpdateRequest{Name: key.Name}); err != nil {
			t.Fatal(err)
		}

		header, err := w.Settle(ctx, key)
		if err != nil {
			t.Fatal(err)
		}

		op := current(ctx, t, w)
		if header.Phase != deploy.PhaseActive || op.State != deploy.RolledBack || op.Error == nil || op.Error.Code != "deadline_exceeded" ||
			!strings.Contains(op.Error.Message, "RUNNABLE: MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE") {
			t.Errorf("the error must say why the job did not start: %+v\n%s", op.Error, explain(ctx, t, w))
		}

		if lines := look(ctx, t, w); len(lines) > 0 {
			t.Errorf("drift after a probe that was given up: %v", lines)
		}

		for id, tags := range w.AWS.Inventory() {
			if tags[deploy.TagResource] == "probe" {
				t.Errorf("%s is left behind", id)
			}
		}
	})
}
