package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// routes are all there is: what the contract names beyond is absent until it is built.
func routes() map[string][]string {
	return map[string][]string{
		"/v1/deployments":                      {"GET", "POST"},
		"/v1/deployments:plan":                 {"POST"},
		"/v1/deployments/{name}:plan":          {"POST"},
		"/v1/deployments/{name}":               {"DELETE", "GET", "PUT"},
		"/v1/deployments/{name}/configuration": {"GET"},
		"/v1/deployments/{name}/resources":     {"GET"},
		"/v1/operations":                       {"GET"},
		"/v1/operations/{id}":                  {"GET"},
		"/v1/operations/{id}:cancel":           {"POST"},
		"/v1/operations/{id}:resume":           {"POST"},
		"/v1/operations/{id}:skip":             {"POST"},
		"/v1/kinds":                            {"GET"},
		"/v1/audit":                            {"GET"},
		"/v1/grants":                           {"DELETE", "GET", "POST"},
		"/v1/webhooks":                         {"GET", "POST"},
		"/v1/webhooks/{id}":                    {"DELETE"},
		"/v1/deployments/{name}:drift":         {"POST"},
		"/v1/deployments/{name}:extend":        {"POST"},
		"/v1/deployments/{name}:repair":        {"POST"},
		"/v1/deployments/{name}:verify":        {"POST"},
		"/v1/orphans":                          {"GET"},
		"/openapi.json":                        {"GET"},
		"/docs":                                {"GET"},
		"/healthz":                             {"GET"},
	}
}

func sample(path string) string {
	return strings.NewReplacer("{name}", "team-a", "{id}", "team-a-"+strings.Repeat("0", 26)).Replace(path)
}

// The document and the router must agree, both ways.
func TestRoutes(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	documented := map[string][]string{}

	for path, item := range w.schemas.doc["paths"].(map[string]any) {
		for _, method := range []string{"delete", "get", "head", "options", "patch", "post", "put", "trace"} {
			if item.(map[string]any)[method] != nil {
				documented[path] = append(documented[path], strings.ToUpper(method))
			}
		}
	}

	if diff := cmp.Diff(routes(), documented); diff != "" {
		t.Error(diff)
	}

	for path, methods := range routes() {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"} {
			for _, base := range []string{"", "/iam"} {
				if base != "" && !strings.HasPrefix(path, "/v1/") {
					continue
				}

				a := w.do(method, base+sample(path), "")
				if slices.Contains(methods, method) {
					if a.status == http.StatusMethodNotAllowed || a.status == http.StatusNotFound && a.field("code") == "no_such_route" {
						t.Errorf("%s %s is documented and not served", method, path)
					}

					continue
				}

				a.want(http.StatusMethodNotAllowed, "method_not_allowed")

				allow := strings.Split(a.header.Get("Allow"), ", ")
				slices.Sort(allow)

				want := slices.Clone(methods)
				if slices.Contains(methods, "GET") {
					want = append(want, "HEAD")
				}

				if diff := cmp.Diff(want, allow, cmpopts.SortSlices(strings.Compare)); diff != "" {
					t.Errorf("%s %s: Allow %s", method, path, diff)
				}
			}
		}
	}

	for _, absent := range []string{
		"GET /", "GET /v1", "GET /v1/", "GET /v1/deployments/", "GET /v1/deployments/team-a/",
		"POST /v1/operations/team-a-1:retry", "GET /v1/webhooks/", "GET /portal/", "GET /openapi.yaml",
		"GET /openapi-3.0.json", "GET /schemas/Problem.json", "GET /v1/deployments/team-a/configuration/x", "GET /V1/kinds", "GET //v1/kinds", "GET /v1/../v1/kinds", "GET /v2/deployments",
	} {
		method, path, _ := strings.Cut(absent, " ")
		w.do(method, path, "").want(http.StatusNotFound, "no_such_route")
	}
}

