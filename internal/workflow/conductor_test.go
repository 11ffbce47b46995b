package workflow_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// run hands a state's verb to the conductor.
func (b *bench) run(t *testing.T, verb workflow.Verb, epoch int) (workflow.Plan, workflow.SignalName) {
	t.Helper()

	plan, err := b.conductor.Run(t.Context(), workflow.Input{Verb: verb, Execution: execution(epoch)})

	return plan, told(err)
}

func TestBeginPlansACreate(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		b.put(t, deploy.Create, deploy.Pending, nil)

		plan, told := b.run(t, workflow.VerbBegin, 1)
		if told != "" || plan.Turn != workflow.TurnEnsure || plan.Epoch != 1 {
			t.Fatalf("got %+v, %q", plan, told)
		}

		want := map[string][]deploy.Ref{"env": {"env/a", "env/b"}, "queue": {"queue/q"}}
		if diff := cmp.Diff(want, plan.Each); diff != "" {
			t.Errorf("each (-want +got):\n%s", diff)
		}

		for chain, wanted := range plan.Want {
			if !wanted {
				t.Errorf("chain %s is not wanted, but everything is", chain)
			}
		}

		record := b.record(t)
		if record.Operation.State != deploy.Running || len(record.Resources) != 7 {
			t.Errorf("got %s with %d resources", record.Operation.State, len(record.Resources))
		}

		for _, r := range record.Resources {
			if r.Operation != operation || r.Epoch != 1 || r.Ensure == nil || r.Ensure.State != deploy.StepPending || r.UpdateTime.IsZero() {
				t.Errorf("%s is not stamped: %+v", r.Ref, r)
			}
		}

		if check := record.Deployment.CheckTime; !check.After(time.Now()) {
			t.Errorf("the watchdog looks at %s", check)
		}
	})
}

func TestBeginAgain(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		begun := but(fresh("role"), func(r *deploy.Resource) { r.MadeBy, r.Intent, r.Ensure.Attempts = operation, time.Now(), 2 })
		b.put(t, deploy.Create, deploy.Running, []deploy.Resource{made("net"), begun}, func(h *deploy.Deployment, _ *deploy.Operation) { h.Epoch = 2 })

		plan, told := b.run(t, workflow.VerbBegin, 2)
		if told != "" || plan.Epoch != 2 {
			t.Fatalf("got %+v, %q", plan, told)
		}

		net, role, env := b.resource(t, "net"), b.resource(t, "role"), b.resource(t, "env/a")
		if net.Ensure.State != deploy.StepReady || role.Ensure.Attempts != 2 || role.Intent.IsZero() || role.MadeBy != operation {
			t.Errorf("what an earlier execution did must stand: %+v, %+v", net, role)
		}

		for _, r := range []deploy.Resource{net, role, env} {
			if r.Epoch != 2 {
				t.Errorf("%s carries epoch %d: the older execution could go on", r.Ref, r.Epoch)
			}
		}

		if diff := cmp.Diff([]deploy.Ref{"env/a", "env/b"}, plan.Each["env"]); diff != "" {
			t.Errorf("what is left (-want +got):\n%s", diff)
		}
	})
}

