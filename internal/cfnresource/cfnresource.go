// Package cfnresource makes a deployment a resource of CloudFormation stacks: it reads the requests that CloudFormation sends for a Custom::MetaflowEnvironment,
// admits the operation that they ask for, and answers when that ends, or before the stack's own patience ends.
//
// A request is noted before anything is done for it, and forgotten once it is answered; until then whoever calls (Lambda again, the table's stream, the
// schedule each minute) carries it on from what the record says. The schedule alone suffices. CloudFormation may be told an answer twice, and heeds the first.
//
// Nothing in a request proves who sent it: the tenant comes from outside, and the account in the stack's id must be one that an admin bound to that tenant.
// The package must not know how it is called, nor HTTP beyond the one PUT of an answer.
package cfnresource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// The types of requests.
const (
	requestCreate = "Create"
	requestUpdate = "Update"
	requestDelete = "Delete"
)

const (
	// patience is how long CloudFormation waits unless the property ServiceTimeout says otherwise.
	patience = time.Hour
	// margin is how much of it is left for the answer: a minute until the schedule sees that the time is over, and the tries to send it.
	margin = 2 * time.Minute
	// late is how long after its deadline an answer is still tried.
	late = 15 * time.Minute
	// patrol is how many requests one run carries on, abreast how many of them at a time.
	patrol  = 500
	abreast = 10
)

// Event is a request of CloudFormation. Whoever sent it may have made all of it up.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-requests.html
type Event struct {
	RequestType        string         `json:"RequestType"`
	RequestID          string         `json:"RequestId"`
	ResponseURL        string         `json:"ResponseURL"`
	StackID            string         `json:"StackId"`
	LogicalResourceID  string         `json:"LogicalResourceId"`
	PhysicalResourceID string         `json:"PhysicalResourceId"`
	ResourceProperties map[string]any `json:"ResourceProperties"`
}

// Records is what a resource needs of the store.
type Records interface {
	Load(ctx context.Context, key deploy.Key) (*store.Record, error)
	Operation(ctx context.Context, key deploy.Key, id string) (deploy.Operation, error)
	Grants(ctx context.Context, tenant string) ([]deploy.Grant, error)
	store.Callbacks
}

// Sender sends an answer where CloudFormation waits for it; *Responder does.
type Sender interface {
	// Check tells why nothing may be sent to a URL. It does not quote it.
	Check(url string) error
	// Send tries for a while. The error wraps ErrRefused if it is no use to try again, and never quotes the URL.
	Send(ctx context.Context, url string, body []byte) error
}

// Resource answers requests.
type Resource struct {
	Control *workflow.Control
	Records Records
	Sender  Sender
	Clock   workflow.Clock
	Log     *slog.Logger
}

// Handle takes a request of CloudFormation for a tenant. It is to be called again with the same event if it fails; that is also what Lambda does.
func (r *Resource) Handle(ctx context.Context, tenant string, e Event) error {
	if err := r.Sender.Check(e.ResponseURL); err != nil {
		// Nobody is told: whoever sent this is not CloudFormation.
		r.Log.ErrorContext(ctx, "refuse to answer a request", "request", deploy.Scrub(e.RequestID), "tenant", tenant, "error", err)

		return nil
	}

	if err := r.admissible(ctx, tenant, e); err != nil {
		refused, ok := errors.AsType[*deploy.Error](err)
		if !ok {
			return err
		}

		return r.refuse(ctx, e, []deploy.Finding{refused.Finding()})
	}

	if e.RequestType == requestDelete {
		name, ours := r.named(tenant, e.PhysicalResourceID)
		if !ours {
			var err error
			if name, err = r.unanswered(ctx, tenant, e); err != nil {
				return err
			}
		}

		if name == "" {
			return r.send(ctx, e.ResponseURL, answerTo(e, success, unmade(e.RequestID, e.PhysicalResourceID))) // what is to be deleted never came to be
		}

		return r.take(ctx, e, deploy.Key{Tenant: tenant, Name: name}, r.readDelete(e))
	}

	req, findings := r.read(e)
	if len(findings) > 0 {
		return r.refuse(ctx, e, findings)
	}

	return r.take(ctx, e, deploy.Key{Tenant: tenant, Name: req.Name}, req)
}

