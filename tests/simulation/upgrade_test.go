package simulation_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

// TestOldDefinitions runs the state machines of earlier versions with today's functions: an execution that began before an upgrade ends after it. A
// definition that was ever released stays in testdata for the 90 days that executions and their names live.
func TestOldDefinitions(t *testing.T) {
	t.Parallel()

	files, err := filepath.Glob("testdata/deployment-*.asl.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("there is no definition: %v", err)
	}

	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()

			definition, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}

			world(t, func(t *testing.T, w *simulation.World) {
				t.Helper()

				ctx := t.Context()

				if err := w.Upgrade(definition); err != nil {
					t.Fatal(err)
				}

				if header := create(ctx, t, w, deploy.Spec{}); header.Phase != deploy.PhaseActive {
					t.Fatalf("a create on the old definition:\n%s", explain(ctx, t, w))
				}

				if header := remove(ctx, t, w, deploy.Purge); header.Phase != deploy.PhaseDeleted {
					t.Fatalf("a delete on the old definition:\n%s", explain(ctx, t, w))
				}

				if left := shared(w.AWS.Inventory()); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		})
	}
}
