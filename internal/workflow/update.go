package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

// UpdateRequest is a wish to change a deployment, to repair it as it is, or to verify it.
type UpdateRequest struct {
	Name string
	// Spec is what an update makes of it, valid in itself and with defaults filled in. Labels nil and TTL zero leave what is there.
	Spec   deploy.Spec
	Labels map[string]string
	TTL    time.Duration
	// Match tells whether the deployment is still the one that the caller has seen; nil for whichever it is.
	Match func(deploy.Deployment) bool
	Claim *store.Claim
}

// Update admits the change of a living deployment to another spec, in place where AWS allows and otherwise by making the new thing before the old one
// goes. It answers *Exists while another operation runs, *Refused for what cannot be changed and for what the checks of a create find,
// *deploy.Error with code precondition_failed or not_active, or what a create answers.
func (c *Control) Update(ctx context.Context, p deploy.Principal, req UpdateRequest) (Admitted, error) {
	return c.change(ctx, p, req, func(header *deploy.Deployment, op *deploy.Operation, standing []deploy.Resource) error {
		op.Kind, op.Data = deploy.Update, deploy.IfEmpty
		op.Before = &deploy.Before{Spec: header.Spec, Labels: header.Labels}

		header.Phase, header.Spec = deploy.PhaseUpdating, req.Spec
		if req.Labels != nil {
			header.Labels = req.Labels
		}

		if req.TTL > 0 {
			op.Before.ExpireTime, op.Before.Warned = header.ExpireTime, header.Warned
			expire(header, op.CreateTime.Add(req.TTL), op.CreateTime)
			op.Before.Replaced = header.ExpireTime
		}

		x, err := c.examineUpdate(ctx, p, op.Before.Spec, *header, standing, false)
		if err != nil {
			return err
		}

		return x.refusal()
	})
}

// Repair admits that everything of a deployment is brought back to its spec. It answers as Update does.
func (c *Control) Repair(ctx context.Context, p deploy.Principal, req UpdateRequest) (Admitted, error) {
	return c.change(ctx, p, req, func(header *deploy.Deployment, op *deploy.Operation, _ []deploy.Resource) error {
		op.Kind, op.Data, op.Was, header.Phase = deploy.Repair, deploy.IfEmpty, header.Phase, deploy.PhaseUpdating

		return nil
	})
}

// Verify admits that a probe job proves the deployment. It answers as Update does.
func (c *Control) Verify(ctx context.Context, p deploy.Principal, req UpdateRequest) (Admitted, error) {
	return c.change(ctx, p, req, func(header *deploy.Deployment, op *deploy.Operation, _ []deploy.Resource) error {
		op.Kind, op.Data, op.Probe = deploy.Verify, deploy.IfEmpty, true
		if header.Phase != deploy.PhaseActive {
			return inactive(*header)
		}

		if !probeable(header.Spec) {
			return unprobeable()
		}

		return nil
	})
}

// probeable tells whether a probe job can be sent: our functions may hand on the roles that we made, and no others.
func probeable(spec deploy.Spec) bool { return spec.Access.Existing == nil }

func unprobeable() error {
	return deploy.Errorf(deploy.Invalid, deploy.CodeNotOfferedYet, "A verification with a job role of your own is not offered yet: the product may not hand it on.").
		WithRemedy("Leave verify out, and run a flow to see that it works.").At("/verify")
}

func inactive(header deploy.Deployment) error {
	if header.Phase == deploy.PhaseFailed {
		return deploy.Errorf(deploy.Conflict, "not_active", "The deployment is FAILED: its create was rolled back, and nothing of it is there.").
			WithRemedy("See its operation %s for what went wrong. Create it again under the same name, or delete it to have it off the list.", header.Operation)
	}

	return deploy.Errorf(deploy.Conflict, "not_active", "The deployment is %s.", header.Phase).
		WithRemedy("See its operation %s for what went wrong; what it needs is there.", header.Operation)
}

// change admits an operation on a living deployment.
func (c *Control) change(ctx context.Context, p deploy.Principal, req UpdateRequest, prepare func(*deploy.Deployment, *deploy.Operation, []deploy.Resource) error) (Admitted, error) {
	key := deploy.Key{Tenant: p.Tenant, Name: req.Name}

	return c.once(ctx, req.Claim, func() (Admitted, error) {
		return c.settled(ctx, "The deployment changes too quickly.", func() (Admitted, error) {
			record, err := c.Store.Load(ctx, key)
			if err != nil {
				return Admitted{}, fmt.Errorf("read deployment %s: %w", key.Name, err)
			}

			header := record.Deployment

			switch {
			case header.Phase == deploy.PhaseDeleted:
				return Admitted{}, fmt.Errorf("deployment %s is deleted: %w", key.Name, store.ErrNotFound)
			case header.Unfinished:
				return Admitted{}, &Exists{Deployment: key.Name, Operation: header.Operation}
			case req.Match != nil && !req.Match(header):
				return Admitted{}, changed()
			case !changeable(record):
				return Admitted{}, inactive(header)
			}

			phase, now := header.Phase, c.Clock.Now()
			op := c.operation(key, "", p, now)
			header.UpdateTime = now

			if err := prepare(&header, &op, record.Resources); err != nil {
				return Admitted{}, err
			}

			return c.admit(ctx, p, phase, header, op, nil, req.Claim)
		})
	})
}

