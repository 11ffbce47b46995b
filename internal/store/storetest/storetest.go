// Package storetest holds the behaviour that every store.Store must show. An implementation's own test hands it a factory; nothing here knows what the
// store is made of.
package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

// Factory makes an empty store, or one that shares a table with others, whose claims go by the clock. It is a Listener, and everything else that package
// store asks of a store.
type Factory func(t *testing.T, now func() time.Time) store.Store

// Suite runs the behaviour suite. Every test uses tenants of its own and does not mind what else a shared table holds.
func Suite(t *testing.T, make Factory) {
	t.Helper()

	for name, test := range map[string]struct {
		reason string
		run    func(*testing.T, *fixture)
	}{
		"RoundTrip":         {"what is written is read back whole, and is nobody's to change from outside", roundTrip},
		"NotFound":          {"what is not there is said to be so, and a list of it is empty", notFound},
		"Versions":          {"each write raises its items' versions, in place and in the store", versions},
		"Stale":             {"a write on something that changed is refused whole and leaves the caller's versions alone", stale},
		"Absent":            {"version 0 is an item that must not exist, any other one that must", absent},
		"Fence":             {"stamping every resource shuts out whoever read before", fence},
		"Drop":              {"a dropped resource is gone, and only if it is as it was read", drop},
		"Repetition":        {"a write that is repeated as it is happens once", repetition},
		"OneWinner":         {"of many who write on the same version exactly one succeeds", oneWinner},
		"OneSaver":          {"the same holds for a single resource", oneSaver},
		"OneCreator":        {"the same holds for a name that nobody has taken", oneCreator},
		"Counting":          {"who loses, reads again and repeats loses no update", counting},
		"Supersession":      {"an operation ends and the next becomes current in one write", supersession},
		"Recreation":        {"a name that is free again keeps the history of its earlier lives", recreation},
		"WatchdogWrite":     {"a header alone can be written", watchdogWrite},
		"Unsound":           {"what no store could keep is refused, and not as a lost race", unsound},
		"Largest":           {"a change of 100 items is written", largest},
		"History":           {"operations come newest first, page by page", history},
		"List":              {"a tenant's deployments come by name, page by page, without the deleted ones", list},
		"ListDeleted":       {"with the deleted ones merged in where asked for", listDeleted},
		"ListFilter":        {"only those that match, in pages that lead to the end", listFilter},
		"ListTenants":       {"tenants see their own, whatever their names look like", listTenants},
		"ListFollows":       {"a list follows a deployment from life to death and back", listFollows},
		"Unfinished":        {"unfinished operations come oldest first and only when due", unfinished},
		"Claim":             {"a key is taken once: busy meanwhile, another request is a mismatch", claim},
		"ClaimRelease":      {"a released key is free", claimRelease},
		"ClaimAnswer":       {"an answered key gives the same answer again for 24 hours", claimAnswer},
		"ClaimAnswerAtomic": {"the answer is written with the change or not at all", claimAnswerAtomic},
		"ClaimLapse":        {"a claim that nobody ends lapses after a minute", claimLapse},
		"ClaimTaken":        {"who lost a lapsed claim to another request writes nothing", claimTaken},
		"ClaimTenants":      {"keys belong to their tenants", claimTenants},
		"ClaimRace":         {"of many who claim a key exactly one gets it", claimRace},
		"Orphans":           {"the sweeper's orphans come by name, page by page, as they were noted last, until they are forgotten", orphans},
		"Sweeps":            {"of each family the newest sweep is kept", sweepNotes},
		"Events":            {"a change tells its events in the same write, and no sequence is used twice", events},
		"EntriesAtomic":     {"a change's audit entries stand with it or not at all, and none is written over", entriesAtomic},
		"UsageMoves":        {"what a tenant uses moves up and down with a change, once, and is no other tenant's", usageMoves},
		"UsageLimit":        {"a change that would lift a counter above its limit writes nothing and tells what is in use", usageLimit},
		"UsageStale":        {"who lost a race is told so first, whatever the limits say", usageStale},
		"UsageRace":         {"of many who want the last places as many get one as there are", usageRace},
		"UsageAll":          {"many who move one tenant's counters at once all succeed and all count", usageAll},
		"Queued":            {"a tenant's queued operations come in the order in which they were queued, and are not unfinished ones", queued},
		"QueuedTenants":     {"the tenants of whom something is queued come by name, each once", queuedTenants},
		"Expiring":          {"what is finished and has a time set comes when it is due, the oldest first, never what is at work or queued", expiring},
		"Trail":             {"audit entries come newest first, page by page, of a whole tenant or of one deployment", trail},
		"TrailTenants":      {"a trail is its tenant's alone, whatever the names look like", trailTenants},
		"TrailTaken":        {"an entry that stands is never written over: of many with one id exactly one succeeds", trailTaken},
		"Grants":            {"grants come by kind and value, are replaced and withdrawn, each with its entry in the trail or not at all", grants},
		"Webhooks":          {"webhooks come by id, each coming and going with its entry in the trail or not at all", webhooks},
		"Misfit":            {"what belongs to one tenant does not come with the entry of another", misfit},
		"Callbacks":         {"callbacks stand with their deployment, as they were noted last, until they are forgotten", callbacks},
		"Overdue":           {"callbacks of all deployments come whole when their deadline is over, the oldest first", overdue},
		"Canceled":          {"a call whose context is over writes nothing", canceled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(test.reason)

			f := &fixture{T: t, now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), tenant: fmt.Sprintf("%s-%d", name, serial())}
			f.Store = make(t, f.clock)
			test.run(t, f)
		})
	}
}

// serial tells runs on one lasting table apart.
func serial() int64 { return time.Now().UnixNano() }

type fixture struct {
	store.Store
	*testing.T

	tenant string

	mu  sync.Mutex
	now time.Time
}

func (f *fixture) clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()

	return f.now
}

