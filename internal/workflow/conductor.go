package workflow

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

// Conductor is what the machine's own states do: Begin, Record, Settle and Close. It touches the record only, never AWS's resources.
//
// Every method looks at the fence first and answers TurnStop (or nil) when another operation or a newer execution has taken over. Every method may be
// repeated: what it has done already it finds done. Errors are *Signal.
type Conductor struct {
	Store  store.Store
	Graphs *Graphs
	Clock  Clock
	Log    *slog.Logger
}

// quiet is how long an operation may go without a write before the watchdog looks whether anybody still works on it. The longest pause between two
// polls of a removal is 60 s.
const quiet = 2 * time.Minute

// Run does what a state asks for.
func (c *Conductor) Run(ctx context.Context, in Input) (Plan, error) {
	switch in.Verb {
	case VerbBegin:
		return c.Begin(ctx, in)
	case VerbSettle:
		return c.Settle(ctx, in)
	case VerbRecord:
		return Plan{}, c.Record(ctx, in)
	case VerbClose:
		return Plan{}, c.Close(ctx, in)
	case VerbEnsure, VerbRemove:
	}

	return Plan{}, fmt.Errorf("the conductor does not %q", in.Verb)
}

// Begin plans the operation onto the resource items, stamps them with the fence, and says where to go.
func (c *Conductor) Begin(ctx context.Context, in Input) (Plan, error) {
	record, ok, err := c.load(ctx, in)
	if err != nil || !ok {
		return Plan{Turn: TurnStop}, err
	}

	op := &record.Operation

	turn, action := TurnEnsure, deploy.Ensure
	if op.Kind == deploy.Delete || op.State == deploy.RollingBack {
		turn, action = TurnRemove, deploy.Remove
	}

	change := &store.Change{Deployment: &record.Deployment}

	switch {
	case op.State == deploy.RollingBack:
		for i := range record.Resources {
			settle(&record.Resources[i], in.Operation, c.Clock.Now())
		}

		change.Resources = record.Resources
	case op.Kind == deploy.Delete:
		c.planRemoval(record, change)
	default:
		if err := c.planEnsure(record, change); err != nil {
			return Plan{}, err
		}
	}

	now := c.Clock.Now()

	if op.State == deploy.Pending {
		op.State = deploy.Running
	}

	change.Operations = []deploy.Operation{*op}
	record.Deployment.CheckTime, record.Deployment.UpdateTime = now.Add(quiet), now

	for i := range change.Resources {
		change.Resources[i].Operation, change.Resources[i].Epoch = in.Operation, in.Epoch
		stamp(&change.Resources[i], now)
	}

	if err := c.Store.Commit(ctx, in.Key(), change); err != nil {
		return Plan{}, storeSignal(err)
	}

	c.Log.InfoContext(ctx, "begin", "operation", in.Operation, "epoch", in.Epoch, "turn", turn)

	return c.Graphs.plan(turn, action, in.Epoch, change.Resources), nil
}

// planEnsure gives every resource of the spec a step. Steps that an earlier execution of this operation has finished stay finished.
func (c *Conductor) planEnsure(record *store.Record, change *store.Change) error {
	items, err := c.Graphs.Kinds.Plan(record.Deployment.Spec)
	if err != nil {
		c.Log.Error("plan", "error", err)

		return signal(Transient, "the kinds do not fit together")
	}

	for _, item := range items {
		r := deploy.Resource{Ref: item.Ref}
		if known := record.Find(item.Ref); known != nil {
			r = *known
		}

		r.Needs = item.Needs

		if r.Operation != record.Operation.ID {
			// Left over from an earlier life of the name (a kept bucket): this operation has not asked AWS for it yet.
			r.Ensure, r.Remove = &deploy.Step{State: deploy.StepPending}, nil
			r.MadeBy, r.Intent = "", time.Time{}
		}

		change.Resources = append(change.Resources, r)
	}

	return nil
}

// planRemoval gives every resource that is ours and that AWS was ever asked for a step. What never came to be stays without one until Close: dropping it
// now would let the operation's version fall.
func (c *Conductor) planRemoval(record *store.Record, change *store.Change) {
	for _, r := range record.Resources {
		if r.Operation != record.Operation.ID {
			r.Ensure, r.Remove = nil, nil
			if (r.Origin == deploy.Made || r.Origin == deploy.Reused) && (r.Kept || !r.Intent.IsZero()) {
				r.Remove = &deploy.Step{State: deploy.StepPending}
			}
		}

		change.Resources = append(change.Resources, r)
	}
}

