package awsproxy

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsmodel"
)

// The journal keeps at least the last journalKeeps calls. It drops old ones a lot at a time, so that dropping costs nothing to speak of.
const (
	journalKeeps = 200_000
	journalDrops = 50_000
)

// Call is one entry of the journal.
type Call struct {
	Time     time.Time `json:"time"`
	Account  string    `json:"account"`
	Function string    `json:"function"`
	Service  string    `json:"service"`
	Action   string    `json:"action"`
	// Target is the name or id of what the call acts on; for a create that gets its id from AWS, that id.
	Target string `json:"target"`
	// Status is the HTTP status AWS answered, also where a rule broke the answer on its way; 0 while the call runs and where it never reached AWS.
	Status int    `json:"status"`
	Code   string `json:"code,omitempty"`
	// Rule names what changed the course of the call, joined by a blank: user/<id>, correction/<name>, strict/<name>.
	Rule string `json:"rule,omitempty"`

	// AccessKey, Region, Input and Resources are for tests in Go only. Input is the decoded input with the model's member names; Resources are the ARNs of what
	// the call acts on, as far as they can be told.
	AccessKey string         `json:"-"`
	Region    string         `json:"-"`
	Input     map[string]any `json:"-"`
	Resources []string       `json:"-"`
}

// record is an entry that may still change. Its fields are guarded by the journal's lock.
type record struct{ Call }

// journal holds the calls in the order of their arrival.
type journal struct {
	mu      sync.Mutex
	records []*record
}

func (j *journal) begin(c *call) *record {
	r := &record{Call{
		Time: time.Now().UTC(), Account: c.account, Function: c.function, Service: c.service, Action: c.action, Target: target(c, nil),
		AccessKey: c.accessKey, Region: c.region, Input: maps.Clone(c.input), Resources: resources(c, nil),
	}}

	j.mu.Lock()
	defer j.mu.Unlock()

	if len(j.records) >= journalKeeps+journalDrops {
		j.records = slices.Delete(j.records, 0, journalDrops)
	}

	j.records = append(j.records, r)

	return r
}

func (j *journal) end(c *call, a *answer) {
	if a == nil {
		return
	}

	name, arns := target(c, a), resources(c, a)

	j.mu.Lock()
	defer j.mu.Unlock()

	c.entry.Status, c.entry.Code, c.entry.Target, c.entry.Resources = a.status, a.fault, name, arns
}

func (j *journal) touch(r *record, name string) {
	j.mu.Lock()
	defer j.mu.Unlock()

	if slices.Contains(strings.Fields(r.Rule), name) {
		return
	}

	r.Rule = strings.TrimSpace(r.Rule + " " + name)
}

func (j *journal) calls() []Call {
	j.mu.Lock()
	defer j.mu.Unlock()

	out := make([]Call, 0, len(j.records))
	for _, r := range j.records {
		out = append(out, r.Call)
	}

	return out
}

// Calls gives the journal in the order in which the calls arrived.
func (p *Proxy) Calls() []Call { return p.journal.calls() }

// Check holds the input of a call against the service's model and gives every breach, as the SDK or the service's front end would find it. Calls that no model
// describes are a breach themselves.
func (p *Proxy) Check(c Call) []error {
	op, err := p.catalog.Operation(c.Service, c.Action)
	if err != nil {
		return []error{err}
	}

	return awsmodel.Validate(op, c.Input)
}

func (p *Proxy) serveCalls(w http.ResponseWriter, r *http.Request) {
	account := r.URL.Query().Get("account")
	keep := func(c Call) bool { return account == "" || c.Account == account }

	switch r.Method {
	case http.MethodGet:
		calls := slices.DeleteFunc(p.journal.calls(), func(c Call) bool { return !keep(c) })
		writeJSON(w, http.StatusOK, calls)
	case http.MethodDelete:
		p.journal.mu.Lock()
		p.journal.records = slices.DeleteFunc(p.journal.records, func(r *record) bool { return keep(r.Call) })
		p.journal.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Allow", "GET, DELETE")
		writeJSON(w, http.StatusMethodNotAllowed, problem{"the journal can be read (GET) and cleared (DELETE)"})
	}
}

// problem is the answer of the endpoint's own pages when they refuse.
type problem struct {
	Message string `json:"message"`
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who asked is gone; there is nobody to tell
}

// tally counts how often each line of the tables took effect.
type tally struct {
	mu   sync.Mutex
	hits map[string]int
}

func (t *tally) add(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()

	if t.hits == nil {
		t.hits = map[string]int{}
	}

	t.hits[name]++
}

func (t *tally) of(name string) int {
	t.mu.Lock()
	defer t.mu.Unlock()

	return t.hits[name]
}
