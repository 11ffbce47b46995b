package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

// Listener is what a factory's store shows of what leaves the product: the events of a deployment, in order. The product itself never asks.
type Listener interface {
	Events(ctx context.Context, key deploy.Key) ([]deploy.Event, error)
}

// as is the store in another of its roles.
func as[T any](f *fixture) T {
	f.Helper()

	s, ok := f.Store.(T)
	if !ok {
		f.Fatalf("the store is no %T", *new(T))
	}

	return s
}

func (f *fixture) event(name string, sequence int64) deploy.Event {
	return deploy.Event{
		ID: fmt.Sprintf("%s-%d", name, sequence), Sequence: sequence, Type: deploy.EventChanged, Time: f.clock(), Key: f.key(name), Phase: deploy.PhaseCreating,
		Operation: id(name, 1), Kind: deploy.Create, State: deploy.Running, Error: &deploy.Error{Class: deploy.Quota, Code: "quota", Message: "too many"},
	}
}

func (f *fixture) told(name string) []deploy.Event {
	f.Helper()

	list, err := as[Listener](f).Events(f.Context(), f.key(name))
	f.want(err, nil)

	return list
}

func events(_ *testing.T, f *fixture) {
	change := f.admission("first", 1, 0)
	change.Events = []deploy.Event{f.event("first", 2), f.event("first", 1)}
	f.commit("first", change)
	f.same("events", f.told("first"), []deploy.Event{f.event("first", 1), f.event("first", 2)})

	// What was handed in does not reach into the store.
	change.Events[0].Error.Message = "changed"
	f.same("the second event", f.told("first")[1], f.event("first", 2))

	before := f.load("first")
	taken := f.event("first", 2)
	taken.State = deploy.Succeeded
	f.want(f.Commit(f.Context(), f.key("first"), &store.Change{Deployment: change.Deployment, Events: []deploy.Event{f.event("first", 3), taken}}), store.ErrStale)
	f.same("nothing was written", f.load("first"), before)

	lost := *change.Deployment
	lost.Version = 7
	f.want(f.Commit(f.Context(), f.key("first"), &store.Change{Deployment: &lost, Events: []deploy.Event{f.event("first", 3)}}), store.ErrStale)
	f.same("nothing was told", f.told("first"), []deploy.Event{f.event("first", 1), f.event("first", 2)})

	// In the order of numbers, not of digits; and each name has its own sequence.
	f.commit("first", &store.Change{Deployment: change.Deployment, Events: []deploy.Event{f.event("first", 10)}})
	f.commit("second", &store.Change{Deployment: f.admission("second", 1, 0).Deployment, Events: []deploy.Event{f.event("second", 1)}})
	f.same("events", f.told("first"), []deploy.Event{f.event("first", 1), f.event("first", 2), f.event("first", 10)})
	f.same("the other one's", f.told("second"), []deploy.Event{f.event("second", 1)})
}

// uses reads what the tenant uses: deployments, operations, vCPUs.
func (f *fixture) uses(want ...int) {
	f.Helper()

	got, err := as[store.Tenants](f).Usage(f.Context(), f.tenant)
	f.want(err, nil)
	f.same("usage", []int{got.Deployments, got.Operations, got.VCPUs}, want)
}

// moving is an admission that moves the counters.
func (f *fixture) moving(name string, u store.Usage) *store.Change {
	change := f.admission(name, 1, 0)
	change.Usage = &u

	return change
}

func usageMoves(_ *testing.T, f *fixture) {
	f.uses(0, 0, 0)

	change := f.moving("first", store.Usage{Usage: deploy.Usage{Deployments: 1, Operations: 1, VCPUs: 256}, Limit: deploy.Usage{Deployments: 1, VCPUs: 1000}})
	f.commit("first", change)
	f.uses(1, 1, 256)

	// What is repeated counts once.
	again := f.moving("first", *change.Usage)
	again.Usage.Limit = deploy.Usage{}
	f.want(f.Commit(f.Context(), f.key("first"), again), store.ErrStale)
	f.uses(1, 1, 256)

	f.commit("first", &store.Change{Deployment: change.Deployment, Usage: &store.Usage{Usage: deploy.Usage{Operations: -1, VCPUs: 64}}})
	f.uses(1, 0, 320)

	f.commit("first", &store.Change{Deployment: change.Deployment, Usage: &store.Usage{}})
	f.uses(1, 0, 320)

	tenant := f.tenant
	for _, suffix := range []string{"#USAGE", "x", "/"} {
		f.tenant = tenant + suffix
		f.uses(0, 0, 0)
	}
}

