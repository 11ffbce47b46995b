package workflow_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/memory"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// TestWorkerLooksAtTheRecordFirst tries everything that the record may say before a worker acts.
func TestWorkerLooksAtTheRecordFirst(t *testing.T) {
	t.Parallel()

	state := func(r deploy.Resource, s deploy.StepState) deploy.Resource {
		return but(r, func(r *deploy.Resource) {
			if r.Remove != nil {
				r.Remove = &deploy.Step{State: s}
			} else {
				r.Ensure = &deploy.Step{State: s}
			}
		})
	}

	type world struct {
		resources []deploy.Resource
		change    func(*deploy.Deployment, *deploy.Operation)
	}

	cases := map[string]struct {
		reason string
		verb   workflow.Verb
		ref    deploy.Ref
		given  func() world
		signal workflow.SignalName
		acts   int
		left   deploy.StepState
	}{
		"Pending": {
			"a step that nobody began is begun", workflow.VerbEnsure, "net",
			func() world { return world{resources: []deploy.Resource{fresh("net")}} }, "", 1, deploy.StepReady,
		},
		"Ready": {
			"a step that is done is not done again", workflow.VerbEnsure, "net",
			func() world { return world{resources: []deploy.Resource{state(fresh("net"), deploy.StepReady)}} }, "", 0, deploy.StepReady,
		},
		"Gone": {
			"a removal that is done is not done again", workflow.VerbRemove, "net",
			func() world { return world{resources: []deploy.Resource{state(going("net"), deploy.StepGone)}} }, "", 0, deploy.StepGone,
		},
		"Kept": {
			"what was kept on purpose is not removed by a repetition", workflow.VerbRemove, "bucket",
			func() world { return world{resources: []deploy.Resource{state(going("bucket"), deploy.StepKept)}} }, "", 0, deploy.StepKept,
		},
		"Failed": {
			"a failure is final", workflow.VerbEnsure, "net",
			func() world { return world{resources: []deploy.Resource{state(fresh("net"), deploy.StepFailed)}} }, workflow.Failed, 0, deploy.StepFailed,
		},
		"Skipped": {
			"what was skipped is not begun later", workflow.VerbEnsure, "net",
			func() world { return world{resources: []deploy.Resource{state(fresh("net"), deploy.StepSkipped)}} }, workflow.Failed, 0, deploy.StepSkipped,
		},
		"NotInThisSpec": {
			"a wanted chain may hold kinds that this spec does without", workflow.VerbEnsure, "role",
			func() world { return world{resources: []deploy.Resource{fresh("net")}} }, "", 0, "",
		},
		"NoSuchStep": {
			"a rollback does not remove what has no removal", workflow.VerbRemove, "net",
			func() world { return world{resources: []deploy.Resource{fresh("net")}} }, "", 0, "",
		},
		"NewerExecution": {
			"the header's epoch fences off an older execution", workflow.VerbEnsure, "net",
			func() world {
				return world{resources: []deploy.Resource{fresh("net")}, change: func(h *deploy.Deployment, _ *deploy.Operation) { h.Epoch = 2 }}
			}, workflow.Superseded, 0, deploy.StepPending,
		},
		"ResourceOfNewerExecution": {
			"the resource's own epoch fences too: headers and resources are read one after the other", workflow.VerbEnsure, "net",
			func() world {
				return world{resources: []deploy.Resource{but(fresh("net"), func(r *deploy.Resource) { r.Epoch = 2 })}}
			}, workflow.Superseded, 0, deploy.StepPending,
		},
		"ResourceOfOtherOperation": {
			"what Begin has not stamped is not this operation's to touch", workflow.VerbEnsure, "net",
			func() world {
				return world{resources: []deploy.Resource{but(fresh("net"), func(r *deploy.Resource) { r.Operation = "research-0" })}}
			}, workflow.Superseded, 0, deploy.StepPending,
		},
		"Busy": {
			"another invocation may be at it until busyUntil", workflow.VerbEnsure, "net",
			func() world {
				return world{resources: []deploy.Resource{but(fresh("net"), func(r *deploy.Resource) { r.BusyUntil = time.Now().Add(time.Second) })}}
			}, workflow.NotReady, 0, deploy.StepPending,
		},
		"BusyNoMore": {
			"whoever was at it has no time left", workflow.VerbEnsure, "net",
			func() world {
				return world{resources: []deploy.Resource{but(fresh("net"), func(r *deploy.Resource) { r.BusyUntil = time.Now().Add(-time.Second) })}}
			}, "", 1, deploy.StepReady,
		},
		"NeedNotReady": {
			"an environment waits for its role", workflow.VerbEnsure, "env/a",
			func() world {
				return world{resources: []deploy.Resource{state(fresh("net"), deploy.StepReady), fresh("role"), fresh("env/a", "net", "role")}}
			}, workflow.Waiting, 0, deploy.StepPending,
		},
		"NeedReady": {
			"everything that it needs is there", workflow.VerbEnsure, "env/a",
			func() world {
				return world{resources: []deploy.Resource{made("net"), made("role"), fresh("env/a", "net", "role")}}
			}, "", 1, deploy.StepReady,
		},
		"NeedFailed": {
			"without its role an environment can never be, so it is over at once", workflow.VerbEnsure, "env/a",
			func() world {
				return world{resources: []deploy.Resource{fresh("net"), state(fresh("role"), deploy.StepFailed), fresh("env/a", "net", "role")}}
			}, workflow.Failed, 0, deploy.StepSkipped,
		},
		"RemoveBeforeUsers": {
			"a role goes after the environments that use it", workflow.VerbRemove, "role",
			func() world {
				return world{resources: []deploy.Resource{going("role"), state(going("env/a", "role"), deploy.StepRunning)}}
			}, workflow.Waiting, 0, deploy.StepPending,
		},
		"RemoveAfter": {
			"a net goes after the queues, which do not need it but declare so", workflow.VerbRemove, "net",
			func() world { return world{resources: []deploy.Resource{going("net"), going("queue/q")}} }, workflow.Waiting, 0, deploy.StepPending,
		},
		"RemoveAfterGone": {
			"everything before it is gone", workflow.VerbRemove, "net",
			func() world {
				return world{resources: []deploy.Resource{going("net"), state(going("queue/q"), deploy.StepGone)}}
			}, "", 1, deploy.StepGone,
		},
		"RemoveBeforeResisted": {
			"a role whose environment could not be removed stays: without it the environment is stuck for ever", workflow.VerbRemove, "role",
			func() world {
				return world{resources: []deploy.Resource{going("role"), state(going("env/a", "role"), deploy.StepFailed)}}
			}, workflow.Failed, 0, deploy.StepSkipped,
		},
		"RemoveBeforeLeftBehind": {
			"an admin went on without that removal", workflow.VerbRemove, "role",
			func() world {
				left := state(going("env/a", "role"), deploy.StepSkipped)
				left.Remove.LeftBehind = true

				return world{resources: []deploy.Resource{going("role"), left}}
			}, "", 1, deploy.StepGone,
		},
		"Overdue": {
			"past its deadline a step fails without another call", workflow.VerbEnsure, "net",
			func() world {
				return world{resources: []deploy.Resource{but(fresh("net"), func(r *deploy.Resource) {
					r.Ensure = &deploy.Step{State: deploy.StepRunning, Attempts: 5, StartTime: time.Now().Add(-ensuring - time.Second)}
				})}}
			}, workflow.Failed, 0, deploy.StepFailed,
		},
		"OnTime": {
			"the deadline has not passed", workflow.VerbEnsure, "net",
			func() world {
				return world{resources: []deploy.Resource{but(fresh("net"), func(r *deploy.Resource) {
					r.Ensure = &deploy.Step{State: deploy.StepRunning, Attempts: 5, StartTime: time.Now().Add(-ensuring)}
				})}}
			}, "", 1, deploy.StepReady,
		},
		"Progressing": {
			"a purge's deadline counts from its last progress", workflow.VerbRemove, "bucket",
			func() world {
				return world{resources: []deploy.Resource{but(going("bucket"), func(r *deploy.Resource) {
					r.Remove = &deploy.Step{
						State: deploy.StepRunning, Attempts: 5, StartTime: time.Now().Add(-time.Hour), ProgressTime: time.Now().Add(-removing),
					}
				})}}
			}, "", 1, deploy.StepGone,
		},
		"RemovalOverdue": {
			"a removal has a deadline of its own", workflow.VerbRemove, "bucket",
			func() world {
				return world{resources: []deploy.Resource{but(going("bucket"), func(r *deploy.Resource) {
					r.Remove = &deploy.Step{State: deploy.StepRunning, Attempts: 5, StartTime: time.Now().Add(-removing - time.Second)}
				})}}
			}, workflow.Failed, 0, deploy.StepFailed,
		},
		"OverdueUntried": {
			"the time went by in which nobody worked at it: it has hardly been tried", workflow.VerbEnsure, "net",
			func() world {
				return world{resources: []deploy.Resource{but(fresh("net"), func(r *deploy.Resource) {
					r.Ensure = &deploy.Step{State: deploy.StepRunning, Attempts: 4, StartTime: time.Now().Add(-ensuring - time.Hour)}
				})}}
			}, "", 1, deploy.StepReady,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)

				w := c.given()

				var changes []func(*deploy.Deployment, *deploy.Operation)
				if w.change != nil {
					changes = append(changes, w.change)
				}

				b.put(t, deploy.Create, deploy.Running, w.resources, changes...)

				if got := told(b.worker.Run(t.Context(), input(c.verb, c.ref))); got != c.signal {
					t.Errorf("%s: got signal %q, want %q", c.reason, got, c.signal)
				}

				acts := 0
				for _, p := range []*part{b.net, b.role, b.env, b.queue, b.bucket} {
					ensured, gone, _ := p.calls()
					acts += ensured + gone
				}

				if acts != c.acts {
					t.Errorf("%s: got %d calls of the kind, want %d", c.reason, acts, c.acts)
				}

				if c.left == "" {
					return
				}

				r := b.resource(t, c.ref)

				step := r.Ensure
				if c.verb == workflow.VerbRemove {
					step = r.Remove
				}

				if step.State != c.left {
					t.Errorf("%s: the step is %s, want %s", c.reason, step.State, c.left)
				}
			})
		})
	}
}

