package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// NewGrant is the body of an allowance.
type NewGrant struct {
	Kind  deploy.GrantKind `json:"kind" enum:"bucket,role,stack-account" doc:"bucket, role: specs of the tenant may name it under existing. stack-account: CloudFormation stacks of that account act for the tenant"`
	Value string           `json:"value" maxLength:"2048" doc:"The bucket's name, the role's ARN, the account's number"`
}

// Grant is what an admin allowed a tenant.
type Grant struct {
	Tenant string           `json:"tenant"`
	Kind   deploy.GrantKind `json:"kind" enum:"bucket,role,stack-account"`
	Value  string           `json:"value"`
	Actor  string           `json:"actor" doc:"Who allowed it"`
	Time   time.Time        `json:"time"`
}

// Grants is what a tenant is allowed.
type Grants struct {
	Grants []Grant `json:"grants"`
}

type (
	grantInput struct{ Acting }
	allowInput struct {
		Acting
		Key string `header:"Idempotency-Key" doc:"1 to 255 visible ASCII characters. The same key and body get the same grant again, for as long as it stands"`
	}
	grantOutput     struct{ Body Grant }
	grantsOutput    struct{ Body Grants }
	withdrawGrantIn struct {
		Acting
		Kind  string `query:"kind" required:"true" enum:"bucket,role,stack-account"`
		Value string `query:"value" required:"true" maxLength:"2048"`
	}
	withdrawGrantOut struct{}
)

// grants registers what admins allow tenants beside what is tagged for them.
func (s *server) grants() {
	list := s.route(http.MethodGet, "/v1/grants", "listGrants", "List what admins allowed a tenant", deploy.Viewer, 200, 403, 422, 503)
	huma.Register(s.api, list, s.listGrants)

	allow := s.route(http.MethodPost, "/v1/grants", "allow", "Allow a tenant (?tenant=) to name a thing", deploy.Admin, 200, 400, 403, 413, 415, 422, 503)
	huma.Register(s.api, s.takesBody(allow, s.schema(NewGrant{})), s.allow)

	withdraw := s.route(http.MethodDelete, "/v1/grants", "withdraw", "Withdraw what was allowed", deploy.Admin, 204, 403, 404, 422, 503)
	withdraw.Description += " Deployments that use the thing already go on doing so."
	huma.Register(s.api, withdraw, s.withdraw)
}

func (s *server) listGrants(ctx context.Context, _ *grantInput) (*grantsOutput, error) {
	list, err := s.Records.Grants(ctx, of(ctx).principal.Tenant)
	if err != nil {
		return nil, s.fail(ctx, err)
	}

	out := &grantsOutput{Body: Grants{Grants: []Grant{}}}
	for _, g := range list {
		out.Body.Grants = append(out.Body.Grants, grantView(g))
	}

	return out, nil
}

func grantView(g deploy.Grant) Grant {
	return Grant{Tenant: g.Tenant, Kind: g.Kind, Value: g.Value, Actor: g.Actor, Time: g.Time.UTC()}
}

func (s *server) allow(ctx context.Context, in *allowInput) (*grantOutput, error) {
	req := of(ctx)

	var body NewGrant
	if err := json.Unmarshal(req.body, &body); err != nil {
		return nil, s.fail(ctx, fmt.Errorf("decode a body that fits the schema: %w", err))
	}

	if refused := deploy.ValidGrant(s.Place, body.Kind, body.Value); refused != nil {
		return nil, s.fail(ctx, refused)
	}

	key, err := lasting(req, "grant", in.Key)
	if err != nil {
		return nil, err
	}

	g := deploy.Grant{Tenant: req.principal.Tenant, Kind: body.Kind, Value: body.Value, Actor: req.principal.Actor, Time: s.Clock.Now(), Key: key}

	list, err := s.Records.Grants(ctx, g.Tenant)
	if err != nil {
		return nil, s.fail(ctx, err)
	}

	same := func(old deploy.Grant) bool { return old.Kind == g.Kind && old.Value == g.Value }

	if slices.ContainsFunc(list, func(old deploy.Grant) bool { return g.Key != "" && old.Key == g.Key && !same(old) }) {
		return nil, s.fail(ctx, store.ErrMismatch)
	}

	if i := slices.IndexFunc(list, same); i >= 0 {
		return &grantOutput{Body: grantView(list[i])}, nil
	}

	if err := s.Records.Allow(ctx, g, s.granted(ctx, "allow", g)); err != nil && !errors.Is(err, store.ErrStale) {
		return nil, s.fail(ctx, err)
	}

	return &grantOutput{Body: grantView(g)}, nil
}

func (s *server) withdraw(ctx context.Context, in *withdrawGrantIn) (*withdrawGrantOut, error) {
	g := deploy.Grant{Tenant: of(ctx).principal.Tenant, Kind: deploy.GrantKind(in.Kind), Value: in.Value}
	if err := s.Records.Withdraw(ctx, g, s.granted(ctx, "withdraw", g)); err != nil {
		return nil, s.failAt(ctx, err, notFound(ctx, "grant of "+in.Kind, in.Value).remedy("GET /v1/grants?tenant=%s lists those that there are.", g.Tenant))
	}

	return &withdrawGrantOut{}, nil
}

// granted is the line of the audit trail about a grant.
func (s *server) granted(ctx context.Context, action string, g deploy.Grant) deploy.Entry {
	req := of(ctx)

	return workflow.Line(deploy.Entry{
		Tenant: g.Tenant, Actor: req.principal.Actor, Action: action, Subject: string(g.Kind) + " " + g.Value, Outcome: deploy.OutcomeDone,
	}, cmp.Or(strings.ReplaceAll(req.id, "/", "-"), deploy.Hash(g)), s.Clock.Now())
}
