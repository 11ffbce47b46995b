package simulation_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/memory"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

// orphans lists what the sweeper noted: "vpc NOTED".
func orphans(t *testing.T, w *simulation.World) []string {
	t.Helper()

	all, _, err := w.Store.Orphans(t.Context(), 100, "")
	if err != nil {
		t.Fatal(err)
	}

	var list []string
	for _, o := range all {
		list = append(list, string(o.Resource)+" "+string(o.State))
	}

	return list
}

func sweeps(t *testing.T, w *simulation.World, n int) {
	t.Helper()

	if err := w.Sweep(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

// TestSweeperTouchesNothingKnown sweeps through a whole life, with things of others beside it: nothing is noted, nothing goes.
func TestSweeperTouchesNothingKnown(t *testing.T) {
	t.Parallel()

	world(t, func(t *testing.T, w *simulation.World) {
		ctx := t.Context()

		// Another installation's, another person's, and one that only looks like ours.
		w.AWS.S3.Put("theirs-abcdefgh-metaflow", w.AWS.Account, w.AWS.Region, map[string]string{deploy.TagInstallation: "another", deploy.TagResource: "bucket"})
		w.AWS.S3.Put("data-metaflow", w.AWS.Account, w.AWS.Region, nil)
		w.AWS.S3.Put("foreign-metaflow", "999999999999", w.AWS.Region, nil)
		w.AWS.S3.Put("far-metaflow", w.AWS.Account, "eu-south-2", map[string]string{deploy.TagInstallation: w.Control.Place.Installation, deploy.TagResource: "bucket"})
		w.AWS.EC2.PageSize = 1

		if _, err := w.Control.Create(ctx, owner, workflow.CreateRequest{Name: key.Name, Spec: deploy.Spec{}.WithDefaults()}); err != nil {
			t.Fatal(err)
		}

		sweeps(t, w, 1) // while it is made

		if header, err := w.Settle(ctx, key); err != nil || header.Phase != deploy.PhaseActive {
			t.Fatalf("%s, %v\n%s", header.Phase, err, explain(ctx, t, w))
		}

		before := w.AWS.Inventory()

		sweeps(t, w, 5)

		if diff := cmp.Diff(before, w.AWS.Inventory()); diff != "" {
			t.Errorf("a sweep changed what is known (-before +after):\n%s", diff)
		}

		if list := orphans(t, w); len(list) > 0 {
			t.Errorf("noted although it is known: %v", list)
		}

		all, err := w.Store.Sweeps(ctx)
		if err != nil {
			t.Fatal(err)
		}

		seen := 0
		for _, s := range all {
			seen += s.Seen
		}

		record, err := w.Store.Load(ctx, key)
		if err != nil {
			t.Fatal(err)
		}

		made := 0

		for _, r := range record.Resources {
			if r.Origin == deploy.Made {
				made++
			}
		}

		if seen != made {
			t.Errorf("the families saw %d things, the record has %d", seen, made)
		}

		if header := remove(ctx, t, w, deploy.Keep); header.Phase != deploy.PhaseDeleted {
			t.Fatal(explain(ctx, t, w))
		}

		sweeps(t, w, 5) // a bucket that a delete kept is known, and there may be an empty one

		if list := orphans(t, w); len(list) > 0 {
			t.Errorf("noted after the delete: %v", list)
		}
	})
}

// TestSweeperFindsWhatTheRecordLost loses one resource after the other from the record, those that nothing needs any more first. Each is noted, and gone
// after its hour; the bucket is noted and stays.
func TestSweeperFindsWhatTheRecordLost(t *testing.T) {
	t.Parallel()

	world(t, func(t *testing.T, w *simulation.World) {
		ctx := t.Context()

		before := w.AWS.Inventory()

		create(ctx, t, w, deploy.Spec{})

		record, err := w.Store.Load(ctx, key)
		if err != nil {
			t.Fatal(err)
		}

		// The bucket last: what is held counts as unknown too, and two of what is left would be too many.
		order := slices.DeleteFunc(slices.Clone(w.Graphs.Remove.Order()), func(name string) bool { return name == "bucket" })

		for _, name := range append(order, "bucket") {
			for _, r := range record.Resources {
				if r.Ref.Kind() != name || r.Origin != deploy.Made {
					continue
				}

				if err := w.Forget(ctx, key, r.Ref); err != nil {
					t.Fatal(err)
				}

				sweeps(t, w, 2)

				want := string(r.Ref) + " NOTED"
				if name == "bucket" {
					want = "bucket HELD"
				}

				if list := orphans(t, w); !slices.Contains(list, want) {
					t.Fatalf("%s is lost and not noted: %v", r.Ref, list)
				}

				sweeps(t, w, 4)

				if list := orphans(t, w); slices.ContainsFunc(list, func(s string) bool { return !strings.HasPrefix(s, "bucket ") }) {
					all, _, _ := w.Store.Orphans(ctx, 100, "")
					t.Fatalf("%s is still there: %+v", r.Ref, all)
				}
			}
		}

		after := shared(w.AWS.Inventory())
		maps.DeleteFunc(after, func(name string, _ map[string]string) bool { return strings.HasPrefix(name, "s3 ") })

		if diff := cmp.Diff(before, after); diff != "" || len(w.AWS.S3.Buckets()) != 1 {
			t.Errorf("all but the bucket must be gone (-before +after):\n%s", diff)
		}
	})
}

// TestSweeperRefusesAnEmptyTable: the table is gone, the things are not.
func TestSweeperRefusesAnEmptyTable(t *testing.T) {
	t.Parallel()

	world(t, func(t *testing.T, w *simulation.World) {
		ctx := t.Context()

		create(ctx, t, w, deploy.Spec{})

		before := w.AWS.Inventory()
		w.Store = memory.New()

		sweeps(t, w, 6)

		if diff := cmp.Diff(before, w.AWS.Inventory()); diff != "" {
			t.Errorf("a sweep with an empty table changed something (-before +after):\n%s", diff)
		}

		list := orphans(t, w)
		if !slices.Contains(list, "vpc REFUSED") || slices.ContainsFunc(list, func(s string) bool { return strings.HasSuffix(s, " REMOVING") }) {
			t.Errorf("the refusal must be noted: %v", list)
		}
	})
}

// TestSweeperRefusesAnOldTable: most of what there is is unknown.
func TestSweeperRefusesAnOldTable(t *testing.T) {
	t.Parallel()

	world(t, func(t *testing.T, w *simulation.World) {
		ctx := t.Context()

		create(ctx, t, w, deploy.Spec{})

		record, err := w.Store.Load(ctx, key)
		if err != nil {
			t.Fatal(err)
		}

		var refs []deploy.Ref
		for _, r := range record.Resources {
			refs = append(refs, r.Ref)
		}

		if err := w.Forget(ctx, key, refs...); err != nil {
			t.Fatal(err)
		}

		before := w.AWS.Inventory()

		sweeps(t, w, 6)

		if diff := cmp.Diff(before, w.AWS.Inventory()); diff != "" {
			t.Errorf("a sweep changed something on the word of an old table (-before +after):\n%s", diff)
		}
	})
}

// TestCreateTakesAnOrphanUp: what the sweeper waits to remove is used by a new create of the name, and stays.
func TestCreateTakesAnOrphanUp(t *testing.T) {
	t.Parallel()

	world(t, func(t *testing.T, w *simulation.World) {
		ctx := t.Context()

		create(ctx, t, w, deploy.Spec{})

		if err := w.Forget(ctx, key, "job-role"); err != nil {
			t.Fatal(err)
		}

		sweeps(t, w, 4)

		if list := orphans(t, w); !slices.Equal(list, []string{"job-role HELD"}) {
			t.Fatalf("the role is not in the record, and the environment that is may use it: %v", list)
		}

		// The rest goes. The role's hour is over, but a create of the name is quicker than the next sweep.
		remove(ctx, t, w, deploy.Purge)

		if roles, _ := w.AWS.IAM.Names(); !slices.ContainsFunc(roles, func(name string) bool { return strings.HasSuffix(name, "-job") }) {
			t.Fatalf("the lost role must outlive the delete: %v", roles)
		}

		if header := create(ctx, t, w, deploy.Spec{}); header.Phase != deploy.PhaseActive {
			t.Fatal(explain(ctx, t, w))
		}

		before := w.AWS.Inventory()

		sweeps(t, w, 5)

		if diff := cmp.Diff(before, w.AWS.Inventory()); diff != "" {
			t.Errorf("a sweep changed what a create took up (-before +after):\n%s", diff)
		}

		if list := orphans(t, w); len(list) > 0 {
			t.Errorf("noted: %v", list)
		}
	})
}
