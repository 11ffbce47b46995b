// Package kindtest holds what the tests of all kinds share: a clock that only a test turns, a bench that calls a kind the way the worker does (the
// record remembers what the kind hands back, or forgets it when the process dies), and Suite, the conformance suite that every kind passes.
//
// It knows no kind and no AWS service; a test brings both.
package kindtest

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/smithy-go"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// Clock stands still until a test turns it.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock starts on the first of January 2026.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

// Now is the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()

	return c.now
}

// Advance turns the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.now = c.now.Add(d)
}

// World makes an empty account whose time is the clock's.
func World() (*awsfake.World, *Clock) {
	w, clock := awsfake.New(), NewClock()
	w.Now = clock.Now

	return w, clock
}

// Bench is one resource under test. The embedded Call is what the kind is told; a test may set Others, Data, Boundary, Quota and so on before it begins.
type Bench struct {
	*kind.Call
	Kind  kind.Kind
	World *awsfake.World
	Clock *Clock

	// midway is what the kind saved in the middle of the current look.
	midway *kind.Call
}

// New makes a bench for the resource ref of a spec (its defaults are filled in). The owner is deployment "demo" of tenant "acme"; Quota answers the
// default of the one who asks. It fails the test if the kind does not plan ref.
func New(t *testing.T, k kind.Kind, w *awsfake.World, clock *Clock, spec deploy.Spec, ref deploy.Ref) *Bench {
	t.Helper()

	spec = spec.WithDefaults()

	b := &Bench{Kind: k, World: w, Clock: clock, Call: &kind.Call{
		Owner: deploy.Owner{
			Installation: "test", Partition: w.Partition, Account: w.Account, Region: w.Region, Tenant: "acme", Name: "demo", Tags: spec.Tags,
		},
		Spec: spec, Operation: "operation-1", Data: deploy.Keep, Origin: deploy.Made, Others: map[deploy.Ref]kind.Other{}, Now: clock.Now,
		Quota: func(_ context.Context, _, _ string, otherwise int) int { return otherwise },
	}}
	b.Save = b.save

	for _, item := range k.Plan(spec) {
		if item.Ref != ref {
			continue
		}

		b.Item = item
		if item.Existing != "" {
			b.Origin = deploy.Existing
		}

		return b
	}

	t.Fatalf("%s plans no %s for this spec", k.About().Name, ref)

	return nil
}

// Look calls a verb once and keeps in the record what came of it, as the worker does.
func (b *Bench) Look(ctx context.Context, action deploy.Action) (kind.Result, error) {
	verb := b.Kind.Ensure
	if action == deploy.Remove {
		verb = b.Kind.Remove
	}

	r, err := verb(ctx, b.Call)

	b.ID, b.ARN = cmp.Or(r.ID, b.ID), cmp.Or(r.ARN, b.ARN)
	if r.Outputs != nil {
		b.Outputs = r.Outputs
	}

	return r, err
}

// Die looks once in a process that dies before it can write the outcome: what the kind did not save on the way is forgotten.
func (b *Bench) Die(ctx context.Context, action deploy.Action) {
	before := b.snapshot()
	_, _ = b.Look(ctx, action)
	b.forget(before)
}

// save is called by the kind in the middle of a look, so it writes to the side what survives the death of that look.
func (b *Bench) save(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}

	b.midway = &kind.Call{Origin: b.Origin, Memo: maps.Clone(b.Memo)}

	return nil
}

// snapshot is the record before a look.
func (b *Bench) snapshot() kind.Call {
	b.midway = nil

	before := *b.Call
	before.Memo, before.Outputs = maps.Clone(b.Memo), maps.Clone(b.Outputs)

	return before
}

// forget goes back to the record from before the look, plus what the kind saved on the way.
func (b *Bench) forget(before kind.Call) {
	if b.midway != nil {
		before.Origin, before.Memo = b.midway.Origin, b.midway.Memo
	}

	*b.Call = before
}

// maxLooks bounds every loop: one look a second for two hours.
const maxLooks = 2 * 60 * 60

