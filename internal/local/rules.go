package local

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/samtemplate"
)

// lookEvery is how often an execution that runs is looked at for its end.
const lookEvery = time.Second

// rules plays EventBridge for one world: schedules, and the status changes of executions.
type rules struct {
	world  *World
	stack  *Stack
	client *sfn.Client
	events []eventRule

	ctx     context.Context //nolint:containedctx // it is the life of the goroutines that stop ends
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	stopped bool
	watched map[string]bool // execution ARNs
}

type eventRule struct {
	samtemplate.Rule
	pattern map[string]any
}

func newRules(w *World, s *Stack) (*rules, error) {
	r := &rules{world: w, stack: s, client: sfn.NewFromConfig(s.aws.config(w.Account)), watched: map[string]bool{}}
	for _, rule := range w.Resources.Rules {
		if rule.Every > 0 {
			continue
		}
		e := eventRule{Rule: rule}
		if err := json.Unmarshal(rule.Pattern, &e.pattern); err != nil {
			return nil, fmt.Errorf("read the pattern of rule %s: %w", rule.Name, err)
		}
		if err := checkPattern(e.pattern); err != nil {
			return nil, fmt.Errorf("read the pattern of rule %s: %w", rule.Name, err)
		}
		r.events = append(r.events, e)
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r, nil
}

// start begins the schedules. Like EventBridge it fires first after one whole interval.
func (r *rules) start() {
	for _, rule := range r.world.Resources.Rules {
		if rule.Every == 0 {
			continue
		}
		r.running.Go(func() {
			tick := time.NewTicker(rule.Every)
			defer tick.Stop()
			for {
				select {
				case <-r.ctx.Done():
					return
				case at := <-tick.C:
					r.deliver(rule, r.event("aws.events", "Scheduled Event", at, r.arn("events", "rule/"+rule.Name), map[string]any{}))
				}
			}
		})
	}
}

func (r *rules) stop() {
	r.mu.Lock()
	r.stopped = true
	r.mu.Unlock()
	r.cancel()
	r.running.Wait()
}

// watch follows an execution to its end and tells the rules of each change. A second watch of the
// same one does nothing, nor does one of an execution that does not exist.
func (r *rules) watch(execution string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) == 0 || r.stopped || r.watched[execution] {
		return
	}
	r.watched[execution] = true
	r.running.Go(func() {
		r.follow(execution)
		r.mu.Lock()
		delete(r.watched, execution)
		r.mu.Unlock()
	})
}

func (r *rules) follow(execution string) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var last sfntypes.ExecutionStatus
	for {
		out, err := r.client.DescribeExecution(r.ctx, &sfn.DescribeExecutionInput{ExecutionArn: &execution})
		if _, gone := errors.AsType[*sfntypes.ExecutionDoesNotExist](err); gone || r.ctx.Err() != nil {
			return
		}
		if err == nil && out.Status != last {
			last = out.Status
			r.changed(out)
		}
		if err == nil && last != sfntypes.ExecutionStatusRunning {
			return
		}
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// changed delivers a status change to the rules whose pattern it fits.
// https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
func (r *rules) changed(x *sfn.DescribeExecutionOutput) {
	detail := map[string]any{
		"executionArn":    x.ExecutionArn,
		"stateMachineArn": x.StateMachineArn,
		"name":            x.Name,
		"status":          string(x.Status),
		"startDate":       x.StartDate.UnixMilli(),
		"stopDate":        nil,
		"input":           x.Input,
		"output":          x.Output,
		"error":           x.Error,
		"cause":           x.Cause,
	}
	if x.StopDate != nil {
		detail["stopDate"] = x.StopDate.UnixMilli()
	}
	body := r.event("aws.states", "Step Functions Execution Status Change", time.Now(), *x.ExecutionArn, detail)
	var event map[string]any
	if err := json.Unmarshal(body, &event); err != nil {
		panic(err) // what was encoded a line above
	}
	for _, e := range r.events {
		if matches(e.pattern, event) {
			r.deliver(e.Rule, body)
		}
	}
}

// event is EventBridge's envelope.
func (r *rules) event(source, detailType string, at time.Time, resource string, detail map[string]any) []byte {
	body, err := json.Marshal(map[string]any{
		"version": "0", "id": strings.ToLower(rand.Text()), "source": source, "detail-type": detailType,
		"account": r.world.Account, "region": Region, "time": at.UTC().Format(time.RFC3339),
		"resources": []string{resource}, "detail": detail,
	})
	if err != nil {
		panic(err) // texts and numbers always encode
	}
	return body
}

func (r *rules) deliver(rule samtemplate.Rule, event []byte) {
	if rule.Input != "" {
		event = []byte(rule.Input)
	}
	account, name, err := splitARN(rule.Function)
	if err == nil {
		err = r.stack.pool.InvokeEvent(account, name, event)
	}
	if err != nil {
		r.stack.opts.Logger.Error("rule could not call its function", "rule", rule.Name, "error", err)
	}
}

func (r *rules) arn(service, resource string) string {
	return "arn:aws:" + service + ":" + Region + ":" + r.world.Account + ":" + resource
}

// checkPattern refuses what matches does not know.
func checkPattern(pattern map[string]any) error {
	for name, p := range pattern {
		switch p := p.(type) {
		case map[string]any:
			if err := checkPattern(p); err != nil {
				return err
			}
		case []any:
			for _, item := range p {
				if m, ok := item.(map[string]any); ok {
					if _, prefix := m["prefix"].(string); !prefix || len(m) != 1 {
						return fmt.Errorf("%s: only values and {prefix} are matched here", name)
					}
				}
			}
		default:
			return fmt.Errorf("%s: neither a list nor an object", name)
		}
	}
	return nil
}

// matches says whether an event fits a pattern: each member of the pattern is in the event with one
// of the listed values.
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html
func matches(pattern, event map[string]any) bool {
	for name, p := range pattern {
		value, ok := event[name]
		if !ok {
			return false
		}
		if nested, isObject := p.(map[string]any); isObject {
			inner, ok := value.(map[string]any)
			if !ok || !matches(nested, inner) {
				return false
			}
			continue
		}
		if !matchesAny(p.([]any), value) {
			return false
		}
	}
	return true
}

func matchesAny(wanted []any, value any) bool {
	for _, w := range wanted {
		if m, ok := w.(map[string]any); ok {
			text, isText := value.(string)
			if prefix, _ := m["prefix"].(string); isText && strings.HasPrefix(text, prefix) {
				return true
			}
			continue
		}
		if w == value {
			return true
		}
		if list, ok := value.([]any); ok {
			for _, item := range list {
				if item == w {
					return true
				}
			}
		}
	}
	return false
}
