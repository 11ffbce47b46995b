package deploy

import "time"

// EventType says what an event tells.
type EventType string

// The types of events. A change is one of the deployment's phase or of its operation's state; an expiry is a warning before a deployment is deleted
// because its time is over.
const (
	EventChanged  EventType = "deployment.changed"
	EventExpiring EventType = "deployment.expiring"
)

// Event is one thing that happened to a deployment, as it leaves the product: on the event bus and to webhooks. It is written with the change that it
// tells of, and never changed. Receivers may see it twice; ID tells so, and Sequence puts the events of one deployment in order.
type Event struct {
	ID       string    `json:"id"`
	Sequence int64     `json:"sequence"`
	Type     EventType `json:"type"`
	Time     time.Time `json:"time"`
	Key
	Phase Phase `json:"phase"`
	// Operation is the one at work, or the last one.
	Operation  string         `json:"operation"`
	Kind       OperationKind  `json:"kind"`
	State      OperationState `json:"state"`
	Error      *Error         `json:"error,omitempty"`
	ExpireTime time.Time      `json:"expireTime,omitzero"`
}

// Entry is one line of a tenant's audit trail: who asked for what, and with what outcome. It is never changed and never removed.
type Entry struct {
	// ID sorts by time.
	ID     string    `json:"id"`
	Time   time.Time `json:"time"`
	Tenant string    `json:"tenant"`
	// Actor is who asked; the product itself where a time had come.
	Actor string `json:"actor"`
	// Action is what was asked for: the kind of an operation, or cancel, resume, skip, extend, allow, withdraw, subscribe, unsubscribe.
	Action string `json:"action"`
	// Subject is what it was asked of, if it is no deployment: a grant, a webhook.
	Subject    string  `json:"subject,omitempty"`
	Deployment string  `json:"deployment,omitempty"`
	Operation  string  `json:"operation,omitempty"`
	Outcome    Outcome `json:"outcome"`
	// Code is the stable code of the error, for an outcome other than success.
	Code string `json:"code,omitempty"`
	// Detail says more in a few words: the resource that was skipped, the new expiry.
	Detail string `json:"detail,omitempty"`
}

// Outcome is what became of what was asked for.
type Outcome string

// The outcomes. Admitted is followed by the state in which the operation ends; Done needs no operation; Refused changed nothing.
const (
	OutcomeAdmitted Outcome = "ADMITTED"
	OutcomeDone     Outcome = "DONE"
	OutcomeRefused  Outcome = "REFUSED"
)

// Usage is how much of the installation a tenant has in use, or may have.
type Usage struct {
	// Deployments that are not deleted or failed, Operations at work, vCPUs that the compute environments may grow to together.
	Deployments int `json:"deployments"`
	Operations  int `json:"operations"`
	VCPUs       int `json:"vcpus"`
}

// Plus adds up.
func (u Usage) Plus(v Usage) Usage {
	return Usage{Deployments: u.Deployments + v.Deployments, Operations: u.Operations + v.Operations, VCPUs: u.VCPUs + v.VCPUs}
}

// Minus is the difference of two usages.
func (u Usage) Minus(v Usage) Usage {
	return Usage{Deployments: u.Deployments - v.Deployments, Operations: u.Operations - v.Operations, VCPUs: u.VCPUs - v.VCPUs}
}

// Limits says how much tenants may have in use; zero is without limit.
type Limits struct {
	Default Usage            `json:"default"`
	Tenants map[string]Usage `json:"tenants,omitempty"`
}

// Of is the limit of one tenant: its own where it has one, with nothing of the default mixed in.
func (l Limits) Of(tenant string) Usage {
	if own, ok := l.Tenants[tenant]; ok {
		return own
	}

	return l.Default
}

// VCPUs is how far the environments of a spec, defaults filled in, may grow together.
func (s Spec) VCPUs() int {
	sum := 0
	for _, e := range s.Compute.Environments {
		sum += e.MaxVcpus
	}

	return sum
}

// GrantKind is what sort of thing a grant speaks of.
type GrantKind string

// The kinds of grants: things that a deployment did not make and that its spec may name only if they are tagged for the tenant or allowed by an admin; and
// the AWS account whose CloudFormation stacks act for the tenant.
const (
	GrantBucket       GrantKind = "bucket"
	GrantRole         GrantKind = "role"
	GrantStackAccount GrantKind = "stack-account"
)

// Grant is an admin's allowance for a tenant.
type Grant struct {
	Tenant string    `json:"tenant"`
	Kind   GrantKind `json:"kind"`
	// Value is the name of the bucket, the ARN of the role, the number of the account.
	Value string    `json:"value"`
	Actor string    `json:"actor"`
	Time  time.Time `json:"time"`
	// Key stands for the Idempotency-Key of the request, empty if it had none.
	Key string `json:"key,omitempty"`
}

// Webhook is where a tenant wants its events sent.
type Webhook struct {
	ID     string    `json:"id"`
	Tenant string    `json:"tenant"`
	URL    string    `json:"url"`
	Actor  string    `json:"actor"`
	Time   time.Time `json:"time"`
	// Secret signs what is sent. It is shown once, when the webhook is made.
	Secret string `json:"secret"`
}

// Callback is an answer that a CloudFormation stack waits for.
type Callback struct {
	Key
	Operation string `json:"operation"`
	// RequestID is CloudFormation's own and unique.
	RequestID         string    `json:"requestId"`
	RequestType       string    `json:"requestType"`
	StackID           string    `json:"stackId"`
	LogicalResourceID string    `json:"logicalResourceId"`
	PhysicalID        string    `json:"physicalId"`
	Deadline          time.Time `json:"deadline"`
	// Request is what is asked for, in the words of whoever noted it: until there is an operation it is tried again.
	Request string `json:"request,omitempty"`
	// ResponseURL is a capability: whoever has it can answer for the resource. It is never logged and never shown.
	ResponseURL string `json:"responseUrl"`
}
