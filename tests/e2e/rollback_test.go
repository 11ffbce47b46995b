package e2e

import (
	"slices"
	"strings"
	"testing"
)

// TestRollback refuses each changing call of a clean create for good, one in each world: nothing is left, and the caller is told why.
func TestRollback(t *testing.T) {
	t.Parallel()

	c := disturb(t)

	acts := c.acts(t, c.create, "s3", "iam", "ec2", "batch")
	if len(acts) < len(c.resources) {
		t.Fatalf("%d resources were made with %d calls", len(c.resources), len(acts))
	}

	for _, a := range acts {
		t.Run(a.String(), func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			before := w.inventory()
			then := denial(a.service)
			w.rule(a.rule(then))

			op := w.finish(w.create("research", nil).ID, "ROLLED_BACK")

			if w.hits() == 0 {
				t.Fatal("the call was never made")
			}

			if phase := w.deployment("research").Phase; phase != "FAILED" {
				t.Errorf("the phase is %s", phase)
			}

			w.same("after the rollback", before, w.inventory())

			code := then["error"].(object)["code"].(string) //nolint:forcetypeassert // made in denial
			if e := op.Error; e == nil || !slices.Contains(a.refs, e.Resource) || e.AWSCode != code || e.Class != "denied" ||
				!strings.Contains(e.Detail, "refused on purpose") || e.Remedy == "" || e.Code == "" {
				t.Errorf("the error should be %s of %v, with cause and remedy: %s", code, a.refs, show(e))
			}

			// The name is free again. One proof for each resource is enough.
			if a.nth == 0 {
				w.unbroken()
				w.active("research", nil)
			}
		})
	}
}
