// Package simulation runs whole operations in this process and in virtual time: the real workers, conductor, watchdog and control, the real
// statemachine/deployment.asl.json, the real kinds, on stateful fakes of AWS and a store in memory. Every test runs inside a testing/synctest bubble, so
// that an hour of waiting costs nothing and a seed decides everything.
//
// Faults are injected at points: each call that a function makes to AWS or to the store is one, named after who makes it (verb and resource), what it
// calls, and how often it did so before.
package simulation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/memory"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation/asl"
)

// Functions are the names of the functions that the state machine calls; the names double as their ARNs.
func functions() []string { return []string{"workflow", "s3", "iam", "ec2", "batch"} }

// lambdaTimeout is the functions' Timeout in template.yaml.
const lambdaTimeout = 40 * time.Second

// installation is the id of every world's installation.
const installation = "simulated"

// World is one installation in one fake account.
type World struct {
	AWS     *awsfake.World
	Store   *memory.Store
	Graphs  *workflow.Graphs
	Control *workflow.Control
	Dog     *workflow.Watchdog
	Queue   *workflow.Queue
	Expiry  *workflow.Expiry
	// Trace is what the state machine's executions cost so far, all of them together.
	Trace *asl.Trace
	// Fault is asked at every point; the zero action breaks nothing.
	Fault func(point string) Action

	conductor *workflow.Conductor
	workers   map[string]*workflow.Worker
	machine   *asl.Machine
	jitter    *rand.Rand
	seed      uint64

	mu         sync.Mutex
	executions map[string]*execution
	points     []string
	firsts     map[string]bool
	seen       map[string]int
	ids        int
	wait       sync.WaitGroup
	standing   []standing
	skew       time.Duration
	wrong      []string
	taken      []string // what was removed by hand
	touched    []string // what was tagged by hand
	cost       Cost
	logs       bytes.Buffer
	quiet      bool // keep no journal of points
	// admit, where set, may refuse an invocation; heard, where set, is told of those that begin, and over of executions that ended.
	admit func() (done func(), err error)
	heard func(workflow.Input)
	over  func(workflow.Execution)
}

// execution is one run of the state machine.
type execution struct {
	alive  bool
	cancel context.CancelFunc
	trace  *asl.Trace
}

// Cost is what happened in a world so far.
type Cost struct {
	// Transitions are billed state entries, Events the longest history and Largest the largest payload in bytes of any execution.
	Transitions, Events, Largest int
	// Invocations of functions, those that were refused among them, and the seconds they ran, of which waiting is virtual time and each call counts 30 ms.
	Invocations int
	Seconds     float64
	// Calls of AWS, and those of them that were throttled.
	Calls, Throttled int
}

// callSeconds is what a call of AWS or of the table takes: calls take no virtual time.
const callSeconds = 0.03

// crash is the panic of a process that dies.
type crash struct{}

// invocation is one run of a function.
type invocation struct {
	who, function, execution string
	payload                  json.RawMessage
	calls                    int
	// fatal: the execution ends with its answer in a way that no Catch sees.
	fatal bool
	// dead: the process died in a goroutine of its own; no call of it comes through any more.
	dead bool
}

