package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// Problem is every answer that is not a success (RFC 9457), and the error of an operation or a step.
type Problem struct {
	Type      string       `json:"type" format:"uri-reference" doc:"Names the problem for ever; leads to its entry on this API's own page"`
	Title     string       `json:"title" doc:"The problem in a few words, the same each time"`
	Status    int          `json:"status" doc:"HTTP status; of the error of an operation the one that its class would have had"`
	Detail    string       `json:"detail" doc:"What happened this time, and why"`
	Instance  string       `json:"instance,omitempty" format:"uri-reference" doc:"Where it happened: the path asked for, or the operation"`
	Code      string       `json:"code" doc:"Stable, for programs"`
	Class     deploy.Class `json:"class" enum:"not_ready,throttled,transient,conflict,denied,quota,capacity,invalid,gone,internal" doc:"What kind of trouble it is"`
	Pointer   string       `json:"pointer,omitempty" doc:"JSON pointer (RFC 6901) to the member of the request's body"`
	Parameter string       `json:"parameter,omitempty" doc:"Name of the query parameter or header"`
	Resource  deploy.Ref   `json:"resource,omitempty" doc:"The resource that it happened to"`
	AWSCode   string       `json:"awsCode,omitempty" doc:"AWS's own error code"`
	RequestID string       `json:"requestId,omitempty" doc:"Id of AWS's answer if awsCode is there, else of this request: what to give to an operator"`
	Retryable bool         `json:"retryable" doc:"Whether the same request may succeed later without anybody changing anything"`
	Remedy    string       `json:"remedy" doc:"What you can do"`
	Operation string       `json:"operation,omitempty" format:"uri-reference" doc:"The operation that is in the way"`
	Errors    []Fault      `json:"errors,omitempty" doc:"Everything that is wrong with the request, if it is more than one thing; the first stands above too"`

	headers http.Header
}

// Fault is one of several things that are wrong with a request.
type Fault struct {
	Code      string `json:"code" doc:"Stable, for programs"`
	Detail    string `json:"detail" doc:"What is wrong, and why"`
	Pointer   string `json:"pointer,omitempty" doc:"JSON pointer (RFC 6901) to the member of the request's body"`
	Parameter string `json:"parameter,omitempty" doc:"Name of the query parameter or header"`
	Remedy    string `json:"remedy" doc:"What you can do"`
}

const problemType = "application/problem+json"

// Error makes a Problem an error that handlers return.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// GetStatus tells huma the status.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders tells huma what else to send.
func (p *Problem) GetHeaders() http.Header { return p.headers }

// ContentType tells huma that this is not plain JSON.
func (p *Problem) ContentType(string) string { return problemType }

func problem(status int, class deploy.Class, code, format string, args ...any) *Problem {
	p := &Problem{
		Type: typeOf(code), Title: titleOf(code, class), Status: status, Detail: deploy.Scrub(fmt.Sprintf(format, args...)), Code: code, Class: class,
		Retryable: class.Retryable(), headers: http.Header{},
	}

	if status == http.StatusServiceUnavailable {
		p.headers.Set("Retry-After", "2")
	}

	return p
}

func (p *Problem) remedy(format string, args ...any) *Problem {
	p.Remedy = fmt.Sprintf(format, args...)

	return p
}

func (p *Problem) at(parameter string) *Problem {
	p.Parameter = parameter

	return p
}

func (p *Problem) header(name, value string) *Problem {
	p.headers.Set(name, value)

	return p
}

// inTheWay names the operation that stands in the way, for people (detail), programs (operation) and HTTP (Location).
func (p *Problem) inTheWay(ctx context.Context, id string) *Problem {
	p.Operation = of(ctx).base + "/v1/operations/" + id

	return p.header("Location", p.Operation)
}

func internal() *Problem {
	return problem(http.StatusInternalServerError, deploy.Internal, "internal", "The service met an error of its own.").
		remedy("Try again; if it happens twice, give the operator the request id.")
}

