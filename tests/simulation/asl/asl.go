// Package asl runs a state machine in this process: a small interpreter of the part of the Amazon States Language that statemachine/deployment.asl.json
// uses. It is for tests, which let it run in the virtual time of testing/synctest.
//
// It follows https://states-language.net/spec.html for Task, Choice, Wait, Parallel, Map and Succeed, with Retry (a counter for each retrier, MaxDelaySeconds,
// full jitter), Catch, ResultPath, TimeoutSeconds and JSONPath as far as member access goes. Anything else in a definition is an error at load time, so
// that the interpreter never quietly does something other than Step Functions would. Like Step Functions, it leaves the functions of a failed Parallel
// running.
package asl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Invoke calls a function with a payload. A failure other than *Error is taken for Lambda.Unknown.
type Invoke func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error)

// Error is a failure with the name that Retry and Catch match on.
type Error struct{ Name, Cause string }

func (e *Error) Error() string { return e.Name + ": " + e.Cause }

// Machine is a definition.
type Machine struct{ root processor }

// Trace counts what an execution cost. Safe for concurrent use.
type Trace struct {
	mu sync.Mutex
	// Transitions is what Step Functions bills: each entry of a state, retries included.
	Transitions int
	// Events is the length of the history.
	Events int
	// Entered lists the states in the order in which they were entered, retries left out.
	Entered []string
	// Largest is the size in bytes of the largest state input.
	Largest int
}

func (t *Trace) add(transitions, events, size int, entered string) {
	t.mu.Lock()
	defer t.mu.Unlock()

	t.Transitions += transitions
	t.Events += events
	t.Largest = max(t.Largest, size)

	if entered != "" {
		t.Entered = append(t.Entered, entered)
	}
}

// Cost is what was counted up to now: branches of an aborted execution may still add to it.
func (t *Trace) Cost() (transitions, events, largest int) {
	t.mu.Lock()
	defer t.mu.Unlock()

	return t.Transitions, t.Events, t.Largest
}

type processor struct {
	Comment string
	StartAt string
	States  map[string]*state
}

type state struct {
	Comment        string
	Type           string
	Resource       string
	Parameters     map[string]any
	TimeoutSeconds int
	Seconds        int
	ItemsPath      string
	ItemSelector   map[string]any
	ItemProcessor  *processor
	MaxConcurrency int
	Branches       []*processor
	Choices        []choice
	Default        string
	ResultPath     path
	Retry          []retrier
	Catch          []catcher
	Next           string
	End            bool

	last atomic.Pointer[decoded]
}

type choice struct {
	Variable      string
	BooleanEquals *bool
	StringEquals  *string
	Next          string
}

type retrier struct {
	ErrorEquals     []string
	IntervalSeconds *int
	BackoffRate     *float64
	MaxDelaySeconds *int
	MaxAttempts     *int
	JitterStrategy  string
}

type catcher struct {
	ErrorEquals []string
	ResultPath  path
	Next        string
}

// path is a ResultPath: absent is $, null throws the result away.
type path struct {
	set  bool
	text string
}

func (p *path) UnmarshalJSON(b []byte) error {
	p.set = true
	if string(b) == "null" {
		return nil
	}

	return json.Unmarshal(b, &p.text)
}

// Load reads a definition, fills in its ${substitutions}, and refuses what it does not know, dangling arrows included.
func Load(definition []byte, substitutions map[string]string) (*Machine, error) {
	text := string(definition)
	for k, v := range substitutions {
		text = strings.ReplaceAll(text, "${"+k+"}", v)
	}

	if i := strings.Index(text, "${"); i >= 0 {
		return nil, fmt.Errorf("no substitution for %.40s", text[i:])
	}

	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.DisallowUnknownFields()

	m := &Machine{}
	if err := dec.Decode(&m.root); err != nil {
		return nil, fmt.Errorf("read the definition: %w", err)
	}

	return m, m.root.check("")
}