// refused commits and expects that nothing of it is written, for a limit.
func (f *fixture) refused(name string, change *store.Change, have, limit deploy.Usage) {
	f.Helper()

	err := f.Commit(f.Context(), f.key(name), change)
	if errors.Is(err, store.ErrStale) {
		f.Fatalf("got error %v, want a limit", err)
	}

	var over *store.LimitError
	if !errors.As(err, &over) {
		f.Fatalf("got error %v, want a limit", err)
	}

	f.same("the limit error", *over, store.LimitError{Have: have, Limit: limit})
	f.same("the caller's versions", change.Deployment.Version+change.Operations[0].Version, int64(0))

	_, err = f.Load(f.Context(), f.key(name))
	f.want(err, store.ErrNotFound)
}

func usageLimit(_ *testing.T, f *fixture) {
	one := deploy.Usage{Deployments: 1, Operations: 1, VCPUs: 100}

	// More at once than is allowed at all, while nothing is in use.
	f.refused("first", f.moving("first", store.Usage{Usage: one, Limit: deploy.Usage{VCPUs: 99}}), deploy.Usage{}, deploy.Usage{VCPUs: 99})

	// Up to the limit, and not above it; each counter for itself.
	full := deploy.Usage{Deployments: 2, Operations: 2, VCPUs: 200}
	f.commit("first", f.moving("first", store.Usage{Usage: one, Limit: full}))

	second := f.moving("second", store.Usage{Usage: one, Limit: full})
	f.commit("second", second)
	f.uses(2, 2, 200)

	for what, limit := range map[string]deploy.Usage{
		"deployments": {Deployments: 2, Operations: 3, VCPUs: 300}, "operations": {Deployments: 3, Operations: 2, VCPUs: 300},
		"vcpus": {Deployments: 3, Operations: 3, VCPUs: 299}, "one limit": {Deployments: 2},
	} {
		change := f.moving("third", store.Usage{Usage: one, Limit: limit})
		change.Entries = []deploy.Entry{f.entry("1", "third")}
		change.Events = []deploy.Event{f.event("third", 1)}
		f.refused("third", change, full, limit)
		f.same(what+": events", len(f.told("third")), 0)
	}

	f.uses(2, 2, 200)

	// A counter that rests or falls is none of the limit's business, even above it; one without limit neither.
	f.commit("second", &store.Change{
		Deployment: second.Deployment,
		Usage:      &store.Usage{Usage: deploy.Usage{Operations: -1, VCPUs: 50}, Limit: deploy.Usage{Deployments: 1, Operations: 1, VCPUs: 250}},
	})
	f.uses(2, 1, 250)
	f.commit("third", f.moving("third", store.Usage{Usage: one}))
	f.uses(3, 2, 350)
}

func usageStale(_ *testing.T, f *fixture) {
	over := store.Usage{Usage: deploy.Usage{Operations: 2}, Limit: deploy.Usage{Operations: 1}}
	f.create("first")
	f.want(f.Commit(f.Context(), f.key("first"), f.moving("first", over)), store.ErrStale)

	change := f.moving("second", over)
	change.Events = []deploy.Event{f.event("second", 1)}
	change.Entries = []deploy.Entry{f.entry("1", "second")}
	f.want(as[store.Trail](f).Append(f.Context(), change.Entries[0]), nil)
	f.want(f.Commit(f.Context(), f.key("second"), change), store.ErrStale)
	f.uses(0, 0, 0)
}

// refusing counts a refusal for a limit as a race that was lost.
func refusing(err error) error {
	if _, ok := errors.AsType[*store.LimitError](err); ok {
		return store.ErrStale
	}

	return err
}

func usageRace(_ *testing.T, f *fixture) {
	won := race(f, func(i int) error {
		name := fmt.Sprintf("nr%d", i)

		return refusing(f.Commit(f.Context(), f.key(name), f.moving(name, store.Usage{
			Usage: deploy.Usage{Deployments: 1, VCPUs: 10}, Limit: deploy.Usage{Deployments: 7, VCPUs: 75},
		})))
	})
	f.same("winners", won, 7)
	f.uses(7, 0, 70)
}

func usageAll(_ *testing.T, f *fixture) {
	won := race(f, func(i int) error {
		name := fmt.Sprintf("nr%d", i)

		return f.Commit(f.Context(), f.key(name), f.moving(name, store.Usage{Usage: deploy.Usage{Operations: 1}, Limit: deploy.Usage{Operations: 1000}}))
	})
	f.same("winners", won, 20)
	f.uses(0, 20, 0)
}