// TestNobodyActsBehindTheFence: every state of an execution that was superseded ends without a write.
func TestNobodyActsBehindTheFence(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason string
		change func(*deploy.Deployment, *deploy.Operation)
	}{
		"NewerExecution": {"the watchdog has started another", func(h *deploy.Deployment, _ *deploy.Operation) { h.Epoch = 3 }},
		"OtherOperation": {"a delete has taken over", func(h *deploy.Deployment, op *deploy.Operation) {
			h.Operation, op.ID = "research-2", "research-2"
		}},
		"Done": {"the operation has ended", func(_ *deploy.Deployment, op *deploy.Operation) { op.State = deploy.Succeeded }},
	}
	for name, c := range cases {
		for _, verb := range []workflow.Verb{workflow.VerbBegin, workflow.VerbSettle, workflow.VerbClose, workflow.VerbRecord} {
			t.Run(name+"/"+string(verb), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					b := newBench(t)

					begun := but(fresh("net"), func(r *deploy.Resource) { r.Ensure.Attempts = 1 })
					b.put(t, deploy.Create, deploy.Running, []deploy.Resource{begun}, c.change)

					before := b.record(t)

					in := input(verb, "")
					in.Kinds = []string{"net"}

					plan, err := b.conductor.Run(t.Context(), in)
					if err != nil || plan.Turn == workflow.TurnEnsure || plan.Turn == workflow.TurnRemove || plan.Turn == workflow.TurnClose {
						t.Errorf("%s: got %+v, %v", c.reason, plan, err)
					}

					if diff := cmp.Diff(before, b.record(t), cmpopts.IgnoreUnexported(deploy.Error{})); diff != "" {
						t.Errorf("%s, but it wrote (-before +after):\n%s", c.reason, diff)
					}
				})
			})
		}
	}
}

func TestBeginOfACreateOverAnEarlierLife(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		kept := deploy.Resource{
			Ref: "bucket", Operation: "research-0", Epoch: 4, Origin: deploy.Made, MadeBy: "research-0", Intent: time.Now(), Kept: true, ID: "b",
			Remove: &deploy.Step{State: deploy.StepKept},
		}
		b.put(t, deploy.Create, deploy.Pending, []deploy.Resource{kept})

		if _, told := b.run(t, workflow.VerbBegin, 1); told != "" {
			t.Fatal(told)
		}

		r := b.resource(t, "bucket")
		if r.MadeBy != "" || !r.Intent.IsZero() || r.Remove != nil || r.Ensure.State != deploy.StepPending || !r.Kept {
			t.Errorf("this operation has not asked AWS for the kept bucket yet: %+v", r)
		}
	})
}

func TestBeginPlansADelete(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason   string
		resource deploy.Resource
		removed  bool
	}{
		"Made":     {"what the deployment made goes with it", deploy.Resource{Origin: deploy.Made, Intent: time.Unix(1, 0)}, true},
		"Reused":   {"an earlier life of it made the bucket", deploy.Resource{Origin: deploy.Reused, Intent: time.Unix(1, 0)}, true},
		"Kept":     {"a second delete may purge what the first one kept", deploy.Resource{Origin: deploy.Made, Kept: true}, true},
		"Existing": {"what the owner brought is never removed", deploy.Resource{Origin: deploy.Existing, Intent: time.Unix(1, 0)}, false},
		"Shared":   {"what belongs to the account is never removed", deploy.Resource{Origin: deploy.Shared, Intent: time.Unix(1, 0)}, false},
		"Unasked":  {"AWS was never asked for it: anything of that name is somebody else's", deploy.Resource{}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)

				c.resource.Ref, c.resource.Operation, c.resource.Ensure = "net", "research-0", &deploy.Step{State: deploy.StepReady}
				b.put(t, deploy.Delete, deploy.Pending, []deploy.Resource{c.resource})

				plan, told := b.run(t, workflow.VerbBegin, 1)
				if told != "" || plan.Turn != workflow.TurnRemove {
					t.Fatalf("got %+v, %q", plan, told)
				}

				r := b.resource(t, "net")
				if removed := r.Remove != nil && r.Remove.State == deploy.StepPending; removed != c.removed || r.Ensure != nil || r.Operation != operation {
					t.Errorf("%s: got %+v", c.reason, r)
				}

				wanted := false
				for _, w := range plan.Want {
					wanted = wanted || w
				}

				if wanted != c.removed {
					t.Errorf("%s: want %v", c.reason, plan.Want)
				}
			})
		})
	}
}

