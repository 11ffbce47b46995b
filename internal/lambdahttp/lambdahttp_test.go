package lambdahttp_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/lambdahttp"
)

// real is the event that the function is tried with everywhere: a POST with a token.
func real(t *testing.T) events.APIGatewayV2HTTPRequest {
	t.Helper()

	b, err := os.ReadFile("../../events/api.json")
	if err != nil {
		t.Fatal(err)
	}

	var e events.APIGatewayV2HTTPRequest

	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()

	if err := dec.Decode(&e); err != nil {
		t.Fatal(err)
	}

	return e
}

// seen is what a handler sees of a request.
type seen struct {
	Method, Path, Query, Body, RequestID, Remote string
	Header                                       http.Header
	Deadline                                     bool
}

func send(t *testing.T, ctx context.Context, e events.APIGatewayV2HTTPRequest) (seen, events.APIGatewayV2HTTPResponse) { //nolint:revive // t stands first in helpers
	t.Helper()

	var s seen

	handle := lambdahttp.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}

		_, deadline := r.Context().Deadline()
		s = seen{
			Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Body: string(body), Header: r.Header, Deadline: deadline,
			RequestID: lambdahttp.RequestID(r), Remote: r.RemoteAddr,
		}

		w.Header().Set("Location", "/v1/operations/x, y")
		w.Header().Add("Vary", "a")
		w.Header().Add("Vary", "b")
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte(`{"id":"é"}`))
	}), slog.New(slog.DiscardHandler))

	res, err := handle(ctx, e)
	if err != nil {
		t.Fatalf("an error shows nothing to callers: %v", err)
	}

	return s, res
}

