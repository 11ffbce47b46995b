package contract_test

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/kindtest"
)

// broken is a sound kind with one verb spoilt.
type broken struct {
	kind.Kind
	ensure, remove func(ctx context.Context, c *kind.Call) (kind.Result, error)
	observe        func(ctx context.Context, c *kind.Call) (kind.Observation, error)
}

func (b *broken) Ensure(ctx context.Context, c *kind.Call) (kind.Result, error) {
	if b.ensure != nil {
		return b.ensure(ctx, c)
	}

	return b.Kind.Ensure(ctx, c)
}

func (b *broken) Remove(ctx context.Context, c *kind.Call) (kind.Result, error) {
	if b.remove != nil {
		return b.remove(ctx, c)
	}

	return b.Kind.Remove(ctx, c)
}

func (b *broken) Observe(ctx context.Context, c *kind.Call) (kind.Observation, error) {
	if b.observe != nil {
		return b.observe(ctx, c)
	}

	return b.Kind.Observe(ctx, c)
}

// TestContractAssertsWork is contract_check_asserts_work: every case fails for a kind that breaks what it asks for, and passes for the kind as it is.
func TestContractAssertsWork(t *testing.T) {
	exists := deploy.Errorf(deploy.Conflict, "exists", "It exists.")
	update := updates()["bucket"]

	// another makes a second bucket with the same tags.
	another := func(ctx context.Context, b *kindtest.Bench, name string) {
		tags := []types.Tag{}
		for k, v := range b.Tags() {
			tags = append(tags, types.Tag{Key: aws.String(k), Value: aws.String(v)})
		}

		_, _ = b.World.S3.CreateBucket(ctx, &s3.CreateBucketInput{
			Bucket: aws.String(name), CreateBucketConfiguration: &types.CreateBucketConfiguration{Tags: tags},
		})
	}

	cases := map[string]struct {
		reason string
		spoil  func(k *broken, b *kindtest.Bench)
	}{
		"contract_create_delete": {"it says that it is gone, and it is not", func(k *broken, _ *kindtest.Bench) {
			k.remove = func(context.Context, *kind.Call) (kind.Result, error) { return kind.Result{Done: true}, nil }
		}},
		"contract_create_create": {"a create that remembers nothing makes another", func(k *broken, b *kindtest.Bench) {
			k.ensure = func(ctx context.Context, c *kind.Call) (kind.Result, error) {
				r, err := k.Kind.Ensure(ctx, c)
				if c.Operation != "operation-1" {
					another(ctx, b, "second-"+c.Owner.Slug())
				}

				return r, err
			}
		}},
		"contract_create_read": {"a read answers otherwise than the create", func(k *broken, _ *kindtest.Bench) {
			k.observe = func(ctx context.Context, c *kind.Call) (kind.Observation, error) {
				obs, err := k.Kind.Observe(ctx, c)
				obs.Outputs = maps.Clone(obs.Outputs)
				obs.Outputs["name"] = "other"

				return obs, err
			}
		}},
		"contract_create_list": {"a create makes two", func(k *broken, b *kindtest.Bench) {
			k.ensure = func(ctx context.Context, c *kind.Call) (kind.Result, error) {
				another(ctx, b, "twin-"+c.Owner.Slug())

				return k.Kind.Ensure(ctx, c)
			}
		}},
		"contract_create_taggable": {"the owner's tags are dropped", func(k *broken, _ *kindtest.Bench) {
			k.ensure = func(ctx context.Context, c *kind.Call) (kind.Result, error) { return k.Kind.Ensure(ctx, without(c)) }
		}},
		"contract_update_read": {"an update changes nothing", func(k *broken, _ *kindtest.Bench) {
			k.ensure = func(ctx context.Context, c *kind.Call) (kind.Result, error) { return k.Kind.Ensure(ctx, old(c)) }
		}},
		"contract_update_list": {"an update makes another", func(k *broken, b *kindtest.Bench) {
			k.ensure = func(ctx context.Context, c *kind.Call) (kind.Result, error) {
				if c.Spec.Storage.OldVersionsDays != 30 {
					another(ctx, b, "new-"+c.Owner.Slug())
				}

				return k.Kind.Ensure(ctx, c)
			}
		}},
		"contract_update_tag_updatable": {"tags are written once only", func(k *broken, _ *kindtest.Bench) {
			k.ensure = func(ctx context.Context, c *kind.Call) (kind.Result, error) {
				if c.Owner.Tags["team"] == "platform" {
					return k.Kind.Ensure(ctx, without(c))
				}

				return k.Kind.Ensure(ctx, c)
			}
		}},
		"contract_update_without_create": {"it wants to have been made before", func(k *broken, _ *kindtest.Bench) {
			k.ensure = func(ctx context.Context, c *kind.Call) (kind.Result, error) {
				if c.ID == "" && c.Spec.Storage.OldVersionsDays != 30 {
					return kind.Result{}, deploy.Errorf(deploy.Gone, "gone", "It is not there.")
				}

				return k.Kind.Ensure(ctx, c)
			}
		}},
		"contract_delete_read": {"a read still finds it", func(k *broken, _ *kindtest.Bench) {
			k.observe = func(_ context.Context, c *kind.Call) (kind.Observation, error) {
				return kind.Observation{State: kind.Ready, ID: c.ID, ARN: c.ARN, Outputs: c.Outputs}, nil
			}
		}},
		"contract_delete_list": {"it is hidden, and not removed", func(k *broken, _ *kindtest.Bench) {
			hidden := false
			k.remove = func(context.Context, *kind.Call) (kind.Result, error) {
				hidden = true

				return kind.Result{Done: true}, nil
			}
			k.observe = func(ctx context.Context, c *kind.Call) (kind.Observation, error) {
				if hidden {
					return kind.Observation{State: kind.Absent}, nil
				}

				return k.Kind.Observe(ctx, c)
			}
		}},
		"contract_delete_update": {"it cannot come back", func(k *broken, _ *kindtest.Bench) { onceOnly(k, exists) }},
		"contract_delete_create": {"its name is not free again", func(k *broken, _ *kindtest.Bench) { onceOnly(k, exists) }},
		"contract_delete_delete": {"what is gone cannot be removed", func(k *broken, _ *kindtest.Bench) {
			gone := false
			k.remove = func(ctx context.Context, c *kind.Call) (kind.Result, error) {
				if gone {
					return kind.Result{}, deploy.Errorf(deploy.Gone, "gone", "It is not there.")
				}

				r, err := k.Kind.Remove(ctx, c)
				gone = r.Done

				return r, err
			}
		}},
	}

	for _, name := range kindtest.ContractCases() {
		c, ok := cases[name]
		if !ok {
			t.Errorf("nobody knows whether %s can fail", name)

			continue
		}

		t.Run(name, func(t *testing.T) {
			sound := kindtest.Contract{Update: update, Build: func(t *testing.T) *kindtest.Bench { t.Helper(); return build(t, "bucket") }}
			if err := sound.Try(t, name); err != nil {
				t.Fatalf("the kind as it is: %v", err)
			}

			spoilt := sound
			spoilt.Build = func(t *testing.T) *kindtest.Bench {
				t.Helper()

				b := build(t, "bucket")
				k := &broken{Kind: b.Kind}
				c.spoil(k, b)
				b.Kind = k

				return b
			}

			err := spoilt.Try(t, name)
			if err == nil {
				t.Fatalf("%s, and nobody noticed", c.reason)
			}

			t.Log(err)
		})
	}
}

