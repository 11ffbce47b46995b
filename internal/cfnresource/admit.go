package cfnresource

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// admit has the operation of a request admitted and answers its id, or the answer where there is nothing to wait for. With an error the request waits.
func (r *Resource) admit(ctx context.Context, c deploy.Callback, req request) (operation string, out *answer, err error) {
	record, err := r.Records.Load(ctx, c.Key)

	switch {
	case errors.Is(err, store.ErrNotFound):
		record = nil
	case err != nil:
		return "", nil, fmt.Errorf("read deployment %s: %w", c.Name, err)
	case record.Deployment.Phase.Vacant():
		record = nil
	}

	var admitted workflow.Admitted

	if c.RequestType == requestDelete {
		if record == nil || record.Deployment.Owner != actor(c) {
			return "", r.done(c), nil // what this resource made is gone, or was never made
		}

		admitted, err = r.Control.Delete(ctx, principal(c), workflow.DeleteRequest{Name: c.Name, Data: req.Data, Claim: claim(c)})
	} else {
		if operation, out, err = r.stands(ctx, c, req, record); operation != "" || out != nil || err != nil {
			return operation, out, err
		}

		admitted, err = r.change(ctx, c, req, record == nil)
	}

	if err != nil {
		return r.refusal(c, req, err)
	}

	return admitted.Operation.ID, nil, nil
}

// stands looks at the deployment that has the name already: it may be another's, at work, or what is asked for.
func (r *Resource) stands(ctx context.Context, c deploy.Callback, req request, record *store.Record) (operation string, out *answer, err error) {
	if record == nil {
		return "", nil, nil
	}

	header := record.Deployment
	same := deploy.Hash(header.Spec) == deploy.Hash(req.Spec) && maps.Equal(header.Labels, req.Labels)

	switch {
	case header.Owner != actor(c):
		a := r.failed(c, req, deploy.Errorf(deploy.Conflict, "already_exists", "The tenant has a deployment %s already, and this resource did not make it.", c.Name).
			WithRemedy("Choose another Name, or delete that deployment first.").At("/name"))

		return "", &a, nil
	case header.Unfinished && record.Operation.Kind == deploy.Create && same:
		return header.Operation, nil, nil
	case header.Unfinished:
		return "", nil, fmt.Errorf("operation %s works on it", header.Operation)
	case header.Phase == deploy.PhaseActive && same && req.TTL == 0:
		a, err := r.made(ctx, c, req, header.Operation)

		return "", &a, err
	}

	return "", nil, nil
}

// change creates the deployment of a request, or makes what stands what is asked for.
func (r *Resource) change(ctx context.Context, c deploy.Callback, req request, vacant bool) (workflow.Admitted, error) {
	if vacant {
		return r.Control.Create(ctx, principal(c), workflow.CreateRequest{
			Name: req.Name, Spec: req.Spec, Labels: req.Labels, TTL: req.TTL, Verify: req.Verify, Claim: claim(c),
		})
	}

	labels := req.Labels
	if labels == nil {
		labels = map[string]string{} // left out of the template, they go
	}

	return r.Control.Update(ctx, principal(c), workflow.UpdateRequest{Name: req.Name, Spec: req.Spec, Labels: labels, TTL: req.TTL, Claim: claim(c)})
}

// refusal sorts what an admission answers: what another minute may mend makes the request wait, anything else is told.
func (r *Resource) refusal(c deploy.Callback, req request, err error) (operation string, out *answer, wait error) {
	if exists, ok := errors.AsType[*workflow.Exists](err); ok && c.RequestType == requestDelete {
		return exists.Operation, nil, nil // a delete runs that does otherwise with the data
	}

	if errors.Is(err, store.ErrNotFound) && c.RequestType == requestDelete {
		return "", r.done(c), nil
	}

	if refused, ok := errors.AsType[*workflow.Refused](err); ok {
		a := r.failed(c, req, nil)
		a.Reason = reason(ofTemplate(refused.Findings))

		return "", &a, nil
	}

	if e, ok := errors.AsType[*deploy.Error](err); ok && !e.Class.Retryable() {
		a := r.failed(c, req, e)

		return "", &a, nil
	}

	return "", nil, err
}

