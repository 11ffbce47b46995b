// Package store says what the product needs of its table, in its own nouns. store/dynamo fulfils it on DynamoDB; store/storetest holds the behaviour
// that every implementation must show.
//
// One deployment is one record: a header, its operations, and one item per resource. Every item carries a version that each write raises by one; a write
// names the version it read, so of two writers who read the same, one fails. Because Begin and Settle write (stamp) every resource item, whoever
// acts for an older execution fails at its next write: the versions are the fence.
package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// What a store answers beside success. Everything else is a fault of the table and may be retried; a write whose answer was lost may be repeated as it is.
var (
	// ErrNotFound: there is no such deployment or operation.
	ErrNotFound = errors.New("not found")
	// ErrStale: something that the write rests on was changed by another writer since it was read. Nothing was written.
	ErrStale = errors.New("changed by another writer")
	// ErrBusy: the same idempotency key is being admitted at this moment.
	ErrBusy = errors.New("the same request is being admitted")
	// ErrMismatch: the idempotency key was used for another request.
	ErrMismatch = errors.New("the idempotency key belongs to another request")
)

// Record is all that is known of one deployment and its current operation.
type Record struct {
	Deployment deploy.Deployment
	Operation  deploy.Operation
	// Resources in no particular order.
	Resources []deploy.Resource
}

// Find returns the resource of that ref, or nil. The pointer reaches into the record.
func (r *Record) Find(ref deploy.Ref) *deploy.Resource {
	for i := range r.Resources {
		if r.Resources[i].Ref == ref {
			return &r.Resources[i]
		}
	}

	return nil
}

// Version is the version of the current operation: the sum of the versions of its items. It rises with every write and never falls while it runs.
func (r *Record) Version() int64 {
	sum := r.Deployment.Version + r.Operation.Version
	for i := range r.Resources {
		sum += r.Resources[i].Version
	}

	return sum
}

// Change is what Commit writes, all of it or nothing. Each item's Version is the one that was read, 0 for an item that must not exist yet.
type Change struct {
	Deployment *deploy.Deployment
	// Operations: the current one, and in a supersession the one that ends.
	Operations []deploy.Operation
	Resources  []deploy.Resource
	// Drop removes resource items (with the version that was read).
	Drop []deploy.Resource
	// Answer completes the idempotency claim of the request that this change admits.
	Answer *Answer
	// Events and Entries are appended, each under an id that nobody has used, else ErrStale: to what leaves the product, an event's id being its sequence
	// within the deployment's name; and to the tenant's audit trail.
	Events  []deploy.Event
	Entries []deploy.Entry
	// Usage moves what the deployment's tenant uses. It comes with the header.
	Usage *Usage
}

// MaxItems is how many items a change may have: what DynamoDB takes in one transaction (API reference, TransactWriteItems).
const MaxItems = 100

// Sound tells why no store can keep the change, whatever stands there.
func (c *Change) Sound(key deploy.Key) error {
	// The current operation is two items, for it stands in the history as well.
	count := len(c.Operations) + len(c.Resources) + len(c.Drop) + len(c.Events) + len(c.Entries)
	resources, sequences, ids := map[deploy.Ref]bool{}, map[int64]bool{}, map[string]bool{}

	if d := c.Deployment; d != nil {
		count++

		if d.Key != key {
			return fmt.Errorf("write deployment %s: the header is that of %s", key.Name, d.Name)
		}
	}

	for _, op := range c.Operations {
		if c.Deployment == nil {
			return fmt.Errorf("write operation %s: it must come with its deployment's header", op.ID)
		}

		if op.ID == c.Deployment.Operation {
			count++
		}
	}

	for _, x := range slices.Concat(c.Resources, c.Drop) {
		if resources[x.Ref] {
			return fmt.Errorf("write deployment %s: resource %s stands twice in one change", key.Name, x.Ref)
		}

		resources[x.Ref] = true
	}

	if c.Answer != nil {
		count++
	}

	for _, e := range c.Events {
		switch {
		case e.Key != key:
			return fmt.Errorf("write deployment %s: event %d is that of %s", key.Name, e.Sequence, e.Name)
		case e.Sequence < 1:
			return fmt.Errorf("write deployment %s: an event has the sequence %d; it counts from 1", key.Name, e.Sequence)
		case sequences[e.Sequence]:
			return fmt.Errorf("write deployment %s: event %d stands twice in one change", key.Name, e.Sequence)
		}

		sequences[e.Sequence] = true
	}

	for _, e := range c.Entries {
		if err := Fits(e, key.Tenant); err != nil {
			return fmt.Errorf("write deployment %s: %w", key.Name, err)
		}

		if ids[e.ID] {
			return fmt.Errorf("write deployment %s: audit entry %s stands twice in one change", key.Name, e.ID)
		}

		ids[e.ID] = true
	}

	if c.Usage != nil {
		if c.Deployment == nil {
			return fmt.Errorf("write deployment %s: what its tenant uses moves with the header only, whose version keeps it from counting twice", key.Name)
		}

		if c.Usage.Usage != (deploy.Usage{}) {
			count++
		}
	}

	if count > MaxItems {
		return fmt.Errorf("write %d items of deployment %s at once: a change takes %d", count, key.Name, MaxItems)
	}

	return nil
}