// changeable tells whether a deployment stands, whole or nearly: a create or delete that got stuck is no ground to build on.
func changeable(record *store.Record) bool {
	switch record.Deployment.Phase {
	case deploy.PhaseActive:
		return true
	case deploy.PhaseNeedsAttention:
		return record.Operation.Kind != deploy.Create && record.Operation.Kind != deploy.Delete
	case deploy.PhaseCreating, deploy.PhaseUpdating, deploy.PhaseDeleting, deploy.PhaseDeleted, deploy.PhaseFailed:
	}

	return false
}

// unchangeable finds what an update from one spec to another would have to change and cannot: settings that AWS fixes for life, on things that hold data or
// that everything else stands in.
func (c *Control) unchangeable(before, after deploy.Spec) ([]deploy.Finding, error) {
	old, err := c.Graphs.Items(before, false)
	if err != nil {
		return nil, err
	}

	items, err := c.Graphs.Items(after, false)
	if err != nil {
		return nil, err
	}

	var findings []deploy.Finding

	for _, item := range items {
		for _, was := range old {
			if was.Ref != item.Ref || c.Graphs.mayBecome(was, item) {
				continue
			}

			at, err := difference(before, after, item.Pointer)
			if err != nil {
				return nil, err
			}

			// A VPC's range is its subnets' as well: who hears of the first knows enough.
			if slices.ContainsFunc(findings, func(f deploy.Finding) bool { return f.Pointer == at }) {
				continue
			}

			findings = append(findings, deploy.Errorf(deploy.Invalid, "cannot_change", "The %s of a deployment cannot be changed in this way.", item.Ref).
				WithRemedy("Leave it as it is, or create another deployment and move there.").Of(item.Ref).At(at).Finding())
		}
	}

	return findings, nil
}

// difference follows a pointer into the spec to the one member below it that differs, as long as there is only one.
func difference(before, after deploy.Spec, pointer string) (string, error) {
	var docs [2]any

	for i, spec := range []deploy.Spec{before, after} {
		text, err := json.Marshal(map[string]deploy.Spec{"spec": spec})
		if err != nil {
			return "", fmt.Errorf("write the spec: %w", err)
		}

		if err := json.Unmarshal(text, &docs[i]); err != nil {
			return "", fmt.Errorf("read the spec: %w", err)
		}
	}

	member := func(doc any, name string) any { m, _ := doc.(map[string]any); return m[name] }

	for name := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		docs = [2]any{member(docs[0], name), member(docs[1], name)}
	}

	for {
		was, _ := docs[0].(map[string]any)
		is, _ := docs[1].(map[string]any)

		var differ []string

		for name := range is {
			if !reflect.DeepEqual(was[name], is[name]) {
				differ = append(differ, name)
			}
		}

		leftOut := slices.ContainsFunc(slices.Collect(maps.Keys(was)), func(name string) bool { return was[name] != nil && is[name] == nil })
		if len(differ) != 1 || leftOut || was == nil {
			return pointer, nil
		}

		pointer += "/" + differ[0]
		docs = [2]any{was[differ[0]], is[differ[0]]}
	}
}

// mayBecome tells whether an update can make one thing of another.
func (g *Graphs) mayBecome(was, item kind.Item) bool {
	k, _ := g.Kinds.Find(item.Ref.Kind())
	about := k.About()

	switch {
	case was.Existing == item.Existing:
		return was.Generation() == item.Generation() || about.Replaceable
	case was.Existing == "" || item.Existing == "":
		return false // what we made would have to go before what is brought takes its place
	default:
		return !about.ForLife
	}
}

// ExtendRequest is a wish for a later expiry, or an earlier one.
type ExtendRequest struct {
	Name string
	// TTL is how long from now the deployment may live.
	TTL time.Duration
	// Match tells whether the deployment is still the one that the caller has seen; nil for whichever it is.
	Match func(deploy.Deployment) bool
	Claim *store.Claim
}

