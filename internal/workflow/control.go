package workflow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

// Starter starts executions of the state machine and looks at them.
type Starter interface {
	// Start begins the execution of an epoch. An execution of that name that exists already counts as started.
	Start(ctx context.Context, e Execution) error
	// Alive tells whether the execution of an epoch runs; known is false if there never was one.
	Alive(ctx context.Context, e Execution) (alive, known bool, err error)
}

// Control admits operations: it checks, writes the header, and starts the execution. It is what the API and later every other caller stands on.
type Control struct {
	Store   store.Store
	Graphs  *Graphs
	Starter Starter
	Place   Place
	Clock   Clock
	// NewID makes the part of an operation's id that comes after the deployment's name; later ids sort after earlier ones.
	NewID func() string
	// Quota answers Service Quotas; see kind.Call.
	Quota func(ctx context.Context, service, code string, otherwise int) int
	// Limits says how much each tenant may have in use.
	Limits deploy.Limits
	// Grants is what admins allow tenants, what tenants use, and what waits.
	Grants Granting
	// Permits tells what the functions that act may not do; without it nobody is asked.
	Permits Permitting
	// Prices is for plans; without it nothing is priced.
	Prices deploy.PriceList
	Log    *slog.Logger
}

// Granting reads what admins allow tenants, what tenants use, and which of their operations wait; every store of this project is one.
type Granting interface {
	Grants(ctx context.Context, tenant string) ([]deploy.Grant, error)
	Usage(ctx context.Context, tenant string) (deploy.Usage, error)
	Queued(ctx context.Context, tenant string, limit int) ([]deploy.Key, error)
}

// Permitting tells what the functions that act on families of services may not do although they need to. An error means that nobody could tell.
type Permitting interface {
	Lacking(ctx context.Context, families []string) ([]deploy.Lack, error)
}

// CreateRequest is a wish for a new deployment, valid in itself (deploy.Validate) and with defaults filled in.
type CreateRequest struct {
	Name   string
	Spec   deploy.Spec
	Labels map[string]string
	// TTL is how long from now the deployment may live, zero for as long as nobody deletes it.
	TTL time.Duration
	// Verify asks for a probe job before the create succeeds.
	Verify bool
	// Claim is the request's idempotency key, if it has one.
	Claim *store.Claim
}

// Exists is the refusal of a create whose name is taken, or of an operation while another runs.
type Exists struct {
	Deployment string
	Operation  string
}

func (e *Exists) Error() string { return "deployment " + e.Deployment + " exists" }

// Refused holds everything that is wrong with a request.
type Refused struct{ Findings []deploy.Finding }

func (r *Refused) Error() string {
	return fmt.Sprintf("%d findings, the first: %s", len(r.Findings), r.Findings[0].Message)
}

// Admitted is an operation as it was admitted.
type Admitted struct {
	Operation deploy.Operation
	Version   int64
}

// Create admits a new deployment. It answers *Exists, *Refused, store.ErrBusy, store.ErrMismatch, or an error of AWS or the store. Nothing is written
// when it refuses. A repetition with the same claim gets the same answer.
func (c *Control) Create(ctx context.Context, p deploy.Principal, req CreateRequest) (Admitted, error) {
	return c.once(ctx, req.Claim, func() (Admitted, error) { return c.create(ctx, p, req) })
}

// once answers a repeated request as the first time, and gives the claim back when the request is refused.
func (c *Control) once(ctx context.Context, claim *store.Claim, act func() (Admitted, error)) (Admitted, error) {
	if claim == nil {
		return act()
	}

	answer, err := c.Store.Claim(ctx, *claim)
	if err != nil {
		return Admitted{}, err
	}

	if answer != nil {
		return Admitted{Operation: answer.Snapshot, Version: answer.Version}, nil
	}

	admitted, err := act()
	if err != nil && !unsure(err) {
		if err := c.Store.Release(context.WithoutCancel(ctx), *claim); err != nil {
			c.Log.WarnContext(ctx, "release an idempotency key", "error", deploy.Scrub(err.Error()))
		}
	}

	return admitted, err
}

// unwitnessed is the error of a write that may have happened all the same.
type unwitnessed struct{ error }

func (u unwitnessed) Unwrap() error { return u.error }

// unsure tells whether a request may have been admitted although it was answered with an error: then its claim must stand. Whatever went wrong before the
// write has admitted nothing.
func unsure(err error) bool {
	_, ok := errors.AsType[unwitnessed](err)

	return ok
}