// wait puts a deployment into the queue.
func (f *fixture) wait(name string, since time.Time) *store.Change {
	f.Helper()

	change := f.admission(name, 1, 0)
	change.Deployment.Queued, change.Deployment.CheckTime = true, since
	f.commit(name, change)

	return change
}

func queued(_ *testing.T, f *fixture) {
	base := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	f.wait("alfa", base.Add(2500*time.Millisecond))
	bravo := f.wait("bravo", base.Add(time.Nanosecond))
	f.wait("charlie", base.Add(2*time.Second))
	f.create("delta")

	read := func(limit int) []string {
		keys, err := as[store.Tenants](f).Queued(f.Context(), f.tenant, limit)

		return f.mineOf(keys, limit, err)
	}

	f.eventually("queued", func() []string { return read(10) }, []string{"bravo", "charlie", "alfa"})
	f.same("the first two", read(2), []string{"bravo", "charlie"})

	unfinished, err := f.Unfinished(f.Context(), base.Add(time.Hour), 1000)
	f.same("queued ones that the watchdog would start", len(f.mineOf(unfinished, 1000, err)), 0)

	tenant := f.tenant
	for _, suffix := range []string{"x", "#", "/"} {
		f.tenant = tenant + suffix
		f.same("another tenant's", len(read(10)), 0)
	}

	f.tenant = tenant

	// Its turn has come.
	bravo.Deployment.Queued = false
	f.commit("bravo", &store.Change{Deployment: bravo.Deployment})
	f.eventually("queued", func() []string { return read(10) }, []string{"charlie", "alfa"})
	f.eventually("unfinished", func() []string {
		keys, err := f.Unfinished(f.Context(), base.Add(time.Hour), 1000)

		return f.mineOf(keys, 1000, err)
	}, []string{"bravo"})

	// Nothing of this is left in the way of other runs.
	bravo.Deployment.Unfinished, bravo.Deployment.CheckTime = false, time.Time{}
	f.commit("bravo", &store.Change{Deployment: bravo.Deployment})
}

func queuedTenants(_ *testing.T, f *fixture) {
	tenant := f.tenant
	suffixes := []string{" ü", "#a", "-a", "-a#", "/a", "z", "ü"}

	for i := range suffixes {
		f.tenant = tenant + suffixes[len(suffixes)-1-i]
		f.wait("alfa", f.now)
		f.wait("bravo", f.now.Add(-time.Second))
	}

	f.tenant = tenant

	for _, size := range []int{1, 2, 7, 100} {
		f.eventually(fmt.Sprintf("%d at a time", size), func() []string {
			var found []string

			for after := tenant; ; {
				list, err := as[store.Tenants](f).QueuedTenants(f.Context(), after, size)
				f.want(err, nil)

				if len(list) > size {
					f.Fatalf("%d tenants where at most %d were asked for", len(list), size)
				}

				for _, t := range list {
					suffix, mine := strings.CutPrefix(t, tenant)
					if !mine {
						return found
					}

					found, after = append(found, suffix), t
				}

				if len(list) < size {
					return found
				}
			}
		}, suffixes)
	}

	all, err := as[store.Tenants](f).QueuedTenants(f.Context(), "", 1)
	f.want(err, nil)
	f.same("from the beginning", len(all), 1)
}

func expiring(_ *testing.T, f *fixture) {
	base := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(serial() % int64(1000*time.Hour))).Truncate(time.Second)

	end := func(name string, check time.Time, unfinished, queued bool) {
		record := f.load(name)
		record.Deployment.Unfinished, record.Deployment.Queued, record.Deployment.CheckTime = unfinished, queued, check
		f.commit(name, &store.Change{Deployment: &record.Deployment})
	}

	for _, name := range []string{"alfa", "bravo", "charlie", "delta", "echo", "foxtrot"} {
		f.create(name)
	}

	end("alfa", base.Add(2500*time.Millisecond), false, false)
	end("bravo", base.Add(time.Nanosecond), false, false)
	end("charlie", base.Add(10*time.Second), false, false)
	end("delta", time.Time{}, false, false)
	end("echo", base, true, false)
	end("foxtrot", base, true, true)

	due := func(before time.Time, limit int) []string {
		keys, err := as[store.Tenants](f).Expiring(f.Context(), before, limit)

		return f.mineOf(keys, limit, err)
	}

	f.eventually("due", func() []string { return due(base.Add(10*time.Second), 1000) }, []string{"bravo", "alfa"})
	f.eventually("due a moment later", func() []string { return due(base.Add(10*time.Second+1), 1000) }, []string{"bravo", "alfa", "charlie"})
	f.eventually("the oldest", func() []string { return due(base.Add(time.Hour), 1) }, []string{"bravo"})
	f.same("none is due yet", len(due(base.Add(time.Nanosecond), 1000)), 0)

	// One that is put off goes to its new place; one that is worked on, or that shall live for ever, goes away.
	end("bravo", base.Add(5*time.Second), false, false)
	end("alfa", base, true, false)
	end("charlie", time.Time{}, false, false)
	f.eventually("moved", func() []string { return due(base.Add(time.Minute), 1000) }, []string{"bravo"})

	// Nothing of this is left in the way of other runs.
	for _, name := range []string{"alfa", "bravo", "echo", "foxtrot"} {
		end(name, time.Time{}, false, false)
	}
}