// NewWorld makes an empty installation. It must be called inside a synctest bubble.
func NewWorld(seed uint64) (*World, error) {
	w := &World{
		AWS: awsfake.New(), Store: memory.New(), Trace: &asl.Trace{}, seed: seed, jitter: rand.New(rand.NewPCG(seed, seed)),
		executions: map[string]*execution{}, seen: map[string]int{}, firsts: map[string]bool{}, workers: map[string]*workflow.Worker{},
	}

	// What was made shows late, as on AWS.
	w.AWS.EC2.Lag, w.AWS.S3.Lag, w.AWS.IAM.Lag, w.AWS.IAM.IDLag = 3*time.Second, 2*time.Second, 4*time.Second, 2*time.Second

	kinds := Kinds(w.AWS)

	graphs, err := workflow.NewGraphs(kinds)
	if err != nil {
		return nil, err
	}

	if w.machine, err = machines(); err != nil {
		return nil, err
	}

	place := workflow.Place{
		Installation: installation, Partition: w.AWS.Partition, Account: w.AWS.Account, Region: w.AWS.Region,
		Boundary: "arn:" + w.AWS.Partition + ":iam::" + w.AWS.Account + ":policy/boundary",
	}
	log, clock := w.logger(), skewed{w: w}

	w.Graphs = graphs
	w.conductor = &workflow.Conductor{Store: w.Store, Graphs: graphs, Clock: clock, Log: log}
	w.Dog = &workflow.Watchdog{Store: w.Store, Graphs: graphs, Starter: w, Place: place, Clock: clock, Log: log}
	w.Control = &workflow.Control{
		Store: w.Store, Graphs: graphs, Starter: w, Place: place, Clock: clock, Grants: w.Store, Log: log, NewID: w.newID,
		Quota: func(_ context.Context, _, _ string, otherwise int) int { return otherwise },
	}

	w.Queue = &workflow.Queue{Store: w.Store, Tenants: w.Store, Starter: w, Place: place, Clock: clock, Log: log}
	w.Expiry = &workflow.Expiry{Tenants: w.Store, Control: w.Control}

	for _, f := range functions() {
		family := slices.DeleteFunc(slices.Clone(kinds), func(k kind.Kind) bool { return k.About().Family != f })
		w.workers[f] = &workflow.Worker{Store: w.Store, Kinds: family, Place: place, Clock: clock, Log: log}
	}

	w.AWS.Fault = func(ctx context.Context, c awsfake.Call) awsfake.Fault {
		w.order(c)

		return w.breakAWS(w.at(ctx, c.Service, c.Operation), c)
	}
	w.Store.Fault = func(ctx context.Context, method string, _ deploy.Key) memory.Fault {
		return w.breakStore(w.at(ctx, "store", method))
	}
	w.Store.Moved = w.moved

	return w, nil
}

// machines keeps the compiled state machine of today's kinds: every world runs the same one.
var machines = sync.OnceValues(func() (*asl.Machine, error) { //nolint:gochecknoglobals // 200 KB of JSON, the same in 100,000 worlds
	graphs, err := workflow.NewGraphs(Kinds(awsfake.New()))
	if err != nil {
		return nil, err
	}

	definition, err := workflow.Compile(graphs)
	if err != nil {
		return nil, err
	}

	return load(definition)
})

func load(definition []byte) (*asl.Machine, error) {
	substitutions := map[string]string{}
	for _, f := range functions() {
		substitutions[strings.ToUpper(f[:1])+f[1:]+"FunctionArn"] = f
	}

	return asl.Load(definition, substitutions)
}

// Upgrade lets later executions run on another definition.
func (w *World) Upgrade(definition []byte) (err error) {
	w.machine, err = load(definition)

	return err
}

// skewed is the functions' clock, which may be wrong.
type skewed struct{ w *World }

func (c skewed) Now() time.Time {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()

	return time.Now().UTC().Add(c.w.skew)
}

func (c skewed) Sleep(ctx context.Context, d time.Duration) { workflow.WallClock{}.Sleep(ctx, d) }

// logger keeps what the functions log.
func (w *World) logger() *slog.Logger {
	var out io.Writer = locked{w}
	if os.Getenv("METAFLOW_DEPLOYER_LOG") != "" {
		out = io.MultiWriter(out, os.Stderr)
	}

	return slog.New(slog.NewTextHandler(out, nil))
}

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

type locked struct{ w *World }

func (l locked) Write(b []byte) (int, error) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()

	return l.w.logs.Write(b)
}

func (w *World) newID() string {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.ids++

	return fmt.Sprintf("%026d", w.ids)
}

type invocationKey struct{}

