package client

import (
	"bytes"
	"encoding/json"
	"time"
)

// Phase is the life of a deployment.
type Phase string

// The phases. CREATING lasts while a create rolls back; FAILED is a create that was rolled back whole; NEEDS_ATTENTION: something resisted.
const (
	Creating            Phase = "CREATING"
	Active              Phase = "ACTIVE"
	Updating            Phase = "UPDATING"
	Deleting            Phase = "DELETING"
	Deleted             Phase = "DELETED"
	Failed              Phase = "FAILED"
	PhaseNeedsAttention Phase = "NEEDS_ATTENTION"
)

// OperationState is how far an operation is.
type OperationState string

// The states of an operation. The last three are final.
const (
	Pending        OperationState = "PENDING"
	Running        OperationState = "RUNNING"
	RollingBack    OperationState = "ROLLING_BACK"
	Succeeded      OperationState = "SUCCEEDED"
	RolledBack     OperationState = "ROLLED_BACK"
	NeedsAttention OperationState = "NEEDS_ATTENTION"
)

// StepState is how far one step is.
type StepState string

// The states of a step. READY ends an ENSURE well, GONE and KEPT a REMOVE; SKIPPED was never begun, or is left behind on purpose; FAILED is final.
const (
	StepPending StepState = "PENDING"
	StepWaiting StepState = "WAITING"
	StepRunning StepState = "RUNNING"
	StepReady   StepState = "READY"
	StepGone    StepState = "GONE"
	StepSkipped StepState = "SKIPPED"
	StepKept    StepState = "KEPT"
	StepFailed  StepState = "FAILED"
)

// Deployment is one Metaflow environment.
type Deployment struct {
	Name       string            `json:"name"`
	Tenant     string            `json:"tenant"`
	Phase      Phase             `json:"phase"`
	Spec       Spec              `json:"spec"`
	Labels     map[string]string `json:"labels"`
	Region     string            `json:"region"`
	Account    string            `json:"account"`
	Owner      string            `json:"owner"`
	CreateTime time.Time         `json:"createTime"`
	UpdateTime time.Time         `json:"updateTime"`
	ExpireTime *time.Time        `json:"expireTime,omitempty"`
	// Operation is the id of the last operation.
	Operation string `json:"operation"`
	Resources Count  `json:"resources"`
	ETag      string `json:"etag"`

	Raw json.RawMessage `json:"-"`
}

// Count says how many resources there are.
type Count struct {
	Total int `json:"total"`
	Ready int `json:"ready"`
}

// Operation is one change that a caller asked for.
type Operation struct {
	ID         string `json:"id"`
	Deployment string `json:"deployment"`
	// Kind is CREATE, UPDATE, REPAIR, DELETE or VERIFY.
	Kind  string         `json:"kind"`
	State OperationState `json:"state"`
	Done  bool           `json:"done"`
	// Queued: it waits until fewer operations of the tenant are at work.
	Queued bool `json:"queued,omitempty"`
	// Version rises with every change.
	Version    int64      `json:"version"`
	Progress   Progress   `json:"progress"`
	Steps      []Step     `json:"steps"`
	Error      *Problem   `json:"error,omitempty"`
	CreateTime time.Time  `json:"createTime"`
	EndTime    *time.Time `json:"endTime,omitempty"`

	Raw json.RawMessage `json:"-"`
}

// Progress says how many steps are over.
type Progress struct {
	Done  int `json:"done"`
	Total int `json:"total"`
}

// Step is what an operation does to one resource.
type Step struct {
	Resource string `json:"resource"`
	Kind     string `json:"kind"`
	// Action is ENSURE or REMOVE.
	Action     string     `json:"action"`
	State      StepState  `json:"state"`
	WaitingFor string     `json:"waitingFor,omitempty"`
	Attempts   int        `json:"attempts"`
	StartTime  *time.Time `json:"startTime,omitempty"`
	EndTime    *time.Time `json:"endTime,omitempty"`
	Error      *Problem   `json:"error,omitempty"`
}

