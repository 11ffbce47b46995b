package storetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

func (f *fixture) entry(id, deployment string) deploy.Entry {
	return deploy.Entry{
		ID: id, Time: f.clock(), Tenant: f.tenant, Actor: "ann", Action: "CREATE", Deployment: deployment, Operation: "op-1", Outcome: deploy.OutcomeAdmitted,
		Code: "code", Detail: "detail",
	}
}

// trail reads all pages of a trail.
func (f *fixture) trail(deployment string, size int) []string {
	f.Helper()

	var ids []string

	for before, n := "", 0; ; n++ {
		if n == 100 {
			f.Fatal("the trail does not end")
		}

		page, last, more, err := as[store.Trail](f).Entries(f.Context(), f.tenant, deployment, size, before)
		f.want(err, nil)

		if len(page) > size {
			f.Fatalf("a page of %d where %d were asked for", len(page), size)
		}

		for _, e := range page {
			f.same("entry", e, f.entry(e.ID, e.Deployment))
			ids = append(ids, e.ID)
		}

		if !more {
			return ids
		}

		before = last
	}
}

// trailed waits until the tenant's trail holds those, in pages of two.
func (f *fixture) trailed(ids ...string) {
	f.Helper()
	f.eventually("the trail", func() []string { return f.trail("", 2) }, ids)
}

func (f *fixture) append(e deploy.Entry) {
	f.Helper()
	f.want(as[store.Trail](f).Append(f.Context(), e), nil)
}

func trail(_ *testing.T, f *fixture) {
	f.trailed()

	for i, name := range []string{"first", "second", "first", "", "first", "firs", "second"} {
		f.append(f.entry(fmt.Sprintf("id-%d", 10-i), name))
	}

	for size := 1; size <= 8; size++ {
		f.eventually(fmt.Sprintf("pages of %d", size), func() []string { return f.trail("", size) },
			[]string{"id-9", "id-8", "id-7", "id-6", "id-5", "id-4", "id-10"})
		f.eventually(fmt.Sprintf("one deployment, pages of %d", size), func() []string { return f.trail("first", size) }, []string{"id-8", "id-6", "id-10"})
	}

	f.same("of a stranger", len(f.trail("third", 10)), 0)

	// What the page goes on behind need not exist, and behind the oldest there is nothing.
	page, last, more, err := as[store.Trail](f).Entries(f.Context(), f.tenant, "", 1, "id-8x")
	f.want(err, nil)
	f.same("behind a stranger", page[0].ID+" "+last, "id-8 id-8")
	f.same("more", more, true)

	page, _, more, err = as[store.Trail](f).Entries(f.Context(), f.tenant, "first", 1, "id-10")
	f.want(err, nil)
	f.same("behind the oldest", len(page), 0)
	f.same("more", more, false)
}

func trailTenants(_ *testing.T, f *fixture) {
	tenant := f.tenant
	suffixes := []string{"", "#a", "#AUDIT", "/a", " ü"}

	for i, suffix := range suffixes {
		f.tenant = tenant + suffix
		f.append(f.entry("same", "first"))
		f.append(f.entry(fmt.Sprintf("own-%d", i), "first"))
	}

	for i, suffix := range suffixes {
		f.tenant = tenant + suffix
		want := []string{"same", fmt.Sprintf("own-%d", i)}
		f.trailed(want...)
		f.eventually("one deployment", func() []string { return f.trail("first", 2) }, want)
	}
}

func trailTaken(_ *testing.T, f *fixture) {
	f.append(f.entry("1", "first"))

	over := f.entry("1", "first")
	over.Actor = "mallory"
	f.want(as[store.Trail](f).Append(f.Context(), over), store.ErrStale)
	f.trailed("1")

	won := race(f, func(int) error { return as[store.Trail](f).Append(f.Context(), f.entry("2", "first")) })
	f.same("winners", won, 1)
	f.trailed("2", "1")
}

func entriesAtomic(_ *testing.T, f *fixture) {
	change := f.admission("first", 1, 0)
	change.Entries = []deploy.Entry{f.entry("1", "first"), f.entry("2", "first")}
	f.commit("first", change)
	f.trailed("2", "1")

	before := f.load("first")

	over := f.entry("2", "first")
	over.Actor = "mallory"
	f.want(f.Commit(f.Context(), f.key("first"), &store.Change{Deployment: change.Deployment, Entries: []deploy.Entry{f.entry("3", "first"), over}}), store.ErrStale)
	f.same("nothing was written", f.load("first"), before)

	f.want(f.Commit(f.Context(), f.key("first"), &store.Change{
		Deployment: f.admission("first", 1, 0).Deployment, Entries: []deploy.Entry{f.entry("4", "first")},
	}), store.ErrStale)
	f.trailed("2", "1")
}

