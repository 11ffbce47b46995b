package simulation_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/all"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

var (
	key   = deploy.Key{Tenant: "acme", Name: "research"}
	owner = deploy.Principal{Tenant: "acme", Actor: "ada", Roles: []deploy.Role{deploy.Deployer}}
)

func names(r kind.Registry) []string {
	var list []string
	for _, k := range r {
		list = append(list, k.About().Name)
	}

	return list
}

func TestEveryKindIsSimulated(t *testing.T) {
	t.Parallel()

	if diff := cmp.Diff(names(all.Kinds(all.Clients{})), names(simulation.Kinds(awsfake.New()))); diff != "" {
		t.Errorf("a kind that is not simulated has never met a fault (-all +simulated):\n%s", diff)
	}
}

// world runs a test in a bubble of virtual time.
func world(t *testing.T, run func(t *testing.T, w *simulation.World)) {
	t.Helper()

	synctest.Test(t, func(t *testing.T) {
		t.Helper()

		w, err := simulation.NewWorld(1)
		if err != nil {
			t.Fatal(err)
		}

		run(t, w)
	})
}

func create(ctx context.Context, t *testing.T, w *simulation.World, spec deploy.Spec) deploy.Deployment {
	t.Helper()

	if _, err := w.Control.Create(ctx, owner, workflow.CreateRequest{Name: key.Name, Spec: spec.WithDefaults()}); err != nil {
		t.Fatal(err)
	}

	header, err := w.Settle(ctx, key)
	if err != nil {
		t.Fatal(err)
	}

	return header
}

func remove(ctx context.Context, t *testing.T, w *simulation.World, data deploy.Data) deploy.Deployment {
	t.Helper()

	if _, err := w.Control.Delete(ctx, owner, workflow.DeleteRequest{Name: key.Name, Data: data}); err != nil {
		t.Fatal(err)
	}

	header, err := w.Settle(ctx, key)
	if err != nil {
		t.Fatal(err)
	}

	return header
}

// explain says what became of every step.
func explain(ctx context.Context, t *testing.T, w *simulation.World) string {
	t.Helper()

	record, err := w.Store.Load(ctx, key)
	if err != nil {
		return err.Error()
	}

	var b strings.Builder

	b.WriteString(string(record.Deployment.Phase) + " " + string(record.Operation.State) + "\n")

	for _, s := range record.Operation.Steps {
		b.WriteString(string(s.Action) + " " + string(s.Resource) + " " + string(s.State) + " " + s.WaitingFor)

		if s.Error != nil {
			b.WriteString(" " + s.Error.Error())
		}

		b.WriteString("\n")
	}

	return b.String()
}

func TestDefaultEnvironmentComesAndGoes(t *testing.T) {
	t.Parallel()

	world(t, func(t *testing.T, w *simulation.World) {
		ctx, began := t.Context(), time.Now()

		before := w.AWS.Inventory()

		if header := create(ctx, t, w, deploy.Spec{}); header.Phase != deploy.PhaseActive {
			t.Fatalf("the default environment must reach ACTIVE:\n%s", explain(ctx, t, w))
		}

		t.Logf("created within %s of virtual time, %d transitions, %d events\n%s", time.Since(began), w.Trace.Transitions, w.Trace.Events, explain(ctx, t, w))

		if header := remove(ctx, t, w, deploy.Purge); header.Phase != deploy.PhaseDeleted {
			t.Fatalf("a delete must end in DELETED:\n%s", explain(ctx, t, w))
		}

		if diff := cmp.Diff(before, shared(w.AWS.Inventory())); diff != "" {
			t.Errorf("a purge must leave nothing behind (-before +after):\n%s", diff)
		}
	})
}

// shared drops what belongs to the account and outlives deployments.
func shared(inventory map[string]map[string]string) map[string]map[string]string {
	for id := range inventory {
		if strings.Contains(id, "aws-service-role") {
			delete(inventory, id)
		}
	}

	return inventory
}
