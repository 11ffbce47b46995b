package workflow_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

type (
	machine struct {
		StartAt string
		States  map[string]state
	}

	state struct {
		Type           string
		Resource       string
		Parameters     map[string]any
		TimeoutSeconds int
		ItemsPath      string
		ItemProcessor  *machine
		Branches       []machine
		Choices        []struct{ Variable, Next string }
		Default        string
		ResultPath     json.RawMessage
		Retry          []struct {
			ErrorEquals     []string
			IntervalSeconds int
			BackoffRate     float64
			MaxDelaySeconds int
			MaxAttempts     int
		}
		Catch []struct {
			ErrorEquals []string
			Next        string
		}
		Next string
		End  bool
	}
)

func compiled(t *testing.T) (machine, *workflow.Graphs) {
	t.Helper()

	_, all := kinds()

	graphs, err := workflow.NewGraphs(all)
	if err != nil {
		t.Fatal(err)
	}

	text, err := workflow.Compile(graphs)
	if err != nil {
		t.Fatal(err)
	}

	var m machine
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}

	return m, graphs
}

// walk visits every state of a machine and of what is inside it. Branch says whether the state stands inside a Parallel.
func (m machine) walk(branch bool, visit func(in machine, name string, s state, branch bool)) {
	for _, name := range slices.Sorted(maps.Keys(m.States)) {
		s := m.States[name]
		visit(m, name, s, branch)

		for _, b := range s.Branches {
			b.walk(true, visit)
		}

		if s.ItemProcessor != nil {
			s.ItemProcessor.walk(true, visit)
		}
	}
}

func (s state) nexts() []string {
	all := []string{s.Next, s.Default}
	for _, c := range s.Choices {
		all = append(all, c.Next)
	}

	for _, c := range s.Catch {
		all = append(all, c.Next)
	}

	return slices.DeleteFunc(all, func(n string) bool { return n == "" })
}

func TestEveryStateLeadsSomewhere(t *testing.T) {
	t.Parallel()

	m, _ := compiled(t)
	reached := map[string]bool{}

	m.walk(false, func(in machine, name string, s state, _ bool) {
		if _, ok := in.States[in.StartAt]; !ok {
			t.Errorf("%s starts nowhere", in.StartAt)
		}

		reached[in.StartAt] = true

		for _, n := range s.nexts() {
			if _, ok := in.States[n]; !ok {
				t.Errorf("%s leads to %s, which is not there", name, n)
			}

			reached[n] = true
		}

		if s.Type != "Choice" && s.Type != "Succeed" && s.End == (s.Next != "") {
			t.Errorf("%s must either end or go on", name)
		}
	})

	m.walk(false, func(_ machine, name string, _ state, _ bool) {
		if !reached[name] {
			t.Errorf("nothing leads to %s", name)
		}
	})
}

func TestStateNamesAreUniqueAndShort(t *testing.T) {
	t.Parallel()

	m, _ := compiled(t)
	seen := map[string]bool{}

	m.walk(false, func(_ machine, name string, _ state, _ bool) {
		if seen[name] || len(name) > 80 { // https://states-language.net/spec.html#states-fields
			t.Errorf("%q stands twice in the machine, or has more than 80 characters", name)
		}

		seen[name] = true
	})
}

// TestNothingGrows: what a function answers must not enter the state, or the history ends at 256 KiB.
func TestNothingGrows(t *testing.T) {
	t.Parallel()

	m, _ := compiled(t)
	m.walk(false, func(_ machine, name string, s state, _ bool) {
		want := "null"
		if name == "Begin" || name == "Settle" {
			want = `"$.plan"`
		}

		if (s.Type == "Task" || s.Type == "Parallel" || s.Type == "Map") && string(s.ResultPath) != want {
			t.Errorf("%s keeps its result at %s, want %s", name, s.ResultPath, want)
		}
	})
}

// TestBranchesNeverFail: AWS does not stop the functions of a failed Parallel, so that a rollback begun then would race creates in flight.
func TestBranchesNeverFail(t *testing.T) {
	t.Parallel()

	m, _ := compiled(t)
	m.walk(false, func(_ machine, name string, s state, branch bool) {
		if s.Type == "Fail" {
			t.Errorf("%s fails", name)
		}

		catches := slices.ContainsFunc(s.Catch, func(c struct {
			ErrorEquals []string
			Next        string
		},
		) bool {
			return slices.Contains(c.ErrorEquals, "States.ALL")
		})

		if (branch && (s.Type == "Task" || s.Type == "Map") || s.Type == "Parallel") && !catches {
			t.Errorf("%s catches not everything", name)
		}
	})
}

