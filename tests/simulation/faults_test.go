package simulation_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

// every is how many of the worlds a plain `go test` tries: each seventh. METAFLOW_DEPLOYER_SIMULATE=all tries them all.
func every() int {
	if os.Getenv("METAFLOW_DEPLOYER_SIMULATE") == "all" {
		return 1
	}

	return 7
}

// fault breaks one point once.
type fault struct {
	point  string
	action simulation.Action
}

func (f fault) String() string { return string(f.action) + " at " + f.point }

// inject lets each fault happen once.
func inject(w *simulation.World, faults ...fault) {
	var (
		mu   sync.Mutex
		left = slices.Clone(faults)
	)

	w.Fault = func(point string) simulation.Action {
		mu.Lock()
		defer mu.Unlock()

		for i, f := range left {
			if f.point == point {
				left = slices.Delete(left, i, i+1)

				return f.action
			}
		}

		return simulation.None
	}
}

// points runs an undisturbed life and lists where a create and where its delete can break.
func points(t *testing.T) (creating, deleting []string) {
	t.Helper()

	world(t, func(t *testing.T, w *simulation.World) {
		t.Helper()

		ctx := t.Context()
		create(ctx, t, w, deploy.Spec{})
		creating = w.Points()
		remove(ctx, t, w, deploy.Purge)
		deleting = w.Points()[len(creating):]
	})

	return creating, deleting
}

// refusable tells whether AWS may refuse a call for good without the outcome being the refusal's: reads and the store are left to other tests.
func refusable(point string) bool {
	return !strings.Contains(point, "store.") && !strings.Contains(point, "sfn.")
}

// live runs a whole life under faults and says what is wrong with it.
func live(ctx context.Context, w *simulation.World, mayFail bool) error {
	before := w.AWS.Inventory()

	err := w.Call(ctx, "api", func(ctx context.Context) error {
		_, err := w.Control.Create(ctx, owner, workflow.CreateRequest{Name: key.Name, Spec: deploy.Spec{}.WithDefaults()})

		return err
	})
	_ = err // an api that broke may or may not have admitted: the record tells

	header, err := w.Settle(ctx, key)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}

	switch header.Phase {
	case deploy.PhaseActive:
		if twice := doubled(w.AWS.Inventory()); len(twice) > 0 {
			return fmt.Errorf("made twice: %v", twice)
		}
	case deploy.PhaseFailed:
		if !mayFail {
			return fmt.Errorf("a fault that passes must not fail the create")
		}

		if diff := cmp.Diff(before, shared(w.AWS.Inventory())); diff != "" {
			return fmt.Errorf("rolled back, but not whole (-before +after):\n%s", diff)
		}
	default:
		return fmt.Errorf("the create ended in %s", header.Phase)
	}

	for range 3 {
		err = w.Call(ctx, "api", func(ctx context.Context) error {
			_, err := w.Control.Delete(ctx, owner, key.Name, deploy.Purge)

			return err
		})

		if header, err = w.Settle(ctx, key); err != nil {
			return fmt.Errorf("delete: %w", err)
		}

		if header.Phase == deploy.PhaseDeleted || header.Phase == deploy.PhaseNeedsAttention && !mayFail {
			break
		}
	}

	if header.Phase != deploy.PhaseDeleted {
		return fmt.Errorf("the delete ended in %s", header.Phase)
	}

	if diff := cmp.Diff(before, shared(w.AWS.Inventory())); diff != "" {
		return fmt.Errorf("deleted, but not whole (-before +after):\n%s", diff)
	}

	return nil
}

// doubled lists resources of which more than one thing carries the tags.
func doubled(inventory map[string]map[string]string) []string {
	seen := map[string]int{}
	for _, tags := range inventory {
		if ref := tags[deploy.TagResource]; ref != "" {
			seen[ref]++
		}
	}

	maps.DeleteFunc(seen, func(_ string, n int) bool { return n == 1 })

	return slices.Sorted(maps.Keys(seen))
}

// TestSingleFaults breaks every point of a life once in every way: a process that dies before and after each call, an answer that is lost, a throttle, a server
// error; and for AWS a refusal for good, after which a create must be rolled back whole and a delete must be able to finish later.
func TestSingleFaults(t *testing.T) {
	t.Parallel()

	creating, deleting := points(t)

	var faults []fault

	for _, p := range slices.Concat(creating, deleting) {
		for _, a := range []simulation.Action{
			simulation.CrashBefore, simulation.CrashAfter, simulation.LoseAnswer, simulation.Throttle, simulation.ServerError, simulation.Refuse,
		} {
			if a != simulation.Refuse || refusable(p) {
				faults = append(faults, fault{p, a})
			}
		}
	}

	tried := 0

	for i, f := range faults {
		if i%every() != 0 {
			continue
		}

		tried++

		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, err := simulation.NewWorld(1)
				if err != nil {
					t.Fatal(err)
				}

				inject(w, f)

				if err := live(t.Context(), w, f.action == simulation.Refuse); err != nil {
					w.Fault = nil
					t.Errorf("%v\n%s", err, explain(t.Context(), t, w))
				}
			})
		})
	}

	t.Logf("%d of %d single faults at %d points of a create and %d of its delete", tried, len(faults), len(creating), len(deleting))
}
