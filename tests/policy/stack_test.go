package policy_test

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/servicequotas"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awssfn"
	"github.com/metaflow-deployer/metaflow-deployer/internal/cfnresource"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/policy"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

// answers is where CloudFormation waits.
type answers struct {
	mu  sync.Mutex
	got []string
}

func (*answers) Check(string) error { return nil }

func (a *answers) Send(_ context.Context, _ string, body []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()

	a.got = append(a.got, string(body))

	return nil
}

// stacked lives a scenario in which a stack has a deployment of that spec, beside the one that stands.
func stacked(spec *deploy.Spec) func(ctx context.Context, t *testing.T, w *simulation.World, j *journal) {
	return func(ctx context.Context, t *testing.T, w *simulation.World, j *journal) {
		t.Helper()

		const function = "customresource"

		aside(j, func() {
			for i, g := range []deploy.Grant{
				{Kind: deploy.GrantStackAccount, Value: account}, {Kind: deploy.GrantBucket, Value: "data-of-ours"}, {Kind: deploy.GrantRole, Value: "arn:aws:iam::" + account + ":role/jobs"},
			} {
				g.Tenant = key.Tenant
				if err := w.Store.Allow(ctx, g, workflow.Line(deploy.Entry{Tenant: key.Tenant, Action: "allow"}, strconv.Itoa(i), time.Now())); err != nil {
					t.Fatal(err)
				}
			}
		})

		add := func(service string) func(operation string, in any) {
			return func(operation string, in any) {
				j.mu.Lock()
				defer j.mu.Unlock()

				j.add(function, service, operation, in, nil)
			}
		}

		control, cloudFormation := *w.Control, &answers{}
		control.Starter = &starter{Starter: w, aws: awssfn.New(&tellsSteps{add: add("sfn")}, machine)}
		control.Quota = func(_ context.Context, service, code string, otherwise int) int {
			add("servicequotas")("GetServiceQuota", &servicequotas.GetServiceQuotaInput{ServiceCode: &service, QuotaCode: &code})

			return otherwise
		}

		r := &cfnresource.Resource{Control: &control, Records: w.Store, Sender: cloudFormation, Clock: workflow.WallClock{}, Log: control.Log}

		text, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}

		var brought map[string]any
		if err := json.Unmarshal(text, &brought); err != nil {
			t.Fatal(err)
		}

		changed := map[string]any{"tags": map[string]any{"team": "ml"}}
		for name, v := range brought {
			changed[name] = v
		}

		named := map[string]any{"compute": map[string]any{"environments": []any{map[string]any{"name": "default", "instanceTypes": []any{"m5.large"}}}}}

		const id = "metaflow-deployer/" + installation + "/acme/stacked"

		for i, e := range []struct {
			kind, id, want string
			spec           any
		}{
			{"Create", "", "FAILED", map[string]any{"storage": map[string]any{"existing": map[string]any{"bucket": "not-there-at-all"}}}},
			{"Create", "", "SUCCESS", brought},
			{"Update", id, "SUCCESS", changed},
			{"Create", "", "SUCCESS", named},
			{"Delete", id, "SUCCESS", nil},
			{"Delete", id + "2", "SUCCESS", nil},
		} {
			event := cfnresource.Event{
				RequestType: e.kind, RequestID: strconv.Itoa(i), ResponseURL: "https://example.com/", StackID: "arn:aws:cloudformation:" + region + ":" + account + ":stack/s/1",
				LogicalResourceID: "Env", PhysicalResourceID: e.id, ResourceProperties: map[string]any{"Name": "stacked", "Data": "purge"},
			}
			if e.spec != nil {
				event.ResourceProperties["Spec"] = e.spec
			}

			if i == 3 {
				event.ResourceProperties["Name"] = "stacked2" // a network of its own
			}

			if err := w.Call(ctx, function, func(ctx context.Context) error { return r.Handle(ctx, key.Tenant, event) }); err != nil {
				t.Fatal(err)
			}

			for range 60 {
				if len(cloudFormation.got) > i {
					break
				}

				time.Sleep(time.Minute)

				_ = w.Call(ctx, "watchdog", w.Watch)

				if err := w.Call(ctx, function, r.Tick); err != nil {
					t.Fatal(err)
				}
			}

			if len(cloudFormation.got) != i+1 || !strings.Contains(cloudFormation.got[i], e.want) {
				t.Fatalf("%s %d: answered %v", e.kind, i, cloudFormation.got)
			}
		}
	}
}

// TestNoStackBindsAnAccount: the function that stacks talk to may not write what admins write.
func TestNoStackBindsAnAccount(t *testing.T) {
	g := grants(t)

	var asks []policy.Ask

	for _, action := range []string{"PutItem", "DeleteItem"} {
		list, err := policy.NewWorld(policy.Place{Partition: "aws", Region: region, Account: account}, nil, nil).Asks([]policy.Call{{
			Function: "customresource", Service: "dynamodb", Action: action, Input: map[string]any{
				"TableName": table, "Item": map[string]any{"pk": map[string]any{"Value": "T#acme#GRANTS"}}, "Key": map[string]any{"pk": map[string]any{"Value": "T#acme#GRANTS"}},
			},
		}})
		if err != nil {
			t.Fatal(err)
		}

		asks = append(asks, list...)
	}

	refused, err := g.Judge(asks)
	if err != nil {
		t.Fatal(err)
	}

	if len(refused) != len(asks) {
		t.Errorf("of %d writes of a grant %d are refused: %v", len(asks), len(refused), asks)
	}
}
