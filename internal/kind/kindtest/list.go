package kindtest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// list: what Ensure made is listed under the id and ARN that Ensure answered, until it is gone; what another installation made never is.
func (s Subject) list(t *testing.T) {
	if s.Stays {
		t.Skip("what is shared is nobody's orphan")
	}

	b := s.Build(t)

	lister, ok := b.Kind.(kind.Lister)
	if !ok {
		t.Fatalf("%s has no List: the sweeper would never find one that got lost", b.Kind.About().Name)
	}

	seen := func(installation string) []kind.Found {
		t.Helper()

		mark := len(b.World.Calls())

		all, err := lister.List(t.Context(), deploy.Owner{
			Installation: installation, Partition: b.World.Partition, Account: b.World.Account, Region: b.World.Region,
		})
		if err != nil {
			t.Fatalf("list: %v", err)
		}

		if changes := b.Changes(mark); len(changes) > 0 {
			t.Errorf("list made changing calls: %v", changes)
		}

		return all
	}

	if found := seen(b.Owner.Installation); len(found) > 0 {
		t.Errorf("listed before it was made: %+v", found)
	}

	// A look-alike may be another tenant's, which is listed as that tenant's.
	if s.Foreign != nil {
		s.Foreign(t, b)

		for _, f := range seen(b.Owner.Installation) {
			if b.Owns(f.Tags) {
				t.Errorf("a look-alike is listed as ours: %+v", f)
			}
		}

		b = s.Build(t)
		lister, _ = b.Kind.(kind.Lister)
	}

	r := b.Ensure(t)

	found := seen(b.Owner.Installation)
	if len(found) != 1 {
		t.Fatalf("listed %d things after one was made: %+v", len(found), found)
	}

	if diff := cmp.Diff([]string{r.ID, r.ARN, string(b.Ref)}, []string{found[0].ID, found[0].ARN, string(found[0].Ref())}); diff != "" {
		t.Errorf("listed otherwise than Ensure answered (-ensure +list):\n%s", diff)
	}

	if !b.Owns(found[0].Tags) {
		t.Errorf("the tags do not say whose it is: %v", found[0].Tags)
	}

	if found := seen("another"); len(found) > 0 {
		t.Errorf("listed for another installation: %+v", found)
	}

	b.World.Fault = RefuseOnce(firstList(b, seen), "Throttling")

	if _, err := lister.List(t.Context(), deploy.Owner{Installation: b.Owner.Installation, Partition: b.World.Partition, Account: b.World.Account, Region: b.World.Region}); err == nil {
		t.Error("a list that AWS refused looks like an empty one")
	}

	b.World.Fault = nil
	b.Data = deploy.Purge
	b.Remove(t)

	if found := seen(b.Owner.Installation); len(found) > 0 {
		t.Errorf("listed after it was removed: %+v", found)
	}
}

// firstList is the operation that a list begins with.
func firstList(b *Bench, seen func(string) []kind.Found) string {
	mark := len(b.World.Calls())
	seen(b.Owner.Installation)

	return b.World.Calls()[mark:][0].Operation
}
