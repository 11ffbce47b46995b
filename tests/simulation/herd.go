package simulation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/awssfn"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/memory"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation/asl"
)

// Herd is many deployments at once in one installation: one table and one state machine for all, spread over accounts and Regions that each keep AWS's
// rates. AWS's limits that an installation shares are kept too: starts of executions and concurrent functions.
type Herd struct {
	// Deployments arrive at once, spread over Accounts.
	Deployments, Accounts int
	// Share is the part of AWS's limits on the whole installation that the herd has: a tenth of the herd on a tenth of them meets what the whole one meets.
	Share float64

	concurrency int

	store *memory.Store
	cells []*World

	mu     sync.Mutex
	starts tokens
	flying int
	opened time.Time
	begun  map[string]time.Time
	count  HerdReport
}

// HerdReport is what came of a herd.
type HerdReport struct {
	Ended, Active int
	// Admission is the longest time that a caller needed to be admitted, StartDelay the longest from an admission to its Begin, Makespan the longest from an
	// admission to its end.
	Admission, StartDelay, Makespan time.Duration
	// Things are what is there of this installation at the end, in all accounts.
	Things int
	// Throttled calls of AWS, refused starts of executions, and invocations that Lambda refused for want of concurrency.
	Throttled, RefusedStarts, RefusedInvocations int
	// Invocations and transitions of all executions, and the calls of AWS, those that were throttled among them.
	Invocations, Transitions, Calls int
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
	// operations are those that a tenant, which has an account-Region of its own here, may have at work: TenantLimits' default in template.yaml.
	operations = 10
	// apiTimeout is the Timeout of the api function in template.yaml.
	apiTimeout = 29 * time.Second
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
	h.store, h.begun, h.starts = memory.New(), map[string]time.Time{}, tokens{size: startSize * h.Share, rate: startRate * h.Share}
	h.concurrency = int(concurrency * h.Share)

	for i := range h.Accounts {
		w, err := NewWorld(uint64(i))
		if err != nil {
			return h.count, err
		}

		h.cells = append(h.cells, w)
		h.settle(w, i)
	}

	var wait sync.WaitGroup

	h.opened = time.Now()

	for i := range h.Deployments {
		wait.Add(1)

		go h.create(ctx, i, 1, wait.Done)
	}

	var (
		left  = map[int]bool{}
		began = time.Now()
	)

	for i := range h.Deployments {
		left[i] = true
	}

	for second := 1; len(left) > 0; second++ {
		time.Sleep(time.Until(began.Add(time.Duration(second) * time.Second)))

		var m runtime.MemStats

		runtime.ReadMemStats(&m)
		h.count.Peak = max(h.count.Peak, m.HeapInuse+m.StackInuse)

		if second%60 != 0 {
			continue
		}

		wait.Go(func() { _ = h.watch(ctx) })

		if err := h.harvest(ctx, left); err != nil {
			return h.count, err
		}

		if second > 24*3600 {
			return h.count, fmt.Errorf("%d have not ended after a day", len(left))
		}
	}

	wait.Wait()

	for _, w := range h.cells {
		w.wait.Wait()
		h.count.Transitions += w.cost.Transitions
		h.count.Invocations += w.cost.Invocations
		h.count.Throttled += w.cost.Throttled
		h.count.Calls += w.cost.Calls

		for _, tags := range w.AWS.Inventory() {
			if ours(tags) {
				h.count.Things++
			}
		}
	}

	return h.count, nil
}

// harvest counts those that have ended and lets go of their records, and of tokens that nobody uses again: of ten thousand deployments they would be most
// of what is in memory.
func (h *Herd) harvest(ctx context.Context, left map[int]bool) error {
	for _, w := range h.cells {
		w.AWS.EC2.ForgetTokens(time.Now().Add(-2 * lambdaTimeout))
	}

	keys, err := h.store.Unfinished(ctx, time.Now().Add(24*time.Hour), h.Deployments)
	if err != nil {
		return err
	}

	unfinished := map[deploy.Key]bool{}
	for _, key := range keys {
		unfinished[key] = true
	}

	for i := range left {
		if unfinished[h.key(i)] {
			continue
		}

		record, err := h.store.Load(ctx, h.key(i))
		if errors.Is(err, store.ErrNotFound) {
			continue // its caller still tries
		}

		if err != nil {
			return err
		}

		if record.Deployment.Queued {
			continue
		}

		op := record.Operation

		if op.State.Done() {
			h.count.Ended++
		}

		if record.Deployment.Phase == deploy.PhaseActive {
			h.count.Active++
		}

		h.mu.Lock()
		h.count.Makespan = max(h.count.Makespan, op.EndTime.Sub(op.CreateTime))
		h.count.StartDelay = max(h.count.StartDelay, h.begun[op.ID].Sub(op.CreateTime))
		h.count.Admission = max(h.count.Admission, op.CreateTime.Sub(h.opened))
		delete(h.begun, op.ID)
		h.mu.Unlock()

		h.store.Forget(record.Deployment.Key)
		delete(left, i)
	}

	return nil
}

