package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

func TestWatchdog(t *testing.T) {
	t.Parallel()

	type looks struct {
		// silence is how long nobody has written when the watchdog runs.
		silence time.Duration
		// executions that Step Functions knows of epoch 1.
		known, alive bool
		state        deploy.OperationState
		change       func(*deploy.Deployment, *deploy.Operation)
		resource     func(*deploy.Resource)
	}

	cases := map[string]struct {
		reason  string
		given   looks
		started []int // epochs
		epoch   int
		phase   deploy.Phase
	}{
		"NeverStarted": {
			"the api died between the header and StartExecution; a start that did happen must not be doubled",
			looks{silence: 2 * time.Minute, state: deploy.Pending},
			[]int{1},
			1, deploy.PhaseCreating,
		},
		"NeverStartedYet": {
			"the api may be about to start it", looks{silence: 10 * time.Second, state: deploy.Pending}, nil, 1, deploy.PhaseCreating,
		},
		"Died": {
			"its name is used up, and whoever still acts for it must be fenced off",
			looks{silence: 5 * time.Minute, known: true, state: deploy.Running},
			[]int{2},
			2, deploy.PhaseCreating,
		},
		"Alive": {
			"an execution that waits is at work", looks{silence: 5 * time.Minute, known: true, alive: true, state: deploy.Running}, nil, 1, deploy.PhaseCreating,
		},
		"Written": {
			"somebody has just written", looks{silence: time.Minute, known: true, state: deploy.Running}, nil, 1, deploy.PhaseCreating,
		},
		"Busy": {
			"an invocation may be at work without writing", looks{
				silence: 3 * time.Minute, known: true, state: deploy.Running,
				resource: func(r *deploy.Resource) { r.BusyUntil = time.Now().Add(2 * time.Minute) },
			}, nil, 1, deploy.PhaseCreating,
		},
		"ResourceWritten": {
			"most writes go to resources, not to the header", looks{
				silence: 3 * time.Minute, known: true, state: deploy.Running,
				resource: func(r *deploy.Resource) { r.UpdateTime = time.Now().Add(2 * time.Minute) },
			}, nil, 1, deploy.PhaseCreating,
		},
		"Finished": {
			"there is nothing to do", looks{
				silence: time.Hour, known: true, state: deploy.Succeeded,
				change: func(h *deploy.Deployment, _ *deploy.Operation) { h.Unfinished, h.Phase = false, deploy.PhaseActive },
			}, nil, 1, deploy.PhaseActive,
		},
		"UsedUp": {
			"25 executions have not done it: a person must look", looks{
				silence: 5 * time.Minute, known: true, state: deploy.Running,
				change: func(h *deploy.Deployment, _ *deploy.Operation) { h.Epoch = 25 },
			}, nil, 25, deploy.PhaseNeedsAttention,
		},
		"AlmostUsedUp": {
			"the last but one execution may still do it", looks{
				silence: 5 * time.Minute, known: true, state: deploy.Running,
				change: func(h *deploy.Deployment, _ *deploy.Operation) { h.Epoch = 24 },
			}, []int{25}, 25, deploy.PhaseCreating,
		},
		"Resumed": {
			"somebody looked and resumed it: it has all its lives again", looks{
				silence: 5 * time.Minute, known: true, state: deploy.Running,
				change: func(h *deploy.Deployment, op *deploy.Operation) { h.Epoch, op.SteeredAt = 30, 26 },
			}, []int{31}, 31, deploy.PhaseCreating,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)

				resource := but(fresh("net"), func(r *deploy.Resource) { r.UpdateTime = time.Now() })
				if c.given.resource != nil {
					c.given.resource(&resource)
				}

				change := func(h *deploy.Deployment, op *deploy.Operation) {
					h.CheckTime = time.Now()

					if c.given.change != nil {
						c.given.change(h, op)
					}

					if c.given.known {
						b.engine.alive[execution(h.Epoch)] = c.given.alive
					}
				}
				b.put(t, deploy.Create, c.given.state, []deploy.Resource{resource}, change)
				time.Sleep(c.given.silence)

				if err := b.dog.Run(t.Context()); err != nil {
					t.Fatal(err)
				}

				var started []int
				for _, e := range b.engine.started {
					started = append(started, e.Epoch)
				}

				if diff := cmp.Diff(c.started, started); diff != "" {
					t.Errorf("%s: started epochs (-want +got):\n%s", c.reason, diff)
				}

				h := b.record(t).Deployment
				if h.Epoch != c.epoch || h.Phase != c.phase {
					t.Errorf("%s: the header says epoch %d, %s", c.reason, h.Epoch, h.Phase)
				}

				if h.Unfinished && !h.CheckTime.After(time.Now()) {
					t.Errorf("%s: it looks again at %s, which is over", c.reason, h.CheckTime)
				}

				if c.phase == deploy.PhaseNeedsAttention && (h.Unfinished || b.record(t).Operation.Error.Remedy == "") {
					t.Errorf("%s: %+v", c.reason, b.record(t))
				}
			})
		})
	}
}

