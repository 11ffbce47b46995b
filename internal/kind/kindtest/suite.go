package kindtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// Subject is a kind as the suite needs it.
type Subject struct {
	// Build makes a new world that holds what the resource needs, the kind on top of it, and the bench with Call.Others filled in. Each case builds anew.
	Build func(t *testing.T) *Bench
	// Count says how many objects of the resource's sort the world holds, whoever made them, beyond those that Build made.
	Count func(t *testing.T, b *Bench) int
	// Foreign puts a look-alike into the world that is not ours: same name, or where there are no names same settings.
	Foreign func(t *testing.T, b *Bench)
	// Named: AWS allows the name once, so that Ensure must answer Conflict to the look-alike. Otherwise Ensure makes ours beside it.
	Named bool
	// Drifts are the properties that somebody may change behind our back.
	Drifts map[string]Drift
	// Late makes whatever the world makes from now on invisible to reading calls for that long; nil where the service is consistent. The suite then loses
	// answers while nothing can be seen yet.
	Late func(b *Bench, d time.Duration)
	// Tolerated names refusals, by operation, that only mean that a reading call lags behind: the create must look again and not fail.
	Tolerated map[string]string
	// Stays: the object is never removed (shared things); the cases that remove are left out.
	Stays bool
}

// Drift is one change from outside.
type Drift struct {
	// Change makes it, by calls to the world.
	Change func(t *testing.T, b *Bench)
	// Property is the Difference that must show, and the only one.
	Property string
	// Beyond: Ensure cannot mend it. It may refuse with an error or leave the difference.
	Beyond bool
}

// Suite runs the conformance suite: create, create again, read, delete, delete again, read after delete, create after delete; every call throttled once;
// every changing call refused for good; the answer of every changing call lost once, with and without the death of the process, seen at once or late;
// removal from every stage; look-alikes; drift; the list of what there is.
func Suite(t *testing.T, s Subject) {
	t.Helper()
	t.Run("Create", s.create)
	t.Run("Delete", s.remove)
	t.Run("Lost", s.lost)
	t.Run("Late", s.late)
	t.Run("Tolerated", s.tolerated)
	t.Run("Throttled", s.throttled)
	t.Run("RemoveFromEveryStage", s.stages)
	t.Run("RemoveInterrupted", s.removeInterrupted)
	t.Run("Refused", s.refused)
	t.Run("Cancelled", s.cancelled)
	t.Run("Foreign", s.foreign)
	t.Run("Drift", s.drift)
	t.Run("List", s.list)
}

func (s Subject) create(t *testing.T) {
	b := s.Build(t)

	if obs := b.Observe(t); obs.State != kind.Absent {
		t.Errorf("state before the create: got %q, want %q", obs.State, kind.Absent)
	}

	r := b.Ensure(t)
	s.wantCount(t, b, 1)
	s.wantFresh(t, b, r)

	mark := len(b.World.Calls())

	again := b.Ensure(t)
	if diff := cmp.Diff(r, again); diff != "" {
		t.Errorf("a second create answers otherwise (-first +second):\n%s", diff)
	}

	if changes := b.Changes(mark); len(changes) > 0 {
		t.Errorf("a second create changed something: %v", changes)
	}

	// A process that knows nothing finds the same.
	b.NextOperation()

	if diff := cmp.Diff(r, b.Ensure(t)); diff != "" {
		t.Errorf("a create that remembers nothing answers otherwise (-first +later):\n%s", diff)
	}

	if changes := b.Changes(mark); len(changes) > 0 {
		t.Errorf("a create that remembers nothing changed something: %v", changes)
	}
}

