package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// Plan is what a create or an update would do.
type Plan struct {
	Steps     []PlanStep        `json:"steps"`
	Resources []json.RawMessage `json:"resources"`
	Cost      Cost              `json:"cost"`
	Quotas    []Quota           `json:"quotas"`
	Findings  []Finding         `json:"findings"`

	Raw json.RawMessage `json:"-"`
}

// PlanStep is a step that would be taken. Estimate is how long it usually takes, as the API writes it.
type PlanStep struct {
	Step

	Estimate json.RawMessage `json:"estimate,omitempty"`
}

// Cost is what a plan costs in US dollars, before tax and without what jobs use.
type Cost struct {
	OneTime json.Number       `json:"oneTime"`
	Monthly json.Number       `json:"monthly"`
	Lines   []json.RawMessage `json:"lines"`
}

// Quota is a limit of the account and how much of it a plan takes.
type Quota struct {
	Raw json.RawMessage `json:"-"`
}

// Finding is something that the caller should know before going on; one of level error is why the real request would be refused.
type Finding struct {
	Level   string `json:"level"`
	Class   string `json:"class"`
	Code    string `json:"code"`
	Pointer string `json:"pointer,omitempty"`
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
}

// Drift is how far AWS is from what a deployment's record says.
type Drift struct {
	Deployment string            `json:"deployment"`
	Time       time.Time         `json:"time"`
	Drifted    bool              `json:"drifted"`
	Resources  []DriftedResource `json:"resources"`

	Raw json.RawMessage `json:"-"`
}

// DriftedResource is what was found of one resource. NotChecked are properties that nobody could look at.
type DriftedResource struct {
	Resource    string       `json:"resource"`
	Kind        string       `json:"kind"`
	State       string       `json:"state"`
	Differences []Difference `json:"differences"`
	NotChecked  []string     `json:"notChecked"`
}

// Difference is one property that is not as it should be.
type Difference struct {
	Property string `json:"property"`
	Want     any    `json:"want"`
	Have     any    `json:"have"`
	Pointer  string `json:"pointer,omitempty"`
}

// UnmarshalJSON keeps the whole answer in Raw.
func (p *Plan) UnmarshalJSON(b []byte) error {
	type plain Plan

	return decode(b, (*plain)(p), &p.Raw)
}

// UnmarshalJSON keeps the whole answer in Raw.
func (d *Drift) UnmarshalJSON(b []byte) error {
	type plain Drift

	return decode(b, (*plain)(d), &d.Raw)
}

// Kinds lists the resource kinds on offer.
func (c *Client) Kinds(ctx context.Context) ([]*Kind, error) {
	all, err := get[struct{ Kinds []*Kind }](ctx, c, call{method: http.MethodGet, path: "/v1/kinds"})
	if err != nil {
		return nil, err
	}

	return all.Kinds, nil
}

// Orphans lists what the sweeper found, of all tenants; admins only.
func (c *Client) Orphans(ctx context.Context) iter.Seq2[*Orphan, error] {
	return list[Orphan](ctx, c, "orphans", "/v1/orphans", url.Values{})
}

// Audit lists who asked for what, newest first.
func (c *Client) Audit(ctx context.Context) iter.Seq2[*Entry, error] {
	return list[Entry](ctx, c, "entries", "/v1/audit", url.Values{})
}
