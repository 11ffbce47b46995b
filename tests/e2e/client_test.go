package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

// problem is what the contract calls error.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Code      string `json:"code"`
	Class     string `json:"class"`
	Pointer   string `json:"pointer"`
	Parameter string `json:"parameter"`
	Resource  string `json:"resource"`
	AWSCode   string `json:"awsCode"`
	Remedy    string `json:"remedy"`
	Operation string `json:"operation"`
	Message   string `json:"message"` // API Gateway's own
}

type operation struct {
	ID         string   `json:"id"`
	Deployment string   `json:"deployment"`
	Kind       string   `json:"kind"`
	State      string   `json:"state"`
	Done       bool     `json:"done"`
	Version    int64    `json:"version"`
	Steps      []step   `json:"steps"`
	Error      *problem `json:"error"`
}

type step struct {
	Resource string   `json:"resource"`
	Action   string   `json:"action"`
	State    string   `json:"state"`
	Attempts int      `json:"attempts"`
	Error    *problem `json:"error"`
}

type deployment struct {
	Name      string `json:"name"`
	Phase     string `json:"phase"`
	Operation string `json:"operation"`
	Resources struct{ Total, Ready int }
}

type resource struct {
	Ref    string `json:"ref"`
	Kind   string `json:"kind"`
	ID     string `json:"id"`
	ARN    string `json:"arn"`
	Origin string `json:"origin"`
	State  string `json:"state"`
}

// answer is what the API said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// request is what is sent: a body that is text goes as it is, anything else as JSON.
type request struct {
	method, path string
	body         any
	header       map[string]string
}

// ask sends a request with the world's token. It fails the test only where no answer came.
func (w *world) ask(r request) answer {
	w.Helper()

	a, err := w.try(r)
	if err != nil {
		w.Fatal(err)
	}

	return a
}

func (w *world) try(r request) (answer, error) {
	var body []byte

	switch b := r.body.(type) {
	case nil:
	case string:
		body = []byte(b)
	default:
		var err error
		if body, err = json.Marshal(b); err != nil {
			return answer{}, err
		}
	}

	req, err := http.NewRequestWithContext(w.Context(), r.method, w.URL+r.path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}

	req.Header.Set("Authorization", "Bearer "+w.token)

	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}

	for name, value := range r.header {
		req.Header.Set(name, value)
	}

	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()

	text, err := io.ReadAll(res.Body)

	return answer{res.StatusCode, res.Header, text}, err
}

// as decodes an answer that must have a status.
func as[T any](w *world, a answer, status int) T {
	w.Helper()

	var v T

	if a.status != status {
		w.Fatalf("got status %d, want %d: %s", a.status, status, a.body)
	}

	if err := json.Unmarshal(a.body, &v); err != nil {
		w.Fatalf("%v: %s", err, a.body)
	}

	return v
}

type object = map[string]any

// create asks as a careful caller does: with a key of its own, and again when no answer came from the API itself, which may happen on a crowded computer.
func (w *world) create(name string, spec object) operation {
	w.Helper()

	body := object{"name": name}
	if spec != nil {
		body["spec"] = spec
	}

	req := request{method: "POST", path: "/v1/deployments", body: body, header: map[string]string{"Idempotency-Key": strings.ToLower(rand.Text())}}

	return as[operation](w, w.insist(req), http.StatusAccepted)
}

// insist sends a request that may be repeated until the answer is neither a failure of the front door nor a request to wait.
func (w *world) insist(r request) answer {
	w.Helper()

	// A request that broke off holds its key for a minute.
	for end := time.Now().Add(100 * time.Second); ; {
		a := w.ask(r)
		if time.Now().After(end) || a.status < 500 && !strings.Contains(string(a.body), `"request_in_progress"`) {
			return a
		}

		w.Logf("%s %s answered %d %s", r.method, r.path, a.status, a.body)
		time.Sleep(2 * time.Second) // what Retry-After would say
	}
}

func (w *world) delete(name, data string) operation {
	w.Helper()

	return as[operation](w, w.ask(request{method: "DELETE", path: "/v1/deployments/" + name + "?data=" + data}), http.StatusAccepted)
}

func (w *world) deployment(name string) deployment {
	w.Helper()

	return as[deployment](w, w.ask(request{method: "GET", path: "/v1/deployments/" + name + "?showDeleted=true"}), http.StatusOK)
}

