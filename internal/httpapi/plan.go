package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// Plan is what a create or an update would do.
type Plan struct {
	Steps     []PlannedStep     `json:"steps" doc:"In the order in which the operation will show them"`
	Resources []PlannedResource `json:"resources" doc:"What the deployment would have"`
	Cost      Cost              `json:"cost"`
	Quotas    []deploy.QuotaUse `json:"quotas" doc:"The limits of the account that were looked at"`
	Findings  []Finding         `json:"findings" doc:"What is wrong, or should be known. One of level error is why the real request would be refused"`
	Duration  string            `json:"duration" doc:"The usual times along the longest way through the steps, such as 1m30s"`
}

// PlannedStep is a step that would be taken.
type PlannedStep struct {
	Resource deploy.Ref       `json:"resource"`
	Kind     string           `json:"kind"`
	Action   deploy.Action    `json:"action" enum:"ENSURE,REMOVE"`
	State    deploy.StepState `json:"state" enum:"PENDING"`
	Change   deploy.Change    `json:"change" enum:"CREATE,UPDATE,REPLACE,NONE,REMOVE,USE" doc:"CREATE makes it. UPDATE changes it in place. REPLACE makes the next one before the present one goes. NONE finds it as it is wanted. REMOVE takes it away. USE leaves it as it is: somebody else's, the account's, or kept by an earlier delete"`
	Needs    []deploy.Ref     `json:"needs" doc:"Resources whose steps must be over first"`
	Estimate string           `json:"estimate" doc:"How long it usually takes by itself, such as 20s"`
}

// PlannedResource is a resource that the deployment would have.
type PlannedResource struct {
	Ref      deploy.Ref    `json:"ref"`
	Kind     string        `json:"kind"`
	Name     string        `json:"name,omitempty" doc:"AWS's name for it, where that is known beforehand"`
	Existing string        `json:"existing,omitempty" doc:"What the spec names"`
	Origin   deploy.Origin `json:"origin" enum:"MADE,EXISTING,REUSED,SHARED"`
}

// Cost is what the deployment would cost.
type Cost struct {
	Currency string     `json:"currency" doc:"Before tax, free tiers and discounts"`
	Source   string     `json:"source" doc:"Where the prices come from"`
	Date     string     `json:"date" doc:"Of the price list"`
	OneTime  *float64   `json:"oneTime,omitempty" doc:"Paid once; left out if a line is not priced"`
	Monthly  *float64   `json:"monthly,omitempty" doc:"Paid each month of 730 hours in which no job runs; left out if a line is not priced"`
	Lines    []CostLine `json:"lines" doc:"Every resource at least once, also those that are free"`
}

// CostLine is one thing about a resource that costs, or might be thought to.
type CostLine struct {
	Resource deploy.Ref `json:"resource"`
	What     string     `json:"what" doc:"What of it is paid for"`
	OneTime  *float64   `json:"oneTime,omitempty" doc:"Left out if nothing is paid once"`
	Monthly  *float64   `json:"monthly,omitempty" doc:"Left out if the price list does not say"`
	Price    *float64   `json:"price,omitempty" doc:"Of one unit, paid beyond that while it is used"`
	Unit     string     `json:"unit,omitempty" doc:"Of the price, such as GB-month"`
	Note     string     `json:"note" doc:"Why"`
}

// Finding is something that is wrong, or should be known.
type Finding struct {
	Level     deploy.Level `json:"level" enum:"error,warning" doc:"The real request is refused for an error, and never for a warning"`
	Class     deploy.Class `json:"class" enum:"not_ready,throttled,transient,conflict,denied,quota,capacity,invalid,gone,internal"`
	Code      string       `json:"code" doc:"Stable, for programs; the same as in the problem of a refused request"`
	Pointer   string       `json:"pointer,omitempty" doc:"JSON pointer (RFC 6901) to the member of the request's body"`
	Message   string       `json:"message"`
	Remedy    string       `json:"remedy" doc:"What you can do"`
	Operation string       `json:"operation,omitempty" format:"uri-reference" doc:"The operation that is in the way"`
}

const formatCloudFormation = "cloudformation"

type planUpdateInput struct {
	Named
	Format string `query:"format" enum:"json,cloudformation" default:"json" doc:"cloudformation: the same as a CloudFormation template"`
}

type planInput struct {
	Acting
	Format string `query:"format" enum:"json,cloudformation" default:"json" doc:"cloudformation: the same as a CloudFormation template"`
}

// planned is a plan, or a template.
type planned struct {
	Body any
}

