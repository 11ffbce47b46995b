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
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// standing is a deployment that was created well.
func (b *bench) standing(t *testing.T, changes ...func(*deploy.Deployment, *deploy.Operation)) {
	t.Helper()

	b.put(t, deploy.Create, deploy.Succeeded, []deploy.Resource{made("net"), made("bucket")}, append([]func(*deploy.Deployment, *deploy.Operation){
		func(h *deploy.Deployment, _ *deploy.Operation) {
			h.Phase, h.Unfinished, h.CheckTime = deploy.PhaseActive, false, time.Time{}
		},
	}, changes...)...)
}

func TestChangesThatAreRefused(t *testing.T) {
	t.Parallel()

	swapped := func(b *bench) {
		b.bucket.plan = func(spec deploy.Spec) []kind.Item {
			if len(spec.Tags) == 0 {
				return b.bucket.items
			}

			return []kind.Item{{Ref: "bucket", Existing: "theirs"}}
		}
	}

	cases := map[string]struct {
		reason string
		given  func(*deploy.Deployment, *deploy.Operation)
		// later changes what the kinds plan after the deployment was made, as another spec does.
		later func(*bench)
		match func(deploy.Deployment) bool
		code  string
	}{
		"Running":  {"one operation at a time", func(h *deploy.Deployment, op *deploy.Operation) { h.Unfinished, op.State = true, deploy.Running }, nil, nil, "exists"},
		"Failed":   {"nothing stands there", func(h *deploy.Deployment, _ *deploy.Operation) { h.Phase = deploy.PhaseFailed }, nil, nil, "not_active"},
		"Stuck":    {"a create that got stuck is no ground to build on", func(h *deploy.Deployment, _ *deploy.Operation) { h.Phase = deploy.PhaseNeedsAttention }, nil, nil, "not_active"},
		"Deleted":  {"there is no such deployment", func(h *deploy.Deployment, _ *deploy.Operation) { h.Phase = deploy.PhaseDeleted }, nil, nil, "not found"},
		"Seen":     {"somebody else was quicker", nil, nil, func(deploy.Deployment) bool { return false }, "precondition_failed"},
		"Swapped":  {"what we made would have to go before what is brought takes its place", nil, swapped, nil, "cannot_change"},
		"Findings": {"the checks of a create are made", nil, func(b *bench) { b.net.findings = []deploy.Finding{{Level: deploy.LevelError, Code: "no_room"}} }, nil, "no_room"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				if c.given == nil {
					c.given = func(*deploy.Deployment, *deploy.Operation) {}
				}

				b.standing(t, c.given)

				if c.later != nil {
					c.later(b)
				}

				before := b.record(t)

				_, err := b.control.Update(t.Context(), ada(), workflow.UpdateRequest{
					Name: "research", Spec: deploy.Spec{Tags: map[string]string{"a": "b"}}, Match: c.match,
				})
				if got := refusalOf(err); got != c.code {
					t.Errorf("%s: answered %q (%v), want %q", c.reason, got, err, c.code)
				}

				if after := b.record(t); after.Deployment.Version != before.Deployment.Version || len(b.engine.started) > 0 {
					t.Errorf("%s: something was written or started", c.reason)
				}
			})
		})
	}
}

// refusalOf is the code of whatever a call was refused with.
func refusalOf(err error) string {
	if refused, ok := errors.AsType[*workflow.Refused](err); ok {
		return refused.Findings[0].Code
	}

	if e, ok := errors.AsType[*deploy.Error](err); ok {
		return e.Code
	}

	if _, ok := errors.AsType[*workflow.Exists](err); ok {
		return "exists"
	}

	if errors.Is(err, store.ErrNotFound) {
		return "not found"
	}

	return fmt.Sprint(err)
}

