package workflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

// looks is how long a step usually takes that finds everything as it should be.
const looks = time.Second

// examination is what the kinds say beforehand of the resources that a spec asks for, each at the place of its item.
type examination struct {
	items []kind.Item
	kinds []kind.Kind
	calls []*kind.Call
	// findings and quotas of all of them, in the order of the items.
	findings []deploy.Finding
	quotas   []deploy.QuotaUse
}

// items lists what a spec asks for, and what the kinds are to be told of it. It asks nobody.
func (c *Control) items(p deploy.Principal, d deploy.Deployment) (*examination, error) {
	items, err := c.Graphs.Items(d.Spec, false)
	if err != nil {
		return nil, err
	}

	x, others := &examination{items: items}, map[deploy.Ref]kind.Other{}

	for _, item := range items {
		if item.Existing != "" {
			others[item.Ref] = kind.Other{ID: item.Existing, ARN: item.Existing}
		}

		k, _ := c.Graphs.Kinds.Find(item.Ref.Kind())
		x.kinds = append(x.kinds, k)
		x.calls = append(x.calls, &kind.Call{
			Owner: c.Place.Owner(d), Item: item, Spec: d.Spec, Boundary: c.Place.Boundary, Now: c.Clock.Now, Quota: c.Quota, Admin: p.Can(deploy.Admin),
			Others: others, Price: func(name string) (deploy.Price, bool) { return c.Prices.Find(c.Place.Region, name) },
		})
	}

	return x, nil
}

// examine asks every kind that can tell beforehand. It makes no changing call. A plan and the real thing both stand on it: what the one finds, the other is
// refused for.
func (c *Control) examine(ctx context.Context, p deploy.Principal, d deploy.Deployment) (*examination, error) {
	x, err := c.items(p, d)
	if err != nil {
		return nil, err
	}

	granted, err := c.granted(ctx, p)
	if err != nil {
		return nil, err
	}

	var (
		wait     sync.WaitGroup
		findings = make([][]deploy.Finding, len(x.items))
		errs     = make([]error, len(x.items))
	)

	for i := range x.items {
		x.calls[i].Granted = granted

		if checker, ok := x.kinds[i].(kind.Checker); ok {
			wait.Go(func() { findings[i], errs[i] = checker.Check(ctx, x.calls[i]) })
		}
	}

	wait.Wait()

	for i, item := range x.items {
		if errs[i] != nil {
			return nil, awserr.Classify(errs[i]).Of(item.Ref)
		}

		x.findings = append(x.findings, findings[i]...)
		x.quotas = append(x.quotas, x.calls[i].Quotas...)
	}

	return x, nil
}

// preflight refuses what the examination finds to be wrong.
func (c *Control) preflight(ctx context.Context, p deploy.Principal, d deploy.Deployment) error {
	x, err := c.examine(ctx, p, d)
	if err != nil {
		return err
	}

	wrong := slices.DeleteFunc(x.findings, func(f deploy.Finding) bool { return f.Level != deploy.LevelError })
	if len(wrong) > 0 {
		return &Refused{Findings: wrong}
	}

	return nil
}

// Plan says what a create would do, and finds what it would be refused for. It writes nothing and changes nothing. It answers an error only where the create
// would: when AWS or the store does not answer.
func (c *Control) Plan(ctx context.Context, p deploy.Principal, req CreateRequest) (deploy.Plan, error) {
	key := deploy.Key{Tenant: p.Tenant, Name: req.Name}
	d := deploy.Deployment{Key: key, Spec: req.Spec, Account: c.Place.Account, Region: c.Place.Region}

	record, err := c.Store.Load(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		record, err = &store.Record{Deployment: deploy.Deployment{Phase: deploy.PhaseDeleted}}, nil
	}

	if err != nil {
		return deploy.Plan{}, fmt.Errorf("read deployment %s: %w", key.Name, err)
	}

	var x *examination

	if h := record.Deployment; h.Phase.Vacant() {
		x, err = c.examine(ctx, p, d)
	} else if x, err = c.items(p, d); err == nil {
		// As in the create: where the name is taken, nothing else counts.
		x.findings = []deploy.Finding{taken(h)}
	}

	if err != nil {
		return deploy.Plan{}, err
	}

	changes := map[deploy.Ref]deploy.Change{}

	for i, item := range x.items {
		if changes[item.Ref], err = c.comesToBe(ctx, x, i, record.Find(item.Ref)); err != nil {
			return deploy.Plan{}, err
		}
	}

	return c.planned(x, changes, nil), nil
}

func taken(h deploy.Deployment) deploy.Finding {
	f := deploy.Errorf(deploy.Conflict, CodeAlreadyExists, "There is a deployment %s in your tenant; its last operation is %s.", h.Name, h.Operation).
		WithRemedy("Use the one that is there, delete it first, or choose another name.").At("/name").Finding()
	f.Operation = h.Operation

	return f
}

