package kindtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// Contract is one resource seen through CloudFormation's provider contract: the cases of github.com/aws-cloudformation/cloudformation-cli, suite/resource, in
// the words of kind.Kind. Create and update are both Ensure (an update is Ensure with another spec), delete is Remove, read is Observe, and list is whatever
// carries the resource's tags in the account, and kind.Lister where the kind has it. Where that contract asks for an error, ours asks for idempotence, because after a crash nobody knows what went
// before:
//
//	create of what exists       AlreadyExists   finds it, changes nothing
//	update of what is absent    NotFound        makes it, once
//	delete of what is absent    NotFound        done at the first look, changes nothing
//
// Besides, in every case: what is not done says what it waits for; an id never changes on the way; done comes within the kind's deadline, and not before a
// read sees the wish fulfilled; a removal hands back no outputs.
type Contract struct {
	// Build makes a new world with what the resource needs, and the bench.
	Build func(t *testing.T) *Bench
	// Update changes something in the spec that can be changed in place.
	Update func(*deploy.Spec)
	// Except says for cases that cannot apply to this kind why not.
	Except map[string]string
}

// contractCase is one case. It begins with a bench on which nothing was done.
type contractCase func(ctx context.Context, b *Bench, update func(*deploy.Spec)) error

func contractCases() map[string]contractCase {
	return map[string]contractCase{
		"contract_create_delete": func(ctx context.Context, b *Bench, _ func(*deploy.Spec)) error {
			return inTurn(ctx, b, created, removed)
		},
		"contract_create_create": func(ctx context.Context, b *Bench, _ func(*deploy.Spec)) error {
			if err := created(ctx, b); err != nil {
				return err
			}

			return twice(ctx, b, created)
		},
		"contract_create_read": func(ctx context.Context, b *Bench, _ func(*deploy.Spec)) error {
			return inTurn(ctx, b, created, readable)
		},
		"contract_create_list": func(ctx context.Context, b *Bench, _ func(*deploy.Spec)) error {
			return inTurn(ctx, b, created, listed(1))
		},
		"contract_create_taggable": func(ctx context.Context, b *Bench, _ func(*deploy.Spec)) error {
			tag(b, "team", "ml")

			return inTurn(ctx, b, created, tagged)
		},
		"contract_update_read": func(ctx context.Context, b *Bench, update func(*deploy.Spec)) error {
			return inTurn(ctx, b, created, changed(update), readable)
		},
		"contract_update_list": func(ctx context.Context, b *Bench, update func(*deploy.Spec)) error {
			return inTurn(ctx, b, created, changed(update), listed(1))
		},
		"contract_update_tag_updatable": func(ctx context.Context, b *Bench, _ func(*deploy.Spec)) error {
			tag(b, "team", "ml")

			if err := created(ctx, b); err != nil {
				return err
			}

			tag(b, "team", "platform")

			return inTurn(ctx, b, created, tagged)
		},
		"contract_update_without_create": func(ctx context.Context, b *Bench, update func(*deploy.Spec)) error {
			return inTurn(ctx, b, absent, changed(update), readable, listed(1))
		},
		"contract_delete_read": func(ctx context.Context, b *Bench, _ func(*deploy.Spec)) error {
			return inTurn(ctx, b, created, removed, absent)
		},
		"contract_delete_list": func(ctx context.Context, b *Bench, _ func(*deploy.Spec)) error {
			return inTurn(ctx, b, created, removed, listed(0))
		},
		"contract_delete_update": func(ctx context.Context, b *Bench, update func(*deploy.Spec)) error {
			if err := inTurn(ctx, b, created, removed); err != nil {
				return err
			}

			b.ID, b.ARN, b.Outputs = "", "", nil // Begin of the next operation drops what is gone

			return inTurn(ctx, b, changed(update), readable, listed(1))
		},
		"contract_delete_delete": func(ctx context.Context, b *Bench, _ func(*deploy.Spec)) error {
			if err := inTurn(ctx, b, created, removed); err != nil {
				return err
			}

			return twice(ctx, b, func(ctx context.Context, b *Bench) error {
				if r, err := b.Look(ctx, deploy.Remove); err != nil || !r.Done {
					return fmt.Errorf("a second removal answered %+v, %w", r, orNone(err))
				}

				return nil
			})
		},
		"contract_delete_create": func(ctx context.Context, b *Bench, _ func(*deploy.Spec)) error {
			if err := inTurn(ctx, b, created, removed); err != nil {
				return err
			}

			b.NextOperation()

			return inTurn(ctx, b, created, readable, listed(1))
		},
	}
}

