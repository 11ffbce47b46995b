package courier

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// Event is an event as it leaves the product: the detail on the bus and the body of a webhook. docs/events.md promises it to receivers: members are added,
// never changed or taken away.
type Event struct {
	ID         string           `json:"id" doc:"The same each time the event is sent: whoever sees it twice can tell"`
	Sequence   int64            `json:"sequence" minimum:"1" doc:"Counts the events of the deployment's name from 1, without a gap"`
	Type       deploy.EventType `json:"type" enum:"deployment.changed,deployment.expiring" doc:"Also the detail-type on the bus"`
	Time       time.Time        `json:"time" doc:"When it happened"`
	Tenant     string           `json:"tenant"`
	Deployment string           `json:"deployment" doc:"The deployment's name"`
	Phase      deploy.Phase     `json:"phase" enum:"CREATING,ACTIVE,UPDATING,DELETING,DELETED,FAILED,NEEDS_ATTENTION" doc:"The deployment's phase from now on"`
	Operation  Operation        `json:"operation" doc:"The operation at work, or the last one"`
	Error      *Error           `json:"error,omitempty" doc:"Why the operation did not succeed, or is being rolled back"`
	ExpireTime *time.Time       `json:"expireTime,omitempty" doc:"When the deployment is deleted unless somebody extends it"`
}

// Operation is what an event says of the operation.
type Operation struct {
	ID    string                `json:"id" doc:"For GET /v1/operations/{id}"`
	Kind  deploy.OperationKind  `json:"kind" enum:"CREATE,UPDATE,REPAIR,DELETE,VERIFY"`
	State deploy.OperationState `json:"state" enum:"PENDING,RUNNING,ROLLING_BACK,SUCCEEDED,ROLLED_BACK,NEEDS_ATTENTION"`
}

// Error is what an event says of an error.
type Error struct {
	Code     string       `json:"code" doc:"Stable, for programs"`
	Class    deploy.Class `json:"class" enum:"not_ready,throttled,transient,conflict,denied,quota,capacity,invalid,gone,internal" doc:"What kind of trouble it is"`
	Message  string       `json:"message" doc:"What happened, and why"`
	Remedy   string       `json:"remedy,omitempty" doc:"What you can do"`
	Resource deploy.Ref   `json:"resource,omitempty" doc:"The resource that it happened to"`
	AWSCode  string       `json:"awsCode,omitempty" doc:"AWS's own error code"`
}

// View is an event as receivers see it.
func View(e deploy.Event) Event {
	v := Event{
		ID: e.ID, Sequence: e.Sequence, Type: e.Type, Time: e.Time.UTC(), Tenant: e.Tenant, Deployment: e.Name, Phase: e.Phase,
		Operation: Operation{ID: e.Operation, Kind: e.Kind, State: e.State},
	}

	if e.Error != nil {
		v.Error = &Error{
			Code: e.Error.Code, Class: e.Error.Class, Message: e.Error.Message, Remedy: e.Error.Remedy, Resource: e.Error.Resource, AWSCode: e.Error.AWSCode,
		}
	}

	if !e.ExpireTime.IsZero() {
		t := e.ExpireTime.UTC()
		v.ExpireTime = &t
	}

	return v
}

// digest names something by a text that fits into a header and into a queue's ids, whatever stands in a tenant's name.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}

	return hex.EncodeToString(h.Sum(nil)[:16])
}