// TestContractHoldsEveryAnswer: what is asked for in every case.
func TestContractHoldsEveryAnswer(t *testing.T) {
	cases := map[string]struct {
		reason string
		ensure func(k *broken, b *kindtest.Bench) func(ctx context.Context, c *kind.Call) (kind.Result, error)
	}{
		"Silent": {"what is not done must say what it waits for", func(k *broken, _ *kindtest.Bench) func(context.Context, *kind.Call) (kind.Result, error) {
			return func(ctx context.Context, c *kind.Call) (kind.Result, error) {
				r, err := k.Kind.Ensure(ctx, c)
				r.Waiting = ""

				return r, err
			}
		}},
		"Restless": {"an id must not change on the way", func(_ *broken, b *kindtest.Bench) func(context.Context, *kind.Call) (kind.Result, error) {
			return func(context.Context, *kind.Call) (kind.Result, error) {
				return kind.Result{ID: b.Clock.Now().Format(time.RFC3339), Waiting: "CREATING"}, nil
			}
		}},
		"Endless": {"done must come within the deadline", func(*broken, *kindtest.Bench) func(context.Context, *kind.Call) (kind.Result, error) {
			return func(context.Context, *kind.Call) (kind.Result, error) { return kind.Result{Waiting: "CREATING"}, nil }
		}},
		"Hasty": {"done must not come before a read sees it", func(*broken, *kindtest.Bench) func(context.Context, *kind.Call) (kind.Result, error) {
			return func(context.Context, *kind.Call) (kind.Result, error) {
				return kind.Result{Done: true, ID: "i", ARN: "a"}, nil
			}
		}},
		"Nameless": {"what is ready has an id", func(k *broken, _ *kindtest.Bench) func(context.Context, *kind.Call) (kind.Result, error) {
			return func(ctx context.Context, c *kind.Call) (kind.Result, error) {
				r, err := k.Kind.Ensure(ctx, c)
				r.ID = ""

				return r, err
			}
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			spoilt := kindtest.Contract{Build: func(t *testing.T) *kindtest.Bench {
				t.Helper()

				b := build(t, "bucket")
				k := &broken{Kind: b.Kind}
				k.ensure = c.ensure(k, b)
				b.Kind = k

				return b
			}}

			err := spoilt.Try(t, "contract_create_read")
			if err == nil {
				t.Fatalf("%s, and nobody noticed", c.reason)
			}

			t.Log(err)
		})
	}
}

// onceOnly lets a kind make nothing after a removal.
func onceOnly(k *broken, err error) {
	gone := false
	k.remove = func(ctx context.Context, c *kind.Call) (kind.Result, error) {
		r, err := k.Kind.Remove(ctx, c)
		gone = r.Done

		return r, err
	}
	k.ensure = func(ctx context.Context, c *kind.Call) (kind.Result, error) {
		if gone {
			return kind.Result{}, err
		}

		return k.Kind.Ensure(ctx, c)
	}
}

// without is the call without the owner's tags, sharing its notebook.
func without(c *kind.Call) *kind.Call {
	bare := *c
	bare.Owner.Tags = nil

	return &bare
}

// old is the call with the spec that the resource was made from.
func old(c *kind.Call) *kind.Call {
	was := *c
	was.Spec.Storage.OldVersionsDays = 30

	return &was
}
