package policy_test

import (
	"context"
	"testing"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

// forgotten lets the record lose one resource of each family after the other, so that each family's sweeper notes, removes and forgets something. The bucket, which
// no sweeper removes, is found again.
func forgotten(ctx context.Context, t *testing.T, w *simulation.World, j *journal) {
	t.Helper()

	record, err := w.Store.Load(ctx, key)
	if err != nil {
		t.Fatal(err)
	}

	sweep := func() {
		if err := w.Sweep(ctx, 6); err != nil {
			t.Fatal(err)
		}
	}

	for _, name := range w.Graphs.Remove.Order() {
		for _, r := range record.Resources {
			if r.Ref.Kind() != name || name == "bucket" || name == "vpc" || r.Origin != deploy.Made {
				continue
			}

			aside(j, func() {
				if err := w.Forget(ctx, key, r.Ref); err != nil {
					t.Fatal(err)
				}
			})

			sweep()
		}
	}

	bucket := *record.Find("bucket")

	aside(j, func() {
		if err := w.Forget(ctx, key, bucket.Ref); err != nil {
			t.Fatal(err)
		}
	})

	sweep()

	aside(j, func() {
		bucket.Version = 0
		if err := w.Store.Commit(ctx, key, &store.Change{Resources: []deploy.Resource{bucket}}); err != nil {
			t.Fatal(err)
		}
	})

	sweep()

	page, _, err := w.Store.Orphans(ctx, 10, "")
	if err != nil || len(page) > 0 {
		t.Fatalf("orphans in the end: %+v, %v", page, err)
	}
}