func TestEvent(t *testing.T) {
	t.Parallel()

	e := real(t)
	if want := strconv.Itoa(len(e.Body)); e.Headers["content-length"] != want {
		t.Fatalf("events/api.json: content-length %s, want %s", e.Headers["content-length"], want)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	s, res := send(t, ctx, e)

	if s.Method != http.MethodPost || s.Path != "/v1/deployments" || s.Query != "tenant=acme" || s.Body != e.Body || !s.Deadline || s.RequestID != "KzT2XjD2oAMEVxQ=" || s.Remote != "198.51.100.7" {
		t.Errorf("request: %+v", s)
	}

	for name, want := range map[string][]string{
		"Idempotency-Key": {"order,17"}, "Accept": {"application/json, text/plain;q=0.5"}, "Cookie": {"theme=dark", "lang=en"}, "Content-Type": {"application/json"},
	} {
		if diff := cmp.Diff(want, s.Header[name]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}

	if res.StatusCode != http.StatusAccepted || res.Body != `{"id":"é"}` || res.IsBase64Encoded || res.Headers["Location"] != "/v1/operations/x, y" || res.Headers["Vary"] != "a,b" {
		t.Errorf("response: %+v", res)
	}
}

func TestShapes(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		reason string
		change func(*events.APIGatewayV2HTTPRequest)
		path   string
		query  string
		body   string
		status int
	}{
		"Stage":        {reason: "a named stage stands before the path", change: func(e *events.APIGatewayV2HTTPRequest) { e.RequestContext.Stage, e.RawPath = "prod", "/prod/v1/kinds" }, path: "/v1/kinds"},
		"StageOnly":    {reason: "nothing behind it", change: func(e *events.APIGatewayV2HTTPRequest) { e.RequestContext.Stage, e.RawPath = "prod", "/prod" }, path: "/"},
		"StageAlike":   {reason: "/v1x is not the stage v1", change: func(e *events.APIGatewayV2HTTPRequest) { e.RequestContext.Stage, e.RawPath = "v1", "/v1x/kinds" }, path: "/v1x/kinds"},
		"StageDefault": {reason: "no stage in the path", change: func(e *events.APIGatewayV2HTTPRequest) { e.RawPath = "/$default/v1" }, path: "/$default/v1"},
		"NoRawPath":    {reason: "the context has it too", change: func(e *events.APIGatewayV2HTTPRequest) { e.RawPath, e.RequestContext.HTTP.Path = "", "/v1/kinds" }, path: "/v1/kinds"},
		"Percent":      {reason: "the path comes decoded", change: func(e *events.APIGatewayV2HTTPRequest) { e.RawPath = "/v1/deployments/100%" }, path: "/v1/deployments/100%"},
		"Question":     {reason: "a decoded ? is no query", change: func(e *events.APIGatewayV2HTTPRequest) { e.RawPath = "/v1/deployments/a?tenant=b" }, path: "/v1/deployments/a?tenant=b"},
		"Space":        {reason: "nor is a space the end", change: func(e *events.APIGatewayV2HTTPRequest) { e.RawPath = "/v1/deployments/a b" }, path: "/v1/deployments/a b"},
		"Slashes":      {reason: "two slashes are no host", change: func(e *events.APIGatewayV2HTTPRequest) { e.RawPath = "//evil.example/v1" }, path: "//evil.example/v1"},
		"NoQuery":      {reason: "none", change: func(e *events.APIGatewayV2HTTPRequest) { e.RawQueryString, e.QueryStringParameters = "", nil }, query: "-"},
		"Twice":        {reason: "a repeated parameter stays repeated", change: func(e *events.APIGatewayV2HTTPRequest) { e.RawQueryString = "a=1&a=2" }, query: "a=1&a=2"},
		"Base64": {reason: "a body in base64", change: func(e *events.APIGatewayV2HTTPRequest) {
			e.Body, e.IsBase64Encoded = base64.StdEncoding.EncodeToString([]byte("\x00\xff")), true
		}, body: "\x00\xff"},
		"BadBase64": {reason: "a body that is none", change: func(e *events.APIGatewayV2HTTPRequest) { e.Body, e.IsBase64Encoded = "!!", true }, status: http.StatusBadRequest},
		"NoMethod":  {reason: "another sort of event", change: func(e *events.APIGatewayV2HTTPRequest) { e.RequestContext.HTTP.Method = "" }, status: http.StatusBadRequest},
		"BadMethod": {reason: "no method", change: func(e *events.APIGatewayV2HTTPRequest) { e.RequestContext.HTTP.Method = "GE T" }, status: http.StatusBadRequest},
		"NoHost":    {reason: "no host", change: func(e *events.APIGatewayV2HTTPRequest) { e.RequestContext.DomainName = "" }, status: http.StatusBadRequest},
		"BadHost":   {reason: "a path in the host", change: func(e *events.APIGatewayV2HTTPRequest) { e.RequestContext.DomainName = "a/b" }, status: http.StatusBadRequest},
		"Empty":     {reason: "no event at all", change: func(e *events.APIGatewayV2HTTPRequest) { *e = events.APIGatewayV2HTTPRequest{} }, status: http.StatusBadRequest},
	}

	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			e := real(t)
			tc.change(&e)

			s, res := send(t, t.Context(), e)

			if tc.status != 0 {
				if res.StatusCode != tc.status || s.Method != "" || res.Body != `{"message":"Bad Request"}` {
					t.Errorf("%s: %+v, handler saw %+v", tc.reason, res, s)
				}

				return
			}

			if res.StatusCode != http.StatusAccepted || tc.path != "" && s.Path != tc.path || tc.body != "" && s.Body != tc.body ||
				tc.query == "-" && s.Query != "" || tc.query != "" && tc.query != "-" && s.Query != tc.query {
				t.Errorf("%s: %d %+v", tc.reason, res.StatusCode, s)
			}
		})
	}
}

func TestBinaryAndSilence(t *testing.T) {
	t.Parallel()

	binary := lambdahttp.New(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte{0, 0xff}) }), slog.New(slog.DiscardHandler))

	res, err := binary(t.Context(), real(t))
	if err != nil || !res.IsBase64Encoded || res.Body != base64.StdEncoding.EncodeToString([]byte{0, 0xff}) {
		t.Errorf("binary: %+v %v", res, err)
	}

	silent := lambdahttp.New(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), slog.New(slog.DiscardHandler))

	res, err = silent(t.Context(), real(t))
	if err != nil || res.StatusCode != http.StatusOK || res.Body != "" {
		t.Errorf("a handler that says nothing means 200, as everywhere: %+v %v", res, err)
	}
}

func principals(t *testing.T) *lambdahttp.Principals {
	t.Helper()

	p, err := lambdahttp.NewPrincipals("tenant", "roles", map[string]lambdahttp.Grant{
		"arn:aws:iam::111111111111:root":            {Tenant: "everybody", Roles: []deploy.Role{deploy.Viewer}},
		"arn:aws:iam::111111111111:role/team/a/ci":  {Tenant: "team-a", Roles: []deploy.Role{deploy.Deployer}},
		"arn:aws:iam::111111111111:user/people/ann": {Tenant: "ops", Roles: []deploy.Role{deploy.Admin}},
		"arn:aws:iam::222222222222:role/ci":         {Tenant: "team-b", Roles: []deploy.Role{deploy.Deployer}},
	})
	if err != nil {
		t.Fatal(err)
	}

	return p
}

