package simulation_test

import (
	"testing"

	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

// TestChanges runs the lives of deployments that change while they stand, each undisturbed: what the end must look like stands in the lives.
func TestChanges(t *testing.T) {
	t.Parallel()

	for name := range simulation.Changing() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			undisturbed(t, "calm", name)
		})
	}
}