// TestBeginOfARollback: a cancelled create goes straight to removal, and the watchdog may have to begin a rollback again.
func TestBeginOfARollback(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		begun := but(fresh("role"), func(r *deploy.Resource) {
			r.MadeBy, r.Intent, r.Origin, r.Ensure.Attempts, r.Ensure.State = operation, time.Now(), deploy.Made, 1, deploy.StepRunning
		})
		gone := but(made("bucket"), func(r *deploy.Resource) { r.Remove = &deploy.Step{State: deploy.StepGone} })
		b.put(t, deploy.Create, deploy.RollingBack, []deploy.Resource{made("net"), begun, fresh("env/a"), gone},
			func(h *deploy.Deployment, _ *deploy.Operation) { h.Epoch = 3 })

		plan, told := b.run(t, workflow.VerbBegin, 3)
		if told != "" || plan.Turn != workflow.TurnRemove {
			t.Fatalf("got %+v, %q", plan, told)
		}

		if r := b.resource(t, "net"); r.Remove == nil || r.Remove.State != deploy.StepPending || r.Epoch != 3 {
			t.Errorf("net: %+v", r)
		}

		if r := b.resource(t, "role"); r.Remove == nil || r.Ensure.State != deploy.StepFailed {
			t.Errorf("role was begun, so it may be there: %+v", r)
		}

		if r := b.resource(t, "env/a"); r.Remove != nil || r.Ensure.State != deploy.StepSkipped {
			t.Errorf("env/a was never begun: %+v", r)
		}

		if r := b.resource(t, "bucket"); r.Remove.State != deploy.StepGone {
			t.Errorf("what is gone stays gone: %+v", r)
		}
	})
}

func TestSettle(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason  string
		change  func(*deploy.Resource)
		turn    workflow.Turn
		signal  workflow.SignalName
		ensure  deploy.StepState
		removed bool
	}{
		"Ready": {"everything stands", func(*deploy.Resource) {}, workflow.TurnClose, "", deploy.StepReady, false},
		"Failed": {
			"one failure turns the operation", func(r *deploy.Resource) { r.Ensure.State = deploy.StepFailed }, workflow.TurnRemove, "", deploy.StepFailed, true,
		},
		"NoOutcome": {
			"an intent without an outcome has failed, never succeeded", func(r *deploy.Resource) { r.Ensure.State = deploy.StepRunning },
			workflow.TurnRemove, "", deploy.StepFailed, true,
		},
		"NeverBegun": {
			"its branch never came there", func(r *deploy.Resource) { *r = fresh("net") }, workflow.TurnRemove, "", deploy.StepSkipped, false,
		},
		"Busy": {
			"a rollback must not race a create in flight", func(r *deploy.Resource) {
				r.Ensure.State, r.BusyUntil = deploy.StepRunning, time.Now().Add(time.Second)
			}, "", workflow.NotReady, deploy.StepRunning, false,
		},
		"BusyButReady": {
			"whoever holds it may still change it", func(r *deploy.Resource) { r.BusyUntil = time.Now().Add(time.Second) }, "", workflow.NotReady, deploy.StepReady, false,
		},
		"OthersIntent": {
			"a rollback removes only what its own operation made", func(r *deploy.Resource) { r.MadeBy, r.Ensure.State = "research-0", deploy.StepFailed },
			workflow.TurnRemove, "", deploy.StepFailed, false,
		},
		"NoIntent": {
			"AWS was never asked for it", func(r *deploy.Resource) { r.Intent, r.Ensure.State = time.Time{}, deploy.StepFailed },
			workflow.TurnRemove, "", deploy.StepFailed, false,
		},
		"Existing": {
			"what the owner brought stays", func(r *deploy.Resource) { r.Origin, r.Ensure.State = deploy.Existing, deploy.StepFailed },
			workflow.TurnRemove, "", deploy.StepFailed, false,
		},
		"Shared": {
			"what belongs to the account stays", func(r *deploy.Resource) { r.Origin, r.Ensure.State = deploy.Shared, deploy.StepFailed },
			workflow.TurnRemove, "", deploy.StepFailed, false,
		},
		"Reused": {
			"the kind decides what a rollback leaves of a kept bucket", func(r *deploy.Resource) { r.Origin, r.Ensure.State = deploy.Reused, deploy.StepFailed },
			workflow.TurnRemove, "", deploy.StepFailed, true,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)

				b.put(t, deploy.Create, deploy.Running, []deploy.Resource{but(made("net"), c.change), made("role")})

				plan, told := b.run(t, workflow.VerbSettle, 1)
				if plan.Turn != c.turn || told != c.signal {
					t.Fatalf("%s: got %+v, %q", c.reason, plan, told)
				}

				record := b.record(t)
				r := record.Find("net")

				if r.Ensure.State != c.ensure || (r.Remove != nil) != c.removed {
					t.Errorf("%s: got ensure %s, remove %+v", c.reason, r.Ensure.State, r.Remove)
				}

				turned := c.turn == workflow.TurnRemove

				epoch := 1
				if turned {
					epoch = 2

					if plan.Epoch != 2 || record.Operation.State != deploy.RollingBack || record.Operation.TurnedAt != 1 {
						t.Errorf("%s: got plan %+v, operation %+v", c.reason, plan, record.Operation)
					}

					if role := record.Find("role"); role.Remove == nil {
						t.Errorf("%s: the role stays", c.reason)
					}
				}

				if record.Deployment.Epoch != epoch || r.Epoch != epoch || record.Find("role").Epoch != epoch {
					t.Errorf("%s: epochs are %d and %d, want %d", c.reason, record.Deployment.Epoch, r.Epoch, epoch)
				}
			})
		})
	}
}

