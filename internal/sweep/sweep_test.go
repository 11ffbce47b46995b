package sweep_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/all"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/memory"
	"github.com/metaflow-deployer/metaflow-deployer/internal/sweep"
)

// shelf is a kind whose things stand on a shelf: what is listed is there, and a removal takes as many looks as it says.
type shelf struct {
	about  kind.About
	things []kind.Found
	// looks is how many looks a removal takes; stuck keeps the thing although it is said to be gone.
	looks int
	stuck bool
	// err is what a removal is refused with, broken what the list is.
	err, broken error
	// during is called before each removal.
	during func()

	removed []string
}

func (k *shelf) About() kind.About          { return k.about }
func (*shelf) Plan(deploy.Spec) []kind.Item { return nil }
func (k *shelf) List(context.Context, deploy.Owner) ([]kind.Found, error) {
	return slices.Clone(k.things), k.broken
}

func (*shelf) Ensure(context.Context, *kind.Call) (kind.Result, error) {
	return kind.Result{}, errors.New("the sweeper makes nothing")
}

func (*shelf) Observe(context.Context, *kind.Call) (kind.Observation, error) {
	return kind.Observation{}, errors.New("the sweeper observes nothing")
}

func (k *shelf) Remove(ctx context.Context, c *kind.Call) (kind.Result, error) {
	if k.during != nil {
		k.during()
	}

	if k.err != nil {
		return kind.Result{}, k.err
	}

	c.Note("looks", c.Memo["looks"]+"i")

	if err := c.Save(ctx); err != nil {
		return kind.Result{}, err
	}

	if len(c.Memo["looks"]) < k.looks {
		return kind.Result{Waiting: "DELETING"}, nil
	}

	i := slices.IndexFunc(k.things, func(f kind.Found) bool { return c.Owns(f.Tags) })
	if i >= 0 && !k.stuck {
		k.removed = append(k.removed, k.things[i].ID)
		k.things = slices.Delete(k.things, i, i+1)
	}

	return kind.Result{Done: true}, nil
}

// clock stands still but for Sleep.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time                           { return c.now }
func (c *clock) Sleep(_ context.Context, d time.Duration) { c.now = c.now.Add(d) }

var acme = deploy.Key{Tenant: "acme", Name: "lost"}

func tags(key deploy.Key, ref deploy.Ref) map[string]string {
	return deploy.Owner{Installation: "test", Tenant: key.Tenant, Name: key.Name}.Identity(ref)
}

// world is an installation with two kinds in family ec2 (vpc, and subnet, which needs it), a role that goes after the compute environment of family batch,
// and a bucket; with a deployment "living" that has twenty subnets, so that one or two unknown things are less than a tenth.
type world struct {
	*testing.T
	clock  *clock
	store  *memory.Store
	shelfs map[string]*shelf
}

func newWorld(t *testing.T) *world {
	t.Helper()

	w := &world{T: t, clock: &clock{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}, store: memory.New(), shelfs: map[string]*shelf{}}

	for _, a := range []kind.About{
		{Name: "bucket", Family: "s3", HoldsData: true, RemoveAfter: []string{"compute-environment"}},
		{Name: "role", Family: "iam", RemoveAfter: []string{"compute-environment"}},
		{Name: "vpc", Family: "ec2"},
		{Name: "subnet", Family: "ec2", Many: true, Needs: []string{"vpc"}},
		{Name: "compute-environment", Family: "batch", Many: true, Needs: []string{"role", "subnet"}},
	} {
		w.shelfs[a.Name] = &shelf{about: a}
	}

	living := deploy.Key{Tenant: "acme", Name: "living"}

	var resources []deploy.Resource

	for i := range 20 {
		ref := deploy.NewRef("subnet", string(rune('a'+i)))
		resources = append(resources, deploy.Resource{Ref: ref, Intent: w.clock.now, ID: "subnet-" + string(rune('a'+i)), Needs: []deploy.Ref{"vpc"}})
		w.put(living, ref, "subnet-"+string(rune('a'+i)))
	}

	w.record(living, deploy.Deployment{Phase: deploy.PhaseActive}, deploy.Operation{State: deploy.Succeeded}, resources...)

	return w
}

