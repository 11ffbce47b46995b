package simulation

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/aws/smithy-go"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/memory"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation/asl"
)

// Herd is many deployments at once in one installation: one table and one state machine for all, spread over accounts and Regions that each keep AWS's
// rates. AWS's limits that an installation shares are kept too: starts of executions and concurrent functions.
type Herd struct {
	// Deployments arrive at once, spread over Accounts.
	Deployments, Accounts int

	store *memory.Store
	cells []*World

	mu     sync.Mutex
	starts tokens
	flying int
	begun  map[string]time.Time
	count  HerdReport
}

// HerdReport is what came of a herd.
type HerdReport struct {
	Ended, Active int
	// StartDelay is the longest time from an admission to its Begin, Makespan the longest from an admission to its end.
	StartDelay, Makespan time.Duration
	// Throttled calls of AWS, refused starts of executions, and invocations that Lambda refused for want of concurrency.
	Throttled, RefusedStarts, RefusedInvocations int
	// Invocations and transitions of all executions.
	Invocations, Transitions int
	// Peak is the largest heap in bytes that was seen.
	Peak uint64
}

// tokens is a token bucket.
type tokens struct {
	size, rate, left float64
	at               time.Time
}

func (b *tokens) take(now time.Time) bool {
	if b.at.IsZero() {
		b.left = b.size
	} else {
		b.left = min(b.size, b.left+b.rate*now.Sub(b.at).Seconds())
	}

	b.at = now

	if b.left < 1 {
		return false
	}

	b.left--

	return true
}

// The limits. EC2: reference/aws-behaviour, request token buckets per API, account and Region. Step Functions: StartExecution in us-east-1. Lambda: a new
// account's concurrency is raised to this at once on request; the default quota. IAM and Batch publish none: these are cautious.
const (
	startSize, startRate = 1300, 300
	concurrency          = 1000
)

func rate(service, operation string) (size, perSecond float64) {
	read := strings.HasPrefix(operation, "Describe") || strings.HasPrefix(operation, "Get") || strings.HasPrefix(operation, "List")

	switch {
	case service == "ec2" && read:
		return 100, 20
	case service == "ec2":
		return 50, 5
	case service == "batch", service == "iam":
		return 50, 10
	default:
		return 3500, 3500
	}
}

// Run lets them all come at once and waits until all have ended. It must be called inside a synctest bubble.
func (h *Herd) Run(ctx context.Context) (HerdReport, error) {
	h.store, h.begun, h.starts = memory.New(), map[string]time.Time{}, tokens{size: startSize, rate: startRate}

	for i := range h.Accounts {
		w, err := NewWorld(uint64(i))
		if err != nil {
			return h.count, err
		}

		h.cells = append(h.cells, w)
		h.settle(w, i)
	}

	var wait sync.WaitGroup

	for i := range h.Deployments {
		wait.Go(func() { h.create(ctx, i) })
	}

	wait.Wait()

	for minute := 0; ; minute++ {
		time.Sleep(time.Minute)

		_ = h.cells[0].Dog.Run(ctx)

		var m runtime.MemStats

		runtime.ReadMemStats(&m)
		h.count.Peak = max(h.count.Peak, m.HeapInuse+m.StackInuse)

		left, err := h.store.Unfinished(ctx, time.Now().Add(24*time.Hour), h.Deployments)
		if err != nil {
			return h.count, err
		}

		if len(left) == 0 {
			break
		}

		if minute > 24*60 {
			return h.count, fmt.Errorf("%d have not ended after a day", len(left))
		}
	}

	for _, w := range h.cells {
		w.wait.Wait()
		h.count.Transitions += w.cost.Transitions
		h.count.Invocations += w.cost.Invocations
		h.count.Throttled += w.cost.Throttled
	}

	for i := range h.Deployments {
		record, err := h.store.Load(ctx, h.key(i))
		if err != nil {
			return h.count, fmt.Errorf("deployment %d was not admitted: %w", i, err)
		}

		op := record.Operation
		if op.State.Done() {
			h.count.Ended++
		}

		if record.Deployment.Phase == deploy.PhaseActive {
			h.count.Active++
		}

		h.count.Makespan = max(h.count.Makespan, op.EndTime.Sub(op.CreateTime))
		h.count.StartDelay = max(h.count.StartDelay, h.begun[op.ID].Sub(op.CreateTime))
	}

	return h.count, nil
}

func (h *Herd) key(i int) deploy.Key {
	return deploy.Key{Tenant: fmt.Sprintf("t%d", i%h.Accounts), Name: fmt.Sprintf("d%d", i)}
}

