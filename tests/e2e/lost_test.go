package e2e

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var lose = object{"lose": "response"}

// TestLostResponse lets calls happen and breaks their answers. Resources do not see each other's calls, so one world loses the n-th answer of every resource;
// another loses every answer of the table and of Step Functions.
func TestLostResponse(t *testing.T) {
	t.Parallel()

	c := disturb(t)
	rounds := map[int][]act{}

	for _, a := range c.acts(t, c.create, "s3", "iam", "ec2", "batch") {
		rounds[a.nth] = append(rounds[a.nth], a)
	}

	for n, acts := range rounds {
		t.Run(fmt.Sprintf("aws %d", n+1), func(t *testing.T) {
			t.Parallel()
			lost(t, c, acts, 1)
		})
	}

	t.Run("records", func(t *testing.T) {
		t.Parallel()
		// How often a resource is looked at, and so how many versions it gets, depends on the time that things take.
		lost(t, c, c.acts(t, c.create, "dynamodb", "sfn"), 0.9)
	})
}

// lost runs a life in which the answers to some calls are lost, at least that share of them.
func lost(t *testing.T, c clean, acts []act, share float64) {
	t.Helper()

	w := newWorld(t)
	before := w.inventory()

	want := 0

	for _, a := range acts {
		t.Log("lose", a)
		w.rule(a.once(lose))

		want += a.times
	}

	w.active("research", nil)

	if got := w.hits(); float64(got) < share*float64(want) {
		t.Errorf("%d of %d answers were lost", got, want)
	}

	w.once(c, "research")
	w.gone("research")
	w.same("after the delete", before, w.inventory())
}

// once checks that the record shows what a clean create shows, and that AWS has each thing once.
func (w *world) once(c clean, name string) {
	w.Helper()

	refs := func(all []resource) map[string]int {
		out := map[string]int{}
		for _, r := range all {
			out[r.Ref+" "+r.State]++
		}

		return out
	}

	if diff := cmp.Diff(refs(c.resources), refs(w.resources(name))); diff != "" {
		w.Errorf("the record is not that of a clean create (-want +got):\n%s", diff)
	}

	for ref, lines := range w.inventory().ours(name) {
		if len(lines) != 1 {
			w.Errorf("%s is there %d times: %v", ref, len(lines), lines)
		}
	}
}