// put makes a thing with the tags of a deployment's resource.
func (w *world) put(key deploy.Key, ref deploy.Ref, id string, more ...string) {
	f := kind.Found{ID: id, ARN: "arn:" + id, Tags: tags(key, ref)}
	for _, k := range more {
		f.Tags[k] = "true"
	}

	s := w.shelfs[ref.Kind()]
	s.things = append(s.things, f)
}

func (w *world) record(key deploy.Key, d deploy.Deployment, op deploy.Operation, resources ...deploy.Resource) {
	w.Helper()

	op.ID, op.Key = key.Name+"-1", key
	d.Key, d.Operation = key, op.ID

	err := w.store.Commit(w.Context(), key, &store.Change{Deployment: &d, Operations: []deploy.Operation{op}, Resources: resources})
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) sweeper(family string) *sweep.Sweeper {
	s := &sweep.Sweeper{
		Records: w.store, Notes: w.store, Family: family, Place: deploy.Owner{Installation: "test", Partition: "aws", Account: "123456789012", Region: "us-east-1"},
		Clock: w.clock, Log: slog.New(slog.DiscardHandler),
	}

	for _, name := range []string{"bucket", "role", "vpc", "subnet", "compute-environment"} {
		if k := w.shelfs[name]; k.about.Family == family {
			s.Kinds = append(s.Kinds, k)
		}
	}

	return s
}

// sweep lets all families sweep each half an hour, n times.
func (w *world) sweep(n int) {
	w.Helper()

	for range n {
		for _, family := range sweep.Families() {
			if err := w.sweeper(family).Run(w.Context()); err != nil {
				w.Fatalf("sweep %s: %v", family, err)
			}
		}

		w.clock.now = w.clock.now.Add(30 * time.Minute)
	}
}

// orphans lists what is noted: "vpc-1 NOTED".
func (w *world) orphans() []string {
	w.Helper()

	all, _, err := w.store.Orphans(w.Context(), 100, "")
	if err != nil {
		w.Fatal(err)
	}

	var list []string
	for _, o := range all {
		list = append(list, o.ID+" "+string(o.State))
	}

	return list
}

func (w *world) reason(id string) string {
	w.Helper()

	all, _, err := w.store.Orphans(w.Context(), 100, "")
	if err != nil {
		w.Fatal(err)
	}

	for _, o := range all {
		if o.ID == id {
			return o.Reason
		}
	}

	return ""
}

func (w *world) removed() []string {
	var list []string
	for _, k := range w.shelfs {
		list = append(list, k.removed...)
	}

	slices.Sort(list)

	return list
}

