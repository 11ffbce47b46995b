package deploy

import (
	"maps"
	"math"
	"slices"
	"time"
)

// Plan is what a create or an update would do, found out without changing anything: the steps in their order, what they leave, what that costs, which
// quotas it takes, and everything that is wrong with it. If a finding is of level error, the real thing is refused with the same findings.
type Plan struct {
	Steps     []PlannedStep
	Resources []PlannedResource
	Cost      Cost
	Quotas    []QuotaUse
	Findings  []Finding
	// Duration is the sum of the usual times along the longest way through the steps.
	Duration time.Duration
	// Template says the same in CloudFormation's words, ready to be encoded as JSON.
	Template map[string]any
}

// Refused tells whether the real thing would be refused.
func (p Plan) Refused() bool {
	return slices.ContainsFunc(p.Findings, func(f Finding) bool { return f.Level == LevelError })
}

// PlannedStep is a step that an operation would take.
type PlannedStep struct {
	Resource Ref
	Action   Action
	Change   Change
	// Needs are the resources whose steps must be over first: of the same action.
	Needs []Ref
	// Estimate is how long the step usually takes by itself.
	Estimate time.Duration
}

// Change is what a step means for a resource that may stand already.
type Change string

// The changes. USE leaves a thing as it is that somebody else made or that an earlier delete kept; NONE finds what this deployment made as it is wanted;
// REPLACE makes the next one before the present one goes.
const (
	ChangeCreate  Change = "CREATE"
	ChangeUpdate  Change = "UPDATE"
	ChangeReplace Change = "REPLACE"
	ChangeNone    Change = "NONE"
	ChangeRemove  Change = "REMOVE"
	ChangeUse     Change = "USE"
)

// PlannedResource is a resource that a deployment would have.
type PlannedResource struct {
	Ref Ref
	// Name is what AWS will call it, where it has a name that is known beforehand.
	Name string
	// Existing is the id, name or ARN that the owner named.
	Existing string
	Origin   Origin
}

// QuotaUse is a limit of the account, how much of it is used, and how much the plan needs beyond that.
type QuotaUse struct {
	Name   string `json:"name"`
	Region string `json:"region"`
	Used   int    `json:"used"`
	Needs  int    `json:"needs"`
	Limit  int    `json:"limit"`
	// Adjustable: AWS raises it on request.
	Adjustable bool `json:"adjustable"`
}

// HoursPerMonth is what AWS itself counts a month as where it prices by the hour.
const HoursPerMonth = 730

// Cost is what a deployment costs, before tax, free tiers and discounts. Monthly is nil when a line of it is not priced.
type Cost struct {
	Currency string
	// Source and Date say where the prices come from.
	Source, Date     string
	OneTime, Monthly *float64
	Lines            []CostLine
}

// CostLine is one thing about a resource that costs, or that might be thought to.
type CostLine struct {
	Resource Ref
	What     string
	// OneTime is paid once. Monthly is paid whether jobs run or not. Nil: the price list does not say.
	OneTime, Monthly *float64
	// Price per Unit is paid beyond that, while it is used; nil if nothing is, or if the price list does not say.
	Price *float64
	Unit  string
	Note  string
}

// Price is what AWS charges for one unit in US dollars.
type Price struct {
	USD  float64 `json:"usd"`
	Unit string  `json:"unit"`
}

// PriceList is as much of AWS's price list as kinds ask for, by Region and name.
type PriceList struct {
	Source  string                      `json:"source"`
	Date    string                      `json:"date"`
	Regions map[string]map[string]Price `json:"regions"`
}

// Find answers the price of something in a Region, if the list has it.
func (l PriceList) Find(region, name string) (Price, bool) {
	p, ok := l.Regions[region][name]

	return p, ok
}

// Covers lists the Regions that the list has prices for.
func (l PriceList) Covers() []string { return slices.Sorted(maps.Keys(l.Regions)) }

// Total adds up lines.
func (l PriceList) Total(lines []CostLine) Cost {
	c := Cost{Currency: "USD", Source: l.Source, Date: l.Date, Lines: lines}

	sum := func(of func(CostLine) *float64) *float64 {
		var total float64

		for _, line := range lines {
			v := of(line)
			if v == nil {
				return nil
			}

			total += *v
		}

		return Dollars(total)
	}

	c.OneTime = sum(func(l CostLine) *float64 { return l.OneTime })
	c.Monthly = sum(func(l CostLine) *float64 { return l.Monthly })

	return c
}

// Dollars is an amount to seven places: one read of S3 is the least that has a price.
func Dollars(v float64) *float64 {
	const finest = 1e7

	v = math.Round(v*finest) / finest

	return &v
}

// Lack is something that one of the product's own functions may not do although it needs to.
type Lack struct {
	// Family is the AWS service that the function acts on, Role its ARN.
	Family, Role string
	Action       string
	Resource     string
}