// Resource is one AWS object of a deployment.
type Resource struct {
	Ref  string `json:"ref"`
	Kind string `json:"kind"`
	ID   string `json:"id"`
	ARN  string `json:"arn"`
	// Origin is MADE, EXISTING, REUSED, SHARED or UNKNOWN.
	Origin    string    `json:"origin"`
	State     StepState `json:"state"`
	Needs     []string  `json:"needs"`
	LastError *Problem  `json:"lastError,omitempty"`

	Raw json.RawMessage `json:"-"`
}

// Kind is a resource kind on offer.
type Kind struct {
	Name string `json:"name"`
	Doc  string `json:"doc"`
	// Component is the member of the spec that its settings come from, Family the AWS service.
	Component string   `json:"component"`
	Family    string   `json:"family"`
	Needs     []string `json:"needs"`
	Many      bool     `json:"many"`
	// Settings is the JSON Schema of the component.
	Settings map[string]any `json:"settings"`

	Raw json.RawMessage `json:"-"`
}

// Orphan is a thing in AWS that no record knows.
type Orphan struct {
	Resource   string    `json:"resource"`
	Kind       string    `json:"kind"`
	ID         string    `json:"id"`
	ARN        string    `json:"arn"`
	Tenant     string    `json:"tenant"`
	Deployment string    `json:"deployment"`
	FirstSeen  time.Time `json:"firstSeen"`
	State      string    `json:"state"`
	Reason     string    `json:"reason"`

	Raw json.RawMessage `json:"-"`
}

// Entry is one line of the audit trail: who asked for what, with what outcome.
type Entry struct {
	ID         string    `json:"id"`
	Time       time.Time `json:"time"`
	Actor      string    `json:"actor"`
	Action     string    `json:"action"`
	Subject    string    `json:"subject,omitempty"`
	Deployment string    `json:"deployment,omitempty"`
	Operation  string    `json:"operation,omitempty"`
	Outcome    string    `json:"outcome"`
	Code       string    `json:"code,omitempty"`
	Detail     string    `json:"detail,omitempty"`

	Raw json.RawMessage `json:"-"`
}

// decode fills a noun and keeps what it was made of.
func decode[T any](b []byte, into *T, raw *json.RawMessage) error {
	if err := json.Unmarshal(b, into); err != nil {
		return err
	}

	*raw = bytes.Clone(b)

	return nil
}

func (d *Deployment) identity() string { return d.Name }
func (o *Operation) identity() string  { return o.ID }

// UnmarshalJSON keeps the whole answer in Raw.
func (d *Deployment) UnmarshalJSON(b []byte) error {
	type plain Deployment

	return decode(b, (*plain)(d), &d.Raw)
}

// UnmarshalJSON keeps the whole answer in Raw.
func (o *Operation) UnmarshalJSON(b []byte) error {
	type plain Operation

	return decode(b, (*plain)(o), &o.Raw)
}

// UnmarshalJSON keeps the whole answer in Raw.
func (r *Resource) UnmarshalJSON(b []byte) error {
	type plain Resource

	return decode(b, (*plain)(r), &r.Raw)
}

// UnmarshalJSON keeps the whole answer in Raw.
func (k *Kind) UnmarshalJSON(b []byte) error {
	type plain Kind

	return decode(b, (*plain)(k), &k.Raw)
}

// UnmarshalJSON keeps the whole answer in Raw.
func (o *Orphan) UnmarshalJSON(b []byte) error {
	type plain Orphan

	return decode(b, (*plain)(o), &o.Raw)
}

// UnmarshalJSON keeps the whole answer in Raw.
func (e *Entry) UnmarshalJSON(b []byte) error {
	type plain Entry

	return decode(b, (*plain)(e), &e.Raw)
}
