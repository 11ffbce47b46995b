package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

func event(t *testing.T, name string) events.EventBridgeEvent {
	t.Helper()

	b, err := os.ReadFile(filepath.Join(simulation.Root(), "events", name+".json"))
	if err != nil {
		t.Fatal(err)
	}

	var e events.EventBridgeEvent
	if err := json.Unmarshal(b, &e); err != nil {
		t.Fatal(err)
	}

	return e
}

// TestHandle stops an execution from outside. Told by the status event, the watchdog starts the operation again at once; told by the schedule only, once
// the operation has been quiet for two minutes.
func TestHandle(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		reason, event string
		quiet         time.Duration
		epoch         int
	}{
		"Told":    {reason: "a status event says that nobody works on it", event: "watchdog-execution-ended", quiet: time.Second, epoch: 2},
		"TooSoon": {reason: "somebody may still be at work", event: "watchdog", quiet: time.Second, epoch: 1},
		"Quiet":   {reason: "nobody has written for two minutes", event: "watchdog", quiet: 3 * time.Minute, epoch: 2},
	}

	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, err := simulation.NewWorld(1)
				if err != nil {
					t.Fatal(err)
				}

				ctx, owner := t.Context(), deploy.Principal{Tenant: "acme", Actor: "ada", Roles: []deploy.Role{deploy.Deployer}}

				admitted, err := w.Control.Create(ctx, owner, workflow.CreateRequest{Name: "research", Spec: deploy.Spec{}.WithDefaults()})
				if err != nil {
					t.Fatal(err)
				}

				time.Sleep(5 * time.Second)

				e := workflow.Execution{Installation: "simulated", Tenant: "acme", Deployment: "research", Operation: admitted.Operation.ID, Epoch: 1}
				w.Stop(e)
				time.Sleep(tt.quiet)

				if err := (watch{w.Dog, w.Queue, w.Expiry}).handle(ctx, event(t, tt.event)); err != nil {
					t.Fatal(err)
				}

				record, err := w.Store.Load(ctx, e.Key())
				if err != nil {
					t.Fatal(err)
				}

				if record.Deployment.Epoch != tt.epoch {
					t.Errorf("%s: epoch %d, want %d", tt.reason, record.Deployment.Epoch, tt.epoch)
				}

				header, err := w.Settle(ctx, e.Key())
				if err != nil || header.Phase != deploy.PhaseActive {
					t.Errorf("in the end the create must succeed: %s %v", header.Phase, err)
				}
			})
		})
	}
}
