package workflow

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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

// items lists what a spec asks for, and what the kinds are to be told of it and of what stands already. It asks nobody.
func (c *Control) items(p deploy.Principal, d deploy.Deployment, standing []deploy.Resource) (*examination, error) {
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

		call := &kind.Call{
			Owner: c.Place.Owner(d), Item: item, Spec: d.Spec, Boundary: c.Place.Boundary, Now: c.Clock.Now, Quota: c.Quota, Admin: p.Can(deploy.Admin),
			Others: others, Price: func(name string) (deploy.Price, bool) { return c.Prices.Find(c.Place.Region, name) },
		}

		if i := slices.IndexFunc(standing, func(r deploy.Resource) bool { return r.Ref == item.Ref }); i >= 0 {
			r := &standing[i]
			call.Origin, call.ID, call.ARN, call.Outputs, call.Memo = r.Origin, r.ID, r.ARN, maps.Clone(r.Outputs), maps.Clone(r.Memo)
		}

		x.calls = append(x.calls, call)
	}

	return x, nil
}

// examine asks every kind that can tell beforehand. It makes no changing call. A plan and the real thing both stand on it: what the one finds, the other is
// refused for.
func (c *Control) examine(ctx context.Context, p deploy.Principal, d deploy.Deployment, standing []deploy.Resource, names bool) (*examination, error) {
	x, err := c.items(p, d, standing)
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
		x.calls[i].Granted, x.calls[i].Names = granted, names

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

// permitted finds out whether our own functions may do what they need to: a warning for each role that lacks something, or one that says that nobody could
// tell. They are no errors, and the real thing does not ask: IAM's simulation is not what decides in the end, and must not keep anybody from a deployment
// that would come to be.
func (c *Control) permitted(ctx context.Context, x *examination) []deploy.Finding {
	if c.Permits == nil {
		return nil
	}

	var families []string

	for _, k := range x.kinds {
		if f := k.About().Family; !slices.Contains(families, f) {
			families = append(families, f)
		}
	}

	lacking, err := c.Permits.Lacking(ctx, families)
	if err != nil {
		c.Log.InfoContext(ctx, "simulate permissions", "error", deploy.Scrub(err.Error()))

		f := deploy.Errorf(deploy.Denied, "permissions_not_checked",
			"Whether this service's own functions may do all of it was not checked beforehand: IAM did not simulate their policies.").
			WithRemedy("Nothing is wrong for all that is known. If a step is denied later, the operation rolls back and names what was denied.").Finding()
		f.Level = deploy.LevelWarning

		return []deploy.Finding{f}
	}

	var (
		findings []deploy.Finding
		actions  = map[string][]string{}
		order    []string
	)

	for _, l := range lacking {
		if len(actions[l.Role]) == 0 {
			order = append(order, l.Role)
		}

		if !slices.Contains(actions[l.Role], l.Action) {
			actions[l.Role] = append(actions[l.Role], l.Action)
		}
	}

	for _, role := range order {
		f := deploy.Errorf(deploy.Denied, "permission_missing", "By IAM's simulation, this service's role %s may not do what it needs to: %s.",
			role, strings.Join(actions[role], ", ")).
			WithRemedy("Show this to an operator of the installation: its template grants them, so an organization's policy, a boundary or a change by hand takes them away.").
			Finding()
		f.Level = deploy.LevelWarning
		findings = append(findings, f)
	}

	return findings
}

// examineUpdate is the examination of a change: first whether AWS allows it at all.
func (c *Control) examineUpdate(
	ctx context.Context, p deploy.Principal, before deploy.Spec, d deploy.Deployment, standing []deploy.Resource, names bool,
) (*examination, error) {
	findings, err := c.unchangeable(before, d.Spec)
	if err != nil {
		return nil, err
	}

	if len(findings) == 0 {
		return c.examine(ctx, p, d, standing, names)
	}

	x, err := c.items(p, d, standing)
	if err == nil {
		x.findings = findings
	}

	return x, err
}

// wrong is what the real thing is refused for.
func (x *examination) wrong() []deploy.Finding {
	return slices.DeleteFunc(slices.Clone(x.findings), func(f deploy.Finding) bool { return f.Level != deploy.LevelError })
}

// refusal is what the real thing answers to what the examination found to be wrong.
func (x *examination) refusal() error {
	if wrong := x.wrong(); len(wrong) > 0 {
		return &Refused{Findings: wrong}
	}

	return nil
}

// Plan says what a create would do, and finds what it would be refused for. It writes nothing and changes nothing. It answers an error only where the create
// would: when AWS or the store does not answer.
func (c *Control) Plan(ctx context.Context, p deploy.Principal, req CreateRequest) (deploy.Plan, error) {
	key := deploy.Key{Tenant: p.Tenant, Name: req.Name}
	d := deploy.Deployment{Key: key, Spec: req.Spec, Account: c.Place.Account, Region: c.Place.Region, Owner: p.Actor}

	record, err := c.Store.Load(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		record, err = &store.Record{Deployment: deploy.Deployment{Phase: deploy.PhaseDeleted}}, nil
	}

	if err != nil {
		return deploy.Plan{}, fmt.Errorf("read deployment %s: %w", key.Name, err)
	}

	var x *examination

	switch h := record.Deployment; {
	case h.Phase.Vacant() && req.Verify && !probeable(req.Spec):
		if x, err = c.items(p, d, nil); err == nil {
			x.findings = []deploy.Finding{deploy.AsError(unprobeable()).Finding()}
		}
	case h.Phase.Vacant():
		if x, err = c.examine(ctx, p, d, nil, true); err == nil {
			err = c.room(ctx, x, d)
		}
	default:
		// As in the create: where the name is taken, nothing else counts.
		if x, err = c.items(p, d, nil); err == nil {
			x.findings = []deploy.Finding{taken(h)}
		}
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

	passing, err := c.passing(req)
	if err != nil {
		return deploy.Plan{}, err
	}

	x.findings = append(x.findings, c.permitted(ctx, x)...)

	return c.planned(x, changes, nil, passing), nil
}

// passing lists what a create asks for beyond its spec and takes away again.
func (c *Control) passing(req CreateRequest) ([]kind.Item, error) {
	items, err := c.Graphs.Items(req.Spec, req.Verify)

	return slices.DeleteFunc(items, func(item kind.Item) bool { return !c.Graphs.passing(item.Ref) }), err
}

// leaves warns of data that an update turns its back on: AWS has nothing to change for it, so no step would show it.
func leaves(was, will deploy.Storage) (findings []deploy.Finding) {
	for _, prefix := range []struct{ pointer, was, will string }{
		{"/spec/storage/flowsPrefix", was.FlowsPrefix, will.FlowsPrefix}, {"/spec/storage/dataToolsPrefix", was.DataToolsPrefix, will.DataToolsPrefix},
	} {
		if prefix.was != prefix.will {
			f := deploy.Errorf(deploy.Conflict, "data_stays_behind", "What is in the bucket under %s stays there, and flows look under %s from then on.", prefix.was, prefix.will).
				WithRemedy("Keep the prefix, or copy what is still needed.").At(prefix.pointer).Finding()
			f.Level = deploy.LevelWarning
			findings = append(findings, f)
		}
	}

	return findings
}

// PlanUpdate says what an update would do, and finds what it would be refused for. It writes nothing and changes nothing. It answers store.ErrNotFound for a
// name that is not there.
func (c *Control) PlanUpdate(ctx context.Context, p deploy.Principal, req UpdateRequest) (deploy.Plan, error) {
	record, err := c.Store.Load(ctx, deploy.Key{Tenant: p.Tenant, Name: req.Name})
	if err != nil {
		return deploy.Plan{}, fmt.Errorf("read deployment %s: %w", req.Name, err)
	}

	h := record.Deployment
	if h.Phase == deploy.PhaseDeleted {
		return deploy.Plan{}, fmt.Errorf("deployment %s is deleted: %w", req.Name, store.ErrNotFound)
	}

	before := h.Spec
	record.Deployment.Spec = req.Spec
	next := record.Deployment

	var x *examination

	switch hindrance := hindrance(record); {
	case hindrance != nil:
		// As in the update: nothing else counts, and nobody is asked.
		if x, err = c.items(p, next, record.Resources); err == nil {
			x.findings = []deploy.Finding{*hindrance}
		}
	default:
		if x, err = c.examineUpdate(ctx, p, before, next, record.Resources, true); err == nil {
			err = c.room(ctx, x, next)
		}
	}

	if err != nil {
		return deploy.Plan{}, err
	}

	x.findings = append(x.findings, leaves(before.Storage, req.Spec.Storage)...)

	changes, err := c.becomes(ctx, x, record)
	if err != nil {
		return deploy.Plan{}, err
	}

	var gone []deploy.Resource

	asked := c.Graphs.asked(req.Spec)

	for _, r := range record.Resources {
		switch {
		case changes[r.Ref] == deploy.ChangeReplace:
			r.Ref = r.Ref.Past(r.Generation)
			gone = append(gone, r)
		case !asked(r.Ref) && ours(&r):
			gone = append(gone, r)
		}
	}

	x.findings = append(x.findings, c.permitted(ctx, x)...)

	return c.planned(x, changes, gone, nil), nil
}

// hindrance is why a deployment takes no update at the moment, or nil.
func hindrance(record *store.Record) *deploy.Finding {
	h := record.Deployment

	switch {
	case h.Unfinished:
		f := deploy.Errorf(deploy.Conflict, "operation_in_progress", "Operation %s works on %s at this moment.", h.Operation, h.Name).
			WithRemedy("Wait for that operation, or cancel it.").Finding()
		f.Operation = h.Operation

		return &f
	case !changeable(record):
		f := deploy.AsError(inactive(h)).Finding()

		return &f
	}

	return nil
}

// becomes says what an update to the record's spec, which is the next one, does for each resource: what differs from that spec is changed, whether the spec
// or somebody's hand made the difference, and so is whatever uses a thing that is new.
func (c *Control) becomes(ctx context.Context, x *examination, record *store.Record) (map[deploy.Ref]deploy.Change, error) {
	var (
		changes = map[deploy.Ref]deploy.Change{}
		differs = map[deploy.Ref]bool{}
	)

	// With something in its way, an update is not worth a look at everything.
	if len(x.wrong()) == 0 {
		drift, err := c.observe(ctx, record)
		if err != nil {
			return nil, err
		}

		for _, r := range drift.Resources {
			differs[r.Resource] = len(r.Differences) > 0
		}
	}

	for i, item := range x.items {
		r, about := record.Find(item.Ref), x.kinds[i].About()

		switch {
		case item.Existing != "" || about.Shared:
			changes[item.Ref] = deploy.ChangeUse
		case r == nil || r.Intent.IsZero():
			changes[item.Ref] = deploy.ChangeCreate
		case about.Replaceable && r.Origin == deploy.Made && r.Generation != item.Generation():
			changes[item.Ref] = deploy.ChangeReplace
		case differs[item.Ref]:
			changes[item.Ref] = deploy.ChangeUpdate
		default:
			changes[item.Ref] = deploy.ChangeNone
		}
	}

	// In the order of making, what a resource needs is known before it.
	for _, name := range c.Graphs.Ensure.Order() {
		for _, item := range x.items {
			if item.Ref.Kind() == name && changes[item.Ref] == deploy.ChangeNone && slices.ContainsFunc(item.Needs, func(need deploy.Ref) bool { return c.renews(need, changes[need]) }) {
				changes[item.Ref] = deploy.ChangeUpdate
			}
		}
	}

	return changes, nil
}

// renews tells whether a change of a resource gives those that need it something else to use.
func (c *Control) renews(ref deploy.Ref, change deploy.Change) bool {
	k, ok := c.Graphs.Kinds.Find(ref.Kind())

	switch change {
	case deploy.ChangeCreate, deploy.ChangeReplace:
		return true
	case deploy.ChangeUpdate:
		return ok && k.About().Versioned
	case deploy.ChangeNone, deploy.ChangeRemove, deploy.ChangeUse:
	}

	return false
}

// room finds out whether the tenant may have so much more. As where it is counted for good, nothing else may be in the way.
func (c *Control) room(ctx context.Context, x *examination, d deploy.Deployment) error {
	limit := c.Limits.Of(d.Tenant)
	if len(x.wrong()) > 0 || limit == (deploy.Usage{}) {
		return nil
	}

	have, err := c.Grants.Usage(ctx, d.Tenant)
	if err != nil {
		return fmt.Errorf("read what tenant %s uses: %w", d.Tenant, err)
	}

	more := counting(d).Minus(d.Counts)

	for _, q := range []struct {
		name              string
		have, more, limit int
	}{
		{"deployments of the tenant", have.Deployments, more.Deployments, limit.Deployments},
		{"vCPUs of the tenant", have.VCPUs, more.VCPUs, limit.VCPUs},
	} {
		if q.limit > 0 {
			x.quotas = append(x.quotas, deploy.QuotaUse{Name: q.name, Region: d.Region, Used: q.have, Needs: q.more, Limit: q.limit, Adjustable: true})
		}
	}

	if refused := exceeds(store.LimitError{Have: have, Limit: limit}, more); refused != nil {
		x.findings = append(x.findings, refused.Finding())
	}

	return nil
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

// planned puts a plan together: each resource's step to be made ready, and the removal of what is no longer wanted or only passes.
func (c *Control) planned(x *examination, changes map[deploy.Ref]deploy.Change, gone []deploy.Resource, passing []kind.Item) deploy.Plan {
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

	for _, item := range passing {
		k, _ := c.Graphs.Kinds.Find(item.Ref.Kind())
		plan.Steps = append(plan.Steps, deploy.PlannedStep{
			Resource: item.Ref, Action: deploy.Ensure, Change: deploy.ChangeCreate, Needs: item.Needs, Estimate: k.About().Ensuring.Typical,
		})
		gone = append(gone, deploy.Resource{Ref: item.Ref, Needs: item.Needs})
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
