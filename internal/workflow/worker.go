package workflow

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

// Place is where this copy of the product works and what it puts on what it makes.
type Place struct {
	Installation, Partition, Account, Region string
	// Boundary is the ARN of the permissions boundary of every role we make.
	Boundary string
}

// Owner is the owner of a deployment's resources in this place.
func (p Place) Owner(d deploy.Deployment) deploy.Owner {
	return deploy.Owner{
		Installation: p.Installation, Partition: p.Partition, Account: d.Account, Region: d.Region,
		Tenant: d.Tenant, Name: d.Name, By: d.Owner, Tags: d.Spec.Tags,
	}
}

// Clock tells the time and passes it.
type Clock interface {
	Now() time.Time
	Sleep(ctx context.Context, d time.Duration)
}

// Worker does one step for one resource: what the Ensure and Remove states call.
type Worker struct {
	Store store.Store
	// Kinds are the kinds of this function's family; the step of any other fails.
	Kinds kind.Registry
	Place Place
	Clock Clock
	Log   *slog.Logger
}

const (
	// looking is how long an invocation looks again before it answers NotReady: longer would pay Lambda for waiting, shorter would pay Step Functions
	// for asking.
	looking = 10 * time.Second
	// interval is between two looks.
	interval = time.Second
	// reserve is the end of an invocation, kept for writing the outcome.
	reserve = 5 * time.Second
	// lifetime bounds an invocation even where Lambda would let it run longer: nobody else may act on the resource until then, also not after a crash.
	lifetime = 30 * time.Second
)

// Run does the step that the input names. It returns nil when the step is done (now or before), otherwise a *Signal. It may be called any number of times
// by any number of processes: the record decides who may act.
func (w *Worker) Run(ctx context.Context, in Input) error {
	action := deploy.Ensure
	if in.Verb == VerbRemove {
		action = deploy.Remove
	}

	record, err := w.Store.Load(ctx, in.Key())
	if err != nil {
		return storeSignal(err)
	}

	r := record.Find(in.Resource)
	if r == nil {
		return nil // a kind of a wanted chain that this spec does without
	}

	if h := record.Deployment; h.Operation != in.Operation || h.Epoch != in.Epoch || r.Operation != in.Operation || r.Epoch != in.Epoch {
		return signal(Superseded, "operation "+in.Operation+" no longer works on "+string(in.Resource))
	}

	step := r.Step(action)
	if step == nil {
		return nil
	}

	switch step.State {
	case deploy.StepReady, deploy.StepGone, deploy.StepKept:
		return nil
	case deploy.StepFailed, deploy.StepSkipped:
		return signal(Failed, string(in.Resource)+" is "+string(step.State))
	case deploy.StepPending, deploy.StepWaiting, deploy.StepRunning:
	}

	now := w.Clock.Now()

	k, ok := w.Kinds.Find(r.Ref.Kind())
	if !ok {
		return w.end(ctx, in.Key(), r, step, deploy.Errorf(deploy.Internal, "internal", "This function has no kind %s.", r.Ref.Kind()))
	}

	if err := w.prerequisites(ctx, record, r, action, k.About()); err != nil {
		return err
	}

	if now.Before(r.BusyUntil) {
		return signal(NotReady, "another invocation works on "+string(r.Ref))
	}

	if err := overdue(k.About(), action, step, now); err != nil {
		return w.end(ctx, in.Key(), r, step, err)
	}

	return w.act(ctx, in, record, r, action, k)
}

// prerequisites answers Waiting while something before the step is not finished. When something before it failed, the step is skipped.
func (w *Worker) prerequisites(ctx context.Context, record *store.Record, r *deploy.Resource, action deploy.Action, about kind.About) error {
	waits := ""

	for i := range record.Resources {
		before := &record.Resources[i]

		s := before.Step(action)
		if s == nil || s.LeftBehind || before.Ref == r.Ref || !comesBefore(before, r, about, action) {
			continue
		}

		switch s.State {
		case deploy.StepReady, deploy.StepGone, deploy.StepKept:
		case deploy.StepFailed, deploy.StepSkipped:
			step := r.Step(action)
			step.State, step.WaitingFor, step.EndTime = deploy.StepSkipped, string(before.Ref), w.Clock.Now()

			if err := w.Store.Save(ctx, record.Deployment.Key, stamp(r, w.Clock.Now())); err != nil {
				return storeSignal(err)
			}

			return signal(Failed, string(r.Ref)+" was skipped: "+string(before.Ref)+" failed")
		case deploy.StepPending, deploy.StepWaiting, deploy.StepRunning:
			waits = string(before.Ref)
		}
	}

	if waits != "" {
		return signal(Waiting, string(r.Ref)+" waits for "+waits)
	}

	return nil
}

// fewest are the attempts that a step gets however long they take: minutes may go by in which a process stands still, or in which nobody works at all.
const fewest = 5