// TestProbeNeedsARoleOfOurs: who brings a job role cannot have it verified, and is told so before anything is made.
func TestProbeNeedsARoleOfOurs(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		spec := deploy.Spec{Access: deploy.Access{Existing: &deploy.ExistingAccess{JobRoleARN: "arn:aws:iam::123456789012:role/theirs"}}}

		if _, err := b.control.Create(t.Context(), ada(), workflow.CreateRequest{Name: "research", Spec: spec, Verify: true}); refusalOf(err) != deploy.CodeNotOfferedYet {
			t.Errorf("a create with verify: %v", err)
		}

		b.standing(t, func(h *deploy.Deployment, _ *deploy.Operation) { h.Spec = spec })

		if _, err := b.control.Verify(t.Context(), ada(), workflow.UpdateRequest{Name: "research"}); refusalOf(err) != deploy.CodeNotOfferedYet {
			t.Errorf("a verification: %v", err)
		}

		if len(b.engine.started) > 0 {
			t.Error("something was started")
		}
	})
}

// TestSwap: which existing things an update may put in each other's place.
func TestSwap(t *testing.T) {
	t.Parallel()

	for name, forLife := range map[string]bool{"Free": false, "ForLife": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.bucket.about.ForLife = forLife
				b.bucket.plan = func(spec deploy.Spec) []kind.Item {
					return []kind.Item{{Ref: "bucket", Existing: "theirs" + spec.Tags["a"]}}
				}
				b.standing(t)

				_, err := b.control.Update(t.Context(), ada(), workflow.UpdateRequest{Name: "research", Spec: deploy.Spec{Tags: map[string]string{"a": "b"}}})
				if (err != nil) != forLife {
					t.Errorf("for life %v: %v", forLife, err)
				}
			})
		})
	}
}

// TestRecordLeavesRemovalsAlone: while an update goes back, a broken chain of creations closes no removal that is still to come.
func TestRecordLeavesRemovalsAlone(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		pending := func(ref deploy.Ref, action deploy.Action) deploy.Resource {
			return but(made(ref), func(r *deploy.Resource) {
				r.Ensure = nil
				if action == deploy.Ensure {
					r.Ensure = &deploy.Step{State: deploy.StepRunning, Attempts: 1}
				} else {
					r.Remove = &deploy.Step{State: deploy.StepPending}
				}
			})
		}

		b.put(t, deploy.Update, deploy.RollingBack, []deploy.Resource{pending("env/a", deploy.Ensure), pending("env/b", deploy.Remove)},
			func(_ *deploy.Deployment, op *deploy.Operation) { op.Restored, op.Before = true, &deploy.Before{} })

		in := input(workflow.VerbRecord, "")
		in.Kinds = []string{"env"}

		if _, err := b.conductor.Run(t.Context(), in); err != nil {
			t.Fatal(err)
		}

		if s := b.resource(t, "env/a").Ensure.State; s != deploy.StepFailed {
			t.Errorf("what was begun is %s", s)
		}

		if s := b.resource(t, "env/b").Remove.State; s != deploy.StepPending {
			t.Errorf("the removal that is still to come is %s", s)
		}
	})
}

func (b *bench) createNamed(t *testing.T, p deploy.Principal, name string, spec deploy.Spec) (workflow.Admitted, error) {
	t.Helper()

	return b.control.Create(t.Context(), p, workflow.CreateRequest{Name: name, Spec: spec})
}

