package contract_test

import (
	"slices"
	"testing"

	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/all"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// TestRemovalOrder: what must be gone before what, and why. AWS refuses only some of the wrong orders; the others end in things that are stuck for ever.
func TestRemovalOrder(t *testing.T) {
	t.Parallel()

	graphs, err := workflow.NewGraphs(all.Kinds(all.Clients{}))
	if err != nil {
		t.Fatal(err)
	}

	before := map[string][]string{} // everything that goes before, directly or not
	for _, name := range graphs.Remove.Order() {
		for _, need := range graphs.Remove.Needs(name) {
			before[name] = append(append(before[name], need), before[need]...)
		}
	}

	cases := map[string]struct {
		reason        string
		first, second string
	}{
		"queue before environment":     {"Batch refuses to delete an environment that a queue names", "job-queue", "compute-environment"},
		"queue before bucket":          {"its jobs still write", "job-queue", "bucket"},
		"environment before bucket":    {"its instances still write", "compute-environment", "bucket"},
		"queue before job role":        {"its jobs still run as the role", "job-queue", "job-role"},
		"environment before job role":  {"its tasks still run as the role", "compute-environment", "job-role"},
		"environment before profile":   {"Batch cannot end instances of an environment whose profile is gone: it turns INVALID and stays", "compute-environment", "instance-profile"},
		"environment before role":      {"the same", "compute-environment", "instance-role"},
		"profile before role":          {"IAM refuses to delete a role that stands in a profile", "instance-profile", "instance-role"},
		"environment before template":  {"Batch starts and ends instances by it", "compute-environment", "launch-template"},
		"environment before group":     {"its interfaces hold the group", "compute-environment", "security-group"},
		"environment before subnet":    {"its interfaces stand in the subnet", "compute-environment", "subnet"},
		"environment before endpoint":  {"its instances read from S3 to the end", "compute-environment", "vpc-endpoint"},
		"group before VPC":             {"EC2 refuses to delete a VPC that is not empty", "security-group", "vpc"},
		"subnet before VPC":            {"EC2 refuses to delete a VPC that is not empty", "subnet", "vpc"},
		"gateway before VPC":           {"EC2 refuses to delete a VPC that is not empty", "internet-gateway", "vpc"},
		"subnet before route table":    {"EC2 refuses to delete a table that is associated", "subnet", "route-table"},
		"endpoint before route table":  {"the endpoint's routes stand in it", "vpc-endpoint", "route-table"},
		"environment before gateway":   {"instances that cannot reach ECS do not end their jobs", "compute-environment", "internet-gateway"},
		"environment before the table": {"the same", "compute-environment", "route-table"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			if !slices.Contains(before[c.second], c.first) {
				t.Errorf("%s does not wait for %s: %s", c.second, c.first, c.reason)
			}
		})
	}

	if slices.Contains(graphs.Remove.Order(), "service-linked-role") {
		t.Error("the account's service-linked role is removed")
	}
}
