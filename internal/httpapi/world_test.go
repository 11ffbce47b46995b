package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/httpapi"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/memory"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// thing is a kind whose objects are ready at once and gone at once.
type thing struct {
	about kind.About
	plan  func(deploy.Spec) []kind.Item
	// broken makes Ensure fail for good.
	broken *deploy.Error
	// findings is what Check answers.
	findings []deploy.Finding
	// stuck makes Remove fail for good.
	stuck *deploy.Error
}

func (k *thing) About() kind.About { return k.about }

func (k *thing) Plan(spec deploy.Spec) []kind.Item { return k.plan(spec) }

func (k *thing) Ensure(_ context.Context, c *kind.Call) (kind.Result, error) {
	if k.broken != nil {
		return kind.Result{}, k.broken
	}

	name := c.Name(strings.ReplaceAll(string(c.Ref), "/", "-"))

	return kind.Result{
		Done: true, ID: name, ARN: c.Owner.ARN(k.about.Family, c.Owner.Region, c.Owner.Account, name), Outputs: map[string]string{"name": name},
	}, nil
}

func (k *thing) Remove(_ context.Context, c *kind.Call) (kind.Result, error) {
	if k.stuck != nil {
		return kind.Result{}, k.stuck
	}

	return kind.Result{Done: true, Kept: k.about.Name == "bucket" && c.Data == deploy.Keep}, nil
}

func (k *thing) Observe(context.Context, *kind.Call) (kind.Observation, error) {
	return kind.Observation{State: kind.Ready}, nil
}

func (k *thing) Check(context.Context, *kind.Call) ([]deploy.Finding, error) { return k.findings, nil }

func one(name string, needs ...deploy.Ref) func(deploy.Spec) []kind.Item {
	return func(deploy.Spec) []kind.Item {
		return []kind.Item{{Ref: deploy.Ref(name), Needs: needs, Pointer: "/spec"}}
	}
}

// clock stands still but for Sleep. During sleeps something may happen.
type clock struct {
	mu     sync.Mutex
	now    time.Time
	slept  time.Duration
	during func(slept time.Duration)
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()

	return c.now
}

func (c *clock) Sleep(_ context.Context, d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	c.slept += d
	slept, during := c.slept, c.during
	c.mu.Unlock()

	if during != nil {
		during(slept)
	}
}

// starter takes executions and starts nothing.
type starter struct {
	mu      sync.Mutex
	started []workflow.Execution
}

func (s *starter) Start(_ context.Context, e workflow.Execution) error {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.started = append(s.started, e)

	return nil
}

func (s *starter) Alive(context.Context, workflow.Execution) (alive, known bool, err error) {
	return true, true, nil
}

// world is the API over the store in memory, with the real control and the real workflow, and kinds that do nothing.
type world struct {
	t       *testing.T
	store   *memory.Store
	clock   *clock
	starter *starter
	graphs  *workflow.Graphs
	role    *thing
	handler http.Handler
	log     *bytes.Buffer
	schemas *schemas
	place   workflow.Place
}

func newWorld(t *testing.T) *world {
	t.Helper()

	w := &world{
		t: t, store: memory.New(), clock: &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, starter: &starter{}, log: &bytes.Buffer{},
		place: workflow.Place{Installation: "test", Partition: "aws", Account: "123456789012", Region: "us-east-1"},
		role:  &thing{about: kind.About{Name: "job-role", Doc: "As whom jobs run.", Family: "iam", Component: "access", Settings: deploy.Access{}, Needs: []string{"bucket"}}, plan: one("job-role", "bucket")},
	}
	w.store.Now = w.clock.Now

	kinds := kind.Registry{
		&thing{about: kind.About{Name: "bucket", Doc: "Where flows keep data.", Family: "s3", Component: "storage", Settings: deploy.Storage{}}, plan: one("bucket")},
		w.role,
		&thing{
			about: kind.About{Name: "job-queue", Doc: "Takes jobs.", Family: "batch", Component: "compute", Settings: deploy.Compute{}, Many: true, Needs: []string{"job-role"}},
			plan: func(spec deploy.Spec) []kind.Item {
				var items []kind.Item
				for _, q := range spec.Compute.Queues {
					items = append(items, kind.Item{Ref: deploy.NewRef("job-queue", q.Name), Needs: []deploy.Ref{"job-role"}})
				}

				return items
			},
		},
	}

	for _, k := range kinds {
		a := &k.(*thing).about
		a.Ensuring, a.Removing = kind.Timing{Typical: time.Second, Deadline: time.Hour}, kind.Timing{Typical: time.Second, Deadline: time.Hour}
	}

	var err error
	if w.graphs, err = workflow.NewGraphs(kinds); err != nil {
		t.Fatal(err)
	}

	w.handler = httpapi.New(w.options())

	document.once.Do(func() { document.schemas = newSchemas(t, w.handler) })
	w.schemas = document.schemas

	return w
}

