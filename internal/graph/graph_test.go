package graph_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/metaflow-deployer/metaflow-deployer/internal/graph"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		reason string
		nodes  []graph.Node
		want   string
	}{
		"Cycle": {
			reason: "nothing in a cycle could ever begin, and the reader must learn which nodes are in it",
			nodes:  []graph.Node{{Name: "a", Needs: []string{"b"}}, {Name: "b", Needs: []string{"c"}}, {Name: "c", Needs: []string{"a"}}},
			want:   "a cycle: a -> b -> c -> a",
		},
		"Itself":  {reason: "a node that needs itself is the shortest cycle", nodes: []graph.Node{{Name: "a", Needs: []string{"a"}}}, want: "a cycle: a -> a"},
		"Unknown": {reason: "a need that is not there would be waited for for ever", nodes: []graph.Node{{Name: "a", Needs: []string{"z"}}}, want: "a needs z, which is not in the graph"},
		"Twice":   {reason: "the second would replace the first in silence", nodes: []graph.Node{{Name: "a"}, {Name: "a"}}, want: "a stands twice in the graph"},
	}

	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			_, err := graph.New(tt.nodes)
			if err == nil || err.Error() != tt.want {
				t.Errorf("%s: got %v, want %q", tt.reason, err, tt.want)
			}
		})
	}
}

func TestChainsPreferTheLongestPath(t *testing.T) {
	t.Parallel()

	g, err := graph.New([]graph.Node{
		{Name: "vpc", Takes: 5 * time.Second},
		{Name: "subnet", Needs: []string{"vpc"}, Takes: 12 * time.Second},
		{Name: "role", Takes: time.Second},
		{Name: "profile", Needs: []string{"role"}, Takes: 10 * time.Second},
		{Name: "environment", Needs: []string{"subnet", "profile"}, Takes: 25 * time.Second},
		{Name: "bucket", Takes: 3 * time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}

	want := [][]string{{"vpc", "subnet", "environment"}, {"role", "profile"}, {"bucket"}}
	if diff := cmp.Diff(want, g.Chains()); diff != "" {
		t.Errorf("the slowest path must be one chain, so that it waits for no poll of another (-want +got):\n%s", diff)
	}

	if got := g.Start()["environment"]; got != 17*time.Second {
		t.Errorf("environment can start after 17s, got %s", got)
	}
}

// TestChainsAddNoOrder draws random graphs: every node stands in exactly one chain, neighbours are joined by a need, and running the chains side by side
// with every need respected always comes to an end.
func TestChainsAddNoOrder(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 15).Draw(t, "nodes")
		nodes := make([]graph.Node, n)

		for i := range nodes {
			nodes[i] = graph.Node{Name: string(rune('a' + i)), Takes: time.Duration(rapid.IntRange(0, 9).Draw(t, "takes")) * time.Second}

			for j := range i {
				if rapid.Bool().Draw(t, "edge") {
					nodes[i].Needs = append(nodes[i].Needs, nodes[j].Name)
				}
			}
		}

		g, err := graph.New(nodes)
		if err != nil {
			t.Fatal(err)
		}

		chains, finished, total := g.Chains(), map[string]bool{}, 0

		needs := func(name, need string) bool {
			for _, x := range g.Needs(name) {
				if x == need {
					return true
				}
			}

			return false
		}

		for _, chain := range chains {
			total += len(chain)

			for i := 1; i < len(chain); i++ {
				if !needs(chain[i], chain[i-1]) {
					t.Fatalf("%s follows %s in a chain without needing it", chain[i], chain[i-1])
				}
			}
		}

		at := make([]int, len(chains))

		for moved := true; moved; {
			moved = false

			for c, chain := range chains {
				if at[c] == len(chain) {
					continue
				}

				ready := true
				for _, need := range g.Needs(chain[at[c]]) {
					ready = ready && finished[need]
				}

				if ready {
					finished[chain[at[c]]], moved = true, true
					at[c]++
				}
			}
		}

		if total != n || len(finished) != n {
			t.Fatalf("%d nodes: %d in chains, %d finished: %v", n, total, len(finished), chains)
		}
	})
}

func TestBefore(t *testing.T) {
	t.Parallel()

	g, err := graph.New([]graph.Node{{Name: "a"}, {Name: "b", Needs: []string{"a"}}, {Name: "c", Needs: []string{"b"}}, {Name: "d"}})
	if err != nil {
		t.Fatal(err)
	}

	for name, want := range map[string][]string{"a": {}, "b": {"a"}, "c": {"a", "b"}, "d": {}} {
		if diff := cmp.Diff(want, g.Before(name)); diff != "" {
			t.Errorf("before %s (-want +got):\n%s", name, diff)
		}
	}
}