// end closes a deployment's operation as if everything had been made.
func (b *bench) end(t *testing.T, key deploy.Key) {
	t.Helper()

	record, err := b.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}

	in := workflow.Input{Execution: workflow.Execution{
		Installation: "test", Tenant: key.Tenant, Deployment: key.Name, Operation: record.Deployment.Operation, Epoch: record.Deployment.Epoch,
	}}

	for _, verb := range []workflow.Verb{workflow.VerbBegin, workflow.VerbClose} {
		in.Verb = verb
		if _, err := b.conductor.Run(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
}

func vcpus(n int) deploy.Spec {
	return deploy.Spec{Compute: deploy.Compute{Environments: []deploy.Environment{{Name: "a", MaxVcpus: n}}}}
}

// TestLimits: what a tenant may have in use is held against every admission, and a deployment that goes gives its share back.
func TestLimits(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.control.Limits = deploy.Limits{
			Default: deploy.Usage{Deployments: 2, VCPUs: 100}, Tenants: map[string]deploy.Usage{"big": {Deployments: 3}},
		}

		for _, step := range []struct {
			reason, name string
			vcpus        int
			refused      bool
		}{
			{"the first fits", "one", 60, false},
			{"together they could grow beyond the limit", "two", 41, true},
			{"to the limit and no further", "two", 40, false},
			{"two are all there may be", "three", 0, true},
		} {
			_, err := b.createNamed(t, ada(), step.name, vcpus(step.vcpus))
			if refused := refusalOf(err) == "tenant_quota_exceeded"; refused != step.refused {
				t.Errorf("%s: %v", step.reason, err)
			}
		}

		usage, err := b.Usage(t.Context(), "acme")
		if want := (deploy.Usage{Deployments: 2, Operations: 2, VCPUs: 100}); err != nil || usage != want {
			t.Errorf("the tenant uses %+v, want %+v (%v)", usage, want, err)
		}

		// Another tenant has limits of its own, with nothing of the default mixed in.
		if _, err := b.createNamed(t, deploy.Principal{Tenant: "big", Actor: "bob"}, "one", vcpus(5000)); err != nil {
			t.Errorf("another tenant: %v", err)
		}

		b.end(t, deploy.Key{Tenant: "acme", Name: "one"})

		if _, err := b.control.Update(t.Context(), ada(), workflow.UpdateRequest{Name: "one", Spec: vcpus(61)}); refusalOf(err) != "tenant_quota_exceeded" {
			t.Errorf("an update could grow beyond the limit: %v", err)
		}

		if _, err := b.control.Update(t.Context(), ada(), workflow.UpdateRequest{Name: "one", Spec: vcpus(10)}); err != nil {
			t.Errorf("an update to less: %v", err)
		}

		b.end(t, deploy.Key{Tenant: "acme", Name: "one"})

		if _, err := b.control.Delete(t.Context(), ada(), workflow.DeleteRequest{Name: "two", Data: deploy.Keep}); err != nil {
			t.Fatal(err)
		}

		b.end(t, deploy.Key{Tenant: "acme", Name: "two"})

		usage, err = b.Usage(t.Context(), "acme")
		if want := (deploy.Usage{Deployments: 1, VCPUs: 10}); err != nil || usage != want {
			t.Errorf("in the end the tenant uses %+v, want %+v (%v)", usage, want, err)
		}
	})
}

// TestQueue: a tenant with all its places at work waits behind its own, and nobody else waits with it.
func TestQueue(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.control.Limits = deploy.Limits{Default: deploy.Usage{Operations: 2}}
		queue := b.newQueue()

		for i := range 5 {
			if _, err := b.createNamed(t, ada(), fmt.Sprintf("run-%d", i), deploy.Spec{}); err != nil {
				t.Fatal(err)
			}

			time.Sleep(time.Second)
		}

		if _, err := b.createNamed(t, deploy.Principal{Tenant: "other", Actor: "bob"}, "mine", deploy.Spec{}); err != nil {
			t.Fatal(err)
		}

		started := func() (names []string) {
			for _, e := range b.engine.started {
				names = append(names, e.Deployment)
			}

			return names
		}

		if diff := cmp.Diff([]string{"run-0", "run-1", "mine"}, started()); diff != "" {
			t.Errorf("at first (-want +got):\n%s", diff)
		}

		// Nothing has ended: nobody moves up, and the watchdog leaves alone what waits its turn.
		time.Sleep(10 * time.Minute)

		if err := errors.Join(queue.AdvanceAll(t.Context()), queue.Advance(t.Context(), "acme")); err != nil {
			t.Fatal(err)
		}

		b.end(t, deploy.Key{Tenant: "acme", Name: "run-1"})

		if err := queue.Advance(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}

		if diff := cmp.Diff([]string{"run-0", "run-1", "mine", "run-2"}, started()); diff != "" {
			t.Errorf("after one has ended (-want +got):\n%s", diff)
		}

		// A delete waits for nobody, not even behind a create of its own that never started.
		if _, err := b.control.Delete(t.Context(), ada(), workflow.DeleteRequest{Name: "run-4", Data: deploy.Keep}); err != nil {
			t.Fatal(err)
		}

		b.end(t, deploy.Key{Tenant: "acme", Name: "run-4"})
		b.end(t, deploy.Key{Tenant: "acme", Name: "run-0"})
		b.end(t, deploy.Key{Tenant: "acme", Name: "run-2"})

		if err := queue.AdvanceAll(t.Context()); err != nil {
			t.Fatal(err)
		}

		if diff := cmp.Diff([]string{"run-0", "run-1", "mine", "run-2", "run-4", "run-3"}, started()); diff != "" {
			t.Errorf("in the end (-want +got):\n%s", diff)
		}

		usage, err := b.Usage(t.Context(), "acme")
		if err != nil || usage.Operations != 1 {
			t.Errorf("one operation is at work: %+v, %v", usage, err)
		}
	})
}

