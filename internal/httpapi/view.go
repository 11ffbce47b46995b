package httpapi

import (
	"strconv"
	"strings"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

// Deployment is a deployment as callers see it.
type Deployment struct {
	Name       string            `json:"name" doc:"Chosen by its creator; belongs to the tenant"`
	Tenant     string            `json:"tenant" doc:"The caller's when it was created"`
	Phase      deploy.Phase      `json:"phase" enum:"CREATING,ACTIVE,UPDATING,DELETING,DELETED,FAILED,NEEDS_ATTENTION" doc:"FAILED: a create that was rolled back whole, the name is free. NEEDS_ATTENTION: something resisted"`
	Spec       deploy.Spec       `json:"spec" doc:"What was asked for, with every default filled in"`
	Labels     map[string]string `json:"labels" doc:"The callers' own; lists can be filtered by them. They are not put on AWS's resources, as spec.tags are"`
	Region     string            `json:"region"`
	Account    string            `json:"account"`
	Owner      string            `json:"owner" doc:"Who created it"`
	CreateTime time.Time         `json:"createTime"`
	UpdateTime time.Time         `json:"updateTime" doc:"When its record was last written"`
	ExpireTime *time.Time        `json:"expireTime,omitempty" doc:"When it is deleted unless somebody extends it; a bucket with data is kept"`
	Operation  string            `json:"operation" doc:"Id of the last operation"`
	Resources  Count             `json:"resources"`
	ETag       string            `json:"etag" doc:"Changes when the deployment does"`
}

// Count says how many resources there are.
type Count struct {
	Total int `json:"total"`
	Ready int `json:"ready" doc:"Those that are as the spec wants them"`
}

// Operation is an operation as callers see it.
type Operation struct {
	ID         string                `json:"id"`
	Deployment string                `json:"deployment"`
	Kind       deploy.OperationKind  `json:"kind" enum:"CREATE,UPDATE,REPAIR,DELETE,VERIFY"`
	State      deploy.OperationState `json:"state" enum:"PENDING,RUNNING,ROLLING_BACK,SUCCEEDED,ROLLED_BACK,NEEDS_ATTENTION" doc:"ROLLING_BACK: something failed, and what was made is being taken away again. ROLLED_BACK: that is over. NEEDS_ATTENTION: something resisted; :resume tries again, :skip leaves it behind"`
	Done       bool                  `json:"done" doc:"It will not change any more, unless it needs attention and is resumed"`
	Queued     bool                  `json:"queued,omitempty" doc:"It waits until fewer operations of the tenant are at work"`
	Version    int64                 `json:"version" doc:"Rises with every change; for ?after="`
	Progress   Progress              `json:"progress"`
	Steps      []Step                `json:"steps" doc:"What the operation does, in the order of doing"`
	Error      *Problem              `json:"error,omitempty" doc:"Why it did not succeed, or is being rolled back"`
	CreateTime time.Time             `json:"createTime"`
	EndTime    *time.Time            `json:"endTime,omitempty" doc:"Left out while it is not done"`
}

// Progress says how far an operation is.
type Progress struct {
	Done  int `json:"done" doc:"Steps that are over, whatever came of them"`
	Total int `json:"total" doc:"Steps that are known so far: a rollback adds its own"`
}

// Step is what an operation does to one resource.
type Step struct {
	Resource   deploy.Ref       `json:"resource"`
	Kind       string           `json:"kind"`
	Action     deploy.Action    `json:"action" enum:"ENSURE,REMOVE" doc:"ENSURE makes it, or brings it to what the spec wants"`
	State      deploy.StepState `json:"state" enum:"PENDING,WAITING,RUNNING,READY,GONE,SKIPPED,KEPT,FAILED" doc:"WAITING for another step, RUNNING where AWS is at it. READY, GONE, KEPT (a bucket that stays with its data), SKIPPED (something before it failed, or an admin said :skip) and FAILED are the end"`
	WaitingFor string           `json:"waitingFor,omitempty" doc:"A resource, or what AWS is still doing"`
	Attempts   int              `json:"attempts" doc:"Invocations that worked on it"`
	StartTime  *time.Time       `json:"startTime,omitempty"`
	EndTime    *time.Time       `json:"endTime,omitempty"`
	Error      *Problem         `json:"error,omitempty"`
}

// Resource is a resource as callers see it.
type Resource struct {
	Ref       deploy.Ref       `json:"ref" doc:"Its kind, and an id for kinds of which there may be several"`
	Kind      string           `json:"kind"`
	ID        string           `json:"id" doc:"AWS's id; empty while there is none"`
	ARN       string           `json:"arn" doc:"Empty while there is none, and for kinds that have none"`
	Origin    deploy.Origin    `json:"origin" enum:"MADE,EXISTING,REUSED,SHARED,UNKNOWN" doc:"MADE by this deployment and removed with it; EXISTING is named in the spec; REUSED was kept by an earlier delete; SHARED belongs to the account; UNKNOWN while nothing was done for it"`
	State     deploy.StepState `json:"state" enum:"PENDING,WAITING,RUNNING,READY,GONE,SKIPPED,KEPT,FAILED" doc:"That of the last step for it"`
	Needs     []deploy.Ref     `json:"needs" doc:"The resources that it is made from or lives in"`
	LastError *Problem         `json:"lastError,omitempty"`
}

func (s *server) deploymentView(d deploy.Deployment, count Count) Deployment {
	return Deployment{
		Name: d.Name, Tenant: d.Tenant, Phase: d.Phase, Spec: d.Spec, Labels: orEmpty(d.Labels), Region: d.Region, Account: d.Account, Owner: d.Owner,
		CreateTime: d.CreateTime.UTC(), UpdateTime: d.UpdateTime.UTC(), ExpireTime: moment(d.Expires()), Operation: d.Operation, Resources: count, ETag: etag(d),
	}
}

// etag is the version of the header: it changes with spec, labels, phase and operation. While an operation runs, counts change without it; so nothing
// answers 304 then.
func etag(d deploy.Deployment) string { return `"` + strconv.FormatInt(d.Version, 10) + `"` }

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}

	return m
}

