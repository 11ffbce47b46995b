package workflow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// The Amazon States Language, as far as we use it: plain JSONPath, no Assign and no JSONata, so that it runs on every engine.
// https://states-language.net/spec.html
type (
	machine struct {
		Comment string
		StartAt string
		States  states
	}

	state struct {
		Comment        string         `json:",omitempty"`
		Type           string         `json:",omitempty"`
		Resource       string         `json:",omitempty"`
		Parameters     map[string]any `json:",omitempty"`
		TimeoutSeconds int            `json:",omitempty"`
		Seconds        int            `json:",omitempty"`
		ItemsPath      string         `json:",omitempty"`
		ItemSelector   map[string]any `json:",omitempty"`
		ItemProcessor  *processor     `json:",omitempty"`
		MaxConcurrency *int           `json:",omitempty"`
		Branches       []processor    `json:",omitempty"`
		Choices        []choice       `json:",omitempty"`
		Default        string         `json:",omitempty"`
		ResultPath     any            `json:",omitempty"`
		Retry          []retrier      `json:",omitempty"`
		Catch          []catcher      `json:",omitempty"`
		Next           string         `json:",omitempty"`
		End            bool           `json:",omitempty"`
	}

	processor struct {
		StartAt string
		States  states
	}

	choice struct {
		Variable      string
		BooleanEquals *bool  `json:",omitempty"`
		StringEquals  string `json:",omitempty"`
		Next          string
	}

	retrier struct {
		ErrorEquals     []string
		IntervalSeconds int
		BackoffRate     float64
		MaxDelaySeconds int
		MaxAttempts     int
		JitterStrategy  string `json:",omitempty"`
	}

	catcher struct {
		ErrorEquals []string
		ResultPath  any
		Next        string
	}
)

// states keeps its members in the order in which they were added: the file reads from top to bottom.
type states struct {
	names []string
	by    map[string]*state
}

func (s *states) add(name string, st *state) {
	if s.by == nil {
		s.by = map[string]*state{}
	}

	s.names, s.by[name] = append(s.names, name), st
}

// MarshalJSON writes the states in their order.
func (s states) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer

	b.WriteByte('{')

	for i, name := range s.names {
		if i > 0 {
			b.WriteByte(',')
		}

		fmt.Fprintf(&b, "%q:", name)

		v, err := json.Marshal(s.by[name])
		if err != nil {
			return nil, err
		}

		b.Write(v)
	}

	b.WriteByte('}')

	return b.Bytes(), nil
}

// null is a ResultPath that throws the result away: nothing that a function answers enters the state, so the state never grows.
type null struct{}

func (null) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// Names of the states that belong to no kind.
const (
	stateBegin  = "Begin"
	stateWhere  = "What first?"
	stateEnsure = "Ensure"
	stateSettle = "Settle"
	stateThen   = "What then?"
	stateRemove = "Remove"
	stateClose  = "Close"
	stateStop   = "Stop"
)

// taskSeconds is longer than any function's own Timeout, so that a task never ends while its function still works.
const taskSeconds = 90

// Compile writes the state machine for a graph of kinds, in the Amazon States Language. ${...} are filled in when it is deployed (template.yaml,
// DefinitionSubstitutions).
func Compile(g *Graphs) ([]byte, error) {
	m := machine{
		Comment: "Compiled from internal/workflow by `make generate`. Do not edit.",
		StartAt: stateBegin,
	}

	m.States.add(stateBegin, &state{
		Type: "Task", Comment: "Plans the operation onto the record and stamps every resource with the fence.",
		Resource: "${WorkflowFunctionArn}", Parameters: parameters(VerbBegin, "$.epoch"), TimeoutSeconds: taskSeconds,
		ResultPath: "$.plan", Retry: insist(), Next: stateWhere,
	})
	m.States.add(stateWhere, &state{
		Type: "Choice", Choices: []choice{turn(TurnEnsure, stateEnsure), turn(TurnRemove, stateRemove)}, Default: stateStop,
	})
	m.States.add(stateEnsure, &state{
		Type: "Parallel", Comment: "One branch for each chain of resources. A branch never fails.",
		Branches: branches(g, deploy.Ensure), ResultPath: null{}, Next: stateSettle,
		Catch: []catcher{{ErrorEquals: []string{"States.ALL"}, ResultPath: null{}, Next: stateSettle}},
	})
	m.States.add(stateSettle, &state{
		Type: "Task", Comment: "Did everything succeed? If not, turns the operation to rollback. An update is rolled back by ensuring what it found.",
		Resource: "${WorkflowFunctionArn}", Parameters: parameters(VerbSettle, "$.plan.epoch"), TimeoutSeconds: taskSeconds,
		ResultPath: "$.plan", Retry: insist(), Next: stateThen,
	})
	m.States.add(stateThen, &state{
		Type: "Choice", Choices: []choice{turn(TurnRemove, stateRemove), turn(TurnClose, stateClose), turn(TurnEnsure, stateEnsure)}, Default: stateStop,
	})
	m.States.add(stateRemove, &state{
		Type: "Parallel", Comment: "The way back has arrows of its own: see docs/architecture.md.",
		Branches: branches(g, deploy.Remove), ResultPath: null{}, Next: stateClose,
		Catch: []catcher{{ErrorEquals: []string{"States.ALL"}, ResultPath: null{}, Next: stateClose}},
	})
	m.States.add(stateClose, &state{
		Type: "Task", Comment: "Freezes the steps, sets the phase.",
		Resource: "${WorkflowFunctionArn}", Parameters: parameters(VerbClose, "$.plan.epoch"), TimeoutSeconds: taskSeconds,
		ResultPath: null{}, Retry: insist(), End: true,
	})
	m.States.add(stateStop, &state{Type: "Succeed", Comment: "Another operation or a newer execution has taken over."})

	var b bytes.Buffer

	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")

	if err := enc.Encode(m); err != nil {
		return nil, fmt.Errorf("write the state machine: %w", err)
	}

	return b.Bytes(), nil
}