func (f *fixture) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()

	f.now = f.now.Add(d)
}

func (f *fixture) key(name string) deploy.Key { return deploy.Key{Tenant: f.tenant, Name: name} }

// id makes operation ids that sort by n.
func id(name string, n int) string { return fmt.Sprintf("%s-01kb%022d", name, n) }

// admission is the change that admits operation n of a deployment of which the header has that version.
func (f *fixture) admission(name string, n int, version int64) *store.Change {
	key := f.key(name)
	now := f.clock()

	return &store.Change{
		Deployment: &deploy.Deployment{
			Key: key, Phase: deploy.PhaseCreating, Labels: map[string]string{"team": "ml"}, Account: "123456789012", Region: "eu-west-1", Owner: "ann",
			CreateTime: now, UpdateTime: now, Operation: id(name, n), Epoch: 1, Unfinished: true, CheckTime: now.Add(30 * time.Second), Version: version,
		},
		Operations: []deploy.Operation{{ID: id(name, n), Key: key, Kind: deploy.Create, State: deploy.Pending, Actor: "ann", CreateTime: now}},
	}
}

func resource(ref deploy.Ref) deploy.Resource {
	return deploy.Resource{
		Ref: ref, Origin: deploy.Made, MadeBy: "op", Generation: "abcd2345", Needs: []deploy.Ref{"vpc", "subnet/a"}, ID: "id-" + string(ref),
		Outputs: map[string]string{"arn": "arn:aws:x:::" + string(ref)}, Memo: map[string]string{"seen": "1"},
		Ensure: &deploy.Step{State: deploy.StepRunning, Attempts: 2, Error: &deploy.Error{Class: deploy.Transient, Code: "c", Message: "m", AWSCode: "Throttling"}},
	}
}

// create admits operation 1 of a new deployment and gives it resources.
func (f *fixture) create(name string, refs ...deploy.Ref) *store.Record {
	f.Helper()

	change := f.admission(name, 1, 0)
	for _, ref := range refs {
		change.Resources = append(change.Resources, resource(ref))
	}

	f.commit(name, change)

	return f.load(name)
}

func (f *fixture) commit(name string, change *store.Change) {
	f.Helper()

	if err := f.Commit(f.Context(), f.key(name), change); err != nil {
		f.Fatalf("Commit: %v", err)
	}
}

func (f *fixture) load(name string) *store.Record {
	f.Helper()

	record, err := f.Load(f.Context(), f.key(name))
	if err != nil {
		f.Fatalf("Load: %v", err)
	}

	slices.SortFunc(record.Resources, func(a, b deploy.Resource) int { return cmp.Compare(a.Ref, b.Ref) })

	return record
}

func (f *fixture) want(err, want error) {
	f.Helper()

	if !errors.Is(err, want) {
		f.Fatalf("got error %v, want %v", err, want)
	}
}

