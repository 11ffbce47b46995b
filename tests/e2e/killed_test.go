package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
)

// killings is over how many worlds the resources are spread: a killed function's resource rests for half a minute, and two that wait for each other take twice
// as long.
const killings = 8

// TestKilled ends the function's process before or after the first changing call that makes each resource, and after the first that removes it.
func TestKilled(t *testing.T) {
	t.Parallel()

	c := disturb(t)
	making, removing := firsts(c.acts(t, c.create, "s3", "iam", "ec2", "batch")), firsts(c.acts(t, c.delete, "s3", "iam", "ec2", "batch"))

	for _, when := range []string{"before", "after"} {
		for n := range killings {
			t.Run(fmt.Sprintf("%s %d", when, n+1), func(t *testing.T) {
				t.Parallel()

				w := newWorld(t)
				before := w.inventory()

				w.kill(making, n, when)
				w.active("research", nil)
				w.killed()
				w.once(c, "research")

				// Before a removal's call nothing has happened that a create does not show already.
				if when == "before" {
					return
				}

				w.kill(removing, n, when)
				w.gone("research")
				w.killed()
				w.same("after the delete", before, w.inventory())
			})
		}
	}
}

// firsts gives the first act of each resource.
func firsts(acts []act) []act {
	return slices.DeleteFunc(slices.Clone(acts), func(a act) bool { return a.nth > 0 })
}

// kill adds a rule for each act of the n-th part.
func (w *world) kill(acts []act, n int, when string) {
	w.Helper()

	for i, a := range acts {
		if i%killings == n {
			w.Logf("kill %s %s", when, a)
			w.rule(a.once(object{"kill": when}))
		}
	}
}

// killed checks that every rule took effect, and clears them.
func (w *world) killed() {
	w.Helper()

	for _, r := range w.rules() {
		if r.Hits == 0 {
			w.Errorf("nobody was killed at %s %v", r.Action, r.Match)
		}
	}

	w.unbroken()
}

// TestKilledAPI ends the api function between the header of an operation and its execution. The caller gets no operation; the watchdog finishes it.
func TestKilledAPI(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason  string
		service string
		action  string
		when    string
	}{
		"AfterHeader":    {"the record stands, its answer is lost", "dynamodb", "TransactWriteItems", "after"},
		"BeforeStart":    {"nobody started it", "sfn", "StartExecution", "before"},
		"AfterStart":     {"it runs, and nobody was told", "sfn", "StartExecution", "after"},
		"DeleteToo":      {"a delete dies in the same way", "", "", ""},
		"WithIdempotent": {"a caller who has a key and asks again learns of the operation", "sfn", "StartExecution", "before"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			before := w.inventory()
			req := request{method: "POST", path: "/v1/deployments", body: object{"name": "research"}, header: map[string]string{"Idempotency-Key": "a-key"}}

			if c.service != "" {
				w.rule(object{"service": c.service, "action": c.action, "function": "api", "times": 1, "then": object{"kill": c.when}})

				if a := w.ask(req); a.status < 500 {
					t.Fatalf("%s: the front door answers %d %s for a function that died", c.reason, a.status, a.body)
				}
			} else {
				w.active("research", nil)
			}

			if name == "WithIdempotent" {
				again := as[operation](w, w.ask(req), http.StatusAccepted)
				if again.ID != w.deployment("research").Operation {
					t.Errorf("%s: got operation %s, want %s", c.reason, again.ID, w.deployment("research").Operation)
				}
			}

			w.finish(w.deployment("research").Operation, "SUCCEEDED")

			for ref, lines := range w.inventory().ours("research") {
				if len(lines) != 1 {
					t.Errorf("%s: %s is there %d times: %v", c.reason, ref, len(lines), lines)
				}
			}

			if name == "DeleteToo" {
				w.rule(object{"service": "sfn", "action": "StartExecution", "function": "api", "times": 1, "then": object{"kill": "before"}})

				if a := w.ask(request{method: "DELETE", path: "/v1/deployments/research?data=purge"}); a.status < 500 {
					t.Fatalf("%s: the front door answers %d %s", c.reason, a.status, a.body)
				}

				w.finish(w.deployment("research").Operation, "SUCCEEDED")
			} else {
				w.gone("research")
			}

			w.same(c.reason, before, w.inventory())
		})
	}
}

// TestStoppedExecution stops the execution from outside, as anybody with the account's console can, at several moments.
func TestStoppedExecution(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason string
		moment func(operation) bool
	}{
		"AtOnce":  {"perhaps before the first state has run", func(operation) bool { return true }},
		"Begun":   {"the first things are being made", func(op operation) bool { return op.in("vpc") == "RUNNING" || op.in("vpc") == "READY" }},
		"Network": {"some things stand", func(op operation) bool { return op.in("route-table") == "RUNNING" || op.in("route-table") == "READY" }},
		"Queue": {"all but the last stand", func(op operation) bool {
			return op.in("job-queue/default") == "RUNNING" || op.in("job-queue/default") == "READY"
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			before := w.inventory()

			made := w.create("research", nil)
			w.until(made.ID, c.moment)
			w.stop(made.ID)
			w.finish(made.ID, "SUCCEEDED")

			for ref, lines := range w.inventory().ours("research") {
				if len(lines) != 1 {
					t.Errorf("%s: %s is there %d times: %v", c.reason, ref, len(lines), lines)
				}
			}

			removed := w.delete("research", "purge")
			w.until(removed.ID, func(op operation) bool { return op.State != "PENDING" })
			w.stop(removed.ID)
			w.finish(removed.ID, "SUCCEEDED")
			w.same(c.reason, before, w.inventory())
		})
	}
}

// stop stops the running execution of an operation.
func (w *world) stop(id string) {
	w.Helper()

	for _, m := range must[*sfn.ListStateMachinesOutput](w)(w.aws.sfn.ListStateMachines(w.Context(), &sfn.ListStateMachinesInput{})).StateMachines {
		in := &sfn.ListExecutionsInput{StateMachineArn: m.StateMachineArn, StatusFilter: sfntypes.ExecutionStatusRunning}

		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
			for _, e := range must[*sfn.ListExecutionsOutput](w)(w.aws.sfn.ListExecutions(w.Context(), in)).Executions {
				if !strings.HasPrefix(*e.Name, id+"-") {
					continue
				}

				must[*sfn.StopExecutionOutput](w)(w.aws.sfn.StopExecution(w.Context(), &sfn.StopExecutionInput{ExecutionArn: e.ExecutionArn}))

				return
			}
		}
	}

	if op := w.operation(id); !op.Done {
		w.Fatalf("operation %s has no running execution: %s", id, show(op))
	}

	w.Log("the execution was quicker than its stop")
}