func (w *world) options() httpapi.Options {
	log := slog.New(slog.NewJSONHandler(&locked{w: w.log}, nil))

	var (
		mu  sync.Mutex
		ids int
	)

	control := &workflow.Control{
		Store: w.store, Graphs: w.graphs, Starter: w.starter, Place: w.place, Clock: w.clock, Grants: w.store, Log: log,
		NewID: func() string {
			mu.Lock()
			defer mu.Unlock()

			ids++

			return fmt.Sprintf("01jn%022d", ids)
		},
	}

	return httpapi.Options{
		Control: control, Records: w.store, Graphs: w.graphs, Place: deploy.Place{Partition: "aws", Account: w.place.Account, Region: w.place.Region},
		Principal: principal, RequestID: func(r *http.Request) string { return r.Header.Get("X-Test-Request") }, CheckURL: checkURL, Clock: w.clock, Log: log, Version: "1.2.3",
	}
}

// checkURL stands for the checks of another room.
func checkURL(url string) *deploy.Error {
	if strings.HasPrefix(url, "https://") {
		return nil
	}

	return deploy.Errorf(deploy.Invalid, "invalid_url", "The URL cannot be called: its scheme is not https.").At("/url").WithRemedy("Name another.")
}

type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.w.Write(p)
}

// principal takes the test's word for who calls: "tenant role role".
func principal(r *http.Request) (deploy.Principal, error) {
	who := strings.Fields(r.Header.Get("X-Test-Who"))
	if len(who) == 0 {
		return deploy.Principal{}, deploy.Errorf(deploy.Denied, "no_principal", "Nobody knows you.").WithRemedy("Ask.")
	}

	p := deploy.Principal{Tenant: who[0], Actor: "someone@" + who[0]}
	for _, role := range who[1:] {
		p.Roles = append(p.Roles, deploy.Role(role))
	}

	return p, nil
}

// answer is a response whose form was compared with the document already.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
}

// do sends a request as a deployer of tenant acme, unless a header says otherwise, and compares the answer with the OpenAPI document.
func (w *world) do(method, path, body string, header ...string) answer {
	w.t.Helper()

	var reader io.Reader = http.NoBody
	if body != "" {
		reader = strings.NewReader(body)
	}

	r := httptest.NewRequestWithContext(w.t.Context(), method, path, reader)
	r.Header.Set("X-Test-Who", "acme deployer")

	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}

	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)

	a := answer{t: w.t, status: rec.Code, header: rec.Header(), body: rec.Body.Bytes()}

	if method != http.MethodHead { // whose answers have no body to compare
		w.schemas.check(w.t, method, r.URL.Path, a)
	}

	return a
}

// want fails unless the status is as expected, and for a problem also code and place ("/pointer" or "parameter").
func (a answer) want(status int, problem ...string) answer {
	a.t.Helper()

	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}

	if len(problem) > 0 && a.field("code") != problem[0] {
		a.t.Fatalf("code %v, want %s: %s", a.field("code"), problem[0], a.body)
	}

	if len(problem) > 1 {
		at := a.field("pointer")
		if !strings.HasPrefix(problem[1], "/") {
			at = a.field("parameter")
		}

		if at != problem[1] {
			a.t.Fatalf("at %v, want %s: %s", at, problem[1], a.body)
		}
	}

	return a
}

func (a answer) json() map[string]any {
	a.t.Helper()

	var v map[string]any
	if err := json.Unmarshal(a.body, &v); err != nil {
		a.t.Fatalf("%v: %s", err, a.body)
	}

	return v
}

// field reads a member by a path such as "resources.total" or "steps.0.state".
func (a answer) field(path string) any {
	a.t.Helper()

	var v any = a.json()

	for part := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i >= len(x) {
				return nil
			}

			v = x[i]
		default:
			return nil
		}
	}

	return v
}

