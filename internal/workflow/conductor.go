package workflow

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
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

	header, op := &record.Deployment, &record.Operation
	now, was := c.Clock.Now(), *op

	switch {
	case op.State == deploy.RollingBack:
		err = c.turnBack(record, now)
	case op.Kind == deploy.Delete:
		c.planRemoval(record)
	default:
		err = c.planEnsure(record)
	}

	if err != nil {
		return Plan{}, err
	}

	if op.State == deploy.Pending {
		op.State = deploy.Running
	}

	header.CheckTime, header.UpdateTime = now.Add(quiet), now

	for i := range record.Resources {
		record.Resources[i].Operation, record.Resources[i].Epoch = in.Operation, in.Epoch
		stamp(&record.Resources[i], now)
	}

	change := &store.Change{Deployment: header, Operations: []deploy.Operation{*op}, Resources: record.Resources}
	tell(change, header.Phase, was.State)

	if err := c.Store.Commit(ctx, in.Key(), change); err != nil {
		return Plan{}, storeSignal(err)
	}

	plan := c.next(record, in.Epoch)
	if plan.Turn == TurnClose {
		// Nothing is left to be done. The way leads on all the same: through Settle, which decides what may go now, or to the end.
		turn, action := TurnEnsure, deploy.Ensure
		if op.Kind == deploy.Delete || op.State == deploy.RollingBack {
			turn, action = TurnRemove, deploy.Remove
		}

		plan = c.Graphs.plan(turn, action, in.Epoch, record.Resources)
	}

	c.Log.InfoContext(ctx, "begin", "operation", in.Operation, "epoch", in.Epoch, "turn", plan.Turn)

	return plan, nil
}

// next says where an execution goes from a record as it stands: to what is still to be made, then to what is to be removed, then to the end.
func (c *Conductor) next(record *store.Record, epoch int) Plan {
	for _, way := range []struct {
		turn   Turn
		action deploy.Action
	}{{TurnEnsure, deploy.Ensure}, {TurnRemove, deploy.Remove}} {
		if slices.ContainsFunc(record.Resources, func(r deploy.Resource) bool { s := r.Step(way.action); return s != nil && !s.State.Done() }) {
			return c.Graphs.plan(way.turn, way.action, epoch, record.Resources)
		}
	}

	return Plan{Turn: TurnClose, Epoch: epoch}
}

// planEnsure gives every resource of the spec a step; in a verification only those that prove it. Steps that an earlier execution of this operation has
// finished stay finished.
func (c *Conductor) planEnsure(record *store.Record) error {
	op := &record.Operation

	items, err := c.items(record.Deployment.Spec, op.Probe)
	if err != nil {
		return err
	}

	var kept []deploy.Resource

	for i := range record.Resources {
		r := record.Resources[i]
		if r.Operation != op.ID {
			r.Ensure, r.Remove = nil, nil
		}

		// A create has nothing to do with what an earlier life of the name left behind, unless it takes it up.
		if op.Kind != deploy.Create || r.Operation == op.ID {
			kept = append(kept, r)
		}
	}

	for _, item := range items {
		i := slices.IndexFunc(kept, func(r deploy.Resource) bool { return r.Ref == item.Ref })
		if i < 0 {
			fresh := deploy.Resource{Ref: item.Ref}
			if known := record.Find(item.Ref); known != nil {
				// Left over from an earlier life of the name (a kept bucket): this operation has not asked AWS for it yet.
				fresh = *known
				fresh.MadeBy, fresh.Intent, fresh.Ensure, fresh.Remove = "", time.Time{}, nil, nil
			}

			kept, i = append(kept, fresh), len(kept)
		}

		r := &kept[i]
		r.Needs = item.Needs

		if r.Operation == op.ID {
			continue
		}

		r.Replaces = ""

		if op.Kind == deploy.Verify && !c.Graphs.passing(r.Ref) {
			continue
		}

		if k, _ := c.Graphs.Kinds.Find(r.Ref.Kind()); k.About().Replaceable && !r.Intent.IsZero() && r.Origin == deploy.Made && r.Generation != item.Generation() {
			old := *r
			old.Ref, old.Version = r.Ref.Past(r.Generation), 0
			*r = deploy.Resource{Ref: r.Ref, Replaces: old.Ref, Needs: item.Needs, Version: r.Version}
			kept = append(kept, old)
			r = &kept[i]
		}

		r.Ensure = &deploy.Step{State: deploy.StepPending}
	}

	record.Resources = kept

	return nil
}