// admissible says whether a request may act for the tenant; a *deploy.Error says why not.
func (r *Resource) admissible(ctx context.Context, tenant string, e Event) error {
	place := r.Control.Place

	// "arn:aws:cloudformation:us-east-1:123456789012:stack/name/guid"
	stack := strings.SplitN(e.StackID, ":", 6)
	whole := len(stack) == 6 && stack[0] == "arn" && stack[1] == place.Partition && stack[2] == "cloudformation" && stack[3] == place.Region &&
		strings.HasPrefix(stack[5], "stack/") && len(e.StackID) <= 512

	switch {
	case !deploy.ValidTenant(tenant):
		return deploy.Errorf(deploy.Denied, "no_tenant", "The ServiceToken names no tenant.").
			WithRemedy("Use the ARN of the alias that is named after your tenant; an administrator of the installation knows it.")
	case !whole || e.RequestID == "" || len(e.RequestID) > 128 || e.LogicalResourceID == "" || len(e.LogicalResourceID) > 255 ||
		!slices.Contains([]string{requestCreate, requestUpdate, requestDelete}, e.RequestType):
		return deploy.Errorf(deploy.Invalid, "invalid_request", "This is not a request of CloudFormation in %s.", place.Region).
			WithRemedy("Use the ServiceToken of an installation in the stack's own Region.")
	}

	grants, err := r.Records.Grants(ctx, tenant)
	if err != nil {
		return fmt.Errorf("read the grants of tenant %s: %w", tenant, err)
	}

	if !slices.ContainsFunc(grants, func(g deploy.Grant) bool { return g.Kind == deploy.GrantStackAccount && g.Value == stack[4] }) {
		return deploy.Errorf(deploy.Denied, "account_not_bound", "Stacks of this account do not act for tenant %s.", tenant).
			WithRemedy("Ask an administrator of the installation to grant the tenant a stack-account with this account's number.")
	}

	return nil
}

// unanswered is the name of what a create of the same resource is making, or has made, whose answer never arrived: CloudFormation asks for it to be deleted by
// an id of its own.
func (r *Resource) unanswered(ctx context.Context, tenant string, e Event) (string, error) {
	name, ok := e.ResourceProperties["Name"].(string)
	if !ok || !deploy.ValidName(name) {
		return "", nil
	}

	waiting, err := r.Records.Callbacks(ctx, deploy.Key{Tenant: tenant, Name: name})
	if err != nil {
		return "", fmt.Errorf("read the callbacks of %s: %w", name, err)
	}

	for _, c := range waiting {
		create := c.RequestType == requestCreate && c.StackID == e.StackID && c.LogicalResourceID == e.LogicalResourceID
		if create || c.RequestID == e.RequestID {
			return name, nil
		}
	}

	// An id of CloudFormation's own says that no answer ever arrived, also where we have given up to send one. Before anything of the deployment is deleted,
	// it is looked at whose it is.
	if !strings.HasPrefix(e.PhysicalResourceID, product) {
		return name, nil
	}

	return "", nil
}

// take notes a request, unless that was done before, and carries it on.
func (r *Resource) take(ctx context.Context, e Event, key deploy.Key, req request) error {
	waiting, err := r.Records.Callbacks(ctx, key)
	if err != nil {
		return fmt.Errorf("read the callbacks of %s: %w", key.Name, err)
	}

	if i := slices.IndexFunc(waiting, func(c deploy.Callback) bool { return c.RequestID == e.RequestID }); i >= 0 {
		return r.advance(ctx, waiting[i])
	}

	if e.RequestType == requestDelete {
		if err := r.overtake(ctx, e, waiting); err != nil {
			return err
		}
	}

	text, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("encode a request: %w", err)
	}

	id := r.id(key)
	if e.RequestType == requestDelete {
		id = unmade(e.RequestID, e.PhysicalResourceID) // whatever it is called, it must be called so in the answer
	}

	c := deploy.Callback{
		Key: key, RequestID: e.RequestID, RequestType: e.RequestType, StackID: e.StackID, LogicalResourceID: e.LogicalResourceID, PhysicalID: id,
		Deadline: r.Clock.Now().Add(req.Timeout - min(margin, req.Timeout/2)), ResponseURL: e.ResponseURL, Request: string(text),
	}

	if err := r.Records.NoteCallback(ctx, c); err != nil {
		return fmt.Errorf("note a callback of %s: %w", key.Name, err)
	}

	r.Log.InfoContext(ctx, "request", "request", c.RequestID, "type", c.RequestType, "tenant", c.Tenant, "deployment", c.Name, "deadline", c.Deadline)

	return r.advance(ctx, c)
}

// overtake forgets what the same resource asked for before its Delete and what has not begun: nobody would ever delete what came of it. CloudFormation does not
// wait for its answer any more.
func (r *Resource) overtake(ctx context.Context, e Event, waiting []deploy.Callback) error {
	for _, c := range waiting {
		if c.StackID != e.StackID || c.LogicalResourceID != e.LogicalResourceID || c.Operation != "" {
			continue
		}

		if err := r.Records.ForgetCallback(ctx, c.Key, c.RequestID); err != nil {
			return fmt.Errorf("forget a callback of %s: %w", c.Name, err)
		}

		r.Log.InfoContext(ctx, "a delete overtakes a request", "request", c.RequestID, "deployment", c.Name)
	}

	return nil
}

// Tick carries on everything that waits. Trouble with one request does not keep it from the others.
func (r *Resource) Tick(ctx context.Context) error {
	// No deadline is later than that.
	list, err := r.Records.Overdue(ctx, r.Clock.Now().Add(patience), patrol)
	if err != nil {
		return fmt.Errorf("list callbacks: %w", err)
	}

	return r.all(ctx, list)
}

