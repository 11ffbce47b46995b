package bench

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/graph"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/samtemplate"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

const (
	transitionsGoal = 60
	createGoal      = 1.08
	deleteGoal      = 1.10
	// spreads is how many worlds draw their durations from the ranges of the table.
	spreads = 100
)

// us-east-1, on demand: https://aws.amazon.com/step-functions/pricing and https://aws.amazon.com/lambda/pricing (arm64).
const (
	transitionPrice = 0.025 / 1000
	secondPrice     = 0.0000133 // for a GB
	requestPrice    = 0.20 / 1_000_000
)

// durations is the declared table.
type durations map[string]time.Duration

// readDurations reads the table, and draws from its ranges where there is something to draw with.
func readDurations(b *testing.B, draw *rand.Rand) durations {
	b.Helper()

	text, err := os.ReadFile("durations.json")
	if err != nil {
		b.Fatal(err)
	}

	var rows map[string]struct {
		Seconds, From, To float64
		Why               string
	}
	if err := json.Unmarshal(text, &rows); err != nil {
		b.Fatal(err)
	}

	names := make([]string, 0, len(rows))
	for name := range rows {
		names = append(names, name)
	}

	slices.Sort(names)

	d := durations{}

	for _, name := range names {
		row := rows[name]
		if row.Why == "" || row.From > row.Seconds || row.To < row.Seconds {
			b.Fatalf("durations.json: %s says not why, or lies outside its own range", name)
		}

		d[name] = time.Duration(row.Seconds * float64(time.Second))

		if draw != nil {
			d[name] = time.Duration((row.From + draw.Float64()*(row.To-row.From)) * float64(time.Second))
		}
	}

	return d
}

// set makes a world's AWS as slow as the table says.
func (d durations) set(w *awsfake.World) {
	w.EC2.Lag, w.S3.Lag, w.IAM.Lag, w.IAM.IDLag = d["ec2-visible"], d["bucket-visible"], d["iam-visible"], d["iam-visible"]
	w.Takes = awsfake.Takes{
		VPCPending: d["vpc-pending"], SubnetPending: d["subnet-pending"], EndpointPending: d["endpoint-pending"], EndpointDeleting: d["endpoint-deleting"],
		EnvironmentCreating: d["environment-creating"], EnvironmentScaling: d["environment-disabling"], EnvironmentUpdating: time.Minute,
		EnvironmentDeleting: d["environment-deleting"], QueueCreating: d["queue-creating"], QueueUpdating: d["queue-disabling"],
		QueueDeleting: d["queue-deleting"], RelationLag: d["relation-lag"],
	}
}

// least is the shortest time in which AWS makes or removes a thing of a kind, if everybody acts at once.
func (d durations) least(action deploy.Action, kind string) time.Duration {
	seen := d["ec2-visible"]

	if action == deploy.Remove {
		return map[string]time.Duration{
			"job-queue":           d["queue-disabling"] + d["queue-deleting"],
			"compute-environment": max(d["environment-disabling"], d["relation-lag"]) + d["environment-deleting"],
			"vpc-endpoint":        d["endpoint-deleting"],
		}[kind] // everything else goes at once
	}

	return map[string]time.Duration{
		"bucket": d["bucket-visible"], "job-role": d["iam-visible"], "instance-role": d["iam-visible"], "service-linked-role": d["iam-visible"],
		"instance-profile": max(d["iam-visible"], d["profile-usable"]), "vpc": max(seen, d["vpc-pending"]), "internet-gateway": seen, "route-table": seen,
		"subnet": max(seen, d["subnet-pending"]), "vpc-endpoint": max(seen, d["endpoint-pending"]), "security-group": seen, "launch-template": seen,
		"compute-environment": d["environment-creating"], "job-queue": d["queue-creating"],
	}[kind]
}

// ideal is the longest path through the graph of an action: no schedule is quicker.
func (d durations) ideal(b *testing.B, g *graph.Graph, action deploy.Action) time.Duration {
	b.Helper()

	var nodes []graph.Node
	for _, name := range g.Order() {
		nodes = append(nodes, graph.Node{Name: name, Needs: g.Needs(name), Takes: d.least(action, name)})
	}

	timed, err := graph.New(nodes)
	if err != nil {
		b.Fatal(err)
	}

	var longest time.Duration
	for _, at := range timed.Finish() {
		longest = max(longest, at)
	}

	return longest
}

// run is what one operation cost.
type run struct {
	makespan, ideal float64
	cost            simulation.Cost
	steps           []deploy.NamedStep
	began           time.Time
}

func (r run) ratio() float64 { return r.makespan / r.ideal }

