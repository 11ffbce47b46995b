// Package simulation runs whole operations in this process and in virtual time: the real workers, conductor, watchdog and control, the real
// statemachine/deployment.asl.json, the real kinds, on stateful fakes of AWS and a store in memory. Every test runs inside a testing/synctest bubble, so
// that an hour of waiting costs nothing and a seed decides everything.
//
// Faults are injected at points: each call that a function makes to AWS or to the store is one, named after who makes it (verb and resource), what it
// calls, and how often it did so before.
package simulation

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
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

// World is one installation in one fake account.
type World struct {
	AWS     *awsfake.World
	Store   *memory.Store
	Graphs  *workflow.Graphs
	Control *workflow.Control
	Dog     *workflow.Watchdog
	// Trace is what the state machine's executions cost so far.
	Trace *asl.Trace
	// Fault is asked at every point; the zero action breaks nothing.
	Fault func(point string) Action

	conductor *workflow.Conductor
	workers   map[string]*workflow.Worker
	machine   *asl.Machine
	jitter    *rand.Rand

	mu         sync.Mutex
	executions map[string]bool // name -> alive
	cancels    map[string]context.CancelFunc
	points     []string
	seen       map[string]int
	ids        int
	wait       sync.WaitGroup
}

// Action is how a point breaks.
type Action string

// The actions.
const (
	None        Action = ""
	CrashBefore Action = "crash-before"
	CrashAfter  Action = "crash-after"
	LoseAnswer  Action = "lose-answer"
	Refuse      Action = "refuse"
	Throttle    Action = "throttle"
	ServerError Action = "server-error"
)

// crash is the panic of a process that dies.
type crash struct{}

// NewWorld makes an empty installation. It must be called inside a synctest bubble.
func NewWorld(seed uint64) (*World, error) {
	w := &World{
		AWS: awsfake.New(), Store: memory.New(), Trace: &asl.Trace{}, jitter: rand.New(rand.NewPCG(seed, seed)), //nolint:gosec // jitter of a simulation
		executions: map[string]bool{}, cancels: map[string]context.CancelFunc{}, seen: map[string]int{}, workers: map[string]*workflow.Worker{},
	}

	// What was made shows late, as on AWS.
	w.AWS.EC2.Lag, w.AWS.S3.Lag, w.AWS.IAM.Lag, w.AWS.IAM.IDLag = 3*time.Second, 2*time.Second, 4*time.Second, 2*time.Second

	kinds := Kinds(w.AWS)

	graphs, err := workflow.NewGraphs(kinds)
	if err != nil {
		return nil, err
	}

	definition, err := workflow.Compile(graphs)
	if err != nil {
		return nil, err
	}

	substitutions := map[string]string{}
	for _, f := range functions() {
		substitutions[strings.ToUpper(f[:1])+f[1:]+"FunctionArn"] = f
	}

	if w.machine, err = asl.Load(definition, substitutions); err != nil {
		return nil, err
	}

	place := workflow.Place{
		Installation: "simulated", Partition: w.AWS.Partition, Account: w.AWS.Account, Region: w.AWS.Region,
		Boundary: "arn:" + w.AWS.Partition + ":iam::" + w.AWS.Account + ":policy/boundary",
	}
	log, clock := logger(), workflow.WallClock{}

	w.Graphs = graphs
	w.conductor = &workflow.Conductor{Store: w.Store, Graphs: graphs, Clock: clock, Log: log}
	w.Dog = &workflow.Watchdog{Store: w.Store, Graphs: graphs, Starter: w, Place: place, Clock: clock, Log: log}
	w.Control = &workflow.Control{
		Store: w.Store, Graphs: graphs, Starter: w, Place: place, Clock: clock, Log: log, NewID: w.newID,
		Quota: func(_ context.Context, _, _ string, otherwise int) int { return otherwise },
	}

	for _, f := range functions() {
		family := slices.DeleteFunc(slices.Clone(kinds), func(k kind.Kind) bool { return k.About().Family != f })
		w.workers[f] = &workflow.Worker{Store: w.Store, Kinds: family, Place: place, Clock: clock, Log: log}
	}

	w.AWS.Fault = func(ctx context.Context, c awsfake.Call) awsfake.Fault {
		return w.breakAWS(w.at(ctx, c.Service+"."+c.Operation))
	}
	w.Store.Fault = func(ctx context.Context, method string, _ deploy.Key) memory.Fault {
		return w.breakStore(w.at(ctx, "store."+method))
	}

	return w, nil
}