// ask answers who an event comes from, as a handler learns it.
func ask(t *testing.T, e events.APIGatewayV2HTTPRequest) (deploy.Principal, error) {
	t.Helper()

	var (
		got deploy.Principal
		err error
	)

	p := principals(t)
	handle := lambdahttp.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, err = p.Principal(r)
		w.WriteHeader(http.StatusOK)
	}), slog.New(slog.DiscardHandler))

	if _, err := handle(t.Context(), e); err != nil {
		t.Fatal(err)
	}

	return got, err
}

func TestToken(t *testing.T) {
	t.Parallel()

	all := []deploy.Role{deploy.Viewer, deploy.Deployer}

	tests := map[string]struct {
		reason string
		claims map[string]string
		want   deploy.Principal
	}{
		"Array":         {"API Gateway flattens arrays", map[string]string{"tenant": "acme", "roles": "[viewer deployer]", "sub": "u"}, deploy.Principal{Tenant: "acme", Actor: "u", Roles: all}},
		"Commas":        {"one string with commas", map[string]string{"tenant": "acme", "roles": "viewer,deployer", "sub": "u"}, deploy.Principal{Tenant: "acme", Actor: "u", Roles: all}},
		"Single":        {"one role", map[string]string{"tenant": "acme", "roles": "deployer", "sub": "u"}, deploy.Principal{Tenant: "acme", Actor: "u", Roles: []deploy.Role{deploy.Deployer}}},
		"JSON":          {"an array as text", map[string]string{"tenant": "acme", "roles": `["viewer","deployer"]`, "sub": "u"}, deploy.Principal{Tenant: "acme", Actor: "u", Roles: all}},
		"Others":        {"roles of other products", map[string]string{"tenant": "acme", "roles": "[billing viewer Admin superadmin]", "sub": "u"}, deploy.Principal{Tenant: "acme", Actor: "u", Roles: []deploy.Role{deploy.Viewer}}},
		"Twice":         {"a role once", map[string]string{"tenant": "acme", "roles": "[viewer viewer]", "sub": "u"}, deploy.Principal{Tenant: "acme", Actor: "u", Roles: []deploy.Role{deploy.Viewer}}},
		"Machine":       {"a client has no subject", map[string]string{"tenant": "acme", "roles": "viewer", "client_id": "c"}, deploy.Principal{Tenant: "acme", Actor: "c", Roles: []deploy.Role{deploy.Viewer}}},
		"ShortTenant":   {"one letter is a tenant", map[string]string{"tenant": "a", "roles": "viewer", "sub": "u"}, deploy.Principal{Tenant: "a", Actor: "u", Roles: []deploy.Role{deploy.Viewer}}},
		"NoTenant":      {"nothing to act on", map[string]string{"roles": "admin", "sub": "u"}, deploy.Principal{}},
		"EmptyTenant":   {"likewise", map[string]string{"tenant": "", "roles": "admin", "sub": "u"}, deploy.Principal{}},
		"ManyTenants":   {"an array is no tenant", map[string]string{"tenant": "[acme other]", "roles": "admin", "sub": "u"}, deploy.Principal{}},
		"HashTenant":    {"a separator of the table's keys", map[string]string{"tenant": "acme#other", "roles": "admin", "sub": "u"}, deploy.Principal{}},
		"SlashTenant":   {"a path", map[string]string{"tenant": "../other", "roles": "admin", "sub": "u"}, deploy.Principal{}},
		"UpperTenant":   {"tenants are lower case", map[string]string{"tenant": "ACME", "roles": "admin", "sub": "u"}, deploy.Principal{}},
		"LongTenant":    {"63 at most", map[string]string{"tenant": strings.Repeat("a", 64), "roles": "admin", "sub": "u"}, deploy.Principal{}},
		"NoRoles":       {"nothing to do", map[string]string{"tenant": "acme", "sub": "u"}, deploy.Principal{}},
		"UnknownRoles":  {"none of ours", map[string]string{"tenant": "acme", "roles": "[root ADMIN viewers]", "sub": "u"}, deploy.Principal{}},
		"RolesElsewhre": {"another claim does not count", map[string]string{"tenant": "acme", "groups": "[admin]", "sub": "u"}, deploy.Principal{}},
	}

	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			e := real(t)
			e.RequestContext.Authorizer.JWT.Claims = tc.claims
			e.Headers["tenant"], e.Headers["x-tenant"], e.Headers["roles"] = "other", "other", "admin"

			checkPrincipal(t, e, tc.want, tc.reason)
		})
	}
}

