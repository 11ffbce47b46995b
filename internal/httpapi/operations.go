package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

type operationInput struct {
	Acting
	ID    string `path:"id" maxLength:"256" doc:"The operation's id"`
	Wait  string `query:"wait" maxLength:"32" example:"25s" doc:"How long to wait for a change: a duration like 10s, or seconds; more than 25s is taken for 25s"`
	After string `query:"after" maxLength:"20" doc:"Answer at once if the operation's version is higher than this; without it, wait for a change from now on"`
}

type operationOutput struct{ Body Operation }

type operationsInput struct {
	Acting
	Page
	Deployment string `query:"deployment" required:"true" maxLength:"256" doc:"The deployment's name"`
}

// Operations is a page of operations.
type Operations struct {
	Operations    []Operation `json:"operations"`
	NextPageToken string      `json:"nextPageToken,omitempty" doc:"For ?pageToken=; left out at the end"`
}

type operationsOutput struct{ Body Operations }

const (
	// longestWait stays below API Gateway's own 30 seconds.
	longestWait = 25 * time.Second
	// look is between two reads while a caller waits.
	look = time.Second
	// margin is kept for the answer when the invocation itself has a deadline.
	margin = 2 * time.Second
)

func (s *server) operations() {
	huma.Register(s.api, s.route(http.MethodGet, "/v1/operations/{id}", "getOperation", "Show an operation, or wait for a change", deploy.Viewer, 200, 403, 404, 422, 503), s.operation)
	huma.Register(s.api, s.route(http.MethodGet, "/v1/operations", "listOperations", "List a deployment's operations, newest first", deploy.Viewer, 200, 400, 403, 404, 422, 503), s.history)
}

// split takes an operation's id apart: the deployment's name, a hyphen, and a ULID in lower case (26 characters of Crockford's base 32). The name leads
// into the caller's own tenant only, so a foreign id is as unknown as a malformed one.
func split(id string) (name string, ok bool) {
	i := strings.LastIndexByte(id, '-')
	if i < 0 || len(id)-i-1 != 26 || !deploy.ValidName(id[:i]) {
		return "", false
	}

	return id[:i], !strings.ContainsFunc(id[i+1:], func(r rune) bool { return !strings.ContainsRune("0123456789abcdefghjkmnpqrstvwxyz", r) })
}

func (s *server) operation(ctx context.Context, in *operationInput) (*operationOutput, error) {
	wait, err := duration(in.Wait)
	if err != nil {
		return nil, err
	}

	after := int64(-1)
	if in.After != "" {
		if after, err = strconv.ParseInt(in.After, 10, 64); err != nil || after < 0 {
			return nil, problem(http.StatusUnprocessableEntity, deploy.Invalid, "invalid_parameter", "This is not a version.").at("after").
				remedy("Give the version of the operation as you have seen it last.")
		}
	}

	name, ok := split(in.ID)
	if !ok {
		return nil, noOperation(ctx, in.ID)
	}

	key := deploy.Key{Tenant: of(ctx).principal.Tenant, Name: name}

	end := s.Clock.Now().Add(wait)
	if deadline, ok := ctx.Deadline(); ok && deadline.Add(-margin).Before(end) {
		end = deadline.Add(-margin)
	}

	for {
		view, err := s.find(ctx, key, in.ID)
		if err != nil {
			return nil, s.failAt(ctx, err, noOperation(ctx, in.ID))
		}

		if after < 0 {
			after = view.Version
		}

		left := end.Sub(s.Clock.Now())
		if view.Done || view.Version > after || left <= 0 {
			return &operationOutput{Body: view}, nil
		}

		s.Clock.Sleep(ctx, min(look, left))
	}
}

// find shows an operation: live if it is the current one, as it was frozen otherwise.
func (s *server) find(ctx context.Context, key deploy.Key, id string) (Operation, error) {
	record, err := s.Records.Load(ctx, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Operation{}, err
	}

	if err == nil && record.Operation.ID == id {
		return s.current(record), nil
	}

	op, err := s.Records.Operation(ctx, key, id)
	if err != nil {
		return Operation{}, err
	}

	return operationView(op, op.Steps, op.FrozenVersion), nil
}

// duration reads how long to wait, coerced to what is allowed. Zero, and no text at all, is not to wait.
func duration(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}

	d, err := time.ParseDuration(text)
	if seconds, bare := strconv.Atoi(text); bare == nil {
		d, err = time.Duration(min(seconds, 60))*time.Second, nil
	}

	if err != nil || d < 0 {
		return 0, problem(http.StatusUnprocessableEntity, deploy.Invalid, "invalid_parameter", "This is not a duration.").at("wait").
			remedy("Write it like 25s.")
	}

	return min(d, longestWait), nil
}

func (s *server) history(ctx context.Context, in *operationsInput) (*operationsOutput, error) {
	here := scope("operations", of(ctx).principal.Tenant, in.Deployment)

	after, err := in.after(here)
	if err != nil {
		return nil, err
	}

	record, err := s.load(ctx, in.Deployment, true)
	if err != nil {
		return nil, err
	}

	// One more than asked for tells whether there is another page.
	page, err := s.Records.Operations(ctx, record.Deployment.Key, in.size()+1, after)
	if err != nil {
		return nil, s.fail(ctx, err)
	}

	out := &operationsOutput{Body: Operations{Operations: []Operation{}}}

	for i, op := range page {
		if i == in.size() {
			out.Body.NextPageToken = pageToken(page[i-1].ID, here)

			break
		}

		view := operationView(op, op.Steps, op.FrozenVersion)
		if op.ID == record.Operation.ID {
			view = s.current(record)
		}

		out.Body.Operations = append(out.Body.Operations, view)
	}

	return out, nil
}