func (w *world) want(what string, got, want []string) {
	w.Helper()

	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestEveryFamilySweeps(t *testing.T) {
	var families []string

	for _, k := range all.Kinds(all.Clients{}) {
		if a := k.About(); !a.Shared && !slices.Contains(families, a.Family) {
			families = append(families, a.Family)
		}
	}

	got := sweep.Families()

	slices.Sort(families)
	slices.Sort(got)

	if diff := cmp.Diff(families, got); diff != "" {
		t.Errorf("a family that does not sweep hides what may need another's thing (-kinds +sweep):\n%s", diff)
	}
}

// TestGrace: an orphan is noted at once and removed an hour later, never before.
func TestGrace(t *testing.T) {
	w := newWorld(t)
	w.put(acme, "vpc", "vpc-1")

	w.sweep(1)
	w.want("after the first sweep", w.orphans(), []string{"vpc-1 NOTED"})
	w.sweep(1)
	w.want("after half an hour", w.orphans(), []string{"vpc-1 NOTED"})

	if len(w.removed()) > 0 {
		t.Fatalf("removed before its time: %v", w.removed())
	}

	w.sweep(1)
	w.want("after an hour", w.removed(), []string{"vpc-1"})
	w.want("until the next sweep", w.orphans(), []string{"vpc-1 REMOVING"})
	w.sweep(1)
	w.want("the next sweep does not see it", w.orphans(), nil)
}

// TestVerdict: what may not be touched is not, however long it is there.
func TestVerdict(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	made := func(ref deploy.Ref, id string, needs ...deploy.Ref) deploy.Resource {
		return deploy.Resource{Ref: ref, Intent: now, ID: id, Origin: deploy.Made, Needs: needs}
	}
	done := deploy.Operation{State: deploy.Succeeded}
	skipped := deploy.Operation{State: deploy.RolledBack, Steps: []deploy.NamedStep{
		{Resource: "vpc", Kind: "vpc", Action: deploy.Remove, Step: deploy.Step{State: deploy.StepSkipped, LeftBehind: true}},
	}}

	for name, test := range map[string]struct {
		reason string
		plant  func(w *world)
		// orphans is what is noted in the end, removed what is gone.
		orphans, removed []string
		says             string
	}{
		"no record": {
			"nobody knows the deployment",
			func(w *world) { w.put(acme, "vpc", "vpc-1") },
			nil,
			[]string{"vpc-1"},
			"",
		},
		"deleted": {
			"the record says that nothing is left",
			func(w *world) {
				w.put(acme, "vpc", "vpc-1")
				w.record(acme, deploy.Deployment{Phase: deploy.PhaseDeleted}, done)
			},
			nil,
			[]string{"vpc-1"},
			"",
		},
		"not asked for": {
			"the record stands and does not know it",
			func(w *world) {
				w.put(acme, "vpc", "vpc-1")
				w.record(acme, deploy.Deployment{Phase: deploy.PhaseActive}, done, made("role", "r"))
			},
			nil,
			[]string{"vpc-1"},
			"",
		},
		"known": {
			"the record has its intent",
			func(w *world) {
				w.put(acme, "vpc", "vpc-1")
				w.record(acme, deploy.Deployment{Phase: deploy.PhaseActive}, done, made("vpc", "vpc-1"))
			},
			nil, nil, "",
		},
		"intent without an id": {
			"a create whose answer was lost is known by its intent",
			func(w *world) {
				w.put(acme, "vpc", "vpc-1")
				w.record(acme, deploy.Deployment{Phase: deploy.PhaseActive}, done, made("vpc", ""))
			},
			nil, nil, "",
		},
		"second": {
			"a duplicate of what the record knows is for a person: a removal by tag could take the wrong one",
			func(w *world) {
				w.put(acme, "vpc", "vpc-2")
				w.record(acme, deploy.Deployment{Phase: deploy.PhaseActive}, done, made("vpc", "vpc-1"))
			},
			[]string{"vpc-2 HELD"},
			nil, "second",
		},
		"unfinished": {
			"an operation is at work on the deployment",
			func(w *world) {
				w.put(acme, "vpc", "vpc-1")
				w.record(acme, deploy.Deployment{Phase: deploy.PhaseCreating, Unfinished: true}, deploy.Operation{State: deploy.Running})
			},
			nil, nil, "",
		},
		"needs attention": {
			"a person is asked already, and may resume at any moment",
			func(w *world) {
				w.put(acme, "vpc", "vpc-1")
				w.record(acme, deploy.Deployment{Phase: deploy.PhaseNeedsAttention}, deploy.Operation{State: deploy.NeedsAttention})
			},
			nil, nil, "",
		},
		"kept": {
			"the record has it as kept",
			func(w *world) {
				w.put(acme, "bucket", "b-metaflow", deploy.TagKept)
				w.record(acme, deploy.Deployment{Phase: deploy.PhaseDeleted}, done, deploy.Resource{Ref: "bucket", ID: "b-metaflow", Kept: true})
			},
			nil, nil, "",
		},
		"kept and forgotten": {
			"its record is lost, its tag is not",
			func(w *world) { w.put(acme, "role", "r", deploy.TagKept) },
			[]string{"r HELD"},
			nil, "kept",
		},
		"data": {
			"whatever its tags, a bucket may hold data",
			func(w *world) { w.put(acme, "bucket", "b-metaflow") },
			[]string{"b-metaflow HELD"},
			nil, "data",
		},
		"left behind": {
			"an admin said so",
			func(w *world) {
				w.put(acme, "vpc", "vpc-1")
				w.record(acme, deploy.Deployment{Phase: deploy.PhaseFailed}, skipped)
			},
			[]string{"vpc-1 HELD"},
			nil, "on purpose",
		},
		"in use": {
			"the record lost it, and what it still knows would break",
			func(w *world) {
				w.put(acme, "role", "r")
				w.record(acme, deploy.Deployment{Phase: deploy.PhaseActive}, done, made("compute-environment/a", "a"))
			},
			[]string{"r HELD"},
			nil, "compute-environment/a",
		},
		"needed": {
			"the same for what a known thing says to need",
			func(w *world) {
				w.put(acme, "vpc", "vpc-1")
				w.record(acme, deploy.Deployment{Phase: deploy.PhaseActive}, done, made("subnet/a", "s", "vpc"))
			},
			[]string{"vpc-1 HELD"},
			nil, "subnet/a",
		},
		"nameless": {
			"the installation's tag alone says nothing",
			func(w *world) { w.put(deploy.Key{}, "vpc", "vpc-1") },
			[]string{"vpc-1 HELD"},
			nil, "do not say",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(test.reason)

			w := newWorld(t)
			test.plant(w)
			w.sweep(6)

			w.want("orphans", w.orphans(), test.orphans)
			w.want("removed", w.removed(), test.removed)

			if len(test.orphans) > 0 {
				if id, _, _ := strings.Cut(test.orphans[0], " "); !strings.Contains(w.reason(id), test.says) {
					t.Errorf("the reason %q does not say %q", w.reason(id), test.says)
				}
			}
		})
	}
}