// items lists what a spec asks for.
func (c *Conductor) items(spec deploy.Spec, probe bool) ([]kind.Item, error) {
	items, err := c.Graphs.Items(spec, probe)
	if err != nil {
		c.Log.Error("plan", "error", err)

		return nil, signal(Transient, "the kinds do not fit together")
	}

	return items, nil
}

// planRemoval gives every resource that is ours and that AWS was ever asked for a step. What never came to be stays without one until Close: dropping it
// now would let the operation's version fall.
func (c *Conductor) planRemoval(record *store.Record) {
	for i := range record.Resources {
		r := &record.Resources[i]
		if r.Operation == record.Operation.ID {
			continue
		}

		r.Ensure, r.Remove = nil, nil

		// The removal of a replaceable resource takes every generation of it along.
		if base, past := r.Ref.Base(); past != "" && ours(record.Find(base)) {
			continue
		}

		if ours(r) {
			r.Remove = &deploy.Step{State: deploy.StepPending}
		}
	}
}

// ours tells whether a resource is the deployment's to remove: AWS was asked for it, or a delete kept it.
func ours(r *deploy.Resource) bool {
	return r != nil && (r.Origin == deploy.Made || r.Origin == deploy.Reused) && (r.Kept || !r.Intent.IsZero())
}