// TestExpiry: three warnings, then one delete; whoever extends in time begins anew.
func TestExpiry(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		expiry := &workflow.Expiry{Tenants: b.Store, Control: b.control}

		if _, err := b.control.Create(t.Context(), ada(), workflow.CreateRequest{Name: "research", TTL: 96 * time.Hour}); err != nil {
			t.Fatal(err)
		}

		b.end(t, key())

		// tick looks each quarter of an hour, twice at once as two schedules may.
		tick := func(d time.Duration) {
			for range d / (15 * time.Minute) {
				time.Sleep(15 * time.Minute)

				for range 2 {
					if err := expiry.Run(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
		}

		told := func() (hours []int) {
			events, err := b.Events(t.Context(), key())
			if err != nil {
				t.Fatal(err)
			}

			for _, e := range events {
				if e.Type == deploy.EventExpiring {
					hours = append(hours, int(e.ExpireTime.Sub(e.Time).Hours()+0.5))
				}
			}

			return hours
		}

		tick(80 * time.Hour)

		if diff := cmp.Diff([]int{72, 24}, told()); diff != "" {
			t.Errorf("warnings (-want +got):\n%s", diff)
		}

		if _, err := b.control.Extend(t.Context(), ada(), workflow.ExtendRequest{Name: "research", TTL: 48 * time.Hour}); err != nil {
			t.Fatal(err)
		}

		tick(47*time.Hour + 45*time.Minute)

		if diff := cmp.Diff([]int{72, 24, 24, 1}, told()); diff != "" {
			t.Errorf("warnings after it was extended (-want +got):\n%s", diff)
		}

		if p := b.record(t).Deployment.Phase; p != deploy.PhaseActive {
			t.Fatalf("before its time it is %s", p)
		}

		tick(30 * time.Minute)

		record := b.record(t)
		if record.Deployment.Phase != deploy.PhaseDeleting || record.Operation.Kind != deploy.Delete || record.Operation.Data != deploy.Keep || record.Operation.Actor != "expiry" {
			t.Fatalf("when its time is over: %s by %+v", record.Deployment.Phase, record.Operation)
		}

		deletes := 0

		for _, e := range b.engine.started {
			if e.Operation == record.Operation.ID {
				deletes++
			}
		}

		if deletes != 1 {
			t.Errorf("%d deletes were started", deletes)
		}
	})
}

// TestExpiryThatGetsStuck: a deployment whose delete needs a person's attention is that person's. It is not deleted again each minute, and what was begun
// can be resumed.
func TestExpiryThatGetsStuck(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		expiry := &workflow.Expiry{Tenants: b.Store, Control: b.control}

		b.standing(t, func(h *deploy.Deployment, _ *deploy.Operation) {
			h.ExpireTime, h.Warned = time.Now().Add(time.Hour), 3
			h.CheckTime = h.ExpireTime
		})
		b.control.NewID() // what stands has the first
		time.Sleep(2 * time.Hour)

		if err := expiry.Run(t.Context()); err != nil {
			t.Fatal(err)
		}

		first := b.record(t).Operation
		if first.Kind != deploy.Delete {
			t.Fatalf("its time is over, and %s is at work", first.Kind)
		}

		in := workflow.Input{Verb: workflow.VerbBegin, Execution: b.engine.started[0]}
		if _, err := b.conductor.Run(t.Context(), in); err != nil {
			t.Fatal(err)
		}

		for _, r := range b.record(t).Resources {
			r.Remove.State = deploy.StepGone
			if r.Ref == "net" {
				r.Remove.State, r.Remove.Error = deploy.StepFailed, deploy.Errorf(deploy.Denied, "denied", "No.")
			}

			if err := b.Save(t.Context(), key(), &r); err != nil {
				t.Fatal(err)
			}
		}

		in.Verb = workflow.VerbClose
		if _, err := b.conductor.Run(t.Context(), in); err != nil {
			t.Fatal(err)
		}

		for range 3 {
			time.Sleep(time.Minute)

			if err := expiry.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
		}

		record := b.record(t)
		if record.Operation.ID != first.ID || record.Operation.State != deploy.NeedsAttention {
			t.Errorf("%s %s is at work after %s got stuck", record.Operation.Kind, record.Operation.ID, first.ID)
		}

		if due, err := b.Expiring(t.Context(), time.Now().Add(time.Hour), 10); err != nil || len(due) > 0 {
			t.Errorf("it is still listed as due, and would stand in the way of others: %v, %v", due, err)
		}
	})
}

