// Package frontdoor plays an API Gateway HTTP API on this computer: routes, authorizers and limits
// in front of one or more functions, payload format 2.0, stage $default.
//
// It does only what API Gateway does, and refuses in API Gateway's own words: {"message": ...}. It
// must not know what the functions serve, nor how they are run.
package frontdoor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/samtemplate"
)

// maxBody is the largest request an HTTP API takes.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
const maxBody = 10 << 20

// Invoke calls a function and answers its payload. functionError is set when the function failed;
// err when it could not be called, or ctx ended first.
type Invoke func(ctx context.Context, functionARN string, event []byte) (payload []byte, functionError string, err error)

// Caller is who signed a request, as API Gateway tells the function.
type Caller struct {
	AccountID string
	CallerID  string
	UserARN   string
	UserID    string
	// Secret is the key's secret; the function never sees it.
	Secret string
}

// Options configures a door.
type Options struct {
	API     *samtemplate.API
	Region  string
	Account string
	Invoke  Invoke
	// Caller finds the owner of an access key id, for AWS_IAM routes.
	Caller func(accessKeyID string) (Caller, bool)
	// Client fetches the issuers' keys.
	Client *http.Client
	Logger *slog.Logger
}

// Door is an HTTP API. It is an http.Handler.
type Door struct {
	opts   Options
	routes []route
	keys   *keySets
	bucket *bucket // nil when the template sets no limit
}

// New reads the routes. An error is a route that this door cannot play.
func New(opts Options) (*Door, error) {
	d := &Door{opts: opts, keys: newKeySets(opts.Client)}
	for _, r := range opts.API.Routes {
		parsed, err := parseRoute(r)
		if err != nil {
			return nil, err
		}
		d.routes = append(d.routes, parsed)
	}
	if t := opts.API.Throttle; t.Burst > 0 && t.Rate > 0 {
		d.bucket = &bucket{burst: float64(t.Burst), rate: t.Rate, tokens: float64(t.Burst), last: time.Now()}
	}
	return d, nil
}

// ServeHTTP answers one request as API Gateway would.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := requestID()
	w.Header().Set("Apigw-Requestid", id)

	// API Gateway decodes the path before it routes, and what follows a decoded question mark is lost.
	path, _, _ := strings.Cut(r.URL.Path, "?")
	rt, params, ok := match(d.routes, r.Method, path)
	if !ok {
		refuse(w, http.StatusNotFound, "Not Found")
		return
	}
	if d.bucket != nil && !d.bucket.take(time.Now()) {
		refuse(w, http.StatusTooManyRequests, "Too Many Requests")
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		refuse(w, http.StatusBadRequest, "Bad Request")
		return
	}
	if len(body) > maxBody {
		w.Header().Set("Connection", "close") // the rest of the body is not read
		refuse(w, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
		return
	}
	authorizer, ok := d.authorize(w, r, rt, body)
	if !ok {
		return
	}

	event, err := json.Marshal(d.event(r, rt, params, path, id, body, authorizer))
	if err != nil {
		d.opts.Logger.ErrorContext(r.Context(), "event could not be encoded", "error", err)
		refuse(w, http.StatusInternalServerError, "Internal Server Error")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), rt.Timeout)
	defer cancel()
	payload, functionError, err := d.opts.Invoke(ctx, rt.Function, event)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		refuse(w, http.StatusServiceUnavailable, "Service Unavailable")
	case err != nil:
		d.opts.Logger.WarnContext(r.Context(), "function was not called", "function", rt.Function, "error", err)
		refuse(w, http.StatusInternalServerError, "Internal Server Error")
	case functionError != "":
		d.opts.Logger.WarnContext(r.Context(), "function failed", "function", rt.Function, "answer", string(payload))
		refuse(w, http.StatusInternalServerError, "Internal Server Error")
	default:
		if err := respond(w, payload); err != nil {
			d.opts.Logger.WarnContext(r.Context(), "function answered no HTTP response", "function", rt.Function, "error", err)
			refuse(w, http.StatusInternalServerError, "Internal Server Error")
		}
	}
}

// authorize lets the request in, or refuses it. What it answers goes into requestContext.authorizer.
func (d *Door) authorize(w http.ResponseWriter, r *http.Request, rt route, body []byte) (*authorizerContext, bool) {
	switch rt.Authorization {
	case "JWT":
		token, err := d.keys.verify(r.Context(), r.Header, rt.Authorizer)
		if err != nil {
			challenge := "Bearer"
			if !errors.Is(err, errNoToken) {
				challenge = fmt.Sprintf("Bearer scope=%q error=%q error_description=%q", "", "invalid_token", err.Error())
			}
			w.Header().Set("Www-Authenticate", challenge)
			refuse(w, http.StatusUnauthorized, "Unauthorized")
			return nil, false
		}
		if !hasScope(token, rt.Scopes) {
			w.Header().Set("Www-Authenticate", fmt.Sprintf("Bearer scope=%q error=%q", strings.Join(rt.Scopes, " "), "insufficient_scope"))
			refuse(w, http.StatusForbidden, "Forbidden")
			return nil, false
		}
		return &authorizerContext{JWT: &jwtContext{Claims: flatten(token), Scopes: rt.Scopes}}, true
	case "AWS_IAM":
		caller, accessKey, err := d.verifySignature(r, body, time.Now())
		if err != nil {
			d.opts.Logger.InfoContext(r.Context(), "signature refused", "error", err)
			refuse(w, http.StatusForbidden, "Forbidden")
			return nil, false
		}
		return &authorizerContext{IAM: &iamContext{
			AccessKey: accessKey, AccountID: caller.AccountID, CallerID: caller.CallerID, UserARN: caller.UserARN, UserID: caller.UserID,
		}}, true
	default:
		return nil, true
	}
}

// refuse answers in API Gateway's own form.
func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message}) // a caller that left needs no answer
}

// bucket is the token bucket of the stage's default throttle.
type bucket struct {
	mu          sync.Mutex
	burst, rate float64
	tokens      float64
	last        time.Time
}

func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(b.burst, b.tokens+now.Sub(b.last).Seconds()*b.rate)
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
