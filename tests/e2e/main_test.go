// Package e2e shows the whole product at work: the template with its functions, state machine, table and front door, on the emulator that `make run`
// starts. Tests speak HTTP to the API, break AWS through the endpoint's rules, and look at what AWS has with the SDK of the person at this computer.
//
// It must not know how the product does what it does: what a test expects stands in the API's contract, and what AWS calls there are to break is read from
// the journal of a deployment that went well.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsproxy"
)

// parallel is how many worlds run side by side. They mostly wait; more of them would wait for the processors.
const parallel = "20"

// emulators are how many moto processes share the work: moto is Python, and one uses one core. The world of the generated requests keeps one of them busy.
const emulators = 3

// stacks are started by the first test that asks, and ended by TestMain.
type stacks struct {
	once   sync.Once
	all    []*local.Stack
	states []string
	err    error
	next   atomic.Int64
}

// shared is the only global: a package's tests have no other way to share what TestMain ends.
var shared stacks

func TestMain(m *testing.M) {
	flag.Parse()

	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })

	if !given {
		_ = flag.Set("test.parallel", parallel) // the flag is there: testing declares it
	}

	code := m.Run()

	for _, s := range shared.all {
		_ = s.Close()
	}

	for _, dir := range shared.states {
		_ = os.RemoveAll(dir)
	}

	os.Exit(code)
}

// start runs the emulators once for all tests.
func start(t *testing.T) []*local.Stack {
	t.Helper()

	venv, built := os.Getenv("METAFLOW_DEPLOYER_VENV"), os.Getenv("METAFLOW_DEPLOYER_LOCAL")
	if venv == "" || built == "" {
		t.Skip("METAFLOW_DEPLOYER_VENV and METAFLOW_DEPLOYER_LOCAL do not name what `make local-stack` makes; `make test` sets them")
	}

	shared.once.Do(func() { shared.all, shared.err = startAll(venv, built) })

	if shared.err != nil {
		t.Fatal(shared.err)
	}

	return shared.all
}

func startAll(venv, built string) ([]*local.Stack, error) {
	level := slog.LevelError
	if testing.Verbose() {
		level = slog.LevelWarn
	}

	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()

	var all []*local.Stack

	for i := range emulators {
		state, err := os.MkdirTemp("", fmt.Sprintf("metaflow-deployer-e2e-%d-", i))
		if err != nil {
			return all, err
		}

		shared.states = append(shared.states, state)

		s, err := local.Start(ctx, local.Options{
			Root: filepath.Join("..", ".."), Functions: filepath.Join(built, "functions"), Venv: venv, State: state, WaitFactor: 0.01,
			Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
		})
		if err != nil {
			return all, err
		}

		all = append(all, s)
	}

	return all, nil
}

// world is an account with a copy of the product, for one test alone.
type world struct {
	*testing.T
	*local.World

	stack *local.Stack
	token string
	aws   clients
}

// newWorld makes a world that ends with its test.
func newWorld(t *testing.T) *world {
	t.Helper()

	return newWorldWith(t, nil)
}

// newWorldWith makes one whose template has these parameters.
func newWorldWith(t *testing.T, parameters map[string]string) *world {
	t.Helper()

	all := start(t)
	n := shared.next.Add(1)
	stack := all[int(n)%len(all)]

	inner, err := stack.World(t.Context(), fmt.Sprintf("%012d", 200000000000+n), parameters)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(inner.Close)

	w := &world{T: t, World: inner, stack: stack, aws: newClients(stack.AWS(inner.Account))}

	w.token, err = stack.Token("research", "deployer")
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		if t.Failed() {
			w.explain()
		}
	})

	return w
}

// calls is the journal of the world's account.
func (w *world) calls() []awsproxy.Call {
	var out []awsproxy.Call

	for _, c := range w.stack.Proxy().Calls() {
		if c.Account == w.Account {
			out = append(out, c)
		}
	}

	return out
}

// explain shows the end of the journal of a test that failed.
func (w *world) explain() {
	calls := w.calls()
	for _, c := range calls[max(0, len(calls)-60):] {
		if c.Function != "user" {
			w.Logf("%s %s %s %s %s %d %s %s", c.Time.Format("15:04:05.000"), c.Function, c.Service, c.Action, c.Target, c.Status, c.Code, c.Rule)
		}
	}
}