func (p *processor) check(where string) error {
	var all []error

	target := func(from, to string) {
		if p.States[to] == nil {
			all = append(all, fmt.Errorf("%s%s leads to %q, which is not there", where, from, to))
		}
	}

	target("StartAt", p.StartAt)

	for name, s := range p.States {
		if s.Next != "" {
			target(name, s.Next)
		}

		if s.Default != "" {
			target(name, s.Default)
		}

		for _, c := range s.Choices {
			target(name, c.Next)
		}

		for _, c := range s.Catch {
			target(name, c.Next)
		}

		switch s.Type {
		case "Task", "Parallel", "Map", "Wait":
			if (s.Next == "") != s.End {
				all = append(all, fmt.Errorf("%s%s needs either Next or End", where, name))
			}
		case "Choice", "Succeed":
		default:
			all = append(all, fmt.Errorf("%s%s is of unknown type %q", where, name, s.Type))
		}

		for _, b := range s.Branches {
			all = append(all, b.check(where+name+"/"))
		}

		if s.ItemProcessor != nil {
			all = append(all, s.ItemProcessor.check(where+name+"/"))
		}
	}

	return errors.Join(all...)
}

// Run runs one execution to its end. The error is an *Error if the execution failed.
func (m *Machine) Run(ctx context.Context, input json.RawMessage, invoke Invoke, jitter *rand.Rand, trace *Trace) (json.RawMessage, error) {
	type answer struct {
		out json.RawMessage
		err error
	}

	ended := make(chan answer, 1)

	m.Start(ctx, input, invoke, jitter, trace, func(out json.RawMessage, err error) { ended <- answer{out, err} })

	a := <-ended

	return a.out, a.err
}

// Start begins an execution and calls done at its end, which is the context's if that ends first. An execution that waits holds no goroutine and little
// else, so that ten thousand of them fit into a process.
func (m *Machine) Start(ctx context.Context, input json.RawMessage, invoke Invoke, jitter *rand.Rand, trace *Trace, done func(json.RawMessage, error)) {
	var value any
	if err := json.Unmarshal(input, &value); err != nil {
		done(nil, &Error{"States.Runtime", err.Error()})

		return
	}

	// A function goes on when its execution is stopped: only its answer is no longer awaited.
	lasting := context.WithoutCancel(ctx)
	r := &runner{
		invoke: func(function string, payload json.RawMessage) (json.RawMessage, error) {
			return invoke(lasting, function, payload)
		},
		jitter: jitter, trace: trace,
	}
	trace.add(0, 2, len(input), "")

	var (
		whole    = &scope{}
		answered = first(func(out any, err error) {
			if err != nil {
				done(nil, err)

				return
			}

			done(json.Marshal(out))
		})
		release = context.AfterFunc(ctx, func() {
			whole.over.Store(true)
			answered(nil, &Error{"States.Aborted", ctx.Err().Error()})
		})
	)

	r.process(whole, &m.root, m.root.StartAt, value, nil, func(out any, err error) {
		release()
		answered(out, err)
	})
}

type runner struct {
	invoke func(function string, payload json.RawMessage) (json.RawMessage, error)
	trace  *Trace

	mu     sync.Mutex
	jitter *rand.Rand
}

// scope is an execution, or the branches of one of its states. What belongs to one that is over goes no further, and nobody waits for its end.
type scope struct {
	within *scope
	over   atomic.Bool
}

func (s *scope) stopped() bool {
	for ; s != nil; s = s.within {
		if s.over.Load() {
			return true
		}
	}

	return false
}

// ended is told how something ended.
type ended func(output any, err error)

func (r *runner) process(in *scope, p *processor, name string, input, mapItem any, done ended) {
	for !in.stopped() {
		s := p.States[name]
		r.trace.add(1, 2, 0, name)

		switch s.Type {
		case "Succeed":
			done(input, nil)

			return
		case "Choice":
			next, err := choose(s, input)
			if err != nil {
				done(nil, err)

				return
			}

			name = next

			continue
		}

		r.attempt(in, s, input, mapItem, &tries{counts: make([]int, len(s.Retry))}, func(output any, next string, err error) {
			switch {
			case err != nil:
				done(nil, err)
			case next == "":
				done(output, nil)
			default:
				r.process(in, p, next, output, mapItem, done)
			}
		})

		return
	}
}

// tries is what the attempts at one state share: a counter for each retrier, and the payload of its function.
type tries struct {
	counts  []int
	payload json.RawMessage
}