// outcome is the answer to a request whose operation is done or has no more time.
func (r *Resource) outcome(ctx context.Context, c deploy.Callback, req request, op deploy.Operation) (answer, error) {
	if op.State == deploy.Succeeded {
		if c.RequestType == requestDelete {
			return *r.done(c), nil
		}

		return r.made(ctx, c, req, op.ID)
	}

	why := op.Error
	if !op.State.Done() {
		why = deploy.Errorf(deploy.NotReady, "overdue", "Operation %s is %s and goes on; the stack would not have waited longer.", op.ID, op.State).
			WithRemedy("Raise ServiceTimeout up to 3600; the operation tells what takes so long.")
	}

	if why == nil {
		why = deploy.Errorf(deploy.Internal, "failed", "Operation %s ended %s.", op.ID, op.State).WithRemedy("See the operation for what went wrong.")
	}

	// A replacement that failed is nobody's: CloudFormation goes on with the old one, and knows no other.
	if c.RequestType == requestUpdate && op.Kind == deploy.Create && op.State != deploy.RolledBack && req.Was != c.PhysicalID {
		_, err := r.Control.Delete(ctx, principal(c), workflow.DeleteRequest{Name: c.Name, Data: deploy.IfEmpty})
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			r.Log.WarnContext(ctx, "delete a replacement that failed", "deployment", c.Name, "error", deploy.Scrub(err.Error()))

			why = why.WithRemedy("%s Delete deployment %s, which was to be the replacement.", why.Remedy, c.Name)
		}
	}

	a := r.failed(c, req, why)
	a.Reason += " (operation " + op.ID + ")"

	return a, nil
}

// made is the answer for a deployment that stands.
func (r *Resource) made(ctx context.Context, c deploy.Callback, req request, operation string) (answer, error) {
	record, err := r.Records.Load(ctx, c.Key)

	gone := errors.Is(err, store.ErrNotFound)
	if err != nil && !gone {
		return answer{}, fmt.Errorf("read deployment %s: %w", c.Name, err)
	}

	if gone || record.Deployment.Phase.Vacant() || record.Deployment.Phase == deploy.PhaseDeleting {
		return r.failed(c, req, deploy.Errorf(deploy.Gone, "deleted", "Deployment %s was made, and deleted since.", c.Name).
			WithRemedy("Update the stack again to have it made anew.")), nil
	}

	data, err := deploy.Configuration(record.Deployment, record.Resources)
	if err != nil {
		return answer{}, fmt.Errorf("derive the attributes of %s: %w", c.Name, err)
	}

	a := answerOf(c, success, c.PhysicalID)
	a.NoEcho = secret(data)
	a.Data = data
	a.Data["Name"], a.Data["Tenant"], a.Data["OperationId"] = c.Name, c.Tenant, operation

	if !a.fits() {
		return r.failed(c, req, deploy.Errorf(deploy.Invalid, "too_large", "The attributes of %s are more than CloudFormation takes.", c.Name).
			WithRemedy("Shorten the prefixes in the spec.")), nil
	}

	return a, nil
}

// done is the answer to a delete of what is gone.
func (r *Resource) done(c deploy.Callback) *answer {
	a := answerOf(c, success, c.PhysicalID)

	return &a
}

// failed is the answer to a request that failed. The id of a create is told all the same, so that CloudFormation asks for what there may be of it to be
// deleted; an update keeps the one that it had, because another would make it a replacement.
func (r *Resource) failed(c deploy.Callback, req request, why *deploy.Error) answer {
	id := c.PhysicalID
	if c.RequestType == requestUpdate && req.Was != "" {
		id = req.Was
	}

	a := answerOf(c, failure, id)
	if why != nil {
		a.Reason = reason(ofTemplate([]deploy.Finding{why.Finding()}))
	}

	return a
}

func principal(c deploy.Callback) deploy.Principal {
	return deploy.Principal{Tenant: c.Tenant, Actor: actor(c), Roles: []deploy.Role{deploy.Deployer}}
}

// claim makes a request that comes twice the same one. The space keeps it apart from the keys of HTTP, which have none.
func claim(c deploy.Callback) *store.Claim {
	return &store.Claim{
		Tenant: c.Tenant, Key: "cloudformation " + c.RequestID, Fingerprint: deploy.Hash([]string{c.RequestType, actor(c), c.Name, c.Request}),
	}
}
