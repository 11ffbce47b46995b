package deploy

import "time"

// Drift is what a look at everything of a deployment found.
type Drift struct {
	Key
	Time      time.Time       `json:"time"`
	Resources []ResourceDrift `json:"resources"`
}

// ResourceDrift is what a look at one resource found. NotChecked are settings that we make and that nothing here compares.
type ResourceDrift struct {
	Resource    Ref          `json:"resource"`
	State       string       `json:"state"`
	Differences []Difference `json:"differences"`
	NotChecked  []string     `json:"notChecked"`
}

// Difference is one setting that is not as wanted.
type Difference struct {
	Property string `json:"property"`
	Want     string `json:"want"`
	Have     string `json:"have"`
}

// Drifted tells whether anything is not as wanted.
func (d Drift) Drifted() bool {
	for _, r := range d.Resources {
		if len(r.Differences) > 0 {
			return true
		}
	}

	return false
}