// at names the point of a call and asks what happens there. Calls from outside functions (a test's own look) are no points.
func (w *World) at(ctx context.Context, service, operation string) Action {
	in, ok := ctx.Value(invocationKey{}).(*invocation)
	if !ok {
		return None
	}

	if w.quiet {
		return None
	}

	w.mu.Lock()
	name := in.who + " " + service + "." + operation
	w.seen[name]++
	point := name + " #" + strconv.Itoa(w.seen[name])
	w.points = append(w.points, point)

	if in.calls++; in.calls == 1 {
		w.firsts[point] = true
	}

	dead := in.dead

	if service != "store" && service != "sfn" {
		w.cost.Calls++
	}

	lasting := w.stands(service, operation)
	w.mu.Unlock()

	switch {
	case dead && in.who == "watchdog":
		return ServerError
	case dead && service == "store":
		panic(crash{})
	}

	action := lasting
	if w.Fault != nil {
		action = both(lasting, w.Fault(point))
	}

	if action == lasting {
		return lasting // which began elsewhere, and lasts no longer for being met
	}

	return w.effect(ctx, in, action, service)
}

// Points lists every point that was passed so far.
func (w *World) Points() []string {
	w.mu.Lock()
	defer w.mu.Unlock()

	return slices.Clone(w.points)
}

// Start implements workflow.Starter.
func (w *World) Start(ctx context.Context, e workflow.Execution) error {
	name := executionName(e)
	action := w.at(ctx, "sfn", "StartExecution")

	if action == CrashBefore {
		panic(crash{})
	}

	if err := broken(action); err != nil && action != LoseAnswer {
		return err
	}

	run, cancel := context.WithCancel(context.WithValue(context.Background(), executionKey{}, name))
	fresh := &execution{alive: true, cancel: cancel, trace: &asl.Trace{}}

	w.mu.Lock()
	known := w.executions[name] != nil

	if !known {
		w.executions[name] = fresh
		w.wait.Add(1)
	}
	w.mu.Unlock()

	if known {
		cancel()
	} else {
		w.execute(run, name, fresh, e)
	}

	if action == CrashAfter {
		panic(crash{})
	}

	return broken(action)
}

func executionName(e workflow.Execution) string {
	return e.Operation + "-" + strconv.Itoa(e.Epoch)
}

// Alive implements workflow.Starter.
func (w *World) Alive(ctx context.Context, e workflow.Execution) (alive, known bool, err error) {
	action := w.at(ctx, "sfn", "DescribeExecution")
	if action == CrashBefore || action == CrashAfter {
		panic(crash{})
	}

	if err := broken(action); err != nil {
		return false, false, err
	}

	w.mu.Lock()
	defer w.mu.Unlock()

	r := w.executions[executionName(e)]

	return r != nil && r.alive, r != nil, nil
}

// execute begins an execution.
func (w *World) execute(ctx context.Context, name string, r *execution, e workflow.Execution) {
	input, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}

	w.leaks("an input of an execution", string(input))

	w.mu.Lock()
	jitter := rand.New(rand.NewPCG(w.seed, uint64(len(w.executions))))
	w.mu.Unlock()

	w.machine.Start(ctx, input, w.invoke, jitter, r.trace, func(_ json.RawMessage, err error) {
		if err != nil && os.Getenv("METAFLOW_DEPLOYER_LOG") != "" {
			fmt.Fprintln(os.Stderr, "execution", name, err)
		}

		w.mu.Lock()
		r.alive = false
		transitions, events, largest := r.trace.Cost()
		w.Trace.Transitions += transitions
		w.Trace.Events += events
		w.cost.Transitions += transitions
		w.cost.Events = max(w.cost.Events, events)
		w.cost.Largest = max(w.cost.Largest, largest)
		r.trace = nil // what is over costs no memory
		w.mu.Unlock()

		r.cancel()

		if w.over != nil {
			w.over(e)
		}

		w.wait.Done()
	})
}