// commit writes a change that admits something. What the store refuses was not written; of any other error nobody knows.
func (c *Control) commit(ctx context.Context, key deploy.Key, change *store.Change) error {
	err := c.Store.Commit(ctx, key, change)
	if _, full := errors.AsType[*store.LimitError](err); err == nil || full || errors.Is(err, store.ErrStale) {
		return err
	}

	return unwitnessed{err}
}

func (c *Control) create(ctx context.Context, p deploy.Principal, req CreateRequest) (Admitted, error) {
	key := deploy.Key{Tenant: p.Tenant, Name: req.Name}

	header, err := c.vacant(ctx, key)
	if err != nil {
		return Admitted{}, err
	}

	now := c.Clock.Now()
	next := deploy.Deployment{
		Key: key, Phase: deploy.PhaseCreating, Spec: req.Spec, Labels: req.Labels, Account: c.Place.Account, Region: c.Place.Region, Owner: p.Actor,
		CreateTime: now, UpdateTime: now, Counts: header.Counts, Sequence: header.Sequence, Version: header.Version,
	}

	if req.TTL > 0 {
		expire(&next, now.Add(req.TTL), now)
	}

	if req.Verify && !probeable(req.Spec) {
		return Admitted{}, unprobeable()
	}

	x, err := c.examine(ctx, p, next, nil, false)
	if err != nil {
		return Admitted{}, err
	}

	if err := x.refusal(); err != nil {
		return Admitted{}, err
	}

	op := c.operation(key, deploy.Create, p, now)
	op.Data, op.Probe = deploy.IfEmpty, req.Verify

	admitted, err := c.admit(ctx, p, header.Phase, next, op, nil, req.Claim)
	if errors.Is(err, store.ErrStale) {
		if _, taken := c.vacant(ctx, key); taken != nil {
			return Admitted{}, taken
		}
	}

	return admitted, err
}

// vacant returns the header whose name may be taken (a zero one if there is none), or *Exists.
func (c *Control) vacant(ctx context.Context, key deploy.Key) (deploy.Deployment, error) {
	record, err := c.Store.Load(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return deploy.Deployment{}, nil
	}

	if err != nil {
		return deploy.Deployment{}, fmt.Errorf("read deployment %s: %w", key.Name, err)
	}

	if !record.Deployment.Phase.Vacant() {
		return deploy.Deployment{}, &Exists{Deployment: key.Name, Operation: record.Deployment.Operation}
	}

	return record.Deployment, nil
}

func (c *Control) operation(key deploy.Key, k deploy.OperationKind, p deploy.Principal, now time.Time) deploy.Operation {
	return deploy.Operation{ID: key.Name + "-" + c.NewID(), Key: key, Kind: k, State: deploy.Pending, Actor: p.Actor, CreateTime: now}
}

// started is how long a new operation may wait for its Begin before the watchdog looks.
const started = 30 * time.Second

// admit writes the operation and starts it, or queues it where the tenant has as many at work as it may. Phase is the deployment's before. Deletes wait for
// nobody: they make room.
func (c *Control) admit(
	ctx context.Context, p deploy.Principal, phase deploy.Phase, header deploy.Deployment, op deploy.Operation, ends *deploy.Operation, claim *store.Claim,
) (Admitted, error) {
	limit := c.Limits.Of(header.Tenant)
	if op.Kind == deploy.Delete {
		limit = deploy.Usage{}
	}

	// Nobody overtakes what waits, also where there is room again and the queue has not heard of it yet.
	if limit.Operations > 0 {
		waiting, err := c.Grants.Queued(ctx, header.Tenant, 1)
		if err != nil {
			return Admitted{}, fmt.Errorf("look what is queued: %w", err)
		}

		header.Queued = len(waiting) > 0
	}

	admitted, err := c.write(ctx, p, phase, header, op, ends, claim, limit)
	err = refusal(err, header)

	if _, full := errors.AsType[*store.LimitError](err); !full {
		return admitted, err
	}

	header.Queued = true

	// Somebody may have taken the last place in between.
	admitted, err = c.write(ctx, p, phase, header, op, ends, claim, limit)

	return admitted, refusal(err, header)
}

// refusal makes one of a limit that the tenant would exceed for good; any other error stays what it is.
func refusal(err error, header deploy.Deployment) error {
	if full, ok := errors.AsType[*store.LimitError](err); ok {
		if refused := exceeds(*full, counting(header).Minus(header.Counts)); refused != nil {
			return &Refused{Findings: []deploy.Finding{refused.Finding()}}
		}
	}

	return err
}