func (a answer) text(path string) string {
	a.t.Helper()

	s, ok := a.field(path).(string)
	if !ok {
		a.t.Fatalf("no text at %s: %s", path, a.body)
	}

	return s
}

// create makes a deployment of acme and answers its operation's id.
func (w *world) create(body string, header ...string) string {
	w.t.Helper()

	return w.do(http.MethodPost, "/v1/deployments", body, header...).want(http.StatusAccepted).text("id")
}

// begin runs the operation's first state.
func (w *world) begin(key deploy.Key) workflow.Execution {
	w.t.Helper()

	record, err := w.store.Load(w.t.Context(), key)
	if err != nil {
		w.t.Fatal(err)
	}

	e := workflow.Execution{Installation: "test", Tenant: key.Tenant, Deployment: key.Name, Operation: record.Operation.ID, Epoch: record.Deployment.Epoch}
	if _, err := w.conductor().Begin(w.t.Context(), workflow.Input{Verb: workflow.VerbBegin, Execution: e}); err != nil {
		w.t.Fatal(err)
	}

	return e
}

func (w *world) conductor() *workflow.Conductor {
	return &workflow.Conductor{Store: w.store, Graphs: w.graphs, Clock: w.clock, Log: slog.New(slog.DiscardHandler)}
}

// work does the steps of one action, in an order that works for both.
func (w *world) work(e workflow.Execution, verb workflow.Verb) {
	w.t.Helper()

	worker := &workflow.Worker{Store: w.store, Kinds: w.graphs.Kinds, Place: w.place, Clock: w.clock, Log: slog.New(slog.DiscardHandler)}

	order := w.graphs.Ensure.Order()
	if verb == workflow.VerbRemove {
		order = w.graphs.Remove.Order()
	}

	for _, name := range order {
		record, err := w.store.Load(w.t.Context(), e.Key())
		if err != nil {
			w.t.Fatal(err)
		}

		for _, r := range record.Resources {
			if r.Ref.Kind() != name {
				continue
			}

			err := worker.Run(w.t.Context(), workflow.Input{Verb: verb, Execution: e, Resource: r.Ref})
			if s, ok := errors.AsType[*workflow.Signal](err); err != nil && (!ok || s.Name != workflow.Failed) {
				w.t.Fatal(err)
			}
		}
	}
}

// run carries the current operation of acme's deployment to its end.
func (w *world) run(name string) {
	w.t.Helper()

	e := w.begin(deploy.Key{Tenant: "acme", Name: name})

	w.work(e, workflow.VerbEnsure)
	w.clock.Sleep(w.t.Context(), time.Minute)

	plan, err := w.conductor().Settle(w.t.Context(), workflow.Input{Verb: workflow.VerbSettle, Execution: e})
	if err != nil {
		w.t.Fatal(err)
	}

	e.Epoch = plan.Epoch
	w.work(e, workflow.VerbRemove)
	w.clock.Sleep(w.t.Context(), time.Minute)

	if err := w.conductor().Close(w.t.Context(), workflow.Input{Verb: workflow.VerbClose, Execution: e}); err != nil {
		w.t.Fatal(err)
	}
}

// remove deletes acme's deployment to the end.
func (w *world) remove(name string) {
	w.t.Helper()
	w.do(http.MethodDelete, "/v1/deployments/"+name, "").want(http.StatusAccepted)
	w.run(name)
}

// document is the one that every world serves: their kinds are the same.
var document struct {
	once    sync.Once
	schemas *schemas
}

// schemas is the served document, ready to compare answers with.
type schemas struct {
	doc      map[string]any
	compiler *jsonschema.Compiler
	mu       sync.Mutex
	compiled map[string]*jsonschema.Schema
	// seen are the answers that tests got: method, path of the document, status.
	seen map[[3]string]bool
}

func newSchemas(t *testing.T, h http.Handler) *schemas {
	t.Helper()

	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/openapi.json", http.NoBody))

	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(rec.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}

	s := &schemas{doc: doc.(map[string]any), compiler: jsonschema.NewCompiler(), compiled: map[string]*jsonschema.Schema{}, seen: map[[3]string]bool{}}
	s.compiler.AssertFormat()
	s.compiler.DefaultDraft(jsonschema.Draft2020)

	if err := s.compiler.AddResource("mem:///openapi.json", doc); err != nil {
		t.Fatal(err)
	}

	return s
}