func TestDeadlineErrorSaysWhatWasLastSeen(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason string
		step   deploy.Step
		want   deploy.Error
	}{
		"Waiting": {
			"without an error, what AWS was doing tells most",
			deploy.Step{WaitingFor: "CREATING"},
			deploy.Error{Class: deploy.Transient, Code: "deadline_exceeded", Message: "Not finished within 10m0s; last seen: CREATING.", Resource: "net"},
		},
		"Error": {
			"AWS's last answer tells more, and its class says who is to blame",
			deploy.Step{WaitingFor: "x", Error: &deploy.Error{Class: deploy.Throttled, Message: "Rate exceeded", AWSCode: "Throttling", RequestID: "r-1"}},
			deploy.Error{
				Class: deploy.Throttled, Code: "deadline_exceeded", Message: "Not finished within 10m0s; last seen: Rate exceeded.", Resource: "net",
				AWSCode: "Throttling", RequestID: "r-1",
			},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)

				c.step.State, c.step.StartTime, c.step.Attempts = deploy.StepRunning, time.Now().Add(-time.Hour), 5
				b.put(t, deploy.Create, deploy.Running, []deploy.Resource{but(fresh("net"), func(r *deploy.Resource) { r.Ensure = &c.step })})

				if got := told(b.worker.Run(t.Context(), input(workflow.VerbEnsure, "net"))); got != workflow.Failed {
					t.Fatalf("got %q", got)
				}

				got := b.resource(t, "net").Ensure.Error
				if got.Remedy == "" {
					t.Error("a failure for good must say what to do")
				}

				got.Remedy = ""
				if diff := cmp.Diff(c.want, *got, cmp.Comparer(sameError)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", c.reason, diff)
				}
			})
		})
	}
}

