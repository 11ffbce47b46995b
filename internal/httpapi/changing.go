package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// UpdateDeployment is the body of an update.
type UpdateDeployment struct {
	Spec   deploy.Spec       `json:"spec" doc:"What the deployment is to be, whole: what is left out gets its default"`
	Labels map[string]string `json:"labels,omitempty" doc:"Instead of those that are there; left out, they stay"`
	TTL    string            `json:"ttl,omitempty" maxLength:"32" doc:"How long it may live, from now: 72h, 3d; 1 hour to 90 days. Left out, the expiry stays"`
}

// ExtendDeployment is the body of an extension.
type ExtendDeployment struct {
	TTL string `json:"ttl" maxLength:"32" doc:"How long it may live, from now: 72h, 3d; 1 hour to 90 days"`
}

type changeInput struct {
	Named
	Matching
	Key string `header:"Idempotency-Key" doc:"1 to 255 visible ASCII characters. The same key and body within 24 hours get the same answer again"`
}

type extendOutput struct {
	ETag string `header:"ETag"`
	Body Deployment
}

// Drift is what a look at everything of a deployment found.
type Drift struct {
	Deployment string          `json:"deployment"`
	Time       time.Time       `json:"time"`
	Drifted    bool            `json:"drifted" doc:"Whether anything is not as the spec wants it; :repair brings it back"`
	Resources  []ResourceDrift `json:"resources"`
}

// ResourceDrift is what a look at one resource found.
type ResourceDrift struct {
	Resource    deploy.Ref   `json:"resource"`
	Kind        string       `json:"kind"`
	State       string       `json:"state" enum:"ready,in progress,failed,absent" doc:"As AWS shows it"`
	Differences []Difference `json:"differences"`
	NotChecked  []string     `json:"notChecked" doc:"Settings that were made and that AWS does not show, or not as they were set"`
}

// Difference is one setting that is not as wanted.
type Difference struct {
	Property string `json:"property" doc:"AWS's name for it"`
	Want     string `json:"want" doc:"What the spec comes to"`
	Have     string `json:"have" doc:"What AWS shows; empty if there is none"`
}

type driftOutput struct{ Body Drift }

// changing registers what acts on a deployment that stands.
func (s *server) changing() {
	put := s.route(http.MethodPut, "/v1/deployments/{name}", "updateDeployment", "Change a deployment to another spec", deploy.Deployer,
		202, 400, 403, 404, 409, 412, 413, 415, 422, 503)
	huma.Register(s.api, s.takesBody(put, s.schema(UpdateDeployment{})), s.update)

	act := func(verb, id, summary string) huma.Operation {
		return s.route(http.MethodPost, "/v1/deployments/{name}:"+verb, id, summary, deploy.Deployer, 202, 403, 404, 409, 412, 422, 503)
	}

	huma.Register(s.api, act("repair", "repairDeployment", "Bring back what drifted"), s.act("repair", s.Control.Repair))
	huma.Register(s.api, act("verify", "verifyDeployment", "Prove with a probe job that it works"), s.act("verify", s.Control.Verify))

	huma.Register(s.api, s.route(http.MethodPost, "/v1/deployments/{name}:drift", "driftDeployment", "Compare everything with the spec", deploy.Viewer, 200, 403, 404, 409, 422, 503), s.drift)

	extend := s.route(http.MethodPost, "/v1/deployments/{name}:extend", "extendDeployment", "Move the expiry", deploy.Deployer, 200, 400, 403, 404, 409, 412, 413, 415, 422, 503)
	huma.Register(s.api, s.takesBody(extend, s.schema(ExtendDeployment{})), s.extend)
}

func (s *server) update(ctx context.Context, in *changeInput) (*accepted, error) {
	req := of(ctx)

	var body UpdateDeployment
	if err := json.Unmarshal(req.body, &body); err != nil {
		return nil, s.fail(ctx, fmt.Errorf("decode a body that fits the schema: %w", err))
	}

	if !deploy.ValidName(in.Name) {
		return nil, noDeployment(ctx, in.Name)
	}

	claim, err := claim(req, "PUT /v1/deployments/"+in.Name+" "+in.IfMatch, in.Key)
	if err != nil {
		return nil, err
	}

	ttl, findings := wished(body.TTL, deploy.Validate(s.Place, in.Name, body.Spec, body.Labels))
	if len(findings) > 0 {
		return nil, fromFindings(findings)
	}

	wish := workflow.UpdateRequest{Name: in.Name, Spec: body.Spec.WithDefaults(), Labels: body.Labels, TTL: ttl, Match: in.match(), Claim: claim}

	return s.changed(ctx, in.Name, wish, s.Control.Update)
}