func (s Subject) remove(t *testing.T) {
	if s.Stays {
		t.Skip("never removed")
	}

	b := s.Build(t)
	mark := len(b.World.Calls())

	b.Remove(t)

	if changes := b.Changes(mark); len(changes) > 0 {
		t.Errorf("removing what never was made changing calls: %v", changes)
	}

	b.Ensure(t)
	b.Remove(t)
	s.wantCount(t, b, 0)

	// A rollback right after a create would otherwise wait out the minute.
	if b.Unsure() {
		t.Error("a removal that AWS accepted leaves the create in doubt: Call.Removed was not called")
	}

	if obs := b.Observe(t); obs.State != kind.Absent {
		t.Errorf("state after the removal: got %q, want %q", obs.State, kind.Absent)
	}

	mark = len(b.World.Calls())

	b.Remove(t)

	if changes := b.Changes(mark); len(changes) > 0 {
		t.Errorf("removing a second time made changing calls: %v", changes)
	}

	b.NextOperation()

	r := b.Ensure(t)
	s.wantCount(t, b, 1)
	s.wantFresh(t, b, r)
}

// lose lets a call happen and breaks the connection before the answer: no AWS error is in it.
func lose() awsfake.Fault { return awsfake.Fault{Lost: errors.New("connection reset by peer")} }

// lost loses the answer of the i-th changing call, for every i.
func (s Subject) lost(t *testing.T) {
	for i, op := range s.steps(t) {
		for name, dies := range map[string]bool{"ProcessLives": false, "ProcessDies": true} {
			t.Run(fmt.Sprintf("%d_%s/%s", i, op, name), func(t *testing.T) {
				b := s.Build(t)
				s.breakAt(t, b, deploy.Ensure, i, lose(), dies)

				r := b.Ensure(t)
				s.wantCount(t, b, 1)
				s.wantFresh(t, b, r)
			})
		}
	}
}

// lag is how long things stay invisible in the late cases: longer than one look, shorter than the minute that kinds wait.
const lag = 20 * time.Second

// late does what lost and stages do, while new things are invisible.
func (s Subject) late(t *testing.T) {
	if s.Late == nil {
		t.Skip("the service is consistent")
	}

	for i, op := range s.steps(t) {
		for name, dies := range map[string]bool{"ProcessLives": false, "ProcessDies": true} {
			for _, action := range []deploy.Action{deploy.Ensure, deploy.Remove} {
				if s.Stays && action == deploy.Remove {
					continue
				}

				t.Run(fmt.Sprintf("%d_%s/%s/%s", i, op, name, action), func(t *testing.T) {
					b := s.Build(t)
					b.Clock.Advance(time.Minute)
					s.Late(b, lag)
					s.breakAt(t, b, deploy.Ensure, i, lose(), dies)

					want := 0

					if action == deploy.Ensure {
						s.wantFresh(t, b, b.Ensure(t))

						want = 1
					} else {
						b.Remove(t)
					}

					b.Clock.Advance(time.Hour) // nothing may turn up later
					s.wantCount(t, b, want)
				})
			}
		}
	}
}

func (s Subject) tolerated(t *testing.T) {
	for op, code := range s.Tolerated {
		t.Run(op+"_"+code, func(t *testing.T) {
			b := s.Build(t)
			refused := false
			once := RefuseOnce(op, code)
			b.World.Fault = func(ctx context.Context, c awsfake.Call) awsfake.Fault {
				f := once(ctx, c)
				refused = refused || f.Before != nil

				return f
			}

			r := b.Ensure(t)

			if !refused {
				t.Errorf("a create makes no call of %s", op)
			}

			b.World.Fault = nil
			s.wantCount(t, b, 1)
			s.wantFresh(t, b, r)
		})
	}
}

func (s Subject) throttled(t *testing.T) {
	throttle := &smithy.GenericAPIError{Code: "ThrottlingException", Message: "Rate exceeded"}

	total := s.calls(t)
	for i := range total {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			b := s.Build(t)
			seen := 0
			b.World.Fault = func(context.Context, awsfake.Call) awsfake.Fault {
				if seen++; seen == i+1 {
					return awsfake.Fault{Before: throttle}
				}

				return awsfake.Fault{}
			}

			var refused error

			for range maxLooks {
				r, err := b.Look(t.Context(), deploy.Ensure)
				if err != nil {
					refused = err
				}

				if err != nil || r.Done {
					break
				}

				b.Clock.Advance(time.Second)
			}

			// A kind may shrug at a refused look-up and look again, but what it answers must keep AWS's class.
			if refused != nil && !awserr.Is(refused, deploy.Throttled) {
				t.Errorf("class of a throttled call: got %q (%v), want %q", awserr.Classify(refused).Class, refused, deploy.Throttled)
			}

			b.World.Fault = nil
			r := b.Ensure(t)
			s.wantCount(t, b, 1)
			s.wantFresh(t, b, r)
		})
	}
}