func (f *fixture) same(what string, got, want any) {
	f.Helper()

	if diff := gocmp.Diff(want, got, gocmp.Comparer(sameError)); diff != "" {
		f.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

// sameError leaves out the cause, which no record keeps.
func sameError(a, b deploy.Error) bool {
	return a.Class == b.Class && a.Code == b.Code && a.Message == b.Message && a.Remedy == b.Remedy && a.Pointer == b.Pointer &&
		a.Resource == b.Resource && a.AWSCode == b.AWSCode && a.RequestID == b.RequestID
}

func roundTrip(_ *testing.T, f *fixture) {
	change := f.admission("first", 1, 0)
	change.Deployment.Spec = deploy.Spec{
		Storage: deploy.Storage{FlowsPrefix: "flows", Existing: &deploy.ExistingBucket{Bucket: "theirs", Prefix: "a/b"}},
		Compute: deploy.Compute{DefaultQueue: "q"}, Tags: map[string]string{"cost": "<1 & 2> 'ü'"},
	}
	change.Operations[0].Steps = []deploy.NamedStep{{Resource: "vpc", Kind: "vpc", Action: deploy.Ensure, Step: deploy.Step{State: deploy.StepReady, Attempts: 1}}}
	change.Operations[0].Error = &deploy.Error{Class: deploy.Quota, Code: "quota", Message: "too many"}
	change.Operations[0].Data = deploy.IfEmpty
	change.Resources = []deploy.Resource{resource("job-queue/default"), resource("vpc")}
	change.Resources[1].BusyUntil = f.now.Add(time.Minute + 123456789*time.Nanosecond)
	f.commit("first", change)

	want := &store.Record{Deployment: *change.Deployment, Operation: change.Operations[0], Resources: change.Resources}
	got := f.load("first")
	f.same("record", got, want)

	op, err := f.Operation(f.Context(), f.key("first"), id("first", 1))
	f.want(err, nil)
	f.same("operation", op, want.Operation)

	// Neither what was handed in nor what was handed out reaches into the store.
	change.Deployment.Labels["team"] = "changed"
	change.Resources[0].Outputs["arn"] = "changed"
	got.Resources[0].Memo["seen"] = "changed"
	got.Deployment.Spec.Tags["cost"] = "changed"
	got.Operation.Steps[0].State = deploy.StepFailed
	op.Error.Message = "changed"

	again := f.load("first")
	f.same("labels", again.Deployment.Labels["team"], "ml")
	f.same("outputs", again.Resources[0].Outputs["arn"], "arn:aws:x:::job-queue/default")
	f.same("memo", again.Resources[0].Memo["seen"], "1")
	f.same("tags", again.Deployment.Spec.Tags["cost"], "<1 & 2> 'ü'")
	f.same("steps", again.Operation.Steps[0].State, deploy.StepReady)
	f.same("error", again.Operation.Error.Message, "too many")
}

func notFound(_ *testing.T, f *fixture) {
	_, err := f.Load(f.Context(), f.key("nobody"))
	f.want(err, store.ErrNotFound)

	_, err = f.Operation(f.Context(), f.key("nobody"), id("nobody", 1))
	f.want(err, store.ErrNotFound)

	f.create("first", "vpc")

	_, err = f.Operation(f.Context(), f.key("first"), id("first", 2))
	f.want(err, store.ErrNotFound)

	_, err = f.Load(f.Context(), deploy.Key{Tenant: f.tenant + "x", Name: "first"})
	f.want(err, store.ErrNotFound)

	_, err = f.Operation(f.Context(), deploy.Key{Tenant: f.tenant + "x", Name: "first"}, id("first", 1))
	f.want(err, store.ErrNotFound)

	ops, err := f.Operations(f.Context(), f.key("nobody"), 10, "")
	f.want(err, nil)
	f.same("operations", len(ops), 0)

	page, more, err := f.Deployments(f.Context(), store.List{Tenant: f.tenant + "x", Size: 10, Deleted: true})
	f.want(err, nil)
	f.same("deployments", len(page), 0)
	f.same("more", more, false)

	// A resource without a header is not a deployment.
	r := resource("vpc")
	r.Version = 3
	f.want(f.Save(f.Context(), f.key("nobody"), &r), store.ErrStale)

	_, err = f.Load(f.Context(), f.key("nobody"))
	f.want(err, store.ErrNotFound)
}

func versions(_ *testing.T, f *fixture) {
	change := f.admission("first", 1, 0)
	change.Resources = []deploy.Resource{resource("subnet/a"), resource("vpc")}
	f.commit("first", change)
	f.same("header", change.Deployment.Version, int64(1))
	f.same("operation", change.Operations[0].Version, int64(1))
	f.same("resources", []int64{change.Resources[0].Version, change.Resources[1].Version}, []int64{1, 1})

	record := f.load("first")
	f.same("sum after a commit", record.Version(), int64(4))

	r := record.Find("vpc")
	r.ID = "vpc-1"
	f.want(f.Save(f.Context(), f.key("first"), r), nil)
	f.same("saved", r.Version, int64(2))
	f.same("sum after a save", f.load("first").Version(), int64(5))

	// What was raised in place can be written on without reading again.
	r.ID = "vpc-2"
	f.want(f.Save(f.Context(), f.key("first"), r), nil)
	f.commit("first", &store.Change{Deployment: &record.Deployment, Operations: []deploy.Operation{record.Operation}, Resources: []deploy.Resource{*r}})

	record = f.load("first")
	f.same("id", record.Find("vpc").ID, "vpc-2")
	f.same("sum in the end", record.Version(), int64(2+2+1+4))
}

func stale(_ *testing.T, f *fixture) {
	for name, spoil := range map[string]func(*store.Record) *store.Change{
		"header": func(r *store.Record) *store.Change {
			r.Deployment.Epoch = 7

			return &store.Change{Deployment: &r.Deployment}
		},
		"operation": func(r *store.Record) *store.Change {
			return &store.Change{Deployment: &r.Deployment, Operations: []deploy.Operation{r.Operation}}
		},
		"resource": func(r *store.Record) *store.Change {
			return &store.Change{Resources: []deploy.Resource{*r.Find("vpc")}}
		},
		"drop": func(r *store.Record) *store.Change {
			return &store.Change{Drop: []deploy.Resource{*r.Find("vpc")}}
		},
	} {
		read := f.create(name, "subnet/a", "vpc")
		f.commit(name, spoil(f.load(name)))
		before := f.load(name)

		change := &store.Change{Deployment: &read.Deployment, Operations: []deploy.Operation{read.Operation}, Resources: slices.Clone(read.Resources)}
		change.Deployment.Phase = deploy.PhaseActive
		change.Operations[0].State = deploy.Succeeded

		for i := range change.Resources {
			change.Resources[i].ID = "late"
		}

		f.want(f.Commit(f.Context(), f.key(name), change), store.ErrStale)
		f.same(name+": nothing was written", f.load(name), before)
		f.same(name+": the caller's versions", []int64{
			change.Deployment.Version, change.Operations[0].Version, change.Resources[0].Version, change.Resources[1].Version,
		}, []int64{1, 1, 1, 1})
	}
}

func absent(_ *testing.T, f *fixture) {
	read := f.create("first", "vpc")

	f.want(f.Commit(f.Context(), f.key("first"), f.admission("first", 2, 0)), store.ErrStale)
	f.want(f.Commit(f.Context(), f.key("second"), f.admission("second", 1, 1)), store.ErrStale)

	_, err := f.Load(f.Context(), f.key("second"))
	f.want(err, store.ErrNotFound)

	// An operation's id is taken for ever.
	again := f.admission("first", 1, 1)
	f.want(f.Commit(f.Context(), f.key("first"), again), store.ErrStale)

	fresh := resource("vpc")
	f.want(f.Save(f.Context(), f.key("first"), &fresh), store.ErrStale)
	f.same("version of what was not saved", fresh.Version, int64(0))

	unknown := resource("subnet/a")
	unknown.Version = 1
	f.want(f.Save(f.Context(), f.key("first"), &unknown), store.ErrStale)

	f.same("record", f.load("first"), read)

	fresh = resource("subnet/a")
	f.want(f.Save(f.Context(), f.key("first"), &fresh), nil)
	f.same("version of what was saved", fresh.Version, int64(1))
	f.same("resources", len(f.load("first").Resources), 2)
}

func fence(_ *testing.T, f *fixture) {
	zombie := f.create("first", "subnet/a", "vpc")

	record := f.load("first")
	record.Deployment.Epoch = 2

	for i := range record.Resources {
		record.Resources[i].Epoch = 2
	}

	f.commit("first", &store.Change{Deployment: &record.Deployment, Operations: []deploy.Operation{record.Operation}, Resources: record.Resources})

	for i := range zombie.Resources {
		zombie.Resources[i].ID = "late"
		f.want(f.Save(f.Context(), f.key("first"), &zombie.Resources[i]), store.ErrStale)
	}

	for _, r := range f.load("first").Resources {
		f.same("id of "+string(r.Ref), r.ID, "id-"+string(r.Ref))
		f.same("epoch of "+string(r.Ref), r.Epoch, 2)
	}
}

func drop(_ *testing.T, f *fixture) {
	record := f.create("first", "bucket", "subnet/a", "vpc")
	old := *record.Find("subnet/a")
	f.want(f.Save(f.Context(), f.key("first"), record.Find("subnet/a")), nil)
	f.want(f.Commit(f.Context(), f.key("first"), &store.Change{Drop: []deploy.Resource{*record.Find("vpc"), old}}), store.ErrStale)
	f.same("resources", len(f.load("first").Resources), 3)

	f.want(f.Commit(f.Context(), f.key("first"), &store.Change{
		Deployment: &record.Deployment, Resources: []deploy.Resource{*record.Find("bucket")}, Drop: []deploy.Resource{*record.Find("vpc"), *record.Find("subnet/a")},
	}), nil)

	left := f.load("first").Resources
	f.same("resources", len(left), 1)
	f.same("the one that stays", left[0].Ref, deploy.Ref("bucket"))

	f.want(f.Save(f.Context(), f.key("first"), record.Find("vpc")), store.ErrStale)
	f.want(f.Commit(f.Context(), f.key("first"), &store.Change{Drop: []deploy.Resource{*record.Find("vpc")}}), store.ErrStale)

	never := resource("vpc")
	f.want(f.Commit(f.Context(), f.key("first"), &store.Change{Drop: []deploy.Resource{never}}), store.ErrStale)

	// Its place may be taken again.
	f.want(f.Save(f.Context(), f.key("first"), &never), nil)
}

func repetition(_ *testing.T, f *fixture) {
	read := f.create("first", "vpc")
	change := func() *store.Change {
		d, r := read.Deployment, *read.Find("vpc")
		d.Epoch, r.ID = 9, "vpc-9"

		return &store.Change{Deployment: &d, Operations: []deploy.Operation{read.Operation}, Resources: []deploy.Resource{r}}
	}

	f.commit("first", change())
	after := f.load("first")
	f.want(f.Commit(f.Context(), f.key("first"), change()), store.ErrStale)
	f.same("record", f.load("first"), after)

	r := *after.Find("vpc")
	again := r
	f.want(f.Save(f.Context(), f.key("first"), &r), nil)
	f.want(f.Save(f.Context(), f.key("first"), &again), store.ErrStale)
	f.same("version", f.load("first").Find("vpc").Version, r.Version)
}

// race runs 20 calls at once and returns how many succeeded. A loser is told ErrStale; who meets a fault of the table repeats, as it may.
func race(f *fixture, write func(i int) error) int {
	f.Helper()

	const n = 20

	var (
		wait  sync.WaitGroup
		won   atomic.Int32
		start = make(chan struct{})
	)

	for i := range n {
		wait.Go(func() {
			<-start

			for range 50 {
				err := write(i)
				if err == nil {
					won.Add(1)

					return
				}

				if errors.Is(err, store.ErrStale) || errors.Is(err, store.ErrBusy) {
					return
				}
			}

			f.Errorf("writer %d met nothing but faults", i)
		})
	}

	close(start)
	wait.Wait()

	return int(won.Load())
}

func oneWinner(_ *testing.T, f *fixture) {
	read := f.create("first", "subnet/a", "vpc")

	won := race(f, func(i int) error {
		d := read.Deployment
		d.Epoch = 100 + i

		resources := slices.Clone(read.Resources)
		for j := range resources {
			resources[j].Epoch = 100 + i
		}

		return f.Commit(f.Context(), f.key("first"), &store.Change{Deployment: &d, Operations: []deploy.Operation{read.Operation}, Resources: resources})
	})
	f.same("winners", won, 1)

	record := f.load("first")
	f.same("version", record.Version(), int64(8))

	for _, r := range record.Resources {
		f.same("the winner's "+string(r.Ref), r.Epoch, record.Deployment.Epoch)
	}
}

func oneSaver(_ *testing.T, f *fixture) {
	read := f.create("first", "vpc")

	won := race(f, func(i int) error {
		r := *read.Find("vpc")
		r.Epoch = i

		return f.Save(f.Context(), f.key("first"), &r)
	})
	f.same("winners", won, 1)
	f.same("version", f.load("first").Find("vpc").Version, int64(2))
}

func oneCreator(_ *testing.T, f *fixture) {
	won := race(f, func(i int) error { return f.Commit(f.Context(), f.key("first"), f.admission("first", i, 0)) })
	f.same("winners", won, 1)

	record := f.load("first")
	f.same("operation", record.Operation.ID, record.Deployment.Operation)

	ops, err := f.Operations(f.Context(), f.key("first"), 30, "")
	f.want(err, nil)
	f.same("operations", len(ops), 1)
}

func counting(_ *testing.T, f *fixture) {
	f.create("first", "vpc")

	const writers, each = 5, 4

	var wait sync.WaitGroup

	for range writers {
		wait.Go(func() {
			for done, tries := 0, 0; done < each; tries++ {
				if tries == 2000 {
					f.Errorf("no write succeeded in %d tries", tries)

					return
				}

				record, err := f.Load(f.Context(), f.key("first"))
				if err != nil {
					continue
				}

				r := record.Find("vpc")
				r.Ensure.Attempts++

				if f.Save(f.Context(), f.key("first"), r) == nil {
					done++
				}
			}
		})
	}

	wait.Wait()
	f.same("attempts", f.load("first").Find("vpc").Ensure.Attempts, 2+writers*each)
}

func supersession(_ *testing.T, f *fixture) {
	record := f.create("first", "vpc")
	ends := record.Operation
	ends.State, ends.FrozenVersion, ends.Error = deploy.RolledBack, 42, deploy.Errorf(deploy.Conflict, "superseded", "A delete took over.")

	change := f.admission("first", 2, record.Deployment.Version)
	change.Operations[0].Kind = deploy.Delete
	change.Operations = append(change.Operations, ends)
	f.commit("first", change)

	record = f.load("first")
	f.same("current", record.Operation, change.Operations[0])
	f.same("current id", record.Operation.ID, id("first", 2))

	old, err := f.Operation(f.Context(), f.key("first"), id("first", 1))
	f.want(err, nil)
	f.same("the one that ended", old, change.Operations[1])
	f.same("its state", old.State, deploy.RolledBack)
	f.same("its version", old.Version, int64(2))

	ops, err := f.Operations(f.Context(), f.key("first"), 10, "")
	f.want(err, nil)
	f.same("operations", ops, []deploy.Operation{record.Operation, old})

	// Whoever still acts for the old one is shut out by the header, although the two operations have the same version.
	late := f.admission("first", 1, 1)
	late.Operations[0].Version = 1
	f.want(f.Commit(f.Context(), f.key("first"), late), store.ErrStale)

	// The current one goes on, and the old one stays as it ended.
	record.Operation.State = deploy.Running
	f.commit("first", &store.Change{Deployment: &record.Deployment, Operations: []deploy.Operation{record.Operation}})
	f.same("current state", f.load("first").Operation.State, deploy.Running)

	again, err := f.Operation(f.Context(), f.key("first"), id("first", 1))
	f.want(err, nil)
	f.same("the one that ended", again, old)
}

func recreation(_ *testing.T, f *fixture) {
	record := f.create("first", "bucket", "vpc")
	record.Operation.State, record.Deployment.Phase, record.Deployment.Unfinished = deploy.Succeeded, deploy.PhaseDeleted, false
	f.commit("first", &store.Change{
		Deployment: &record.Deployment, Operations: []deploy.Operation{record.Operation}, Drop: []deploy.Resource{*record.Find("vpc")},
	})

	f.commit("first", f.admission("first", 2, 2))

	got := f.load("first")
	f.same("current", got.Operation.ID, id("first", 2))
	f.same("phase", got.Deployment.Phase, deploy.PhaseCreating)
	f.same("what was kept", len(got.Resources), 1)

	first, err := f.Operation(f.Context(), f.key("first"), id("first", 1))
	f.want(err, nil)
	f.same("first life", first.State, deploy.Succeeded)
	f.same("its version", first.Version, int64(2))
}

func watchdogWrite(_ *testing.T, f *fixture) {
	record := f.create("first", "vpc")
	record.Deployment.CheckTime = f.now.Add(time.Hour)
	f.commit("first", &store.Change{Deployment: &record.Deployment})
	f.same("record", f.load("first"), record)
}

func unsound(_ *testing.T, f *fixture) {
	read := f.create("first", "vpc")
	many := make([]deploy.Resource, 98)

	for i := range many {
		many[i] = resource(deploy.NewRef("job-queue", fmt.Sprint(i)))
	}

	twice := resource("bucket")

	for name, change := range map[string]*store.Change{
		"more than 100 items":            {Deployment: &read.Deployment, Operations: []deploy.Operation{read.Operation}, Resources: many},
		"an item twice":                  {Resources: []deploy.Resource{twice, twice}},
		"an item written and dropped":    {Resources: read.Resources, Drop: read.Resources},
		"a header of another deployment": {Deployment: f.admission("second", 1, 0).Deployment},
		"an operation without header":    {Operations: []deploy.Operation{read.Operation}},
		"usage without header":           {Resources: read.Resources, Usage: &store.Usage{Usage: deploy.Usage{Operations: 1}}},
		"an event of another deployment": {Deployment: &read.Deployment, Events: []deploy.Event{f.event("second", 1)}},
		"an event without sequence":      {Deployment: &read.Deployment, Events: []deploy.Event{f.event("first", 0)}},
		"an event twice":                 {Deployment: &read.Deployment, Events: []deploy.Event{f.event("first", 1), f.event("first", 1)}},
		"an entry of another tenant":     {Deployment: &read.Deployment, Entries: []deploy.Entry{{ID: "1", Tenant: "stranger"}}},
		"an entry without id":            {Deployment: &read.Deployment, Entries: []deploy.Entry{f.entry("", "first")}},
		"an entry twice":                 {Deployment: &read.Deployment, Entries: []deploy.Entry{f.entry("1", "first"), f.entry("1", "first")}},
		"100 items and one that is told": {
			Deployment: &read.Deployment, Operations: []deploy.Operation{read.Operation}, Resources: many[:97], Events: []deploy.Event{f.event("first", 1)},
		},
		"100 items and one entry": {
			Deployment: &read.Deployment, Operations: []deploy.Operation{read.Operation}, Resources: many[:97], Entries: []deploy.Entry{f.entry("1", "first")},
		},
		"100 items and the counters": {
			Deployment: &read.Deployment, Operations: []deploy.Operation{read.Operation}, Resources: many[:97],
			Usage: &store.Usage{Usage: deploy.Usage{Operations: 1}},
		},
	} {
		err := f.Commit(f.Context(), f.key("first"), change)
		if err == nil || errors.Is(err, store.ErrStale) {
			f.Errorf("%s: got error %v, want a fault", name, err)
		}
	}

	f.same("record", f.load("first"), read)
}

func largest(_ *testing.T, f *fixture) {
	change := f.admission("first", 1, 0) // three items: header, operation, and its copy where records are read
	for i := range 94 {
		change.Resources = append(change.Resources, resource(deploy.NewRef("job-queue", fmt.Sprint(i))))
	}

	change.Events, change.Entries = []deploy.Event{f.event("first", 1)}, []deploy.Entry{f.entry("1", "first")}
	change.Usage = &store.Usage{Usage: deploy.Usage{Operations: 1}}
	f.commit("first", change)
	f.same("resources", len(f.load("first").Resources), 94)

	// A difference of nothing is no item.
	change = &store.Change{
		Deployment: change.Deployment, Operations: change.Operations, Resources: change.Resources, Events: []deploy.Event{f.event("first", 2)},
		Entries: []deploy.Entry{f.entry("2", "first")}, Usage: &store.Usage{Limit: deploy.Usage{Operations: 1}},
	}
	change.Resources = append(change.Resources, resource("vpc"))
	f.commit("first", change)
	f.same("resources", len(f.load("first").Resources), 95)
}

func history(_ *testing.T, f *fixture) {
	var version int64

	for n := 1; n <= 7; n++ {
		change := f.admission("first", n, version)
		f.commit("first", change)
		version = change.Deployment.Version
	}

	f.create("firs", "vpc")
	f.create("first2", "vpc")

	var ids []string

	for after := ""; ; {
		page, err := f.Operations(f.Context(), f.key("first"), 3, after)
		f.want(err, nil)

		for _, op := range page {
			ids = append(ids, op.ID)
			after = op.ID
		}

		if len(page) < 3 {
			break
		}
	}

	f.same("ids", ids, []string{
		id("first", 7), id("first", 6), id("first", 5), id("first", 4), id("first", 3), id("first", 2), id("first", 1),
	})

	page, err := f.Operations(f.Context(), f.key("first"), 7, id("first", 1))
	f.want(err, nil)
	f.same("behind the oldest", len(page), 0)

	// The one that the page goes on behind need not exist.
	page, err = f.Operations(f.Context(), f.key("first"), 1, id("first", 5)[:len(id("first", 5))-1]+"4x")
	f.want(err, nil)
	f.same("behind a stranger", page[0].ID, id("first", 4))
}

// names reads all pages of a list, as a caller does: behind a page that is full, on behind its last one; behind a shorter one, on behind what was looked at.
func (f *fixture) names(l store.List) []string {
	f.Helper()

	match := l.Match

	var names []string

	for range 100 {
		last := ""
		l.Match = func(d deploy.Deployment) bool {
			last = max(last, d.Name)

			return match == nil || match(d)
		}

		page, more, err := f.Deployments(f.Context(), l)
		f.want(err, nil)

		if len(page) > l.Size {
			f.Fatalf("a page of %d where %d were asked for", len(page), l.Size)
		}

		for _, d := range page {
			f.same("tenant of "+d.Name, d.Tenant, l.Tenant)
			names = append(names, d.Name)
		}

		if !more {
			return names
		}

		if len(page) == l.Size {
			last = page[len(page)-1].Name
		}

		l.After = last
	}

	f.Fatal("the list does not end")

	return nil
}

// eventually reads until it gets what is wanted: lists may lag by a second.
func (f *fixture) eventually(what string, read func() []string, want []string) {
	f.Helper()

	ctx, cancel := context.WithTimeout(f.Context(), 5*time.Second)
	defer cancel()

	got := read()
	for !slices.Equal(got, want) && ctx.Err() == nil {
		got = read()
	}

	f.same(what, got, want)
}

// populate makes deployments; one whose name comes with a ! is deleted already.
func (f *fixture) populate(names ...string) {
	f.Helper()

	for _, name := range names {
		deleted := name[0] == '!'
		if deleted {
			name = name[1:]
		}

		change := f.admission(name, 1, 0)
		change.Deployment.Phase = deploy.PhaseActive
		change.Deployment.Labels = map[string]string{"initial": name[:1]}

		if deleted {
			change.Deployment.Phase = deploy.PhaseDeleted
		}

		f.commit(name, change)
	}
}

func list(_ *testing.T, f *fixture) {
	f.populate("echo", "alfa", "!bravo", "delta", "!charlie", "golf", "foxtrot")

	for size := 1; size <= 6; size++ {
		f.eventually(fmt.Sprintf("pages of %d", size), func() []string { return f.names(store.List{Tenant: f.tenant, Size: size}) },
			[]string{"alfa", "delta", "echo", "foxtrot", "golf"})
	}

	f.same("behind a stranger", f.names(store.List{Tenant: f.tenant, Size: 10, After: "ea"}), []string{"echo", "foxtrot", "golf"})
	f.same("behind the last", len(f.names(store.List{Tenant: f.tenant, Size: 10, After: "golf"})), 0)

	page, more, err := f.Deployments(f.Context(), store.List{Tenant: f.tenant, Size: 5})
	f.want(err, nil)
	f.same("a page that holds all", len(page), 5)
	f.same("more", more, false)

	record := f.load("alfa")
	f.same("a deployment in a list", page[0], record.Deployment)
}

func listDeleted(_ *testing.T, f *fixture) {
	f.populate("!alfa", "bravo", "!charlie", "!delta", "echo", "foxtrot", "!golf")

	for size := 1; size <= 8; size++ {
		f.eventually(fmt.Sprintf("pages of %d", size), func() []string { return f.names(store.List{Tenant: f.tenant, Size: size, Deleted: true}) },
			[]string{"alfa", "bravo", "charlie", "delta", "echo", "foxtrot", "golf"})
	}

	f.same("from the middle", f.names(store.List{Tenant: f.tenant, Size: 2, After: "delta", Deleted: true}), []string{"echo", "foxtrot", "golf"})
}

func listFilter(_ *testing.T, f *fixture) {
	f.populate("aa", "ab", "!ac", "ba", "!bb", "bc", "ca", "!cb", "cc")

	b := func(d deploy.Deployment) bool { return d.Labels["initial"] == "b" }
	none := func(deploy.Deployment) bool { return false }

	for size := 1; size <= 4; size++ {
		f.eventually("the living", func() []string { return f.names(store.List{Tenant: f.tenant, Size: size, Match: b}) }, []string{"ba", "bc"})
		f.eventually("all", func() []string { return f.names(store.List{Tenant: f.tenant, Size: size, Match: b, Deleted: true}) }, []string{"ba", "bb", "bc"})
	}

	f.same("none", len(f.names(store.List{Tenant: f.tenant, Size: 3, Match: none, Deleted: true})), 0)
}

func listTenants(_ *testing.T, f *fixture) {
	tenant := f.tenant
	want := map[string][]string{}

	// A name of one tenant must not be readable as another tenant's, whatever separates them in a key.
	for i, suffix := range []string{"", "#a", "#a#b", "/a", "%23a", " ü", "#LIVE"} {
		f.tenant = tenant + suffix
		f.populate("same", fmt.Sprintf("own%d", i))
		want[f.tenant] = []string{fmt.Sprintf("own%d", i), "same"}
	}

	for t, names := range want {
		f.eventually("tenant "+t, func() []string { return f.names(store.List{Tenant: t, Size: 3}) }, names)

		record, err := f.Load(f.Context(), deploy.Key{Tenant: t, Name: "same"})
		f.want(err, nil)
		f.same("tenant", record.Deployment.Tenant, t)
		f.same("version", record.Deployment.Version, int64(1))
	}

	// The watchdog gets keys that it can load.
	keys, err := f.Unfinished(f.Context(), f.now.Add(time.Hour), 10000)
	f.want(err, nil)

	for t := range want {
		if !slices.Contains(keys, deploy.Key{Tenant: t, Name: "same"}) {
			f.Errorf("the unfinished deployment of tenant %q is not listed", t)
		}
	}
}

func listFollows(_ *testing.T, f *fixture) {
	f.populate("alfa", "bravo")
	f.eventually("alive", func() []string { return f.names(store.List{Tenant: f.tenant, Size: 2}) }, []string{"alfa", "bravo"})

	record := f.load("alfa")
	record.Deployment.Phase = deploy.PhaseDeleted
	f.commit("alfa", &store.Change{Deployment: &record.Deployment})
	f.eventually("deleted", func() []string { return f.names(store.List{Tenant: f.tenant, Size: 2}) }, []string{"bravo"})
	f.eventually("deleted shown", func() []string { return f.names(store.List{Tenant: f.tenant, Size: 2, Deleted: true}) }, []string{"alfa", "bravo"})

	f.commit("alfa", f.admission("alfa", 2, record.Deployment.Version))
	f.eventually("back", func() []string { return f.names(store.List{Tenant: f.tenant, Size: 2}) }, []string{"alfa", "bravo"})
	f.eventually("once only", func() []string { return f.names(store.List{Tenant: f.tenant, Size: 2, Deleted: true}) }, []string{"alfa", "bravo"})
}

// mineOf are the names of this test's tenant among at most limit keys.
func (f *fixture) mineOf(keys []deploy.Key, limit int, err error) []string {
	f.Helper()
	f.want(err, nil)

	if len(keys) > limit {
		f.Fatalf("%d keys where at most %d were asked for", len(keys), limit)
	}

	var names []string

	for _, k := range keys {
		if k.Tenant == f.tenant {
			names = append(names, k.Name)
		}
	}

	return names
}

func unfinished(_ *testing.T, f *fixture) {
	// Long ago, so that nothing else on a shared table stands before these.
	base := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(serial() % int64(1000*time.Hour))).Truncate(time.Second)

	for i, after := range []time.Duration{2500 * time.Millisecond, time.Nanosecond, 2 * time.Second, 10 * time.Second, 0} {
		change := f.admission(fmt.Sprintf("nr%d", i), 1, 0)
		change.Deployment.CheckTime = base.Add(after)
		change.Deployment.Unfinished = i != 4
		f.commit(change.Deployment.Name, change)
	}

	due := func(before time.Time, limit int) []string {
		keys, err := f.Unfinished(f.Context(), before, limit)

		return f.mineOf(keys, limit, err)
	}

	f.eventually("due", func() []string { return due(base.Add(10*time.Second), 100) }, []string{"nr1", "nr2", "nr0"})
	f.eventually("due at the latest", func() []string { return due(base.Add(10*time.Second+1), 100) }, []string{"nr1", "nr2", "nr0", "nr3"})
	f.eventually("the oldest two", func() []string { return due(base.Add(time.Hour), 2) }, []string{"nr1", "nr2"})
	f.same("none is due yet", len(due(base.Add(time.Nanosecond), 100)), 0)

	// One that is put off goes to its new place, one that ends goes away.
	record := f.load("nr1")
	record.Deployment.CheckTime = base.Add(5 * time.Second)
	f.commit("nr1", &store.Change{Deployment: &record.Deployment})

	record = f.load("nr2")
	record.Deployment.Unfinished, record.Deployment.CheckTime = false, time.Time{}
	f.commit("nr2", &store.Change{Deployment: &record.Deployment})
	f.eventually("moved", func() []string { return due(base.Add(time.Minute), 100) }, []string{"nr0", "nr1", "nr3"})

	// Nothing of this is left in the way of other runs.
	for _, name := range []string{"nr0", "nr1", "nr3", "nr4"} {
		record := f.load(name)
		record.Deployment.Unfinished, record.Deployment.CheckTime = false, time.Time{}
		f.commit(name, &store.Change{Deployment: &record.Deployment})
	}
}

func (f *fixture) claim(key, fingerprint string) store.Claim {
	return store.Claim{Tenant: f.tenant, Key: key, Fingerprint: fingerprint}
}

// take claims and expects that error, and no answer.
func (f *fixture) take(c store.Claim, want error) {
	f.Helper()

	answer, err := f.Claim(f.Context(), c)
	f.want(err, want)

	if answer != nil {
		f.Fatalf("got the answer %v, want none", answer)
	}
}

func claim(_ *testing.T, f *fixture) {
	f.take(f.claim("k", "a"), nil)
	f.take(f.claim("k", "a"), store.ErrBusy)
	f.take(f.claim("k", "b"), store.ErrMismatch)
	f.take(f.claim("other", "b"), nil)
}

func claimRelease(_ *testing.T, f *fixture) {
	f.want(f.Release(f.Context(), f.claim("k", "a")), nil)
	f.take(f.claim("k", "a"), nil)
	f.want(f.Release(f.Context(), f.claim("k", "b")), nil) // not theirs
	f.take(f.claim("k", "a"), store.ErrBusy)
	f.want(f.Release(f.Context(), f.claim("k", "a")), nil)
	f.want(f.Release(f.Context(), f.claim("k", "a")), nil)
	f.take(f.claim("k", "b"), nil)
}

// answered is an admission with the answer to a claim.
func (f *fixture) answered(name string, c store.Claim) *store.Change {
	change := f.admission(name, 1, 0)
	snapshot := change.Operations[0]
	snapshot.Version = 1
	change.Answer = &store.Answer{Claim: c, Operation: snapshot.ID, Name: name, Snapshot: snapshot, Version: 2}

	return change
}

func claimAnswer(_ *testing.T, f *fixture) {
	c := f.claim("k", "a")
	f.take(c, nil)

	change := f.answered("first", c)
	f.commit("first", change)

	want := *change.Answer

	check := func() {
		f.Helper()

		answer, err := f.Claim(f.Context(), c)
		f.want(err, nil)
		f.same("answer", answer, &want)
		f.take(f.claim("k", "b"), store.ErrMismatch)
		f.want(f.Release(f.Context(), c), nil) // too late: the answer stands
	}

	check()

	// The answer is what was said then, whatever became of the operation.
	record := f.load("first")
	record.Operation.State = deploy.Running
	f.commit("first", &store.Change{Deployment: &record.Deployment, Operations: []deploy.Operation{record.Operation}})
	check()
	f.pass(24*time.Hour - time.Second)
	check()
	f.pass(2 * time.Second)
	f.take(f.claim("k", "b"), nil)
}

func claimAnswerAtomic(_ *testing.T, f *fixture) {
	f.create("first")

	c := f.claim("k", "a")
	f.take(c, nil)
	f.want(f.Commit(f.Context(), f.key("first"), f.answered("first", c)), store.ErrStale)
	f.take(c, store.ErrBusy)
	f.want(f.Release(f.Context(), c), nil)
	f.take(c, nil)
}

func claimLapse(_ *testing.T, f *fixture) {
	f.take(f.claim("k", "a"), nil)
	f.pass(time.Minute - time.Second)
	f.take(f.claim("k", "a"), store.ErrBusy)
	f.take(f.claim("k", "b"), store.ErrMismatch)
	f.pass(2 * time.Second)
	f.take(f.claim("k", "b"), nil)
	f.take(f.claim("k", "b"), store.ErrBusy)

	// Who was merely slow may still answer a claim that nobody else took.
	slow := f.claim("slow", "a")
	f.take(slow, nil)
	f.pass(2 * time.Minute)
	f.commit("first", f.answered("first", slow))

	answer, err := f.Claim(f.Context(), slow)
	f.want(err, nil)
	f.same("operation", answer.Operation, id("first", 1))
}

func claimTaken(_ *testing.T, f *fixture) {
	slow := f.claim("k", "a")
	f.take(slow, nil)
	f.pass(2 * time.Minute)
	f.take(f.claim("k", "b"), nil)

	f.want(f.Commit(f.Context(), f.key("first"), f.answered("first", slow)), store.ErrStale)
	_, err := f.Load(f.Context(), f.key("first"))
	f.want(err, store.ErrNotFound)

	f.commit("second", f.answered("second", f.claim("k", "b")))

	// An answer is not replaced either.
	f.want(f.Commit(f.Context(), f.key("third"), f.answered("third", f.claim("k", "b"))), store.ErrStale)

	answer, err := f.Claim(f.Context(), f.claim("k", "b"))
	f.want(err, nil)
	f.same("name", answer.Name, "second")
}

func claimTenants(_ *testing.T, f *fixture) {
	for _, c := range []store.Claim{
		{Tenant: f.tenant, Key: "k"},
		{Tenant: f.tenant + "#x", Key: "k"},
		{Tenant: f.tenant, Key: "x#k"},
		{Tenant: f.tenant, Key: "K"},
		{Tenant: f.tenant, Key: "ü/% 8e03978e-40d5-43e8-bc93-6894a57f9324"},
	} {
		f.take(c, nil)
		f.take(c, store.ErrBusy)
	}
}

func claimRace(_ *testing.T, f *fixture) {
	won := race(f, func(int) error {
		_, err := f.Claim(f.Context(), f.claim("k", "a"))

		return err
	})
	f.same("winners", won, 1)
}

func canceled(_ *testing.T, f *fixture) {
	read := f.create("first", "vpc")

	ctx, cancel := context.WithCancel(f.Context())
	cancel()

	if err := f.Commit(ctx, f.key("second"), f.admission("second", 1, 0)); !errors.Is(err, context.Canceled) {
		f.Errorf("Commit: got error %v, want %v", err, context.Canceled)
	}

	if err := f.Save(ctx, f.key("first"), &read.Resources[0]); !errors.Is(err, context.Canceled) {
		f.Errorf("Save: got error %v, want %v", err, context.Canceled)
	}

	if _, err := f.Claim(ctx, f.claim("k", "a")); !errors.Is(err, context.Canceled) {
		f.Errorf("Claim: got error %v, want %v", err, context.Canceled)
	}

	f.same("record", f.load("first"), read)
	_, err := f.Load(f.Context(), f.key("second"))
	f.want(err, store.ErrNotFound)
	f.take(f.claim("k", "a"), nil)
}