// TestSettleAgain: the answer of the Settle that turned was lost, and its state asks again.
func TestSettleAgain(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		failed := but(made("net"), func(r *deploy.Resource) { r.Ensure.State = deploy.StepFailed })
		b.put(t, deploy.Create, deploy.Running, []deploy.Resource{failed})

		first, _ := b.run(t, workflow.VerbSettle, 1)
		before := b.record(t)

		again, told := b.run(t, workflow.VerbSettle, 1)
		if diff := cmp.Diff(first, again); diff != "" || told != "" {
			t.Errorf("a repeated Settle answers otherwise, %q (-first +again):\n%s", told, diff)
		}

		if diff := cmp.Diff(before, b.record(t), cmpopts.IgnoreUnexported(deploy.Error{})); diff != "" {
			t.Errorf("a repeated Settle wrote (-before +after):\n%s", diff)
		}
	})
}

func TestSettleNamesTheFirstError(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		failed := func(ref deploy.Ref, after time.Duration) deploy.Resource {
			return but(made(ref), func(r *deploy.Resource) {
				r.Ensure.State, r.Ensure.EndTime, r.Ensure.Error = deploy.StepFailed, time.Now().Add(after), deploy.Errorf(deploy.Quota, string(ref), "x")
			})
		}
		b.put(t, deploy.Create, deploy.Running, []deploy.Resource{failed("bucket", 3*time.Second), failed("net", time.Second), failed("role", 2*time.Second)})

		if _, told := b.run(t, workflow.VerbSettle, 1); told != "" {
			t.Fatal(told)
		}

		if e := b.record(t).Operation.Error; e == nil || e.Code != "net" {
			t.Errorf("what came first is the cause: got %v", e)
		}
	})
}

