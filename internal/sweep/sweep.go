// Package sweep finds what carries this installation's tags in AWS and is in no record, and removes it after a while: slowly, in the order of removal, and
// only as long as it has reason to trust its table.
//
// It is timid (docs/runbook.md, "Orphans"). Whatever it is not sure of it leaves alone or holds for a person. It must not know which kinds there are, Lambda,
// or HTTP. Each family of kinds is swept by that family's own worker function, because nobody else may look at, or remove, those things; what the families
// must know of each other stands in their notes in the table.
package sweep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

// Families are the worker functions that sweep. Nothing is removed unless all of them have looked lately: what one of them does not see may still need what
// another one would remove.
func Families() []string { return []string{"s3", "iam", "ec2", "batch"} }

const (
	// Grace is how long a thing must have been an orphan, in every sweep, before it is removed. template.yaml sweeps each 30 minutes, so that is at least
	// three looks in a row.
	Grace = time.Hour
	// fresh is how old a family's newest sweep may be for the others to go by it: one may be missed, not two.
	fresh = 75 * time.Minute
	// lifetime bounds the removing of one invocation, and looking what is done for one thing in it.
	lifetime = 25 * time.Second
	looking  = 10 * time.Second
	// single bounds one look: the record is read again before each, and a new operation may begin right after that.
	single = 5 * time.Second
	// interval is between two looks, reserve the end of an invocation, kept for the notes.
	interval = time.Second
	reserve  = 5 * time.Second
)

// Records is what the sweeper reads; every store.Store is one.
type Records interface {
	Load(ctx context.Context, key deploy.Key) (*store.Record, error)
	Operations(ctx context.Context, key deploy.Key, size int, after string) ([]deploy.Operation, error)
}

// Clock tells the time and passes it.
type Clock interface {
	Now() time.Time
	Sleep(ctx context.Context, d time.Duration)
}

// Sweeper sweeps one family of kinds.
type Sweeper struct {
	Records Records
	Notes   store.Sweeps
	Family  string
	Kinds   kind.Registry
	// Place is the owner of everything in this installation: Installation, Partition, Account and Region.
	Place deploy.Owner
	// Boundary is the ARN of the permissions boundary of every role we make.
	Boundary string
	Clock    Clock
	Log      *slog.Logger
}

// thing is what a list saw, with its kind.
type thing struct {
	kind.Found
	about kind.About
	kind  kind.Kind
}

func (t thing) key() deploy.Key {
	return deploy.Key{Tenant: t.Tags[deploy.TagTenant], Name: t.Tags[deploy.TagDeployment]}
}

// Run sweeps once: it lists the family's things, notes those that no record knows, and removes what has been noted for long enough. It may be called at any
// time, by several at once. After an error nothing is forgotten and nothing was removed that would not have been without it.
func (s *Sweeper) Run(ctx context.Context) error {
	began := s.Clock.Now()

	until := began.Add(lifetime)
	if d, ok := ctx.Deadline(); ok && d.Add(-reserve).Before(until) {
		until = d.Add(-reserve)
	}

	// AWS is asked before the records are: what is made in between is in a record by the time that it is looked up there.
	things, err := s.list(ctx)
	if err != nil {
		return err
	}

	before, err := s.noted(ctx)
	if err != nil {
		return err
	}

	report, orphans, err := s.judge(ctx, things, before)
	if err != nil {
		return err
	}

	report.Time = began

	for name, o := range before {
		if _, still := orphans[name]; still || o.Family != s.Family {
			continue
		}

		if err := s.Notes.ForgetOrphan(ctx, name); err != nil {
			return err
		}
	}

	for _, o := range orphans {
		if err := s.Notes.NoteOrphan(ctx, o.note); err != nil {
			return err
		}
	}

	if err := s.Notes.NoteSweep(ctx, report); err != nil {
		return err
	}

	s.Log.InfoContext(ctx, "swept", "family", s.Family, "seen", report.Seen, "unknown", report.Unknown, "orphans", len(orphans))

	return s.removeAll(ctx, orphans, until)
}

