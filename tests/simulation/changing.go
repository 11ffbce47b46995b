package simulation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// Changing are the lives of deployments that change while they stand. Each ends ACTIVE, or deleted because its time was over.
func Changing() map[string]Life {
	begin := func(c *caller, spec deploy.Spec) step {
		return func(ctx context.Context) error {
			return c.steps(ctx, c.createAs(spec), c.becomes(deploy.PhaseActive), c.write)
		}
	}

	lives := map[string]Life{
		// In place: sizes, priority, order and tags; a second environment and queue come, and go again.
		"update": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, begin(c, small()), c.update(large()), c.becomes(deploy.PhaseActive), c.ends(deploy.Succeeded),
				c.update(small()), c.becomes(deploy.PhaseActive), c.ends(deploy.Succeeded), c.read)
		},
		// What cannot be changed in place: the new environment stands before the old one goes.
		"replace": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, begin(c, large()), c.update(unmanaged()), c.becomes(deploy.PhaseActive), c.ends(deploy.Succeeded), c.read)
		},
		"update-rollback": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, begin(c, small()), c.ban("batch", "CreateJobQueue"), c.update(large()), c.becomes(deploy.PhaseActive), c.ends(deploy.RolledBack),
				c.lift, c.read)
		},
		// Neither forward nor back: a queue can be neither changed nor disabled.
		"update-rollback-resume": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, begin(c, small()), c.ban("batch", "UpdateJobQueue"), c.update(large()), c.becomes(deploy.PhaseNeedsAttention),
				c.lift, c.resume, c.becomes(deploy.PhaseActive), c.ends(deploy.RolledBack), c.read)
		},
		"replace-rollback": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, begin(c, large()), c.ban("batch", "UpdateJobQueue"), c.update(unmanaged()), c.becomes(deploy.PhaseActive), c.ends(deploy.RolledBack),
				c.lift, c.read)
		},
		// An update succeeded and something that it left over resists.
		"update-resume": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, begin(c, large()), c.ban("batch", "DeleteComputeEnvironment"), c.update(small()), c.becomes(deploy.PhaseNeedsAttention),
				c.lift, c.resume, c.becomes(deploy.PhaseActive), c.ends(deploy.Succeeded), c.read)
		},
		"repair": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, begin(c, small()), c.lose("job-queue/default"), c.repair, c.becomes(deploy.PhaseActive), c.ends(deploy.Succeeded), c.read)
		},
		"repair-resume": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, begin(c, small()), c.lose("job-queue/default"), c.ban("batch", "CreateJobQueue"), c.repair, c.becomes(deploy.PhaseNeedsAttention),
				c.lift, c.resume, c.becomes(deploy.PhaseActive), c.ends(deploy.Succeeded), c.read)
		},
		// A repair that is stopped has mended nothing: what needed attention still does.
		"repair-cancel": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, begin(c, small()), c.lose("job-queue/default"), c.ban("batch", "CreateJobQueue"), c.repair, c.becomes(deploy.PhaseNeedsAttention),
				c.repair, c.wait(2*time.Second), c.cancel, c.is(deploy.PhaseNeedsAttention), c.lift, c.resume, c.becomes(deploy.PhaseActive), c.ends(deploy.Succeeded), c.read)
		},
		"verify": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, begin(c, small()), c.verify, c.becomes(deploy.PhaseActive), c.ends(deploy.Succeeded), c.read)
		},
		"verify-fails": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, begin(c, small()), c.fail("no way to the registry"), c.verify, c.becomes(deploy.PhaseActive), c.ends(deploy.RolledBack), c.read)
		},
		"create-verify": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, c.createVerified, c.becomes(deploy.PhaseActive), c.ends(deploy.Succeeded))
		},
		// The environment stands and is proven, and only the probe cannot be taken away again: whoever goes on with that must not lose the environment.
		"create-verify-resume": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, c.ban("batch", "DeregisterJobDefinition"), c.createVerified, c.becomes(deploy.PhaseNeedsAttention), c.lift, c.resume,
				c.becomes(deploy.PhaseActive), c.ends(deploy.Succeeded))
		},
		"create-verify-fails": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, c.fail("no way to the registry"), c.createVerified, c.becomes(deploy.PhaseFailed), c.nothing)
		},
		"expire": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, c.create, c.becomes(deploy.PhaseActive), c.write, c.extend(30*time.Hour), c.pass(31*time.Hour), c.becomes(deploy.PhaseDeleted),
				c.only("bucket"), c.read)
		},
		// Its time is over and its removal gets stuck: that is one delete, for a person to go on with, however long it stays so.
		"expire-resume": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, c.create, c.becomes(deploy.PhaseActive), c.write, c.extend(30*time.Hour), c.ban("ec2", "DeleteVpc"), c.pass(33*time.Hour),
				c.becomes(deploy.PhaseNeedsAttention), c.lift, c.takeUp(deploy.Delete), c.resume, c.becomes(deploy.PhaseDeleted), c.only("bucket"), c.read)
		},
	}

	for _, seconds := range []int{0, 2, 5} {
		moment := time.Duration(seconds) * time.Second

		lives[fmt.Sprintf("update-cancel-%d", seconds)] = func(ctx context.Context, c *caller) error {
			return c.steps(ctx, begin(c, small()), c.update(large()), c.wait(moment), c.cancel, c.stands(small(), large()), c.read)
		}
		lives[fmt.Sprintf("update-supersede-%d", seconds)] = func(ctx context.Context, c *caller) error {
			return c.steps(ctx, begin(c, large()), c.update(unmanaged()), c.wait(moment), c.delete(deploy.Purge), c.becomes(deploy.PhaseDeleted))
		}
	}

	return lives
}

