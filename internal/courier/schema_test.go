package courier_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/metaflow-deployer/metaflow-deployer/internal/courier"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

var update = flag.Bool("update", false, "write the schemas")

func file(kind deploy.EventType) string {
	return filepath.Join(simulation.Root(), "docs", "schemas", string(kind)+".json")
}

// schema is that of one type of event, made from the Go types. It admits members that are added later.
func schema(t *testing.T, kind deploy.EventType) []byte {
	t.Helper()

	registry := huma.NewMapRegistry("#/$defs/", huma.DefaultSchemaNamer)
	registry.Schema(reflect.TypeFor[courier.Event](), true, "Event")

	defs := map[string]any{}

	for name, s := range registry.Map() {
		var def map[string]any

		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}

		if err := json.Unmarshal(data, &def); err != nil {
			t.Fatal(err)
		}

		delete(def, "additionalProperties")
		defs[name] = def
	}

	event, _ := defs["Event"].(map[string]any)
	delete(defs, "Event")

	properties, _ := event["properties"].(map[string]any)
	said, _ := properties["type"].(map[string]any)
	said["enum"] = []any{kind}

	if kind == deploy.EventExpiring {
		required, _ := event["required"].([]any)
		event["required"] = append(required, "expireTime")
	}

	event["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	event["title"] = string(kind)
	event["$defs"] = defs

	data, err := json.MarshalIndent(event, "", "  ")
	if err != nil {
		t.Fatal(err)
	}

	return append(data, '\n')
}

func TestSchemasAreFresh(t *testing.T) {
	t.Parallel()

	kinds := []deploy.EventType{deploy.EventChanged, deploy.EventExpiring}

	for _, kind := range kinds {
		want := schema(t, kind)
		if *update {
			if err := os.WriteFile(file(kind), want, 0o600); err != nil {
				t.Fatal(err)
			}
		}

		got, err := os.ReadFile(file(kind))
		if err != nil {
			t.Fatal(err)
		}

		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is stale: run go test ./internal/courier -update (-types +committed):\n%s", file(kind), diff)
		}
	}

	files, err := filepath.Glob(file("*"))
	if err != nil || len(files) != len(kinds) {
		t.Errorf("schemas of events that are not: %v %v", files, err)
	}
}

func compiled(t *testing.T, kind deploy.EventType) *jsonschema.Schema {
	t.Helper()

	data, err := os.ReadFile(file(kind))
	if err != nil {
		t.Fatal(err)
	}

	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}

	c := jsonschema.NewCompiler()
	c.AssertFormat()

	if err := c.AddResource("mem:///event.json", doc); err != nil {
		t.Fatal(err)
	}

	s, err := c.Compile("mem:///event.json")
	if err != nil {
		t.Fatal(err)
	}

	return s
}

// validate holds an event against its type's schema, as a receiver would.
func validate(t *testing.T, e deploy.Event) error {
	t.Helper()

	body, err := json.Marshal(courier.View(e))
	if err != nil {
		t.Fatal(err)
	}

	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}

	return compiled(t, e.Type).Validate(v)
}

