package kind

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// settle is how long empty looks must go on before a create whose answer was lost is taken for never having happened. AWS's lists lag behind its
// creates by seconds, rarely by a minute (EC2, "Eventual consistency in the Amazon EC2 API").
const settle = 60 * time.Second

// memoCreating holds when a create was sent, until its object is removed again or AWS refused it.
const memoCreating = "creating"

// Once makes a thing that has neither a unique name nor a client token (VPC, subnet, gateway) exactly once: find looks for it by our tags, and only if
// it is surely absent is it created. That a create is about to be sent is recorded before; when its answer is lost, "absent" is believed after a minute
// of empty looks only.
//
// It returns the id, or an empty one and no error while it cannot tell yet (the caller answers "not ready").
func Once(ctx context.Context, c *Call, find, create func(ctx context.Context) (string, error)) (string, error) {
	return once(ctx, c, find, create, c.Unsure())
}

// Repeatable is Once for a create that AWS recognises when it is repeated, by client token or by a unique name: it need not wait before it repeats. The
// create is recorded all the same, because a removal must not believe an empty look too early either (Unsure).
func Repeatable(ctx context.Context, c *Call, find, create func(ctx context.Context) (string, error)) (string, error) {
	return once(ctx, c, find, create, false)
}

func once(ctx context.Context, c *Call, find, create func(ctx context.Context) (string, error), unsure bool) (string, error) {
	id, err := find(ctx)
	if err != nil || id != "" || unsure {
		return id, err
	}

	earlier, sent := c.Memo[memoCreating]

	c.Note(memoCreating, c.Now().UTC().Format(time.RFC3339Nano))

	if err := c.Save(ctx); err != nil {
		return "", err
	}

	id, err = create(ctx)
	if err != nil {
		// AWS's own refusal means that nothing was made; anything else may hide a success.
		if class := awserr.Classify(err).Class; class != deploy.Transient && class != deploy.Internal {
			c.Removed()

			// But an earlier attempt of which nobody knows the end may have made it.
			if sent {
				c.Note(memoCreating, earlier)
			}
		}

		return "", err
	}

	return id, nil
}

// Unsure tells that an empty look may be wrong, because a create was sent less than a minute ago and its object may not be visible yet. Remove answers
// "not gone yet" as long as it holds.
func (c *Call) Unsure() bool {
	sent, err := time.Parse(time.RFC3339Nano, c.Memo[memoCreating])

	return err == nil && c.Now().Sub(sent) < settle
}

// Tried tells that a create was sent and not refused: what stands there under our name may be ours.
func (c *Call) Tried() bool { return c.Memo[memoCreating] != "" }

// Removed ends Unsure: AWS accepted the removal of the object that the create made, so the next empty look is to be believed.
func (c *Call) Removed() { delete(c.Memo, memoCreating) }

// Note writes one line of the kind's notebook; it reaches the record with the outcome, or with the next Save.
func (c *Call) Note(key, value string) {
	if c.Memo == nil {
		c.Memo = map[string]string{}
	}

	c.Memo[key] = value
}

// Registry is the list of kinds.
type Registry []Kind

// Find returns a kind by name.
func (r Registry) Find(name string) (Kind, bool) {
	i := slices.IndexFunc(r, func(k Kind) bool { return k.About().Name == name })
	if i < 0 {
		return nil, false
	}

	return r[i], true
}

// Plan lists every resource that a spec asks for. It fails if a kind breaks its own declaration: a need that About does not name, or that nobody plans.
func (r Registry) Plan(spec deploy.Spec) ([]Item, error) {
	var items []Item

	for _, k := range r {
		items = append(items, k.Plan(spec)...)
	}

	for _, item := range items {
		k, ok := r.Find(item.Ref.Kind())
		if !ok {
			return nil, errors.New(string(item.Ref) + " is of no kind in the list")
		}

		for _, need := range item.Needs {
			if !slices.Contains(k.About().Needs, need.Kind()) {
				return nil, errors.New(string(item.Ref) + " needs " + string(need) + ", which its kind does not declare")
			}

			if !slices.ContainsFunc(items, func(o Item) bool { return o.Ref == need }) {
				return nil, errors.New(string(item.Ref) + " needs " + string(need) + ", which nothing plans")
			}
		}
	}

	return items, nil
}