// The specs that lives change between.
func small() deploy.Spec {
	return deploy.Spec{
		Compute: deploy.Compute{
			Environments: []deploy.Environment{{Name: "default", MaxVcpus: 32}},
			Queues:       []deploy.Queue{{Name: "default", Environments: []string{"default"}}},
		},
		Tags: map[string]string{"team": "ml"},
	}.WithDefaults()
}

func large() deploy.Spec {
	return deploy.Spec{
		Compute: deploy.Compute{
			Environments: []deploy.Environment{{Name: "default", MaxVcpus: 128}, {Name: "more", DiskGiB: 200}},
			Queues:       []deploy.Queue{{Name: "default", Priority: 5, Environments: []string{"default", "more"}}, {Name: "second", Environments: []string{"more"}}},
		},
		Tags: map[string]string{"team": "platform"},
	}.WithDefaults()
}

func unmanaged() deploy.Spec {
	s := large()
	s.Compute.Environments[1] = deploy.Environment{Name: "more", Type: deploy.Unmanaged}
	s.Compute.Queues = []deploy.Queue{s.Compute.Queues[0]}

	return s
}

func (c *caller) createAs(spec deploy.Spec) step {
	return func(ctx context.Context) error {
		admitted, err := c.repeat(ctx, func(ctx context.Context) (workflow.Admitted, error) {
			return c.w.Control.Create(ctx, c.who(), workflow.CreateRequest{
				Name: c.key().Name, Spec: spec, Claim: &store.Claim{Tenant: "acme", Key: "create-as", Fingerprint: "the same"},
			})
		})
		c.operation = admitted.Operation.ID

		return err
	}
}

func (c *caller) update(spec deploy.Spec) step {
	return c.change("update", func(ctx context.Context, req workflow.UpdateRequest) (workflow.Admitted, error) {
		req.Spec = spec

		return c.w.Control.Update(ctx, c.who(), req)
	})
}

func (c *caller) repair(ctx context.Context) error {
	return c.change("repair", func(ctx context.Context, req workflow.UpdateRequest) (workflow.Admitted, error) {
		return c.w.Control.Repair(ctx, c.who(), req)
	})(ctx)
}

func (c *caller) verify(ctx context.Context) error {
	return c.change("verify", func(ctx context.Context, req workflow.UpdateRequest) (workflow.Admitted, error) {
		return c.w.Control.Verify(ctx, c.who(), req)
	})(ctx)
}

func (c *caller) createVerified(ctx context.Context) error {
	admitted, err := c.repeat(ctx, func(ctx context.Context) (workflow.Admitted, error) {
		return c.w.Control.Create(ctx, c.who(), workflow.CreateRequest{
			Name: c.key().Name, Spec: small(), Verify: true, Claim: &store.Claim{Tenant: "acme", Key: "create-verified", Fingerprint: "the same"},
		})
	})
	c.operation = admitted.Operation.ID

	return err
}

// fail lets every job fail from now on.
func (c *caller) fail(why string) step {
	return func(context.Context) error {
		c.w.AWS.Batch.JobFails = func(string) string { return why }

		return nil
	}
}