// counting is what a deployment counts for while an operation of it is at work, or waits to be.
func counting(header deploy.Deployment) deploy.Usage {
	counts := deploy.Usage{Deployments: 1, Operations: 1, VCPUs: max(header.Counts.VCPUs, header.Spec.VCPUs())}
	if header.Queued {
		counts.Operations = 0
	}

	return counts
}

// exceeds says which limit a tenant would exceed for good, or nothing where only operations are too many at the moment.
func exceeds(full store.LimitError, more deploy.Usage) *deploy.Error {
	for _, l := range []struct {
		what              string
		have, more, limit int
		pointer           string
	}{
		{"deployments", full.Have.Deployments, more.Deployments, full.Limit.Deployments, "/name"},
		{"vCPUs", full.Have.VCPUs, more.VCPUs, full.Limit.VCPUs, "/spec/compute/environments"},
	} {
		if l.limit > 0 && l.more > 0 && l.have+l.more > l.limit {
			return deploy.Errorf(deploy.Quota, "tenant_quota_exceeded", "Your tenant has %d of %d %s, and this needs %d more.", l.have, l.limit, l.what, l.more).
				WithRemedy("Delete a deployment, ask for less, or ask an administrator of the installation to raise your tenant's limit.").At(l.pointer)
		}
	}

	return nil
}

func (c *Control) write(
	ctx context.Context, p deploy.Principal, phase deploy.Phase, header deploy.Deployment, op deploy.Operation, ends *deploy.Operation, claim *store.Claim,
	limit deploy.Usage,
) (Admitted, error) {
	header.Operation, header.Epoch = op.ID, 1
	header.Unfinished, header.CheckTime = true, op.CreateTime.Add(started)

	if header.Queued {
		header.CheckTime = op.CreateTime // its place in the queue
	}

	change := &store.Change{Deployment: &header, Operations: []deploy.Operation{op}}

	tell(change, phase, "")
	enter(change, deploy.Entry{Actor: p.Actor, Action: string(op.Kind), Outcome: deploy.OutcomeAdmitted}, op.CreateTime)

	if ends != nil {
		change.Operations = append(change.Operations, *ends)
		change.Entries = append(change.Entries, Line(deploy.Entry{
			Tenant: header.Tenant, Actor: ends.Actor, Action: string(ends.Kind), Deployment: header.Name, Operation: ends.ID, Outcome: deploy.Outcome(ends.State),
			Code: ends.Error.Code,
		}, ends.ID, op.CreateTime))
	}

	count(change, counting(header), limit)

	admitted := Admitted{Operation: op, Version: header.Version + 1 + op.Version + 1}
	admitted.Operation.Version = op.Version + 1

	if claim != nil {
		change.Answer = &store.Answer{Claim: *claim, Operation: op.ID, Name: header.Name, Snapshot: admitted.Operation, Version: admitted.Version}
	}

	if err := c.commit(ctx, header.Key, change); err != nil {
		return Admitted{}, fmt.Errorf("admit operation %s: %w", op.ID, err)
	}

	if header.Queued {
		return admitted, nil
	}

	// From here on the operation exists. If it cannot be started now, the watchdog starts it.
	if err := c.Starter.Start(ctx, execution(c.Place, header)); err != nil {
		c.Log.WarnContext(ctx, "start execution", "operation", op.ID, "error", deploy.Scrub(err.Error()))
	}

	return admitted, nil
}

func execution(p Place, h deploy.Deployment) Execution {
	return Execution{Installation: p.Installation, Tenant: h.Tenant, Deployment: h.Name, Operation: h.Operation, Epoch: h.Epoch}
}

// granted reads what admins allow the caller's tenant.
func (c *Control) granted(ctx context.Context, p deploy.Principal) (func(deploy.GrantKind, string) bool, error) {
	grants, err := c.Grants.Grants(ctx, p.Tenant)
	if err != nil {
		return nil, fmt.Errorf("read the grants of tenant %s: %w", p.Tenant, err)
	}

	return func(kind deploy.GrantKind, value string) bool {
		return slices.ContainsFunc(grants, func(g deploy.Grant) bool { return g.Kind == kind && g.Value == value })
	}, nil
}

// DeleteRequest is a wish to remove a deployment.
type DeleteRequest struct {
	Name string
	Data deploy.Data
	// Match tells whether the deployment is still the one that the caller has seen; nil for whichever it is.
	Match func(deploy.Deployment) bool
	// Claim makes a repetition answered as the first time, also when the name has been taken anew meanwhile.
	Claim *store.Claim
}