func (f *fixture) callback(name, request string, deadline time.Time) deploy.Callback {
	return deploy.Callback{
		Key: f.key(name), Operation: id(name, 1), RequestID: request, RequestType: "Create", StackID: "arn:aws:cloudformation:x", LogicalResourceID: "Env",
		PhysicalID: name, Deadline: deadline, Request: `{"name": "a"}`, ResponseURL: "https://example.com/answer?Signature=a%2Fb&x=1",
	}
}

func callbacks(_ *testing.T, f *fixture) {
	s := as[store.Callbacks](f)
	a, b, other := f.callback("first", "a", f.now), f.callback("first", "b", f.now), f.callback("second", "a", f.now)

	for _, c := range []deploy.Callback{b, a, other} {
		f.want(s.NoteCallback(f.Context(), c), nil)
	}

	a.Operation = id("first", 2)
	f.want(s.NoteCallback(f.Context(), a), nil)

	read := func(name string) []deploy.Callback {
		list, err := s.Callbacks(f.Context(), f.key(name))
		f.want(err, nil)

		return list
	}

	f.same("callbacks", read("first"), []deploy.Callback{a, b})
	f.same("the other one's", read("second"), []deploy.Callback{other})

	for range 2 {
		f.want(s.ForgetCallback(f.Context(), f.key("first"), "a"), nil)
	}

	f.same("callbacks", read("first"), []deploy.Callback{b})
	f.same("the other one's", read("second"), []deploy.Callback{other})
	f.same("a stranger's", len(read("third")), 0)
}

func overdue(_ *testing.T, f *fixture) {
	s := as[store.Callbacks](f)
	base := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(serial() % int64(1000*time.Hour))).Truncate(time.Second)
	whole := map[string]deploy.Callback{}

	for i, after := range []time.Duration{2500 * time.Millisecond, time.Nanosecond, 10 * time.Second} {
		c := f.callback(fmt.Sprintf("nr%d", i), fmt.Sprintf("request-%d", i), base.Add(after))
		whole[c.Name] = c
		f.want(s.NoteCallback(f.Context(), c), nil)
	}

	read := func(before time.Time, limit int) []string {
		list, err := s.Overdue(f.Context(), before, limit)
		f.want(err, nil)

		if len(list) > limit {
			f.Fatalf("%d callbacks where at most %d were asked for", len(list), limit)
		}

		var names []string

		for _, c := range list {
			if c.Tenant == f.tenant {
				f.same("the callback", c, whole[c.Name])
				names = append(names, c.Name)
			}
		}

		return names
	}

	f.eventually("overdue", func() []string { return read(base.Add(10*time.Second), 1000) }, []string{"nr1", "nr0"})
	f.eventually("a moment later", func() []string { return read(base.Add(10*time.Second+1), 1000) }, []string{"nr1", "nr0", "nr2"})
	f.eventually("the oldest", func() []string { return read(base.Add(time.Hour), 1) }, []string{"nr1"})
	f.same("none is overdue yet", len(read(base.Add(time.Nanosecond), 1000)), 0)

	f.want(s.ForgetCallback(f.Context(), f.key("nr1"), "request-1"), nil)
	f.eventually("one is answered", func() []string { return read(base.Add(time.Hour), 1000) }, []string{"nr0", "nr2"})

	for _, n := range []string{"0", "2"} {
		f.want(s.ForgetCallback(f.Context(), f.key("nr"+n), "request-"+n), nil)
	}
}
