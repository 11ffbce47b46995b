package frontdoor

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/oidc"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/samtemplate"
)

const (
	account  = "111122223333"
	function = "arn:aws:lambda:us-east-1:" + account + ":function:api"
)

// fixture is a door with a published issuer behind it.
type fixture struct {
	door   *Door
	issuer *oidc.Issuer
	key    *rsa.PrivateKey
	down   atomic.Bool // the issuer answers 500

	event   []byte // the last one
	answer  string
	failure string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{key: key, answer: `{"statusCode":200,"body":"ok"}`}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.down.Load() {
			http.Error(w, "down", http.StatusInternalServerError)
			return
		}
		f.issuer.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	f.issuer = oidc.New(srv.URL+oidc.Path, key)
	f.door = f.newDoor(t, srv.Client(), samtemplate.Throttle{})
	return f
}

func (f *fixture) newDoor(t *testing.T, client *http.Client, throttle samtemplate.Throttle) *Door {
	t.Helper()
	issuer := "http://issuer.test"
	if f.issuer != nil {
		issuer = f.issuer.URL()
	}
	authorizer := &samtemplate.Authorizer{Issuer: issuer, Audience: []string{oidc.Audience}}
	route := func(key, authorization string, scopes ...string) samtemplate.Route {
		r := samtemplate.Route{LogicalID: key, Key: key, Authorization: authorization, Scopes: scopes, Function: function, Timeout: 30 * time.Second}
		if authorization == "JWT" {
			r.Authorizer = authorizer
		}
		return r
	}
	door, err := New(Options{
		API: &samtemplate.API{ID: "httpapi", Throttle: throttle, Routes: []samtemplate.Route{
			route("ANY /v1/{proxy+}", "JWT"),
			route("GET /scoped", "JWT", "read"),
			route("ANY /iam/v1/{proxy+}", "AWS_IAM"),
			route("GET /healthz", "NONE"),
			route("ANY /open/{proxy+}", "NONE"),
			route("GET /open/{id}/part", "NONE"),
			route("GET /open/exact", "NONE"),
		}},
		Region: "us-east-1", Account: account, Client: client, Logger: slog.New(slog.DiscardHandler),
		Caller: func(id string) (Caller, bool) {
			return Caller{AccountID: account, CallerID: account, UserARN: "arn:aws:iam::" + account + ":root", UserID: account, Secret: "local"}, id == "LOCAL-"+account+"-user-0"
		},
		Invoke: func(ctx context.Context, arn string, event []byte) ([]byte, string, error) {
			if arn != function {
				t.Errorf("called %s", arn)
			}
			f.event = event
			if f.answer == "hang" {
				<-ctx.Done()
				return nil, "", ctx.Err()
			}
			return []byte(f.answer), f.failure, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return door
}

func (f *fixture) do(t *testing.T, method, target string, header http.Header, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	for k, v := range header {
		r.Header[http.CanonicalHeaderKey(k)] = v
	}
	rec := httptest.NewRecorder()
	f.event = nil
	f.door.ServeHTTP(rec, r)
	return rec
}

func claims(f *fixture, change func(jwt.MapClaims)) jwt.MapClaims {
	c := jwt.MapClaims{
		"iss": f.issuer.URL(), "aud": oidc.Audience, "sub": "u", "tenant": "acme",
		"iat": time.Now().Add(-time.Minute).Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	if change != nil {
		change(c)
	}
	return c
}

func sign(t *testing.T, method jwt.SigningMethod, key any, header map[string]any, c jwt.Claims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	for k, v := range header {
		if v == nil {
			delete(token.Header, k)
			continue
		}
		token.Header[k] = v
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBrokenTokens(t *testing.T) {
	f := newFixture(t)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	kid := map[string]any{"kid": f.issuer.KeyID()}
	good := sign(t, jwt.SigningMethodRS256, f.key, kid, claims(f, nil))
	parts := strings.Split(good, ".")
	with := func(change func(jwt.MapClaims)) string {
		return "Bearer " + sign(t, jwt.SigningMethodRS256, f.key, kid, claims(f, change))
	}
	set := func(name string, value any) string { return with(func(c jwt.MapClaims) { c[name] = value }) }
	drop := func(name string) string { return with(func(c jwt.MapClaims) { delete(c, name) }) }
	b64 := base64.RawURLEncoding.EncodeToString
	public, err := json.Marshal(f.key.N)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	rows := map[string]struct{ reason, header string }{
		"Missing":            {"no header at all", ""},
		"OnlyScheme":         {"a scheme without a token", "Bearer "},
		"Basic":              {"another scheme", "Basic dXNlcjpwYXNz"},
		"Garbage":            {"no token", "Bearer garbage"},
		"TwoParts":           {"the signature is cut off with its dot", "Bearer " + parts[0] + "." + parts[1]},
		"FourParts":          {"one part too many", "Bearer " + good + ".x"},
		"EmptySignature":     {"the signature is cut off", "Bearer " + parts[0] + "." + parts[1] + "."},
		"OtherSignature":     {"a byte of the signature differs", "Bearer " + parts[0] + "." + parts[1] + "." + b64(bytes.Repeat([]byte{1}, 256))},
		"OtherClaims":        {"claims that nobody signed", "Bearer " + parts[0] + "." + b64([]byte(`{"iss":"`+f.issuer.URL()+`","aud":"metaflow-deployer","exp":9999999999,"tenant":"other"}`)) + "." + parts[2]},
		"ClaimsNoJSON":       {"claims that are no JSON", "Bearer " + parts[0] + "." + b64([]byte("{")) + "." + parts[2]},
		"HeaderNoJSON":       {"a header that is no JSON", "Bearer " + b64([]byte("{")) + "." + parts[1] + "." + parts[2]},
		"AlgNone":            {"unsigned on purpose", "Bearer " + sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, kid, claims(f, nil))},
		"AlgNoneSigned":      {"says none, has a signature", "Bearer " + b64([]byte(`{"alg":"none","kid":"`+f.issuer.KeyID()+`"}`)) + "." + parts[1] + "." + parts[2]},
		"AlgUpperNone":       {"none in another case", "Bearer " + b64([]byte(`{"alg":"NONE","kid":"`+f.issuer.KeyID()+`"}`)) + "." + parts[1] + "."},
		"HS256WithPublicKey": {"the public key used as a shared secret", "Bearer " + sign(t, jwt.SigningMethodHS256, public, kid, claims(f, nil))},
		"HS512":              {"a shared secret", "Bearer " + sign(t, jwt.SigningMethodHS512, []byte("secret"), kid, claims(f, nil))},
		"PS256":              {"RSA, but not an algorithm that API Gateway takes", "Bearer " + sign(t, jwt.SigningMethodPS256, f.key, kid, claims(f, nil))},
		"AlgSaysRS512":       {"the header names another algorithm than was used", "Bearer " + b64([]byte(`{"alg":"RS512","kid":"`+f.issuer.KeyID()+`"}`)) + "." + parts[1] + "." + parts[2]},
		"NoAlg":              {"no algorithm", "Bearer " + b64([]byte(`{"kid":"`+f.issuer.KeyID()+`"}`)) + "." + parts[1] + "." + parts[2]},
		"OtherKeySameKid":    {"signed by a stranger who knows our key id", "Bearer " + sign(t, jwt.SigningMethodRS256, stranger, kid, claims(f, nil))},
		"UnknownKid":         {"a key that the issuer does not publish", "Bearer " + sign(t, jwt.SigningMethodRS256, stranger, map[string]any{"kid": "x"}, claims(f, nil))},
		"NoKid":              {"no key named", "Bearer " + sign(t, jwt.SigningMethodRS256, f.key, nil, claims(f, nil))},
		"EmptyKid":           {"an empty key id", "Bearer " + sign(t, jwt.SigningMethodRS256, f.key, map[string]any{"kid": ""}, claims(f, nil))},
		"NumberKid":          {"a key id that is no text", "Bearer " + sign(t, jwt.SigningMethodRS256, f.key, map[string]any{"kid": 1}, claims(f, nil))},
		"OwnKeyInHeader":     {"the token brings its own key", "Bearer " + sign(t, jwt.SigningMethodRS256, stranger, map[string]any{"kid": f.issuer.KeyID(), "jwk": map[string]string{"kty": "RSA"}, "jku": "http://evil.test"}, claims(f, nil))},
		"OtherIssuer":        {"another issuer", set("iss", "https://other.test")},
		"IssuerSlash":        {"issuers are compared exactly", set("iss", f.issuer.URL()+"/")},
		"NoIssuer":           {"no issuer", drop("iss")},
		"OtherAudience":      {"for somebody else", set("aud", "other")},
		"OtherAudiences":     {"for several others", set("aud", []string{"a", "b"})},
		"NoAudience":         {"for nobody", drop("aud")},
		"AudienceNumber":     {"an audience that is no text", set("aud", 5)},
		"ClientIDLosesToAud": {"client_id counts only without aud", with(func(c jwt.MapClaims) { c["aud"], c["client_id"] = "other", oidc.Audience })},
		"OtherClientID":      {"another client", with(func(c jwt.MapClaims) { delete(c, "aud"); c["client_id"] = "other" })},
		"Expired":            {"too old", set("exp", time.Now().Add(-time.Second).Unix())},
		"NoExpiry":           {"tokens that live for ever are not taken", drop("exp")},
		"ExpiryText":         {"an expiry that is no number", set("exp", "tomorrow")},
		"NotYet":             {"not valid before later", set("nbf", time.Now().Add(time.Hour).Unix())},
		"IssuedLater":        {"issued in the future", set("iat", time.Now().Add(time.Hour).Unix())},
		"NotYetText":         {"a beginning that is no number", set("nbf", "tomorrow")},
		"IssuedText":         {"an issue time that is no number", set("iat", "yesterday")},
		"ExpiryNull":         {"null is no expiry", set("exp", nil)},
		"ExpiryZero":         {"nor is zero", set("exp", 0)},
		"IssuerNull":         {"null is no issuer", set("iss", nil)},
		"IssuerList":         {"our issuer among others", set("iss", []string{f.issuer.URL(), "https://other.test"})},
		"IssuerCase":         {"our issuer in another case", set("iss", strings.ToUpper(f.issuer.URL()))},
		"AudiencePrefix":     {"an audience that only begins like ours", set("aud", oidc.Audience+"-2")},
		"AudienceEmpty":      {"an empty list of audiences", set("aud", []string{})},
		"ClaimsArray":        {"claims that are no object", "Bearer " + parts[0] + "." + b64([]byte("[]")) + "." + parts[2]},
		"ES256":              {"a curve where the issuer has RSA", "Bearer " + sign(t, jwt.SigningMethodES256, curve, kid, claims(f, nil))},
		"SignatureOfAnother": {"the signature of another of our tokens", "Bearer " + parts[0] + "." + parts[1] + set("tenant", "other")[strings.LastIndexByte(set("tenant", "other"), '.'):]},
		"Encrypted":          {"five parts, as an encrypted token has", "Bearer " + good + ".x.y"},
		"Padded":             {"base64url with padding", "Bearer " + good + "=="},
		"Twice":              {"the same token twice in one header", "Bearer " + good + ", Bearer " + good},
		"Quoted":             {"in quotes", `Bearer "` + good + `"`},
		"KidPath":            {"a key id that would like to be a path", "Bearer " + sign(t, jwt.SigningMethodRS256, f.key, map[string]any{"kid": "../" + f.issuer.KeyID()}, claims(f, nil))},
	}
	for name, tc := range rows {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			if tc.header != "" {
				h.Set("Authorization", tc.header)
			}
			rec := f.do(t, "GET", "/v1/x", h, "")
			if rec.Code != http.StatusUnauthorized || strings.TrimSpace(rec.Body.String()) != `{"message":"Unauthorized"}` {
				t.Errorf("%s: %d %s", tc.reason, rec.Code, rec.Body)
			}
			if !strings.HasPrefix(rec.Header().Get("Www-Authenticate"), "Bearer") {
				t.Errorf("www-authenticate: %q", rec.Header().Get("Www-Authenticate"))
			}
			if f.event != nil {
				t.Errorf("%s: the function was called", tc.reason)
			}
		})
	}

	if t.Logf("%d broken tokens", len(rows)+2); len(rows) < 40 {
		t.Error("at least 40 different ones were asked for")
	}

	t.Run("TwoHeaders", func(t *testing.T) {
		rec := f.do(t, "GET", "/v1/x", http.Header{"Authorization": {"Bearer " + good, "Bearer " + good}}, "")
		if rec.Code != http.StatusUnauthorized {
			t.Errorf("two tokens at once: %d", rec.Code)
		}
	})
	t.Run("TokenInQueryOrCookie", func(t *testing.T) {
		rec := f.do(t, "GET", "/v1/x?access_token="+good, http.Header{"Cookie": {"Authorization=" + good}}, "")
		if rec.Code != http.StatusUnauthorized {
			t.Errorf("a token where none is looked for: %d", rec.Code)
		}
	})
}

func TestGoodTokens(t *testing.T) {
	f := newFixture(t)
	kid := map[string]any{"kid": f.issuer.KeyID()}
	for name, tc := range map[string]struct{ reason, header string }{
		"RS256":     {"the usual", "Bearer " + sign(t, jwt.SigningMethodRS256, f.key, kid, claims(f, nil))},
		"RS384":     {"API Gateway takes all of RSA's", "Bearer " + sign(t, jwt.SigningMethodRS384, f.key, kid, claims(f, nil))},
		"RS512":     {"API Gateway takes all of RSA's", "Bearer " + sign(t, jwt.SigningMethodRS512, f.key, kid, claims(f, nil))},
		"Bare":      {"the scheme may be left out", sign(t, jwt.SigningMethodRS256, f.key, kid, claims(f, nil))},
		"LowerCase": {"schemes have no case", "bearer " + sign(t, jwt.SigningMethodRS256, f.key, kid, claims(f, nil))},
		"Audiences": {"one of several audiences", "Bearer " + sign(t, jwt.SigningMethodRS256, f.key, kid, claims(f, func(c jwt.MapClaims) { c["aud"] = []string{"x", oidc.Audience} }))},
		"ClientID":  {"without aud the client id counts", "Bearer " + sign(t, jwt.SigningMethodRS256, f.key, kid, claims(f, func(c jwt.MapClaims) { delete(c, "aud"); c["client_id"] = oidc.Audience }))},
	} {
		t.Run(name, func(t *testing.T) {
			if rec := f.do(t, "GET", "/v1/x", http.Header{"Authorization": {tc.header}}, ""); rec.Code != http.StatusOK {
				t.Errorf("%s: %d %s", tc.reason, rec.Code, rec.Header().Get("Www-Authenticate"))
			}
		})
	}

	t.Run("ClaimsAreFlattened", func(t *testing.T) {
		token := sign(t, jwt.SigningMethodRS256, f.key, kid, claims(f, func(c jwt.MapClaims) {
			c["exp"], c["iat"] = 4102444800, 1700000000
			c["roles"], c["none"], c["n"], c["yes"], c["nested"] = []string{"viewer", "deployer"}, []string{}, 1234567.5, true, []any{1, "a b"}
		}))
		f.do(t, "GET", "/v1/x", http.Header{"Authorization": {"Bearer " + token}}, "")
		var got event
		if err := json.Unmarshal(f.event, &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{
			"iss": f.issuer.URL(), "aud": oidc.Audience, "sub": "u", "tenant": "acme", "iat": "1700000000", "exp": "4102444800",
			"roles": "[viewer deployer]", "none": "[]", "n": "1234567.5", "yes": "true", "nested": "[1 a b]",
		}
		if diff := cmp.Diff(want, got.RequestContext.Authorizer.JWT.Claims); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})

	t.Run("Scope", func(t *testing.T) {
		for scope, want := range map[string]int{"read write": 200, "write": 403, "": 403} {
			token := sign(t, jwt.SigningMethodRS256, f.key, kid, claims(f, func(c jwt.MapClaims) { c["scope"] = scope }))
			if rec := f.do(t, "GET", "/scoped", http.Header{"Authorization": {"Bearer " + token}}, ""); rec.Code != want {
				t.Errorf("scope %q: %d", scope, rec.Code)
			}
		}
	})
}

func TestIssuerDown(t *testing.T) {
	f := newFixture(t)
	f.down.Store(true)
	token := http.Header{"Authorization": {"Bearer " + sign(t, jwt.SigningMethodRS256, f.key, map[string]any{"kid": f.issuer.KeyID()}, claims(f, nil))}}
	if rec := f.do(t, "GET", "/v1/x", token, ""); rec.Code != http.StatusUnauthorized {
		t.Errorf("without the issuer's keys nobody comes in: %d", rec.Code)
	}
	f.down.Store(false)
	if rec := f.do(t, "GET", "/v1/x", token, ""); rec.Code != http.StatusOK {
		t.Errorf("when it is back: %d", rec.Code)
	}
	f.down.Store(true)
	if rec := f.do(t, "GET", "/v1/x", token, ""); rec.Code != http.StatusOK {
		t.Errorf("known keys are kept: %d", rec.Code)
	}
}

func TestRoutes(t *testing.T) {
	f := newFixture(t)
	for name, tc := range map[string]struct {
		reason, method, target, key string
		params                      map[string]string
	}{
		"Exact":         {"a full match wins", "GET", "/open/exact", "GET /open/exact", nil},
		"ExactOther":    {"but for the method", "POST", "/open/exact", "ANY /open/{proxy+}", map[string]string{"proxy": "exact"}},
		"Variable":      {"a variable wins over a greedy one", "GET", "/open/7/part", "GET /open/{id}/part", map[string]string{"id": "7"}},
		"Greedy":        {"the rest", "GET", "/open/7/part/x", "ANY /open/{proxy+}", map[string]string{"proxy": "7/part/x"}},
		"Colon":         {"custom verbs", "POST", "/open/a:plan", "ANY /open/{proxy+}", map[string]string{"proxy": "a:plan"}},
		"Encoded":       {"paths arrive decoded", "GET", "/open/a%3Aplan%20b", "ANY /open/{proxy+}", map[string]string{"proxy": "a:plan b"}},
		"QuestionMark":  {"what follows a decoded question mark is lost", "GET", "/open/a%3Fb", "ANY /open/{proxy+}", map[string]string{"proxy": "a"}},
		"GreedySlash":   {"a path that ends in its slash", "GET", "/open/", "ANY /open/{proxy+}", map[string]string{"proxy": ""}},
		"GreedyNothing": {"without the slash there is nothing to stand for", "GET", "/open", "", nil},
		"GreedyBare":    {"not even a slash", "GET", "/open", "", nil},
		"Outside":       {"no route", "GET", "/nothing", "", nil},
		"OtherMethod":   {"a route of another method", "POST", "/healthz", "", nil},
		"Longer":        {"more than the route", "GET", "/healthz/x", "", nil},
		"Root":          {"no route", "GET", "/", "", nil},
		"Case":          {"paths have case", "GET", "/HEALTHZ", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			rec := f.do(t, tc.method, tc.target, nil, "")
			if tc.key == "" {
				if rec.Code != http.StatusNotFound || strings.TrimSpace(rec.Body.String()) != `{"message":"Not Found"}` || f.event != nil {
					t.Errorf("%s: %d %s", tc.reason, rec.Code, rec.Body)
				}
				return
			}
			var got event
			if err := json.Unmarshal(f.event, &got); err != nil {
				t.Fatalf("%s: %d %v", tc.reason, rec.Code, err)
			}
			if got.RouteKey != tc.key {
				t.Errorf("%s: route %s, want %s", tc.reason, got.RouteKey, tc.key)
			}
			if diff := cmp.Diff(tc.params, got.PathParameters); diff != "" {
				t.Errorf("%s: parameters (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestEvent(t *testing.T) {
	f := newFixture(t)
	h := http.Header{
		"Content-Type": {"application/json"}, "X-Many": {"a", "b"}, "Cookie": {"one=1; two=2", "three=3"},
		"User-Agent": {"test"}, "Idempotency-Key": {"k"},
	}
	f.do(t, "POST", "/open/x?b=2&a=1&a=%C3%BC&empty=", h, `{"name":"ü"}`)
	var got event
	if err := json.Unmarshal(f.event, &got); err != nil {
		t.Fatal(err)
	}
	got.RequestContext.RequestID, got.RequestContext.Time, got.RequestContext.TimeEpoch = "", "", 0
	want := event{
		Version: "2.0", RouteKey: "ANY /open/{proxy+}", RawPath: "/open/x", RawQueryString: "b=2&a=1&a=%C3%BC&empty=",
		Cookies: []string{"one=1", "two=2", "three=3"},
		Headers: map[string]string{
			"content-type": "application/json", "x-many": "a,b", "user-agent": "test", "idempotency-key": "k", "host": "example.com",
			"content-length": "13", "x-forwarded-for": "192.0.2.1", "x-forwarded-port": "80", "x-forwarded-proto": "http",
		},
		QueryStringParameters: map[string]string{"a": "1,ü", "b": "2", "empty": ""},
		PathParameters:        map[string]string{"proxy": "x"},
		RequestContext: requestContext{
			AccountID: account, APIID: "httpapi", DomainName: "example.com", DomainPrefix: "example", RouteKey: "ANY /open/{proxy+}", Stage: "$default",
			HTTP: httpContext{Method: "POST", Path: "/open/x", Protocol: "HTTP/1.1", SourceIP: "192.0.2.1", UserAgent: "test"},
		},
		Body: `{"name":"ü"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	for name, tc := range map[string]struct {
		reason, contentType, body string
		encoded                   bool
	}{
		"Text":    {"text stays", "text/plain; charset=utf-8", "x", false},
		"Untyped": {"no type is text", "", "x", false},
		"Binary":  {"octets are encoded", "application/octet-stream", "x", true},
		"Form":    {"as API Gateway does", "application/x-www-form-urlencoded", "a=1", true},
		"NotUTF8": {"JSON cannot carry it otherwise", "text/plain", "\xff", true},
		"Empty":   {"nothing is not encoded", "application/octet-stream", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			f.do(t, "POST", "/open/x", http.Header{"Content-Type": {tc.contentType}}, tc.body)
			var got event
			if err := json.Unmarshal(f.event, &got); err != nil {
				t.Fatal(err)
			}
			want := tc.body
			if tc.encoded {
				want = base64.StdEncoding.EncodeToString([]byte(tc.body))
			}
			if got.IsBase64Encoded != tc.encoded || got.Body != want {
				t.Errorf("%s: %v %q", tc.reason, got.IsBase64Encoded, got.Body)
			}
		})
	}
}

func TestResponse(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, answer, failure string
		status                  int
		contentType, body       string
		cookies                 []string
	}{
		"Plain":       {reason: "status, header and body", answer: `{"statusCode":201,"headers":{"content-type":"application/json","x-n":5},"body":"{}"}`, status: 201, contentType: "application/json", body: "{}"},
		"Untyped":     {reason: "API Gateway's default type", answer: `{"statusCode":200,"body":"hello"}`, status: 200, contentType: "text/plain;charset=UTF-8", body: "hello"},
		"Base64":      {reason: "binary bodies", answer: `{"statusCode":200,"headers":{"Content-Type":"image/png"},"body":"aGk=","isBase64Encoded":true}`, status: 200, contentType: "image/png", body: "hi"},
		"Cookies":     {reason: "each its own header", answer: `{"statusCode":200,"cookies":["a=1","b=2"],"body":"x"}`, status: 200, contentType: "text/plain;charset=UTF-8", body: "x", cookies: []string{"a=1", "b=2"}},
		"NoBody":      {reason: "a status alone", answer: `{"statusCode":204}`, status: 204},
		"Inferred":    {reason: "an object without a status is the body", answer: `{"a":1}`, status: 200, contentType: "application/json", body: `{"a":1}`},
		"Text":        {reason: "a text is the body", answer: `"hi"`, status: 200, contentType: "application/json", body: "hi"},
		"BadStatus":   {reason: "a status that is none", answer: `{"statusCode":"ok"}`, status: 500, contentType: "application/json", body: `{"message":"Internal Server Error"}` + "\n"},
		"BadBase64":   {reason: "a body that does not decode", answer: `{"statusCode":200,"body":"?","isBase64Encoded":true}`, status: 500, contentType: "application/json", body: `{"message":"Internal Server Error"}` + "\n"},
		"NoJSON":      {reason: "no answer", answer: `oops`, status: 500, contentType: "application/json", body: `{"message":"Internal Server Error"}` + "\n"},
		"Failure":     {reason: "the function's error stays inside", answer: `{"errorType":"X","errorMessage":"secret"}`, failure: "Unhandled", status: 500, contentType: "application/json", body: `{"message":"Internal Server Error"}` + "\n"},
		"BodyNoText":  {reason: "a body must be a text", answer: `{"statusCode":200,"body":{"a":1}}`, status: 500, contentType: "application/json", body: `{"message":"Internal Server Error"}` + "\n"},
		"StatusRange": {reason: "a status out of range", answer: `{"statusCode":42}`, status: 500, contentType: "application/json", body: `{"message":"Internal Server Error"}` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.answer, f.failure = tc.answer, tc.failure
			rec := f.do(t, "GET", "/open/x", nil, "")
			if rec.Code != tc.status || rec.Body.String() != tc.body || rec.Header().Get("Content-Type") != tc.contentType {
				t.Errorf("%s: %d %q %q", tc.reason, rec.Code, rec.Header().Get("Content-Type"), rec.Body)
			}
			if diff := cmp.Diff(tc.cookies, rec.Header().Values("Set-Cookie")); diff != "" {
				t.Errorf("%s: cookies (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	t.Run("BodyAbove10MB", func(t *testing.T) {
		f := newFixture(t)
		if rec := f.do(t, "POST", "/open/x", nil, strings.Repeat("x", maxBody)); rec.Code != http.StatusOK {
			t.Errorf("at the limit: %d", rec.Code)
		}
		rec := f.do(t, "POST", "/open/x", nil, strings.Repeat("x", maxBody+1))
		if rec.Code != http.StatusRequestEntityTooLarge || strings.TrimSpace(rec.Body.String()) != `{"message":"Request Entity Too Large"}` || f.event != nil {
			t.Errorf("above: %d %s", rec.Code, rec.Body)
		}
	})
	t.Run("IntegrationTimeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := &fixture{answer: "hang"}
			f.door = f.newDoor(t, nil, samtemplate.Throttle{})
			begin := time.Now()
			rec := f.do(t, "GET", "/open/x", nil, "")
			if rec.Code != http.StatusServiceUnavailable || strings.TrimSpace(rec.Body.String()) != `{"message":"Service Unavailable"}` {
				t.Errorf("%d %s", rec.Code, rec.Body)
			}
			if took := time.Since(begin); took != 30*time.Second {
				t.Errorf("cut off after %s", took)
			}
		})
	})
	t.Run("Throttle", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := &fixture{answer: `{"statusCode":200}`}
			f.door = f.newDoor(t, nil, samtemplate.Throttle{Burst: 2, Rate: 1})
			var got []int
			for range 3 {
				got = append(got, f.do(t, "GET", "/open/x", nil, "").Code)
			}
			time.Sleep(time.Second)
			for range 2 {
				got = append(got, f.do(t, "GET", "/open/x", nil, "").Code)
			}
			if diff := cmp.Diff([]int{200, 200, 429, 200, 429}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	})
}

func TestSignedRequests(t *testing.T) {
	const user = "LOCAL-" + account + "-user-0"
	now := time.Now()
	for name, tc := range map[string]struct {
		reason          string
		key, secret     string
		region, service string
		at              time.Time
		target, body    string
		tamper          func(*http.Request)
		ok              bool
	}{
		"Get":          {reason: "a signed read", target: "/iam/v1/deployments", ok: true},
		"Query":        {reason: "the query is part of the signature, in AWS's order", target: "/iam/v1/d?b=2&a=1&a=%20x&c", ok: true},
		"Body":         {reason: "so is the body", target: "/iam/v1/d", body: `{"name":"a"}`, ok: true},
		"EncodedPath":  {reason: "paths are encoded twice", target: "/iam/v1/a%3Aplan/b%20c", ok: true},
		"Colon":        {reason: "custom verbs", target: "/iam/v1/deployments:plan", ok: true},
		"WrongSecret":  {reason: "the wrong secret", secret: "other", target: "/iam/v1/d"},
		"UnknownKey":   {reason: "a key that nobody has", key: "AKIAEXAMPLE", target: "/iam/v1/d"},
		"OtherRegion":  {reason: "signed for another Region", region: "eu-west-1", target: "/iam/v1/d"},
		"OtherService": {reason: "signed for another service", service: "s3", target: "/iam/v1/d"},
		"Old":          {reason: "signed too long ago", at: now.Add(-10 * time.Minute), target: "/iam/v1/d"},
		"Future":       {reason: "signed in the future", at: now.Add(10 * time.Minute), target: "/iam/v1/d"},
		"OtherPath":    {reason: "another path than was signed", target: "/iam/v1/d", tamper: func(r *http.Request) { r.URL.Path, r.RequestURI = "/iam/v1/e", "/iam/v1/e" }},
		"OtherQuery":   {reason: "another query than was signed", target: "/iam/v1/d", tamper: func(r *http.Request) { r.URL.RawQuery = "tenant=other" }},
		"OtherMethod":  {reason: "another method than was signed", target: "/iam/v1/d", tamper: func(r *http.Request) { r.Method = "DELETE" }},
		"OtherHost":    {reason: "another host than was signed", target: "/iam/v1/d", tamper: func(r *http.Request) { r.Host = "other.test" }},
		"Unsigned":     {reason: "no signature", target: "/iam/v1/d", tamper: func(r *http.Request) { r.Header.Del("Authorization") }},
		"Bearer":       {reason: "a token instead", target: "/iam/v1/d", tamper: func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }},
		"Malformed":    {reason: "half a header", target: "/iam/v1/d", tamper: func(r *http.Request) { r.Header.Set("Authorization", algorithm+" Credential=x") }},
		"HostNotSigned": {reason: "the host must be signed", target: "/iam/v1/d", tamper: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "host;", "", 1))
		}},
		"EmptySignature": {reason: "a signature of nothing", target: "/iam/v1/d", tamper: func(r *http.Request) {
			a, _, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
			r.Header.Set("Authorization", a+"Signature=")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			method := "GET"
			if tc.body != "" {
				method = "POST"
			}
			r := httptest.NewRequestWithContext(t.Context(), method, "http://api.test"+tc.target, strings.NewReader(tc.body))
			r.RequestURI = tc.target // as a server sees it
			sum := sha256.Sum256([]byte(tc.body))
			at := tc.at
			if at.IsZero() {
				at = now
			}
			creds := aws.Credentials{AccessKeyID: or(tc.key, user), SecretAccessKey: or(tc.secret, "local")}
			if err := v4.NewSigner().SignHTTP(t.Context(), creds, r, hex.EncodeToString(sum[:]), or(tc.service, "execute-api"), or(tc.region, "us-east-1"), at); err != nil {
				t.Fatal(err)
			}
			if tc.tamper != nil {
				tc.tamper(r)
			}
			rec := httptest.NewRecorder()
			f.door.ServeHTTP(rec, r)
			if !tc.ok {
				if rec.Code != http.StatusForbidden || strings.TrimSpace(rec.Body.String()) != `{"message":"Forbidden"}` || f.event != nil {
					t.Errorf("%s: %d %s", tc.reason, rec.Code, rec.Body)
				}
				return
			}
			if rec.Code != http.StatusOK {
				t.Fatalf("%s: %d %s", tc.reason, rec.Code, rec.Body)
			}
			var got event
			if err := json.Unmarshal(f.event, &got); err != nil {
				t.Fatal(err)
			}
			want := &iamContext{AccessKey: user, AccountID: account, CallerID: account, UserARN: "arn:aws:iam::" + account + ":root", UserID: account}
			if diff := cmp.Diff(want, got.RequestContext.Authorizer.IAM); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}

	t.Run("OtherBody", func(t *testing.T) {
		f := newFixture(t)
		r := httptest.NewRequestWithContext(t.Context(), "POST", "http://api.test/iam/v1/d", strings.NewReader(`{"name":"b"}`))
		r.RequestURI = "/iam/v1/d"
		sum := sha256.Sum256([]byte(`{"name":"a"}`))
		creds := aws.Credentials{AccessKeyID: user, SecretAccessKey: "local"}
		if err := v4.NewSigner().SignHTTP(t.Context(), creds, r, hex.EncodeToString(sum[:]), "execute-api", "us-east-1", now); err != nil {
			t.Fatal(err)
		}
		rec := httptest.NewRecorder()
		f.door.ServeHTTP(rec, r)
		if rec.Code != http.StatusForbidden {
			t.Errorf("another body than was signed: %d", rec.Code)
		}
	})
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