// sameError compares what is kept of two errors: the cause is not.
func sameError(a, b deploy.Error) bool {
	return a.Class == b.Class && a.Code == b.Code && a.Message == b.Message && a.Remedy == b.Remedy && a.Pointer == b.Pointer && a.Resource == b.Resource &&
		a.AWSCode == b.AWSCode && a.RequestID == b.RequestID
}

func TestIntentStandsBeforeTheFirstCall(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason string
		part   func(*bench) *part
		ref    deploy.Ref
		origin deploy.Origin
	}{
		"Made":   {"what we make, a rollback removes", func(b *bench) *part { return b.net }, "net", deploy.Made},
		"Shared": {"what belongs to the account, no rollback removes", func(b *bench) *part { return b.shared }, "linked-role", deploy.Shared},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)

				b.put(t, deploy.Create, deploy.Running, []deploy.Resource{fresh(c.ref)})

				p := c.part(b)
				p.ensure = func(ctx context.Context, call *kind.Call) (kind.Result, error) {
					r := b.during(ctx, t, c.ref)
					if r.Intent.IsZero() || r.MadeBy != operation || r.Origin != c.origin || r.Generation != call.Generation() {
						t.Errorf("%s: at the first call the record says %+v", c.reason, r)
					}

					if r.Ensure.State != deploy.StepRunning || r.Ensure.Attempts != 1 || r.Ensure.StartTime.IsZero() {
						t.Errorf("at the first call the step is %+v", r.Ensure)
					}

					if call.Origin != c.origin {
						t.Errorf("the kind is told origin %q, want %q", call.Origin, c.origin)
					}

					deadline, ok := ctx.Deadline()
					if !ok || !deadline.Before(r.BusyUntil) {
						t.Errorf("calls may last until %s, but the record is busy until %s only", deadline, r.BusyUntil)
					}

					return kind.Result{Done: true, ID: "id"}, nil
				}

				if err := b.worker.Run(t.Context(), input(workflow.VerbEnsure, c.ref)); err != nil {
					t.Fatal(err)
				}

				if p.ensured != 1 {
					t.Fatalf("got %d calls, want 1", p.ensured)
				}

				if r := b.resource(t, c.ref); !r.BusyUntil.IsZero() || r.ID != "id" {
					t.Errorf("after the outcome: busy until %s, id %q", r.BusyUntil, r.ID)
				}
			})
		})
	}
}