// Delete admits the removal of a deployment, superseding whatever else runs. A delete that runs already is the answer itself. It answers
// store.ErrNotFound for a name that is not there any more, *Exists for a running delete with the other data policy, and *deploy.Error with code
// precondition_failed.
func (c *Control) Delete(ctx context.Context, p deploy.Principal, req DeleteRequest) (Admitted, error) {
	key := deploy.Key{Tenant: p.Tenant, Name: req.Name}

	return c.once(ctx, req.Claim, func() (Admitted, error) {
		return c.settled(ctx, "The deployment changes too quickly to be deleted.", func() (Admitted, error) {
			record, err := c.Store.Load(ctx, key)
			if err != nil {
				return Admitted{}, fmt.Errorf("read deployment %s: %w", key.Name, err)
			}

			// What is being done as it was asked for is not in its own way: the first answer may have been lost.
			running := record.Deployment.Unfinished && record.Operation.Kind == deploy.Delete && record.Operation.Data == req.Data

			if record.Deployment.Phase != deploy.PhaseDeleted && !running && req.Match != nil && !req.Match(record.Deployment) {
				return Admitted{}, changed()
			}

			return c.remove(ctx, p, record, req.Data, req.Claim)
		})
	})
}

// changed is the refusal of a request whose caller saw another state of the deployment.
func changed() error {
	return deploy.Errorf(deploy.Conflict, "precondition_failed", "The deployment is not the one that If-Match names any more.").
		WithRemedy("Read it again, look at what changed, and send the request with its new ETag.")
}

// settled tries again what lost a race, for some seconds: while many steps end at once, whoever changes all of them loses often.
func (c *Control) settled(ctx context.Context, busy string, act func() (Admitted, error)) (Admitted, error) {
	for pause := 20 * time.Millisecond; ; pause *= 2 {
		admitted, err := act()

		switch {
		case !errors.Is(err, store.ErrStale):
			return admitted, err
		case pause > 2*time.Second:
			return Admitted{}, deploy.Errorf(deploy.Transient, "busy", "%s", busy).WithRemedy("Try again in a second.")
		}

		c.Clock.Sleep(ctx, pause)
	}
}

// remove admits a delete on a record as it was read.
func (c *Control) remove(ctx context.Context, p deploy.Principal, record *store.Record, data deploy.Data, claim *store.Claim) (Admitted, error) {
	header, old := record.Deployment, record.Operation
	if header.Phase == deploy.PhaseDeleted {
		return Admitted{}, fmt.Errorf("deployment %s is deleted: %w", header.Name, store.ErrNotFound)
	}

	if header.Unfinished && old.Kind == deploy.Delete {
		if old.Data != data {
			return Admitted{}, &Exists{Deployment: header.Name, Operation: old.ID}
		}

		return c.already(ctx, header.Key, claim, Admitted{Operation: old, Version: record.Version()})
	}

	now := c.Clock.Now()

	var ends *deploy.Operation

	if header.Unfinished {
		old.Error = deploy.Errorf(deploy.Conflict, "superseded", "A delete took over before this operation was finished.").
			WithRemedy("Follow the delete; create the deployment again afterwards if you still want it.")
		old.Steps = broken(c.Graphs.Steps(old, record.Resources), now)
		old.State, old.EndTime, old.FrozenVersion = deploy.RolledBack, now, record.Version()+1
		ends = &old
	}

	op := c.operation(header.Key, deploy.Delete, p, now)
	op.Data = data
	phase := header.Phase
	header.Phase, header.UpdateTime, header.Queued = deploy.PhaseDeleting, now, false

	return c.admit(ctx, p, phase, header, op, ends, claim)
}

// already answers a request for what is under way already. Its key is answered, too: whoever repeats it is told the same when that is over.
func (c *Control) already(ctx context.Context, key deploy.Key, claim *store.Claim, admitted Admitted) (Admitted, error) {
	if claim == nil {
		return admitted, nil
	}

	answer := &store.Answer{Claim: *claim, Operation: admitted.Operation.ID, Name: key.Name, Snapshot: admitted.Operation, Version: admitted.Version}
	if err := c.commit(ctx, key, &store.Change{Answer: answer}); err != nil {
		return Admitted{}, fmt.Errorf("answer for operation %s: %w", admitted.Operation.ID, err)
	}

	return admitted, nil
}

// broken are the steps of an operation that goes on no further: what was not over is not done by it any more.
func broken(steps []deploy.NamedStep, now time.Time) []deploy.NamedStep {
	for i := range steps {
		if s := &steps[i]; !s.State.Done() {
			s.State, s.WaitingFor, s.EndTime = deploy.StepSkipped, "", now
		}
	}

	return steps
}