// attempt runs a state with its retriers and catchers, and answers the next state's input and name.
func (r *runner) attempt(in *scope, s *state, input, mapItem any, so *tries, done func(output any, next string, err error)) {
	r.once(in, s, input, mapItem, so, func(result any, err error) {
		if err == nil {
			output, err := r.place(input, s.ResultPath, result)
			done(output, s.Next, err)

			return
		}

		var failure *Error
		if !errors.As(err, &failure) {
			failure = &Error{"Lambda.Unknown", err.Error()}
		}

		// These two are caught by nobody: https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
		if failure.Name == "States.Runtime" || failure.Name == "States.DataLimitExceeded" {
			done(nil, "", failure)

			return
		}

		if delay, ok := r.again(s.Retry, so.counts, failure.Name); ok {
			time.AfterFunc(delay, func() {
				if !in.stopped() {
					r.trace.add(1, 0, 0, "")
					r.attempt(in, s, input, mapItem, so, done)
				}
			})

			return
		}

		for _, c := range s.Catch {
			if matches(c.ErrorEquals, failure.Name) {
				output, err := r.place(input, c.ResultPath, map[string]any{"Error": failure.Name, "Cause": failure.Cause})
				done(output, c.Next, err)

				return
			}
		}

		done(nil, "", failure)
	})
}

// again finds the retrier for an error and how long to wait.
func (r *runner) again(retriers []retrier, counts []int, name string) (time.Duration, bool) {
	for i, t := range retriers {
		if !matches(t.ErrorEquals, name) {
			continue
		}

		attempts, interval, rate := or(t.MaxAttempts, 3), or(t.IntervalSeconds, 1), or(t.BackoffRate, 2.0)
		if counts[i] >= attempts {
			return 0, false
		}

		seconds := float64(interval) * math.Pow(rate, float64(counts[i]))
		if t.MaxDelaySeconds != nil {
			seconds = min(seconds, float64(*t.MaxDelaySeconds))
		}

		counts[i]++

		if t.JitterStrategy == "FULL" {
			r.mu.Lock()
			seconds *= r.jitter.Float64()
			r.mu.Unlock()
		}

		return time.Duration(seconds * float64(time.Second)), true
	}

	return 0, false
}

func (r *runner) once(in *scope, s *state, input, mapItem any, so *tries, done ended) {
	switch s.Type {
	case "Wait":
		time.AfterFunc(time.Duration(s.Seconds)*time.Second, func() { done(input, nil) })
	case "Task":
		r.task(s, input, mapItem, so, done)
	case "Parallel":
		in.fan(len(s.Branches), done, func(in *scope, i int, done ended) {
			r.process(in, s.Branches[i], s.Branches[i].StartAt, input, mapItem, done)
		})
	case "Map":
		list, err := get(input, s.ItemsPath, nil)
		if err != nil {
			done(nil, err)

			return
		}

		items, ok := list.([]any)
		if !ok {
			done(nil, &Error{"States.Runtime", s.ItemsPath + " is not a list"})

			return
		}

		in.fan(len(items), done, func(in *scope, i int, done ended) {
			selected, err := fill(s.ItemSelector, input, items[i])
			if err != nil {
				done(nil, err)

				return
			}

			r.process(in, s.ItemProcessor, s.ItemProcessor.StartAt, selected, items[i], done)
		})
	default:
		done(nil, &Error{"States.Runtime", "a state of type " + s.Type})
	}
}

func (r *runner) task(s *state, input, mapItem any, so *tries, done ended) {
	if so.payload == nil {
		filled, err := fill(s.Parameters, input, mapItem)
		if err != nil {
			done(nil, err)

			return
		}

		if so.payload, err = json.Marshal(filled); err != nil {
			done(nil, &Error{"States.Runtime", err.Error()})

			return
		}
	}

	r.trace.add(0, 3, len(so.payload), "")

	// The function goes on when the task gives up on it: only its answer is no longer awaited.
	timeout := time.AfterFunc(time.Duration(or(&s.TimeoutSeconds, 60))*time.Second, func() {
		done(nil, &Error{"States.Timeout", "the task took too long"})
	})

	go func() {
		out, err := r.invoke(s.Resource, so.payload)
		if !timeout.Stop() {
			return
		}

		var v any
		if err == nil {
			v, err = s.read(out)
		}

		done(v, err)
	}()
}