func TestIntentThatCannotBeWrittenStopsTheCall(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		b.put(t, deploy.Create, deploy.Running, []deploy.Resource{fresh("net")})
		b.Fault = func(_ context.Context, method string, _ deploy.Key) memory.Fault {
			if method == "Save" {
				return memory.Fault{Before: errors.New("the table is down")}
			}

			return memory.Fault{}
		}

		if got := told(b.worker.Run(t.Context(), input(workflow.VerbEnsure, "net"))); got != workflow.Transient {
			t.Errorf("got %q, want %q", got, workflow.Transient)
		}

		if b.net.ensured != 0 {
			t.Error("AWS was called without an intent on record")
		}
	})
}

// TestIntentIsTheFirstOne: a second attempt must not look like a new intent, and a delete must not take over what a create made.
func TestIntentIsTheFirstOne(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		b.put(t, deploy.Create, deploy.Running, []deploy.Resource{fresh("net")})
		b.net.ensure = func(context.Context, *kind.Call) (kind.Result, error) { return kind.Result{Waiting: "CREATING"}, nil }

		for range 2 {
			if got := told(b.worker.Run(t.Context(), input(workflow.VerbEnsure, "net"))); got != workflow.NotReady {
				t.Fatalf("got %q, want %q", got, workflow.NotReady)
			}
		}

		r := b.resource(t, "net")
		if r.Ensure.Attempts != 2 || !r.Ensure.StartTime.Equal(r.Intent) || time.Since(r.Intent) < 10*time.Second {
			t.Errorf("after two attempts: intent %s, step %+v", r.Intent, r.Ensure)
		}

		if r.Ensure.WaitingFor != "CREATING" || r.Ensure.State != deploy.StepRunning || !r.BusyUntil.IsZero() {
			t.Errorf("while waiting: %+v, busy until %s", r.Ensure, r.BusyUntil)
		}
	})
}