// Changed carries on what waits on a deployment.
func (r *Resource) Changed(ctx context.Context, key deploy.Key) error {
	list, err := r.Records.Callbacks(ctx, key)
	if err != nil {
		return fmt.Errorf("read the callbacks of %s: %w", key.Name, err)
	}

	return r.all(ctx, list)
}

func (r *Resource) all(ctx context.Context, list []deploy.Callback) error {
	var (
		wait sync.WaitGroup
		room = make(chan struct{}, abreast)
		errs = make([]error, len(list))
	)

	for i, c := range list {
		room <- struct{}{}

		wait.Go(func() {
			defer func() { <-room }()

			if err := r.advance(ctx, c); err != nil {
				errs[i] = fmt.Errorf("request %s: %w", c.RequestID, err)
			}
		})
	}

	wait.Wait()

	return errors.Join(errs...)
}

// advance does for a request what can be done at this moment.
func (r *Resource) advance(ctx context.Context, c deploy.Callback) error {
	var req request
	if err := json.Unmarshal([]byte(c.Request), &req); err != nil {
		return fmt.Errorf("decode a request: %w", err)
	}

	over := !r.Clock.Now().Before(c.Deadline)

	if c.Operation == "" {
		if over {
			return r.finish(ctx, c, r.failed(c, req, deploy.Errorf(deploy.Conflict, "not_begun", "The request could not begin in time: %s was busy.", c.Name).
				WithRemedy("See what works on the deployment, and update the stack again when it has ended.")))
		}

		id, out, err := r.admit(ctx, c, req)
		if err != nil {
			r.Log.InfoContext(ctx, "a request waits", "request", c.RequestID, "deployment", c.Name, "error", deploy.Scrub(err.Error()))

			return nil
		}

		if out != nil {
			return r.finish(ctx, c, *out)
		}

		c.Operation = id
		if err := r.Records.NoteCallback(ctx, c); err != nil {
			return fmt.Errorf("note the operation of a callback of %s: %w", c.Name, err)
		}
	}

	op, err := r.Records.Operation(ctx, c.Key, c.Operation)
	if err != nil {
		return fmt.Errorf("read operation %s: %w", c.Operation, err)
	}

	if !op.State.Done() && !over {
		return nil
	}

	out, err := r.outcome(ctx, c, req, op)
	if err != nil {
		return err
	}

	return r.finish(ctx, c, out)
}

// finish sends an answer and forgets the request.
func (r *Resource) finish(ctx context.Context, c deploy.Callback, a answer) error {
	err := r.send(ctx, c.ResponseURL, a)
	if err != nil && r.Clock.Now().Before(c.Deadline.Add(late)) {
		return err // it stands, and is tried again
	}

	if err != nil {
		r.Log.ErrorContext(ctx, "give up to answer a request", "request", c.RequestID, "deployment", c.Name, "error", err)
	}

	if err := r.Records.ForgetCallback(ctx, c.Key, c.RequestID); err != nil {
		return fmt.Errorf("forget a callback of %s: %w", c.Name, err)
	}

	return nil
}

// refuse answers a request for which nothing was done and nothing stands.
func (r *Resource) refuse(ctx context.Context, e Event, findings []deploy.Finding) error {
	a := answerTo(e, failure, unmade(e.RequestID, e.PhysicalResourceID))
	a.Reason = reason(findings)

	return r.send(ctx, e.ResponseURL, a)
}

// send sends an answer. What CloudFormation refuses for good is logged and done with: the stack has given up, or the answer came already.
func (r *Resource) send(ctx context.Context, url string, a answer) error {
	body, err := a.encode()
	if err != nil {
		return err
	}

	err = r.Sender.Send(ctx, url, body)
	if errors.Is(err, ErrRefused) {
		r.Log.ErrorContext(ctx, "an answer was refused", "request", a.RequestID, "status", a.Status, "error", err)

		return nil
	}

	if err != nil {
		return fmt.Errorf("answer request %s: %w", a.RequestID, err)
	}

	r.Log.InfoContext(ctx, "answered", "request", a.RequestID, "status", a.Status, "reason", a.Reason)

	return nil
}

// product begins every physical id that we give.
const product = "metaflow-deployer"

// id is the physical id of a deployment's resource: the same for as long as it has its name.
func (r *Resource) id(key deploy.Key) string {
	return strings.Join([]string{product, r.Control.Place.Installation, key.Tenant, key.Name}, "/")
}

// named reads the name of a tenant's deployment off a physical id. Others are CloudFormation's own, or mark what was refused.
func (r *Resource) named(tenant, id string) (name string, ours bool) {
	name, ours = strings.CutPrefix(id, r.id(deploy.Key{Tenant: tenant}))

	return name, ours && deploy.ValidName(name)
}

// unmade is the physical id in the refusal of a request: the one that the resource has, or a mark for what never came to be.
func unmade(request, was string) string {
	if was != "" {
		return was
	}

	return product + "-refused-" + request
}

// actor is who acts in a record: one resource of one stack. It owns what it creates, and nothing else.
func actor(c deploy.Callback) string { return c.StackID + "/" + c.LogicalResourceID }
