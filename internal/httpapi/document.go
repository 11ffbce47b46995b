package httpapi

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
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
		DefaultStatus: success, Metadata: map[string]any{roleKey: role}, Middlewares: huma.Middlewares{s.admit}, SkipValidateBody: true,
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
	s.mux.Get("/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(s.document()) // likewise
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

// finishDocument says how the document is written. From here on nothing changes it.
func (s *server) finishDocument() {
	s.document = sync.OnceValue(func() []byte {
		b, err := json.MarshalIndent(s.api.OpenAPI(), "", "  ")
		if err != nil {
			panic(err) // a wiring mistake: the document of our own routes
		}

		return append(b, '\n')
	})
}