// TestEverySignalIsAnswered: each way in which a worker answers has a retrier of its own or ends the branch; what the Lambda service throws is retried.
func TestEverySignalIsAnswered(t *testing.T) {
	t.Parallel()

	m, _ := compiled(t)
	m.walk(false, func(_ machine, name string, s state, _ bool) {
		if s.Type != "Task" || s.Resource == "${WorkflowFunctionArn}" {
			return
		}

		retried := map[string]int{}

		for i, r := range s.Retry {
			for _, e := range r.ErrorEquals {
				retried[e] = i + 1
			}
		}

		seen := map[int]workflow.SignalName{}

		for _, signal := range workflow.SignalNames() {
			i, over := retried[string(signal)], signal == workflow.Failed || signal == workflow.Superseded
			if (i > 0) == over {
				t.Errorf("%s: %s is retried: %t", name, signal, i > 0)
			}

			if other := seen[i]; i > 0 && other != "" {
				t.Errorf("%s: %s and %s share a retrier, so that waiting for one uses up the other", name, signal, other)
			}

			seen[i] = signal
		}

		for _, e := range []string{"Lambda.ServiceException", "Lambda.TooManyRequestsException", "Lambda.Unknown", "Sandbox.Timedout", "Runtime.ExitError", "States.Timeout"} {
			if retried[e] == 0 {
				t.Errorf("%s does not retry %s", name, e)
			}
		}

		if s.TimeoutSeconds < 60 {
			t.Errorf("%s ends after %ds, while its function may still be at work", name, s.TimeoutSeconds)
		}
	})
}

// TestALingeringInterfaceFitsTheHistory: a network interface may hold a dozen resources for 45 minutes, and all their tries, of three events each
// (scheduled, started, failed), must fit into a tenth of the 25,000 events that an execution may have.
func TestALingeringInterfaceFitsTheHistory(t *testing.T) {
	t.Parallel()

	m, _ := compiled(t)
	m.walk(false, func(_ machine, name string, s state, _ bool) {
		if s.Parameters["verb"] != string(workflow.VerbRemove) {
			return
		}

		for _, r := range s.Retry {
			if !slices.Contains(r.ErrorEquals, string(workflow.NotReady)) {
				continue
			}

			passed, tries := 0.0, 0
			for wait := float64(r.IntervalSeconds); passed < 45*60; tries++ {
				passed += wait + 10 // the worker looks for 10 s itself
				wait = min(wait*r.BackoffRate, float64(r.MaxDelaySeconds))
			}

			if 12*3*tries > 2500 || tries > r.MaxAttempts {
				t.Errorf("%s tries %d times in 45 minutes, of %d", name, tries, r.MaxAttempts)
			}
		}
	})
}