// list is everything of the family.
func (s *Sweeper) list(ctx context.Context) ([]thing, error) {
	var all []thing

	for _, k := range s.Kinds {
		lister, ok := k.(kind.Lister)
		if !ok {
			continue // shared: nobody's orphan
		}

		found, err := lister.List(ctx, s.Place)
		if err != nil {
			return nil, err
		}

		for _, f := range found {
			all = append(all, thing{Found: f, about: k.About(), kind: k})
		}
	}

	return all, nil
}

// noted is every orphan that any family has noted, by name.
func (s *Sweeper) noted(ctx context.Context) (map[string]deploy.Orphan, error) {
	all, after := map[string]deploy.Orphan{}, ""

	for {
		page, more, err := s.Notes.Orphans(ctx, 100, after)
		if err != nil {
			return nil, fmt.Errorf("read the orphans: %w", err)
		}

		for _, o := range page {
			all[o.Name()] = o
			after = o.Name()
		}

		if !more {
			return all, nil
		}
	}
}

// orphan is a thing with its note.
type orphan struct {
	thing
	note deploy.Orphan
}

// judge looks every thing up in its record.
func (s *Sweeper) judge(ctx context.Context, things []thing, before map[string]deploy.Orphan) (deploy.Sweep, map[string]*orphan, error) {
	report, orphans, records := deploy.Sweep{Family: s.Family, Seen: len(things)}, map[string]*orphan{}, map[deploy.Key]*store.Record{}

	for _, t := range things {
		record, read := records[t.key()]
		if !read {
			var err error
			if record, err = s.load(ctx, t.key()); err != nil {
				return report, nil, err
			}

			records[t.key()] = record
			if record != nil {
				report.Deployments++
			}
		}

		v, err := s.verdict(ctx, t, record)
		if err != nil {
			return report, nil, err
		}

		if v.known {
			continue
		}

		if v.unexplained {
			report.Unknown++
		}

		note := deploy.Orphan{
			Key: t.key(), Resource: t.Ref(), ID: t.ID, ARN: t.ARN, Family: s.Family, Needs: t.about.Needs, FirstSeen: s.Clock.Now(), State: deploy.OrphanNoted,
		}
		if old, ok := before[note.Name()]; ok && old.Key == note.Key && old.Resource == note.Resource {
			note.FirstSeen, note.Tried, note.Memo, note.Removed = old.FirstSeen, old.Tried, old.Memo, old.Removed

			if old.State == deploy.OrphanRemoving || old.State == deploy.OrphanRefused {
				note.State, note.Reason = old.State, old.Reason
			}
		}

		if note.State == deploy.OrphanNoted {
			note.Reason = "No record knows it. It is removed if that is still so at " + note.FirstSeen.Add(Grace).UTC().Format(time.RFC3339) + "."
		}

		if v.hold == "" && !note.Removed.IsZero() {
			v.hold = "It was removed as far as AWS told, and is still there. Its name or tags may not be as this installation makes them."
		}

		if v.hold != "" {
			note.State, note.Reason = deploy.OrphanHeld, v.hold
		}

		orphans[note.Name()] = &orphan{thing: t, note: note}
	}

	return report, orphans, nil
}

// load returns the record, or nil if there is none.
func (s *Sweeper) load(ctx context.Context, key deploy.Key) (*store.Record, error) {
	record, err := s.Records.Load(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil //nolint:nilnil // no record is an answer
	}

	if err != nil {
		return nil, fmt.Errorf("read deployment %s: %w", key.Name, err)
	}

	return record, nil
}