func grants(_ *testing.T, f *fixture) {
	s := as[store.Grants](f)
	grant := func(kind deploy.GrantKind, value, actor string) deploy.Grant {
		return deploy.Grant{Tenant: f.tenant, Kind: kind, Value: value, Actor: actor, Time: f.now}
	}
	stand := func(want ...deploy.Grant) {
		f.Helper()

		got, err := s.Grants(f.Context(), f.tenant)
		f.want(err, nil)
		f.same("grants", got, want)
	}
	role, b, a := grant(deploy.GrantRole, "arn:aws:iam::1:role/x#y", "ann"), grant(deploy.GrantBucket, "b", "ann"), grant(deploy.GrantBucket, "a", "ann")

	stand()

	for i, g := range []deploy.Grant{role, b, a} {
		f.want(s.Allow(f.Context(), g, f.entry(fmt.Sprint(i+1), "")), nil)
	}

	stand(a, b, role)

	a.Actor = "bob"
	f.want(s.Allow(f.Context(), a, f.entry("4", "")), nil)
	stand(a, b, role)

	// Both or neither.
	f.want(s.Allow(f.Context(), grant(deploy.GrantBucket, "c", "ann"), f.entry("4", "")), store.ErrStale)
	f.want(s.Withdraw(f.Context(), b, f.entry("4", "")), store.ErrStale)
	f.want(s.Withdraw(f.Context(), grant(deploy.GrantBucket, "c", ""), f.entry("5", "")), store.ErrNotFound)
	stand(a, b, role)
	f.trailed("4", "3", "2", "1")

	// Who allowed it does not matter to who withdraws it.
	f.want(s.Withdraw(f.Context(), grant(deploy.GrantBucket, "b", ""), f.entry("5", "")), nil)
	f.want(s.Withdraw(f.Context(), b, f.entry("6", "")), store.ErrNotFound)
	stand(a, role)
	f.trailed("5", "4", "3", "2", "1")

	f.tenant += "#GRANTS"
	stand()
}

func webhooks(_ *testing.T, f *fixture) {
	s := as[store.Webhooks](f)
	hook := func(id string) deploy.Webhook {
		return deploy.Webhook{ID: id, Tenant: f.tenant, URL: "https://example.com/?a=1&b=<2>", Actor: "ann", Time: f.now, Secret: "s-" + id}
	}
	stand := func(ids ...string) {
		f.Helper()

		var want []deploy.Webhook
		for _, id := range ids {
			want = append(want, hook(id))
		}

		got, err := s.Webhooks(f.Context(), f.tenant)
		f.want(err, nil)
		f.same("webhooks", got, want)
	}

	stand()
	f.want(s.Subscribe(f.Context(), hook("b"), f.entry("1", "")), nil)
	f.want(s.Subscribe(f.Context(), hook("a"), f.entry("2", "")), nil)
	stand("a", "b")

	// Both or neither, and an id is one webhook's.
	taken := hook("a")
	taken.URL = "https://mallory.example.com"
	f.want(s.Subscribe(f.Context(), taken, f.entry("3", "")), store.ErrStale)
	f.want(s.Subscribe(f.Context(), hook("c"), f.entry("2", "")), store.ErrStale)
	f.want(s.Unsubscribe(f.Context(), f.tenant, "a", f.entry("2", "")), store.ErrStale)
	f.want(s.Unsubscribe(f.Context(), f.tenant, "c", f.entry("3", "")), store.ErrNotFound)
	stand("a", "b")
	f.trailed("2", "1")

	f.want(s.Unsubscribe(f.Context(), f.tenant, "a", f.entry("3", "")), nil)
	f.want(s.Unsubscribe(f.Context(), f.tenant, "a", f.entry("4", "")), store.ErrNotFound)
	stand("b")
	f.trailed("3", "2", "1")

	f.tenant += "#WEBHOOKS"
	stand()
}

func misfit(_ *testing.T, f *fixture) {
	g, w := deploy.Grant{Tenant: f.tenant, Kind: deploy.GrantBucket, Value: "b"}, deploy.Webhook{ID: "a", Tenant: f.tenant}
	f.want(as[store.Grants](f).Allow(f.Context(), g, f.entry("1", "")), nil)
	f.want(as[store.Webhooks](f).Subscribe(f.Context(), w, f.entry("2", "")), nil)

	theirs, none := f.entry("3", ""), f.entry("", "")
	theirs.Tenant += "x"

	for what, err := range map[string]error{
		"allow":              as[store.Grants](f).Allow(f.Context(), g, theirs),
		"withdraw":           as[store.Grants](f).Withdraw(f.Context(), g, theirs),
		"subscribe":          as[store.Webhooks](f).Subscribe(f.Context(), deploy.Webhook{ID: "b", Tenant: f.tenant}, theirs),
		"unsubscribe":        as[store.Webhooks](f).Unsubscribe(f.Context(), f.tenant, "a", theirs),
		"append without id":  as[store.Trail](f).Append(f.Context(), none),
		"withdraw, no id":    as[store.Grants](f).Withdraw(f.Context(), g, none),
		"unsubscribe, no id": as[store.Webhooks](f).Unsubscribe(f.Context(), f.tenant, "a", none),
	} {
		if err == nil || errors.Is(err, store.ErrStale) || errors.Is(err, store.ErrNotFound) {
			f.Errorf("%s: got error %v, want a fault", what, err)
		}
	}

	f.trailed("2", "1")
}
