package workflow

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/graph"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// Graphs are the two orders of work: how kinds come to be, and how they go. Removal has arrows of its own, so it is not just the reverse.
type Graphs struct {
	Kinds          kind.Registry
	Ensure, Remove *graph.Graph
}

// NewGraphs derives both orders from what the kinds declare.
func NewGraphs(kinds kind.Registry) (*Graphs, error) {
	var ensure, remove []graph.Node

	for _, k := range kinds {
		a := k.About()
		ensure = append(ensure, graph.Node{Name: a.Name, Needs: a.Needs, Takes: a.Ensuring.Typical})

		if a.Shared {
			continue
		}

		after := slices.Clone(a.RemoveAfter)

		for _, other := range kinds {
			o := other.About()
			if slices.Contains(o.Needs, a.Name) && !slices.Contains(after, o.Name) && !o.Shared {
				after = append(after, o.Name)
			}
		}

		remove = append(remove, graph.Node{Name: a.Name, Needs: after, Takes: a.Removing.Typical})
	}

	e, err := graph.New(ensure)
	if err != nil {
		return nil, fmt.Errorf("order the creation: %w", err)
	}

	r, err := graph.New(remove)
	if err != nil {
		return nil, fmt.Errorf("order the removal: %w", err)
	}

	return &Graphs{Kinds: kinds, Ensure: e, Remove: r}, nil
}

// Items lists every resource that a spec asks for, and with probe those of the kinds that only pass.
func (g *Graphs) Items(spec deploy.Spec, probe bool) ([]kind.Item, error) {
	items, err := g.Kinds.Plan(spec)
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}

	return slices.DeleteFunc(items, func(item kind.Item) bool { return !probe && g.passing(item.Ref) }), nil
}

// passing tells whether a resource is of a kind that an operation asks for and takes away again.
func (g *Graphs) passing(ref deploy.Ref) bool {
	k, ok := g.Kinds.Find(ref.Kind())

	return ok && k.About().Passing
}

// of returns the graph of an action.
func (g *Graphs) of(a deploy.Action) *graph.Graph {
	if a == deploy.Remove {
		return g.Remove
	}

	return g.Ensure
}

// plan answers which chains and which refs have a step to do.
func (g *Graphs) plan(turn Turn, action deploy.Action, epoch int, resources []deploy.Resource) Plan {
	p := Plan{Turn: turn, Epoch: epoch, Want: map[string]bool{}, Nap: map[string]bool{}, Each: map[string][]deploy.Ref{}}

	wanted := map[string]bool{}

	for _, k := range g.Kinds {
		a := k.About()
		if a.Many {
			p.Each[variable(a.Name)] = []deploy.Ref{}
		}

		for i := range resources {
			r := &resources[i]
			if r.Ref.Kind() != a.Name || r.Step(action) == nil || r.Step(action).State.Done() {
				continue
			}

			wanted[a.Name] = true

			if a.Many {
				p.Each[variable(a.Name)] = append(p.Each[variable(a.Name)], r.Ref)
			}
		}

		slices.Sort(p.Each[variable(a.Name)])
	}

	order := g.of(action)

	// An execution that began before an upgrade asks for the chains of its own definition, whose heads may be other kinds. What it asks for in vain costs a
	// call that finds nothing to do; what it did not find would end it.
	for _, k := range g.Kinds {
		p.Want[variable(k.About().Name)], p.Nap[variable(k.About().Name)] = len(wanted) > 0, false
	}

	for _, chain := range order.Chains() {
		want := slices.ContainsFunc(chain, func(name string) bool { return wanted[name] })
		p.Want[variable(chain[0])] = want

		if patience(order, chain) >= napping {
			p.Nap[variable(chain[0])] = want && slices.ContainsFunc(order.Before(chain[0]), func(name string) bool { return wanted[name] })
		}
	}

	return p
}

// variable turns a kind's name into a member name that needs no quoting in JSONPath.
func variable(name string) string { return strings.ReplaceAll(name, "-", "_") }

// patience is how long the head of a chain usually waits for other chains.
func patience(g *graph.Graph, chain []string) time.Duration { return g.Start()[chain[0]] }

// comesBefore tells whether a resource must be finished before an action on another, of which about is the kind.
func comesBefore(before, r *deploy.Resource, about kind.About, action deploy.Action) bool {
	if action == deploy.Ensure {
		return slices.Contains(r.Needs, before.Ref)
	}

	return slices.Contains(before.Needs, r.Ref) || slices.Contains(about.RemoveAfter, before.Ref.Kind())
}

// waits names something that a step waits for, or nothing. It is worked out when somebody looks, so that waiting costs no write.
func (g *Graphs) waits(r *deploy.Resource, action deploy.Action, resources []deploy.Resource) string {
	k, ok := g.Kinds.Find(r.Ref.Kind())
	if !ok {
		return ""
	}

	for i := range resources {
		s := resources[i].Step(action)
		if s != nil && !s.State.Done() && comesBefore(&resources[i], r, k.About(), action) {
			return string(resources[i].Ref)
		}
	}

	return ""
}

// sorted puts steps into the order in which a person expects them: what is made in the order of making, then what is removed in the order of removal.
func (g *Graphs) sorted(steps []deploy.NamedStep) []deploy.NamedStep {
	rank := map[deploy.Action]map[string]int{deploy.Ensure: {}, deploy.Remove: {}}
	for _, a := range []deploy.Action{deploy.Ensure, deploy.Remove} {
		for i, name := range g.of(a).Order() {
			rank[a][name] = i
		}
	}

	slices.SortStableFunc(steps, func(x, y deploy.NamedStep) int {
		if x.Action != y.Action {
			if x.Action == deploy.Ensure {
				return -1
			}

			return 1
		}

		if d := rank[x.Action][x.Kind] - rank[y.Action][y.Kind]; d != 0 {
			return d
		}

		return strings.Compare(string(x.Resource), string(y.Resource))
	})

	return steps
}

// Steps lists what the record's current operation does, step by step.
func (g *Graphs) Steps(op deploy.Operation, resources []deploy.Resource) []deploy.NamedStep {
	if op.State.Done() {
		return op.Steps
	}

	var steps []deploy.NamedStep

	for i := range resources {
		r := &resources[i]
		if r.Operation != op.ID {
			continue
		}

		for _, a := range []deploy.Action{deploy.Ensure, deploy.Remove} {
			s := r.Step(a)
			if s == nil {
				continue
			}

			step := deploy.NamedStep{Resource: r.Ref, Kind: r.Ref.Kind(), Action: a, Step: *s}
			if waits := g.waits(r, a, resources); step.State == deploy.StepPending && waits != "" {
				step.State, step.WaitingFor = deploy.StepWaiting, waits
			}

			steps = append(steps, step)
		}
	}

	return g.sorted(steps)
}