func TestWorkerLooksAgainForTenSeconds(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason   string
		readyAt  time.Duration
		progress bool
		signal   workflow.SignalName
		atMost   time.Duration
	}{
		"Quick":       {"what is ready soon costs no retry", 4 * time.Second, false, "", 5 * time.Second},
		"Slow":        {"longer would pay Lambda for waiting", time.Minute, false, workflow.NotReady, 11 * time.Second},
		"Progressing": {"work that advances goes on to the end of the invocation, and not past it", time.Hour, true, workflow.NotReady, 25 * time.Second},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)

				b.put(t, deploy.Delete, deploy.Running, []deploy.Resource{going("bucket")})

				began := time.Now()
				b.bucket.remove = func(context.Context, *kind.Call) (kind.Result, error) {
					if c.progress {
						time.Sleep(time.Second)
					}

					return kind.Result{Done: time.Since(began) >= c.readyAt, Progressed: c.progress}, nil
				}

				if got := told(b.worker.Run(t.Context(), input(workflow.VerbRemove, "bucket"))); got != c.signal {
					t.Errorf("%s: got %q, want %q", c.reason, got, c.signal)
				}

				if took := time.Since(began); took > c.atMost {
					t.Errorf("%s: took %s, want at most %s", c.reason, took, c.atMost)
				}

				if p := b.resource(t, "bucket").Remove.ProgressTime; p.IsZero() == c.progress {
					t.Errorf("progress on record: %s", p)
				}
			})
		})
	}
}

// TestClassDecides: the class of AWS's answer alone decides whether a step is tried again.
func TestClassDecides(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason string
		err    error
		signal workflow.SignalName
		state  deploy.StepState
	}{
		"NotReady":  {"its object is on its way", deploy.Errorf(deploy.NotReady, "x", "x"), workflow.NotReady, deploy.StepRunning},
		"Throttled": {"AWS asked to slow down", &smithy.GenericAPIError{Code: "ThrottlingException"}, workflow.Throttled, deploy.StepRunning},
		"Transient": {"an answer was lost", errors.New("connection reset by peer"), workflow.Transient, deploy.StepRunning},
		"Denied":    {"nobody will allow it meanwhile", &smithy.GenericAPIError{Code: "AccessDenied"}, workflow.Failed, deploy.StepFailed},
		"Conflict":  {"it is somebody else's", deploy.Errorf(deploy.Conflict, "not_ours", "x"), workflow.Failed, deploy.StepFailed},
		"Quota":     {"a person must raise it", deploy.Errorf(deploy.Quota, "x", "x"), workflow.Failed, deploy.StepFailed},
		"Invalid":   {"the same request fails for ever", deploy.Errorf(deploy.Invalid, "x", "x"), workflow.Failed, deploy.StepFailed},
		"Internal":  {"a fault of ours does not heal", deploy.Errorf(deploy.Internal, "x", "x"), workflow.Failed, deploy.StepFailed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)

				b.put(t, deploy.Create, deploy.Running, []deploy.Resource{fresh("net")})
				b.net.ensure = func(context.Context, *kind.Call) (kind.Result, error) { return kind.Result{ID: "half"}, c.err }

				if got := told(b.worker.Run(t.Context(), input(workflow.VerbEnsure, "net"))); got != c.signal {
					t.Errorf("%s: got %q, want %q", c.reason, got, c.signal)
				}

				r := b.resource(t, "net")
				if r.Ensure.State != c.state || r.Ensure.Error == nil || r.Ensure.Error.Resource != "net" {
					t.Errorf("%s: the step is %+v", c.reason, r.Ensure)
				}

				if r.ID != "half" || !r.BusyUntil.IsZero() {
					t.Errorf("what the look found must be kept: id %q, busy until %s", r.ID, r.BusyUntil)
				}
			})
		})
	}
}

