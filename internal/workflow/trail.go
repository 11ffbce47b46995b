package workflow

import (
	"cmp"
	"fmt"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

// tell adds the event of a change whose header and current operation are as they will be, if phase or state are not what they were before.
func tell(change *store.Change, phase deploy.Phase, state deploy.OperationState) {
	header, op := change.Deployment, current(change)
	if header.Phase == phase && op.State == state {
		return
	}

	announce(change, deploy.EventChanged, *op)
}

// announce adds an event. Its id derives from the deployment's own count of events, so a change that is tried again tells of the same event again.
func announce(change *store.Change, kind deploy.EventType, op deploy.Operation) {
	header := change.Deployment
	header.Sequence++

	change.Events = append(change.Events, deploy.Event{
		ID: fmt.Sprintf("%s/%s/%d", header.Tenant, header.Name, header.Sequence), Sequence: header.Sequence, Type: kind, Time: header.UpdateTime, Key: header.Key,
		Phase: header.Phase, Operation: op.ID, Kind: op.Kind, State: op.State, Error: op.Error, ExpireTime: header.Expires(),
	})
}

// current is the operation that a change leaves as the current one.
func current(change *store.Change) *deploy.Operation {
	for i := range change.Operations {
		if change.Operations[i].ID == change.Deployment.Operation {
			return &change.Operations[i]
		}
	}

	return nil
}

// enter adds a line about the change's current operation to the audit trail.
func enter(change *store.Change, e deploy.Entry, now time.Time) {
	op := current(change)
	e.Tenant, e.Deployment, e.Operation = change.Deployment.Tenant, change.Deployment.Name, op.ID

	if op.Error != nil && e.Outcome != deploy.OutcomeAdmitted {
		e.Code = op.Error.Code
	}

	change.Entries = append(change.Entries, Line(e, op.ID, now))
}

// Line gives an entry its time and an id that sorts by it. Of makes the id the entry's own: what it is about, or something that nobody else has.
func Line(e deploy.Entry, of string, now time.Time) deploy.Entry {
	e.Time = now
	e.ID = fmt.Sprintf("%013d-%s-%s-%s", now.UnixMilli(), of, e.Action, cmp.Or(string(e.Outcome), "-"))

	return e
}

// count moves the tenant's usage to what the deployment counts for from now on, within a limit.
func count(change *store.Change, counts, limit deploy.Usage) {
	header := change.Deployment
	if moved := counts.Minus(header.Counts); moved != (deploy.Usage{}) {
		change.Usage = &store.Usage{Usage: moved, Limit: limit}
	}

	header.Counts = counts
}