func (w *world) operation(id string) operation {
	w.Helper()

	return as[operation](w, w.insist(request{method: "GET", path: "/v1/operations/" + id}), http.StatusOK)
}

func (w *world) resources(name string) []resource {
	w.Helper()

	type page struct{ Resources []resource }

	return as[page](w, w.ask(request{method: "GET", path: "/v1/deployments/" + name + "/resources?pageSize=100&showDeleted=true"}), http.StatusOK).Resources
}

// patience is how long an operation may take here: half a minute alone, minutes beside others and with killed functions, whose resources rest for 30 s.
const patience = 8 * time.Minute

// follow waits for an operation's end as a caller would who shows every change, and gives every version of it that was seen.
func (w *world) follow(id string) []operation {
	w.Helper()

	seen := []operation{w.operation(id)}

	for end := time.Now().Add(patience); ; {
		last := seen[len(seen)-1]
		if last.Done {
			return seen
		}

		if time.Now().After(end) {
			w.Fatalf("operation %s is not done: %s", id, show(last))
		}

		path := "/v1/operations/" + id + "?wait=25s&after=" + itoa(last.Version)
		if op := as[operation](w, w.ask(request{method: "GET", path: path}), http.StatusOK); op.Version != last.Version || op.State != last.State {
			seen = append(seen, op)
		}
	}
}

// finish waits for an operation's end and checks its state.
func (w *world) finish(id, state string) operation {
	w.Helper()

	op := w.until(id, func(op operation) bool { return op.Done })
	if op.State != state {
		w.Fatalf("operation %s ended %s, want %s: %s", id, op.State, state, show(op))
	}

	return op
}

// until looks at an operation now and then until it is as wanted.
func (w *world) until(id string, wanted func(operation) bool) operation {
	w.Helper()

	tick := time.NewTicker(1500 * time.Millisecond)
	defer tick.Stop()

	for end := time.Now().Add(patience); ; {
		op := w.operation(id)
		if wanted(op) {
			return op
		}

		if op.Done || time.Now().After(end) {
			w.Fatalf("operation %s never was as wanted: %s", id, show(op))
		}

		select {
		case <-tick.C:
		case <-w.Context().Done():
			w.Fatal(w.Context().Err())
		}
	}
}

// active creates a deployment and waits for it.
func (w *world) active(name string, spec object) {
	w.Helper()
	w.finish(w.create(name, spec).ID, "SUCCEEDED")
}

// gone deletes a deployment with its data and waits for it.
func (w *world) gone(name string) {
	w.Helper()

	w.finish(w.delete(name, "purge").ID, "SUCCEEDED")
}

func show(v any) string {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err.Error()
	}

	return string(b)
}

// rule adds a rule for the world's account.
func (w *world) rule(r object) {
	w.Helper()

	r["account"] = w.Account
	body := strings.NewReader(show(r))

	req, err := http.NewRequestWithContext(w.Context(), http.MethodPost, w.stack.Endpoint+"/_local/rules", body)
	if err != nil {
		w.Fatal(err)
	}

	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer res.Body.Close()

	if text, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusCreated {
		w.Fatalf("the rule %s is refused: %s %v", show(r), text, err)
	}
}

// unbroken clears the world's rules.
func (w *world) unbroken() {
	w.Helper()

	req, err := http.NewRequestWithContext(w.Context(), http.MethodDelete, w.stack.Endpoint+"/_local/rules?account="+w.Account, nil)
	if err != nil {
		w.Fatal(err)
	}

	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.Fatal(err)
	}

	res.Body.Close()
}

// broken is a rule and how often it took effect.
type broken struct {
	Action string
	Match  map[string]any
	Hits   int
}

func (w *world) rules() []broken {
	w.Helper()

	req, err := http.NewRequestWithContext(w.Context(), http.MethodGet, w.stack.Endpoint+"/_local/rules?account="+w.Account, nil)
	if err != nil {
		w.Fatal(err)
	}

	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer res.Body.Close()

	var page struct{ Rules []broken }
	if err := json.NewDecoder(res.Body).Decode(&page); err != nil {
		w.Fatal(err)
	}

	return page.Rules
}

// hits tells how often the world's rules took effect, all together.
func (w *world) hits() int {
	w.Helper()

	n := 0
	for _, r := range w.rules() {
		n += r.Hits
	}

	return n
}