// removeAll removes what is due, or says at each why not.
func (s *Sweeper) removeAll(ctx context.Context, orphans map[string]*orphan, until time.Time) error {
	var due []*orphan

	for _, o := range orphans {
		if o.note.State != deploy.OrphanHeld && s.Clock.Now().Sub(o.note.FirstSeen) >= Grace {
			due = append(due, o)
		}
	}

	if len(due) == 0 {
		return nil
	}

	// One that resists must not take the time of all others, sweep after sweep.
	slices.SortFunc(due, func(a, b *orphan) int {
		return cmp.Or(a.note.Tried.Compare(b.note.Tried), cmp.Compare(a.note.Name(), b.note.Name()))
	})

	sweeps, err := s.Notes.Sweeps(ctx)
	if err != nil {
		return fmt.Errorf("read the sweeps: %w", err)
	}

	notes, err := s.noted(ctx)
	if err != nil {
		return err
	}

	var errs []error

	for _, o := range due {
		state, reason := deploy.OrphanRefused, distrust(sweeps, o.note.FirstSeen, s.Clock.Now())
		if reason == "" {
			state, reason = deploy.OrphanNoted, waits(o, notes)
		}

		switch {
		case reason != "":
			s.Log.WarnContext(ctx, "orphan not removed", "resource", o.note.Resource, "deployment", o.note.Key.Name, "state", state, "reason", reason)

			errs = append(errs, s.say(ctx, o, state, reason))
		case s.Clock.Now().Before(until):
			errs = append(errs, s.remove(ctx, o, until))
			notes[o.note.Name()] = o.note
		}
	}

	return errors.Join(errs...)
}

// remove looks until the orphan is gone, or for some seconds. Before each look the record is read again: a create of that name may have taken the thing up.
func (s *Sweeper) remove(ctx context.Context, o *orphan, until time.Time) error {
	call, latest := s.call(o), s.Clock.Now().Add(looking)

	for {
		record, err := s.load(ctx, o.key())
		if err != nil {
			return err
		}

		v, err := s.verdict(ctx, o.thing, record)
		if err != nil {
			return err
		}

		if v.known {
			return s.Notes.ForgetOrphan(ctx, o.note.Name())
		}

		if v.hold != "" {
			return s.say(ctx, o, deploy.OrphanHeld, v.hold)
		}

		// Said before it is done.
		o.note.Tried = s.Clock.Now()
		if err := s.say(ctx, o, deploy.OrphanRemoving, o.note.Reason); err != nil {
			return err
		}

		again, progressed, reason := s.look(ctx, o, call)
		if err := s.say(ctx, o, deploy.OrphanRemoving, reason); err != nil {
			return err
		}

		if progressed {
			latest = until
		}

		if next := s.Clock.Now().Add(interval); !again || next.After(latest) || next.After(until) {
			s.Log.InfoContext(ctx, "orphan", "resource", o.note.Resource, "deployment", o.note.Key.Name, "id", o.note.ID, "reason", reason)

			return nil
		}

		s.Clock.Sleep(ctx, interval)
	}
}

// look calls the kind once, and says whether another look may bring more.
func (s *Sweeper) look(ctx context.Context, o *orphan, call *kind.Call) (again, progressed bool, reason string) {
	ctx, cancel := context.WithTimeout(ctx, single)
	defer cancel()

	result, err := o.kind.Remove(ctx, call)
	o.note.Memo = call.Memo

	switch {
	case err != nil:
		return awserr.Is(err, deploy.NotReady), false, deploy.Scrub(awserr.Classify(err).Message)
	case result.Done:
		o.note.Removed = s.Clock.Now()

		return false, false, "AWS shows it gone; the next sweep makes sure."
	default:
		return true, result.Progressed, cmp.Or(deploy.Scrub(result.Waiting), "AWS is removing it.")
	}
}

// say notes what is done about an orphan, and why.
func (s *Sweeper) say(ctx context.Context, o *orphan, state deploy.OrphanState, reason string) error {
	o.note.State, o.note.Reason = state, reason

	return s.Notes.NoteOrphan(ctx, o.note)
}

// call is what the kind is told: whatever a record would say beyond the owner is not known.
func (s *Sweeper) call(o *orphan) *kind.Call {
	owner := s.Place
	owner.Tenant, owner.Name = o.note.Key.Tenant, o.note.Key.Name

	call := &kind.Call{
		Owner: owner, Item: kind.Item{Ref: o.note.Resource}, Operation: "sweep", Boundary: s.Boundary, Data: deploy.Keep, Origin: deploy.Made,
		ID: o.ID, ARN: o.ARN, Memo: maps.Clone(o.note.Memo), Now: s.Clock.Now,
	}
	call.Save = func(ctx context.Context) error {
		o.note.Memo = maps.Clone(call.Memo)

		return s.Notes.NoteOrphan(ctx, o.note)
	}

	return call
}
