package workflow

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

// SteerRequest names an operation that somebody wants to cancel, resume, or go on with after leaving a resource behind.
type SteerRequest struct {
	Name      string
	Operation string
	// Resource is what a skip leaves behind.
	Resource deploy.Ref
	Claim    *store.Claim
}

// Cancel stops an operation and rolls it back; a repair, which has nothing to go back to, just stops. One that rolls back already is the answer itself.
// Class conflict if there is nothing to cancel.
func (c *Control) Cancel(ctx context.Context, p deploy.Principal, req SteerRequest) (Admitted, error) {
	return c.steer(ctx, p, "cancel", req, func(record *store.Record) (bool, error) {
		op := &record.Operation

		switch {
		case op.State.Done():
			return false, over(op)
		case op.Kind == deploy.Delete:
			return false, deploy.Errorf(deploy.Conflict, "not_cancellable", "A delete cannot be cancelled: some of it is gone already.").
				WithRemedy("Let it end, then create the deployment again.")
		case op.State == deploy.RollingBack:
			return false, nil
		}

		op.State = deploy.RollingBack
		op.Error = deploy.Errorf(deploy.Conflict, "cancelled", "%s cancelled the operation.", p.Actor).
			WithRemedy("Ask for it again if you still want it.")

		return true, nil
	})
}

// Resume goes on with an operation that ended in NEEDS_ATTENTION: what failed or was skipped is tried again. One that goes on already is the answer itself.
func (c *Control) Resume(ctx context.Context, p deploy.Principal, req SteerRequest) (Admitted, error) {
	return c.steer(ctx, p, "resume", req, c.resume)
}

// Skip leaves one resource of an operation that ended in NEEDS_ATTENTION behind in AWS, on purpose and recorded, and goes on with the rest. Class conflict
// while the operation is at work; one that left the resource behind already is the answer itself.
func (c *Control) Skip(ctx context.Context, p deploy.Principal, req SteerRequest) (Admitted, error) {
	return c.steer(ctx, p, "skip", req, func(record *store.Record) (bool, error) {
		r := record.Find(req.Resource)

		step := c.stuck(record, r)
		if step == nil {
			return false, deploy.Errorf(deploy.Invalid, "nothing_to_skip", "There is no step of %q that did not succeed.", req.Resource).
				WithRemedy("Name a resource with a step that is FAILED or SKIPPED.").At("/resource")
		}

		changed, err := c.resume(record)
		if err != nil || !changed && step.LeftBehind {
			return false, err
		}

		if !changed {
			return false, deploy.Errorf(deploy.Conflict, "operation_in_progress", "The operation is at work, and %s may still be done.", req.Resource).
				WithRemedy("Wait until it has ended, and skip what needs attention then.")
		}

		step.State, step.LeftBehind, step.EndTime = deploy.StepSkipped, true, c.Clock.Now()

		if step == r.Remove {
			step.Error = deploy.Errorf(deploy.Conflict, "left_behind", "%s left it behind in AWS: %s.", p.Actor, cmp.Or(r.ID, string(r.Ref))).Of(r.Ref).
				WithRemedy("Remove it by hand when nothing needs it any more; it carries our tags.")
		} else {
			step.Error = deploy.Errorf(deploy.Conflict, "left_as_it_is", "%s left it as it is: %s.", p.Actor, cmp.Or(r.ID, string(r.Ref))).Of(r.Ref).
				WithRemedy("Repair the deployment when the cause is mended.")
		}

		return true, nil
	})
}

// stuck is the step of a resource that did not succeed, or nil.
func (c *Control) stuck(record *store.Record, r *deploy.Resource) *deploy.Step {
	switch {
	case r == nil:
	case r.Remove != nil:
		if r.Remove.State != deploy.StepGone && r.Remove.State != deploy.StepKept {
			return r.Remove
		}
	case c.Graphs.unmended(record, r):
		return r.Ensure
	}

	return nil
}

func over(op *deploy.Operation) error {
	return deploy.Errorf(deploy.Conflict, "operation_done", "The operation has ended: %s.", op.State).WithRemedy("Look at the deployment for what is there now.")
}

