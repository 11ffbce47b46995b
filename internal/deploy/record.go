package deploy

import "time"

// Phase is the life of a deployment as its owner sees it.
type Phase string

// The phases. CREATING lasts while a create rolls back; FAILED is a create that was rolled back whole; NEEDS_ATTENTION means something resisted.
const (
	PhaseCreating       Phase = "CREATING"
	PhaseActive         Phase = "ACTIVE"
	PhaseUpdating       Phase = "UPDATING"
	PhaseDeleting       Phase = "DELETING"
	PhaseDeleted        Phase = "DELETED"
	PhaseFailed         Phase = "FAILED"
	PhaseNeedsAttention Phase = "NEEDS_ATTENTION"
)

// Vacant tells whether a name in this phase may be taken by a new create.
func (p Phase) Vacant() bool { return p == PhaseDeleted || p == PhaseFailed }

// Expires is when a deployment is deleted unless somebody extends it; zero for never, and for one of which nothing is there any more.
func (d Deployment) Expires() time.Time {
	if d.Phase.Vacant() {
		return time.Time{}
	}

	return d.ExpireTime
}

// OperationKind is what a caller asked for.
type OperationKind string

// The operations on offer. Repair brings back what drifted; Verify proves with a probe job that the environment works.
const (
	Create OperationKind = "CREATE"
	Update OperationKind = "UPDATE"
	Repair OperationKind = "REPAIR"
	Delete OperationKind = "DELETE"
	Verify OperationKind = "VERIFY"
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

// Done tells whether the state is final.
func (s OperationState) Done() bool {
	return s == Succeeded || s == RolledBack || s == NeedsAttention
}

// Action is what an operation does to one resource.
type Action string

// The two actions.
const (
	Ensure Action = "ENSURE"
	Remove Action = "REMOVE"
)

// StepState is how far one step is.
type StepState string

// The states of a step. READY ends an ENSURE well, GONE and KEPT a REMOVE; SKIPPED was never begun because something before it failed; FAILED is final.
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

// Done tells whether the state is final.
func (s StepState) Done() bool {
	switch s {
	case StepReady, StepGone, StepSkipped, StepKept, StepFailed:
		return true
	case StepPending, StepWaiting, StepRunning:
		return false
	}

	return false
}

// Origin says how a resource came to be this deployment's.
type Origin string

const (
	// Made by this deployment: removed with it.
	Made Origin = "MADE"
	// Existing: named by the owner in the spec; used, never changed, never removed.
	Existing Origin = "EXISTING"
	// Reused: a bucket that an earlier delete of this deployment kept; a rollback leaves it.
	Reused Origin = "REUSED"
	// Shared: belongs to the account (a service-linked role); made if absent, never removed.
	Shared Origin = "SHARED"
)

// Step is what the current operation did to one resource.
type Step struct {
	State      StepState `json:"state"`
	WaitingFor string    `json:"waitingFor,omitempty"`
	Attempts   int       `json:"attempts"`
	StartTime  time.Time `json:"startTime,omitzero"`
	// ProgressTime is the last time the work visibly advanced; a purge's deadline counts from it.
	ProgressTime time.Time `json:"progressTime,omitzero"`
	EndTime      time.Time `json:"endTime,omitzero"`
	Error        *Error    `json:"error,omitempty"`
	// LeftBehind: an admin decided to go on without this step. What was to be removed stays in AWS with its tags; what was to be mended stays as it is.
	LeftBehind bool `json:"leftBehind,omitempty"`
}

// Data says what a delete does with a bucket that we made.
type Data string

// The policies. Keep is a delete's default; IfEmpty is what a rollback does: what nobody has written to goes, anything else stays.
const (
	Keep    Data = "keep"
	Purge   Data = "purge"
	IfEmpty Data = "if-empty"
)

// Key names a deployment within the installation. Tenants do not see each other's names.
type Key struct {
	Tenant string `json:"tenant"`
	Name   string `json:"name"`
}

// Deployment is the header of a record.
type Deployment struct {
	Key
	Phase      Phase             `json:"phase"`
	Spec       Spec              `json:"spec"`
	Labels     map[string]string `json:"labels,omitempty"`
	Account    string            `json:"account"`
	Region     string            `json:"region"`
	Owner      string            `json:"owner"`
	CreateTime time.Time         `json:"createTime"`
	UpdateTime time.Time         `json:"updateTime"`
	// Operation is the id of the newest operation; Epoch counts the executions that have worked on it. Together they are the fence.
	Operation string `json:"operation"`
	Epoch     int    `json:"epoch"`
	// Unfinished is set while the operation runs: what the watchdog looks for. CheckTime is when it looks next.
	Unfinished bool      `json:"unfinished"`
	CheckTime  time.Time `json:"checkTime,omitzero"`
	// Queued: the operation is admitted and waits until the tenant may have another one at work.
	Queued bool `json:"queued,omitempty"`
	// ExpireTime is when the deployment is deleted without anybody asking again, zero for never. Warned counts the warnings given before it.
	ExpireTime time.Time `json:"expireTime,omitzero"`
	Warned     int       `json:"warned,omitempty"`
	// Counts is what this deployment counts for in its tenant's usage.
	Counts Usage `json:"counts,omitzero"`
	// Sequence counts the events of this name, through all its lives.
	Sequence int64 `json:"sequence,omitempty"`
	// Total and Ready count resources; frozen by Close for lists.
	Total   int   `json:"total"`
	Ready   int   `json:"ready"`
	Version int64 `json:"version"`
}

// Operation is one change that a caller asked for. Steps are frozen into it when it ends; until then they stand on the resources.
type Operation struct {
	ID         string         `json:"id"`
	Key        Key            `json:"key"`
	Kind       OperationKind  `json:"kind"`
	State      OperationState `json:"state"`
	Data       Data           `json:"data,omitempty"`
	Actor      string         `json:"actor"`
	CreateTime time.Time      `json:"createTime"`
	EndTime    time.Time      `json:"endTime,omitzero"`
	Error      *Error         `json:"error,omitempty"`
	Steps      []NamedStep    `json:"steps,omitempty"`
	// Before is what an update changes: what its rollback returns to. Restored: the deployment is that again.
	Before   *Before `json:"before,omitempty"`
	Restored bool    `json:"restored,omitempty"`
	// Probe: a probe job must succeed before the operation does.
	Probe bool `json:"probe,omitempty"`
	// Was is the phase in which a repair found the deployment, to which it returns if it is cancelled.
	Was Phase `json:"was,omitempty"`
	// TurnedAt is the epoch whose Settle turned the operation to rollback; a repeated Settle recognises its own turn by it.
	TurnedAt int `json:"turnedAt,omitempty"`
	// SteeredAt is the epoch under which somebody last cancelled, resumed or skipped: from there the executions are counted that it may use up.
	SteeredAt int `json:"steeredAt,omitempty"`
	// FrozenVersion is the version that a finished operation keeps showing.
	FrozenVersion int64 `json:"frozenVersion,omitempty"`
	Version       int64 `json:"version"`
}

// Before is what an update found.
type Before struct {
	Spec   Spec              `json:"spec"`
	Labels map[string]string `json:"labels,omitempty"`
	// ExpireTime and Warned are the expiry that the update put another in place of, and Replaced is that other one; zero where it left the expiry alone.
	ExpireTime time.Time `json:"expireTime,omitzero"`
	Warned     int       `json:"warned,omitempty"`
	Replaced   time.Time `json:"replaced,omitzero"`
}

// NamedStep is a step with what it is about.
type NamedStep struct {
	Resource Ref    `json:"resource"`
	Kind     string `json:"kind"`
	Action   Action `json:"action"`
	Step
}

// Resource is one AWS object of a deployment, as the store knows it.
type Resource struct {
	Ref    Ref    `json:"ref"`
	Origin Origin `json:"origin,omitempty"`
	// MadeBy is the operation whose intent stands here; its rollback removes the resource.
	MadeBy string `json:"madeBy,omitempty"`
	// Intent is when that intent was written; zero means that AWS was never asked for it.
	Intent     time.Time `json:"intent,omitzero"`
	Generation string    `json:"generation,omitempty"`
	// Replaces is the ref (Ref.Past) of the thing whose place this one takes in the current operation.
	Replaces Ref   `json:"replaces,omitempty"`
	Needs    []Ref `json:"needs,omitempty"`
	// Kept: a delete left it behind on purpose; it outlives its deployment's record of everything else.
	Kept bool `json:"kept,omitempty"`
	// ID and ARN are AWS's. Outputs are what other resources and the configuration need of it. Memo is the kind's own notebook between invocations.
	ID      string            `json:"id,omitempty"`
	ARN     string            `json:"arn,omitempty"`
	Outputs map[string]string `json:"outputs,omitempty"`
	Memo    map[string]string `json:"memo,omitempty"`
	// Operation and Epoch are the fence; BusyUntil is the deadline of the invocation that acts now.
	Operation  string    `json:"operation"`
	Epoch      int       `json:"epoch"`
	BusyUntil  time.Time `json:"busyUntil,omitzero"`
	Ensure     *Step     `json:"ensure,omitempty"`
	Remove     *Step     `json:"remove,omitempty"`
	UpdateTime time.Time `json:"updateTime"`
	Version    int64     `json:"version"`
}

// Step returns the resource's step for an action, or nil.
func (r *Resource) Step(a Action) *Step {
	if a == Remove {
		return r.Remove
	}

	return r.Ensure
}

// Role is what a principal may do.
type Role string

// The roles, each including the ones before it.
const (
	Viewer   Role = "viewer"
	Deployer Role = "deployer"
	Admin    Role = "admin"
)

// Principal is who calls, from verified claims only.
type Principal struct {
	Tenant string
	Actor  string
	Roles  []Role
}

// Can tells whether the principal has at least a role.
func (p Principal) Can(role Role) bool {
	rank := map[Role]int{Viewer: 1, Deployer: 2, Admin: 3}
	for _, r := range p.Roles {
		if rank[r] >= rank[role] {
			return true
		}
	}

	return false
}