func TestMessagesAreScrubbed(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		b.put(t, deploy.Create, deploy.Running, []deploy.Resource{fresh("net")})
		b.net.ensure = func(context.Context, *kind.Call) (kind.Result, error) {
			return kind.Result{Waiting: "a\nb"}, &smithy.GenericAPIError{Code: "AccessDenied", Message: "line\nbreak " + strings.Repeat("x", 3000)}
		}

		err := b.worker.Run(t.Context(), input(workflow.VerbEnsure, "net"))

		s, ok := errors.AsType[*workflow.Signal](err)
		if !ok || len(s.Message) > 1024 || strings.Contains(s.Message, "\n") {
			t.Errorf("the history would hold %d characters: %q", len(err.Error()), err)
		}

		step := b.resource(t, "net").Ensure
		if len(step.Error.Message) > 1024 || strings.Contains(step.Error.Message+step.WaitingFor, "\n") {
			t.Errorf("the record holds %+v", step)
		}
	})
}

// TestHistoryKeepsNoFreeText: what the table says goes to the state machine as well.
func TestHistoryKeepsNoFreeText(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.Fault = func(context.Context, string, deploy.Key) memory.Fault {
			return memory.Fault{Before: errors.New("line\nbreak " + strings.Repeat("x", 3000))}
		}

		err := b.worker.Run(t.Context(), input(workflow.VerbEnsure, "net"))
		if s, ok := errors.AsType[*workflow.Signal](err); !ok || len(s.Message) > 1024 || strings.Contains(s.Message, "\n") {
			t.Errorf("the history would hold %d characters: %q", len(err.Error()), err)
		}
	})
}

func TestOutcomeIsWrittenAfterTheCallersTimeIsOver(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		b.put(t, deploy.Create, deploy.Running, []deploy.Resource{fresh("net")})
		b.net.ensure = func(ctx context.Context, _ *kind.Call) (kind.Result, error) {
			<-ctx.Done()

			return kind.Result{ID: "seen"}, ctx.Err()
		}

		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()

		began := time.Now()

		if got := told(b.worker.Run(ctx, input(workflow.VerbEnsure, "net"))); got != workflow.Transient {
			t.Errorf("got %q, want %q", got, workflow.Transient)
		}

		if took := time.Since(began); took != 15*time.Second {
			t.Errorf("the kind was given %s of 20s; 5s are kept for writing", took)
		}

		if r := b.resource(t, "net"); r.ID != "seen" || !r.BusyUntil.IsZero() {
			t.Errorf("the outcome was not written: %+v", r)
		}
	})
}

// TestOutcomeIsWrittenByAKindThatOverslept: what it did must be known though the caller's time is over.
func TestOutcomeIsWrittenByAKindThatOverslept(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.put(t, deploy.Create, deploy.Running, []deploy.Resource{fresh("net")})

		ctx, cancel := context.WithCancel(t.Context())
		b.net.ensure = func(context.Context, *kind.Call) (kind.Result, error) {
			cancel()

			return kind.Result{Done: true, ID: "made"}, nil
		}

		if got := told(b.worker.Run(ctx, input(workflow.VerbEnsure, "net"))); got != "" {
			t.Errorf("got %q", got)
		}

		if r := b.resource(t, "net"); r.ID != "made" || r.Ensure.State != deploy.StepReady {
			t.Errorf("the outcome was not written: %+v", r)
		}
	})
}