// TestDistrust: nothing is removed on the word of a table or of families that cannot be trusted.
func TestDistrust(t *testing.T) {
	for name, test := range map[string]struct {
		reason  string
		plant   func(w *world)
		removed []string
		says    string
	}{
		"empty table": {
			"the stack was made anew, or points at another table",
			func(w *world) { w.store = memory.New() },
			nil, "no record of any deployment",
		},
		"a tenth": {
			"two of twenty-three are less",
			func(w *world) { w.put(acme, "role", "r") },
			[]string{"r", "vpc-1"},
			"",
		},
		"more than a tenth": {
			"three of twenty-three are more",
			func(w *world) {
				w.put(acme, "role", "r")
				w.put(acme, "subnet/a", "s")
			},
			nil, "more than a tenth",
		},
		"one in a small one": {
			"one orphan beside one known thing",
			func(w *world) { w.shelfs["subnet"].things = w.shelfs["subnet"].things[:1] },
			[]string{"vpc-1"},
			"",
		},
		"two in a small one": {
			"half of what there is",
			func(w *world) {
				w.shelfs["subnet"].things = w.shelfs["subnet"].things[:2]
				w.put(acme, "role", "r")
			},
			nil, "more than a tenth",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(test.reason)

			w := newWorld(t)
			w.put(acme, "vpc", "vpc-1")
			test.plant(w)
			w.sweep(6)

			w.want("removed", w.removed(), test.removed)

			if test.says == "" {
				return
			}

			if !slices.Contains(w.orphans(), "vpc-1 REFUSED") || !strings.Contains(w.reason("vpc-1"), test.says) {
				t.Errorf("the refusal is not noted: %v, %q", w.orphans(), w.reason("vpc-1"))
			}
		})
	}
}

