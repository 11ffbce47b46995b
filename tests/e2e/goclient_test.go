package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/client"
)

// TestGoClient leads a deployment from its create to its delete with the package that other programs import, and by nothing else.
func TestGoClient(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	c := must[*client.Client](w)(client.New(client.Options{URL: w.URL, Authorize: client.Bearer(w.token)}))
	op := must[*client.Operation](w)

	// A create, watched as it grows.
	spec := client.Spec{Compute: client.Compute{Environments: []client.Environment{{Name: "small", MaxVcpus: 8}}}}
	made := op(c.Create(ctx, client.CreateRequest{Name: "research", Spec: spec, Labels: map[string]string{"team": "ml"}}))
	versions := 0

	for seen, err := range c.Watch(ctx, made.ID) {
		if err != nil {
			t.Fatal(err)
		}

		versions, made = versions+1, seen
	}

	if made.State != client.Succeeded || versions < 3 {
		t.Fatalf("the create after %d versions: %s", versions, made.Raw)
	}

	var config map[string]string
	if err := json.Unmarshal(must[[]byte](w)(c.Configuration(ctx, "research", client.JSON)), &config); err != nil || config["METAFLOW_DEFAULT_DATASTORE"] != "s3" {
		t.Errorf("the configuration: %v %v", config, err)
	}

	// An update in place, bound to what was seen: first as a plan, then indeed. It takes the labels away.
	there := must[*client.Deployment](w)(c.Deployment(ctx, "research"))
	spec.Compute.Environments[0].MaxVcpus = 16
	update := client.UpdateRequest{Spec: spec, Labels: map[string]string{}, IfMatch: there.ETag}

	changes := map[string]string{}
	for _, s := range must[*client.Plan](w)(c.PlanUpdate(ctx, "research", update)).Steps {
		if s.Change != "NONE" && s.Change != "USE" {
			changes[s.Resource] = s.Change
		}
	}

	if diff := cmp.Diff(map[string]string{"compute-environment/small": "UPDATE"}, changes); diff != "" {
		t.Errorf("what the update would change (-want +got):\n%s", diff)
	}

	op(c.Wait(ctx, op(c.Update(ctx, "research", update)).ID))

	now := must[*client.Deployment](w)(c.Deployment(ctx, "research"))
	if now.Phase != client.Active || len(there.Labels) != 1 || len(now.Labels) != 0 || now.Spec.Compute.Environments[0].MaxVcpus != 16 {
		t.Errorf("after the update: %s", now.Raw)
	}

	if p := problemOf(c.Update(ctx, "research", update)); p.Status != http.StatusPreconditionFailed {
		t.Errorf("an update of what was seen before: %+v", p)
	}

	if d := must[*client.Drift](w)(c.Drift(ctx, "research")); d.Drifted || len(d.Resources) != now.Resources.Total {
		t.Errorf("drift after the update: %s", d.Raw)
	}

	hook := must[*client.Webhook](w)(c.Subscribe(ctx, "https://hooks.example.com/research"))
	if all := must[[]*client.Webhook](w)(c.Webhooks(ctx)); hook.Secret == "" || len(all) != 1 || all[0].ID != hook.ID || all[0].Secret != "" {
		t.Errorf("the webhook %s is listed as %s", show(hook), show(all))
	}

	if err := c.Unsubscribe(ctx, hook.ID); err != nil || len(must[[]*client.Webhook](w)(c.Webhooks(ctx))) != 0 {
		t.Errorf("the webhook stays: %v", err)
	}

	op(c.Wait(ctx, op(c.Delete(ctx, "research", client.DeleteOptions{Data: client.Purge})).ID))

	// What is gone, and what never was, are the same.
	for _, name := range []string{"research", "nothing"} {
		for what, p := range map[string]*client.Problem{
			"look":   problemOf(c.Deployment(ctx, name)),
			"update": problemOf(c.Update(ctx, name, client.UpdateRequest{Spec: spec})),
			"repair": problemOf(c.Repair(ctx, name, client.ChangeOptions{})),
			"delete": problemOf(c.Delete(ctx, name, client.DeleteOptions{})),
		} {
			if p.Status != http.StatusNotFound || p.Code != "not_found" || p.Remedy == "" {
				t.Errorf("%s of %s: %+v", what, name, p)
			}
		}
	}
}

// problemOf is the problem that a call ended with; an empty one if it did not.
func problemOf[T any](_ T, err error) *client.Problem {
	if p, ok := errors.AsType[*client.Problem](err); ok {
		return p
	}

	return &client.Problem{}
}
