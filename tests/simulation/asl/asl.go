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

// Start begins an execution and calls done at its end. An execution that waits holds no goroutine, so that ten thousand of them fit into a process.
func (m *Machine) Start(ctx context.Context, input json.RawMessage, invoke Invoke, jitter *rand.Rand, trace *Trace, done func(json.RawMessage, error)) {
	var value any
	if err := json.Unmarshal(input, &value); err != nil {
		done(nil, &Error{"States.Runtime", err.Error()})

		return
	}

	r := &runner{invoke: invoke, jitter: jitter, trace: trace}
	trace.add(0, 2, len(input), "")

	r.process(ctx, &m.root, m.root.StartAt, value, nil, func(out any, err error) {
		if err != nil {
			done(nil, err)

			return
		}

		done(json.Marshal(out))
	})
}

type runner struct {
	invoke Invoke
	trace  *Trace

	mu     sync.Mutex
	jitter *rand.Rand
}

// ended is told how something ended.
type ended func(output any, err error)

func (r *runner) process(ctx context.Context, p *processor, name string, input, mapItem any, done ended) {
	for {
		s := p.States[name]
		r.trace.add(1, 2, 0, name)

		if err := ctx.Err(); err != nil {
			done(nil, &Error{"States.Aborted", err.Error()})

			return
		}

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

		r.attempt(ctx, s, input, mapItem, &tries{counts: make([]int, len(s.Retry))}, func(output any, next string, err error) {
			switch {
			case err != nil:
				done(nil, err)
			case next == "":
				done(output, nil)
			default:
				r.process(ctx, p, next, output, mapItem, done)
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
func (r *runner) attempt(ctx context.Context, s *state, input, mapItem any, so *tries, done func(output any, next string, err error)) {
	r.once(ctx, s, input, mapItem, so, func(result any, err error) {
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
		if failure.Name == "States.Runtime" || failure.Name == "States.DataLimitExceeded" || failure.Name == "States.Aborted" {
			done(nil, "", failure)

			return
		}

		if delay, ok := r.again(s.Retry, so.counts, failure.Name); ok {
			after(ctx, delay, func(err error) {
				if err != nil {
					done(nil, "", &Error{"States.Aborted", err.Error()})

					return
				}

				r.trace.add(1, 0, 0, "")
				r.attempt(ctx, s, input, mapItem, so, done)
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

func (r *runner) once(ctx context.Context, s *state, input, mapItem any, so *tries, done ended) {
	switch s.Type {
	case "Wait":
		after(ctx, time.Duration(s.Seconds)*time.Second, func(err error) {
			if err != nil {
				err = &Error{"States.Aborted", err.Error()}
			}

			done(input, err)
		})
	case "Task":
		r.task(ctx, s, input, mapItem, so, done)
	case "Parallel":
		r.fan(ctx, len(s.Branches), done, func(ctx context.Context, i int, done ended) {
			r.process(ctx, s.Branches[i], s.Branches[i].StartAt, input, mapItem, done)
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

		r.fan(ctx, len(items), done, func(ctx context.Context, i int, done ended) {
			selected, err := fill(s.ItemSelector, input, items[i])
			if err != nil {
				done(nil, err)

				return
			}

			r.process(ctx, s.ItemProcessor, s.ItemProcessor.StartAt, selected, items[i], done)
		})
	default:
		done(nil, &Error{"States.Runtime", "a state of type " + s.Type})
	}
}

func (r *runner) task(ctx context.Context, s *state, input, mapItem any, so *tries, done ended) {
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

	payload := so.payload
	r.trace.add(0, 3, len(payload), "")

	// The function goes on when the task gives up on it: only its answer is no longer awaited.
	answered := first(done)

	stop := after(ctx, time.Duration(or(&s.TimeoutSeconds, 60))*time.Second, func(err error) {
		if err != nil {
			answered(nil, &Error{"States.Aborted", err.Error()})
		} else {
			answered(nil, &Error{"States.Timeout", "the task took too long"})
		}
	})

	go func() {
		out, err := r.invoke(context.WithoutCancel(ctx), s.Resource, payload)
		if !stop() {
			return
		}

		var v any
		if err == nil {
			if failed := json.Unmarshal(out, &v); failed != nil {
				err = &Error{"States.Runtime", failed.Error()}
			}
		}

		answered(v, err)
	}()
}

// fan runs branches side by side. The first failure fails the whole at once and stops the others at their next state.
func (r *runner) fan(ctx context.Context, n int, done ended, run func(context.Context, int, ended)) {
	results := make([]any, n)
	if n == 0 {
		done(results, nil)

		return
	}

	var (
		left     atomic.Int64
		answered = first(done)
	)

	left.Store(int64(n))

	// Whoever fails first or ends last cancels.
	ctx, cancel := context.WithCancel(ctx)
	over := func(out any, err error) {
		answered(out, err)
		cancel()
	}

	for i := range n {
		run(ctx, i, func(out any, err error) {
			results[i] = out

			if err != nil {
				over(nil, err)
			}

			if left.Add(-1) == 0 {
				over(results, nil)
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

// after calls then when the time is over, or with the context's error when that ends first. The function that it returns calls it off; it answers whether
// it came in time.
func after(ctx context.Context, d time.Duration, then func(error)) (stop func() bool) {
	var (
		told  atomic.Bool
		timer *time.Timer
		ready = make(chan struct{})
	)

	release := context.AfterFunc(ctx, func() {
		<-ready

		if told.CompareAndSwap(false, true) {
			timer.Stop()
			then(ctx.Err())
		}
	})

	timer = time.AfterFunc(d, func() {
		release()

		if told.CompareAndSwap(false, true) {
			then(nil)
		}
	})

	close(ready)

	return func() bool {
		release()
		timer.Stop()

		return told.CompareAndSwap(false, true)
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