// statusOf is the only place where a class becomes an HTTP status. A quota is 409, not 429: it stays full until a person acts, and 429 makes clients retry.
func statusOf(class deploy.Class) int {
	switch class {
	case deploy.Invalid:
		return http.StatusUnprocessableEntity
	case deploy.Conflict, deploy.Quota:
		return http.StatusConflict
	case deploy.Denied:
		return http.StatusForbidden
	case deploy.Capacity, deploy.Throttled, deploy.Transient, deploy.NotReady:
		return http.StatusServiceUnavailable
	case deploy.Gone:
		return http.StatusNotFound
	case deploy.Internal:
	}

	return http.StatusInternalServerError
}

// fromError shows a classified error.
func fromError(e *deploy.Error) *Problem {
	status := statusOf(e.Class)
	if e.Code == "precondition_failed" {
		status = http.StatusPreconditionFailed
	}

	p := problem(status, e.Class, e.Code, "%s", e.Message).remedy("%s", e.Remedy)
	p.Pointer, p.Resource, p.AWSCode, p.RequestID = e.Pointer, e.Resource, e.AWSCode, e.RequestID

	return p
}

// fromFindings shows everything that is wrong with a request; the first finding is the problem.
func fromFindings(findings []deploy.Finding) *Problem {
	f := findings[0]
	p := problem(statusOf(f.Class), f.Class, f.Code, "%s", f.Message).remedy("%s", f.Remedy)
	p.Pointer = f.Pointer

	if len(findings) > 1 {
		for _, f := range findings {
			p.Errors = append(p.Errors, Fault{Code: f.Code, Detail: f.Message, Pointer: f.Pointer, Remedy: f.Remedy})
		}
	}

	return p
}

// fail turns any error into the problem that the caller sees. What is not meant for callers is logged and stays out of it.
func (s *server) fail(ctx context.Context, err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}

	if refused, ok := errors.AsType[*workflow.Refused](err); ok && len(refused.Findings) > 0 {
		return fromFindings(refused.Findings)
	}

	switch {
	case errors.Is(err, store.ErrNotFound):
		return notFound(ctx, "such thing", "")
	case errors.Is(err, store.ErrBusy):
		return problem(http.StatusConflict, deploy.Conflict, "request_in_progress", "A request with this Idempotency-Key is being admitted at this moment.").
			at(idempotencyKey).remedy("Send the same request again in a few seconds.").header("Retry-After", "2").mayRetry()
	case errors.Is(err, store.ErrMismatch):
		return problem(http.StatusUnprocessableEntity, deploy.Invalid, "idempotency_key_reused", "This Idempotency-Key was used for another request within 24 hours.").
			at(idempotencyKey).remedy("Use a new key for a new request.")
	case errors.Is(err, store.ErrStale):
		return problem(http.StatusServiceUnavailable, deploy.Transient, "busy", "The deployment changed while the request was admitted.").
			remedy("Send the request again.")
	}

	if e, ok := errors.AsType[*deploy.Error](err); ok && e.Class != deploy.Internal {
		p := fromError(e)
		if e.AWSCode != "" && p.Retryable {
			p = p.remedy("Nothing was begun. Send the request again.") // AWS stumbled while it was looked at, and no step tries again by itself
		}

		return p
	}

	// What is left comes from our own table or from a mistake of ours. Its text is for the log; its class only tells whether it is worth another try.
	class := awserr.Classify(err).Class
	s.Log.ErrorContext(ctx, "answer", "error", err, "class", class)

	if !class.Retryable() {
		return internal()
	}

	return problem(http.StatusServiceUnavailable, class, "unavailable", "The service cannot reach its records at the moment.").remedy("Send the request again.")
}

func (p *Problem) mayRetry() *Problem {
	p.Retryable = true

	return p
}

// failAt is fail for a request that names a thing: if that is not there, it answers what is given for it.
func (s *server) failAt(ctx context.Context, err error, missing *Problem) *Problem {
	if errors.Is(err, store.ErrNotFound) {
		return missing
	}

	return s.fail(ctx, err)
}

// notFound is the same for what never was, what is gone and what is another tenant's. It repeats the name that the caller knows already, and nothing else.
func notFound(ctx context.Context, noun, name string) *Problem {
	return problem(http.StatusNotFound, deploy.Gone, "not_found", "There is no %s in tenant %s.", strings.TrimSpace(noun+" "+name), of(ctx).principal.Tenant).
		remedy("Check the name or the id.")
}

