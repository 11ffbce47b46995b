// Package httpapi is the public contract over HTTP: routes, the schema of requests, views of the nouns, problems and their statuses, the OpenAPI document
// and its page. It knows who may call what, and nothing of how callers were authenticated: the Principal function answers that from verified claims.
//
// It must not know Lambda, API Gateway's events, DynamoDB or Step Functions. HTTP statuses live here and nowhere else.
package httpapi

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/gzipped"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// Control admits operations; *workflow.Control is one.
type Control interface {
	Create(ctx context.Context, p deploy.Principal, req workflow.CreateRequest) (workflow.Admitted, error)
	Plan(ctx context.Context, p deploy.Principal, req workflow.CreateRequest) (deploy.Plan, error)
	PlanUpdate(ctx context.Context, p deploy.Principal, req workflow.UpdateRequest) (deploy.Plan, error)
	Delete(ctx context.Context, p deploy.Principal, req workflow.DeleteRequest) (workflow.Admitted, error)
	Cancel(ctx context.Context, p deploy.Principal, req workflow.SteerRequest) (workflow.Admitted, error)
	Resume(ctx context.Context, p deploy.Principal, req workflow.SteerRequest) (workflow.Admitted, error)
	Skip(ctx context.Context, p deploy.Principal, req workflow.SteerRequest) (workflow.Admitted, error)
	Update(ctx context.Context, p deploy.Principal, req workflow.UpdateRequest) (workflow.Admitted, error)
	Repair(ctx context.Context, p deploy.Principal, req workflow.UpdateRequest) (workflow.Admitted, error)
	Verify(ctx context.Context, p deploy.Principal, req workflow.UpdateRequest) (workflow.Admitted, error)
	Extend(ctx context.Context, p deploy.Principal, req workflow.ExtendRequest) (deploy.Deployment, error)
	Drift(ctx context.Context, p deploy.Principal, name string) (deploy.Drift, error)
}

// Records is what the API reads: records, and what the sweeper noted beside them.
type Records interface {
	Load(ctx context.Context, key deploy.Key) (*store.Record, error)
	Operation(ctx context.Context, key deploy.Key, id string) (deploy.Operation, error)
	Operations(ctx context.Context, key deploy.Key, size int, after string) ([]deploy.Operation, error)
	Deployments(ctx context.Context, list store.List) (page []deploy.Deployment, more bool, err error)
	Orphans(ctx context.Context, size int, after string) (page []deploy.Orphan, more bool, err error)
	store.Trail
	store.Grants
	store.Webhooks
}

// Options are what the API stands on. All but RequestID, Version and Portal must be set.
type Options struct {
	Control Control
	Records Records
	Graphs  *workflow.Graphs
	Place   deploy.Place
	// Principal tells who calls, from verified claims only. Its error is a *deploy.Error of class denied.
	Principal func(*http.Request) (deploy.Principal, error)
	// RequestID names the request in problems; empty where nothing names requests.
	RequestID func(*http.Request) string
	// CheckURL tells why a webhook's URL cannot be called.
	CheckURL func(url string) *deploy.Error
	Clock    workflow.Clock
	Log      *slog.Logger
	// Version is the product's, for the OpenAPI document.
	Version string
	// Portal is served at /portal and below, open to all.
	Portal http.Handler
}

// base is where the same API stands for callers who sign with IAM.
const iamBase = "/iam"

type server struct {
	Options
	mux *chi.Mux
	api huma.API
	// headers are in every answer.
	headers http.Header
	// described is the whole OpenAPI document, document and page as it is served. It is written when somebody first asks for it: most functions never serve it, and all would wait.
	described func() *huma.OpenAPI
	document  func() gzipped.Text
	page      func() gzipped.Text
}

// New wires the API. It panics if the routes and their types do not fit together.
func New(o Options) http.Handler { return http.HandlerFunc(serving(o).serve) }

func serving(o Options) *server {
	s := &server{Options: o, mux: chi.NewMux(), headers: http.Header{
		"X-Content-Type-Options":    {"nosniff"},
		"Cache-Control":             {"no-store"},
		"Referrer-Policy":           {"no-referrer"},
		"Strict-Transport-Security": {"max-age=63072000"},
		"Content-Security-Policy":   {"default-src 'none'; frame-ancestors 'none'"},
	}}
	s.Version = cmp.Or(s.Version, "development")

	s.mux.NotFound(func(w http.ResponseWriter, r *http.Request) {
		s.write(w, r, problem(http.StatusNotFound, deploy.Gone, "no_such_route", "There is nothing at this path.").remedy("GET /openapi.json lists the routes."))
	})
	s.mux.MethodNotAllowed(s.methodNotAllowed)

	s.api = humachi.New(s.mux, s.config())
	s.deployments()
	s.plans()
	s.operations()
	s.steering()
	s.changing()
	s.audit()
	s.grants()
	s.webhooks()
	s.kinds()
	s.orphans()
	s.open()
	s.finishDocument()

	return s
}

// request is what is known of one request beside what huma hands to a handler.
type request struct {
	// base is what stood before /v1: empty or /iam.
	base string
	// path is the path as the caller wrote it, id names the request.
	path, id string
	// principal is who calls, with the tenant that they act on.
	principal deploy.Principal
	// body is the request's body as it came, checked against the schema.
	body []byte
}