// resume opens an operation again that ended in NEEDS_ATTENTION.
func (c *Control) resume(record *store.Record) (bool, error) {
	op := &record.Operation

	if !op.State.Done() {
		return false, nil
	}

	if op.State != deploy.NeedsAttention {
		return false, over(op)
	}

	switch op.Kind {
	case deploy.Create:
		// Where nothing but its probe resisted, all that it was to make stands, and stays.
		op.State, record.Deployment.Phase = deploy.Running, deploy.PhaseCreating
		if slices.ContainsFunc(record.Resources, func(r deploy.Resource) bool { return r.Remove != nil && !c.Graphs.passing(r.Ref) }) {
			op.State = deploy.RollingBack
		}
	case deploy.Delete:
		op.State, record.Deployment.Phase, op.Error = deploy.Running, deploy.PhaseDeleting, nil
	case deploy.Update:
		// What did not go was left over by an update that succeeded otherwise, or by its rollback.
		op.State, record.Deployment.Phase = deploy.Running, deploy.PhaseUpdating
		if op.Restored {
			op.State = deploy.RollingBack
		}
	case deploy.Repair:
		op.State, record.Deployment.Phase, op.Error = deploy.Running, deploy.PhaseUpdating, nil
	case deploy.Verify:
		op.State, record.Deployment.Phase = deploy.Running, deploy.PhaseActive
		if op.TurnedAt > 0 {
			op.State = deploy.RollingBack
		}
	}

	for i := range record.Resources {
		r := &record.Resources[i]

		// Its deadline begins anew with its next act.
		if s := r.Remove; s != nil && !s.LeftBehind && (s.State == deploy.StepFailed || s.State == deploy.StepSkipped) {
			*s = deploy.Step{State: deploy.StepPending, Attempts: s.Attempts}
		}

		if s := r.Ensure; c.Graphs.unmended(record, r) {
			*s = deploy.Step{State: deploy.StepPending, Attempts: s.Attempts}
		}
	}

	return true, nil
}

// steer changes the current operation and starts the next execution of it under the next epoch, which fences off whoever still acts.
func (c *Control) steer(ctx context.Context, p deploy.Principal, verb string, req SteerRequest, turn func(*store.Record) (bool, error)) (Admitted, error) {
	return c.once(ctx, req.Claim, func() (Admitted, error) {
		return c.settled(ctx, "The operation changes too quickly.", func() (Admitted, error) { return c.turn(ctx, p, verb, req, turn) })
	})
}

func (c *Control) turn(ctx context.Context, p deploy.Principal, verb string, req SteerRequest, turn func(*store.Record) (bool, error)) (Admitted, error) {
	key := deploy.Key{Tenant: p.Tenant, Name: req.Name}

	record, err := c.Store.Load(ctx, key)
	if err != nil {
		return Admitted{}, fmt.Errorf("read deployment %s: %w", req.Name, err)
	}

	if record.Operation.ID != req.Operation {
		op, err := c.Store.Operation(ctx, key, req.Operation)
		if err != nil {
			return Admitted{}, fmt.Errorf("read operation %s: %w", req.Operation, err)
		}

		return Admitted{}, over(&op)
	}

	header, op := &record.Deployment, &record.Operation
	phase, state := header.Phase, op.State

	changed, err := turn(record)
	if err != nil {
		return Admitted{}, err
	}

	if !changed {
		return c.already(ctx, key, req.Claim, c.seen(record))
	}

	now := c.Clock.Now()
	header.Epoch++
	op.SteeredAt = header.Epoch
	header.Unfinished, header.Queued, header.CheckTime, header.UpdateTime = true, false, now.Add(started), now
	op.EndTime, op.Steps, op.FrozenVersion = time.Time{}, nil, 0

	change := &store.Change{Deployment: header, Operations: []deploy.Operation{*op}, Resources: record.Resources}

	tell(change, phase, state)
	enter(change, deploy.Entry{Actor: p.Actor, Action: verb, Outcome: deploy.OutcomeDone, Detail: subject(record, req.Resource)}, now)
	count(change, counting(*header), deploy.Usage{}) // whoever mends something waits for nobody

	if req.Claim != nil {
		shown := c.seen(record)
		shown.Version += int64(2 + len(record.Resources))
		change.Answer = &store.Answer{Claim: *req.Claim, Operation: op.ID, Name: req.Name, Snapshot: shown.Operation, Version: shown.Version}
	}

	if err := c.commit(ctx, key, change); err != nil {
		return Admitted{}, fmt.Errorf("steer operation %s: %w", op.ID, err)
	}

	*op = change.Operations[0] // at its new version

	if err := c.Starter.Start(ctx, execution(c.Place, *header)); err != nil {
		c.Log.WarnContext(ctx, "start execution", "operation", op.ID, "error", deploy.Scrub(err.Error()))
	}

	return c.seen(record), nil
}

// subject names what a skip is about, by AWS's id too: once the deployment is gone, the audit trail is where it can be found.
func subject(record *store.Record, ref deploy.Ref) string {
	if r := record.Find(ref); ref != "" && r != nil {
		return strings.TrimSpace(string(ref) + " " + r.ID)
	}

	return ""
}

// seen is the operation as it stands, with its steps.
func (c *Control) seen(record *store.Record) Admitted {
	op := record.Operation
	op.Steps = c.Graphs.Steps(op, record.Resources)

	return Admitted{Operation: op, Version: record.Version()}
}
