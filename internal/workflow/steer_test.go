package workflow_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

func steering(ref deploy.Ref) workflow.SteerRequest {
	return workflow.SteerRequest{Name: "research", Operation: operation, Resource: ref}
}

// stuck is an operation that ended with residue: the net resisted, so that the role was skipped; the queue is gone.
func (b *bench) stuck(t *testing.T, k deploy.OperationKind) {
	t.Helper()

	state := func(ref deploy.Ref, s deploy.StepState, attempts int) deploy.Resource {
		return but(going(ref), func(r *deploy.Resource) {
			r.Remove = &deploy.Step{State: s, Attempts: attempts, StartTime: time.Now(), Error: deploy.Errorf(deploy.Denied, "denied", "x")}
		})
	}

	b.put(t, k, deploy.NeedsAttention, []deploy.Resource{
		state("net", deploy.StepFailed, 3), state("role", deploy.StepSkipped, 0), state("queue/q", deploy.StepGone, 1), made("bucket"),
	}, func(h *deploy.Deployment, op *deploy.Operation) {
		h.Phase, h.Unfinished, h.CheckTime, op.EndTime = deploy.PhaseNeedsAttention, false, time.Time{}, time.Now()
		op.Steps, op.FrozenVersion = []deploy.NamedStep{{Resource: "net"}}, 99
	})
}

func TestSteeringThatIsRefused(t *testing.T) {
	t.Parallel()

	type verb func(*workflow.Control) func(context.Context, deploy.Principal, workflow.SteerRequest) (workflow.Admitted, error)

	var (
		cancel verb = func(c *workflow.Control) func(context.Context, deploy.Principal, workflow.SteerRequest) (workflow.Admitted, error) {
			return c.Cancel
		}
		resume verb = func(c *workflow.Control) func(context.Context, deploy.Principal, workflow.SteerRequest) (workflow.Admitted, error) {
			return c.Resume
		}
		skip verb = func(c *workflow.Control) func(context.Context, deploy.Principal, workflow.SteerRequest) (workflow.Admitted, error) {
			return c.Skip
		}
	)

	stuck := func(t *testing.T, b *bench) {
		t.Helper()
		b.stuck(t, deploy.Delete)
	}

	running := func(t *testing.T, b *bench) {
		t.Helper()
		b.put(t, deploy.Delete, deploy.Running, nil)
	}

	done := func(s deploy.OperationState, p deploy.Phase) func(*testing.T, *bench) {
		return func(t *testing.T, b *bench) {
			t.Helper()
			b.put(t, deploy.Create, s, []deploy.Resource{made("net")}, func(h *deploy.Deployment, _ *deploy.Operation) { h.Unfinished, h.Phase = false, p })
		}
	}

	cases := map[string]struct {
		reason string
		given  func(*testing.T, *bench)
		verb   verb
		ref    deploy.Ref
		code   string
	}{
		"CancelDelete": {"some of it is gone already", running, cancel, "", "not_cancellable"},
		"CancelDone":   {"it has ended", done(deploy.Succeeded, deploy.PhaseActive), cancel, "", "operation_done"},
		"ResumeDone":   {"it has ended well", done(deploy.RolledBack, deploy.PhaseFailed), resume, "", "operation_done"},
		"SkipRunning": {"its removal may still succeed, and nothing would be left behind", func(t *testing.T, b *bench) {
			t.Helper()
			b.put(t, deploy.Delete, deploy.Running, []deploy.Resource{going("net")})
		}, skip, "net", "operation_in_progress"},
		"SkipGone":      {"it is gone", stuck, skip, "queue/q", "nothing_to_skip"},
		"SkipWhatStays": {"it was never to be removed", stuck, skip, "bucket", "nothing_to_skip"},
		"SkipUnknown":   {"nobody knows it", stuck, skip, "nothing", "nothing_to_skip"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				c.given(t, b)

				before := b.record(t)
				_, err := c.verb(b.control)(t.Context(), ada(), steering(c.ref))

				e, ok := errors.AsType[*deploy.Error](err)
				if !ok || e.Code != c.code || e.Remedy == "" {
					t.Errorf("%s: got %v, want %s", c.reason, err, c.code)
				}

				if diff := cmp.Diff(before, b.record(t), cmpopts.IgnoreUnexported(deploy.Error{})); diff != "" || len(b.engine.started) > 0 {
					t.Errorf("%s, but it wrote (-before +after):\n%s", c.reason, diff)
				}
			})
		})
	}
}

func TestCancelTurnsACreate(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.put(t, deploy.Create, deploy.Running, []deploy.Resource{made("net"), fresh("role")})

		if _, err := b.control.Cancel(t.Context(), ada(), steering("")); err != nil {
			t.Fatal(err)
		}

		record := b.record(t)
		if h, op := record.Deployment, record.Operation; h.Epoch != 2 || op.State != deploy.RollingBack || op.Error.Code != "cancelled" {
			t.Errorf("got %+v, %+v", h, op)
		}

		if diff := cmp.Diff([]workflow.Execution{execution(2)}, b.engine.started); diff != "" {
			t.Errorf("started (-want +got):\n%s", diff)
		}

		if got := told(b.worker.Run(t.Context(), input(workflow.VerbEnsure, "role"))); got != workflow.Superseded {
			t.Errorf("a step of the cancelled execution: got %q, want %q", got, workflow.Superseded)
		}

		again, err := b.control.Cancel(t.Context(), ada(), steering(""))
		if err != nil || again.Operation.ID != operation || len(b.engine.started) != 1 {
			t.Errorf("one that rolls back already is the answer itself: %+v, %v", again, err)
		}
	})
}