// TestSilentFamily: what a family that does not look may hold could need another family's orphan.
func TestSilentFamily(t *testing.T) {
	for name, test := range map[string]struct {
		reason string
		// before and after are the half hours that batch looks before the orphan comes, and with it.
		before, after int
		// back turns the clock back before the orphan comes; step is between the sweeps without batch.
		back, step time.Duration
	}{
		"never":      {"its things were never looked at", 0, 0, 0, 50 * time.Minute},
		"not since":  {"it looked just before the orphan was seen", 2, 0, 25 * time.Minute, 30 * time.Minute},
		"long since": {"it looked after that, once, and not for more than an hour", 0, 1, 0, 50 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(test.reason)

			w := newWorld(t)
			w.sweep(test.before)
			w.clock.now = w.clock.now.Add(-test.back)
			w.put(acme, "role", "r")
			w.sweep(test.after)

			w.shelfs["compute-environment"].broken = errors.New("denied")

			for range 4 {
				for _, family := range []string{"s3", "iam", "ec2"} {
					if err := w.sweeper(family).Run(t.Context()); err != nil {
						t.Fatal(err)
					}
				}

				if err := w.sweeper("batch").Run(t.Context()); err == nil {
					t.Fatal("a list that AWS refused must end the sweep")
				}

				w.clock.now = w.clock.now.Add(test.step)
			}

			if !strings.Contains(w.reason("r"), "batch") || len(w.removed()) > 0 {
				t.Errorf("removed %v although batch has not looked; the reason is %q", w.removed(), w.reason("r"))
			}

			w.shelfs["compute-environment"].broken = nil
			w.sweep(2)
			w.want("once batch looks again", w.removed(), []string{"r"})
		})
	}
}

// TestOrder: what must go before a thing goes before it, across families.
func TestOrder(t *testing.T) {
	for name, test := range map[string]struct {
		reason       string
		first, later deploy.Ref
	}{
		"needs":        {"the other kind needs it", "subnet/x", "vpc"},
		"remove after": {"its own kind says so", "compute-environment/a", "role"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(test.reason)

			w := newWorld(t)
			w.put(acme, test.first, "first")
			w.put(acme, test.later, "later")
			w.shelfs["compute-environment"].about.Needs = nil
			w.shelfs[test.first.Kind()].looks = 40 // more than one sweep's

			w.sweep(4)
			w.want("the first one resists", w.removed(), nil)

			if !strings.Contains(w.reason("later"), "waits until "+string(test.first)) {
				t.Errorf("it does not say what it waits for: %q", w.reason("later"))
			}

			w.sweep(5)
			w.want("both in the end", w.removed(), []string{"first", "later"})
			w.want("nothing is noted any more", w.orphans(), nil)
		})
	}

	t.Run("at once", func(t *testing.T) {
		w := newWorld(t)
		w.put(acme, "subnet/x", "first")
		w.put(acme, "vpc", "later")
		w.sweep(3)
		w.want("what AWS shows gone is not waited for", w.removed(), []string{"first", "later"})
	})
}

// TestResisting: what takes all the time of a sweep leaves the next one to others.
func TestResisting(t *testing.T) {
	w := newWorld(t)
	w.shelfs["subnet"].looks = 1000

	// Each takes its 10 s of 25: the fourth has no time left.
	for _, ref := range []deploy.Ref{"subnet/v", "subnet/x", "subnet/y", "subnet/z"} {
		w.put(acme, ref, string(ref[7:]))
	}

	for i := range 20 {
		w.put(deploy.Key{Tenant: "acme", Name: "living"}, deploy.NewRef("subnet", string(rune('a'+i))), "subnet-"+string(rune('a'+i)))
	}

	w.sweep(3)
	w.want("three of four", w.orphans(), []string{"v REMOVING", "x REMOVING", "y REMOVING", "z NOTED"})
	w.sweep(1)
	w.want("the fourth comes first", w.orphans(), []string{"v REMOVING", "x REMOVING", "y REMOVING", "z REMOVING"})
}

// TestStillThere: what AWS says to be gone and goes on listing is not removed for ever.
func TestStillThere(t *testing.T) {
	w := newWorld(t)
	w.put(acme, "vpc", "vpc-1")
	w.shelfs["vpc"].stuck = true

	calls := 0
	w.shelfs["vpc"].during = func() { calls++ }

	w.sweep(8)
	w.want("a person must look", w.orphans(), []string{"vpc-1 HELD"})

	if calls != 1 {
		t.Errorf("removed %d times, want once", calls)
	}
}