func (s *server) act(
	verb string, act func(context.Context, deploy.Principal, workflow.UpdateRequest) (workflow.Admitted, error),
) func(context.Context, *changeInput) (*accepted, error) {
	return func(ctx context.Context, in *changeInput) (*accepted, error) {
		if !deploy.ValidName(in.Name) {
			return nil, noDeployment(ctx, in.Name)
		}

		claim, err := claim(of(ctx), "POST /v1/deployments/"+in.Name+":"+verb+" "+in.IfMatch, in.Key)
		if err != nil {
			return nil, err
		}

		return s.changed(ctx, in.Name, workflow.UpdateRequest{Name: in.Name, Match: in.match(), Claim: claim}, act)
	}
}

// changed admits an operation on a deployment and answers it.
func (s *server) changed(
	ctx context.Context, name string, wish workflow.UpdateRequest, act func(context.Context, deploy.Principal, workflow.UpdateRequest) (workflow.Admitted, error),
) (*accepted, error) {
	req := of(ctx)

	admitted, err := act(ctx, req.principal, wish)
	if exists, ok := errors.AsType[*workflow.Exists](err); ok {
		return nil, atWork(ctx, name, exists.Operation)
	}

	if err != nil {
		return nil, s.failAt(ctx, err, noDeployment(ctx, name))
	}

	return &accepted{
		Location: req.base + "/v1/operations/" + admitted.Operation.ID, RetryAfter: soon,
		Body: operationView(admitted.Operation, admitted.Operation.Steps, admitted.Version),
	}, nil
}

// atWork is the refusal while another operation runs.
func atWork(ctx context.Context, name, operation string) *Problem {
	return problem(http.StatusConflict, deploy.Conflict, "operation_in_progress", "Operation %s works on %s at this moment.", operation, name).
		remedy("Wait for that operation, or cancel it.").inTheWay(ctx, operation).header("Retry-After", soon)
}

func (s *server) extend(ctx context.Context, in *changeInput) (*extendOutput, error) {
	var body ExtendDeployment
	if err := json.Unmarshal(of(ctx).body, &body); err != nil {
		return nil, s.fail(ctx, fmt.Errorf("decode a body that fits the schema: %w", err))
	}

	if !deploy.ValidName(in.Name) {
		return nil, noDeployment(ctx, in.Name)
	}

	ttl, err := deploy.ParseTTL(body.TTL)
	if err != nil {
		return nil, s.fail(ctx, err)
	}

	claim, err := claim(of(ctx), "POST /v1/deployments/"+in.Name+":extend "+in.IfMatch, in.Key)
	if err != nil {
		return nil, err
	}

	d, err := s.Control.Extend(ctx, of(ctx).principal, workflow.ExtendRequest{Name: in.Name, TTL: ttl, Match: in.match(), Claim: claim})
	if err != nil {
		return nil, s.failAt(ctx, err, noDeployment(ctx, in.Name))
	}

	return &extendOutput{ETag: etag(d), Body: s.deploymentView(d, Count{Total: d.Total, Ready: d.Ready})}, nil
}

func (s *server) drift(ctx context.Context, in *Named) (*driftOutput, error) {
	if !deploy.ValidName(in.Name) {
		return nil, noDeployment(ctx, in.Name)
	}

	found, err := s.Control.Drift(ctx, of(ctx).principal, in.Name)
	if exists, ok := errors.AsType[*workflow.Exists](err); ok {
		return nil, atWork(ctx, in.Name, exists.Operation)
	}

	if err != nil {
		return nil, s.failAt(ctx, err, noDeployment(ctx, in.Name))
	}

	out := &driftOutput{Body: Drift{Deployment: found.Name, Time: found.Time.UTC(), Drifted: found.Drifted(), Resources: []ResourceDrift{}}}

	for _, r := range found.Resources {
		view := ResourceDrift{
			Resource: r.Resource, Kind: r.Resource.Kind(), State: r.State, Differences: []Difference{}, NotChecked: append([]string{}, r.NotChecked...),
		}
		for _, d := range r.Differences {
			view.Differences = append(view.Differences, Difference(d))
		}

		out.Body.Resources = append(out.Body.Resources, view)
	}

	return out, nil
}