func TestResume(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason string
		kind   deploy.OperationKind
		state  deploy.OperationState
		phase  deploy.Phase
	}{
		"Delete":   {"goes on removing", deploy.Delete, deploy.Running, deploy.PhaseDeleting},
		"Rollback": {"goes on rolling back", deploy.Create, deploy.RollingBack, deploy.PhaseCreating},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.stuck(t, c.kind)

				admitted, err := b.control.Resume(t.Context(), ada(), steering(""))
				if err != nil {
					t.Fatal(err)
				}

				record := b.record(t)

				h, op := record.Deployment, record.Operation
				if h.Phase != c.phase || op.State != c.state || h.Epoch != 2 || !h.Unfinished || !op.EndTime.IsZero() || op.Steps != nil {
					t.Errorf("%s: got %+v, %+v", c.reason, h, op)
				}

				if admitted.Version != record.Version() || len(b.engine.started) != 1 {
					t.Errorf("answered version %d, the record's is %d; started %v", admitted.Version, record.Version(), b.engine.started)
				}

				for ref, want := range map[deploy.Ref]deploy.StepState{"net": deploy.StepPending, "role": deploy.StepPending, "queue/q": deploy.StepGone} {
					if got := record.Find(ref).Remove; got.State != want || want == deploy.StepPending && (!got.StartTime.IsZero() || got.Error != nil) {
						t.Errorf("%s: %s is %+v, want %s with a new deadline", c.reason, ref, got, want)
					}
				}
			})
		})
	}
}

func TestSkipGoesOnWithoutOne(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.stuck(t, deploy.Delete)

		if _, err := b.control.Skip(t.Context(), ada(), steering("net")); err != nil {
			t.Fatal(err)
		}

		net := b.resource(t, "net").Remove
		if !net.LeftBehind || net.State != deploy.StepSkipped || net.Error == nil || net.Error.Code != "left_behind" {
			t.Errorf("what is left behind is on record: %+v", net)
		}

		if role := b.resource(t, "role").Remove; role.State != deploy.StepPending {
			t.Errorf("the rest goes on: %+v", role)
		}
	})
}

// TestSkipStays: a resume after a skip must not take up what was left behind.
func TestSkipStays(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		left := but(going("net"), func(r *deploy.Resource) { r.Remove = &deploy.Step{State: deploy.StepSkipped, LeftBehind: true} })
		failed := but(going("role"), func(r *deploy.Resource) { r.Remove = &deploy.Step{State: deploy.StepFailed} })
		b.put(t, deploy.Delete, deploy.NeedsAttention, []deploy.Resource{left, failed}, func(h *deploy.Deployment, _ *deploy.Operation) {
			h.Phase, h.Unfinished = deploy.PhaseNeedsAttention, false
		})

		if _, err := b.control.Resume(t.Context(), ada(), steering("")); err != nil {
			t.Fatal(err)
		}

		if net := b.resource(t, "net").Remove; net.State != deploy.StepSkipped || !net.LeftBehind {
			t.Errorf("it is taken up again: %+v", net)
		}
	})
}

func TestSteeringOfAnotherOperation(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.put(t, deploy.Create, deploy.Running, nil)

		other := steering("")
		other.Operation = "research-0"

		if _, err := b.control.Cancel(t.Context(), ada(), other); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("one that never was: got %v, want %v", err, store.ErrNotFound)
		}

		eve := deploy.Principal{Tenant: "evil", Actor: "eve", Roles: []deploy.Role{deploy.Admin}}
		if _, err := b.control.Cancel(t.Context(), eve, steering("")); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("another tenant's: got %v, want %v", err, store.ErrNotFound)
		}
	})
}

// TestTheAnswerToWhatIsUnderWay: a request that finds its wish being done is answered for good as well.
func TestTheAnswerToWhatIsUnderWay(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.put(t, deploy.Create, deploy.RollingBack, []deploy.Resource{made("net")})

		req := steering("")
		req.Claim = &store.Claim{Tenant: "acme", Key: "once", Fingerprint: "the same"}

		first, err := b.control.Cancel(t.Context(), ada(), req)
		if err != nil {
			t.Fatal(err)
		}

		record := b.record(t)
		record.Operation.State, record.Deployment.Unfinished, record.Deployment.Phase = deploy.RolledBack, false, deploy.PhaseFailed

		if err := b.Commit(t.Context(), key(), &store.Change{Deployment: &record.Deployment, Operations: []deploy.Operation{record.Operation}}); err != nil {
			t.Fatal(err)
		}

		again, err := b.control.Cancel(t.Context(), ada(), req)
		if diff := cmp.Diff(first, again, cmpopts.IgnoreUnexported(deploy.Error{})); err != nil || diff != "" {
			t.Errorf("the same key, after it has ended: %v (-first +again):\n%s", err, diff)
		}
	})
}

func TestSteeringTwiceWithOneKey(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.stuck(t, deploy.Delete)

		req := steering("")
		req.Claim = claim("f")

		first, err := b.control.Resume(t.Context(), ada(), req)
		if err != nil {
			t.Fatal(err)
		}

		again, err := b.control.Resume(t.Context(), ada(), req)
		if err != nil || again.Version != first.Version || again.Operation.ID != first.Operation.ID || len(b.engine.started) != 1 {
			t.Errorf("a repetition answers %+v, %v, the first time %+v", again, err, first)
		}
	})
}
