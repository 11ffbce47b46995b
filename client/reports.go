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
	Steps     []PlannedStep     `json:"steps"`
	Resources []PlannedResource `json:"resources"`
	Cost      Cost              `json:"cost"`
	Quotas    []QuotaUse        `json:"quotas"`
	// Findings say what is wrong or should be known; one of level error is why the real request would be refused.
	Findings []Finding `json:"findings"`
	// Duration is how long it usually takes, such as 1m30s.
	Duration string `json:"duration"`

	Raw json.RawMessage `json:"-"`
}

func (d *Drift) identity() string { return d.Deployment }

// A plan has no name, but steps, even if there are none.
func (p *Plan) identity() string {
	if p.Steps == nil {
		return ""
	}

	return "plan"
}

// template is what tells a CloudFormation template from anything else.
type template struct {
	Version string `json:"AWSTemplateFormatVersion"`
}

func (t *template) identity() string { return t.Version }

// PlannedStep is a step that would be taken.
type PlannedStep struct {
	Resource string    `json:"resource"`
	Kind     string    `json:"kind"`
	Action   string    `json:"action"`
	State    StepState `json:"state"`
	// Change is CREATE, UPDATE, REPLACE, NONE, REMOVE or USE.
	Change string   `json:"change"`
	Needs  []string `json:"needs"`
	// Estimate is how long it usually takes by itself, such as 20s.
	Estimate string `json:"estimate"`
}

// PlannedResource is a resource that the deployment would have.
type PlannedResource struct {
	Ref      string `json:"ref"`
	Kind     string `json:"kind"`
	Name     string `json:"name,omitempty"`
	Existing string `json:"existing,omitempty"`
	Origin   string `json:"origin"`
}

// Cost is what the deployment would cost, before tax, free tiers and discounts. A sum is nil if something in it is not priced.
type Cost struct {
	Currency string     `json:"currency"`
	Source   string     `json:"source"`
	Date     string     `json:"date"`
	OneTime  *float64   `json:"oneTime,omitempty"`
	Monthly  *float64   `json:"monthly,omitempty"`
	Lines    []CostLine `json:"lines"`
}

// CostLine is one thing about a resource that costs, or might be thought to. Price is paid for each unit beyond the rest, while it is used.
type CostLine struct {
	Resource string   `json:"resource"`
	What     string   `json:"what"`
	OneTime  *float64 `json:"oneTime,omitempty"`
	Monthly  *float64 `json:"monthly,omitempty"`
	Price    *float64 `json:"price,omitempty"`
	Unit     string   `json:"unit,omitempty"`
	Note     string   `json:"note"`
}

// QuotaUse is a limit of the account, how much of it is used, and how much a plan needs beyond that.
type QuotaUse struct {
	Name       string `json:"name"`
	Region     string `json:"region"`
	Used       int    `json:"used"`
	Needs      int    `json:"needs"`
	Limit      int    `json:"limit"`
	Adjustable bool   `json:"adjustable"`
}

// Finding is something that is wrong, or should be known. Level is error or warning.
type Finding struct {
	Level   string `json:"level"`
	Class   string `json:"class"`
	Code    string `json:"code"`
	Pointer string `json:"pointer,omitempty"`
	Message string `json:"message"`
	Remedy  string `json:"remedy"`
	// Operation leads to the operation that is in the way.
	Operation string `json:"operation,omitempty"`
}

// Drift is how far AWS is from what a deployment should be.
type Drift struct {
	Deployment string          `json:"deployment"`
	Time       time.Time       `json:"time"`
	Drifted    bool            `json:"drifted"`
	Resources  []ResourceDrift `json:"resources"`

	Raw json.RawMessage `json:"-"`
}

// ResourceDrift is what was found of one resource. NotChecked are settings that AWS does not show, or not as they were set.
type ResourceDrift struct {
	Resource    string       `json:"resource"`
	Kind        string       `json:"kind"`
	State       string       `json:"state"`
	Differences []Difference `json:"differences"`
	NotChecked  []string     `json:"notChecked"`
}

// Difference is one setting that is not as it should be.
type Difference struct {
	Property string `json:"property"`
	Want     string `json:"want"`
	Have     string `json:"have"`
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
	all, err := get[struct{ Kinds []*Kind }](ctx, c, call{method: http.MethodGet, path: path{text: "/v1/kinds"}})
	if err != nil {
		return nil, err
	}

	return all.Kinds, nil
}

// Orphans lists what the sweeper found, of all tenants; admins only.
func (c *Client) Orphans(ctx context.Context) iter.Seq2[*Orphan, error] {
	return list[Orphan](ctx, c, "orphans", path{text: "/v1/orphans"}, url.Values{})
}

// Audit lists who asked for what, newest first; with a deployment's name only what was about it.
func (c *Client) Audit(ctx context.Context, deployment string) iter.Seq2[*Entry, error] {
	return list[Entry](ctx, c, "entries", path{text: "/v1/audit"}, url.Values{"deployment": {deployment}})
}