// overdue counts from the resource's own first act, or from its last visible progress.
func overdue(about kind.About, action deploy.Action, step *deploy.Step, now time.Time) *deploy.Error {
	if step.StartTime.IsZero() || step.Attempts < fewest {
		return nil
	}

	since, limit := step.StartTime, about.Ensuring.Deadline
	if action == deploy.Remove {
		limit = about.Removing.Deadline
	}

	if step.ProgressTime.After(since) {
		since = step.ProgressTime
	}

	if now.Sub(since) <= limit {
		return nil
	}

	last := step.WaitingFor
	if step.Error != nil {
		last = step.Error.Message
	}

	err := deploy.Errorf(deploy.Transient, "deadline_exceeded", "Not finished within %s; last seen: %s.", limit, last)
	err.Remedy = "Look at the AWS Health Dashboard and at the resource in the console, then try again."

	if step.Error != nil {
		err.AWSCode, err.RequestID, err.Class = step.Error.AWSCode, step.Error.RequestID, step.Error.Class
	}

	return err
}

// act writes the intent, calls the kind, and writes the outcome in the time kept for it.
func (w *Worker) act(ctx context.Context, in Input, record *store.Record, r *deploy.Resource, action deploy.Action, k kind.Kind) error {
	now := w.Clock.Now()

	deadline := now.Add(lifetime)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}

	call := w.call(record, r, in, k)
	step := r.Step(action)
	step.State, step.WaitingFor = deploy.StepRunning, ""
	step.Attempts++

	if step.StartTime.IsZero() {
		step.StartTime = now
	}

	if action == deploy.Ensure && r.Intent.IsZero() {
		r.Intent, r.MadeBy, r.Generation = now, in.Operation, call.Generation()
		r.Origin = origin(k.About(), call.Item)
		call.Origin = r.Origin
	}

	r.BusyUntil = deadline

	if err := w.Store.Save(ctx, in.Key(), stamp(r, now)); err != nil {
		return storeSignal(err)
	}

	acting, cancel := context.WithTimeout(ctx, deadline.Add(-reserve).Sub(now))
	defer cancel()

	result, err := w.look(acting, k, call, action, deadline.Add(-reserve-interval))

	// The invocation's own context may be over by now; the outcome must be written all the same.
	writing, cancel := context.WithTimeout(context.WithoutCancel(ctx), reserve-time.Second)
	defer cancel()

	return w.outcome(writing, in, r, action, call, result, err)
}

func origin(about kind.About, item kind.Item) deploy.Origin {
	switch {
	case item.Existing != "":
		return deploy.Existing
	case about.Shared:
		return deploy.Shared
	default:
		return deploy.Made
	}
}

// look calls the verb until it is done, fails for good, or the time for looking is over. Visible progress buys more time.
func (w *Worker) look(ctx context.Context, k kind.Kind, c *kind.Call, action deploy.Action, latest time.Time) (kind.Result, error) {
	until, progressed := w.Clock.Now().Add(looking), false

	for {
		result, err := verb(ctx, k, c, action)
		if err == nil && result.Done {
			return result, nil
		}

		if err != nil && !awserr.Is(err, deploy.NotReady) {
			return result, err
		}

		pause := interval
		if result.Progressed {
			until, pause = latest, 0
		}

		progressed = progressed || result.Progressed
		result.Progressed = progressed

		if next := w.Clock.Now().Add(pause); next.After(until) || next.After(latest) || ctx.Err() != nil {
			return result, err
		}

		if pause > 0 {
			w.Clock.Sleep(ctx, pause)
		}

		// What a look found is known to the next one.
		c.ID, c.ARN = cmp.Or(result.ID, c.ID), cmp.Or(result.ARN, c.ARN)
	}
}

func verb(ctx context.Context, k kind.Kind, c *kind.Call, action deploy.Action) (kind.Result, error) {
	switch {
	case action == deploy.Remove:
		return k.Remove(ctx, c)
	case c.Existing != "":
		return existing(ctx, k, c)
	default:
		return k.Ensure(ctx, c)
	}
}

// existing checks what the owner named, and never changes it.
func existing(ctx context.Context, k kind.Kind, c *kind.Call) (kind.Result, error) {
	obs, err := k.Observe(ctx, c)
	if err != nil {
		return kind.Result{}, err
	}

	if obs.State == kind.Absent {
		return kind.Result{}, deploy.Errorf(deploy.Invalid, "existing_not_found", "%s is not there any more.", c.Existing).
			WithRemedy("Name one that exists in this account and Region.").At(c.Pointer)
	}

	for _, p := range obs.Problems {
		if p.Level == deploy.LevelError {
			return kind.Result{}, &deploy.Error{Class: p.Class, Code: p.Code, Message: p.Message, Remedy: p.Remedy, Pointer: p.Pointer}
		}
	}

	return kind.Result{Done: obs.State == kind.Ready, ID: obs.ID, ARN: obs.ARN, Outputs: obs.Outputs, Waiting: string(obs.State)}, nil
}

func (w *Worker) call(record *store.Record, r *deploy.Resource, in Input, k kind.Kind) *kind.Call {
	call := newCall(w.Place, w.Clock, record, r, k)

	call.Save = func(ctx context.Context) error {
		r.Origin, r.Memo = call.Origin, maps.Clone(call.Memo)

		return w.Store.Save(ctx, in.Key(), stamp(r, w.Clock.Now()))
	}

	return call
}