// Record writes down what Step Functions caught and no worker could write itself: of those kinds, the resource that was begun and has no outcome failed,
// and what comes behind it in its chain is skipped.
func (c *Conductor) Record(ctx context.Context, in Input) error {
	record, ok, err := c.load(ctx, in)
	if err != nil || !ok {
		return err
	}

	// While anything is still to be made, what waits for its removal is not concerned.
	action := deploy.Remove
	if c.next(record, in.Epoch).Turn == TurnEnsure {
		action = deploy.Ensure
	}

	for i := range record.Resources {
		r := &record.Resources[i]
		if in.Resource != "" && r.Ref != in.Resource || in.Resource == "" && !slices.Contains(in.Kinds, r.Ref.Kind()) {
			continue
		}

		step := r.Step(action)
		if step == nil || step.State.Done() || r.Epoch != in.Epoch {
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

// Settle decides whether the operation succeeded or turns to rollback, and what is to be removed. It answers NotReady while an invocation may still be at
// work, and takes an intent without an outcome for failed, never for ready.
func (c *Conductor) Settle(ctx context.Context, in Input) (Plan, error) {
	record, err := c.Store.Load(ctx, in.Key())
	if err != nil {
		return Plan{Turn: TurnStop}, storeSignal(err)
	}

	op, header := &record.Operation, &record.Deployment

	if header.Operation == in.Operation && op.State == deploy.RollingBack && op.TurnedAt == in.Epoch && header.Epoch == in.Epoch+1 {
		return c.next(record, header.Epoch), nil // our own answer was lost
	}

	if header.Operation != in.Operation || header.Epoch != in.Epoch || op.State.Done() {
		return Plan{Turn: TurnStop}, nil
	}

	now := c.Clock.Now()

	failed := false

	for i := range record.Resources {
		r := &record.Resources[i]
		if now.Before(r.BusyUntil) {
			return Plan{}, signal(NotReady, "an invocation may still work on "+string(r.Ref))
		}

		failed = failed || unmade(r)
	}

	switch {
	case op.State == deploy.RollingBack || op.Kind == deploy.Repair:
		// There is nothing further to go back to. What could not be made again is for a person to decide; Close says so.
		for i := range record.Resources {
			conclude(&record.Resources[i], now)
		}
	case failed:
		return c.turn(ctx, in, record, now)
	default:
		c.planLeftovers(record)
	}

	plan := c.next(record, in.Epoch)
	if plan.Turn == TurnClose {
		return plan, nil
	}

	header.CheckTime, header.UpdateTime = now.Add(quiet), now

	for i := range record.Resources {
		stamp(&record.Resources[i], now)
	}

	change := &store.Change{Deployment: header, Operations: []deploy.Operation{*op}, Resources: record.Resources}
	if err := c.Store.Commit(ctx, in.Key(), change); err != nil {
		return Plan{}, storeSignal(err)
	}

	return plan, nil
}

// unmade tells whether a resource that was to be made is not there, for all that is known.
func unmade(r *deploy.Resource) bool {
	return r.Ensure != nil && r.Ensure.State != deploy.StepReady && !r.Ensure.LeftBehind
}

// turn begins the rollback, under the next epoch.
func (c *Conductor) turn(ctx context.Context, in Input, record *store.Record, now time.Time) (Plan, error) {
	op, header := &record.Operation, &record.Deployment
	was := op.State

	for i := range record.Resources {
		conclude(&record.Resources[i], now)
	}

	if op.Error == nil {
		op.Error = firstError(record.Resources)
	}

	op.State, op.TurnedAt = deploy.RollingBack, in.Epoch

	if err := c.turnBack(record, now); err != nil {
		return Plan{}, err
	}

	for i := range record.Resources {
		record.Resources[i].Operation, record.Resources[i].Epoch = in.Operation, in.Epoch+1
	}

	header.Epoch++
	header.CheckTime, header.UpdateTime = now.Add(quiet), now

	change := &store.Change{Deployment: header, Operations: []deploy.Operation{*op}, Resources: record.Resources}
	tell(change, header.Phase, was)

	if err := c.Store.Commit(ctx, in.Key(), change); err != nil {
		return Plan{}, storeSignal(err)
	}

	c.Log.InfoContext(ctx, "roll back", "operation", in.Operation, "error", op.Error)

	return c.next(record, header.Epoch), nil
}

// turnBack plans the rollback onto the record: what this operation's intents stand for is removed. An update first returns to the spec that it found: what
// it touched is ensured again as that spec wants it, and what it replaced comes back. It may be repeated.
func (c *Conductor) turnBack(record *store.Record, now time.Time) error {
	op := &record.Operation

	if op.Kind != deploy.Update || !op.Restored {
		for i := range record.Resources {
			conclude(&record.Resources[i], now)
		}
	}

	if op.Kind == deploy.Update && !op.Restored {
		if err := c.restore(record); err != nil {
			return err
		}
	}

	for i := range record.Resources {
		r := &record.Resources[i]

		// A repair made nothing that was not the deployment's before.
		if op.Kind != deploy.Repair && r.MadeBy == op.ID && ours(r) && r.Remove == nil {
			r.Remove = &deploy.Step{State: deploy.StepPending}
		}

		stamp(r, now)
	}

	return nil
}

// restore makes the deployment again what its update found.
func (c *Conductor) restore(record *store.Record) error {
	op, header := &record.Operation, &record.Deployment

	items, err := c.items(op.Before.Spec, false)
	if err != nil {
		return err
	}

	header.Spec, header.Labels = op.Before.Spec, op.Before.Labels
	op.Restored = true

	// Whoever moved the expiry since then meant it.
	if set := op.Before.Replaced; !set.IsZero() && header.ExpireTime.Equal(set) {
		header.ExpireTime, header.Warned = op.Before.ExpireTime, op.Before.Warned
	}

	for _, item := range items {
		r := record.Find(item.Ref)
		if r == nil {
			continue
		}

		again := r.Operation == op.ID && r.Ensure != nil && r.Ensure.Attempts > 0 // before Begin, the steps are another operation's
		r.Ensure = nil

		if old := record.Find(r.Replaces); old != nil {
			again = true
			current := *r

			*r = *old
			r.Ref, r.Version = current.Ref, current.Version

			// The old one's item goes at Close: dropping it now would let the operation's version fall.
			*old = deploy.Resource{Ref: old.Ref, Version: old.Version}

			if !current.Intent.IsZero() {
				current.Ref, current.Replaces, current.Version = current.Ref.Past(current.Generation), "", 0
				record.Resources = append(record.Resources, current)
				r = record.Find(item.Ref)
			}
		}

		r.Needs = item.Needs

		if again {
			r.Ensure = &deploy.Step{State: deploy.StepPending}
		}
	}

	c.spread(record, items)

	return nil
}

// spread adds to what is ensured again whatever needs it: a launch template that goes back does so in a new version, which its environment has to be told.
func (c *Conductor) spread(record *store.Record, items []kind.Item) {
	again := func(ref deploy.Ref) bool {
		r := record.Find(ref)

		return r != nil && r.Ensure != nil && r.Ensure.State == deploy.StepPending
	}

	for _, name := range c.Graphs.Ensure.Order() {
		for _, item := range items {
			if r := record.Find(item.Ref); r != nil && item.Ref.Kind() == name && slices.ContainsFunc(item.Needs, again) {
				r.Ensure = &deploy.Step{State: deploy.StepPending}
			}
		}
	}
}

// planLeftovers gives what this operation leaves without a use a removal: what the spec no longer asks for, what was replaced, what only passes.
func (c *Conductor) planLeftovers(record *store.Record) {
	asked := c.Graphs.asked(record.Deployment.Spec)

	for i := range record.Resources {
		r := &record.Resources[i]

		if !asked(r.Ref) && r.Operation == record.Operation.ID && ours(r) && r.Remove == nil {
			r.Remove = &deploy.Step{State: deploy.StepPending}
		}
	}
}

// conclude closes the resource's creation as far as nobody did. It may be repeated.
func conclude(r *deploy.Resource, now time.Time) {
	s := r.Ensure
	if s == nil || s.State.Done() {
		return
	}

	s.State, s.EndTime = deploy.StepSkipped, now

	if s.Attempts > 0 {
		s.State = deploy.StepFailed
		if s.Error == nil {
			s.Error = deploy.Errorf(deploy.Internal, "no_outcome", "The step was begun and nobody recorded how it ended.").Of(r.Ref).
				WithRemedy("Try again; if it happens twice, give the operator the operation's id.")
		}
	}
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

		conclude(r, now)

		if s := r.Remove; s != nil && !s.State.Done() {
			s.State, s.EndTime = deploy.StepSkipped, now
			if s.Attempts > 0 {
				s.State = deploy.StepFailed
			}
		}

		if s := r.Remove; s != nil && s.State != deploy.StepGone && s.State != deploy.StepKept && !s.LeftBehind {
			residue = true
		}
	}

	residue = residue || c.Graphs.amiss(record)
	phase, state := header.Phase, op.State

	switch {
	case residue:
		op.State, header.Phase = deploy.NeedsAttention, deploy.PhaseNeedsAttention
		if op.Error == nil || op.Kind == deploy.Delete {
			op.Error = firstError(record.Resources)
		}
	case op.State == deploy.RollingBack && op.Kind == deploy.Repair && op.Was == deploy.PhaseNeedsAttention:
		// It was stopped before it had mended what it was asked for.
		op.State, header.Phase = deploy.NeedsAttention, deploy.PhaseNeedsAttention
	case op.State == deploy.RollingBack && op.Kind == deploy.Create:
		op.State, header.Phase = deploy.RolledBack, deploy.PhaseFailed
	case op.State == deploy.RollingBack:
		op.State, header.Phase = deploy.RolledBack, deploy.PhaseActive
	case op.Kind == deploy.Delete:
		op.State, header.Phase = deploy.Succeeded, deploy.PhaseDeleted
	default:
		op.State, header.Phase = deploy.Succeeded, deploy.PhaseActive
	}

	change := finish(c.Graphs, record, phase, state, now)
	if err := c.Store.Commit(ctx, in.Key(), change); err != nil {
		return storeSignal(err)
	}

	c.Log.InfoContext(ctx, "closed", "operation", in.Operation, "state", op.State, "phase", header.Phase)

	return nil
}

// amiss tells whether something that stands to the end of the operation could not be made as the spec wants it: making is the way back of an update, and
// all that a repair does.
func (g *Graphs) amiss(record *store.Record) bool {
	return slices.ContainsFunc(record.Resources, func(r deploy.Resource) bool { return g.unmended(record, &r) })
}

// unmended tells so of one resource.
func (g *Graphs) unmended(record *store.Record, r *deploy.Resource) bool {
	op := &record.Operation
	if !unmade(r) || op.Kind != deploy.Update && (op.Kind != deploy.Repair || op.State == deploy.RollingBack) {
		return false
	}

	return g.asked(record.Deployment.Spec)(r.Ref)
}

// asked tells which resources a spec asks for.
func (g *Graphs) asked(spec deploy.Spec) func(deploy.Ref) bool {
	items, err := g.Items(spec, false)

	return func(ref deploy.Ref) bool {
		return err != nil || slices.ContainsFunc(items, func(item kind.Item) bool { return item.Ref == ref })
	}
}

// finish freezes the operation whose final state is set already, and returns the change that ends it. Phase and state are those before.
func finish(g *Graphs, record *store.Record, phase deploy.Phase, state deploy.OperationState, now time.Time) *store.Change {
	header, op := &record.Deployment, &record.Operation
	final := op.State

	// Steps answers what is frozen for a finished operation; at this moment nothing is.
	op.State = deploy.Running
	op.Steps = g.Steps(*op, record.Resources)
	op.State = final

	op.EndTime, op.FrozenVersion = now, record.Version()+2 // header and operation are about to rise
	header.Unfinished, header.Queued, header.UpdateTime = false, false, now
	header.CheckTime = notice(*header, *op)
	header.Total, header.Ready = 0, 0

	change := &store.Change{Deployment: header}

	for _, r := range record.Resources {
		if !g.remains(&r, header) {
			change.Drop = append(change.Drop, r)

			continue
		}

		if r.Remove == nil || r.Remove.State != deploy.StepGone {
			header.Total++
		}

		if r.Remove == nil && !r.Kept && !unmade(&r) {
			header.Ready++
		}
	}

	change.Operations = []deploy.Operation{*op}

	tell(change, phase, state)
	enter(change, deploy.Entry{Actor: op.Actor, Action: string(op.Kind), Outcome: deploy.Outcome(op.State)}, now)

	counts := deploy.Usage{}
	if !header.Phase.Vacant() {
		counts = deploy.Usage{Deployments: 1, VCPUs: header.Spec.VCPUs()}
	}

	count(change, counts, deploy.Usage{})

	return change
}

// remains tells whether a resource outlives its operation in the record.
func (g *Graphs) remains(r *deploy.Resource, header *deploy.Deployment) bool {
	if r.Kept || header.Phase == deploy.PhaseNeedsAttention {
		return true // a resumed operation goes on with all of them
	}

	if header.Phase.Vacant() || r.Intent.IsZero() {
		return false
	}

	// What the owner brought is let go when the spec names it no longer.
	if !ours(r) && r.Remove == nil {
		return g.asked(header.Spec)(r.Ref)
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
