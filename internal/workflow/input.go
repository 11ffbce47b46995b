package workflow

import "github.com/metaflow-deployer/metaflow-deployer/internal/deploy"

// Verb is what a state asks its function to do.
type Verb string

// The verbs of the states.
const (
	VerbBegin  Verb = "begin"
	VerbEnsure Verb = "ensure"
	VerbRemove Verb = "remove"
	VerbRecord Verb = "record"
	VerbSettle Verb = "settle"
	VerbClose  Verb = "close"
)

// Execution is the input of the state machine: ids only, nothing secret and nothing large.
type Execution struct {
	Installation string `json:"installation"`
	Tenant       string `json:"tenant"`
	Deployment   string `json:"deployment"`
	Operation    string `json:"operation"`
	Epoch        int    `json:"epoch"`
}

// Key is the deployment's.
func (e Execution) Key() deploy.Key { return deploy.Key{Tenant: e.Tenant, Name: e.Deployment} }

// Input is what a state hands to its function.
type Input struct {
	Verb Verb `json:"verb"`
	Execution
	// Resource is what an ensure or remove is about.
	Resource deploy.Ref `json:"resource,omitempty"`
	// Kinds and Fault are what a record is about: the kinds of the chain that broke, and what Step Functions caught.
	Kinds []string `json:"kinds,omitempty"`
	Fault *Fault   `json:"fault,omitempty"`
}

// Fault is what Step Functions hands to a Catch.
type Fault struct {
	Error string `json:"Error"` //nolint:tagliatelle // Step Functions' own spelling
	Cause string `json:"Cause"` //nolint:tagliatelle // Step Functions' own spelling
}

// Turn is the next phase of an execution.
type Turn string

// Where Begin and Settle send the execution.
const (
	TurnEnsure Turn = "ensure"
	TurnRemove Turn = "remove"
	TurnClose  Turn = "close"
	TurnStop   Turn = "stop"
)

// Plan is the answer of Begin and Settle, which the machine keeps as $.plan.
type Plan struct {
	Turn  Turn `json:"turn"`
	Epoch int  `json:"epoch"`
	// Want says for each chain, by its head, whether anything in it is to be done, Nap whether its head has anything of other chains to wait for; Each lists
	// the refs of the kinds of which there may be several. They hold every kind that may be a head in any definition, because a JSONPath that finds nothing
	// fails the execution.
	Want map[string]bool         `json:"want,omitempty"`
	Nap  map[string]bool         `json:"nap,omitempty"`
	Each map[string][]deploy.Ref `json:"each,omitempty"`
}
