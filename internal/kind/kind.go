// Package kind is the contract that every resource kind fulfils, and the tools that kinds share to fulfil it.
//
// A kind knows one sort of AWS object: how to make it ready (Ensure), how to take it away (Remove) and how to look at it (Observe). It works from the
// owner and the resource's name alone, because after a crash nothing else is known. It must not know other kinds, the store, the workflow, HTTP or
// Lambda: what it needs of other resources arrives in the Call, and what it wants remembered it hands back.
package kind

import (
	"context"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// Kind is one sort of AWS object. A new kind is one package that fulfils this and one line in kind/all.
//
// Ensure, Remove and Observe are idempotent, may be called any number of times by any process, do not sleep and do not wait for other resources: the
// caller looks again (each second for some seconds, then by a retry of the state machine). They return AWS's own errors wrapped (awserr classifies
// them) or a *deploy.Error where the kind knows better, above all class Conflict for a thing of our name that is not ours.
type Kind interface {
	About() About
	// Plan lists the resources of this kind that a spec (defaults filled in, valid) asks for, in a stable order. It is pure.
	Plan(spec deploy.Spec) []Item
	// Ensure looks, compares with what is wanted, does the next thing towards it, and says whether the object can be used now. Within one look it may
	// believe what AWS answers: a create shows the new object, and a change that AWS has acknowledged is made. It must not believe what is no answer to
	// this very look: a refusal that means only that AWS does not see the object or the change yet, or the answer that a client token repeats.
	Ensure(ctx context.Context, c *Call) (Result, error)
	// Remove looks and does the next thing towards gone. Never having existed is gone. It removes only what carries this owner's tags.
	Remove(ctx context.Context, c *Call) (Result, error)
	// Observe only looks, and makes no changing call. For an existing resource (Call.Existing) it looks up what the owner named and reports in Problems
	// whatever makes it unusable.
	Observe(ctx context.Context, c *Call) (Observation, error)
}

// Checker is a kind that can tell before anything is made that making it would fail: a quota without room, a zone or an instance type that the
// Region does not have, an existing thing that is absent or not usable. Check makes no changing call. It runs inside the POST, so it is quick.
// Findings point into the request body (/spec/...).
type Checker interface {
	Check(ctx context.Context, c *Call) ([]deploy.Finding, error)
}

// About is what the rest of the product must know of a kind without asking AWS.
type About struct {
	// Name in AWS's own words, in kebab case: "vpc", "compute-environment". Doc is one sentence for people.
	Name string
	Doc  string
	// Family is the worker function that may act on it: the AWS service ("s3", "ec2", "iam", "batch").
	Family string
	// Component is the member of the spec that its settings come from ("storage"); Settings is that member's Go type, for the schema.
	Component string
	Settings  any
	// Many: a deployment may have several (Ref "kind/id"); the state machine then runs a Map over them.
	Many bool
	// Needs names the kinds that must be ready first. Item.Needs may only name resources of these kinds.
	Needs []string
	// RemoveAfter names further kinds that must be gone before this one is removed, beyond those that need it.
	RemoveAfter []string
	// HoldsData: people put things in. Only their owner's delete removes it, never the sweeper.
	HoldsData bool
	// Shared things belong to the account: they are never removed.
	Shared bool
	// Replaceable: where a setting cannot be changed in place, an update makes a second thing beside the first, under a name of its own, and removes the
	// first once nothing uses it. Such a kind is Many, and its Remove takes Item.Past for the thing of that generation alone.
	Replaceable bool
	// ForLife: an update never swaps what the owner named as existing for another, because data or other resources would stay behind.
	ForLife bool
	// Versioned: a change in place gives what needs it a new version to use.
	Versioned bool
	// Passing things are asked for by an operation (deploy.Operation.Probe), not by a spec, and are removed before it ends.
	Passing bool
	// Ensuring and Removing say how long the verbs usually take and how long they may take.
	Ensuring, Removing Timing
}

// Timing is how long a verb takes until its object is ready or gone.
type Timing struct {
	// Typical orders the chains and sets the first poll. It is a figure from the field, not a promise.
	Typical time.Duration
	// Deadline counts from the resource's own first act (for a purge from its last progress); past it the step fails.
	Deadline time.Duration
}

// Item is one resource that a spec asks for.
type Item struct {
	Ref   deploy.Ref
	Needs []deploy.Ref
	// Existing is the id, name or ARN that the owner named; empty for what we make.
	Existing string
	// Pointer is where in the request the resource comes from: "/spec/compute/environments/0".
	Pointer string
	// Fixed holds the settings that cannot be changed in place; its hash is the resource's generation.
	Fixed any
	// Past is the generation of a thing that another one of this ref replaces: only that thing is meant.
	Past string
}

// Generation is the hash of the settings that cannot be changed in place.
func (i Item) Generation() string {
	if i.Past != "" {
		return i.Past
	}

	return deploy.Hash(i.Fixed)
}

// Result is what one look achieved. Everything in it is kept in the record, ready or not.
type Result struct {
	// Done: ready to be used (Ensure), or gone (Remove).
	Done bool
	// Kept: the removal is over and left the object behind on purpose.
	Kept bool
	// Progressed: the work visibly advanced since the last look; extends a deadline that counts from progress.
	Progressed bool
	// Waiting says in a few words what AWS is still doing: "CREATING". Shown to the owner.
	Waiting string
	// ID and ARN are AWS's; empty leaves what is recorded. Outputs replace what is recorded unless nil.
	ID, ARN string
	Outputs map[string]string
}

// State is what Observe saw.
type State string

// The states.
const (
	Absent     State = "absent"
	InProgress State = "in progress"
	Ready      State = "ready"
	Failed     State = "failed"
)

// Observation is what a look found.
type Observation struct {
	State   State
	ID, ARN string
	Outputs map[string]string
	// Differences lists each setting that is not as wanted.
	Differences []Difference
	// NotChecked names the settings that Ensure makes and that Observe does not compare, because AWS does not show them or not as they were set.
	NotChecked []string
	// Problems say what makes an existing resource unusable; Pointer and Remedy filled in.
	Problems []deploy.Finding
}

// Difference is one setting that is not as wanted.
type Difference = deploy.Difference

// Call is everything a kind is told.
type Call struct {
	Owner deploy.Owner
	Item
	Spec deploy.Spec
	// Operation is the id of the operation at work: it goes into client tokens.
	Operation string
	// Boundary is the ARN of the permissions boundary that every role must carry.
	Boundary string
	// Data says what Remove does with what people put in: Keep leaves a bucket that is not empty.
	Data deploy.Data
	// Origin, ID, ARN, Outputs and Memo are what the record knows from earlier looks. A kind may write Origin (Reused) and Memo; both are kept with the
	// outcome, and at once by Save.
	Origin  deploy.Origin
	ID, ARN string
	Outputs map[string]string
	Memo    map[string]string
	// Others holds the resources that this one needs, by ref, with their ids and outputs.
	Others map[deploy.Ref]Other
	// Quota answers how much of something the account may have, or otherwise if Service Quotas does not say. Only set for Check.
	Quota func(ctx context.Context, service, code string, otherwise int) int
	// Admin: the caller may use what belongs to nobody's tenant. Granted tells whether an admin allowed the caller's tenant a thing. Only set for Check.
	Admin   bool
	Granted func(kind deploy.GrantKind, value string) bool
	// Names: Check is also to tell whose the things are that have the names which ours would have. Only plans ask: the real thing finds out by itself when it
	// comes to them, and leaves them alone.
	Names bool
	// Quotas is where Check notes the limits that it looked at, whether they have room or not.
	Quotas []deploy.QuotaUse
	// Price answers what AWS charges for something in the Region, if the price list says. Only set for Cost.
	Price func(name string) (deploy.Price, bool)
	// Now is the clock.
	Now func() time.Time
	// Save writes Origin and Memo to the record before going on; an error must be returned as it is, and nothing may be done after it.
	Save func(ctx context.Context) error
}

// Other is what a kind sees of a resource that it needs.
type Other struct {
	ID, ARN string
	Outputs map[string]string
}

// Name is the AWS name of the resource: the owner's slug and a suffix.
func (c *Call) Name(suffix string) string { return c.Owner.Slug() + "-" + suffix }

// Tags are all tags of the resource.
func (c *Call) Tags() map[string]string { return c.Owner.TagsFor(c.Ref) }

// Identity are only those tags that say whose it is.
func (c *Call) Identity() map[string]string { return c.Owner.Identity(c.Ref) }

// Owns tells whether a thing with these tags is this resource.
func (c *Call) Owns(tags map[string]string) bool { return c.Owner.Owns(c.Ref, tags) }

// Token is the client token of the resource's create call in this operation.
func (c *Call) Token() string { return c.Owner.Token(c.Ref, c.Operation) }

// One returns what is known of the single resource of a kind that this one needs.
func (c *Call) One(kind string) Other { return c.Others[deploy.Ref(kind)] }

// All returns what is known of all resources of a kind that this one needs, in the order of Item.Needs.
func (c *Call) All(kind string) []Other {
	var all []Other

	for _, ref := range c.Needs {
		if ref.Kind() == kind {
			all = append(all, c.Others[ref])
		}
	}

	return all
}

// Foreign is the answer to a thing of our name that does not carry our tags.
func (c *Call) Foreign(what, name string) error {
	return deploy.Errorf(deploy.Conflict, "not_ours", "A %s named %s exists and does not carry this deployment's tags.", what, name).
		WithRemedy("Remove that %s, or choose another name for the deployment. If it is the deployment's own and has lost its tags, put them back. It was left untouched.", what)
}

// Immutable is the answer to a thing of ours with a setting that AWS cannot change in place.
func (c *Call) Immutable(what, id string, d Difference) error {
	return deploy.Errorf(deploy.Conflict, "cannot_change_in_place", "The %s %s has %s %s instead of %s, and AWS cannot change that.", what, id, d.Property, d.Have, d.Want).
		WithRemedy("Delete the deployment and create it again; for what is left over from an earlier attempt, delete that %s.", what)
}
