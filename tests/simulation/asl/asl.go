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
	var value any
	if err := json.Unmarshal(input, &value); err != nil {
		return nil, &Error{"States.Runtime", err.Error()}
	}

	r := &runner{invoke: invoke, jitter: jitter, trace: trace}
	trace.add(0, 2, len(input), "")

	out, err := r.process(ctx, &m.root, value, nil)
	if err != nil {
		return nil, err
	}

	return json.Marshal(out)
}

type runner struct {
	invoke Invoke
	trace  *Trace

	mu     sync.Mutex
	jitter *rand.Rand
}

func (r *runner) process(ctx context.Context, p *processor, input, mapItem any) (any, error) {
	name := p.StartAt

	for {
		s := p.States[name]
		size, _ := json.Marshal(input)
		r.trace.add(1, 2, len(size), name)

		if err := ctx.Err(); err != nil {
			return nil, &Error{"States.Aborted", err.Error()}
		}

		if s.Type == "Succeed" {
			return input, nil
		}

		if s.Type == "Choice" {
			next, err := choose(s, input)
			if err != nil {
				return nil, err
			}

			name = next

			continue
		}

		output, next, err := r.attempt(ctx, s, input, mapItem)
		if err != nil {
			return nil, err
		}

		if input = output; next == "" {
			return input, nil
		}

		name = next
	}
}

// attempt runs a state with its retriers and catchers, and answers the next state's input and name.
func (r *runner) attempt(ctx context.Context, s *state, input, mapItem any) (any, string, error) {
	counts := make([]int, len(s.Retry))

	for {
		result, err := r.once(ctx, s, input, mapItem)
		if err == nil {
			output, err := place(input, s.ResultPath, result)

			return output, s.Next, err
		}

		var failure *Error
		if !errors.As(err, &failure) {
			failure = &Error{"Lambda.Unknown", err.Error()}
		}

		// These two are caught by nobody: https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
		if failure.Name == "States.Runtime" || failure.Name == "States.DataLimitExceeded" || failure.Name == "States.Aborted" {
			return nil, "", failure
		}

		if delay, ok := r.again(s.Retry, counts, failure.Name); ok {
			if err := sleep(ctx, delay); err != nil {
				return nil, "", &Error{"States.Aborted", err.Error()}
			}

			r.trace.add(1, 0, 0, "")

			continue
		}

		for _, c := range s.Catch {
			if matches(c.ErrorEquals, failure.Name) {
				output, err := place(input, c.ResultPath, map[string]any{"Error": failure.Name, "Cause": failure.Cause})

				return output, c.Next, err
			}
		}

		return nil, "", failure
	}
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

func (r *runner) once(ctx context.Context, s *state, input, mapItem any) (any, error) {
	switch s.Type {
	case "Wait":
		if err := sleep(ctx, time.Duration(s.Seconds)*time.Second); err != nil {
			return nil, &Error{"States.Aborted", err.Error()}
		}

		return input, nil
	case "Task":
		return r.task(ctx, s, input, mapItem)
	case "Parallel":
		return r.fan(ctx, len(s.Branches), func(ctx context.Context, i int) (any, error) {
			return r.process(ctx, s.Branches[i], clone(input), mapItem)
		})
	case "Map":
		list, err := get(input, s.ItemsPath, nil)
		if err != nil {
			return nil, err
		}

		items, ok := list.([]any)
		if !ok {
			return nil, &Error{"States.Runtime", s.ItemsPath + " is not a list"}
		}

		return r.fan(ctx, len(items), func(ctx context.Context, i int) (any, error) {
			selected, err := fill(s.ItemSelector, input, items[i])
			if err != nil {
				return nil, err
			}

			return r.process(ctx, s.ItemProcessor, selected, items[i])
		})
	}

	return nil, &Error{"States.Runtime", "a state of type " + s.Type}
}

func (r *runner) task(ctx context.Context, s *state, input, mapItem any) (any, error) {
	filled, err := fill(s.Parameters, input, mapItem)
	if err != nil {
		return nil, err
	}

	payload, err := json.Marshal(filled)
	if err != nil {
		return nil, &Error{"States.Runtime", err.Error()}
	}

	r.trace.add(0, 3, len(payload), "")

	type answer struct {
		out json.RawMessage
		err error
	}

	// The function goes on when the task gives up on it: only its answer is no longer awaited.
	answered := make(chan answer, 1)

	go func() {
		out, err := r.invoke(context.WithoutCancel(ctx), s.Resource, payload)
		answered <- answer{out, err}
	}()

	limit := time.NewTimer(time.Duration(or(&s.TimeoutSeconds, 60)) * time.Second)
	defer limit.Stop()

	select {
	case a := <-answered:
		if a.err != nil {
			return nil, a.err
		}

		var v any
		if err := json.Unmarshal(a.out, &v); err != nil {
			return nil, &Error{"States.Runtime", err.Error()}
		}

		return v, nil
	case <-limit.C:
		return nil, &Error{"States.Timeout", "the task took too long"}
	case <-ctx.Done():
		return nil, &Error{"States.Aborted", ctx.Err().Error()}
	}
}

// fan runs branches side by side. The first failure fails the whole at once and stops the others at their next state.
func (r *runner) fan(ctx context.Context, n int, run func(context.Context, int) (any, error)) (any, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	type answer struct {
		i   int
		out any
		err error
	}

	answers := make(chan answer, n)

	for i := range n {
		go func() {
			out, err := run(ctx, i)
			answers <- answer{i, out, err}
		}()
	}

	results := make([]any, n)

	for range n {
		a := <-answers
		if a.err != nil {
			return nil, a.err
		}

		results[a.i] = a.out
	}

	return results, nil
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

func place(input any, at path, result any) (any, error) {
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

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()

	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func or[T comparable](v *T, otherwise T) T {
	var zero T
	if v == nil || *v == zero {
		return otherwise
	}

	return *v
}