// Extend moves a deployment's expiry to a time from now. It answers store.ErrNotFound, or *deploy.Error with code not_active or precondition_failed. A
// repetition with the same claim moves nothing, and answers the deployment as it is by then.
func (c *Control) Extend(ctx context.Context, p deploy.Principal, req ExtendRequest) (deploy.Deployment, error) {
	header, repeated := deploy.Deployment{}, true

	_, err := c.once(ctx, req.Claim, func() (Admitted, error) {
		repeated = false

		return c.settled(ctx, "The deployment changes too quickly.", func() (_ Admitted, err error) {
			header, err = c.extend(ctx, p, req)

			return Admitted{}, err
		})
	})
	if err != nil || !repeated {
		return header, err
	}

	record, err := c.Store.Load(ctx, deploy.Key{Tenant: p.Tenant, Name: req.Name})
	if err != nil {
		return deploy.Deployment{}, fmt.Errorf("read deployment %s: %w", req.Name, err)
	}

	return record.Deployment, nil
}

func (c *Control) extend(ctx context.Context, p deploy.Principal, req ExtendRequest) (deploy.Deployment, error) {
	key := deploy.Key{Tenant: p.Tenant, Name: req.Name}

	record, err := c.Store.Load(ctx, key)
	if err != nil {
		return deploy.Deployment{}, fmt.Errorf("read deployment %s: %w", req.Name, err)
	}

	header, now := record.Deployment, c.Clock.Now()

	switch header.Phase {
	case deploy.PhaseDeleted:
		return header, fmt.Errorf("deployment %s is deleted: %w", req.Name, store.ErrNotFound)
	case deploy.PhaseDeleting, deploy.PhaseFailed:
		return header, inactive(header)
	case deploy.PhaseCreating, deploy.PhaseActive, deploy.PhaseUpdating, deploy.PhaseNeedsAttention:
	}

	if req.Match != nil && !req.Match(header) {
		return header, changed()
	}

	expire(&header, now.Add(req.TTL), now)

	if !header.Unfinished {
		header.CheckTime = notice(header, record.Operation)
	}

	change := &store.Change{Deployment: &header, Entries: []deploy.Entry{Line(deploy.Entry{
		Tenant: p.Tenant, Actor: p.Actor, Action: "extend", Deployment: req.Name, Outcome: deploy.OutcomeDone, Detail: header.ExpireTime.UTC().Format(time.RFC3339),
	}, fmt.Sprintf("%s-%d", req.Name, header.Version), now)}}

	if req.Claim != nil {
		change.Answer = &store.Answer{Claim: *req.Claim, Operation: header.Operation, Name: req.Name}
	}

	err = c.commit(ctx, key, change) // which raises the header's version

	return header, err
}

// Drift compares everything of a deployment with its spec. It changes nothing.
func (c *Control) Drift(ctx context.Context, p deploy.Principal, name string) (deploy.Drift, error) {
	key := deploy.Key{Tenant: p.Tenant, Name: name}

	record, err := c.Store.Load(ctx, key)
	if err != nil {
		return deploy.Drift{}, fmt.Errorf("read deployment %s: %w", name, err)
	}

	if record.Deployment.Phase == deploy.PhaseDeleted {
		return deploy.Drift{}, fmt.Errorf("deployment %s is deleted: %w", name, store.ErrNotFound)
	}

	if record.Deployment.Unfinished {
		return deploy.Drift{}, &Exists{Deployment: name, Operation: record.Deployment.Operation}
	}

	if !changeable(record) {
		return deploy.Drift{}, inactive(record.Deployment)
	}

	return c.observe(ctx, record)
}

// observe asks every resource's kind at once what it sees.
func (c *Control) observe(ctx context.Context, record *store.Record) (deploy.Drift, error) {
	items, err := c.Graphs.Items(record.Deployment.Spec, false)
	if err != nil {
		return deploy.Drift{}, err
	}

	var (
		wait sync.WaitGroup
		out  = deploy.Drift{Key: record.Deployment.Key, Time: c.Clock.Now(), Resources: make([]deploy.ResourceDrift, len(items))}
		errs = make([]error, len(items))
	)

	for i, item := range items {
		k, _ := c.Graphs.Kinds.Find(item.Ref.Kind())

		r := record.Find(item.Ref)
		if r == nil {
			r = &deploy.Resource{Ref: item.Ref, Needs: item.Needs}
		}

		wait.Go(func() {
			obs, err := k.Observe(ctx, newCall(c.Place, c.Clock, record, r, k))
			if err != nil {
				errs[i] = awserr.Classify(err).Of(item.Ref)

				return
			}

			out.Resources[i] = drift(item, obs)
		})
	}

	wait.Wait()

	return out, errors.Join(errs...)
}

func drift(item kind.Item, obs kind.Observation) deploy.ResourceDrift {
	d := deploy.ResourceDrift{Resource: item.Ref, State: string(obs.State), Differences: obs.Differences, NotChecked: obs.NotChecked}

	if obs.State != kind.Ready {
		d.Differences = append([]deploy.Difference{{Property: "state", Want: string(kind.Ready), Have: string(obs.State)}}, d.Differences...)
	}

	for _, p := range obs.Problems {
		d.Differences = append(d.Differences, deploy.Difference{Property: "usable", Want: "yes", Have: p.Message})
	}

	return d
}