// watch is the schedule's call of the watchdog.
func (h *Herd) watch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lambdaTimeout)
	defer cancel()

	return h.cells[0].Watch(ctx)
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
	w.Control.Place, w.Dog.Place, w.Queue.Place = place, place, place
	w.Control.Store, w.Dog.Store, w.conductor.Store, w.Queue.Store = h.store, h.store, h.store, h.store
	w.Control.Grants, w.Queue.Tenants, w.Expiry.Tenants = h.store, h.store, h.store
	starter := awssfn.New(engine{h}, "arn:aws:states:us-east-1:123456789012:stateMachine:deployment")
	w.Control.Starter, w.Dog.Starter, w.Queue.Starter = starter, starter, starter
	w.Control.NewID = h.cells[0].newID
	limits := deploy.Limits{Default: deploy.Usage{Operations: operations}}
	w.Control.Limits, w.Queue.Limits = limits, limits
	// The quotas of VPCs and gateways are raised to what Batch's own, which cannot be raised, let in.
	w.Control.Quota = func(_ context.Context, _, _ string, otherwise int) int { return max(otherwise, 50) }
	w.Control.Log, w.Dog.Log, w.conductor.Log, w.Queue.Log = silent(), silent(), silent(), silent()

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

		if _, ours := ctx.Value(invocationKey{}).(*invocation); !ours {
			return awsfake.Fault{}
		}

		w.mu.Lock()
		defer w.mu.Unlock()

		if w.cost.Calls++; b.take(time.Now()) {
			return awsfake.Fault{}
		}

		w.cost.Throttled++

		return awsfake.Fault{Before: broken(Throttle)}
	}
	w.admit, w.heard, w.over = h.admit, h.heard, h.over
}

// admit is Lambda's concurrency.
func (h *Herd) admit() (done func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()

	if h.flying >= h.concurrency {
		h.count.RefusedInvocations++

		return nil, full
	}

	h.flying++

	return func() {
		h.mu.Lock()
		h.flying--
		h.mu.Unlock()
	}, nil
}

var full = &asl.Error{Name: "Lambda.TooManyRequestsException", Cause: "Rate Exceeded."} //nolint:gochecknoglobals // one for all

// heard sees each Begin.
func (h *Herd) heard(in workflow.Input) {
	if in.Verb != workflow.VerbBegin {
		return
	}

	h.mu.Lock()
	defer h.mu.Unlock()

	if _, known := h.begun[in.Operation]; !known {
		h.begun[in.Operation] = time.Now()
	}
}

// over is Step Functions' event to the watchdog's function, which Lambda repeats until there is room for it.
func (h *Herd) over(e workflow.Execution) {
	go func() {
		w := h.cell(e.Tenant)

		leave, err := h.admit()
		if err != nil {
			time.AfterFunc(time.Minute, func() { h.over(e) })

			return
		}
		defer leave()

		// What fails is the schedule's.
		_ = w.Call(context.Background(), "watchdog", func(ctx context.Context) error { return w.Queue.Advance(ctx, e.Tenant) })
	}()
}

// create is one caller, who comes at once with all others and tries again within half a minute when Lambda has no room for the call or the checks before
// the create are throttled. Who waits holds no goroutine.
func (h *Herd) create(ctx context.Context, i, try int, done func()) {
	key := h.key(i)
	w := h.cell(key.Tenant)
	who := deploy.Principal{Tenant: key.Tenant, Actor: "ada", Roles: []deploy.Role{deploy.Deployer}}

	err := w.Call(ctx, "api", func(ctx context.Context) error {
		leave, err := h.admit()
		if err != nil {
			return err
		}
		defer leave()

		ctx, cancel := context.WithTimeout(ctx, apiTimeout)
		defer cancel()

		_, err = w.Control.Create(ctx, who, workflow.CreateRequest{Name: key.Name, Spec: deploy.Spec{}.WithDefaults()})

		return err
	})

	_, exists := errors.AsType[*workflow.Exists](err)
	_, refused := errors.AsType[*workflow.Refused](err) // it will not be among those that end

	if err == nil || exists || refused {
		done()

		return
	}

	w.mu.Lock()
	pause := time.Duration(float64(min(try, 30)) * w.jitter.Float64() * float64(time.Second))
	w.mu.Unlock()

	time.AfterFunc(pause, func() { h.create(ctx, i, try+1, done) })
}

// engine is Step Functions as the installation's starter sees it: one state machine for all cells, and its own rate of starts.
type engine struct{ h *Herd }

// StartExecution lets the cell's world run it.
func (e engine) StartExecution(ctx context.Context, in *sfn.StartExecutionInput, _ ...func(*sfn.Options)) (*sfn.StartExecutionOutput, error) {
	var x workflow.Execution
	if err := json.Unmarshal([]byte(*in.Input), &x); err != nil {
		return nil, err
	}

	e.h.mu.Lock()
	ok := e.h.starts.take(time.Now())

	if !ok {
		e.h.count.RefusedStarts++
	}
	e.h.mu.Unlock()

	if !ok {
		return nil, broken(Throttle)
	}

	return &sfn.StartExecutionOutput{}, e.h.cell(x.Tenant).Start(ctx, x)
}

// DescribeExecution finds the cell by the name of the deployment, with which an operation's id begins.
func (e engine) DescribeExecution(_ context.Context, in *sfn.DescribeExecutionInput, _ ...func(*sfn.Options)) (*sfn.DescribeExecutionOutput, error) {
	name := (*in.ExecutionArn)[strings.LastIndex(*in.ExecutionArn, ":")+1:]

	var i int
	if _, err := fmt.Sscanf(name, "d%d-", &i); err != nil {
		return nil, err
	}

	w := e.h.cell(e.h.key(i).Tenant)

	w.mu.Lock()
	defer w.mu.Unlock()

	switch r := w.executions[name]; {
	case r == nil:
		return nil, &sfntypes.ExecutionDoesNotExist{}
	case r.alive:
		return &sfn.DescribeExecutionOutput{Status: sfntypes.ExecutionStatusRunning}, nil
	default:
		return &sfn.DescribeExecutionOutput{Status: sfntypes.ExecutionStatusFailed}, nil
	}
}