// Fits tells why an entry cannot stand in a tenant's trail.
func Fits(e deploy.Entry, tenant string) error {
	switch {
	case e.ID == "":
		return errors.New("an audit entry has no id")
	case e.Tenant != tenant:
		return fmt.Errorf("audit entry %s is that of tenant %s, not of %s", e.ID, e.Tenant, tenant)
	}

	return nil
}

// Usage moves the counters of a tenant by a difference, which may be negative. With a limit, nothing of the whole change is written where a counter that
// rises would rise above it: the answer is *LimitError then, or ErrStale if that is true as well. A limit of zero is none.
type Usage struct {
	deploy.Usage

	Limit deploy.Usage
}

// LimitError says that a change would lift a tenant above its limit. Have is what the tenant uses.
type LimitError struct{ Have, Limit deploy.Usage }

func (e *LimitError) Error() string {
	return fmt.Sprintf("the tenant uses %+v of %+v", e.Have, e.Limit)
}

// Claim is an idempotency key in use (IETF draft "The Idempotency-Key HTTP Header Field").
type Claim struct {
	Tenant string
	Key    string
	// Fingerprint is a hash of method, path and body.
	Fingerprint string
}

// Answer is what a finished request answered.
type Answer struct {
	Claim
	// Operation is the id that was admitted, Name its deployment.
	Operation string
	Name      string
	// Snapshot is the operation as it was admitted, Version its version then: the same answer can be given again, byte for byte.
	Snapshot deploy.Operation
	Version  int64
}

// List asks for one page of a tenant's deployments, in the order of their names.
type List struct {
	Tenant  string
	Size    int
	After   string // name of the last one seen
	Deleted bool   // show those in phase DELETED too
	Match   func(deploy.Deployment) bool
}

// Store keeps records. All reads that decide something are strongly consistent; lists may lag by a second.
type Store interface {
	// Load reads header, current operation and resources of one deployment, consistently enough that a Commit or Save built on it fails if anything
	// that it writes has changed.
	Load(ctx context.Context, key deploy.Key) (*Record, error)
	// Commit writes a change atomically; operations are written together with their header. A repetition of a commit whose answer was lost is safe, but may
	// be answered ErrStale: load again to learn what is there. It raises the versions of its items in place. ErrStale if any item is not at its version.
	Commit(ctx context.Context, key deploy.Key, change *Change) error
	// Save writes one resource if it is still at its version, and raises it in place. ErrStale otherwise.
	Save(ctx context.Context, key deploy.Key, r *deploy.Resource) error

	// Operation reads one operation of a deployment, Operations a page of them, newest first, older than the id after ("" for the newest).
	Operation(ctx context.Context, key deploy.Key, id string) (deploy.Operation, error)
	Operations(ctx context.Context, key deploy.Key, size int, after string) ([]deploy.Operation, error)
	// Deployments reads one page; fewer than asked for, with more set, is allowed.
	Deployments(ctx context.Context, list List) (page []deploy.Deployment, more bool, err error)
	// Unfinished lists deployments whose operation is unfinished and not queued, and whose CheckTime is before the moment, at most limit of them, the
	// oldest first.
	Unfinished(ctx context.Context, before time.Time, limit int) ([]deploy.Key, error)

	// Claim takes an idempotency key for a request. An answer that stands already is returned; ErrBusy or ErrMismatch otherwise. A claim that is
	// neither answered (Change.Answer) nor released lapses after a minute; answers are kept for 24 hours.
	Claim(ctx context.Context, claim Claim) (*Answer, error)
	// Release gives up a claim whose request was refused.
	Release(ctx context.Context, claim Claim) error
}

