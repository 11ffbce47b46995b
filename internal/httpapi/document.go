package httpapi

import (
	_ "embed" // the examples are a file
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/gzipped"
)

func (s *server) config() huma.Config {
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "metaflow-deployer", Version: s.Version,
				Description: "Builds a Metaflow environment on AWS from a short spec, with retries and rollback. Every operation is also under /iam/v1 for callers who sign with IAM.",
			},
			Servers: []*huma.Server{{URL: "/", Description: "With a token of the installation's issuer"}, {URL: iamBase, Description: "Signed with IAM"}},
			Components: &huma.Components{
				Schemas: newRegistry(),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token": {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "A token of the installation's OIDC issuer, for the routes under /v1"},
					"iam":   {Type: "apiKey", In: "header", Name: "Authorization", Description: "AWS Signature Version 4, for the routes under /iam/v1"},
				},
			},
			Security: []map[string][]string{{"token": {}}, {"iam": {}}},
		},
		Formats:                      map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{s.transform},
	}
}

func (s *server) schema(v any) *huma.Schema {
	t := reflect.TypeOf(v)

	return s.api.OpenAPI().Components.Schemas.Schema(t, true, t.Name())
}

// route describes an operation: the success, and every problem that it answers beside 500.
func (s *server) route(method, path, id, summary string, role deploy.Role, success int, others ...int) huma.Operation {
	op := huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary, Description: "Takes the role " + string(role) + ".",
		DefaultStatus: success, Metadata: map[string]any{roleKey: role}, Extensions: map[string]any{"x-role": role}, Middlewares: huma.Middlewares{s.admit}, SkipValidateBody: true,
		Responses: map[string]*huma.Response{},
	}

	shown := s.schema(Problem{})

	for _, status := range append(others, http.StatusInternalServerError) {
		r := &huma.Response{Description: http.StatusText(status)}
		if status >= http.StatusBadRequest {
			r.Content = map[string]*huma.MediaType{problemType: {Schema: shown}}
		}

		op.Responses[strconv.Itoa(status)] = r
	}

	return op
}

// takesBody adds a JSON body. The handler finds it in the request: huma would parse it again, and fill in defaults.
func (s *server) takesBody(op huma.Operation, schema *huma.Schema) huma.Operation {
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}
	op.MaxBodyBytes = -1 // read has looked already
	op.Middlewares = append(op.Middlewares, s.read(schema))

	return op
}

func (s *server) configurationRoute() huma.Operation {
	op := s.route(http.MethodGet, "/v1/deployments/{name}/configuration", "getConfiguration", "Download the Metaflow configuration", deploy.Viewer, 200, 403, 404, 409, 422, 503)
	op.Responses["200"] = &huma.Response{
		Description: "What Metaflow reads as config.json, or shell exports",
		Content: map[string]*huma.MediaType{
			"application/json": {Schema: &huma.Schema{Type: huma.TypeObject, AdditionalProperties: &huma.Schema{Type: huma.TypeString}}},
			"text/plain":       {Schema: &huma.Schema{Type: huma.TypeString}},
		},
	}

	return op
}