func (s *schemas) at(t *testing.T, segments ...string) *jsonschema.Schema {
	t.Helper()

	pointer := "mem:///openapi.json#"
	for _, segment := range segments {
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(segment)
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	if s.compiled[pointer] == nil {
		schema, err := s.compiler.Compile(pointer)
		if err != nil {
			t.Fatalf("compile %s: %v", pointer, err)
		}

		s.compiled[pointer] = schema
	}

	return s.compiled[pointer]
}

// template finds the documented path of a request.
func (s *schemas) template(path string) string {
	if strings.HasPrefix(path, "/iam/v1/") {
		path = strings.TrimPrefix(path, "/iam")
	}

	paths := s.doc["paths"].(map[string]any)

	for template := range paths {
		want, have := strings.Split(template, "/"), strings.Split(path, "/")
		fits := len(want) == len(have)

		for i := range min(len(want), len(have)) {
			_, wantVerb, _ := strings.Cut(want[i], ":")
			_, haveVerb, _ := strings.Cut(have[i], ":")
			fits = fits && (want[i] == have[i] || strings.HasPrefix(want[i], "{") && have[i] != "" && wantVerb == haveVerb)
		}

		if fits {
			return template
		}
	}

	return ""
}

// check fails unless the answer is one that the document promises.
func (s *schemas) check(t *testing.T, method, path string, a answer) {
	t.Helper()

	media, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")

	if a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Security-Policy") == "" {
		t.Errorf("%s %s: security headers are missing: %v", method, path, a.header)
	}

	var schema *jsonschema.Schema

	template := s.template(path)
	op, _ := object(s.doc["paths"], template, strings.ToLower(method))
	response, documented := object(op, "responses", strconv.Itoa(a.status))

	s.mu.Lock()
	s.seen[[3]string{method, template, strconv.Itoa(a.status)}] = true
	s.mu.Unlock()

	switch {
	case a.status == http.StatusMethodNotAllowed || op == nil:
		schema = s.at(t, "components", "schemas", "Problem")
	case !documented:
		t.Fatalf("%s %s: status %d is not documented: %s", method, template, a.status, a.body)
	case response["content"] == nil:
		if len(a.body) > 0 {
			t.Fatalf("%s %s %d: a body where none is documented: %s", method, template, a.status, a.body)
		}

		return
	default:
		content, ok := object(response, "content", media)
		if !ok {
			t.Fatalf("%s %s %d: media type %q is not documented", method, template, a.status, media)
		}

		if content["schema"] == nil || media == "text/plain" {
			return
		}

		schema = s.at(t, "paths", template, strings.ToLower(method), "responses", strconv.Itoa(a.status), "content", media, "schema")
	}

	body, err := jsonschema.UnmarshalJSON(bytes.NewReader(a.body))
	if err != nil {
		t.Fatalf("%s %s %d: %v: %s", method, path, a.status, err, a.body)
	}

	if err := schema.Validate(body); err != nil {
		t.Fatalf("%s %s %d: %v: %s", method, path, a.status, err, a.body)
	}

	if a.status < http.StatusBadRequest {
		return
	}

	p := body.(map[string]any)
	if media != "application/problem+json" || fmt.Sprint(p["status"]) != strconv.Itoa(a.status) || p["remedy"] == "" || p["type"] != "/docs#problem-"+p["code"].(string) {
		t.Fatalf("%s %s: not a good problem (%s): %s", method, path, media, a.body)
	}

	for _, trace := range []string{"json:", "Go struct", ".go:", "runtime error", "goroutine", "errors."} {
		if bytes.Contains(a.body, []byte(trace)) {
			t.Fatalf("%s %s: an error of Go's shows: %s", method, path, a.body)
		}
	}
}

// object walks into nested objects.
func object(v any, path ...string) (map[string]any, bool) {
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}

	m, ok := v.(map[string]any)

	return m, ok
}

// load reads a deployment of acme.
func load(t *testing.T, s store.Store, name string) *store.Record {
	t.Helper()

	record, err := s.Load(t.Context(), deploy.Key{Tenant: "acme", Name: name})
	if err != nil {
		t.Fatal(err)
	}

	return record
}