// ContractCases names the cases in the order of their names.
func ContractCases() []string { return slices.Sorted(maps.Keys(contractCases())) }

// Try tries one case and says how the kind breaks it.
func (c Contract) Try(t *testing.T, name string) error {
	t.Helper()

	b := c.Build(t)
	b.Data = deploy.Purge

	if err := contractCases()[name](t.Context(), b, c.Update); err != nil {
		return fmt.Errorf("%s of %s: %w", name, b.Ref, err)
	}

	return nil
}

// Run tries every case that applies, and counts how many did.
func (c Contract) Run(t *testing.T) (tried int) {
	t.Helper()

	for name := range c.Except {
		if contractCases()[name] == nil {
			t.Errorf("%s is no case", name)
		}
	}

	for _, name := range ContractCases() {
		if reason, out := c.Except[name]; out {
			if reason == "" {
				t.Errorf("%s is left out without a reason", name)
			}

			continue
		}

		tried++

		t.Run(name, func(t *testing.T) {
			if err := c.Try(t, name); err != nil {
				t.Error(err)
			}
		})
	}

	return tried
}

type contractStep func(ctx context.Context, b *Bench) error

func inTurn(ctx context.Context, b *Bench, steps ...contractStep) error {
	for _, step := range steps {
		if err := step(ctx, b); err != nil {
			return err
		}
	}

	return nil
}

// twice does again what was done, first with what the process remembers and then without, and lets it change nothing.
func twice(ctx context.Context, b *Bench, again contractStep) error {
	mark, id := len(b.World.Calls()), b.ID

	for _, forget := range []bool{false, true} {
		if forget {
			b.NextOperation()
		}

		if err := again(ctx, b); err != nil {
			return err
		}

		if changes := b.Changes(mark); len(changes) > 0 {
			return fmt.Errorf("a repetition changed something: %v", changes)
		}

		if b.ID != "" && b.ID != id {
			return fmt.Errorf("a repetition found %s, not %s", b.ID, id)
		}
	}

	return nil
}

// until looks each second, and holds every answer against the contract.
func until(ctx context.Context, b *Bench, action deploy.Action) (kind.Result, error) {
	limit := b.Kind.About().Ensuring.Deadline
	if action == deploy.Remove {
		limit = b.Kind.About().Removing.Deadline
	}

	id := b.ID

	for began := b.Clock.Now(); b.Clock.Now().Sub(began) <= limit; b.Clock.Advance(time.Second) {
		r, err := b.Look(ctx, action)

		switch {
		case err != nil && !awserr.Classify(err).Class.Retryable():
			return r, err
		case err == nil && !r.Done && r.Waiting == "":
			return r, errors.New("it is not done and does not say what it waits for")
		case id != "" && r.ID != "" && r.ID != id:
			return r, fmt.Errorf("its id turned from %s into %s", id, r.ID)
		case err == nil && r.Done:
			return r, nil
		}

		if r.ID != "" {
			id = r.ID
		}
	}

	return kind.Result{}, fmt.Errorf("not done within its own deadline of %s", limit)
}

func created(ctx context.Context, b *Bench) error {
	r, err := until(ctx, b, deploy.Ensure)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}

	if r.ID == "" || r.ARN == "" {
		return fmt.Errorf("ready without an id or ARN: %+v", r)
	}

	obs, err := b.Kind.Observe(ctx, b.Call)
	if err != nil || obs.State != kind.Ready {
		return fmt.Errorf("ready, but a read says %q, %w", obs.State, orNone(err))
	}

	return nil
}

func removed(ctx context.Context, b *Bench) error {
	r, err := until(ctx, b, deploy.Remove)
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}

	if r.Outputs != nil || r.Kept {
		return fmt.Errorf("a purge hands back %+v", r)
	}

	obs, err := b.Kind.Observe(ctx, b.Call)
	if err != nil || obs.State != kind.Absent {
		return fmt.Errorf("gone, but a read says %q, %w", obs.State, orNone(err))
	}

	return nil
}