// operate creates and deletes the default environment in virtual time.
func operate(b *testing.B, seed uint64, d durations) (create, remove run) {
	b.Helper()

	ok := testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: b.Name(), F: func(t *testing.T) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			w, err := simulation.NewWorld(seed)
			if err != nil {
				t.Fatal(err)
			}

			d.set(w.AWS)

			who := deploy.Principal{Tenant: "acme", Actor: "ada", Roles: []deploy.Role{deploy.Deployer}}

			if _, err := w.Control.Create(t.Context(), who, workflow.CreateRequest{Name: "research", Spec: deploy.Spec{}.WithDefaults()}); err != nil {
				t.Fatal(err)
			}

			create = finish(t, w, deploy.PhaseActive)
			create.ideal = d.ideal(b, w.Graphs.Ensure, deploy.Ensure).Seconds()

			if _, err := w.Control.Delete(t.Context(), who, workflow.DeleteRequest{Name: "research", Data: deploy.Purge}); err != nil {
				t.Fatal(err)
			}

			remove = finish(t, w, deploy.PhaseDeleted)
			remove.ideal = d.ideal(b, w.Graphs.Remove, deploy.Remove).Seconds()
			remove.cost.Transitions -= create.cost.Transitions
			remove.cost.Invocations -= create.cost.Invocations
			remove.cost.Seconds -= create.cost.Seconds
		})
	}}})
	if !ok {
		b.Fatal("the simulation failed")
	}

	// A world that is quicker than the shortest path shows that the path, and with it every ratio, is wrong.
	if create.ratio() < 1 || remove.ratio() < 1 {
		b.Fatalf("seed %d: a create of %.1f s and a delete of %.1f s are quicker than the longest paths, %.1f and %.1f s",
			seed, create.makespan, remove.makespan, create.ideal, remove.ideal)
	}

	return create, remove
}

// finish lets an operation end and reads what it took.
func finish(t *testing.T, w *simulation.World, phase deploy.Phase) run {
	t.Helper()

	key := deploy.Key{Tenant: "acme", Name: "research"}

	header, err := w.Settle(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}

	record, err := w.Store.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}

	if header.Phase != phase {
		t.Fatalf("the deployment is %s, want %s: %v", header.Phase, phase, record.Operation.Error)
	}

	op := record.Operation

	return run{makespan: op.EndTime.Sub(op.CreateTime).Seconds(), cost: w.Cost(), steps: op.Steps, began: op.CreateTime}
}

// memory is what the template gives the functions that the state machine calls.
func memory(b *testing.B) float64 {
	b.Helper()

	largest := 0

	for _, f := range template(b).Functions {
		if f.Name != "api" && f.Name != "watchdog" {
			largest = max(largest, f.MemoryMB)
		}
	}

	return float64(largest) / 1024
}

// template is what template.yaml declares for an account.
func template(b *testing.B) *samtemplate.Stack {
	b.Helper()

	text, err := os.ReadFile(filepath.Join("..", "..", "template.yaml"))
	if err != nil {
		b.Fatal(err)
	}

	parsed, err := samtemplate.Parse(text)
	if err != nil {
		b.Fatal(err)
	}

	stack, err := parsed.Resolve(samtemplate.Inputs{
		Region: local.Region, Account: local.Account, StackName: "bench", APIEndpoint: "http://127.0.0.1",
		Parameters: map[string]string{"OidcIssuer": "http://127.0.0.1", "OidcAudience": "bench", "IamPrincipals": "{}"},
	})
	if err != nil {
		b.Fatal(err)
	}

	return stack
}

// BenchmarkWorkflow runs the real state machine in virtual time, on fakes of AWS that take the declared durations: once with the typical ones, then with
// many drawn from the ranges. Calls take no time in the makespan, and 30 ms each in the seconds of Lambda.
func BenchmarkWorkflow(b *testing.B) {
	for b.Loop() {
		create, remove := operate(b, 1, readDurations(b, nil))
		gb := memory(b)

		report(b, "create", create, gb, transitionsGoal, createGoal)
		report(b, "delete", remove, gb, 0, deleteGoal)
		spread(b)
	}
}

func report(b *testing.B, what string, r run, gb float64, transitions, ratio float64) {
	b.Helper()

	const part = "declared durations, virtual time"

	c := r.cost
	price := float64(c.Transitions)*transitionPrice + c.Seconds*gb*secondPrice + float64(c.Invocations)*requestPrice

	results.compare(b, part, what+", makespan against the longest path", r.makespan, r.ideal, ratio, "s")
	results.count(b, part, what+", state transitions", float64(c.Transitions), transitions, "")
	results.count(b, part, what+", invocations of Lambda", float64(c.Invocations), 0, "")
	results.count(b, part, what+", seconds of Lambda", c.Seconds, 0, "s")
	results.count(b, part, what+", price of 1,000", price*1000, 0, "$")

	if testing.Verbose() {
		for _, s := range r.steps {
			fmt.Printf("%s %-28s %6.1f to %6.1f s, %d attempts\n", what, s.Resource, s.StartTime.Sub(r.began).Seconds(), s.EndTime.Sub(r.began).Seconds(), s.Attempts)
		}
	}
}

func spread(b *testing.B) {
	b.Helper()

	ratios, transitions := map[string][]float64{}, map[string][]float64{}

	for seed := range uint64(spreads) {
		create, remove := operate(b, seed, readDurations(b, rand.New(rand.NewPCG(seed, seed))))

		for what, r := range map[string]run{"create": create, "delete": remove} {
			ratios[what] = append(ratios[what], r.ratio())
			transitions[what] = append(transitions[what], float64(r.cost.Transitions))
		}
	}

	for _, what := range []string{"create", "delete"} {
		slices.Sort(ratios[what])
		slices.Sort(transitions[what])
		results.note("%s, %d worlds with durations drawn from their ranges: makespan against the longest path median %.2f, p95 %.2f; transitions median %.0f, p95 %.0f",
			what, spreads, median(ratios[what]), ratios[what][spreads*95/100], median(transitions[what]), transitions[what][spreads*95/100])
	}
}
