package awsproxy

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Rule asks for a break of AWS, for calls that functions make.
type Rule struct {
	ID string `json:"id"`
	// Service and Action are the names of aws-sdk-go-v2: batch, CreateJobQueue.
	Service string `json:"service"`
	Action  string `json:"action"`
	// Function and Account narrow the rule to one function and one account; empty means all.
	Function string `json:"function,omitempty"`
	Account  string `json:"account,omitempty"`
	// Match holds JSON pointers into the decoded input and the values that must stand there. The case of a member's first letter does not count: the service
	// models write computeEnvironmentName where the Go SDK writes ComputeEnvironmentName.
	Match map[string]any `json:"match,omitempty"`
	// Times is how often the rule takes effect; nil means always.
	Times *int `json:"times,omitempty"`
	Then  Then `json:"then"`
	Hits  int  `json:"hits"`
}

// Then is what a rule does: exactly one of its members is set.
type Then struct {
	Error *Fault `json:"error,omitempty"`
	Lose  string `json:"lose,omitempty"`
	Delay string `json:"delay,omitempty"`
	Hold  *Hold  `json:"hold,omitempty"`
	Kill  string `json:"kill,omitempty"`

	delay time.Duration
}

// Fault is the error that a rule answers instead of AWS.
type Fault struct {
	Status  int    `json:"status"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Hold keeps what a call makes, changes or deletes in its state between, for that many looks.
type Hold struct {
	Polls int `json:"polls"`
}

// ruleBook holds the rules in the order they came.
type ruleBook struct {
	mu    sync.Mutex
	rules []*Rule
	next  int
}

// take finds the first rule that fits a call, and uses it up once.
func (b *ruleBook) take(c *call) *Rule {
	if !c.isFunction() {
		return nil
	}

	b.mu.Lock()
	defer b.mu.Unlock()

	for _, r := range b.rules {
		if (r.Times != nil && r.Hits >= *r.Times) || !r.fits(c) {
			continue
		}

		r.Hits++

		return r
	}

	return nil
}

func (r *Rule) fits(c *call) bool {
	if r.Service != c.service || r.Action != c.action || (r.Function != "" && r.Function != c.function) || (r.Account != "" && r.Account != c.account) {
		return false
	}

	if len(r.Match) == 0 {
		return true
	}

	input := plain(c.input)

	for pointer, want := range r.Match {
		got, ok := resolve(input, pointer)
		if !ok || !reflect.DeepEqual(got, want) {
			return false
		}
	}

	return true
}

// plain turns a decoded input into what JSON would give, so that numbers compare as numbers.
func plain(v any) any {
	var out any

	_ = json.Unmarshal(mustJSON(v), &out) // it was JSON a moment ago

	return out
}

// resolve follows a JSON pointer (RFC 6901).
func resolve(v any, pointer string) (any, bool) {
	if pointer == "" {
		return v, true
	}

	for part := range strings.SplitSeq(pointer[1:], "/") {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)

		switch at := v.(type) {
		case map[string]any:
			next, ok := at[part]
			if !ok {
				next, ok = at[otherCase(part)]
			}

			if !ok {
				return nil, false
			}

			v = next
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(at) {
				return nil, false
			}

			v = at[i]
		default:
			return nil, false
		}
	}

	return v, true
}

func otherCase(s string) string {
	if s == "" {
		return ""
	}

	if lower := strings.ToLower(s[:1]); lower != s[:1] {
		return lower + s[1:]
	}

	return strings.ToUpper(s[:1]) + s[1:]
}

// obey does what a rule asks for, if one fits.
func (p *Proxy) obey(ctx context.Context, c *call, next handler) (*answer, error) {
	r := p.rules.take(c)
	if r == nil {
		return next(ctx, c)
	}

	name := "user/" + r.ID
	p.touch(c, name)

	switch then := r.Then; {
	case then.Error != nil:
		return c.refuse(then.Error.Status, then.Error.Code, then.Error.Message), nil
	case then.Lose != "":
		a, err := next(ctx, c)

		return a, errors.Join(err, errCut)
	case then.Delay != "":
		if err := sleep(ctx, then.delay); err != nil {
			return nil, errors.Join(err, errCut) // the caller gave up
		}

		return next(ctx, c)
	case then.Hold != nil:
		return p.hold(ctx, c, next, then.Hold.Polls, name)
	case then.Kill == "before":
		p.kill(c.accessKey)

		return nil, errCut
	default:
		// The caller may be dead before moto has answered, so the call must not hang on its connection.
		a, err := next(context.WithoutCancel(ctx), c)
		p.kill(c.accessKey)

		return a, errors.Join(err, errCut)
	}
}

// page is what GET /_local/rules answers.
type page struct {
	Rules       []Rule `json:"rules"`
	Corrections []line `json:"corrections"`
	Strict      []line `json:"strict"`
}

// line is a line of the tables, with how often it took effect.
type line struct {
	Name   string `json:"name"`
	Source string `json:"source"`
	Hits   int    `json:"hits"`
}

func (p *Proxy) lines(table []entry) []line {
	out := []line{}
	seen := map[string]bool{}

	for _, e := range table {
		if !seen[e.name] { // a rule that concerns two services has two entries
			out = append(out, line{e.name, e.source, p.tally.of(e.name)})
		}

		seen[e.name] = true
	}

	return out
}

func (p *Proxy) serveRules(w http.ResponseWriter, r *http.Request) {
	account := r.URL.Query().Get("account")

	switch r.Method {
	case http.MethodGet:
		writeJSON(w, http.StatusOK, page{p.rules.list(account), p.lines(p.corrections), p.lines(p.strictRules)})
	case http.MethodPost:
		rule, err := p.addRule(r.Body)
		if err != nil {
			writeJSON(w, http.StatusBadRequest, problem{err.Error()})

			return
		}

		writeJSON(w, http.StatusCreated, rule)
	case http.MethodDelete:
		p.rules.clear(account)
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Allow", "GET, POST, DELETE")
		writeJSON(w, http.StatusMethodNotAllowed, problem{"rules can be added (POST), read (GET) and cleared (DELETE)"})
	}
}

func (b *ruleBook) list(account string) []Rule {
	b.mu.Lock()
	defer b.mu.Unlock()

	out := []Rule{}

	for _, r := range b.rules {
		if account == "" || r.Account == account {
			out = append(out, *r)
		}
	}

	return out
}

func (b *ruleBook) clear(account string) {
	b.mu.Lock()
	defer b.mu.Unlock()

	b.rules = slices.DeleteFunc(b.rules, func(r *Rule) bool { return account == "" || r.Account == account })
}

// maxRule bounds the text of a rule, which a person writes.
const maxRule = 64 << 10

// addRule reads a rule, or says in a sentence which member is wrong.
func (p *Proxy) addRule(body io.Reader) (Rule, error) {
	text, err := io.ReadAll(io.LimitReader(body, maxRule))
	if err != nil {
		return Rule{}, fmt.Errorf("the rule cannot be read: %w", err)
	}

	// The id and the hits are the endpoint's to give.
	var in struct {
		Service  *string        `json:"service"`
		Action   *string        `json:"action"`
		Function string         `json:"function"`
		Account  string         `json:"account"`
		Match    map[string]any `json:"match"`
		Times    *int           `json:"times"`
		Then     *Then          `json:"then"`
	}

	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()

	if err := dec.Decode(&in); err != nil {
		return Rule{}, ruleText(err)
	}

	if in.Service == nil || in.Action == nil || in.Then == nil {
		missing := cmp.Or(absent("service", in.Service == nil), absent("action", in.Action == nil), "then")

		return Rule{}, fmt.Errorf("the member %s is missing", missing)
	}

	rule := Rule{
		Service: *in.Service, Action: *in.Action, Function: in.Function, Account: in.Account, Match: in.Match, Times: in.Times, Then: *in.Then,
	}
	if err := p.checkRule(&rule); err != nil {
		return Rule{}, err
	}

	p.rules.mu.Lock()
	defer p.rules.mu.Unlock()

	p.rules.next++
	rule.ID = strconv.Itoa(p.rules.next)
	kept := rule
	p.rules.rules = append(p.rules.rules, &kept)

	return rule, nil
}

func absent(name string, is bool) string {
	if is {
		return name
	}

	return ""
}

func ruleText(err error) error {
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && kind.Field != "" {
		what := kind.Type.String()
		if k := kind.Type.Kind(); k == reflect.Struct || k == reflect.Map {
			what = "an object"
		}

		return fmt.Errorf("the member %s must be %s, not %s; docs/local-rules.md shows them all", kind.Field, what, kind.Value)
	}

	return fmt.Errorf("the rule is not as it should be: %s", strings.TrimPrefix(err.Error(), "json: "))
}

func (p *Proxy) checkRule(r *Rule) error {
	if _, err := p.catalog.Service(r.Service); err != nil {
		return fmt.Errorf("the member service names %q, which is no package of aws-sdk-go-v2", r.Service)
	}

	if _, err := p.catalog.Operation(r.Service, r.Action); err != nil {
		return fmt.Errorf("the member action names %q, which is no operation of %s", r.Action, r.Service)
	}

	if r.Account != "" && !isAccount(r.Account) {
		return fmt.Errorf("the member account is %q, not twelve digits", r.Account)
	}

	if r.Times != nil && *r.Times < 1 {
		return fmt.Errorf("the member times is %d, it must be at least 1", *r.Times)
	}

	for pointer := range r.Match {
		if !strings.HasPrefix(pointer, "/") {
			return fmt.Errorf("the member match holds %q, which is no JSON pointer: it must start with /", pointer)
		}
	}

	return checkThen(r)
}

func checkThen(r *Rule) error {
	t := &r.Then

	given := 0
	for _, is := range []bool{t.Error != nil, t.Lose != "", t.Delay != "", t.Hold != nil, t.Kill != ""} {
		if is {
			given++
		}
	}

	if given != 1 {
		return errors.New("the member then must hold exactly one of error, lose, delay, hold, kill")
	}

	switch {
	case t.Error != nil && t.Error.Code == "":
		return errors.New("the member then.error.code is missing")
	case t.Error != nil && (t.Error.Status < http.StatusBadRequest || t.Error.Status > 599):
		return fmt.Errorf("the member then.error.status is %d, it must be from 400 to 599", t.Error.Status)
	case t.Lose != "" && t.Lose != "response":
		return fmt.Errorf("the member then.lose is %q, it can only be response", t.Lose)
	case t.Kill != "" && t.Kill != "before" && t.Kill != "after":
		return fmt.Errorf("the member then.kill is %q, it must be before or after", t.Kill)
	case t.Hold != nil && t.Hold.Polls < 1:
		return fmt.Errorf("the member then.hold.polls is %d, it must be at least 1", t.Hold.Polls)
	case t.Hold != nil && !canHold(r.Service, r.Action):
		return fmt.Errorf("the member then.hold is not possible for %s %s: it has no state between; possible are %s", r.Service, r.Action, holdable())
	case t.Delay != "":
		d, err := time.ParseDuration(t.Delay)
		if err != nil || d <= 0 {
			return fmt.Errorf("the member then.delay is %q, it must be a duration such as 3s", t.Delay)
		}

		t.delay = d
	}

	return nil
}
