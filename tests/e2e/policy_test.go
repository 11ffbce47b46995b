package e2e

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/samtemplate"
	"github.com/metaflow-deployer/metaflow-deployer/tests/policy"
)

// TestJournalIsAllowed judges every call that the functions made in a clean create and delete against the calling function's own policies in the
// template, as AWS would: actions, ARNs, conditions, and what AWS asks beside (tag-on-create, PassRole).
func TestJournalIsAllowed(t *testing.T) {
	t.Parallel()

	c := disturb(t)
	place := policy.Place{Partition: "aws", Region: local.Region, Account: c.create[0].Account}

	grants, err := policy.ReadTemplate(filepath.Join("..", "..", "template.yaml"), samtemplate.Inputs{
		Region: place.Region, Account: place.Account, StackName: "metaflow-deployer",
	})
	if err != nil {
		t.Fatal(err)
	}

	var calls []policy.Call

	for _, call := range slices.Concat(c.create, c.delete) {
		if call.Function != "user" {
			calls = append(calls, policy.Call{Function: call.Function, Service: call.Service, Action: call.Action, Input: call.Input, Code: call.Code})
		}
	}

	if len(calls) < 100 {
		t.Fatalf("a create and a delete make more than %d calls: is this the whole journal?", len(calls))
	}

	asks, err := policy.NewWorld(place, map[string]string{deploy.TagInstallation: "metaflow"}, nil).Asks(calls)
	if err != nil {
		t.Fatal(err)
	}

	refusals, err := grants.Judge(asks)
	if err != nil {
		t.Fatal(err)
	}

	for _, r := range refusals {
		t.Error(r)
	}

	t.Logf("%d calls, %d refused", len(calls), len(refusals))
}