func (h *Herd) cell(tenant string) *World {
	var i int

	if _, err := fmt.Sscanf(tenant, "t%d", &i); err != nil {
		panic(err) // our own spelling
	}

	return h.cells[i]
}

// settle makes a world one account-Region of the installation.
func (h *Herd) settle(w *World, i int) {
	w.Store = h.store
	w.AWS.Account = fmt.Sprintf("%012d", i+1)
	w.quiet, w.AWS.Unheard = true, true

	place := w.Control.Place
	place.Account = w.AWS.Account
	w.Control.Place, w.Dog.Place = place, place
	w.Control.Store, w.Dog.Store, w.conductor.Store = h.store, h.store, h.store
	w.Control.Starter, w.Dog.Starter = h, h
	w.Control.NewID = h.cells[0].newID
	// The quotas of VPCs and gateways are raised to what Batch's own, which cannot be raised, let in.
	w.Control.Quota = func(_ context.Context, _, _ string, otherwise int) int { return max(otherwise, 50) }
	w.Control.Log, w.Dog.Log, w.conductor.Log = silent(), silent(), silent()

	for _, worker := range w.workers {
		worker.Store, worker.Place, worker.Log = h.store, place, silent()
	}

	buckets := map[string]*tokens{}

	var mu sync.Mutex

	w.AWS.Fault = func(ctx context.Context, c awsfake.Call) awsfake.Fault {
		mu.Lock()
		defer mu.Unlock()

		b := buckets[c.Service+"."+c.Operation]
		if b == nil {
			size, rate := rate(c.Service, c.Operation)
			b = &tokens{size: size, rate: rate}
			buckets[c.Service+"."+c.Operation] = b
		}

		if _, ours := ctx.Value(invocationKey{}).(*invocation); !ours || b.take(time.Now()) {
			return awsfake.Fault{}
		}

		w.mu.Lock()
		w.cost.Throttled++
		w.mu.Unlock()

		return awsfake.Fault{Before: broken(Throttle)}
	}
	w.admit = h.admit
}

// admit is Lambda's concurrency, and sees each Begin.
func (h *Herd) admit(in workflow.Input) (done func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()

	if h.flying >= concurrency {
		h.count.RefusedInvocations++

		return nil, &asl.Error{Name: "Lambda.TooManyRequestsException", Cause: "Rate Exceeded."}
	}

	h.flying++

	if _, known := h.begun[in.Operation]; !known && in.Verb == workflow.VerbBegin {
		h.begun[in.Operation] = time.Now()
	}

	return func() {
		h.mu.Lock()
		h.flying--
		h.mu.Unlock()
	}, nil
}

// create is one caller, who comes at once with all others and tries again after a second when the checks before the create are throttled.
func (h *Herd) create(ctx context.Context, i int) {
	key := h.key(i)
	w := h.cell(key.Tenant)
	who := deploy.Principal{Tenant: key.Tenant, Actor: "ada", Roles: []deploy.Role{deploy.Deployer}}

	for try := 1; ; try++ {
		err := w.Call(ctx, "api", func(ctx context.Context) error {
			_, err := w.Control.Create(ctx, who, workflow.CreateRequest{Name: key.Name, Spec: deploy.Spec{}.WithDefaults()})

			return err
		})
		if err == nil {
			return
		}

		if _, exists := errors.AsType[*workflow.Exists](err); exists {
			return
		}

		if _, refused := errors.AsType[*workflow.Refused](err); refused {
			return // it is not among those that end
		}

		w.mu.Lock()
		pause := time.Duration(float64(min(try, 30)) * w.jitter.Float64() * float64(time.Second))
		w.mu.Unlock()

		time.Sleep(pause)
	}
}

// Start implements workflow.Starter with Step Functions' own rate, after the SDK's three attempts.
func (h *Herd) Start(ctx context.Context, e workflow.Execution) error {
	for attempt := range 3 {
		h.mu.Lock()
		ok := h.starts.take(time.Now())

		if !ok {
			h.count.RefusedStarts++
		}
		h.mu.Unlock()

		if ok {
			return h.cell(e.Tenant).Start(ctx, e)
		}

		time.Sleep(time.Duration(attempt+1) * time.Second)
	}

	return &smithy.GenericAPIError{Code: "ThrottlingException", Message: "Rate exceeded"}
}

// Alive implements workflow.Starter.
func (h *Herd) Alive(ctx context.Context, e workflow.Execution) (alive, known bool, err error) {
	return h.cell(e.Tenant).Alive(ctx, e)
}