// change asks with an idempotency key: whoever repeats it because an answer was lost gets the same operation.
func (c *caller) change(verb string, ask func(context.Context, workflow.UpdateRequest) (workflow.Admitted, error)) step {
	return func(ctx context.Context) error {
		c.changes++
		claim := &store.Claim{Tenant: "acme", Key: fmt.Sprintf("%s-%d", verb, c.changes), Fingerprint: "the same"}

		admitted, err := c.repeat(ctx, func(ctx context.Context) (workflow.Admitted, error) {
			return ask(ctx, workflow.UpdateRequest{Name: c.key().Name, Claim: claim})
		})
		if err != nil {
			if c.excused {
				return errElsewhere
			}

			return fmt.Errorf("%s: %w", verb, err)
		}

		c.operation = admitted.Operation.ID

		return nil
	}
}

func (c *caller) extend(ttl time.Duration) step {
	return func(ctx context.Context) error {
		_, err := c.repeat(ctx, func(ctx context.Context) (workflow.Admitted, error) {
			_, err := c.w.Control.Extend(ctx, c.who(), workflow.ExtendRequest{Name: c.key().Name, TTL: ttl})

			return workflow.Admitted{}, err
		})

		return err
	}
}

// takeUp makes the only operation of a kind that there has been the caller's own.
func (c *caller) takeUp(kind deploy.OperationKind) step {
	return func(ctx context.Context) error {
		all, err := c.w.Store.Operations(ctx, c.key(), 100, "")
		if err != nil {
			return err
		}

		all = slices.DeleteFunc(all, func(op deploy.Operation) bool { return op.Kind != kind })
		if len(all) != 1 {
			return fmt.Errorf("%d operations were a %s, not one", len(all), kind)
		}

		c.operation = all[0].ID

		return nil
	}
}

// is lets the operation end and looks at the phase alone: how far it got before it was cancelled depends on the moment.
func (c *caller) is(phase deploy.Phase) step {
	return func(ctx context.Context) error {
		header, err := c.w.Settle(ctx, c.key())
		if err != nil || header.Phase == phase {
			return err
		}

		if c.excused {
			return errElsewhere
		}

		return fmt.Errorf("is %s, not %s", header.Phase, phase)
	}
}

// stands lets the operation end, and holds what stands then against the spec that must have come of it: the one before for an update that was rolled back,
// the new one for an update that was done before the cancel came. How far an update got before it turned leaves harmless traces, so only the settings are
// compared, not every trace as becomes does.
func (c *caller) stands(before, after deploy.Spec) step {
	return func(ctx context.Context) error {
		header, err := c.w.Settle(ctx, c.key())
		if err != nil {
			return err
		}

		if header.Phase != deploy.PhaseActive {
			if c.excused {
				return errElsewhere
			}

			return fmt.Errorf("became %s", header.Phase)
		}

		record, err := c.w.Store.Load(ctx, c.key())
		if err != nil {
			return err
		}

		want := before
		if record.Operation.State == deploy.Succeeded {
			want = after
		}

		if got := deploy.Hash(header.Spec); got != deploy.Hash(want) {
			return fmt.Errorf("%s, but the spec is %+v", record.Operation.State, header.Spec)
		}

		if twice := c.w.doubled(); len(twice) > 0 && !c.excused {
			return fmt.Errorf("made twice: %v", twice)
		}

		drift, err := c.w.Control.Drift(ctx, c.who(), c.key().Name)
		if err != nil || drift.Drifted() && !c.excused {
			return fmt.Errorf("what stands is not what the spec says: %+v, %w", drift, err)
		}

		return nil
	}
}

// pass lets time go by with the schedule running.
func (c *caller) pass(d time.Duration) step {
	return func(ctx context.Context) error {
		for range d / (10 * time.Minute) {
			time.Sleep(10 * time.Minute)

			_ = c.w.Call(ctx, "watchdog", c.w.Watch) // the next one looks again
		}

		return nil
	}
}

// ends holds the state of the last operation against the one that it must have.
func (c *caller) ends(state deploy.OperationState) step {
	return func(ctx context.Context) error {
		record, err := c.w.Store.Load(ctx, c.key())
		if err != nil {
			return err
		}

		if op := record.Operation; op.State != state && !c.excused {
			return fmt.Errorf("%s ended %s, not %s", op.Kind, op.State, state)
		}

		return nil
	}
}

// lose takes a resource away by hand.
func (c *caller) lose(ref string) step {
	return func(context.Context) error {
		for id, tags := range c.w.AWS.Inventory() {
			if ours(tags) && tags[deploy.TagResource] == ref && strings.HasPrefix(id, "batch ") {
				c.w.AWS.Vanish(id)

				return nil
			}
		}

		return errors.New("there is no " + ref + " to take away")
	}
}