// Sweeps keeps what the sweeper found: notes beside the records, that no operation rests on. The last writer wins. Every Store of this project is one too.
type Sweeps interface {
	// Orphans reads a page in the order of Orphan.Name, behind the name after ("" for the first).
	Orphans(ctx context.Context, size int, after string) (page []deploy.Orphan, more bool, err error)
	// NoteOrphan writes an orphan, new or noted before; ForgetOrphan drops it by name, there or not.
	NoteOrphan(ctx context.Context, o deploy.Orphan) error
	ForgetOrphan(ctx context.Context, name string) error
	// Sweeps reads the newest sweep of each family, in the order of their names; NoteSweep writes one.
	Sweeps(ctx context.Context) ([]deploy.Sweep, error)
	NoteSweep(ctx context.Context, s deploy.Sweep) error
}

// Tenants keeps what tenants use and what waits for its time. Every Store of this project is one too.
type Tenants interface {
	// Usage reads what a tenant uses, consistently.
	Usage(ctx context.Context, tenant string) (deploy.Usage, error)
	// Queued lists a tenant's deployments whose operation is queued, at most limit of them, the one that was queued first (CheckTime) first. QueuedTenants
	// lists the tenants that have any, by name, behind the name after ("" for the first). Both may lag by a second.
	Queued(ctx context.Context, tenant string, limit int) ([]deploy.Key, error)
	QueuedTenants(ctx context.Context, after string, limit int) ([]string, error)
	// Expiring lists deployments without an unfinished operation whose CheckTime, set on finished ones for this, is before the moment, at most limit of
	// them, the oldest first. It may lag by a second.
	Expiring(ctx context.Context, before time.Time, limit int) ([]deploy.Key, error)
}

// Trail is the audit trail. Nothing that was appended is ever changed or removed.
type Trail interface {
	// Append adds an entry that comes with no change of a record. An id that stands already is ErrStale.
	Append(ctx context.Context, e deploy.Entry) error
	// Entries reads a page of a tenant's entries, newest first, older than the id before ("" for the newest), of one deployment only if it is named. Fewer
	// than asked for, with more set, is allowed: the next page goes on behind last. It may lag by a second.
	Entries(ctx context.Context, tenant, deployment string, size int, before string) (page []deploy.Entry, last string, more bool, err error)
}

// Grants keeps what admins allow tenants beside what is tagged for them. Each write comes with its entry in the trail, both or neither.
type Grants interface {
	// Grants reads all of a tenant's, by kind and value.
	Grants(ctx context.Context, tenant string) ([]deploy.Grant, error)
	// Allow writes a grant; one that stands already is replaced. Withdraw drops it: ErrNotFound if it is not there.
	Allow(ctx context.Context, g deploy.Grant, e deploy.Entry) error
	Withdraw(ctx context.Context, g deploy.Grant, e deploy.Entry) error
}

// Webhooks keeps where tenants want their events sent. Each write comes with its entry in the trail, both or neither.
type Webhooks interface {
	// Webhooks reads all of a tenant's, by id.
	Webhooks(ctx context.Context, tenant string) ([]deploy.Webhook, error)
	// Subscribe writes a new webhook: an id that stands already is ErrStale. Unsubscribe drops it: ErrNotFound if it is not there.
	Subscribe(ctx context.Context, w deploy.Webhook, e deploy.Entry) error
	Unsubscribe(ctx context.Context, tenant, id string, e deploy.Entry) error
}

// Callbacks keeps the answers that CloudFormation stacks wait for.
type Callbacks interface {
	// NoteCallback writes one, new or noted before; ForgetCallback drops it by deployment and CloudFormation's request id, there or not.
	NoteCallback(ctx context.Context, c deploy.Callback) error
	ForgetCallback(ctx context.Context, key deploy.Key, requestID string) error
	// Callbacks reads all that wait on a deployment; Overdue those of all deployments whose deadline is before the moment, at most limit, the oldest first.
	Callbacks(ctx context.Context, key deploy.Key) ([]deploy.Callback, error)
	Overdue(ctx context.Context, before time.Time, limit int) ([]deploy.Callback, error)
}