func TestWatchdogIsToldOfAnEnd(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason  string
		of      workflow.Execution
		started int
	}{
		"Ours":   {"there is no need to wait for silence", execution(1), 1},
		"Others": {"the event bus is the account's, not ours", workflow.Execution{Installation: "other", Tenant: "acme", Deployment: "research"}, 0},
		"Nobody": {"a record that is gone needs nobody", workflow.Execution{Installation: "test", Tenant: "acme", Deployment: "gone"}, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)

				b.put(t, deploy.Create, deploy.Running, []deploy.Resource{fresh("net")})
				b.engine.alive[execution(1)] = false

				if err := b.dog.Ended(t.Context(), c.of); err != nil {
					t.Fatal(err)
				}

				if got := len(b.engine.started); got != c.started {
					t.Errorf("%s: started %d, want %d", c.reason, got, c.started)
				}
			})
		})
	}
}

func TestTroubleWithOneDoesNotKeepTheWatchdogFromOthers(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		for _, name := range []string{"a", "b"} {
			h := header()
			h.Name, h.Operation, h.CheckTime = name, name+"-1", time.Now()
			op := deploy.Operation{ID: h.Operation, Key: h.Key, Kind: deploy.Create, State: deploy.Pending}

			if err := b.Commit(t.Context(), h.Key, &store.Change{Deployment: &h, Operations: []deploy.Operation{op}}); err != nil {
				t.Fatal(err)
			}
		}

		time.Sleep(time.Minute)

		b.engine.broken = errors.New("Step Functions is away")

		err := b.dog.Run(t.Context())
		if joined, ok := err.(interface{ Unwrap() []error }); !ok || len(joined.Unwrap()) != 2 {
			t.Errorf("both were looked at: got %v", err)
		}
	})
}

// unstarted writes deployments that were admitted and never started.
func (b *bench) unstarted(t *testing.T, n int) {
	t.Helper()

	for i := range n {
		h := header()
		h.Name = fmt.Sprintf("d%03d", i)
		h.Operation, h.CheckTime = h.Name+"-1", time.Now().Add(time.Duration(i)*time.Millisecond)
		op := deploy.Operation{ID: h.Operation, Key: h.Key, Kind: deploy.Create, State: deploy.Pending}

		if err := b.Commit(t.Context(), h.Key, &store.Change{Deployment: &h, Operations: []deploy.Operation{op}}); err != nil {
			t.Fatal(err)
		}
	}

	time.Sleep(time.Minute)
}

// TestWatchdogAfterAStorm: a run goes on list after list, and what fails at the head of the list does not hide what stands behind it.
func TestWatchdogAfterAStorm(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason string
		// bad: starts that fail; each start takes so long, and the function may live so long.
		bad      int
		takes    time.Duration
		lifetime time.Duration
		least    int
		most     int
	}{
		"All":        {"one run looks after all", 0, 0, time.Hour, 450, 450},
		"FirstFail":  {"more fail than a list holds", 210, 0, time.Hour, 240, 240},
		"SideBySide": {"ten starts at once take a tenth of the time", 0, time.Second, time.Hour, 440, 450},
		"OutOfTime":  {"what is left stays due, and nothing is broken off", 0, time.Second, 15 * time.Second, 100, 110},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.unstarted(t, 450)

				b.dog.Starter = slow{b.engine, c.takes, c.bad}

				ctx, cancel := context.WithTimeout(t.Context(), c.lifetime)
				defer cancel()

				if err := b.dog.Run(ctx); (err != nil) != (c.bad > 0) {
					t.Fatalf("%s: %v", c.reason, err)
				}

				once := map[workflow.Execution]bool{}
				for _, e := range b.engine.started {
					once[e] = true
				}

				if n := len(once); n < c.least || n > c.most || n != len(b.engine.started) {
					t.Errorf("%s: %d were started, %d times", c.reason, n, len(b.engine.started))
				}

				due, err := b.Unfinished(t.Context(), time.Now().Add(time.Second), 1000)
				if err != nil || len(due) != 450-len(once) {
					t.Errorf("%s: %d are due, %v", c.reason, len(due), err)
				}
			})
		})
	}
}

// slow is an engine that takes its time, and refuses the first deployments.
type slow struct {
	*engine
	takes time.Duration
	bad   int
}

func (s slow) Start(ctx context.Context, e workflow.Execution) error {
	time.Sleep(s.takes)

	if e.Deployment < fmt.Sprintf("d%03d", s.bad) {
		return errors.New("Step Functions does not want it")
	}

	return s.engine.Start(ctx, e)
}

// TestWatchdogRacesAWriter: whoever wrote between its look and its write is at work, and is left alone.
func TestWatchdogRacesAWriter(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		b.put(t, deploy.Create, deploy.Running, []deploy.Resource{fresh("net")}, func(h *deploy.Deployment, _ *deploy.Operation) { h.CheckTime = time.Now() })
		b.engine.alive[execution(1)] = false

		time.Sleep(5 * time.Minute)

		b.dog.Starter = looked{b.engine, func() {
			h := b.record(t).Deployment
			if err := b.Commit(t.Context(), key(), &store.Change{Deployment: &h}); err != nil {
				t.Error(err)
			}
		}}

		if err := b.dog.Run(t.Context()); err != nil {
			t.Errorf("losing a race is no trouble: %v", err)
		}

		if len(b.engine.started) != 0 || b.record(t).Deployment.Epoch != 1 {
			t.Errorf("started %v", b.engine.started)
		}
	})
}

// looked does something after each look at an execution.
type looked struct {
	*engine
	then func()
}

func (l looked) Alive(ctx context.Context, e workflow.Execution) (alive, known bool, err error) {
	defer l.then()

	return l.engine.Alive(ctx, e)
}
