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
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/memory"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

func claim(fingerprint string) *store.Claim {
	return &store.Claim{Tenant: "acme", Key: "key-1", Fingerprint: fingerprint}
}

func request(c *store.Claim) workflow.CreateRequest {
	return workflow.CreateRequest{Name: "research", Spec: deploy.Spec{}.WithDefaults(), Claim: c}
}

func TestCreateIsAdmittedAndStarted(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		got, err := b.control.Create(t.Context(), ada(), request(nil))
		if err != nil {
			t.Fatal(err)
		}

		record := b.record(t)
		h, op := record.Deployment, record.Operation

		if op.ID != operation || op.State != deploy.Pending || op.Kind != deploy.Create || op.Actor != "ada" || op.Data != deploy.IfEmpty {
			t.Errorf("got operation %+v", op)
		}

		if h.Phase != deploy.PhaseCreating || h.Epoch != 1 || !h.Unfinished || time.Until(h.CheckTime) != 30*time.Second || h.Account != "123456789012" {
			t.Errorf("got header %+v", h)
		}

		if got.Version != record.Version() || got.Operation.ID != op.ID {
			t.Errorf("the answer says version %d, the record %d", got.Version, record.Version())
		}

		if diff := cmp.Diff([]workflow.Execution{execution(1)}, b.engine.started); diff != "" {
			t.Errorf("started (-want +got):\n%s", diff)
		}
	})
}

func TestCreateStandsThoughItCannotBeStarted(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		b.engine.broken = errors.New("Step Functions is away")

		if _, err := b.control.Create(t.Context(), ada(), request(nil)); err != nil {
			t.Fatalf("the operation exists from its header on: %v", err)
		}

		b.engine.broken = nil

		time.Sleep(31 * time.Second)

		if err := b.dog.Run(t.Context()); err != nil {
			t.Fatal(err)
		}

		if diff := cmp.Diff([]workflow.Execution{execution(1)}, b.engine.started); diff != "" {
			t.Errorf("the watchdog starts it under the same name, so that a start that did happen is not doubled (-want +got):\n%s", diff)
		}
	})
}

func TestCreateIsRefused(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason  string
		prepare func(*testing.T, *bench)
		refused func(error) bool
	}{
		"NameTaken": {
			"one deployment per name", func(t *testing.T, b *bench) {
				t.Helper()
				b.put(t, deploy.Create, deploy.Running, nil)
			}, func(err error) bool {
				e, ok := errors.AsType[*workflow.Exists](err)

				return ok && e.Operation == operation
			},
		},
		"NeedsAttention": {
			"what resisted still carries the name", func(t *testing.T, b *bench) {
				t.Helper()
				b.put(t, deploy.Create, deploy.NeedsAttention, nil, func(h *deploy.Deployment, _ *deploy.Operation) {
					h.Phase, h.Unfinished = deploy.PhaseNeedsAttention, false
				})
			}, func(err error) bool {
				_, ok := errors.AsType[*workflow.Exists](err)

				return ok
			},
		},
		"Finding": {
			"a kind can tell that it would fail", func(_ *testing.T, b *bench) {
				b.net.findings = []deploy.Finding{{Level: deploy.LevelWarning, Code: "odd"}, {Level: deploy.LevelError, Code: "quota_exceeded"}}
				b.bucket.findings = []deploy.Finding{{Level: deploy.LevelError, Code: "other"}}
			}, func(err error) bool {
				e, ok := errors.AsType[*workflow.Refused](err)

				return ok && len(e.Findings) == 2 // all of them at once, without the warning
			},
		},
		"CheckBroke": {
			"without its check a create might fail halfway", func(_ *testing.T, b *bench) { b.net.checking = deploy.Errorf(deploy.Throttled, "throttled", "x") },
			func(err error) bool {
				e, ok := errors.AsType[*deploy.Error](err)

				return ok && e.Class == deploy.Throttled && e.Resource == "net"
			},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)

				c.prepare(t, b)

				if _, err := b.control.Create(t.Context(), ada(), request(claim("f"))); !c.refused(err) {
					t.Errorf("%s: got %v", c.reason, err)
				}

				if len(b.engine.started) > 0 {
					t.Errorf("%s, but it was started", c.reason)
				}
			})
		})
	}
}

func TestRefusalWritesNothingAndGivesTheKeyBack(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		b.net.findings = []deploy.Finding{{Level: deploy.LevelError, Code: "quota_exceeded"}}

		if _, err := b.control.Create(t.Context(), ada(), request(claim("f"))); err == nil {
			t.Fatal("admitted")
		}

		if _, err := b.Load(t.Context(), key()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a refusal wrote a record: %v", err)
		}

		b.net.findings = nil

		if _, err := b.control.Create(t.Context(), ada(), request(claim("mended"))); err != nil {
			t.Errorf("the key of a refused request is free for another: %v", err)
		}
	})
}