// TestAnUpdateThatGoesBackTakesItsExpiryAlong: what an update set is undone with it, but for what somebody set in the meantime.
func TestAnUpdateThatGoesBackTakesItsExpiryAlong(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		reason   string
		had, ttl time.Duration
		extend   time.Duration
		want     time.Duration
	}{
		"None":     {"it had none, and would be deleted within the hour", 0, time.Hour, 0, 0},
		"Later":    {"it had another", 48 * time.Hour, time.Hour, 0, 48 * time.Hour},
		"Untold":   {"the update said nothing", 48 * time.Hour, 0, 0, 48 * time.Hour},
		"Extended": {"somebody extended it meanwhile, who must not be overruled", 48 * time.Hour, time.Hour, 100 * time.Hour, 100 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, began := newBench(t), time.Now()

				b.standing(t, func(h *deploy.Deployment, _ *deploy.Operation) {
					if c.had > 0 {
						h.ExpireTime, h.Warned = began.Add(c.had), 1
					}
				})

				admitted, err := b.control.Update(t.Context(), ada(), workflow.UpdateRequest{Name: "research", Spec: deploy.Spec{Tags: map[string]string{"a": "b"}}, TTL: c.ttl})
				if err != nil {
					t.Fatal(err)
				}

				if c.extend > 0 {
					if _, err := b.control.Extend(t.Context(), ada(), workflow.ExtendRequest{Name: "research", TTL: c.extend}); err != nil {
						t.Fatal(err)
					}
				}

				b.cancelled(t, admitted.Operation.ID)

				var got time.Duration

				header := b.record(t).Deployment
				if !header.ExpireTime.IsZero() {
					got = header.ExpireTime.Sub(began).Round(time.Second)
				}

				if got != c.want {
					t.Errorf("%s: it expires after %s, not %s", c.reason, got, c.want)
				}

				if c.want == c.had && c.had > 0 && header.Warned != 1 {
					t.Errorf("%s: %d warnings were given, not 1", c.reason, header.Warned)
				}
			})
		})
	}
}

// newQueue has the tenants' limits that the bench's Control has by now.
func (b *bench) newQueue() *workflow.Queue {
	return &workflow.Queue{
		Store: b.Store, Tenants: b.Store, Starter: b.engine, Place: b.control.Place, Clock: b.control.Clock, Limits: b.control.Limits, Log: b.control.Log,
	}
}

// cancelled asks to cancel an operation that was just admitted, and then lets it begin.
func (b *bench) cancelled(t *testing.T, operation string) {
	t.Helper()

	if _, err := b.control.Cancel(t.Context(), ada(), workflow.SteerRequest{Name: "research", Operation: operation}); err != nil {
		t.Fatal(err)
	}

	in := workflow.Input{Verb: workflow.VerbBegin, Execution: b.engine.started[len(b.engine.started)-1]}
	if _, err := b.conductor.Run(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}

// TestCancelOfWhatHasNotBegun: nothing was touched, so nothing is brought back.
func TestCancelOfWhatHasNotBegun(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.standing(t)
		b.control.NewID() // what stands has the first

		for _, r := range b.record(t).Resources {
			r.Operation, r.Ensure = operation, &deploy.Step{State: deploy.StepReady, Attempts: 2}
			if err := b.Save(t.Context(), key(), &r); err != nil {
				t.Fatal(err)
			}
		}

		admitted, err := b.control.Update(t.Context(), ada(), workflow.UpdateRequest{Name: "research", Spec: deploy.Spec{Tags: map[string]string{"a": "b"}}})
		if err != nil {
			t.Fatal(err)
		}

		b.cancelled(t, admitted.Operation.ID)

		record := b.record(t)
		for _, r := range record.Resources {
			if r.Ensure != nil || r.Remove != nil {
				t.Errorf("%s is worked on again: %+v %+v", r.Ref, r.Ensure, r.Remove)
			}
		}

		if len(record.Deployment.Spec.Tags) > 0 {
			t.Errorf("the spec stays: %v", record.Deployment.Spec.Tags)
		}
	})
}

