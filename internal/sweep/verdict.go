package sweep

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

// verdict is what is thought of one thing.
type verdict struct {
	// known: its record knows it, or somebody is at work on it.
	known bool
	// hold says why the sweeper never removes it, empty if it may.
	hold string
	// unexplained: no record says anything of it. Many of those make the table suspect.
	unexplained bool
}

// verdict judges a thing by the record of the deployment that its tags name, which may be nil.
func (s *Sweeper) verdict(ctx context.Context, t thing, record *store.Record) (verdict, error) {
	if k := t.key(); k.Tenant == "" || k.Name == "" {
		return verdict{unexplained: true, hold: "Its tags do not say which deployment it belongs to."}, nil
	}

	if record != nil {
		// A deployment that needs attention is a person's: its operation may be resumed at any time.
		if record.Deployment.Unfinished || record.Deployment.Phase == deploy.PhaseNeedsAttention {
			return verdict{known: true}, nil
		}

		if r := record.Find(t.Ref()); knows(r) {
			if r.ID == "" || r.ID == t.ID {
				return verdict{known: true}, nil
			}

			return verdict{hold: "The record knows " + r.ID + " as its " + string(r.Ref) + "; this is a second one."}, nil
		}

		left, err := s.leftBehind(ctx, t, record)
		if err != nil || left {
			return verdict{hold: "Somebody left it behind on purpose, with :skip."}, err
		}
	}

	v := verdict{unexplained: true}

	switch _, kept := t.Tags[deploy.TagKept]; {
	case kept:
		v.hold = "A delete kept it with its data."
	case t.about.HoldsData:
		v.hold = "It may hold data."
	default:
		v.hold = needed(t, record)
	}

	return v, nil
}

// knows tells whether AWS was asked for a resource, or a delete kept it.
func knows(r *deploy.Resource) bool { return r != nil && (r.Kept || !r.Intent.IsZero()) }

// needed says which resource that the record knows would lose the thing, or nothing.
func needed(t thing, record *store.Record) string {
	if record == nil {
		return ""
	}

	for i := range record.Resources {
		r := &record.Resources[i]
		if !r.Kept && knows(r) && (slices.Contains(r.Needs, t.Ref()) || slices.Contains(t.about.RemoveAfter, r.Ref.Kind())) {
			return "No record knows it, and " + string(r.Ref) + " of its deployment, which stands, may use it."
		}
	}

	return ""
}

// leftBehind looks through the deployment's history for a skip of that resource that no later operation has taken back by making or removing it.
func (s *Sweeper) leftBehind(ctx context.Context, t thing, record *store.Record) (bool, error) {
	const page = 20

	for after := ""; ; {
		ops, err := s.Records.Operations(ctx, record.Deployment.Key, page, after)
		if err != nil {
			return false, fmt.Errorf("read the operations of %s: %w", record.Deployment.Name, err)
		}

		for _, op := range ops {
			for _, step := range op.Steps {
				if step.Resource != t.Ref() || step.Action != deploy.Remove {
					continue
				}

				if step.LeftBehind {
					return true, nil
				}

				if step.State == deploy.StepGone {
					return false, nil // since then AWS showed it gone once
				}
			}

			after = op.ID
		}

		if len(ops) < page {
			return false, nil
		}
	}
}

// waits says what speaks against removing an orphan now although its time has come: another orphan of the deployment must go before it.
func waits(o *orphan, others map[string]deploy.Orphan) string {
	for name, other := range others {
		if name == o.note.Name() || other.Key != o.note.Key || !other.Removed.IsZero() {
			continue
		}

		if slices.Contains(other.Needs, o.about.Name) || slices.Contains(o.about.RemoveAfter, other.Resource.Kind()) {
			return "It waits until " + string(other.Resource) + " (" + other.ID + ") is gone, an orphan too."
		}
	}

	return ""
}

// distrust says why nothing is to be removed on the word of the table and of what the families saw, or nothing.
//
// An empty table, one restored to an earlier day, or another installation's has no record of most of what there is, so everything looks like an orphan. Hence:
// the things' tags must lead to at least one record, and no more than a tenth of the things may be unexplained. One may always be, or a small
// installation could never lose its orphan.
func distrust(sweeps []deploy.Sweep, since, now time.Time) string {
	var seen, unknown, deployments int

	for _, family := range Families() {
		i := slices.IndexFunc(sweeps, func(s deploy.Sweep) bool { return s.Family == family })
		if i < 0 {
			return "The things of " + family + " were never looked at."
		}

		// What was not seen by all since the orphan was, might need it.
		if at := sweeps[i].Time; at.Before(since) || now.Sub(at) > fresh {
			return "The things of " + family + " were last looked at " + at.UTC().Format(time.RFC3339) + "."
		}

		seen, unknown, deployments = seen+sweeps[i].Seen, unknown+sweeps[i].Unknown, deployments+sweeps[i].Deployments
	}

	if deployments == 0 {
		return "The table has no record of any deployment that the things' tags name: it may be the wrong one."
	}

	if unknown > 1 && unknown*10 > seen {
		return fmt.Sprintf("Of %d things, %d are in no record: more than a tenth. The table may be an old one.", seen, unknown)
	}

	return ""
}