func TestCreateTakesAVacantName(t *testing.T) {
	t.Parallel()

	for _, phase := range []deploy.Phase{deploy.PhaseDeleted, deploy.PhaseFailed} {
		t.Run(string(phase), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)

				b.put(t, deploy.Delete, deploy.Succeeded, nil, func(h *deploy.Deployment, op *deploy.Operation) {
					h.Phase, h.Unfinished, h.Operation, op.ID = phase, false, "research-0", "research-0"
				})

				if _, err := b.control.Create(t.Context(), ada(), request(nil)); err != nil {
					t.Errorf("nothing is left of it: %v", err)
				}
			})
		})
	}
}

func TestSameKeySameAnswer(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		first, err := b.control.Create(t.Context(), ada(), request(claim("f")))
		if err != nil {
			t.Fatal(err)
		}

		if _, told := b.run(t, workflow.VerbBegin, 1); told != "" {
			t.Fatal(told)
		}

		again, err := b.control.Create(t.Context(), ada(), request(claim("f")))
		if diff := cmp.Diff(first, again, cmpopts.IgnoreUnexported(deploy.Error{})); diff != "" || err != nil {
			t.Errorf("a repetition answers otherwise, %v (-first +again):\n%s", err, diff)
		}

		if _, err := b.control.Create(t.Context(), ada(), request(claim("other"))); !errors.Is(err, store.ErrMismatch) {
			t.Errorf("the same key for another request: got %v, want %v", err, store.ErrMismatch)
		}

		if len(b.engine.started) != 1 {
			t.Errorf("started %d times", len(b.engine.started))
		}
	})
}

// TestKeyOfWhatWasNotWrittenIsGivenBack: whoever repeats a request that failed before its write, or lost every race, is not held up by their own key.
func TestKeyOfWhatWasNotWrittenIsGivenBack(t *testing.T) {
	t.Parallel()

	for method, fault := range map[string]error{"Load": errors.New("connection reset by peer"), "Commit": store.ErrStale} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)

			b.put(t, deploy.Create, deploy.Running, []deploy.Resource{made("net")})

			b.Fault = func(_ context.Context, m string, _ deploy.Key) memory.Fault {
				if m == method {
					return memory.Fault{Before: fault}
				}

				return memory.Fault{}
			}

			if _, err := b.control.Cancel(t.Context(), ada(), workflow.SteerRequest{Name: "research", Operation: operation, Claim: claim("f")}); err == nil {
				t.Fatal("admitted")
			}

			b.Fault = nil

			if _, err := b.control.Cancel(t.Context(), ada(), workflow.SteerRequest{Name: "research", Operation: operation, Claim: claim("f")}); err != nil {
				t.Errorf("after %s failed: %v", method, err)
			}
		})
	}
}

// TestRacesAreRunAgain: steps that end all the time do not keep anybody from cancelling.
func TestRacesAreRunAgain(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		b.put(t, deploy.Create, deploy.Running, []deploy.Resource{made("net")})

		lost := 0
		b.Fault = func(_ context.Context, method string, _ deploy.Key) memory.Fault {
			if method != "Commit" || lost == 7 {
				return memory.Fault{}
			}

			lost++

			return memory.Fault{Before: store.ErrStale}
		}

		began := time.Now()

		if _, err := b.control.Cancel(t.Context(), ada(), workflow.SteerRequest{Name: "research", Operation: operation}); err != nil || lost != 7 {
			t.Errorf("after %d lost races: %v", lost, err)
		}

		if took := time.Since(began); took < time.Second || took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// TestKeyOfAnAmbiguousAnswerStands: when nobody knows whether the header was written, another request must not get in under the same key.
func TestKeyOfAnAmbiguousAnswerStands(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		b.Fault = func(_ context.Context, method string, _ deploy.Key) memory.Fault {
			if method == "Commit" {
				return memory.Fault{Before: errors.New("connection reset by peer")}
			}

			return memory.Fault{}
		}

		if _, err := b.control.Create(t.Context(), ada(), request(claim("f"))); err == nil {
			t.Fatal("admitted")
		}

		if _, err := b.control.Create(t.Context(), ada(), request(claim("f"))); !errors.Is(err, store.ErrBusy) {
			t.Errorf("got %v, want %v", err, store.ErrBusy)
		}

		b.Fault = nil

		time.Sleep(61 * time.Second)

		if _, err := b.control.Create(t.Context(), ada(), request(claim("f"))); err != nil {
			t.Errorf("after a minute the claim has lapsed: %v", err)
		}
	})
}

func TestOfTwoCreatesOneWins(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		first := true
		b.Fault = func(ctx context.Context, method string, _ deploy.Key) memory.Fault {
			if method == "Commit" && first {
				first = false

				// Another request comes between our look and our write.
				if _, err := b.control.Create(ctx, ada(), request(nil)); err != nil {
					t.Error(err)
				}
			}

			return memory.Fault{}
		}

		_, err := b.control.Create(t.Context(), ada(), request(nil))
		if _, ok := errors.AsType[*workflow.Exists](err); !ok {
			t.Errorf("got %v, want that the name is taken", err)
		}

		if len(b.engine.started) != 1 {
			t.Errorf("started %d times", len(b.engine.started))
		}
	})
}