// Record writes down what Step Functions caught and no worker could write itself: of those kinds, the resource that was begun and has no outcome failed,
// and what comes behind it in its chain is skipped.
func (c *Conductor) Record(ctx context.Context, in Input) error {
	record, ok, err := c.load(ctx, in)
	if err != nil || !ok {
		return err
	}

	for i := range record.Resources {
		r := &record.Resources[i]
		if in.Resource != "" && r.Ref != in.Resource || in.Resource == "" && !slices.Contains(in.Kinds, r.Ref.Kind()) {
			continue
		}

		step := open(r)
		if step == nil || r.Epoch != in.Epoch {
			continue
		}

		// What was not begun never will be: its chain has ended. Nobody in another chain may go on waiting for it.
		step.State, step.EndTime = deploy.StepSkipped, c.Clock.Now()
		if step.Attempts > 0 {
			step.State = deploy.StepFailed
		}

		if in.Fault != nil && step.State == deploy.StepFailed {
			step.Error = deploy.Errorf(deploy.Internal, "step_broke", "The step ended with %s.", deploy.Scrub(in.Fault.Error)).Of(r.Ref).
				WithRemedy("Give the operator the operation's id; the log of that step tells more.")
		}

		if err := c.Store.Save(ctx, in.Key(), stamp(r, c.Clock.Now())); err != nil {
			return storeSignal(err)
		}
	}

	return nil
}

// open returns the step of a resource that is not finished, or nil.
func open(r *deploy.Resource) *deploy.Step {
	for _, s := range []*deploy.Step{r.Remove, r.Ensure} {
		if s != nil && !s.State.Done() {
			return s
		}
	}

	return nil
}

// Settle decides whether the operation succeeded or turns to rollback. It answers NotReady while an invocation may still be at work, and takes an
// intent without an outcome for failed, never for ready.
func (c *Conductor) Settle(ctx context.Context, in Input) (Plan, error) {
	record, err := c.Store.Load(ctx, in.Key())
	if err != nil {
		return Plan{Turn: TurnStop}, storeSignal(err)
	}

	op, header := &record.Operation, &record.Deployment

	if header.Operation == in.Operation && op.State == deploy.RollingBack && op.TurnedAt == in.Epoch && header.Epoch == in.Epoch+1 {
		return c.Graphs.plan(TurnRemove, deploy.Remove, header.Epoch, record.Resources), nil // our own answer was lost
	}

	if header.Operation != in.Operation || header.Epoch != in.Epoch || op.State.Done() {
		return Plan{Turn: TurnStop}, nil
	}

	now := c.Clock.Now()

	failed := op.State == deploy.RollingBack

	for i := range record.Resources {
		r := &record.Resources[i]
		if now.Before(r.BusyUntil) {
			return Plan{}, signal(NotReady, "an invocation may still work on "+string(r.Ref))
		}

		failed = failed || r.Ensure != nil && r.Ensure.State != deploy.StepReady
	}

	if !failed {
		return Plan{Turn: TurnClose, Epoch: in.Epoch}, nil
	}

	for i := range record.Resources {
		settle(&record.Resources[i], in.Operation, now)
		record.Resources[i].Epoch = in.Epoch + 1
	}

	op.State, op.TurnedAt = deploy.RollingBack, in.Epoch
	if op.Error == nil {
		op.Error = firstError(record.Resources)
	}

	header.Epoch++
	header.CheckTime, header.UpdateTime = now.Add(quiet), now

	if err := c.Store.Commit(ctx, in.Key(), &store.Change{Deployment: header, Operations: []deploy.Operation{*op}, Resources: record.Resources}); err != nil {
		return Plan{}, storeSignal(err)
	}

	c.Log.InfoContext(ctx, "roll back", "operation", in.Operation, "error", op.Error)

	return c.Graphs.plan(TurnRemove, deploy.Remove, header.Epoch, record.Resources), nil
}

// settle closes the resource's creation and opens its removal if this operation's intent stands there. It may be repeated.
func settle(r *deploy.Resource, operation string, now time.Time) {
	if s := r.Ensure; s != nil && !s.State.Done() {
		s.State, s.EndTime = deploy.StepSkipped, now

		if s.Attempts > 0 {
			s.State = deploy.StepFailed
			if s.Error == nil {
				s.Error = deploy.Errorf(deploy.Internal, "no_outcome", "The step was begun and nobody recorded how it ended.").Of(r.Ref).
					WithRemedy("Try again; if it happens twice, give the operator the operation's id.")
			}
		}
	}

	if r.MadeBy == operation && !r.Intent.IsZero() && (r.Origin == deploy.Made || r.Origin == deploy.Reused) && r.Remove == nil {
		r.Remove = &deploy.Step{State: deploy.StepPending}
	}

	stamp(r, now)
}