func TestClose(t *testing.T) {
	t.Parallel()

	removal := func(s deploy.StepState) func(*deploy.Resource) {
		return func(r *deploy.Resource) {
			r.Remove = &deploy.Step{State: s, Attempts: 1, Error: deploy.Errorf(deploy.Denied, "denied", "x")}
		}
	}

	cases := map[string]struct {
		reason string
		kind   deploy.OperationKind
		state  deploy.OperationState
		change func(*deploy.Resource)
		want   deploy.OperationState
		phase  deploy.Phase
		stays  bool // the resource, in the record
	}{
		"Created": {"everything stands", deploy.Create, deploy.Running, func(*deploy.Resource) {}, deploy.Succeeded, deploy.PhaseActive, true},
		"RolledBack": {
			"a create that was taken back whole", deploy.Create, deploy.RollingBack, removal(deploy.StepGone), deploy.RolledBack, deploy.PhaseFailed, false,
		},
		"RolledBackButKept": {
			"a bucket that somebody has written to outlives the rollback, and its name is known", deploy.Create, deploy.RollingBack, func(r *deploy.Resource) {
				removal(deploy.StepKept)(r)
				r.Kept = true
			}, deploy.RolledBack, deploy.PhaseFailed, true,
		},
		"RollbackResisted": {
			"what could not be removed must not be forgotten", deploy.Create, deploy.RollingBack, removal(deploy.StepFailed),
			deploy.NeedsAttention, deploy.PhaseNeedsAttention, true,
		},
		"Deleted": {"everything is gone", deploy.Delete, deploy.Running, removal(deploy.StepGone), deploy.Succeeded, deploy.PhaseDeleted, false},
		"DeleteKept": {
			"a kept bucket is no failure", deploy.Delete, deploy.Running, func(r *deploy.Resource) {
				removal(deploy.StepKept)(r)
				r.Kept = true
			}, deploy.Succeeded, deploy.PhaseDeleted, true,
		},
		"DeleteResisted": {
			"what could not be removed must not be forgotten", deploy.Delete, deploy.Running, removal(deploy.StepFailed),
			deploy.NeedsAttention, deploy.PhaseNeedsAttention, true,
		},
		"DeleteNoOutcome": {
			"a removal without an outcome has not happened", deploy.Delete, deploy.Running, removal(deploy.StepRunning),
			deploy.NeedsAttention, deploy.PhaseNeedsAttention, true,
		},
		"DeleteNotBegun": {
			"its branch never came there", deploy.Delete, deploy.Running, func(r *deploy.Resource) { r.Remove = &deploy.Step{State: deploy.StepPending} },
			deploy.NeedsAttention, deploy.PhaseNeedsAttention, true,
		},
		"LeftBehind": {
			"an admin decided to go on without it", deploy.Delete, deploy.Running, func(r *deploy.Resource) {
				removal(deploy.StepSkipped)(r)
				r.Remove.LeftBehind = true
			}, deploy.Succeeded, deploy.PhaseDeleted, false,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)

				b.put(t, c.kind, c.state, []deploy.Resource{but(made("net"), c.change)})

				if _, told := b.run(t, workflow.VerbClose, 1); told != "" {
					t.Fatalf("%s: %q", c.reason, told)
				}

				record := b.record(t)
				h, op := record.Deployment, record.Operation

				if op.State != c.want || h.Phase != c.phase {
					t.Errorf("%s: got %s and %s, want %s and %s", c.reason, op.State, h.Phase, c.want, c.phase)
				}

				if h.Unfinished || !h.CheckTime.IsZero() || op.EndTime.IsZero() || len(op.Steps) == 0 {
					t.Errorf("%s: it is not closed: %+v, %+v", c.reason, h, op)
				}

				if stays := record.Find("net") != nil; stays != c.stays {
					t.Errorf("%s: in the record is %t, want %t", c.reason, stays, c.stays)
				}

				if c.want == deploy.NeedsAttention && op.Error == nil && c.state != deploy.Running {
					t.Errorf("%s: nobody is told why", c.reason)
				}

				// What a poller has seen must not be taken back.
				if op.FrozenVersion < h.Version+op.Version {
					t.Errorf("the version fell to %d", op.FrozenVersion)
				}
			})
		})
	}
}

// TestCloseWithResidueKeepsEveryStep: a resumed operation goes on with all of them, and its version must not fall.
func TestCloseWithResidueKeepsEveryStep(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		gone := but(going("queue/q"), func(r *deploy.Resource) { r.Remove.State = deploy.StepGone })
		failed := but(going("net"), func(r *deploy.Resource) { r.Remove = &deploy.Step{State: deploy.StepFailed, Attempts: 1} })
		b.put(t, deploy.Delete, deploy.Running, []deploy.Resource{gone, failed, {Ref: "role", Operation: operation, Epoch: 1}})

		before := b.record(t).Version()

		if _, told := b.run(t, workflow.VerbClose, 1); told != "" {
			t.Fatal(told)
		}

		if r := b.record(t); len(r.Resources) != 3 || r.Version() <= before {
			t.Errorf("%d resources are left at version %d, before it was %d", len(r.Resources), r.Version(), before)
		}
	})
}