// TestNobodyOvertakesTheQueue: what waits is first, also in the moment in which there is room again and nobody has started it yet.
func TestNobodyOvertakesTheQueue(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.control.Limits = deploy.Limits{Default: deploy.Usage{Operations: 1}}

		for _, name := range []string{"one", "two"} {
			if _, err := b.createNamed(t, ada(), name, deploy.Spec{}); err != nil {
				t.Fatal(err)
			}
		}

		b.end(t, deploy.Key{Tenant: "acme", Name: "one"})

		time.Sleep(time.Second)

		if _, err := b.createNamed(t, ada(), "three", deploy.Spec{}); err != nil {
			t.Fatal(err)
		}

		if n := len(b.engine.started); n != 1 {
			t.Errorf("%d were started: %+v", n, b.engine.started)
		}

		queue := b.newQueue()
		if err := queue.Advance(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}

		if last := b.engine.started[len(b.engine.started)-1]; last.Deployment != "two" {
			t.Errorf("%s came first", last.Deployment)
		}

		// A delete makes room, and waits for nobody.
		if _, err := b.control.Delete(t.Context(), ada(), workflow.DeleteRequest{Name: "one", Data: deploy.Purge}); err != nil || len(b.engine.started) != 3 {
			t.Errorf("a delete waits: %v, %+v", err, b.engine.started)
		}
	})
}

// TestTheQueueHasNoTimeForAll: where one call cannot reach every tenant, each comes first in its turn.
func TestTheQueueHasNoTimeForAll(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.control.Limits = deploy.Limits{Default: deploy.Usage{Operations: 2}}
		queue := b.newQueue()

		for _, tenant := range []string{"a", "b", "c"} {
			p := ada()
			p.Tenant = tenant

			for _, name := range []string{"first", "second", "third", "fourth"} {
				if _, err := b.createNamed(t, p, name, deploy.Spec{}); err != nil {
					t.Fatal(err)
				}
			}

			b.end(t, deploy.Key{Tenant: tenant, Name: "first"})
			b.end(t, deploy.Key{Tenant: tenant, Name: "second"})
		}

		before := len(b.engine.started)

		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			b.engine.told = cancel // the time is over with the first

			if err := queue.AdvanceAll(ctx); err != nil {
				t.Error(err)
			}

			time.Sleep(time.Minute)
		}

		tenants := map[string]bool{}
		for _, e := range b.engine.started[before:] {
			tenants[e.Tenant] = true
		}

		if len(tenants) != 3 {
			t.Errorf("in three minutes only %v came first", tenants)
		}
	})
}

// lagging lists a deployment as due whatever became of it, as an index does for a second.
type lagging struct{ store.Tenants }

func (lagging) Expiring(context.Context, time.Time, int) ([]deploy.Key, error) {
	return []deploy.Key{key()}, nil
}

func TestExpiryOnAListThatLags(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		if _, err := b.control.Create(t.Context(), ada(), workflow.CreateRequest{Name: "research", TTL: 96 * time.Hour}); err != nil {
			t.Fatal(err)
		}

		b.end(t, key())

		before := b.record(t)
		if err := (&workflow.Expiry{Tenants: lagging{b.Store}, Control: b.control}).Run(t.Context()); err != nil {
			t.Fatal(err)
		}

		if diff := cmp.Diff(before.Deployment, b.record(t).Deployment); diff != "" {
			t.Errorf("its time has not come, but (-before +after):\n%s", diff)
		}
	})
}