// open registers what anybody may read.
func (s *server) open() {
	s.mux.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"status":"ok"}` + "\n")) // a caller that left needs no answer
	})
	s.mux.Get("/openapi.json", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(s.document().For(w.Header(), r)) // likewise
	})
	s.mux.Get("/docs", s.docs)

	if s.Portal != nil {
		s.mux.Method(http.MethodGet, "/portal", s.Portal)
		s.mux.Method(http.MethodGet, "/portal/*", s.Portal)
	}

	doc := s.api.OpenAPI()
	here := []*huma.Server{{URL: "/"}}

	for _, r := range []struct{ path, id, summary, media string }{
		{"/healthz", "health", "Tell that the API answers", "application/json"},
		{"/openapi.json", "openapi", "This document", "application/json"},
		{"/docs", "docs", "This document as a page", "text/html"},
	} {
		doc.Paths[r.path] = &huma.PathItem{Servers: here, Get: &huma.Operation{
			OperationID: r.id, Summary: r.summary, Security: []map[string][]string{{}},
			Responses: map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{r.media: {}}}},
		}}
	}
}

// Message is what API Gateway answers where it does not ask the API.
type Message struct {
	Message string `json:"message" doc:"API Gateway's own words"`
}

//go:embed examples.json
var examplesText []byte

// example is a request that is answered with success, and the answer. The tests send the one and write the other.
type example struct {
	Parameters map[string]any  `json:"parameters,omitempty"`
	Body       json.RawMessage `json:"body,omitempty"`
	Answer     json.RawMessage `json:"answer,omitempty"`
}

// finishDocument says how the document is completed and written. From then on nothing changes it.
func (s *server) finishDocument() {
	message, shown := s.schema(Message{}), s.schema(Problem{})

	s.described = sync.OnceValue(func() *huma.OpenAPI {
		var examples map[string]example
		if err := json.Unmarshal(examplesText, &examples); err != nil {
			panic(err) // a wiring mistake: our own file
		}

		doc := s.api.OpenAPI()

		for _, item := range doc.Paths {
			for _, m := range methods(item) {
				gateway(m.op, message, shown)
				illustrate(m.op, examples[m.op.OperationID])
			}
		}

		return doc
	})

	s.document = sync.OnceValue(func() gzipped.Text {
		b, err := json.MarshalIndent(s.described(), "", "  ")
		if err != nil {
			panic(err) // a wiring mistake: the document of our own routes
		}

		return gzipped.New(append(b, '\n'))
	})
	s.page = sync.OnceValue(func() gzipped.Text { return gzipped.New([]byte(s.rendered())) })
}

// gateway adds to an operation what callers may get before it is asked: API Gateway's own answers, and those of the path that a decoded one turns out to be.
func gateway(op *huma.Operation, message, shown *huma.Schema) {
	add := func(status int, media string, schema *huma.Schema) {
		code := strconv.Itoa(status)
		if op.Responses[code] == nil {
			op.Responses[code] = &huma.Response{Description: http.StatusText(status)}
		}

		r := op.Responses[code]
		if r.Content == nil {
			r.Content = map[string]*huma.MediaType{}
		}

		if r.Content[media] == nil {
			r.Content[media] = &huma.MediaType{Schema: schema}
		}
	}

	statuses := []int{http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable}
	if len(op.Security) == 0 { // not open to all
		statuses = append(statuses, http.StatusUnauthorized, http.StatusForbidden)
	}

	if op.RequestBody != nil {
		statuses = append(statuses, http.StatusRequestEntityTooLarge)
	}

	// API Gateway decodes a path before it routes it, so a variable that holds a slash or a question mark makes it another path.
	if slices.ContainsFunc(op.Parameters, func(p *huma.Param) bool { return p.In == "path" }) {
		statuses = append(statuses, http.StatusNotFound)
		add(http.StatusMethodNotAllowed, problemType, shown)
	}

	for _, status := range statuses {
		add(status, "application/json", message)
	}

	for _, code := range []string{"409", "503"} {
		if r := op.Responses[code]; r != nil {
			r.Headers = map[string]*huma.Param{"Retry-After": {Description: "Seconds after which it is worth another try", Schema: &huma.Schema{Type: huma.TypeInteger}}}
		}
	}
}

// illustrate adds an example to an operation.
func illustrate(op *huma.Operation, e example) {
	for _, p := range op.Parameters {
		if v, ok := e.Parameters[p.Name]; ok {
			p.Example = v
		}
	}

	if e.Body != nil && op.RequestBody != nil {
		op.RequestBody.Content["application/json"].Example = e.Body
	}

	if e.Answer == nil {
		return
	}

	// The usual success first: a create that is only validated answers its plan.
	for _, code := range append([]string{strconv.Itoa(op.DefaultStatus)}, slices.Sorted(maps.Keys(op.Responses))...) {
		if op.Responses[code] == nil {
			continue
		}

		if media := op.Responses[code].Content["application/json"]; media != nil && code < "300" {
			media.Example = e.Answer

			return
		}
	}
}

// method is one operation of a path.
type method struct {
	method string
	op     *huma.Operation
}

// methods lists a path's operations.
func methods(item *huma.PathItem) []method {
	all := []method{{http.MethodGet, item.Get}, {http.MethodPost, item.Post}, {http.MethodPut, item.Put}, {http.MethodPatch, item.Patch}, {http.MethodDelete, item.Delete}}

	return slices.DeleteFunc(all, func(m method) bool { return m.op == nil })
}