func TestIAM(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		reason, arn, tenant string
		role                deploy.Role
	}{
		"Session":        {"a session of a role; its ARN lacks the path", "arn:aws:sts::111111111111:assumed-role/ci/build-7", "team-a", deploy.Deployer},
		"SessionSlashes": {"the session's name is the caller's choice and decides nothing", "arn:aws:sts::111111111111:assumed-role/other/ci", "everybody", deploy.Viewer},
		"OtherAccount":   {"the same role's name in another account", "arn:aws:sts::222222222222:assumed-role/ci/x", "team-b", deploy.Deployer},
		"User":           {"exactly that user", "arn:aws:iam::111111111111:user/people/ann", "ops", deploy.Admin},
		"OtherUser":      {"another path is another user; the account's root stands for them", "arn:aws:iam::111111111111:user/ann", "everybody", deploy.Viewer},
		"Root":           {"the root itself", "arn:aws:iam::111111111111:root", "everybody", deploy.Viewer},
		"NoRoot":         {"an account whose root is not named", "arn:aws:iam::222222222222:user/ann", "", ""},
		"Foreign":        {"an account that is not named", "arn:aws:sts::333333333333:assumed-role/ci/x", "", ""},
		"Partition":      {"another partition is another account", "arn:aws-cn:sts::111111111111:assumed-role/ci/x", "", ""},
		"Lookalike":      {"a role whose name starts alike", "arn:aws:sts::222222222222:assumed-role/ci2/x", "", ""},
		"Rubbish":        {"no ARN", "root", "", ""},
		"Nothing":        {"nothing", "", "", ""},
	}

	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			e := real(t)
			e.RequestContext.Authorizer = &events.APIGatewayV2HTTPRequestContextAuthorizerDescription{
				IAM: &events.APIGatewayV2HTTPRequestContextAuthorizerIAMDescription{UserARN: tc.arn, AccountID: "111111111111"},
			}

			want := deploy.Principal{}
			if tc.tenant != "" {
				want = deploy.Principal{Tenant: tc.tenant, Actor: tc.arn, Roles: []deploy.Role{tc.role}}
			}

			checkPrincipal(t, e, want, tc.reason)
		})
	}
}

func checkPrincipal(t *testing.T, e events.APIGatewayV2HTTPRequest, want deploy.Principal, reason string) {
	t.Helper()

	got, err := ask(t, e)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", reason, diff)
	}

	if (err != nil) != (want.Tenant == "") {
		t.Errorf("%s: %v", reason, err)
	}

	if err != nil && (deploy.AsError(err).Class != deploy.Denied || deploy.AsError(err).Remedy == "") {
		t.Errorf("%s: not an actionable denial: %v", reason, err)
	}
}

func TestNoAuthorizer(t *testing.T) {
	t.Parallel()

	for reason, authorizer := range map[string]*events.APIGatewayV2HTTPRequestContextAuthorizerDescription{
		"an open route": nil, "nothing verified": {}, "another authorizer": {Lambda: map[string]any{"tenant": "acme", "roles": "admin"}},
	} {
		e := real(t)
		e.RequestContext.Authorizer = authorizer

		checkPrincipal(t, e, deploy.Principal{}, reason)
	}
}

func TestGrants(t *testing.T) {
	t.Parallel()

	for reason, grants := range map[string]map[string]lambdahttp.Grant{
		"no tenant":    {"arn:aws:iam::111111111111:root": {Roles: []deploy.Role{deploy.Viewer}}},
		"bad tenant":   {"arn:aws:iam::111111111111:root": {Tenant: "A", Roles: []deploy.Role{deploy.Viewer}}},
		"no role":      {"arn:aws:iam::111111111111:root": {Tenant: "a"}},
		"unknown role": {"arn:aws:iam::111111111111:root": {Tenant: "a", Roles: []deploy.Role{"owner"}}},
		"no ARN":       {"111111111111": {Tenant: "a", Roles: []deploy.Role{deploy.Viewer}}},
	} {
		if _, err := lambdahttp.NewPrincipals("tenant", "roles", grants); err == nil {
			t.Errorf("%s: accepted", reason)
		}
	}
}