// stages removes what a create left that died after the i-th changing call.
func (s Subject) stages(t *testing.T) {
	if s.Stays {
		t.Skip("never removed")
	}

	for i, op := range s.steps(t) {
		for name, dies := range map[string]bool{"ProcessLives": false, "ProcessDies": true} {
			t.Run(fmt.Sprintf("%d_%s/%s", i, op, name), func(t *testing.T) {
				b := s.Build(t)
				s.breakAt(t, b, deploy.Ensure, i, lose(), dies)

				b.Remove(t)
				s.wantCount(t, b, 0)
			})
		}
	}
}

func (s Subject) removeInterrupted(t *testing.T) {
	if s.Stays {
		t.Skip("never removed")
	}

	b := s.Build(t)
	b.Ensure(t)

	mark := len(b.World.Calls())

	b.Remove(t)

	for i, op := range b.Changes(mark) {
		t.Run(fmt.Sprintf("%d_%s", i, op), func(t *testing.T) {
			b := s.Build(t)
			b.Ensure(t)
			s.breakAt(t, b, deploy.Remove, i, lose(), true)

			b.Remove(t)
			s.wantCount(t, b, 0)
		})
	}
}

// refused lets AWS refuse the i-th changing call for good, in a create and in a removal: whoever asked must be told, and told as AWS told it.
func (s Subject) refused(t *testing.T) {
	denied := awsfake.Fault{Before: &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "a service control policy forbids it"}}

	try := func(t *testing.T, b *Bench, action deploy.Action, i int) {
		t.Helper()

		op, seen := "", 0
		b.World.Fault = func(_ context.Context, c awsfake.Call) awsfake.Fault {
			if op == "" && Changing(c) {
				if seen++; seen == i+1 {
					op = c.Operation
				}
			}

			if op != "" && c.Operation == op {
				return denied
			}

			return awsfake.Fault{}
		}

		if _, err := b.Until(t.Context(), action); !awserr.Is(err, deploy.Denied) {
			t.Errorf("%s with %s refused: got %v, want class %q", action, op, err, deploy.Denied)
		}
	}

	for i, op := range s.steps(t) {
		t.Run(fmt.Sprintf("%s/%d_%s", deploy.Ensure, i, op), func(t *testing.T) { try(t, s.Build(t), deploy.Ensure, i) })
	}

	if s.Stays {
		return
	}

	b := s.Build(t)
	b.Ensure(t)

	mark := len(b.World.Calls())

	b.Remove(t)

	for i, op := range b.Changes(mark) {
		t.Run(fmt.Sprintf("%s/%d_%s", deploy.Remove, i, op), func(t *testing.T) {
			b := s.Build(t)
			b.Ensure(t)
			try(t, b, deploy.Remove, i)
		})
	}
}

func (s Subject) cancelled(t *testing.T) {
	b := s.Build(t)
	mark := len(b.World.Calls())

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	if r, err := b.Look(ctx, deploy.Ensure); err == nil {
		t.Errorf("ensure with a cancelled context answered %+v, want an error", r)
	}

	if changes := b.Changes(mark); len(changes) > 0 {
		t.Errorf("ensure with a cancelled context made changing calls: %v", changes)
	}
}