// TestTakenUp: a create that takes the thing up between two looks keeps it.
func TestTakenUp(t *testing.T) {
	w := newWorld(t)
	w.put(acme, "vpc", "vpc-1")
	w.shelfs["vpc"].looks = 5

	calls := 0
	w.shelfs["vpc"].during = func() {
		if calls++; calls == 2 {
			w.record(acme, deploy.Deployment{Phase: deploy.PhaseCreating, Unfinished: true}, deploy.Operation{State: deploy.Running})
		}
	}

	w.sweep(6)

	if calls != 2 || len(w.removed()) > 0 {
		t.Errorf("%d looks, removed %v: the record must be read before each look", calls, w.removed())
	}

	w.want("it is no orphan any more", w.orphans(), nil)
}

// TestSeenAgain: an orphan that was known for a while begins its time anew.
func TestSeenAgain(t *testing.T) {
	w := newWorld(t)
	w.put(acme, "vpc", "vpc-1")
	w.sweep(2)

	w.record(acme, deploy.Deployment{Phase: deploy.PhaseCreating, Unfinished: true}, deploy.Operation{State: deploy.Running})
	w.sweep(1)
	w.want("an operation is at work", w.orphans(), nil)

	record, err := w.store.Load(t.Context(), acme)
	if err != nil {
		t.Fatal(err)
	}

	record.Deployment.Unfinished, record.Deployment.Phase = false, deploy.PhaseDeleted
	if err := w.store.Commit(t.Context(), acme, &store.Change{Deployment: &record.Deployment}); err != nil {
		t.Fatal(err)
	}

	w.sweep(2)
	w.want("too early", w.removed(), nil)
	w.sweep(1)
	w.want("an hour later", w.removed(), []string{"vpc-1"})
}

// TestRefusal: AWS's refusal is noted and tried again by the next sweep.
func TestRefusal(t *testing.T) {
	w := newWorld(t)
	w.put(acme, "vpc", "vpc-1")
	w.shelfs["vpc"].err = deploy.Errorf(deploy.Denied, "aws_denied", "AccessDenied: no")

	w.sweep(4)
	w.want("it is at it", w.orphans(), []string{"vpc-1 REMOVING"})

	if w.reason("vpc-1") != "AccessDenied: no" {
		t.Errorf("the reason is %q", w.reason("vpc-1"))
	}

	w.shelfs["vpc"].err = nil
	w.sweep(1)
	w.want("removed once AWS allows it", w.removed(), []string{"vpc-1"})
}

// TestStoreFaults: whatever call of the table fails, nothing is removed that must stay, and the next sweep goes on.
func TestStoreFaults(t *testing.T) {
	for _, method := range []string{"Load", "Operations", "Orphans", "NoteOrphan", "ForgetOrphan", "Sweeps", "NoteSweep"} {
		t.Run(method, func(t *testing.T) {
			w := newWorld(t)
			w.put(acme, "vpc", "vpc-1")
			w.record(acme, deploy.Deployment{Phase: deploy.PhaseDeleted}, deploy.Operation{State: deploy.Succeeded})

			failing := false
			w.store.Fault = func(_ context.Context, m string, _ deploy.Key) memory.Fault {
				if failing && m == method {
					return memory.Fault{Before: errors.New("throttled")}
				}

				return memory.Fault{}
			}

			w.sweep(2)

			failing = true
			failed := 0

			for _, family := range sweep.Families() {
				if err := w.sweeper(family).Run(t.Context()); err != nil {
					failed++
				}
			}

			// Forgetting is for what is gone, and nothing is yet.
			if failed == 0 && method != "ForgetOrphan" {
				t.Error("a fault of the table must be told")
			}

			if len(w.removed()) > 0 && method != "ForgetOrphan" {
				t.Errorf("removed %v without its table", w.removed())
			}

			failing = false
			w.clock.now = w.clock.now.Add(30 * time.Minute)
			w.sweep(3)
			w.want("in the end", w.removed(), []string{"vpc-1"})
			w.want("nothing is noted any more", w.orphans(), nil)
		})
	}
}