// firstError is the failure that came first: what followed is usually its consequence.
func firstError(resources []deploy.Resource) *deploy.Error {
	var first *deploy.Step

	for i := range resources {
		for _, s := range []*deploy.Step{resources[i].Ensure, resources[i].Remove} {
			if s != nil && s.State == deploy.StepFailed && s.Error != nil && (first == nil || s.EndTime.Before(first.EndTime)) {
				first = s
			}
		}
	}

	if first == nil {
		return nil
	}

	return first.Error
}

// Close ends the operation: it freezes the steps into it, sets the phase, and drops what is gone.
func (c *Conductor) Close(ctx context.Context, in Input) error {
	record, ok, err := c.load(ctx, in)
	if err != nil || !ok {
		return err
	}

	now, header, op := c.Clock.Now(), &record.Deployment, &record.Operation
	residue := false

	for i := range record.Resources {
		r := &record.Resources[i]
		if now.Before(r.BusyUntil) {
			return signal(NotReady, "an invocation may still work on "+string(r.Ref))
		}

		if s := open(r); s != nil {
			s.State, s.EndTime = deploy.StepSkipped, now
			if s.Attempts > 0 {
				s.State = deploy.StepFailed
			}
		}

		if s := r.Remove; s != nil && s.State != deploy.StepGone && s.State != deploy.StepKept && !s.LeftBehind {
			residue = true
		}
	}

	switch {
	case residue:
		op.State, header.Phase = deploy.NeedsAttention, deploy.PhaseNeedsAttention
		if op.Error == nil || op.Kind == deploy.Delete {
			op.Error = firstError(record.Resources)
		}
	case op.State == deploy.RollingBack:
		op.State, header.Phase = deploy.RolledBack, deploy.PhaseFailed
	case op.Kind == deploy.Delete:
		op.State, header.Phase = deploy.Succeeded, deploy.PhaseDeleted
	default:
		op.State, header.Phase = deploy.Succeeded, deploy.PhaseActive
	}

	change := Finish(c.Graphs, record, now)
	if err := c.Store.Commit(ctx, in.Key(), change); err != nil {
		return storeSignal(err)
	}

	c.Log.InfoContext(ctx, "closed", "operation", in.Operation, "state", op.State, "phase", header.Phase)

	return nil
}

// Finish freezes the operation whose final state is set already, and returns the change that ends it.
func Finish(g *Graphs, record *store.Record, now time.Time) *store.Change {
	header, op := &record.Deployment, &record.Operation
	state := op.State

	// Steps answers what is frozen for a finished operation; at this moment nothing is.
	op.State = deploy.Running
	op.Steps = g.Steps(*op, record.Resources)
	op.State = state

	op.EndTime, op.FrozenVersion = now, record.Version()+2 // header and operation are about to rise
	header.Unfinished, header.CheckTime, header.UpdateTime = false, time.Time{}, now
	header.Total, header.Ready = 0, 0

	change := &store.Change{Deployment: header, Operations: []deploy.Operation{*op}}

	for _, r := range record.Resources {
		if remains(&r, header.Phase) {
			if r.Remove == nil || r.Remove.State != deploy.StepGone {
				header.Total++
			}

			if r.Ensure != nil && r.Ensure.State == deploy.StepReady && r.Remove == nil {
				header.Ready++
			}

			continue
		}

		change.Drop = append(change.Drop, r)
	}

	return change
}

// remains tells whether a resource outlives its operation in the record.
func remains(r *deploy.Resource, phase deploy.Phase) bool {
	if r.Kept || phase == deploy.PhaseNeedsAttention {
		return true // a resumed operation goes on with all of them
	}

	if phase.Vacant() || r.Intent.IsZero() {
		return false
	}

	return r.Remove == nil || r.Remove.State != deploy.StepGone
}

// load reads the record and tells whether this execution is still the one to act.
func (c *Conductor) load(ctx context.Context, in Input) (*store.Record, bool, error) {
	record, err := c.Store.Load(ctx, in.Key())
	if err != nil {
		return nil, false, storeSignal(err)
	}

	h := record.Deployment

	return record, h.Operation == in.Operation && h.Epoch == in.Epoch && !record.Operation.State.Done(), nil
}