// newCall is what a kind is told of a resource in a record.
func newCall(place Place, clock Clock, record *store.Record, r *deploy.Resource, k kind.Kind) *kind.Call {
	base, past := r.Ref.Base()
	item := kind.Item{Ref: base, Needs: r.Needs, Past: past}

	for _, planned := range k.Plan(record.Deployment.Spec) {
		if planned.Ref == r.Ref {
			item = planned
		}
	}

	call := &kind.Call{
		Owner: place.Owner(record.Deployment), Item: item, Spec: record.Deployment.Spec, Operation: record.Operation.ID, Boundary: place.Boundary,
		Data: record.Operation.Data, Origin: r.Origin, ID: r.ID, ARN: r.ARN, Outputs: maps.Clone(r.Outputs), Memo: maps.Clone(r.Memo),
		Others: map[deploy.Ref]kind.Other{}, Now: clock.Now,
	}

	for _, need := range item.Needs {
		if other := record.Find(need); other != nil {
			call.Others[need] = kind.Other{ID: other.ID, ARN: other.ARN, Outputs: other.Outputs}
		}
	}

	return call
}

// outcome writes what came of the looks and tells the state machine.
func (w *Worker) outcome(ctx context.Context, in Input, r *deploy.Resource, action deploy.Action, c *kind.Call, result kind.Result, err error) error {
	if errors.Is(err, store.ErrStale) {
		return storeSignal(err) // somebody took over while the kind was at work; the next look at the record tells who
	}

	now, step := w.Clock.Now(), r.Step(action)

	r.Origin, r.Memo, r.BusyUntil = c.Origin, c.Memo, time.Time{}
	r.ID, r.ARN = cmp.Or(result.ID, r.ID), cmp.Or(result.ARN, r.ARN)

	if result.Outputs != nil {
		r.Outputs = result.Outputs
	}

	if result.Progressed {
		step.ProgressTime = now
	}

	step.WaitingFor = deploy.Scrub(result.Waiting)

	if err != nil {
		return w.failure(ctx, in, r, step, err)
	}

	step.Error = nil

	if !result.Done {
		if err := w.Store.Save(ctx, in.Key(), stamp(r, now)); err != nil {
			return storeSignal(err)
		}

		return signal(NotReady, string(r.Ref)+": "+step.WaitingFor)
	}

	step.State, step.WaitingFor, step.EndTime = deploy.StepReady, "", now

	if action == deploy.Remove {
		step.State, r.Kept = deploy.StepGone, result.Kept
		if result.Kept {
			step.State = deploy.StepKept
		}
	} else {
		r.Kept = false
	}

	if err := w.Store.Save(ctx, in.Key(), stamp(r, now)); err != nil {
		return storeSignal(err)
	}

	w.Log.InfoContext(ctx, "step done", "operation", r.Operation, "resource", r.Ref, "action", action, "state", step.State)

	return nil
}

// failure decides by class whether to try again.
func (w *Worker) failure(ctx context.Context, in Input, r *deploy.Resource, step *deploy.Step, err error) error {
	e := awserr.Classify(err).Of(r.Ref)
	e.Message = deploy.Scrub(e.Message)

	name, again := map[deploy.Class]SignalName{deploy.NotReady: NotReady, deploy.Throttled: Throttled, deploy.Transient: Transient}[e.Class]
	if !again {
		return w.end(ctx, in.Key(), r, step, e)
	}

	w.Log.InfoContext(ctx, "step will be tried again", "operation", in.Operation, "resource", r.Ref, "class", e.Class, "error", deploy.Scrub(err.Error()))

	step.Error = e
	if step.WaitingFor == "" {
		step.WaitingFor = e.Message
	}

	if err := w.Store.Save(ctx, in.Key(), stamp(r, w.Clock.Now())); err != nil {
		return storeSignal(err)
	}

	return signal(name, e.Message)
}

// end writes a failure for good.
func (w *Worker) end(ctx context.Context, key deploy.Key, r *deploy.Resource, step *deploy.Step, e *deploy.Error) error {
	now := w.Clock.Now()

	step.State, step.Error, step.WaitingFor, step.EndTime, r.BusyUntil = deploy.StepFailed, e.Of(r.Ref), "", now, time.Time{}
	if step.StartTime.IsZero() {
		step.StartTime = now
	}

	if err := w.Store.Save(ctx, key, stamp(r, now)); err != nil {
		return storeSignal(err)
	}

	w.Log.ErrorContext(ctx, "step failed", "resource", r.Ref, "class", e.Class, "code", e.Code, "error", e.Message, "cause", cause(e))

	return signal(Failed, e.Message)
}

func cause(e *deploy.Error) string {
	if err := errors.Unwrap(e); err != nil {
		return deploy.Scrub(err.Error())
	}

	return ""
}

// stamp marks the moment of a write: the watchdog reads it.
func stamp(r *deploy.Resource, now time.Time) *deploy.Resource {
	r.UpdateTime = now

	return r
}