// CodeAlreadyExists says that a name is taken.
const CodeAlreadyExists = "already_exists"

// comesToBe says what a create does for a resource. What belongs to the account is looked for: whoever comes first makes it.
func (c *Control) comesToBe(ctx context.Context, x *examination, i int, known *deploy.Resource) (deploy.Change, error) {
	switch {
	case x.items[i].Existing != "", known != nil && known.Kept:
		return deploy.ChangeUse, nil
	case !x.kinds[i].About().Shared:
		return deploy.ChangeCreate, nil
	}

	obs, err := x.kinds[i].Observe(ctx, x.calls[i])
	if err != nil {
		return "", awserr.Classify(err).Of(x.items[i].Ref)
	}

	if obs.State == kind.Absent {
		return deploy.ChangeCreate, nil
	}

	return deploy.ChangeUse, nil
}

// planned puts a plan together: each resource's step to be made ready, and the removal of what is no longer wanted.
func (c *Control) planned(x *examination, changes map[deploy.Ref]deploy.Change, gone []deploy.Resource) deploy.Plan {
	plan := deploy.Plan{Findings: x.findings, Quotas: x.quotas}

	var lines []deploy.CostLine

	for i, item := range x.items {
		about, change := x.kinds[i].About(), changes[item.Ref]
		resource := deploy.PlannedResource{Ref: item.Ref, Existing: item.Existing, Origin: origin(about, item)}

		// What was kept is taken up again.
		if change == deploy.ChangeUse && resource.Origin == deploy.Made {
			resource.Origin = deploy.Reused
		}

		step := deploy.PlannedStep{Resource: item.Ref, Action: deploy.Ensure, Change: change, Needs: item.Needs, Estimate: about.Ensuring.Typical}
		if change == deploy.ChangeUse || change == deploy.ChangeNone {
			step.Estimate = looks
		}

		k, ok := x.kinds[i].(kind.Planned)

		switch {
		case item.Existing != "":
			lines = append(lines, kind.Free(x.calls[i], "used as it is", "It is there already: the plan adds nothing to what it costs."))
		case ok:
			resource.Name = k.Named(x.calls[i])
			lines = append(lines, k.Cost(x.calls[i])...)
		}

		plan.Resources = append(plan.Resources, resource)
		plan.Steps = append(plan.Steps, step)
	}

	plan.Steps = c.inOrder(append(plan.Steps, c.removals(gone)...))
	plan.Cost = c.Prices.Total(lines)
	plan.Duration = longest(plan.Steps)
	plan.Template = c.template(x)

	return plan
}

// removals are the steps that take things away, each after what must be gone before it.
func (c *Control) removals(gone []deploy.Resource) []deploy.PlannedStep {
	var steps []deploy.PlannedStep

	for i := range gone {
		k, ok := c.Graphs.Kinds.Find(gone[i].Ref.Kind())
		if !ok {
			continue
		}

		step := deploy.PlannedStep{Resource: gone[i].Ref, Action: deploy.Remove, Change: deploy.ChangeRemove, Estimate: k.About().Removing.Typical}

		for j := range gone {
			if i != j && comesBefore(&gone[j], &gone[i], k.About(), deploy.Remove) {
				step.Needs = append(step.Needs, gone[j].Ref)
			}
		}

		steps = append(steps, step)
	}

	return steps
}

// inOrder sorts steps as an operation shows them.
func (c *Control) inOrder(steps []deploy.PlannedStep) []deploy.PlannedStep {
	named := make([]deploy.NamedStep, 0, len(steps))
	for _, s := range steps {
		named = append(named, deploy.NamedStep{Resource: s.Resource, Kind: s.Resource.Kind(), Action: s.Action})
	}

	sorted := make([]deploy.PlannedStep, 0, len(steps))

	for _, n := range c.Graphs.sorted(named) {
		i := slices.IndexFunc(steps, func(s deploy.PlannedStep) bool { return s.Resource == n.Resource && s.Action == n.Action })
		sorted = append(sorted, steps[i])
	}

	return sorted
}

// longest adds up the usual times along the longest way. Removals begin when everything else is done.
func longest(steps []deploy.PlannedStep) time.Duration {
	var total time.Duration

	for _, action := range []deploy.Action{deploy.Ensure, deploy.Remove} {
		ends := map[deploy.Ref]time.Duration{}

		var last time.Duration

		// In their order, what a step needs comes before it.
		for _, s := range steps {
			if s.Action != action {
				continue
			}

			var begins time.Duration
			for _, need := range s.Needs {
				begins = max(begins, ends[need])
			}

			ends[s.Resource] = begins + s.Estimate
			last = max(last, ends[s.Resource])
		}

		total += last
	}

	return total
}