type executionKey struct{}

// invoke plays Lambda: one invocation, its deadline in the context, a panic as a process that died.
func (w *World) invoke(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
	w.wait.Add(1)
	defer w.wait.Done()

	if w.admit != nil {
		done, err := w.admit()
		if err != nil {
			w.mu.Lock()
			w.cost.Invocations++
			w.mu.Unlock()

			return nil, err
		}

		defer done()
	}

	name, _ := ctx.Value(executionKey{}).(string)
	in := &invocation{function: function, execution: name, payload: payload}

	began := time.Now()
	out, err := w.function(ctx, in)

	w.mu.Lock()
	w.cost.Invocations++
	w.cost.Seconds += time.Since(began).Seconds() + callSeconds*float64(in.calls)
	w.mu.Unlock()

	w.leaks("an answer of a function", string(out))

	if err != nil {
		w.leaks("an error in the history", err.Error())
	}

	if in.fatal {
		return nil, &asl.Error{Name: "States.Runtime", Cause: "injected"}
	}

	return out, err
}

func (w *World) function(ctx context.Context, call *invocation) (out json.RawMessage, err error) {
	var in workflow.Input
	if err := json.Unmarshal(call.payload, &in); err != nil {
		return nil, &asl.Error{Name: "States.Runtime", Cause: err.Error()}
	}

	if w.heard != nil {
		w.heard(in)
	}

	call.who = strings.TrimSpace(string(in.Verb) + " " + string(in.Resource))

	ctx, cancel := context.WithTimeout(context.WithValue(ctx, invocationKey{}, call), lambdaTimeout)
	defer cancel()

	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(crash); !ok {
				panic(r)
			}

			err = &asl.Error{Name: "Runtime.ExitError", Cause: "the process died"}
		}
	}()

	var plan workflow.Plan
	if call.function == "workflow" {
		plan, err = w.conductor.Run(ctx, in)
	} else {
		err = w.workers[call.function].Run(ctx, in)
	}

	if s, ok := err.(*workflow.Signal); ok { //nolint:errorlint // the edge sees what lambdastep sees: the outermost error
		return nil, &asl.Error{Name: string(s.Name), Cause: s.Message}
	}

	if err != nil {
		return nil, err
	}

	return json.Marshal(plan)
}

// Settle lets time pass until no operation of the deployment is unfinished, with the watchdog on its schedule, and answers the record's header. It gives
// up after a virtual day.
func (w *World) Settle(ctx context.Context, key deploy.Key) (deploy.Deployment, error) {
	var last deploy.Deployment

	for range 24 * 60 {
		time.Sleep(time.Minute)

		record, err := w.Store.Load(ctx, key)
		if err != nil {
			return last, err
		}

		if last = record.Deployment; !last.Unfinished {
			w.wait.Wait()

			return last, nil
		}

		// The schedule calls the watchdog as a function: it can break, and the next minute calls it again.
		_ = w.Call(ctx, "watchdog", w.Watch)
	}

	return last, fmt.Errorf("%s is still %s after a day", key.Name, last.Phase)
}

// Watch is what the watchdog's function does each minute.
func (w *World) Watch(ctx context.Context) error {
	return errors.Join(w.Dog.Run(ctx), w.Queue.AdvanceAll(ctx), w.Expiry.Run(ctx))
}

// Call runs something as an invocation of its own: its calls are points, and it may die.
func (w *World) Call(ctx context.Context, who string, act func(context.Context) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(crash); !ok {
				panic(r)
			}

			err = &asl.Error{Name: "Runtime.ExitError", Cause: "the process died"}
		}
	}()

	return act(context.WithValue(ctx, invocationKey{}, &invocation{who: who}))
}

// Root is the project's directory.
func Root() string {
	_, file, _, _ := runtime.Caller(0)

	return filepath.Join(filepath.Dir(file), "..", "..")
}
