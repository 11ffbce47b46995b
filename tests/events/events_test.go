// Package events_test plays every event under events/ to the code that it is for, as `sam local invoke` would.
package events_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

func read(t *testing.T, name string) []byte {
	t.Helper()

	b, err := os.ReadFile(filepath.Join(simulation.Root(), "events", name+".json"))
	if err != nil {
		t.Fatal(err)
	}

	return b
}

func TestEveryFunctionHasAnEvent(t *testing.T) {
	t.Parallel()

	folders, err := os.ReadDir(filepath.Join(simulation.Root(), "functions"))
	if err != nil {
		t.Fatal(err)
	}

	for _, f := range folders {
		read(t, f.Name())
	}
}

// TestWorkflowEvents plays the state machine's part by hand: the events in the order in which the machine would send them. The machine itself is kept from
// running by starting nothing.
func TestWorkflowEvents(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		w, err := simulation.NewWorld(1)
		if err != nil {
			t.Fatal(err)
		}

		ctx := t.Context()
		owner := deploy.Principal{Tenant: "acme", Actor: "ada", Roles: []deploy.Role{deploy.Deployer}}

		w.Control.Starter = idle{}

		if _, err := w.Control.Create(ctx, owner, workflow.CreateRequest{Name: "research", Spec: deploy.Spec{}.WithDefaults()}); err != nil {
			t.Fatal(err)
		}

		tests := []struct{ function, want string }{
			{"workflow", `"turn":"ensure"`},
			{"s3", ""},
			{"iam", ""},
			{"ec2", ""},
			{"batch", "Waiting: compute-environment/default waits for"},
		}

		for _, tt := range tests {
			event := read(t, tt.function)

			dec := json.NewDecoder(bytes.NewReader(event))
			dec.DisallowUnknownFields()

			var in workflow.Input
			if err := dec.Decode(&in); err != nil {
				t.Fatalf("%s: %v", tt.function, err)
			}

			for range 20 {
				out, err := w.Invoke(ctx, tt.function, event)
				if err != nil && strings.HasPrefix(err.Error(), "NotReady") {
					time.Sleep(time.Second)

					continue
				}

				answer := string(out)
				if err != nil {
					answer = err.Error()
				}

				if !strings.Contains(answer, tt.want) || err != nil && tt.want == "" {
					t.Fatalf("%s: %s", tt.function, answer)
				}

				break
			}

			record, err := w.Store.Load(ctx, in.Key())
			if err != nil {
				t.Fatal(err)
			}

			if r := record.Find(in.Resource); r != nil && tt.want == "" && r.Ensure.State != deploy.StepReady {
				t.Errorf("%s is %s", in.Resource, r.Ensure.State)
			}
		}
	})
}