// readable: a process that knows nothing reads what the create answered, and finds it as wanted.
func readable(ctx context.Context, b *Bench) error {
	want := kind.Observation{State: kind.Ready, ID: b.ID, ARN: b.ARN, Outputs: b.Outputs}

	fresh := *b.Call
	fresh.ID, fresh.ARN, fresh.Outputs, fresh.Memo = "", "", nil, nil

	got, err := b.Kind.Observe(ctx, &fresh)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}

	want.NotChecked = got.NotChecked

	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		return fmt.Errorf("a read differs from the answer (-answer +read):\n%s", diff)
	}

	return nil
}

func absent(ctx context.Context, b *Bench) error {
	obs, err := b.Kind.Observe(ctx, b.Call)
	if err != nil || obs.State != kind.Absent || obs.ID != "" {
		return fmt.Errorf("a read of what is not there says %+v, %w", obs, orNone(err))
	}

	return nil
}

// mine lists the tags of everything in the account that carries the resource's own.
func mine(b *Bench) map[string]map[string]string {
	all := b.World.Inventory()
	maps.DeleteFunc(all, func(_ string, tags map[string]string) bool { return !b.Owns(tags) })

	return all
}

func listed(want int) contractStep {
	return func(ctx context.Context, b *Bench) error {
		if got := mine(b); len(got) != want {
			return fmt.Errorf("%d things carry its tags, want %d: %v", len(got), want, slices.Sorted(maps.Keys(got)))
		}

		lister, ok := b.Kind.(kind.Lister)
		if !ok {
			return nil
		}

		found, err := lister.List(ctx, deploy.Owner{Installation: b.Owner.Installation, Partition: b.Owner.Partition, Account: b.Owner.Account, Region: b.Owner.Region})
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}

		found = slices.DeleteFunc(found, func(f kind.Found) bool { return !b.Owns(f.Tags) })
		if len(found) != want || want == 1 && (found[0].ID != b.ID || found[0].ARN != b.ARN) {
			return fmt.Errorf("a list shows %+v, want %d of %s, %s", found, want, b.ID, b.ARN)
		}

		return nil
	}
}

// tagged: everything of it carries all tags, the owner's and ours.
func tagged(ctx context.Context, b *Bench) error {
	for id, tags := range mine(b) {
		for k, v := range b.Tags() {
			if tags[k] != v {
				return fmt.Errorf("%s has %s=%q, want %q", id, k, tags[k], v)
			}
		}
	}

	return listed(1)(ctx, b)
}

func tag(b *Bench, k, v string) {
	b.Owner.Tags = map[string]string{k: v}
	b.Spec.Tags = b.Owner.Tags
}

// changed ensures another spec, as another operation does: the thing stays the same one.
func changed(update func(*deploy.Spec)) contractStep {
	return func(ctx context.Context, b *Bench) error {
		before, id := b.Spec, b.ID
		// The environments and queues of the old spec must not change with the new one.
		b.Spec.Compute.Environments, b.Spec.Compute.Queues = slices.Clone(b.Spec.Compute.Environments), slices.Clone(b.Spec.Compute.Queues)
		update(&b.Spec)
		b.Owner.Tags = b.Spec.Tags
		b.Operation += "+"

		if cmp.Equal(before, b.Spec) {
			return errors.New("the update changes nothing")
		}

		if err := b.plan(); err != nil {
			return err
		}

		if err := created(ctx, b); err != nil {
			return fmt.Errorf("update: %w", err)
		}

		if id != "" && b.ID != id {
			return fmt.Errorf("an update in place made %s of %s", b.ID, id)
		}

		return nil
	}
}

// plan takes the item from the spec again.
func (b *Bench) plan() error {
	for _, item := range b.Kind.Plan(b.Spec) {
		if item.Ref == b.Ref {
			b.Item = item

			return nil
		}
	}

	return fmt.Errorf("the spec plans no %s any more", b.Ref)
}

// orNone makes a missing error readable in a message.
func orNone(err error) error {
	if err == nil {
		return errors.New("without an error")
	}

	return err
}