// count is live while an operation runs, and what Close froze otherwise.
func count(record *store.Record) Count {
	if !record.Deployment.Unfinished {
		return Count{Total: record.Deployment.Total, Ready: record.Deployment.Ready}
	}

	c := Count{Total: len(record.Resources)}

	for i := range record.Resources {
		if r := &record.Resources[i]; stateOf(r) == deploy.StepReady {
			c.Ready++
		}
	}

	return c
}

// current shows the operation that a record stands at, live.
func (s *server) current(record *store.Record) Operation {
	op := record.Operation
	version := record.Version()

	if op.State.Done() {
		version = op.FrozenVersion
	}

	v := operationView(op, s.Graphs.Steps(op, record.Resources), version)
	v.Queued = record.Deployment.Queued

	return v
}

func operationView(op deploy.Operation, steps []deploy.NamedStep, version int64) Operation {
	v := Operation{
		ID: op.ID, Deployment: op.Key.Name, Kind: op.Kind, State: op.State, Done: op.State.Done(), Version: version, Steps: []Step{},
		Error: errorView(op.Error, op.ID), CreateTime: op.CreateTime.UTC(), EndTime: moment(op.EndTime),
	}

	if v.Error != nil && op.State == deploy.NeedsAttention {
		at := "POST /v1/operations/" + op.ID
		v.Error.Remedy = strings.TrimSpace(v.Error.Remedy + " Then go on: " + at + ":resume tries again what failed, " + at + ":skip leaves it behind (admins only).")
	}

	for _, step := range steps {
		v.Progress.Total++

		if step.State.Done() {
			v.Progress.Done++
		}

		v.Steps = append(v.Steps, Step{
			Resource: step.Resource, Kind: step.Kind, Action: step.Action, State: step.State, WaitingFor: step.WaitingFor, Attempts: step.Attempts,
			StartTime: moment(step.StartTime), EndTime: moment(step.EndTime), Error: errorView(step.Error, op.ID),
		})
	}

	return v
}

// errorView shows an error that a record keeps; it happened to the operation, not to this request.
func errorView(e *deploy.Error, operation string) *Problem {
	if e == nil {
		return nil
	}

	p := fromError(e)
	p.Instance = "/v1/operations/" + operation

	return p
}

func resourceView(r *deploy.Resource) Resource {
	v := Resource{
		Ref: r.Ref, Kind: r.Ref.Kind(), ID: r.ID, ARN: r.ARN, Origin: r.Origin, State: stateOf(r), Needs: append([]deploy.Ref{}, r.Needs...),
	}

	if v.Origin == "" {
		v.Origin = "UNKNOWN"
	}

	for _, s := range []*deploy.Step{r.Remove, r.Ensure} {
		if s != nil && s.Error != nil {
			v.LastError = errorView(s.Error, r.Operation)

			break
		}
	}

	return v
}

// stateOf is the state of the step that was done last: a removal that was not begun leaves the resource as it was.
func stateOf(r *deploy.Resource) deploy.StepState {
	switch {
	case r.Remove != nil && (r.Remove.Attempts > 0 || r.Remove.State.Done() || r.Ensure == nil):
		return r.Remove.State
	case r.Ensure != nil:
		return r.Ensure.State
	case r.Kept:
		return deploy.StepKept
	}

	return deploy.StepReady // a removal leaves existing and shared resources without a step
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}

	t = t.UTC()

	return &t
}