func TestDeleteTakesOverACreate(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		if _, err := b.control.Create(t.Context(), ada(), request(nil)); err != nil {
			t.Fatal(err)
		}

		if _, told := b.run(t, workflow.VerbBegin, 1); told != "" {
			t.Fatal(told)
		}

		if err := b.worker.Run(t.Context(), input(workflow.VerbEnsure, "net")); err != nil {
			t.Fatal(err)
		}

		admitted, err := b.control.Delete(t.Context(), ada(), workflow.DeleteRequest{Name: "research", Data: deploy.Purge})
		if err != nil {
			t.Fatal(err)
		}

		record := b.record(t)
		if h := record.Deployment; h.Phase != deploy.PhaseDeleting || h.Operation != admitted.Operation.ID || h.Epoch != 1 || !h.Unfinished {
			t.Errorf("got header %+v", h)
		}

		old, err := b.Operation(t.Context(), key(), operation)
		if err != nil || old.State != deploy.RolledBack || old.Error == nil || old.Error.Code != "superseded" || old.EndTime.IsZero() || len(old.Steps) != 7 {
			t.Errorf("the create is over: got %+v, %v", old, err)
		}

		for _, s := range old.Steps {
			if !s.State.Done() || s.EndTime.IsZero() {
				t.Errorf("nobody goes on with step %s, which is %s", s.Resource, s.State)
			}
		}

		if got := told(b.worker.Run(t.Context(), input(workflow.VerbEnsure, "role"))); got != workflow.Superseded {
			t.Errorf("a step of the old create: got %q, want %q", got, workflow.Superseded)
		}

		in := workflow.Input{Verb: workflow.VerbBegin, Execution: b.engine.started[len(b.engine.started)-1]}
		if plan, err := b.conductor.Run(t.Context(), in); err != nil || plan.Turn != workflow.TurnRemove {
			t.Fatalf("got %+v, %v", plan, err)
		}

		if b.resource(t, "net").Remove == nil || b.resource(t, "role").Remove != nil {
			t.Error("the delete removes what the create made, and nothing else")
		}
	})
}

func TestDeleteOfADelete(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		b.put(t, deploy.Create, deploy.Succeeded, []deploy.Resource{made("net")}, func(h *deploy.Deployment, op *deploy.Operation) {
			h.Phase, h.Unfinished, h.Operation, op.ID = deploy.PhaseActive, false, "research-0", "research-0"
		})

		first, err := b.control.Delete(t.Context(), ada(), workflow.DeleteRequest{Name: "research", Data: deploy.Keep})
		if err != nil {
			t.Fatal(err)
		}

		again, err := b.control.Delete(t.Context(), ada(), workflow.DeleteRequest{Name: "research", Data: deploy.Keep})
		if err != nil || again.Operation.ID != first.Operation.ID {
			t.Errorf("a delete that runs is the answer itself: got %+v, %v", again, err)
		}

		seen := func(h deploy.Deployment) bool { return h.Phase == deploy.PhaseActive } // as whoever lost the first answer has seen it
		if again, err := b.control.Delete(t.Context(), ada(), workflow.DeleteRequest{Name: "research", Data: deploy.Keep, Match: seen}); err != nil || again.Operation.ID != first.Operation.ID {
			t.Errorf("nor does it come too late for itself: got %+v, %v", again, err)
		}

		_, err = b.control.Delete(t.Context(), ada(), workflow.DeleteRequest{Name: "research", Data: deploy.Purge})
		if _, ok := errors.AsType[*workflow.Exists](err); !ok {
			t.Errorf("a delete that would throw data away is another one: got %v", err)
		}

		if len(b.engine.started) != 1 {
			t.Errorf("started %d times", len(b.engine.started))
		}
	})
}

func TestDeleteOfWhatIsNotThere(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		if _, err := b.control.Delete(t.Context(), ada(), workflow.DeleteRequest{Name: "research", Data: deploy.Keep}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("never made: got %v", err)
		}

		b.put(t, deploy.Delete, deploy.Succeeded, nil, func(h *deploy.Deployment, _ *deploy.Operation) { h.Phase, h.Unfinished = deploy.PhaseDeleted, false })

		if _, err := b.control.Delete(t.Context(), ada(), workflow.DeleteRequest{Name: "research", Data: deploy.Keep}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("deleted: got %v", err)
		}
	})
}

// TestTenantsDoNotMeet: the tenant of the principal is the only one that counts.
func TestTenantsDoNotMeet(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		if _, err := b.control.Create(t.Context(), ada(), request(nil)); err != nil {
			t.Fatal(err)
		}

		eve := deploy.Principal{Tenant: "evil", Actor: "eve", Roles: []deploy.Role{deploy.Admin}}
		if _, err := b.control.Delete(t.Context(), eve, workflow.DeleteRequest{Name: "research", Data: deploy.Purge}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("another tenant's delete: got %v, want %v", err, store.ErrNotFound)
		}

		if _, err := b.control.Create(t.Context(), eve, request(nil)); err != nil {
			t.Errorf("another tenant may use the same name: %v", err)
		}
	})
}