// TestTakenOverMeanwhile: another execution stamps the resource while a zombie is at work; nothing that the zombie writes may land.
func TestTakenOverMeanwhile(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason string
		saves  bool
	}{
		"OutcomeIsRefused": {"the outcome rests on a version that is no more", false},
		"SaveIsRefused":    {"a save in the middle says so before the next call", true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)

				b.put(t, deploy.Create, deploy.Running, []deploy.Resource{fresh("net")})

				further := false
				b.net.ensure = func(ctx context.Context, call *kind.Call) (kind.Result, error) {
					r := b.during(ctx, t, "net")
					r.Epoch = 2

					if err := b.Save(ctx, key(), &r); err != nil {
						t.Error(err)
					}

					if c.saves {
						if err := call.Save(ctx); err != nil {
							return kind.Result{}, err
						}

						further = true
					}

					return kind.Result{Done: true, ID: "zombie"}, nil
				}

				if got := told(b.worker.Run(t.Context(), input(workflow.VerbEnsure, "net"))); got != workflow.Transient {
					t.Errorf("%s: got %q, want %q", c.reason, got, workflow.Transient)
				}

				if r := b.resource(t, "net"); r.ID != "" || r.Ensure.State != deploy.StepRunning || r.Epoch != 2 || further {
					t.Errorf("%s: the zombie's write landed: %+v", c.reason, r)
				}
			})
		})
	}
}

func TestSaveReachesTheRecordAtOnce(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		b.put(t, deploy.Create, deploy.Running, []deploy.Resource{fresh("net")})
		b.net.ensure = func(ctx context.Context, c *kind.Call) (kind.Result, error) {
			c.Note("creating", "now")
			c.Origin = deploy.Reused

			if err := c.Save(ctx); err != nil {
				return kind.Result{}, err
			}

			if r := b.during(ctx, t, "net"); r.Memo["creating"] != "now" || r.Origin != deploy.Reused || r.BusyUntil.IsZero() {
				t.Errorf("right after Save the record says %+v", r)
			}

			c.Removed()

			return kind.Result{Done: true}, nil
		}

		if err := b.worker.Run(t.Context(), input(workflow.VerbEnsure, "net")); err != nil {
			t.Fatal(err)
		}

		if r := b.resource(t, "net"); len(r.Memo) != 0 || r.Origin != deploy.Reused {
			t.Errorf("after the outcome the record says %+v", r)
		}
	})
}

func TestKindIsToldWhatIsKnown(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		net := but(made("net"), func(r *deploy.Resource) { r.Outputs = map[string]string{"cidr": "10.0.0.0/16"} })
		env := but(fresh("env/a", "net", "role"), func(r *deploy.Resource) {
			r.ID, r.Memo, r.Outputs = "env-1", map[string]string{"note": "1"}, map[string]string{"name": "old"}
		})
		b.put(t, deploy.Create, deploy.Running, []deploy.Resource{net, made("role"), env})

		b.env.ensure = func(_ context.Context, c *kind.Call) (kind.Result, error) {
			if c.ID != "env-1" || c.Memo["note"] != "1" || c.Outputs["name"] != "old" || c.Boundary != "arn:boundary" || c.Operation != operation {
				t.Errorf("the kind is told %+v", c)
			}

			if n := c.One("net"); n.ID != "id-net" || n.Outputs["cidr"] != "10.0.0.0/16" {
				t.Errorf("of the net it needs, the kind is told %+v", n)
			}

			if c.Data != deploy.IfEmpty || c.Owner.Tenant != "acme" || c.Owner.Installation != "test" {
				t.Errorf("the kind is told data %q, owner %+v", c.Data, c.Owner)
			}

			return kind.Result{Done: true}, nil
		}

		if err := b.worker.Run(t.Context(), input(workflow.VerbEnsure, "env/a")); err != nil {
			t.Fatal(err)
		}

		if r := b.resource(t, "env/a"); r.ID != "env-1" || r.Outputs["name"] != "old" {
			t.Errorf("an empty answer must leave what is recorded: %+v", r)
		}
	})
}