func turn(t Turn, next string) choice {
	return choice{Variable: "$.plan.turn", StringEquals: string(t), Next: next}
}

// parameters are what every function gets: ids.
func parameters(v Verb, epoch string) map[string]any {
	return map[string]any{
		"verb": string(v), "installation.$": "$.installation", "tenant.$": "$.tenant", "deployment.$": "$.deployment",
		"operation.$": "$.operation", "epoch.$": epoch,
	}
}

func with(p map[string]any, key string, value any) map[string]any {
	p[key] = value

	return p
}

// branches makes one Parallel branch for each chain: a choice that costs nothing but a transition where nobody asked for it, then its kinds in turn.
func branches(g *Graphs, action deploy.Action) []processor {
	order := g.of(action)
	chains := order.Chains()
	list := make([]processor, 0, len(chains))

	for _, chain := range chains {
		var (
			title = title(action)
			first = fmt.Sprintf("%s %s?", title, chain[0])
			end   = fmt.Sprintf("%s %s: end", title, chain[0])
			write = fmt.Sprintf("%s %s: record", title, chain[0])
			yes   = true
			p     = processor{StartAt: first}
		)

		choices := []choice{{Variable: "$.plan.want." + variable(chain[0]), BooleanEquals: &yes, Next: title + " " + chain[0]}}

		// What the head of a chain needs of other chains usually takes a known time: sleep for it once, rather than ask in vain. Where nothing of that is
		// to be done (a rollback that never came to compute environments), nobody sleeps.
		if nap := patience(order, chain); nap >= napping {
			wait := fmt.Sprintf("%s %s: wait", title, chain[0])
			choices = append([]choice{{Variable: "$.plan.nap." + variable(chain[0]), BooleanEquals: &yes, Next: wait}}, choices...)
			p.States.add(wait, &state{Type: "Wait", Seconds: int(nap.Seconds()), Next: title + " " + chain[0]})
		}

		p.States.add(first, &state{Type: "Choice", Choices: choices, Default: end})

		for i, name := range chain {
			k, _ := g.Kinds.Find(name)

			next := ""
			if i+1 < len(chain) {
				next = title + " " + chain[i+1]
			}

			task := &state{
				Type: "Task", Resource: functionOf(k.About()), Parameters: with(parameters(verbOf(action), "$.plan.epoch"), "resource", name),
				TimeoutSeconds: taskSeconds, ResultPath: null{}, Retry: retriers(action),
				// A failure, too, is written down: what comes behind it in the chain is never begun, and other chains wait for it.
				Catch: catchers(end, write, Superseded), Next: next, End: next == "",
			}

			if k.About().Many {
				task = many(k.About(), action, task)
				task.Catch = []catcher{{ErrorEquals: []string{"States.ALL"}, ResultPath: "$.fault", Next: write}}
			}

			p.States.add(title+" "+name, task)
		}

		p.States.add(write, &state{
			Type: "Task", Comment: "Writes down what no worker could.",
			Resource:       "${WorkflowFunctionArn}",
			Parameters:     with(with(parameters(VerbRecord, "$.plan.epoch"), "kinds", chain), "fault.$", "$.fault"),
			TimeoutSeconds: taskSeconds, ResultPath: null{}, Retry: insist(), Catch: []catcher{{ErrorEquals: []string{"States.ALL"}, ResultPath: null{}, Next: end}},
			Next: end,
		})
		p.States.add(end, &state{Type: "Succeed"})

		list = append(list, p)
	}

	return list
}