// TestEventsOfALifeFit creates, refuses, expires and deletes deployments in virtual time and holds every event against its schema.
func TestEventsOfALifeFit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, err := simulation.NewWorld(1)
		if err != nil {
			t.Fatal(err)
		}

		ctx, owner := t.Context(), deploy.Principal{Tenant: "acme", Actor: "ada", Roles: []deploy.Role{deploy.Deployer}}

		settle := func(name string) {
			if _, err := w.Settle(ctx, deploy.Key{Tenant: "acme", Name: name}); err != nil {
				t.Fatal(err)
			}
		}

		for _, name := range []string{"research", "cancelled"} {
			admitted, err := w.Control.Create(ctx, owner, workflow.CreateRequest{Name: name, Spec: deploy.Spec{}.WithDefaults(), TTL: 3 * time.Hour})
			if err != nil {
				t.Fatal(err)
			}

			if name == "cancelled" {
				time.Sleep(10 * time.Second)

				if _, err := w.Control.Cancel(ctx, owner, workflow.SteerRequest{Name: name, Operation: admitted.Operation.ID}); err != nil {
					t.Fatal(err)
				}
			}

			settle(name)
		}

		for range 4 * 60 { // until its time is over
			time.Sleep(time.Minute)

			if err := w.Expiry.Run(ctx); err != nil {
				t.Fatal(err)
			}
		}

		settle("research")

		seen := map[string]int{}

		for _, name := range []string{"research", "cancelled"} {
			list, err := w.Store.Events(ctx, deploy.Key{Tenant: "acme", Name: name})
			if err != nil {
				t.Fatal(err)
			}

			for i, e := range list {
				if e.Sequence != int64(i+1) {
					t.Errorf("%s: the %d. event has the sequence %d", name, i+1, e.Sequence)
				}

				if err := validate(t, e); err != nil {
					t.Errorf("%s: %v", e.ID, err)
				}

				seen[string(e.Type)+" "+string(e.Phase)]++
			}
		}

		for _, want := range []string{
			"deployment.changed CREATING", "deployment.changed ACTIVE", "deployment.expiring ACTIVE", "deployment.changed DELETING", "deployment.changed DELETED", "deployment.changed FAILED",
		} {
			if seen[want] == 0 {
				t.Errorf("no event %s among %v", want, seen)
			}
		}
	})
}

// TestSchemasRefuse: a schema that lets everything through would prove nothing.
func TestSchemasRefuse(t *testing.T) {
	t.Parallel()

	good := deploy.Event{
		ID: "acme/research/1", Sequence: 1, Type: deploy.EventExpiring, Time: time.Now(), Key: deploy.Key{Tenant: "acme", Name: "research"}, Phase: deploy.PhaseActive,
		Operation: "research-1", Kind: deploy.Create, State: deploy.Succeeded, ExpireTime: time.Now(),
		Error: &deploy.Error{Class: deploy.Quota, Code: "quota_exceeded", Message: "Full."},
	}
	if err := validate(t, good); err != nil {
		t.Fatal(err)
	}

	for reason, change := range map[string]func(*deploy.Event){
		"an unknown phase": func(e *deploy.Event) { e.Phase = "DREAMING" }, "an unknown state": func(e *deploy.Event) { e.State = "" },
		"an unknown kind": func(e *deploy.Event) { e.Kind = "PAINT" }, "a sequence from 0": func(e *deploy.Event) { e.Sequence = 0 },
		"an expiry without a time": func(e *deploy.Event) { e.ExpireTime = time.Time{} },
		"an error without a class": func(e *deploy.Event) { e.Error = &deploy.Error{Code: "x", Message: "x"} },
	} {
		bad := good
		change(&bad)

		if validate(t, bad) == nil {
			t.Errorf("%s fits", reason)
		}
	}

	// Each phase, kind and state that there is can be told.
	for _, phase := range []deploy.Phase{deploy.PhaseCreating, deploy.PhaseActive, deploy.PhaseUpdating, deploy.PhaseDeleting, deploy.PhaseDeleted, deploy.PhaseFailed, deploy.PhaseNeedsAttention} {
		for _, kind := range []deploy.OperationKind{deploy.Create, deploy.Update, deploy.Repair, deploy.Delete, deploy.Verify} {
			for _, state := range []deploy.OperationState{deploy.Pending, deploy.Running, deploy.RollingBack, deploy.Succeeded, deploy.RolledBack, deploy.NeedsAttention} {
				e := good
				e.Phase, e.Kind, e.State = phase, kind, state

				if err := validate(t, e); err != nil {
					t.Errorf("%s %s %s: %v", phase, kind, state, err)
				}
			}
		}
	}
}