// TestEveryStepIsDoneOnce: each kind stands in exactly one branch of each direction, and shared kinds are never removed.
func TestEveryStepIsDoneOnce(t *testing.T) {
	t.Parallel()

	m, graphs := compiled(t)
	got := map[string]int{}

	m.walk(false, func(_ machine, name string, s state, _ bool) {
		verb, _ := s.Parameters["verb"].(string)
		if verb != string(workflow.VerbEnsure) && verb != string(workflow.VerbRemove) {
			return
		}

		name = name[strings.LastIndex(name, " ")+1:]
		got[verb+" "+name]++

		k, _ := graphs.Kinds.Find(name)
		if k == nil {
			t.Errorf("%s is no kind", name)

			return
		}

		family := k.About().Family
		if want := "${" + strings.ToUpper(family[:1]) + family[1:] + "FunctionArn}"; s.Resource != want {
			t.Errorf("%s %s is done by %s, want %s", verb, name, s.Resource, want)
		}
	})

	want := map[string]int{}

	for _, k := range graphs.Kinds {
		want["ensure "+k.About().Name] = 1

		if !k.About().Shared {
			want["remove "+k.About().Name] = 1
		}
	}

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

// TestPathsAreAlwaysThere: a JSONPath that finds nothing fails the execution in a way that no Catch sees, so that every plan must answer every path.
func TestPathsAreAlwaysThere(t *testing.T) {
	t.Parallel()

	m, _ := compiled(t)

	plans := map[deploy.Action]workflow.Plan{}

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		b.put(t, deploy.Create, deploy.Pending, nil)

		plan, err := b.conductor.Run(t.Context(), input(workflow.VerbBegin, ""))
		if err != nil {
			t.Fatal(err)
		}

		plans[deploy.Ensure] = plan
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		b.put(t, deploy.Delete, deploy.Pending, nil) // nothing to remove: the emptiest plan

		plan, err := b.conductor.Run(t.Context(), input(workflow.VerbBegin, ""))
		if err != nil {
			t.Fatal(err)
		}

		plans[deploy.Remove] = plan
	})

	for title, plan := range map[string]workflow.Plan{"Ensure": plans[deploy.Ensure], "Remove": plans[deploy.Remove]} {
		for _, branch := range m.States[title].Branches {
			branch.walk(true, func(_ machine, name string, s state, _ bool) {
				for _, c := range s.Choices {
					_, wanted := plan.Want[strings.TrimPrefix(c.Variable, "$.plan.want.")]
					if _, napping := plan.Nap[strings.TrimPrefix(c.Variable, "$.plan.nap.")]; !wanted && !napping {
						t.Errorf("%s asks for %s, which the plan does not hold: %v", name, c.Variable, plan)
					}
				}

				if s.Type == "Map" && plan.Each[strings.TrimPrefix(s.ItemsPath, "$.plan.each.")] == nil {
					t.Errorf("%s asks for %s, which the plan does not hold: %v", name, s.ItemsPath, plan.Each)
				}
			})
		}
	}
}

func TestRemovalHasArrowsOfItsOwn(t *testing.T) {
	t.Parallel()

	_, graphs := compiled(t)

	want := map[string][]string{"bucket": nil, "role": {"env"}, "net": {"queue", "env"}, "env": {"queue"}, "queue": nil}

	got := map[string][]string{}
	for _, name := range graphs.Remove.Order() {
		got[name] = graphs.Remove.Needs(name)
	}

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what must be gone first (-want +got):\n%s", diff)
	}
}

func TestNeedsThatCannotBeOrdered(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason string
		change func(b bench)
	}{
		"Unknown":      {"nobody makes what it needs", func(b bench) { b.role.about.Needs = []string{"nothing"} }},
		"Cycle":        {"neither could ever begin", func(b bench) { b.role.about.Needs = []string{"queue"} }},
		"RemovalCycle": {"neither could ever go", func(b bench) { b.queue.about.RemoveAfter = []string{"net"} }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b, all := kinds()
			c.change(b)

			if _, err := workflow.NewGraphs(all); err == nil {
				t.Errorf("%s: want an error", c.reason)
			}
		})
	}
}

func TestStepsAreShownAsTheyStand(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)

		frozen := []deploy.NamedStep{{Resource: "net"}}
		if got := b.control.Graphs.Steps(deploy.Operation{State: deploy.Succeeded, Steps: frozen}, nil); !cmp.Equal(frozen, got, cmp.Comparer(sameError)) {
			t.Errorf("a finished operation shows what was frozen: got %+v", got)
		}

		type shown struct {
			Resource deploy.Ref
			Action   deploy.Action
			State    deploy.StepState
			For      string
		}

		other := but(fresh("bucket"), func(r *deploy.Resource) { r.Operation = "research-0" })
		rolling := but(made("net"), func(r *deploy.Resource) { r.Remove = &deploy.Step{State: deploy.StepPending} })
		used := but(made("env/a", "net", "role"), func(r *deploy.Resource) { r.Remove = &deploy.Step{State: deploy.StepRunning} })

		want := []shown{
			{"net", deploy.Ensure, deploy.StepReady, ""},
			{"env/a", deploy.Ensure, deploy.StepReady, ""},
			{"env/a", deploy.Remove, deploy.StepRunning, ""},
			{"net", deploy.Remove, deploy.StepWaiting, "env/a"},
		}

		var got []shown
		for _, s := range b.control.Graphs.Steps(deploy.Operation{ID: operation, State: deploy.RollingBack}, []deploy.Resource{rolling, other, used}) {
			got = append(got, shown{s.Resource, s.Action, s.State, s.WaitingFor})
		}

		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("steps (-want +got):\n%s", diff)
		}
	})
}
