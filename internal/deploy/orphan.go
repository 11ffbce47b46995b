package deploy

import "time"

// OrphanState is what the sweeper means to do about an orphan.
type OrphanState string

// The states. NOTED waits for its time or for what must go first; REFUSED would be removed if the sweeper trusted its table at this moment; HELD is a
// person's to decide, the sweeper never removes it.
const (
	OrphanNoted    OrphanState = "NOTED"
	OrphanRemoving OrphanState = "REMOVING"
	OrphanRefused  OrphanState = "REFUSED"
	OrphanHeld     OrphanState = "HELD"
)

// Orphan is a thing in AWS that carries an installation's tags and that no record knows.
type Orphan struct {
	// Key is whose the thing says to be. There may be no such deployment.
	Key      Key    `json:"key"`
	Resource Ref    `json:"resource"`
	ID       string `json:"id"`
	ARN      string `json:"arn,omitempty"`
	// Family is the function that found it; Needs are the kinds that must outlive its kind.
	Family string   `json:"family"`
	Needs  []string `json:"needs,omitempty"`
	// FirstSeen begins a row of sweeps that all saw it.
	FirstSeen time.Time   `json:"firstSeen"`
	State     OrphanState `json:"state"`
	Reason    string      `json:"reason"`
	// Tried is when its removal was last at work: who was tried longest ago comes first.
	Tried time.Time `json:"tried,omitzero"`
	// Memo is the kind's own notebook between invocations of its removal.
	Memo map[string]string `json:"memo,omitempty"`
	// Removed is when AWS last showed it gone. The next sweep forgets it, or finds it all the same and holds it.
	Removed time.Time `json:"removed,omitzero"`
}

// Name tells orphans apart and puts them in order: by kind, then by AWS's id.
func (o Orphan) Name() string { return o.Resource.Kind() + "#" + o.ID }

// Sweep is what a family's newest sweep saw.
type Sweep struct {
	Family string    `json:"family"`
	Time   time.Time `json:"time"`
	// Seen counts the installation's things of the family, Unknown those of them that no record knows, Deployments the records that their tags led to.
	Seen        int `json:"seen"`
	Unknown     int `json:"unknown"`
	Deployments int `json:"deployments"`
}
