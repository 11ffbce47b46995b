package memory_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/memory"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/storetest"
)

func TestSuite(t *testing.T) {
	storetest.Suite(t, func(_ *testing.T, now func() time.Time) store.Store {
		s := memory.New()
		s.Now = now

		return s
	})
}

// A fault before the act leaves the store alone, one behind it loses the answer only; in neither case does the caller hold raised versions.
func TestFault(t *testing.T) {
	broken := errors.New("broken")

	for name, test := range map[string]struct {
		reason string
		fault  memory.Fault
		want   int64
	}{
		"Before": {"the call never arrived", memory.Fault{Before: broken}, 1},
		"Lost":   {"the call did its work and its answer was lost", memory.Fault{Lost: broken}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(test.reason)

			key := deploy.Key{Tenant: "a", Name: "first"}
			s := memory.New()
			change := &store.Change{
				Deployment: &deploy.Deployment{Key: key, Operation: "first-1"},
				Operations: []deploy.Operation{{ID: "first-1", Key: key}},
				Resources:  []deploy.Resource{{Ref: "vpc"}},
			}

			if err := s.Commit(t.Context(), key, change); err != nil {
				t.Fatal(err)
			}

			s.Fault = func(_ context.Context, method string, at deploy.Key) memory.Fault {
				if at != key {
					t.Errorf("%s was asked about %v", method, at)
				}

				if method == "Load" {
					return memory.Fault{}
				}

				return test.fault
			}

			vpc := change.Resources[0]

			if err := s.Commit(t.Context(), key, &store.Change{Deployment: change.Deployment, Operations: change.Operations}); !errors.Is(err, broken) {
				t.Errorf("Commit: got error %v", err)
			}

			if err := s.Save(t.Context(), key, &vpc); !errors.Is(err, broken) {
				t.Errorf("Save: got error %v", err)
			}

			if change.Deployment.Version != 1 || change.Operations[0].Version != 1 || vpc.Version != 1 {
				t.Errorf("the caller holds versions %d, %d and %d", change.Deployment.Version, change.Operations[0].Version, vpc.Version)
			}

			record, err := s.Load(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}

			for what, got := range map[string]int64{
				"header": record.Deployment.Version, "operation": record.Operation.Version, "resource": record.Resources[0].Version,
			} {
				if got != test.want {
					t.Errorf("%s: version %d, want %d", what, got, test.want)
				}
			}
		})
	}
}
