// Package door opens a simulated installation to those who speak HTTP: the real API stands in front of it, and is called as a client's transport, within
// the bubble, so that whoever waits for an answer or between two calls waits in virtual time.
//
// It must not know who calls.
package door

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/httpapi"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

// URL is where the installation answers.
const URL = "https://api.test"

// Token is what a caller of a tenant with a role shows.
func Token(tenant string, role deploy.Role) string { return tenant + "." + string(role) }

// Request is a request as it came.
type Request struct {
	Method, Path, Query, Key string
	Header                   http.Header
	Body                     []byte
}

// Door is a transport that leads to the API.
type Door struct {
	World *simulation.World
	// Before, if set, may answer in the API's place, or break the call; without a reply and an error the request passes.
	Before func(Request) (*Reply, error)
	// After, if set, may lose the API's answer.
	After func(Request) error

	api http.Handler

	mu       sync.Mutex
	requests []Request
}

// New opens a world. Like the world, it belongs into one bubble.
func New(w *simulation.World) *Door {
	return &Door{World: w, api: httpapi.New(httpapi.Options{
		Control: w.Control, Records: w.Store, Graphs: w.Graphs, Place: deploy.Place{Partition: w.AWS.Partition, Account: w.AWS.Account, Region: w.AWS.Region},
		Principal: principal, RequestID: func(*http.Request) string { return "request-1" }, Clock: workflow.WallClock{},
		Log: slog.New(slog.DiscardHandler), Version: "1.2.3", CheckURL: func(string) *deploy.Error { return nil },
	})}
}

func principal(r *http.Request) (deploy.Principal, error) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")

	tenant, role, ok := strings.Cut(token, ".")
	if !ok {
		return deploy.Principal{}, deploy.Errorf(deploy.Denied, "no_principal", "Nobody knows you.").WithRemedy("Ask.")
	}

	return deploy.Principal{Tenant: tenant, Actor: "someone@" + tenant, Roles: []deploy.Role{deploy.Role(role)}}, nil
}

// RoundTrip implements http.RoundTripper.
func (d *Door) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}

	if r.URL.Scheme+"://"+r.URL.Host != URL {
		return nil, errors.New("there is nobody at " + r.URL.String())
	}

	in := Request{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("Idempotency-Key"), r.Header, body}

	d.mu.Lock()
	d.requests = append(d.requests, in)
	d.mu.Unlock()

	if d.Before != nil {
		reply, err := d.Before(in)
		if err != nil {
			return nil, err
		}

		if reply != nil {
			return reply.response(), nil
		}
	}

	served := r.Clone(r.Context())
	served.Body = io.NopCloser(bytes.NewReader(body))
	rec := httptest.NewRecorder()
	d.api.ServeHTTP(rec, served)

	if err := r.Context().Err(); err != nil {
		return nil, err
	}

	if d.After != nil {
		if err := d.After(in); err != nil {
			return nil, err
		}
	}

	return rec.Result(), nil
}

// Requests lists what was asked so far.
func (d *Door) Requests() []Request {
	d.mu.Lock()
	defer d.mu.Unlock()

	return append([]Request{}, d.requests...)
}

// Reply is an answer that the API did not give.
type Reply struct {
	Status int
	Body   string
	// Header holds names and values in turn.
	Header []string
}

// Answer makes a reply.
func Answer(status int, body string, header ...string) *Reply { return &Reply{status, body, header} }

func (r *Reply) response() *http.Response {
	rec := httptest.NewRecorder()
	rec.Header().Set("Content-Type", "application/json")

	for i := 0; i+1 < len(r.Header); i += 2 {
		rec.Header().Set(r.Header[i], r.Header[i+1])
	}

	rec.WriteHeader(r.Status)
	_, _ = rec.WriteString(r.Body) // a recorder takes everything

	return rec.Result()
}