// many wraps a task into a Map over the refs of a kind of which there may be several.
func many(about kind.About, action deploy.Action, task *state) *state {
	var (
		each  = fmt.Sprintf("%s each %s", title(action), about.Name)
		end   = each + ": end"
		write = each + ": record"
		all   = 0
		inner = processor{StartAt: each}
	)

	next := task.Next
	task.Next, task.End = "", true
	delete(task.Parameters, "resource")
	task.Parameters["resource.$"] = "$.resource"
	task.Catch = catchers(end, write, Failed, Superseded)

	inner.States.add(each, task)
	inner.States.add(write, &state{
		Type: "Task", Comment: "Writes down what no worker could.",
		Resource:       "${WorkflowFunctionArn}",
		Parameters:     with(with(parameters(VerbRecord, "$.plan.epoch"), "resource.$", "$.resource"), "fault.$", "$.fault"),
		TimeoutSeconds: taskSeconds, ResultPath: null{}, Retry: insist(), Catch: []catcher{{ErrorEquals: []string{"States.ALL"}, ResultPath: null{}, Next: end}},
		Next: end,
	})
	inner.States.add(end, &state{Type: "Succeed"})

	return &state{
		Type: "Map", ItemsPath: "$.plan.each." + variable(about.Name), MaxConcurrency: &all,
		ItemSelector: map[string]any{
			"installation.$": "$.installation", "tenant.$": "$.tenant", "deployment.$": "$.deployment", "operation.$": "$.operation",
			"plan": map[string]any{"epoch.$": "$.plan.epoch"}, "resource.$": "$$.Map.Item.Value",
		},
		ItemProcessor: &inner, ResultPath: null{}, Next: next, End: next == "",
	}
}

// catchers end the branch at once for those signals that leave nothing to write, and write down every other error first.
func catchers(end, write string, settled ...SignalName) []catcher {
	var names []string
	for _, s := range settled {
		names = append(names, string(s))
	}

	return []catcher{
		{ErrorEquals: names, ResultPath: null{}, Next: end},
		{ErrorEquals: []string{"States.ALL"}, ResultPath: "$.fault", Next: write},
	}
}

func title(a deploy.Action) string {
	if a == deploy.Remove {
		return "Remove"
	}

	return "Ensure"
}

func verbOf(a deploy.Action) Verb { return Verb(strings.ToLower(string(a))) }

// functionOf names the substitution of a family's function: "ec2" is ${Ec2FunctionArn}.
func functionOf(about kind.About) string {
	return "${" + strings.ToUpper(about.Family[:1]) + about.Family[1:] + "FunctionArn}"
}

// napping is the shortest expected wait that is worth a state of its own.
const napping = 3 * time.Second

// forever is a backstop only: the deadlines stand in the record.
const forever = 2000

// retriers let a step be asked again, each reason counted for itself. A retry is one transition where a loop of Wait, Task and Choice is three.
func retriers(action deploy.Action) []retrier {
	// While making, a person waits: look often. While removing, network interfaces may linger for 45 minutes: 60 s apart they fit into 2,500 events.
	ready := retrier{ErrorEquals: []string{string(NotReady)}, IntervalSeconds: 1, BackoffRate: 1.1, MaxDelaySeconds: 5, MaxAttempts: forever}
	if action == deploy.Remove {
		ready.BackoffRate, ready.MaxDelaySeconds = 1.5, 60
	}

	return append([]retrier{
		{ErrorEquals: []string{string(Waiting)}, IntervalSeconds: 2, BackoffRate: 1.3, MaxDelaySeconds: 20, MaxAttempts: forever},
		ready,
	}, stumbles(30)...)
}

// stumbles are the retriers for what is nobody's fault.
func stumbles(attempts int) []retrier {
	return []retrier{
		{ErrorEquals: []string{string(Throttled)}, IntervalSeconds: 2, BackoffRate: 2, MaxDelaySeconds: 60, MaxAttempts: attempts, JitterStrategy: "FULL"},
		{ErrorEquals: []string{string(Transient)}, IntervalSeconds: 1, BackoffRate: 2, MaxDelaySeconds: 30, MaxAttempts: attempts, JitterStrategy: "FULL"},
		// Lambda has no room for the function. That lasts as long as the storm, and whoever comes back soon makes it longer: docs/adr/0014.
		{
			ErrorEquals: []string{"Lambda.TooManyRequestsException"}, IntervalSeconds: 20, BackoffRate: 3, MaxDelaySeconds: 300, MaxAttempts: forever,
			JitterStrategy: "FULL",
		},
		// What the Lambda service itself throws: https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html
		{
			ErrorEquals: []string{
				"Lambda.ServiceException", "Lambda.AWSLambdaException", "Lambda.SdkClientException", "Lambda.ClientExecutionTimeoutException",
				"Lambda.Unknown", "Sandbox.Timedout", "Runtime.ExitError", "States.Timeout",
			},
			IntervalSeconds: 1, BackoffRate: 2, MaxDelaySeconds: 30, MaxAttempts: attempts, JitterStrategy: "FULL",
		},
	}
}

// insist retries whatever happens for a quarter of an hour: these states touch nothing but the table.
func insist() []retrier {
	return append([]retrier{
		{ErrorEquals: []string{string(NotReady)}, IntervalSeconds: 2, BackoffRate: 1.5, MaxDelaySeconds: 10, MaxAttempts: 100},
	}, append(stumbles(20), retrier{ErrorEquals: []string{"States.ALL"}, IntervalSeconds: 2, BackoffRate: 2, MaxDelaySeconds: 60, MaxAttempts: 18})...)
}