func noDeployment(ctx context.Context, name string) *Problem {
	return notFound(ctx, "deployment", name).remedy("GET /v1/deployments lists those that there are; with ?showDeleted=true the deleted ones too.")
}

func noOperation(ctx context.Context, id string) *Problem {
	deployment := "NAME"
	if name, ok := split(id); ok {
		deployment = name
	} else if deploy.ValidName(id) {
		deployment = id
	}

	return notFound(ctx, "operation", id).remedy("GET /v1/operations?deployment=%s lists the operations of a deployment, with their ids.", deployment)
}

// write answers with a problem outside of huma.
func (s *server) write(w http.ResponseWriter, r *http.Request, p *Problem) {
	complete(r.Context(), p)

	for name, values := range p.headers {
		w.Header()[name] = values
	}

	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)

	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)

	if err := enc.Encode(p); err != nil {
		s.Log.InfoContext(r.Context(), "write a problem", "error", err) // the caller has left
	}
}

// complete adds what only the request knows.
func complete(ctx context.Context, p *Problem) {
	if req := of(ctx); req != nil {
		p.Instance = req.path

		if p.RequestID == "" {
			p.RequestID = req.id
		}
	}
}

// transform completes the problems that handlers return, and translates those that huma writes by itself. It runs per API, so huma's global NewError stays
// as it is; huma has chosen the status already.
func (s *server) transform(ctx huma.Context, _ string, v any) (any, error) {
	switch p := v.(type) {
	case *Problem:
		complete(ctx.Context(), p)
	case *huma.ErrorModel:
		translated := s.translate(ctx, p)
		complete(ctx.Context(), translated)

		return translated, nil
	}

	return v, nil
}

// translate knows the few things that huma refuses here: bodies are checked before it sees them, so parameters are left, and faults of its own.
func (s *server) translate(ctx huma.Context, m *huma.ErrorModel) *Problem {
	var faults []Fault

	parameters := map[string]*huma.Schema{}

	for _, p := range ctx.Operation().Parameters {
		if p.In == "query" {
			parameters[p.Name] = p.Schema
		}
	}

	for _, d := range m.Errors {
		_, parameter, ok := strings.Cut(d.Location, ".")
		if !ok {
			continue
		}

		f := Fault{Code: "invalid_parameter", Parameter: parameter, Detail: "The parameter does not have the right form.", Remedy: "GET /openapi.json says what it takes."}

		switch {
		case d.Message == "unknown query parameter":
			names := slices.Sorted(maps.Keys(parameters))
			f.Code, f.Detail, f.Remedy = "unknown_parameter", "There is no such parameter here.", fmt.Sprintf("Parameters here are: %s.", joined(names))

			if meant := nearest(parameter, names); meant != "" {
				f.Remedy = fmt.Sprintf("Did you mean %s?", meant)
			}
		case strings.HasPrefix(d.Message, "required "):
			f.Code, f.Detail = "missing_parameter", "The parameter is missing."
		case parameters[parameter] != nil && len(parameters[parameter].Enum) > 0:
			f.Detail, f.Remedy = oneOf(parameters[parameter].Enum, fmt.Sprint(d.Value))
		case strings.HasPrefix(d.Message, "expected ") || strings.HasPrefix(d.Message, "invalid "):
			f.Detail = "The parameter does not have the right form: " + d.Message + "."
		}

		faults = append(faults, f)
	}

	if len(faults) == 0 {
		s.Log.ErrorContext(ctx.Context(), "answer", "status", m.Status, "detail", m.Detail)

		p := internal()
		p.Status = m.Status

		return p
	}

	slices.SortFunc(faults, func(a, b Fault) int { return strings.Compare(a.Parameter, b.Parameter) })

	p := problem(m.Status, deploy.Invalid, faults[0].Code, "%s", faults[0].Detail).at(faults[0].Parameter).remedy("%s", faults[0].Remedy)
	if len(faults) > 1 {
		p.Errors = faults
	}

	return p
}