func (s *server) plans() {
	op := s.route(http.MethodPost, "/v1/deployments:plan", "planDeployment", "Say what a create would do, and what it would be refused for", deploy.Deployer,
		200, 400, 403, 413, 415, 422, 503)
	op.Responses["200"] = s.planOrTemplate()
	huma.Register(s.api, s.takesBody(op, s.schema(CreateDeployment{})), s.planCreate)

	op = s.route(http.MethodPost, "/v1/deployments/{name}:plan", "planUpdate", "Say what an update would do, and what it would be refused for", deploy.Deployer,
		200, 400, 403, 404, 413, 415, 422, 503)
	op.Responses["200"] = s.planOrTemplate()
	huma.Register(s.api, s.takesBody(op, s.schema(UpdateDeployment{})), s.planUpdate)
}

func (s *server) planOrTemplate() *huma.Response {
	template := &huma.Schema{
		Type: huma.TypeObject, Description: "A CloudFormation template", AdditionalProperties: true,
		Properties: map[string]*huma.Schema{"AWSTemplateFormatVersion": {Type: huma.TypeString}}, Required: []string{"AWSTemplateFormatVersion"},
	}

	return &huma.Response{
		Description: "The plan. It is an answer also where the real request would be refused",
		Content:     map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{OneOf: []*huma.Schema{s.schema(Plan{}), template}}}},
	}
}

func (s *server) planCreate(ctx context.Context, in *planInput) (*planned, error) {
	var body CreateDeployment
	if err := json.Unmarshal(of(ctx).body, &body); err != nil {
		return nil, s.fail(ctx, fmt.Errorf("decode a body that fits the schema: %w", err))
	}

	ttl, findings := wished(body.TTL, deploy.Validate(s.Place, body.Name, body.Spec, body.Labels))
	if len(findings) > 0 {
		return nil, fromFindings(findings)
	}

	plan, err := s.Control.Plan(ctx, of(ctx).principal, workflow.CreateRequest{
		Name: body.Name, Spec: body.Spec.WithDefaults(), Labels: body.Labels, TTL: ttl, Verify: body.Verify,
	})
	if err != nil {
		return nil, s.fail(ctx, err)
	}

	return answerPlan(ctx, plan, in.Format), nil
}

func (s *server) planUpdate(ctx context.Context, in *planUpdateInput) (*planned, error) {
	var body UpdateDeployment
	if err := json.Unmarshal(of(ctx).body, &body); err != nil {
		return nil, s.fail(ctx, fmt.Errorf("decode a body that fits the schema: %w", err))
	}

	if !deploy.ValidName(in.Name) {
		return nil, noDeployment(ctx, in.Name)
	}

	ttl, findings := wished(body.TTL, deploy.Validate(s.Place, in.Name, body.Spec, body.Labels))
	if len(findings) > 0 {
		return nil, fromFindings(findings)
	}

	plan, err := s.Control.PlanUpdate(ctx, of(ctx).principal, workflow.UpdateRequest{Name: in.Name, Spec: body.Spec.WithDefaults(), Labels: body.Labels, TTL: ttl})
	if err != nil {
		return nil, s.failAt(ctx, err, noDeployment(ctx, in.Name))
	}

	return answerPlan(ctx, plan, in.Format), nil
}

func answerPlan(ctx context.Context, plan deploy.Plan, format string) *planned {
	if format == formatCloudFormation {
		return &planned{Body: plan.Template}
	}

	return &planned{Body: planView(ctx, plan)}
}

func planView(ctx context.Context, p deploy.Plan) Plan {
	v := Plan{
		Steps: []PlannedStep{}, Resources: []PlannedResource{}, Quotas: append([]deploy.QuotaUse{}, p.Quotas...), Findings: []Finding{}, Duration: p.Duration.String(),
		Cost: Cost{Currency: p.Cost.Currency, Source: p.Cost.Source, Date: p.Cost.Date, OneTime: p.Cost.OneTime, Monthly: p.Cost.Monthly, Lines: []CostLine{}},
	}

	for _, s := range p.Steps {
		v.Steps = append(v.Steps, PlannedStep{
			Resource: s.Resource, Kind: s.Resource.Kind(), Action: s.Action, State: deploy.StepPending, Change: s.Change, Needs: append([]deploy.Ref{}, s.Needs...),
			Estimate: s.Estimate.String(),
		})
	}

	for _, r := range p.Resources {
		v.Resources = append(v.Resources, PlannedResource{Ref: r.Ref, Kind: r.Ref.Kind(), Name: r.Name, Existing: r.Existing, Origin: r.Origin})
	}

	for _, l := range p.Cost.Lines {
		v.Cost.Lines = append(v.Cost.Lines, CostLine(l))
	}

	for _, f := range p.Findings {
		finding := Finding(f)
		if f.Operation != "" {
			finding.Operation = of(ctx).base + "/v1/operations/" + f.Operation
		}

		v.Findings = append(v.Findings, finding)
	}

	return v
}