func TestRemoval(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason string
		result kind.Result
		state  deploy.StepState
		kept   bool
	}{
		"Gone": {"there is nothing left", kind.Result{Done: true}, deploy.StepGone, false},
		"Kept": {"a bucket that holds data outlives its deployment", kind.Result{Done: true, Kept: true}, deploy.StepKept, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)

				b.put(t, deploy.Delete, deploy.Running, []deploy.Resource{going("bucket")})
				b.bucket.remove = func(context.Context, *kind.Call) (kind.Result, error) { return c.result, nil }

				if err := b.worker.Run(t.Context(), input(workflow.VerbRemove, "bucket")); err != nil {
					t.Fatal(err)
				}

				if r := b.resource(t, "bucket"); r.Remove.State != c.state || r.Kept != c.kept || r.MadeBy != "research-0" {
					t.Errorf("%s: got %+v", c.reason, r)
				}
			})
		})
	}
}

// TestExistingIsOnlyLookedAt: what the owner named is never changed, whatever its state.
func TestExistingIsOnlyLookedAt(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason string
		obs    kind.Observation
		err    error
		signal workflow.SignalName
		code   string
	}{
		"Ready":  {"usable as it is", kind.Observation{State: kind.Ready, ID: "vpc-1"}, nil, "", ""},
		"Absent": {"it was there when the create was admitted", kind.Observation{State: kind.Absent}, nil, workflow.Failed, "existing_not_found"},
		"Unusable": {
			"it cannot be used",
			kind.Observation{State: kind.Ready, Problems: []deploy.Finding{{Level: deploy.LevelError, Code: "no_dns", Class: deploy.Invalid}}},
			nil, workflow.Failed, "no_dns",
		},
		"Warned": {
			"a warning is no refusal",
			kind.Observation{State: kind.Ready, ID: "vpc-1", Problems: []deploy.Finding{{Level: deploy.LevelWarning, Code: "odd"}}},
			nil, "", "",
		},
		"Underway":  {"the owner is still making it", kind.Observation{State: kind.InProgress}, nil, workflow.NotReady, ""},
		"Throttled": {"AWS's own trouble keeps its class", kind.Observation{}, &smithy.GenericAPIError{Code: "Throttling"}, workflow.Throttled, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)

				b.net.items = []kind.Item{{Ref: "net", Existing: "vpc-1", Pointer: "/spec/network/existing/vpcId"}}
				b.net.observe = func(context.Context, *kind.Call) (kind.Observation, error) { return c.obs, c.err }
				b.put(t, deploy.Create, deploy.Running, []deploy.Resource{fresh("net")})

				if got := told(b.worker.Run(t.Context(), input(workflow.VerbEnsure, "net"))); got != c.signal {
					t.Errorf("%s: got %q, want %q", c.reason, got, c.signal)
				}

				ensured, gone, observed := b.net.calls()
				if ensured+gone != 0 || observed == 0 {
					t.Errorf("%s: %d ensures, %d removals, %d observations", c.reason, ensured, gone, observed)
				}

				r := b.resource(t, "net")
				if r.Origin != deploy.Existing {
					t.Errorf("origin: got %q, want %q", r.Origin, deploy.Existing)
				}

				if c.code != "" && (r.Ensure.Error == nil || r.Ensure.Error.Code != c.code) {
					t.Errorf("%s: got %v, want code %q", c.reason, r.Ensure.Error, c.code)
				}
			})
		})
	}
}

func TestKindOfAnotherFamilyFails(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		b.worker.Kinds = kind.Registry{b.role}
		b.put(t, deploy.Create, deploy.Running, []deploy.Resource{fresh("net")})

		if got := told(b.worker.Run(t.Context(), input(workflow.VerbEnsure, "net"))); got != workflow.Failed {
			t.Errorf("a function acts on its own family only: got %q", got)
		}
	})
}

func TestVanishedRecordEndsTheBranch(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		if got := told(b.worker.Run(t.Context(), input(workflow.VerbEnsure, "net"))); got != workflow.Superseded {
			t.Errorf("got %q, want %q", got, workflow.Superseded)
		}
	})
}
