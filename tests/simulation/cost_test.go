package simulation_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

// Prices of us-east-1 in dollars: Step Functions Standard for a transition, Lambda (arm64) for a request and for a GB-second. Functions have 256 MB.
const (
	transitionPrice = 0.025 / 1000
	requestPrice    = 0.20 / 1_000_000
	gbSecondPrice   = 0.0000133334
	gigabytes       = 0.25
)

// TestCosts prints how long a create takes in every weather, as a ratio to the ideal (the longest way through the graph, at each kind's usual time) and to
// the calm one, and what each operation costs in calm weather.
func TestCosts(t *testing.T) {
	t.Parallel()

	graphs, err := workflow.NewGraphs(simulation.Kinds(awsfake.New()))
	if err != nil {
		t.Fatal(err)
	}

	var ideal time.Duration
	for _, end := range graphs.Ensure.Finish() {
		ideal = max(ideal, end)
	}

	calm := undisturbed(t, "calm", "purge").Makespans[0]

	for _, weather := range []string{"calm", "sharp", "late-1", "late-20", "late-60", "gusty", "invalid-once", "clinging"} {
		var (
			sum, worst float64
			cost       simulation.Cost
		)

		const seeds = 5

		for seed := range uint64(seeds) {
			r := one(t, simulation.Trial{Seed: seed, Weather: weather, Life: "purge"}, nil)
			if r.Err != nil {
				t.Fatal(r.Err)
			}

			sum, worst = sum+r.Makespans[0]/seeds, max(worst, r.Makespans[0])
			cost.Transitions += r.Cost.Transitions
			cost.Invocations += r.Cost.Invocations
			cost.Seconds += r.Cost.Seconds
		}

		t.Logf("%-13s a create takes %5.1f s (worst %5.1f), %.2f of the ideal %.0f s, %.2f of the calm one; create and purge: %5d transitions, %6.1f Lambda seconds, $%.5f",
			weather, sum, worst, sum/ideal.Seconds(), ideal.Seconds(), sum/calm, cost.Transitions/seeds, cost.Seconds/seeds, price(cost)/seeds)
	}

	for _, of := range []struct {
		life       string
		operations []string
	}{
		{"purge", []string{"create", "purge"}},
		{"rollback", []string{"create that is rolled back"}},
		{"update", []string{"", "update that adds", "update that takes away"}},
		{"replace", []string{"", "update that replaces"}},
		{"repair", []string{"", "repair"}},
		{"verify", []string{"", "verification"}},
	} {
		r := undisturbed(t, "calm", of.life)

		var before simulation.Cost

		for i, name := range of.operations {
			spent := r.Costs[i]
			spent.Transitions, spent.Invocations, spent.Seconds = spent.Transitions-before.Transitions, spent.Invocations-before.Invocations, spent.Seconds-before.Seconds
			before = r.Costs[i]

			if name != "" {
				t.Logf("%-26s %5.1f s, %3d transitions, %6.1f Lambda seconds, $%.5f", name, r.Makespans[i], spent.Transitions, spent.Seconds, price(spent))
			}
		}
	}
}

// price is what AWS takes for it, in dollars.
func price(c simulation.Cost) float64 {
	return float64(c.Transitions)*transitionPrice + float64(c.Invocations)*requestPrice + c.Seconds*gigabytes*gbSecondPrice
}

// TestCallsOfAWS counts the calls that an undisturbed create and its purge make where everything shows at once: a look too many in any kind shows here
// first. Batch is left out, where waiting is most of it. tests/bench holds the whole against a bare program.
func TestCallsOfAWS(t *testing.T) {
	t.Parallel()

	var (
		calls   = map[string]int{}
		allowed = map[string]int{"create": 75, "remove": 62}
		single  []string
	)

	for _, text := range undisturbed(t, "sharp", "purge").Points {
		p := simulation.ParsePoint(text)

		if !slices.Contains([]string{"s3", "iam", "ec2"}, p.Service) {
			continue
		}

		verb, _, _ := strings.Cut(p.Who, " ")
		if verb != "remove" {
			verb = "create" // the preflight, too
		}

		calls[verb]++

		single = append(single, text)
	}

	for verb, most := range allowed {
		if calls[verb] == 0 || calls[verb] > most {
			t.Errorf("%s: got %d calls, want at most %d:\n%s", verb, calls[verb], most, strings.Join(single, "\n"))
		}
	}

	t.Logf("calls of AWS: %v", calls)
}
