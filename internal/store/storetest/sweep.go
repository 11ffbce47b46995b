package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

// mine lists the orphans of this test, page by page; a shared table may hold others.
func (f *fixture) mine(size int) []deploy.Orphan {
	f.Helper()

	var (
		list  []deploy.Orphan
		after string
	)

	for {
		page, more, err := as[store.Sweeps](f).Orphans(f.Context(), size, after)
		if err != nil {
			f.Fatalf("Orphans: %v", err)
		}

		if len(page) > size || more && len(page) == 0 {
			f.Fatalf("a page of %d where %d were asked for, more %t", len(page), size, more)
		}

		for _, o := range page {
			if o.Key.Tenant == f.tenant {
				list = append(list, o)
			}
		}

		if !more {
			return list
		}

		after = page[len(page)-1].Name()
	}
}

func (f *fixture) note(o deploy.Orphan) {
	f.Helper()

	if err := as[store.Sweeps](f).NoteOrphan(f.Context(), o); err != nil {
		f.Fatalf("NoteOrphan: %v", err)
	}
}

func orphans(_ *testing.T, f *fixture) {
	var want []deploy.Orphan

	for i, ref := range []deploy.Ref{"vpc", "job-queue/b", "subnet/1", "vpc", "job-queue/a"} {
		o := deploy.Orphan{
			Key: f.key("first"), Resource: ref, ID: fmt.Sprintf("%s-%d", f.tenant, i), ARN: "arn:aws:x", Family: "ec2", Needs: []string{"vpc"},
			FirstSeen: f.now, State: deploy.OrphanNoted, Reason: "why", Memo: map[string]string{"page": "2"},
		}
		f.note(o)
		want = append(want, o)
	}

	slices.SortFunc(want, func(a, b deploy.Orphan) int { return slices.Compare([]string{a.Name()}, []string{b.Name()}) })

	for _, size := range []int{1, 2, 5, 100} {
		f.same(fmt.Sprintf("pages of %d", size), f.mine(size), want)
	}

	want[0].State, want[0].Removed, want[0].Memo = deploy.OrphanRemoving, f.now.Add(time.Hour), nil
	f.note(want[0])
	f.same("noted again", f.mine(2), want)

	for range 2 {
		if err := as[store.Sweeps](f).ForgetOrphan(f.Context(), want[1].Name()); err != nil {
			f.Fatalf("ForgetOrphan, there or not: %v", err)
		}
	}

	f.same("one forgotten", f.mine(2), slices.Delete(want, 1, 2))
}

func sweepNotes(_ *testing.T, f *fixture) {
	one := deploy.Sweep{Family: f.tenant + "-a", Time: f.now, Seen: 12, Unknown: 1, Deployments: 2}
	two := deploy.Sweep{Family: f.tenant + "-b", Time: f.now}

	for _, s := range []deploy.Sweep{two, {Family: one.Family, Time: f.now.Add(-time.Hour), Seen: 3}, one} {
		if err := as[store.Sweeps](f).NoteSweep(f.Context(), s); err != nil {
			f.Fatalf("NoteSweep: %v", err)
		}
	}

	all, err := as[store.Sweeps](f).Sweeps(f.Context())
	if err != nil {
		f.Fatalf("Sweeps: %v", err)
	}

	all = slices.DeleteFunc(all, func(s deploy.Sweep) bool { return s.Family != one.Family && s.Family != two.Family })
	f.same("the newest of each family", all, []deploy.Sweep{one, two})
}