type requestKey struct{}

func of(ctx context.Context) *request {
	r, _ := ctx.Value(requestKey{}).(*request)

	return r
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	req := &request{path: r.URL.EscapedPath()}
	if s.RequestID != nil {
		req.id = s.RequestID(r)
	}

	if strings.HasPrefix(r.URL.Path, iamBase+"/v1/") {
		req.base = iamBase
		u := *r.URL
		u.Path, u.RawPath = strings.TrimPrefix(u.Path, iamBase), strings.TrimPrefix(u.RawPath, iamBase)
		c := *r
		c.URL = &u
		r = &c
	}

	r = r.WithContext(context.WithValue(r.Context(), requestKey{}, req))

	if r.Method == http.MethodHead {
		r.Method, w = http.MethodGet, bodiless{w} // r is a copy
	}

	maps.Copy(w.Header(), s.headers)

	defer func() { //nolint:contextcheck // the request carries its context
		if v := recover(); v != nil {
			s.Log.ErrorContext(r.Context(), "panic", "panic", v, "path", req.path, "stack", string(debug.Stack()))
			s.write(w, r, internal())
		}
	}()

	s.mux.ServeHTTP(w, r)
}

// bodiless answers HEAD: as GET is answered, without the body (RFC 9110, 9.3.2). Servers drop it too, API Gateway's events know no such rule.
type bodiless struct{ http.ResponseWriter }

func (bodiless) Write(b []byte) (int, error) { return len(b), nil }

func (s *server) methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	allow := s.allowed(r.URL.Path)
	if len(allow) == 0 {
		s.mux.NotFoundHandler()(w, r)

		return
	}

	p := problem(http.StatusMethodNotAllowed, deploy.Invalid, "method_not_allowed", "This path does not take %s.", cleanMethod(r.Method)).
		remedy("Use %s.", strings.Join(allow, " or "))
	s.write(w, r, p.header("Allow", strings.Join(allow, ", ")))
}

// allowed lists the methods that a path takes. A custom method such as {name}:plan is a route of its own, although the router would take it for a part of a
// name.
func (s *server) allowed(path string) (methods []string) {
	custom := strings.Contains(path, ":")

	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		found := chi.NewRouteContext()
		if !s.mux.Match(found, method, path) || custom != strings.Contains(found.RoutePattern(), ":") {
			continue
		}

		methods = append(methods, method)
		if method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
	}

	return methods
}

// cleanMethod keeps what a caller invented out of the answer.
func cleanMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}

	return "that method"
}

// roleKey is where an operation's metadata says which role it takes.
const roleKey = "role"

// admit stands before every handler under /v1: who calls, may they, whose tenant do they act on.
func (s *server) admit(ctx huma.Context, next func(huma.Context)) {
	r, w := humachi.Unwrap(ctx)
	req := of(r.Context())

	p, err := s.Principal(r)
	if err != nil {
		s.write(w, r, s.fail(r.Context(), err))

		return
	}

	role, _ := ctx.Operation().Metadata[roleKey].(deploy.Role)
	if !p.Can(role) {
		s.write(w, r, problem(http.StatusForbidden, deploy.Denied, "role_missing", "This takes the role %s.", role).
			remedy("Ask an administrator of the installation for the role."))

		return
	}

	// A custom method that there is not for this method of HTTP: the router takes it for a part of the name.
	if strings.Contains(chi.URLParam(r, "name")+chi.URLParam(r, "id"), ":") {
		if len(s.allowed(r.URL.Path)) > 0 {
			s.methodNotAllowed(w, r)
		} else {
			s.write(w, r, problem(http.StatusNotFound, deploy.Gone, "not_found", "There is no method %s here.", r.URL.Path[strings.LastIndexByte(r.URL.Path, ':')+1:]).
				remedy("GET /openapi.json lists those that there are, such as :repair of a deployment and :cancel of an operation."))
		}

		return
	}

	// What Go cannot read of a query it leaves out, and a dry run would become the real thing.
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		s.write(w, r, problem(http.StatusUnprocessableEntity, deploy.Invalid, "invalid_parameter", "The query cannot be read.").
			remedy("Encode it as URLs want it: a percent sign is %%25, a semicolon %%3B."))

		return
	}

	if p := bodyless(ctx.Operation(), r); p != nil {
		s.write(w, r, p)

		return
	}

	for _, name := range slices.Sorted(maps.Keys(query)) {
		if len(query[name]) > 1 {
			s.write(w, r, problem(http.StatusUnprocessableEntity, deploy.Invalid, "invalid_parameter", "The parameter stands there twice.").at(deploy.Scrub(name)).
				remedy("Give it once."))

			return
		}
	}

	if query.Has("tenant") {
		if !p.Can(deploy.Admin) {
			s.write(w, r, problem(http.StatusForbidden, deploy.Denied, "role_missing", "Only an admin may name a tenant.").at("tenant").
				remedy("Leave the parameter out: your tenant is in your credentials."))

			return
		}

		if p.Tenant = query.Get("tenant"); !deploy.ValidTenant(p.Tenant) {
			s.write(w, r, problem(http.StatusUnprocessableEntity, deploy.Invalid, "invalid_parameter", "This is not a tenant's name.").at("tenant").
				remedy("Name one tenant."))

			return
		}
	}

	req.principal = p

	next(ctx)
}