func TestCloseWaitsForWhoeverIsAtWork(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		busy := but(going("net"), func(r *deploy.Resource) { r.BusyUntil = time.Now().Add(10 * time.Second) })
		b.put(t, deploy.Delete, deploy.Running, []deploy.Resource{busy})

		if _, told := b.run(t, workflow.VerbClose, 1); told != workflow.NotReady {
			t.Errorf("got %q, want %q", told, workflow.NotReady)
		}

		time.Sleep(10 * time.Second)

		if _, told := b.run(t, workflow.VerbClose, 1); told != "" {
			t.Errorf("got %q", told)
		}
	})
}

func TestCloseCounts(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		b.put(t, deploy.Create, deploy.Running, []deploy.Resource{made("net"), made("role"), made("env/a", "net", "role")})

		before := b.record(t).Version()

		if _, told := b.run(t, workflow.VerbClose, 1); told != "" {
			t.Fatal(told)
		}

		record := b.record(t)
		if h := record.Deployment; h.Total != 3 || h.Ready != 3 {
			t.Errorf("got %d of %d ready, want 3 of 3", h.Ready, h.Total)
		}

		if got := record.Operation.FrozenVersion; got != record.Version() || got <= before {
			t.Errorf("frozen version %d, the record's is %d, before it was %d", got, record.Version(), before)
		}

		var order []deploy.Ref
		for _, s := range record.Operation.Steps {
			order = append(order, s.Resource)
		}

		if diff := cmp.Diff([]deploy.Ref{"role", "net", "env/a"}, order); diff != "" {
			t.Errorf("the order of making (-want +got):\n%s", diff)
		}
	})
}

func TestRecordWritesWhatNoWorkerCould(t *testing.T) {
	t.Parallel()

	begun := func(ref deploy.Ref) deploy.Resource {
		return but(fresh(ref), func(r *deploy.Resource) { r.Ensure.State, r.Ensure.Attempts = deploy.StepRunning, 1 })
	}

	cases := map[string]struct {
		reason   string
		resource deploy.Resource
		kinds    []string
		ref      deploy.Ref
		want     deploy.StepState
	}{
		"Begun":      {"its worker broke", begun("net"), []string{"role", "net"}, "", deploy.StepFailed},
		"OneOfMany":  {"a Map names the ref", begun("env/a"), nil, "env/a", deploy.StepFailed},
		"OtherOne":   {"another of the same kind goes on", begun("env/b"), nil, "env/a", deploy.StepRunning},
		"OtherChain": {"another chain goes on", begun("bucket"), []string{"role", "net"}, "", deploy.StepRunning},
		"NotBegun":   {"it stands behind what broke and never will be begun", fresh("net"), []string{"net"}, "", deploy.StepSkipped},
		"Ready":      {"the worker wrote its outcome before it broke", made("net"), []string{"net"}, "", deploy.StepReady},
		"NextEpoch": {
			"a newer execution holds it", but(begun("net"), func(r *deploy.Resource) { r.Epoch = 2 }), []string{"net"}, "", deploy.StepRunning,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)

				b.put(t, deploy.Create, deploy.Running, []deploy.Resource{c.resource})

				in := input(workflow.VerbRecord, c.ref)
				in.Kinds, in.Fault = c.kinds, &workflow.Fault{Error: "States.Timeout\n", Cause: "a secret"}

				if err := b.conductor.Record(t.Context(), in); err != nil {
					t.Fatal(err)
				}

				step := b.resource(t, c.resource.Ref).Ensure
				if step.State != c.want {
					t.Errorf("%s: got %s, want %s", c.reason, step.State, c.want)
				}

				if c.want == deploy.StepFailed && (step.Error == nil || step.Error.Message != "The step ended with States.Timeout." || step.Error.Remedy == "") {
					t.Errorf("%s: got %+v", c.reason, step.Error)
				}
			})
		})
	}
}
