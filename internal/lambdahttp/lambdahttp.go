// Package lambdahttp is the edge between API Gateway's events (payload format 2.0 of HTTP APIs) and an http.Handler, and the only importer of
// aws-lambda-go-api-proxy. That library is archived; what it gets wrong is put right here: it leaves the stage in the path, splits header values at
// commas, and answers 504 to events that it cannot read.
//
// It also tells who calls, from what API Gateway's authorizer verified. It must not know routes, roles' meaning or the contract.
package lambdahttp

import (
	"context"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-lambda-go/events"
	"github.com/awslabs/aws-lambda-go-api-proxy/httpadapter"
)

type contextKey struct{}

// event is the event that a request came from, or nil.
func event(r *http.Request) *events.APIGatewayV2HTTPRequest {
	e, _ := r.Context().Value(contextKey{}).(*events.APIGatewayV2HTTPRequest)

	return e
}

// RequestID is API Gateway's id of the request.
func RequestID(r *http.Request) string {
	if e := event(r); e != nil {
		return e.RequestContext.RequestID
	}

	return ""
}

// Handler answers API Gateway's events.
type Handler = func(context.Context, events.APIGatewayV2HTTPRequest) (events.APIGatewayV2HTTPResponse, error)

// New makes a Lambda handler of an http.Handler. The handler sees the invocation's deadline. An event that is no request is answered as API Gateway
// would, 400 with a message; the handler's own answers pass unchanged. It never returns an error: API Gateway would show nothing of it.
func New(handler http.Handler, log *slog.Logger) Handler {
	adapter := httpadapter.NewV2(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		restore(r)

		answer := &writer{ResponseWriter: w}
		handler.ServeHTTP(answer, r)

		if !answer.begun {
			w.WriteHeader(http.StatusOK) // as net/http does; the adapter would print and answer 504
		}
	}))

	return func(ctx context.Context, e events.APIGatewayV2HTTPRequest) (events.APIGatewayV2HTTPResponse, error) {
		if why := prepare(&e); why != "" {
			log.WarnContext(ctx, "refuse an event", "why", why)

			return message(http.StatusBadRequest), nil
		}

		res, err := adapter.ProxyWithContext(context.WithValue(ctx, contextKey{}, &e), e)
		if err != nil {
			log.ErrorContext(ctx, "answer an event", "error", err)

			return message(http.StatusInternalServerError), nil
		}

		return res, nil
	}
}

// writer notes whether a handler has answered at all.
type writer struct {
	http.ResponseWriter
	begun bool
}

func (w *writer) WriteHeader(status int) {
	w.begun = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(b []byte) (int, error) {
	w.begun = true

	return w.ResponseWriter.Write(b)
}

// prepare checks what the adapter would stumble over, and puts the path into the form that it expects. It says why an event is refused.
func prepare(e *events.APIGatewayV2HTTPRequest) string {
	if e.RequestContext.HTTP.Method == "" || strings.ContainsFunc(e.RequestContext.HTTP.Method, func(r rune) bool { return r < 'A' || r > 'Z' }) {
		return "no method"
	}

	if e.IsBase64Encoded {
		if _, err := base64.StdEncoding.DecodeString(e.Body); err != nil {
			return "body is not base64"
		}
	}

	path := e.RawPath
	if path == "" {
		path = e.RequestContext.HTTP.Path
	}

	// A named stage stands before every path; $default does not.
	if stage := e.RequestContext.Stage; stage != "" && stage != "$default" {
		if rest, ok := strings.CutPrefix(path, "/"+stage); ok && (rest == "" || rest[0] == '/') {
			path = rest
		}
	}

	// API Gateway hands the path over decoded, whatever its name says.
	e.RawPath = (&url.URL{Path: "/" + strings.TrimPrefix(path, "/")}).EscapedPath()

	host := e.RequestContext.DomainName
	if u, err := url.Parse("https://" + host + e.RawPath + "?" + e.RawQueryString); err != nil || host == "" || u.Host != host {
		return "no host or path"
	}

	return ""
}

// restore undoes the splitting of headers at commas: API Gateway joins repeated headers itself, and a comma may as well belong to the value.
func restore(r *http.Request) {
	header := http.Header{}

	for name, value := range event(r).Headers {
		header.Set(name, value)
	}

	for _, cookie := range event(r).Cookies {
		header.Add("Cookie", cookie)
	}

	r.Header = header
}

func message(status int) events.APIGatewayV2HTTPResponse {
	return events.APIGatewayV2HTTPResponse{
		StatusCode: status, Headers: map[string]string{"Content-Type": "application/json"}, Body: `{"message":"` + http.StatusText(status) + `"}`,
	}
}