// Until looks each second until the verb is done. Errors that may pass are looked at again; it returns the first one that may not.
func (b *Bench) Until(ctx context.Context, action deploy.Action) (kind.Result, error) {
	var (
		r   kind.Result
		err error
	)

	for range maxLooks {
		if r, err = b.Look(ctx, action); err == nil && r.Done {
			return r, nil
		}

		if err != nil && !awserr.Classify(err).Class.Retryable() {
			return r, err
		}

		b.Clock.Advance(time.Second)
	}

	if err == nil {
		err = errors.New("still waiting after two hours: " + r.Waiting)
	}

	return r, err
}

// Ensure looks each second until the resource is ready; anything else ends the test.
func (b *Bench) Ensure(t *testing.T) kind.Result {
	t.Helper()

	r, err := b.Until(t.Context(), deploy.Ensure)
	if err != nil {
		t.Fatalf("ensure %s: %v", b.Ref, err)
	}

	return r
}

// Remove looks each second until the resource is gone; anything else ends the test.
func (b *Bench) Remove(t *testing.T) kind.Result {
	t.Helper()

	r, err := b.Until(t.Context(), deploy.Remove)
	if err != nil {
		t.Fatalf("remove %s: %v", b.Ref, err)
	}

	return r
}

// Observe observes; an error, or a changing call, ends the test.
func (b *Bench) Observe(t *testing.T) kind.Observation {
	t.Helper()

	mark := len(b.World.Calls())

	obs, err := b.Kind.Observe(t.Context(), b.Call)
	if err != nil {
		t.Fatalf("observe %s: %v", b.Ref, err)
	}

	if changes := b.Changes(mark); len(changes) > 0 {
		t.Fatalf("observe %s made changing calls: %v", b.Ref, changes)
	}

	return obs
}

// Check returns the codes of the findings; an error, or a changing call, ends the test.
func (b *Bench) Check(t *testing.T) []deploy.Finding {
	t.Helper()

	checker, ok := b.Kind.(kind.Checker)
	if !ok {
		t.Fatalf("%s has no Check", b.Kind.About().Name)
	}

	mark := len(b.World.Calls())

	findings, err := checker.Check(t.Context(), b.Call)
	if err != nil {
		t.Fatalf("check %s: %v", b.Ref, err)
	}

	if changes := b.Changes(mark); len(changes) > 0 {
		t.Fatalf("check %s made changing calls: %v", b.Ref, changes)
	}

	return findings
}

// NextOperation goes on as another operation with an empty record: what a create after a delete finds.
func (b *Bench) NextOperation() {
	b.Operation += "+"
	b.ID, b.ARN, b.Outputs, b.Memo, b.Origin = "", "", nil, nil, deploy.Made
}

// Changes lists the changing calls since the journal had mark entries, refused ones with their code: "CreateVpc", "CreateRole: EntityAlreadyExists".
func (b *Bench) Changes(mark int) []string {
	var changes []string

	for _, c := range b.World.Calls()[mark:] {
		if !Changing(c) {
			continue
		}

		line := c.Operation
		if c.Code != "" {
			line += ": " + c.Code
		}

		changes = append(changes, line)
	}

	return changes
}

// Changing tells whether a call may change anything: AWS's reading operations start with one of a few verbs.
func Changing(c awsfake.Call) bool {
	for _, verb := range []string{"Describe", "Get", "List", "Head", "Simulate"} {
		if strings.HasPrefix(c.Operation, verb) {
			return false
		}
	}

	return true
}

// RefuseOnce is a World.Fault that answers the first call of an operation with an AWS error code instead of acting.
func RefuseOnce(operation, code string) func(context.Context, awsfake.Call) awsfake.Fault {
	done := false

	return func(_ context.Context, c awsfake.Call) awsfake.Fault {
		if done || c.Operation != operation {
			return awsfake.Fault{}
		}

		done = true

		return awsfake.Fault{Before: &smithy.GenericAPIError{Code: code, Message: "refused for the test"}}
	}
}

// LoseOnce is a World.Fault that lets the first call of an operation happen and loses its answer.
func LoseOnce(operation string) func(context.Context, awsfake.Call) awsfake.Fault {
	done := false

	return func(_ context.Context, c awsfake.Call) awsfake.Fault {
		if done || c.Operation != operation {
			return awsfake.Fault{}
		}

		done = true

		return lose()
	}
}