// read decodes an answer. Values are never changed once they are read, and most executions get the same answers: the last one is remembered.
func (s *state) read(answer json.RawMessage) (any, error) {
	if l := s.last.Load(); l != nil && l.text == string(answer) {
		return l.value, nil
	}

	l := &decoded{text: string(answer)}
	if err := json.Unmarshal(answer, &l.value); err != nil {
		return nil, &Error{"States.Runtime", err.Error()}
	}

	s.last.Store(l)

	return l.value, nil
}

type decoded struct {
	text  string
	value any
}

// fan runs branches side by side. The first failure fails the whole at once and stops the others at their next state.
func (s *scope) fan(n int, done ended, run func(*scope, int, ended)) {
	results := make([]any, n)
	if n == 0 {
		done(results, nil)

		return
	}

	var (
		left     atomic.Int64
		inner    = &scope{within: s}
		answered = first(func(out any, err error) {
			inner.over.Store(true)
			done(out, err)
		})
	)

	left.Store(int64(n))

	for i := range n {
		run(inner, i, func(out any, err error) {
			results[i] = out

			if err != nil {
				answered(nil, err)
			}

			if left.Add(-1) == 0 {
				answered(results, nil)
			}
		})
	}
}

// first passes on the first of several ends.
func first(done ended) ended {
	var told atomic.Bool

	return func(output any, err error) {
		if told.CompareAndSwap(false, true) {
			done(output, err)
		}
	}
}

func choose(s *state, input any) (string, error) {
	for _, c := range s.Choices {
		v, err := get(input, c.Variable, nil)
		if err != nil {
			return "", err
		}

		if c.BooleanEquals != nil && v == *c.BooleanEquals || c.StringEquals != nil && v == *c.StringEquals {
			return c.Next, nil
		}
	}

	if s.Default == "" {
		return "", &Error{"States.NoChoiceMatched", "no choice matched"}
	}

	return s.Default, nil
}

func matches(names []string, name string) bool {
	return slices.Contains(names, name) || slices.Contains(names, "States.ALL") || slices.Contains(names, "States.TaskFailed") && name != "States.Timeout"
}

// fill replaces members that end in ".$" by what their path finds.
func fill(template map[string]any, input, mapItem any) (map[string]any, error) {
	out := map[string]any{}

	for k, v := range template {
		if name, ok := strings.CutSuffix(k, ".$"); ok {
			found, err := get(input, v.(string), mapItem)
			if err != nil {
				return nil, err
			}

			out[name] = found

			continue
		}

		if nested, ok := v.(map[string]any); ok {
			filled, err := fill(nested, input, mapItem)
			if err != nil {
				return nil, err
			}

			v = filled
		}

		out[k] = v
	}

	return out, nil
}

func get(input any, path string, mapItem any) (any, error) {
	if path == "$$.Map.Item.Value" {
		return mapItem, nil
	}

	rest, ok := strings.CutPrefix(path, "$")
	if !ok || strings.ContainsAny(path, "[]*?@") || strings.HasPrefix(rest, "$") {
		return nil, &Error{"States.Runtime", "the path " + path + " is not supported"}
	}

	v := input

	for _, member := range strings.FieldsFunc(rest, func(r rune) bool { return r == '.' }) {
		object, ok := v.(map[string]any)
		if !ok {
			return nil, &Error{"States.Runtime", path + " finds nothing"}
		}

		if v, ok = object[member]; !ok {
			return nil, &Error{"States.Runtime", path + " finds nothing"}
		}
	}

	return v, nil
}

func (r *runner) place(input any, at path, result any) (any, error) {
	if !at.set {
		return result, nil
	}

	if at.text == "" {
		return input, nil
	}

	member, ok := strings.CutPrefix(at.text, "$.")
	if !ok || strings.Contains(member, ".") {
		return nil, &Error{"States.Runtime", "the result path " + at.text + " is not supported"}
	}

	out, ok := clone(input).(map[string]any)
	if !ok {
		return nil, &Error{"States.ResultPathMatchFailure", "the input is not an object"}
	}

	out[member] = result

	if text, err := json.Marshal(out); err == nil {
		r.trace.add(0, 0, len(text), "")
	}

	return out, nil
}

func clone(v any) any {
	if m, ok := v.(map[string]any); ok {
		c := make(map[string]any, len(m))
		for k, v := range m {
			c[k] = v
		}

		return c
	}

	return v
}

func or[T comparable](v *T, otherwise T) T {
	var zero T
	if v == nil || *v == zero {
		return otherwise
	}

	return *v
}