func (s Subject) foreign(t *testing.T) {
	if s.Foreign == nil {
		t.Skip("no look-alike can exist")
	}

	b := s.Build(t)
	s.Foreign(t, b)
	s.wantCount(t, b, 1)

	mark := len(b.World.Calls())

	if !s.Named {
		b.Ensure(t)
		s.wantCount(t, b, 2)
		b.Remove(t)
		s.wantCount(t, b, 1)

		return
	}

	if _, err := b.Until(t.Context(), deploy.Ensure); !awserr.Is(err, deploy.Conflict) {
		t.Errorf("ensure beside a look-alike: got %v, want class %q", err, deploy.Conflict)
	}

	if obs, err := b.Kind.Observe(t.Context(), b.Call); err == nil && obs.State == kind.Ready {
		t.Errorf("observe takes the look-alike for ours: %+v", obs)
	}

	if !s.Stays {
		b.Remove(t)
	}

	for _, change := range b.Changes(mark) {
		if !strings.Contains(change, ": ") {
			t.Errorf("the look-alike was touched: %s", change)
		}
	}

	s.wantCount(t, b, 1)
}

func (s Subject) drift(t *testing.T) {
	for name, d := range s.Drifts {
		t.Run(name, func(t *testing.T) {
			b := s.Build(t)
			b.Ensure(t)
			d.Change(t, b)

			found := map[string]bool{}
			for _, diff := range b.Observe(t).Differences {
				found[diff.Property] = true

				if diff.Want == diff.Have || diff.Want == "" || diff.Have == "" {
					t.Errorf("%s is a difference, but people read %q and %q", diff.Property, diff.Want, diff.Have)
				}
			}

			if diff := cmp.Diff(map[string]bool{d.Property: true}, found); diff != "" {
				t.Errorf("differences (-want +got):\n%s", diff)
			}

			if d.Beyond {
				return
			}

			r := b.Ensure(t)
			s.wantCount(t, b, 1)
			s.wantFresh(t, b, r)
		})
	}
}

// steps lists the changing calls of an undisturbed create.
func (s Subject) steps(t *testing.T) []string {
	t.Helper()

	b := s.Build(t)
	mark := len(b.World.Calls())

	b.Ensure(t)

	steps := b.Changes(mark)
	if len(steps) == 0 {
		t.Fatal("a create makes no changing call")
	}

	return steps
}

// calls counts all calls of an undisturbed create.
func (s Subject) calls(t *testing.T) int {
	t.Helper()

	b := s.Build(t)
	mark := len(b.World.Calls())

	b.Ensure(t)

	return len(b.World.Calls()) - mark
}

// breakAt works until the i-th changing call meets the fault; where the process dies, it does so in that very look.
func (s Subject) breakAt(t *testing.T, b *Bench, action deploy.Action, i int, fault awsfake.Fault, dies bool) {
	t.Helper()

	seen, hit := 0, false
	fire := func(_ context.Context, c awsfake.Call) awsfake.Fault {
		if Changing(c) {
			if seen++; seen == i+1 {
				hit = true

				return fault
			}
		}

		return awsfake.Fault{}
	}

	b.World.Fault = fire
	defer func() { b.World.Fault = nil }()

	for range maxLooks {
		// Only the look that breaks dies: a process that lives on learns the result of every other look.
		before := b.snapshot()

		r, err := b.Look(t.Context(), action)
		if hit {
			if dies {
				b.forget(before)
			}

			return
		}

		if err != nil && !awserr.Classify(err).Class.Retryable() {
			t.Fatalf("before changing call %d: %v", i, err)
		}

		if r.Done {
			t.Fatalf("done before changing call %d", i)
		}

		b.Clock.Advance(time.Second)
	}

	t.Fatalf("no changing call %d within two hours", i)
}

func (s Subject) wantCount(t *testing.T, b *Bench, want int) {
	t.Helper()

	if got := s.Count(t, b); got != want {
		t.Fatalf("objects in the world: got %d, want %d", got, want)
	}
}

// wantFresh compares what Observe sees right after a create with what the create answered.
func (s Subject) wantFresh(t *testing.T, b *Bench, r kind.Result) {
	t.Helper()

	if r.ID == "" || r.ARN == "" {
		t.Errorf("a ready resource needs an id and an ARN: got %q and %q", r.ID, r.ARN)
	}

	want, got := kind.Observation{State: kind.Ready, ID: r.ID, ARN: r.ARN, Outputs: r.Outputs}, b.Observe(t)
	want.NotChecked = got.NotChecked

	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("observe after ensure (-want +got):\n%s", diff)
	}
}