// Whoever takes GET takes HEAD, and answers the same without the body (RFC 9110, 9.1 and 9.3.2).
func TestHead(t *testing.T) {
	t.Parallel()

	for _, tc := range []struct {
		why, path string
		status    int
	}{
		{"a deployment, with its ETag", "/v1/deployments/team-a", http.StatusOK},
		{"a list", "/v1/deployments", http.StatusOK},
		{"under the other base", "/iam/v1/deployments/team-a", http.StatusOK},
		{"a document that is written by hand", "/openapi.json", http.StatusOK},
		{"the page, with its own policy", "/docs", http.StatusOK},
		{"health", "/healthz", http.StatusOK},
		{"a problem of a handler", "/v1/deployments/team-b", http.StatusNotFound},
		{"a problem of a parameter", "/v1/deployments?colour=red", http.StatusUnprocessableEntity},
		{"no route", "/v2/deployments", http.StatusNotFound},
	} {
		t.Run(tc.why, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			w.create(`{"name":"team-a"}`)

			get, head := w.do(http.MethodGet, tc.path, "").want(tc.status), w.do(http.MethodHead, tc.path, "")
			if head.status != tc.status || len(head.body) > 0 || len(get.body) == 0 {
				t.Errorf("HEAD answers %d with %d bytes, GET %d with %d", head.status, len(head.body), get.status, len(get.body))
			}

			if diff := cmp.Diff(get.header, head.header); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTenantParameter(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(`{"name":"team-a"}`)

	admin := []string{"X-Test-Who", "ops admin"}
	w.do(http.MethodGet, "/v1/deployments/team-a", "", admin...).want(http.StatusNotFound)
	w.do(http.MethodGet, "/v1/deployments/team-a?tenant=acme", "", admin...).want(http.StatusOK)
	w.do(http.MethodGet, "/v1/deployments/team-a?tenant=", "", admin...).want(http.StatusUnprocessableEntity, "invalid_parameter", "tenant")
	w.do(http.MethodGet, "/v1/deployments/team-a?tenant=A%23B", "", admin...).want(http.StatusUnprocessableEntity, "invalid_parameter", "tenant")
	w.do(http.MethodGet, "/v1/deployments/team-a?tenant=acme&tenant=other", "", admin...).want(http.StatusUnprocessableEntity, "invalid_parameter", "tenant")
	w.do(http.MethodPost, "/v1/deployments?tenant=acme", `{"name":"team-b"}`, admin...).want(http.StatusAccepted)
	w.do(http.MethodGet, "/v1/deployments/team-b", "").want(http.StatusOK)

	// A header is no claim.
	w.do(http.MethodGet, "/v1/deployments/team-a", "", "X-Test-Who", "other viewer", "X-Tenant", "acme", "Tenant", "acme").want(http.StatusNotFound)

	if owner := load(t, w.store, "team-b").Deployment.Owner; owner != "someone@ops" {
		t.Errorf("owner %s: who did it must stay visible", owner)
	}
}

// What describes the API is long, and API Gateway compresses nothing.
func TestCompressed(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	for _, path := range []string{"/openapi.json", "/docs"} {
		plain := w.do(http.MethodGet, path, "").want(http.StatusOK)
		packed := w.do(http.MethodGet, path, "", "Accept-Encoding", "gzip, br").want(http.StatusOK)

		if plain.header.Get("Content-Encoding") != "" || packed.header.Get("Content-Encoding") != "gzip" || plain.header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: %v, and for whoever takes gzip %v", path, plain.header, packed.header)
		}

		r, err := gzip.NewReader(bytes.NewReader(packed.body))
		if err != nil {
			t.Fatal(err)
		}

		if text, err := io.ReadAll(r); err != nil || !bytes.Equal(text, plain.body) {
			t.Errorf("%s: unpacked it is not the same: %v", path, err)
		}

		if len(packed.body)*5 > len(plain.body) {
			t.Errorf("%s: %d bytes compressed of %d", path, len(packed.body), len(plain.body))
		}
	}
}

func TestDocument(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	a := w.do(http.MethodGet, "/openapi.json", "", "X-Test-Who", "").want(http.StatusOK)
	golden(t, "openapi.json", a.body)

	if v := a.text("openapi"); !strings.HasPrefix(v, "3.1.") || a.text("info.version") != "1.2.3" {
		t.Errorf("openapi %s", v)
	}

	// Every reference leads somewhere, and every schema is one.
	components, _ := object(w.schemas.doc, "components", "schemas")
	for name := range components {
		w.schemas.at(t, "components", "schemas", name)
	}

	for _, ref := range regexp.MustCompile(`"\$ref": "#/components/schemas/([^"]+)"`).FindAllSubmatch(a.body, -1) {
		if components[string(ref[1])] == nil {
			t.Errorf("%s leads nowhere", ref[0])
		}
	}

	ids := map[string]bool{}

	for path, item := range w.schemas.doc["paths"].(map[string]any) {
		for method, v := range item.(map[string]any) {
			if method == "servers" {
				continue
			}

			op := v.(map[string]any)

			id, _ := op["operationId"].(string)
			if id == "" || ids[id] || op["summary"] == "" || op["responses"] == nil {
				t.Errorf("%s %s: id %q twice or missing, or no summary", method, path, id)
			}

			ids[id] = true

			parameters, _ := op["parameters"].([]any)
			inPath := map[string]bool{}

			for _, p := range parameters {
				p := p.(map[string]any)
				if p["in"] == "path" {
					inPath["{"+p["name"].(string)+"}"] = p["required"] == true
				}
			}

			for _, variable := range regexp.MustCompile(`\{[a-z]+\}`).FindAllString(path, -1) {
				if !inPath[variable] {
					t.Errorf("%s %s: %s is not declared", method, path, variable)
				}
			}
		}
	}

	// What is on offer shows, what is not does not.
	schema := w.schemas.at(t, "paths", "/v1/deployments", "post", "requestBody", "content", "application/json", "schema")

	for body, fits := range map[string]bool{
		`{"name":"team-a"}`: true,
		`{"name":"team-a","spec":{"network":{"zones":null}}}`: false,
		`{"name":"team-a","ttl":1}`:                           false,
		`{"name":"team-a","spec":{"metadata":{}}}`:            false,
		`{}`: false,
	} {
		var v any
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			t.Fatal(err)
		}

		if err := schema.Validate(v); (err == nil) != fits {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestDocsPage(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/docs", http.NoBody)
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)

	body, csp := rec.Body.String(), rec.Header().Get("Content-Security-Policy")
	if rec.Code != http.StatusOK || rec.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %v", rec.Code, rec.Header())
	}

	// Examples are text, whatever stands in them.
	body = regexp.MustCompile(`(?s)<pre>.*?</pre>`).ReplaceAllString(body, "")

	if strings.Contains(body, "http://") || strings.Contains(body, "https://") || strings.Contains(body, `"//`) || strings.Contains(body, "<script") || strings.Contains(body, "url(") {
		t.Error("the page reaches for something elsewhere")
	}

	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(body)
	if style == nil {
		t.Fatal("no style")
	}

	sum := sha256.Sum256([]byte(style[1]))
	if !strings.Contains(csp, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") || !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("the policy does not admit the style, or too much: %s", csp)
	}

	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(body, -1) {
		ids[m[1]] = true
	}

	for _, m := range regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(body, -1) {
		if !ids[m[1]] {
			t.Errorf("a link leads nowhere: %s", m[0])
		}
	}

	for path, methods := range routes() {
		for _, method := range methods {
			if !strings.Contains(body, `<span class="method `+method+`">`+method+`</span><span class="path">`+path+`</span>`) {
				t.Errorf("%s %s is not on the page", method, path)
			}
		}
	}
}

// The type of every problem leads to its entry on the page: whatever the checks of a request can answer is listed there.
func TestProblemTypesResolve(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/docs", http.NoBody))

	codes := map[string]bool{"no_principal": true, "superseded": true}

	for _, body := range []string{
		`{}`, `{"name":""}`, `{"name":"X"}`, `{"name":"a","x":1}`, `[`, `{"name":"team-a","ttl":1}`,
		`{"name":"X","spec":{"storage":{"flowsPrefix":"/","dataToolsPrefix":"flows","existing":{"bucket":"X"},"oldVersionsDays":3},"network":{"cidr":"x","zones":["a","us-west-2a"]},"access":{"existing":{"jobRoleArn":"x"}},"compute":{"environments":[{"name":"X","instanceTypes":["!"],"minVcpus":99},{"name":"u","type":"UNMANAGED"},{"name":"u"},{"name":"c"}],"queues":[{"name":"q","environments":["u","nope"]},{"name":"d"}],"defaultQueue":"z"},"tags":{"aws:a":"","!":""}},"labels":{"!":""}}`,
		`{"name":"team-a","spec":{"network":{"existing":{"vpcId":"x","subnetIds":["x"]}},"access":{"existing":{"jobRoleArn":"arn:aws:iam::000000000000:role/x"}}}}`,
		`{"name":"team-a","spec":{"storage":{"flowsPrefix":"data-tools"},"access":{"existing":{"jobRoleArn":"arn:aws-cn:iam::123456789012:role/x"}}}}`,
		`{"name":"team-a","spec":{"compute":{"environments":[{"name":"a","allocationStrategy":"BEST_FIT"}]}}}`,
	} {
		a := w.do(http.MethodPost, "/v1/deployments", body)
		codes[a.text("code")] = true

		if all, ok := a.field("errors").([]any); ok {
			for _, e := range all {
				codes[e.(map[string]any)["code"].(string)] = true
			}
		}
	}

	if len(codes) < 25 {
		t.Errorf("the requests provoke only %d codes: %v", len(codes), slices.Sorted(maps.Keys(codes)))
	}

	for code := range codes {
		if !bytes.Contains(rec.Body.Bytes(), []byte(fmt.Sprintf(`<tr id="problem-%s">`, code))) {
			t.Errorf("%s is not on the page", code)
		}
	}
}

func TestOpenRoutes(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	if a := w.do(http.MethodGet, "/healthz", "", "X-Test-Who", "").want(http.StatusOK); a.text("status") != "ok" {
		t.Errorf("%s", a.body)
	}
}
