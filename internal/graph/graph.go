// Package graph orders things that need each other: which comes first, what may run side by side, and how to cut the whole into chains.
//
// It knows names and durations only; not what the names stand for.
package graph

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Node is one thing, what it needs to be finished first, and how long it usually takes itself.
type Node struct {
	Name  string
	Needs []string
	Takes time.Duration
}

// Graph is an acyclic set of nodes. Every answer is the same on every run.
type Graph struct {
	nodes map[string]Node
	order []string
}

// New checks that every need exists and that there is no cycle; the error names the culprits.
func New(nodes []Node) (*Graph, error) {
	g := &Graph{nodes: make(map[string]Node, len(nodes))}

	for _, n := range nodes {
		if _, ok := g.nodes[n.Name]; ok {
			return nil, fmt.Errorf("%s stands twice in the graph", n.Name)
		}

		g.nodes[n.Name] = n
	}

	const onPath, finished = 1, 2

	state := map[string]int{}

	var visit func(name string, path []string) error

	visit = func(name string, path []string) error {
		path = append(path, name)

		switch state[name] {
		case finished:
			return nil
		case onPath:
			return fmt.Errorf("a cycle: %s", strings.Join(path[slices.Index(path, name):], " -> "))
		}

		state[name] = onPath

		for _, need := range g.nodes[name].Needs {
			if _, ok := g.nodes[need]; !ok {
				return fmt.Errorf("%s needs %s, which is not in the graph", name, need)
			}

			if err := visit(need, path); err != nil {
				return err
			}
		}

		state[name] = finished
		g.order = append(g.order, name)

		return nil
	}

	for _, n := range nodes {
		if err := visit(n.Name, nil); err != nil {
			return nil, err
		}
	}

	return g, nil
}

// Order lists every node after what it needs.
func (g *Graph) Order() []string { return slices.Clone(g.order) }

// Needs lists what a node needs directly.
func (g *Graph) Needs(name string) []string { return slices.Clone(g.nodes[name].Needs) }

// Before lists everything that must be finished before a node, directly or not, in the order of the graph.
func (g *Graph) Before(name string) []string {
	before := map[string]bool{}

	// The order lists needs first, so one pass from behind reaches them all.
	for _, n := range slices.Backward(g.order) {
		if n == name || before[n] {
			for _, need := range g.nodes[n].Needs {
				before[need] = true
			}
		}
	}

	return slices.DeleteFunc(g.Order(), func(n string) bool { return !before[n] })
}

// Finish tells when each node is done if everything starts as early as it can.
func (g *Graph) Finish() map[string]time.Duration {
	at := make(map[string]time.Duration, len(g.order))
	for _, name := range g.order {
		at[name] = g.start(name, at) + g.nodes[name].Takes
	}

	return at
}

// Start tells when each node can begin at the earliest.
func (g *Graph) Start() map[string]time.Duration {
	finish := g.Finish()

	at := make(map[string]time.Duration, len(g.order))
	for _, name := range g.order {
		at[name] = g.start(name, finish)
	}

	return at
}

func (g *Graph) start(name string, finish map[string]time.Duration) time.Duration {
	var latest time.Duration
	for _, need := range g.nodes[name].Needs {
		latest = max(latest, finish[need])
	}

	return latest
}

// Chains cuts the graph into paths that cover every node once. Neighbours in a chain are joined by a need, so running chains side by side, each from
// its head, adds no order that is not there already and cannot deadlock. The longest path comes first: what decides the duration of the whole never
// waits for another chain longer than it must.
func (g *Graph) Chains() [][]string {
	left := make(map[string]bool, len(g.order))
	for _, name := range g.order {
		left[name] = true
	}

	var chains [][]string

	for len(left) > 0 {
		longest, previous := map[string]time.Duration{}, map[string]string{}
		end := ""

		for _, name := range g.order {
			if !left[name] {
				continue
			}

			for _, need := range g.nodes[name].Needs {
				if left[need] && (previous[name] == "" || longest[need] > longest[previous[name]]) {
					previous[name] = need
				}
			}

			longest[name] = longest[previous[name]] + g.nodes[name].Takes + 1 // the nanosecond prefers more nodes among equals

			if end == "" || longest[name] > longest[end] {
				end = name
			}
		}

		var chain []string
		for name := end; name != ""; name = previous[name] {
			chain = append(chain, name)
			delete(left, name)
		}

		slices.Reverse(chain)
		chains = append(chains, chain)
	}

	return chains
}