func logger() *slog.Logger {
	var out io.Writer = io.Discard
	if os.Getenv("METAFLOW_DEPLOYER_LOG") != "" {
		out = os.Stderr
	}

	return slog.New(slog.NewTextHandler(out, nil))
}

func (w *World) newID() string {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.ids++

	return fmt.Sprintf("%026d", w.ids)
}

type invocationKey struct{}

// at names the point of a call and asks what happens there. Calls from outside functions (a test's own look) are no points.
func (w *World) at(ctx context.Context, call string) Action {
	who, ok := ctx.Value(invocationKey{}).(string)
	if !ok {
		return None
	}

	w.mu.Lock()
	name := who + " " + call
	w.seen[name]++
	point := fmt.Sprintf("%s #%d", name, w.seen[name])
	w.points = append(w.points, point)
	w.mu.Unlock()

	if w.Fault == nil {
		return None
	}

	return w.Fault(point)
}

// Points lists every point that was passed so far.
func (w *World) Points() []string {
	w.mu.Lock()
	defer w.mu.Unlock()

	return slices.Clone(w.points)
}

// Start implements workflow.Starter.
func (w *World) Start(ctx context.Context, e workflow.Execution) error {
	name := fmt.Sprintf("%s-%d", e.Operation, e.Epoch)
	action := w.at(ctx, "sfn.StartExecution")

	if action == CrashBefore {
		panic(crash{})
	}

	if err := broken(action); err != nil && action != LoseAnswer {
		return err
	}

	w.mu.Lock()
	_, known := w.executions[name]

	if !known {
		w.executions[name] = true

		run, cancel := context.WithCancel(context.Background())
		w.cancels[name] = cancel

		w.wait.Go(func() { w.execute(run, name, e) })
	}
	w.mu.Unlock()

	if action == CrashAfter {
		panic(crash{})
	}

	return broken(action)
}

// Alive implements workflow.Starter.
func (w *World) Alive(_ context.Context, e workflow.Execution) (alive, known bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()

	alive, known = w.executions[fmt.Sprintf("%s-%d", e.Operation, e.Epoch)]

	return alive, known, nil
}

// Stop ends an execution from outside, as StopExecution does: functions that run go on.
func (w *World) Stop(e workflow.Execution) {
	w.mu.Lock()
	defer w.mu.Unlock()

	if cancel := w.cancels[fmt.Sprintf("%s-%d", e.Operation, e.Epoch)]; cancel != nil {
		cancel()
	}
}

func (w *World) execute(ctx context.Context, name string, e workflow.Execution) {
	input, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}

	_, err = w.machine.Run(ctx, input, w.Invoke, w.jitter, w.Trace)

	if err != nil && os.Getenv("METAFLOW_DEPLOYER_LOG") != "" {
		fmt.Fprintln(os.Stderr, "execution", name, err)
	}

	w.mu.Lock()
	w.executions[name] = false
	w.mu.Unlock()
}

// Invoke plays Lambda: one invocation in a goroutine of its own, its deadline in the context, a panic as a process that died.
func (w *World) Invoke(ctx context.Context, function string, payload json.RawMessage) (out json.RawMessage, err error) {
	var in workflow.Input
	if err := json.Unmarshal(payload, &in); err != nil {
		return nil, &asl.Error{Name: "States.Runtime", Cause: err.Error()}
	}

	who := strings.TrimSpace(fmt.Sprintf("%s %s", in.Verb, in.Resource))

	ctx, cancel := context.WithTimeout(context.WithValue(ctx, invocationKey{}, who), lambdaTimeout)
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
	if function == "workflow" {
		plan, err = w.conductor.Run(ctx, in)
	} else {
		err = w.workers[function].Run(ctx, in)
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
		_ = w.Call(ctx, "watchdog", w.Dog.Run)
	}

	return last, fmt.Errorf("%s is still %s after a day", key.Name, last.Phase)
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

	return act(context.WithValue(ctx, invocationKey{}, who))
}

// Root is the project's directory.
func Root() string {
	_, file, _, _ := runtime.Caller(0)

	return filepath.Join(filepath.Dir(file), "..", "..")
}
