package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

type steerInput struct {
	Acting
	ID  string `path:"id" maxLength:"256" doc:"The operation's id"`
	Key string `header:"Idempotency-Key" doc:"1 to 255 visible ASCII characters. The same key and body within 24 hours get the same answer again"`
}

// SkipResource is the body of a skip.
type SkipResource struct {
	Resource deploy.Ref `json:"resource" maxLength:"128" doc:"The resource to leave behind, as the operation's steps name it"`
}

// steering registers the custom methods of an operation (AIP-136).
func (s *server) steering() {
	route := func(verb, id, summary string, role deploy.Role) huma.Operation {
		return s.route(http.MethodPost, "/v1/operations/{id}:"+verb, id, summary, role, 202, 403, 404, 409, 422, 503)
	}

	huma.Register(s.api, route("cancel", "cancelOperation", "Stop a create and roll it back", deploy.Deployer), s.steer("cancel", s.Control.Cancel))
	huma.Register(s.api, route("resume", "resumeOperation", "Go on with an operation that needs attention", deploy.Deployer), s.steer("resume", s.Control.Resume))

	skip := s.route(http.MethodPost, "/v1/operations/{id}:skip", "skipResource", "Leave one resource behind on purpose, and go on", deploy.Admin,
		202, 400, 403, 404, 409, 413, 415, 422, 503)
	huma.Register(s.api, s.takesBody(skip, s.schema(SkipResource{})), s.steer("skip", s.Control.Skip))
}

func (s *server) steer(
	verb string, act func(context.Context, deploy.Principal, workflow.SteerRequest) (workflow.Admitted, error),
) func(context.Context, *steerInput) (*accepted, error) {
	return func(ctx context.Context, in *steerInput) (*accepted, error) {
		req := of(ctx)

		name, ok := split(in.ID)
		if !ok {
			return nil, noOperation(ctx, in.ID)
		}

		var body SkipResource
		if len(req.body) > 0 {
			if err := json.Unmarshal(req.body, &body); err != nil {
				return nil, s.fail(ctx, fmt.Errorf("decode a body that fits the schema: %w", err))
			}
		}

		claim, err := claim(req, "POST /v1/operations/"+in.ID+":"+verb, in.Key)
		if err != nil {
			return nil, err
		}

		admitted, err := act(ctx, req.principal, workflow.SteerRequest{Name: name, Operation: in.ID, Resource: body.Resource, Claim: claim})
		if err != nil {
			return nil, s.failAt(ctx, err, noOperation(ctx, in.ID))
		}

		return &accepted{
			Location: req.base + "/v1/operations/" + in.ID, RetryAfter: soon, Body: operationView(admitted.Operation, admitted.Operation.Steps, admitted.Version),
		}, nil
	}
}
