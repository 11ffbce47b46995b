package cfnresource_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/cfnresource"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

const id = "metaflow-deployer/simulated/acme/research"

func listAll() store.List { return store.List{Tenant: tenant, Size: 100, Deleted: true} }

func compute(vcpus string) map[string]any {
	return map[string]any{"environments": []any{map[string]any{"name": "default", "maxVcpus": vcpus}}}
}

// left lists what of ours stands in AWS, but for what belongs to the account.
func (b *bench) left() []string {
	var list []string

	for name, tags := range b.AWS.Inventory() {
		if tags[deploy.TagInstallation] != "" {
			list = append(list, name)
		}
	}

	slices.Sort(list)

	return list
}

// waiting lists the requests that are not answered.
func (b *bench) waiting() []string {
	b.t.Helper()

	list, err := b.Store.Overdue(b.t.Context(), time.Now().Add(24*time.Hour), 100)
	if err != nil {
		b.t.Fatal(err)
	}

	var ids []string
	for _, c := range list {
		ids = append(ids, c.RequestID)
	}

	return ids
}

func TestLife(t *testing.T) {
	t.Parallel()

	run(t, func(t *testing.T, b *bench) {
		made := b.want(b.ask(b.event("Create", "", map[string]any{
			"Spec": map[string]any{"compute": compute("32"), "tags": map[string]any{"team": "ml", "size": "7"}}, "Labels": map[string]any{"a": "b"}, "Verify": "false",
			"ServiceTimeout": "3600",
		})), "")

		record, err := b.Store.Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}

		config, err := deploy.Configuration(record.Deployment, record.Resources)
		if err != nil {
			t.Fatal(err)
		}

		maps.Copy(config, map[string]string{"Name": "research", "Tenant": tenant, "OperationId": record.Deployment.Operation})

		if !maps.Equal(config, made.Data) || made.PhysicalResourceId != id || made.NoEcho || made.StackId != stackID || made.LogicalResourceId != "Env" {
			t.Errorf("the answer is %+v, want the configuration %v", made, config)
		}

		if d := record.Deployment; d.Spec.Compute.Environments[0].MaxVcpus != 32 || d.Spec.Tags["size"] != "7" || d.Labels["a"] != "b" || d.Owner != stackID+"/Env" {
			t.Errorf("the deployment is %+v", d)
		}

		changed := b.want(b.ask(b.event("Update", id, map[string]any{"Spec": map[string]any{"compute": compute("64")}})), "")
		if record, err = b.Store.Load(t.Context(), key); err != nil {
			t.Fatal(err)
		}

		if d := record.Deployment; changed.PhysicalResourceId != id || d.Spec.Compute.Environments[0].MaxVcpus != 64 || len(d.Labels) > 0 || b.operations("research") != 2 {
			t.Errorf("after an update the id is %s and the deployment %+v", changed.PhysicalResourceId, d)
		}

		// Nothing changes but how long the stack waits: there is nothing to do.
		b.want(b.ask(b.event("Update", id, map[string]any{"Spec": map[string]any{"compute": compute("64")}, "ServiceTimeout": "600"})), "")

		if n := b.operations("research"); n != 2 {
			t.Errorf("an update of nothing made %d operations of 2", n)
		}

		moved := b.want(b.ask(b.event("Update", id, map[string]any{"Name": "second"})), "")
		if moved.PhysicalResourceId != "metaflow-deployer/simulated/acme/second" || b.phase("research") != deploy.PhaseActive || b.phase("second") != deploy.PhaseActive {
			t.Errorf("another name is another resource, beside the old one until that is deleted: %+v", moved)
		}

		for _, physical := range []string{id, moved.PhysicalResourceId} {
			if gone := b.want(b.ask(b.event("Delete", physical, map[string]any{"Data": "purge"})), ""); gone.PhysicalResourceId != physical {
				t.Errorf("the answer to the delete of %s is %+v", physical, gone)
			}
		}

		if left := b.left(); len(left) > 0 {
			t.Errorf("in the end there is still %v", left)
		}

		if len(b.waiting()) > 0 {
			t.Errorf("requests wait although all are answered: %+v", b.waiting())
		}
	})
}

func TestDataIsKeptUnlessTheStackSaysOtherwise(t *testing.T) {
	t.Parallel()

	run(t, func(t *testing.T, b *bench) {
		b.want(b.ask(b.event("Create", "", nil)), "")
		b.want(b.ask(b.event("Delete", id, map[string]any{"Data": "nonsense", "Spec": "nonsense", "ServiceTimeout": []any{}})), "")

		if left := b.left(); len(left) != 1 || !strings.Contains(left[0], "s3") {
			t.Errorf("a bucket is to be kept, and %v is", left)
		}
	})
}

// TestRefused: everything that is wrong with a request is told before anything is done, and the stack's own Delete of it then succeeds.
func TestRefused(t *testing.T) {
	t.Parallel()

	spec := func(v any) func(*cfnresource.Event) {
		return func(e *cfnresource.Event) { e.ResourceProperties["Spec"] = v }
	}
	property := func(name string, v any) func(*cfnresource.Event) {
		return func(e *cfnresource.Event) { e.ResourceProperties[name] = v }
	}
	environment := func(member string, v any) func(*cfnresource.Event) {
		return spec(map[string]any{"compute": map[string]any{"environments": []any{map[string]any{"name": "default", member: v}}}})
	}

	var deep any = "x"
	for range 12 {
		deep = map[string]any{"a": deep}
	}

	cases := map[string]struct {
		reason, tenant string
		change         func(*cfnresource.Event)
		says           string
	}{
		"no alias":          {"called by the function's own name, nobody is told apart", "-", nil, "The ServiceToken names no tenant."},
		"another tenant":    {"an account is bound to one tenant and not to the next", "other", nil, "Stacks of this account do not act for tenant other."},
		"another account":   {"a StackId is what its sender likes, and this one is not bound", tenant, func(e *cfnresource.Event) { e.StackID = strings.Replace(stackID, account, "999999999999", 1) }, "do not act for tenant acme"},
		"another Region":    {"CloudFormation calls within its Region", tenant, func(e *cfnresource.Event) { e.StackID = strings.Replace(stackID, "us-east-1", "eu-west-1", 1) }, "not a request of CloudFormation in us-east-1"},
		"another partition": {"nor across partitions", tenant, func(e *cfnresource.Event) { e.StackID = strings.Replace(stackID, "arn:aws:", "arn:aws-cn:", 1) }, "not a request of CloudFormation"},
		"no stack":          {"not an ARN of a stack", tenant, func(e *cfnresource.Event) { e.StackID = "arn:aws:cloudformation:us-east-1:" + account + ":type/x" }, "not a request of CloudFormation"},
		"no ARN":            {"nothing at all", tenant, func(e *cfnresource.Event) { e.StackID = account }, "not a request of CloudFormation"},
		"no logical id":     {"CloudFormation names the resource", tenant, func(e *cfnresource.Event) { e.LogicalResourceID = "" }, "not a request of CloudFormation"},
		"another type":      {"there are three", tenant, func(e *cfnresource.Event) { e.RequestType = "Read" }, "not a request of CloudFormation"},

		"unknown property":   {"a misspelt property must not be ignored", tenant, property("Specs", map[string]any{}), "Specs: There is no such property; known here are ServiceToken, ServiceTimeout, Name, Spec, Labels, Ttl, Verify, Data."},
		"wrong case":         {"names are exact", tenant, property("name", "x"), "name: There is no such property"},
		"unknown member":     {"nor a misspelt member", tenant, environment("maxVCPUs", "3"), "Spec.compute.environments.0.maxVCPUs: There is no such property; known here are name, type,"},
		"hostile name":       {"names are the sender's, too", tenant, property("a/b\n"+strings.Repeat("x", 3000), "1"), "There is no such property"},
		"not offered":        {"a part of the contract that is not built", tenant, spec(map[string]any{"metadata": map[string]any{"enabled": "true"}}), "Spec.metadata: metadata is not offered yet."},
		"not offered type":   {"likewise a value", tenant, environment("type", "FARGATE"), "type FARGATE is not offered yet"},
		"no name":            {"a deployment has a name", tenant, func(e *cfnresource.Event) { delete(e.ResourceProperties, "Name") }, "Name: Name is missing."},
		"empty name":         {"an empty one is none", tenant, property("Name", ""), "Name: Name must not be empty"},
		"bad name":           {"names of the API", tenant, property("Name", "Research_1"), "Name: A name has 3 to 24 characters"},
		"list of names":      {"one name", tenant, property("Name", []any{"research"}), "Name: A string belongs here."},
		"no number":          {"a number is written as one", tenant, environment("maxVcpus", "many"), "Spec.compute.environments.0.maxVcpus: A whole number belongs here"},
		"fraction":           {"a whole one", tenant, environment("maxVcpus", "1.5"), "A whole number belongs here"},
		"exponent":           {"without exponent", tenant, environment("maxVcpus", "1e2"), "A whole number belongs here"},
		"padded":             {"without blanks", tenant, environment("maxVcpus", " 64"), "A whole number belongs here"},
		"leading zero":       {"which YAML reads as octal", tenant, environment("maxVcpus", "010"), "A whole number belongs here"},
		"huge":               {"of 32 bits", tenant, environment("maxVcpus", "99999999999"), "A whole number belongs here"},
		"fractional JSON":    {"an emulator's own number", tenant, environment("maxVcpus", 1.5), "A whole number belongs here"},
		"true for a number":  {"a boolean is none", tenant, environment("maxVcpus", true), "A whole number belongs here"},
		"too small":          {"the API's bounds", tenant, environment("maxVcpus", "0"), "The number must be at least 1."},
		"too large":          {"the API's bounds", tenant, environment("maxVcpus", "10001"), "The number must be at most 10000."},
		"enum":               {"the API's values", tenant, environment("type", "ec2"), "One of these belongs here: EC2, UNMANAGED."},
		"no list":            {"CloudFormation does not make lists of scalars", tenant, environment("instanceTypes", "m5.large"), "A list belongs here."},
		"no mapping":         {"a text in the place of the spec", tenant, spec("{}"), "Spec: A mapping belongs here."},
		"list for a mapping": {"a list in the place of labels", tenant, property("Labels", []any{"a"}), "Labels: A mapping belongs here."},
		"nested label":       {"labels are flat", tenant, property("Labels", map[string]any{"a": map[string]any{}}), "Labels.a: A string belongs here."},
		"null":               {"nothing in the place of a text", tenant, property("Ttl", nil), "Ttl: A string belongs here."},
		"yes":                {"YAML's yes arrives as true; a quoted one does not", tenant, property("Verify", "yes"), "Verify: true or false belongs here."},
		"data":               {"two policies", tenant, property("Data", "burn"), "Data: One of these belongs here: keep, purge."},
		"ttl":                {"a time to live of the API", tenant, property("Ttl", "soon"), "Ttl: This is not a duration."},
		"no patience":        {"an environment takes minutes", tenant, property("ServiceTimeout", "60"), "ServiceTimeout: The number must be at least 300."},
		"too much patience":  {"CloudFormation's own limit", tenant, property("ServiceTimeout", "3601"), "ServiceTimeout: The number must be at most 3600."},
		"deep":               {"a body of the API is not deeper", tenant, spec(deep), "nested deeper than 10 levels"},
		"several":            {"all of it is told at once", tenant, func(e *cfnresource.Event) { environment("maxVcpus", "x")(e); property("Verify", "y")(e) }, "2 things are wrong. Spec.compute.environments.0.maxVcpus:"},
		"of the spec":        {"what only the whole spec tells", tenant, spec(map[string]any{"network": map[string]any{"cidr": "8.8.0.0/16"}}), "Spec.network.cidr: The range is not private"},
		"of the account":     {"what only AWS tells", tenant, spec(map[string]any{"storage": map[string]any{"existing": map[string]any{"bucket": "not-there-at-all"}}}), "Spec.storage.existing.bucket: "},
		"very many things":   {"a reason that would not fit is cut", tenant, spec(map[string]any{"compute": map[string]any{"environments": slices.Repeat([]any{map[string]any{"nome": strings.Repeat("ü", 600)}}, 10)}}), "things are wrong"},
	}

	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			run(t, func(t *testing.T, b *bench) {
				e := b.event("Create", "", nil)
				if c.change != nil {
					c.change(&e)
				}

				before := b.AWS.Inventory()

				if err := b.Handle(t.Context(), strings.Trim(c.tenant, "-"), e); err != nil {
					t.Fatal(err)
				}

				a := b.want(b.only(b.of(e)), c.says)

				if len(b.waiting()) > 0 || b.operations("research") > 0 || len(before) != len(b.AWS.Inventory()) {
					t.Errorf("%s: a refusal has an effect", c.reason)
				}

				// The same request as an update keeps the id, so that nothing is replaced.
				e.RequestID, e.PhysicalResourceID, e.ResponseURL = "again", id, strings.Replace(e.ResponseURL, e.RequestID, "again", 1)
				if e.RequestType == "Create" {
					e.RequestType = "Update"
				}

				if err := b.Handle(t.Context(), strings.Trim(c.tenant, "-"), e); err != nil {
					t.Fatal(err)
				}

				if u := b.want(b.only(b.of(e)), c.says); u.PhysicalResourceId != id {
					t.Errorf("%s: the refusal of an update tells the id %s", c.reason, u.PhysicalResourceId)
				}

				gone := b.event("Delete", a.PhysicalResourceId, e.ResourceProperties)
				b.send(gone)
				b.want(b.only(b.of(gone)), "")
			})
		})
	}
}

// TestDelete of what never came to be, of what is gone and of what is another's does nothing and succeeds.
func TestDelete(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason, physical string
		given            func(t *testing.T, b *bench)
		phase            deploy.Phase
	}{
		"CloudFormation's own id": {"a create that was never answered", "ml-Env-1ABCDEFGHIJKL", nil, ""},
		"empty":                   {"CloudFormation knows no id", "", nil, ""},
		"a mark":                  {"a create that was refused", "metaflow-deployer-refused-1", nil, ""},
		"never came":              {"a create that failed before it wrote anything", id, nil, ""},
		"no name":                 {"nothing behind the tenant", "metaflow-deployer/simulated/acme/", nil, ""},
		"more than a name":        {"something behind the name", id + "/x", nil, ""},
		"another tenant's": {"an id that this tenant was never given", "metaflow-deployer/simulated/other/research", func(t *testing.T, b *bench) {
			t.Helper()
			b.created(t, "ada")
		}, deploy.PhaseActive},
		"another's": {"a create that was refused because the name was taken", id, func(t *testing.T, b *bench) {
			t.Helper()
			b.created(t, "ada")
		}, deploy.PhaseActive},
		"another stack's": {"a stack of that name stood before", id, func(t *testing.T, b *bench) {
			t.Helper()
			b.created(t, strings.Replace(stackID, "6f6b", "0000", 1)+"/Env")
		}, deploy.PhaseActive},
		"another resource's": {"two resources in one stack", id, func(t *testing.T, b *bench) {
			t.Helper()
			b.created(t, stackID+"/Other")
		}, deploy.PhaseActive},
		"gone": {"somebody deleted it by hand", id, func(t *testing.T, b *bench) {
			t.Helper()
			b.want(b.ask(b.event("Create", "", nil)), "")

			if _, err := b.World.Control.Delete(t.Context(), deploy.Principal{Tenant: tenant, Actor: "ada"}, workflow.DeleteRequest{Name: key.Name, Data: deploy.Purge}); err != nil {
				t.Fatal(err)
			}

			if _, err := b.Settle(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}, deploy.PhaseDeleted},
		"rolled back": {"a create that was rolled back whole", id, func(t *testing.T, b *bench) {
			t.Helper()
			b.Fault = refusing("batch.CreateJobQueue")
			b.want(b.ask(b.event("Create", "", nil)), "operation research-")
		}, deploy.PhaseFailed},
	}

	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			run(t, func(t *testing.T, b *bench) {
				if c.given != nil {
					c.given(t, b)
				}

				operations := b.operations("research")
				e := b.event("Delete", c.physical, nil)

				if c.physical == "" {
					e.PhysicalResourceID = ""
				}

				b.send(e)

				a := b.want(b.only(b.of(e)), "")
				if c.physical != "" && a.PhysicalResourceId != c.physical || b.phase("research") != c.phase || b.operations("research") != operations {
					t.Errorf("%s: %+v, and the deployment is %q", c.reason, a, b.phase("research"))
				}
			})
		})
	}
}

// created has somebody create the deployment over the API.
func (b *bench) created(t *testing.T, who string) {
	t.Helper()

	p := deploy.Principal{Tenant: tenant, Actor: who, Roles: []deploy.Role{deploy.Deployer}}
	if _, err := b.World.Control.Create(t.Context(), p, workflow.CreateRequest{Name: key.Name, Spec: deploy.Spec{}.WithDefaults()}); err != nil {
		t.Fatal(err)
	}

	if header, err := b.Settle(t.Context(), key); err != nil || header.Phase != deploy.PhaseActive {
		t.Fatalf("%s, %v", header.Phase, err)
	}
}

func refusing(call string) func(string) simulation.Action {
	return func(point string) simulation.Action {
		if strings.Contains(point, call) {
			return simulation.Refuse
		}

		return simulation.None
	}
}

func TestNamesThatAreTaken(t *testing.T) {
	t.Parallel()

	for name, who := range map[string]string{
		"over the API": "ada", "by another stack": strings.Replace(stackID, "6f6b", "0000", 1) + "/Env", "by another resource of the stack": stackID + "/Other",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			run(t, func(t *testing.T, b *bench) {
				b.created(t, who)

				a := b.want(b.ask(b.event("Create", "", nil)), "Name: The tenant has a deployment research already, and this resource did not make it. Choose another Name")
				b.want(b.ask(b.event("Delete", a.PhysicalResourceId, nil)), "") // CloudFormation cleans up
				b.want(b.ask(b.event("Update", id, map[string]any{"Verify": "true"})), "did not make it")

				if b.phase("research") != deploy.PhaseActive || b.operations("research") != 1 {
					t.Errorf("the deployment of %s is %s", who, b.phase("research"))
				}
			})
		})
	}
}

// TestDuplicates: Lambda may hand in an event more than once, at any time within hours.
func TestDuplicates(t *testing.T) {
	t.Parallel()

	run(t, func(t *testing.T, b *bench) {
		same := func(e cfnresource.Event, status string, operations int) {
			t.Helper()

			before := b.of(e)
			b.send(e)

			after := b.settle(e, 90)
			if len(after) != len(before)+1 || after[0].Status != status || fmt.Sprint(after[0]) != fmt.Sprint(after[len(after)-1]) || b.operations("research") != operations {
				t.Fatalf("%s of %s: %d operations, want %d; answers %+v", e.RequestType, e.RequestID, b.operations("research"), operations, after)
			}
		}

		// While it runs, it is one and answered once.
		create := b.event("Create", "", nil)
		for range 3 {
			b.send(create)
		}

		time.Sleep(20 * time.Second)
		b.send(create)
		b.want(b.only(b.settle(create, 90)), "")
		same(create, "SUCCESS", 1)

		update := b.event("Update", id, map[string]any{"Spec": map[string]any{"compute": compute("99")}})
		b.want(b.ask(update), "")
		same(update, "SUCCESS", 2)
		same(create, "SUCCESS", 2)

		// A delete that comes again when the name is in use again deletes nothing.
		gone := b.event("Delete", id, map[string]any{"Data": "purge"})
		b.want(b.ask(gone), "")
		same(gone, "SUCCESS", 3)

		again := b.event("Create", "", nil)
		b.want(b.ask(again), "")
		same(gone, "SUCCESS", 4)

		if b.phase("research") != deploy.PhaseActive {
			t.Errorf("the deployment is %s", b.phase("research"))
		}

		b.want(b.ask(b.event("Delete", id, map[string]any{"Data": "purge"})), "")

		// A create that was rolled back is not tried again by its duplicate.
		b.Fault = refusing("batch.CreateJobQueue")
		failed := b.event("Create", "", nil)
		b.want(b.ask(failed), "operation research-")
		b.Fault = nil
		same(failed, "FAILED", 6)

		if b.phase("research") != deploy.PhaseFailed {
			t.Errorf("the deployment is %s", b.phase("research"))
		}
	})
}

// TestBreaksAnywhere breaks every call that the function makes: the service stumbles, the answer is lost, or the process dies before or after it, and Lambda
// hands the event in again. Only what the call's own goroutine does can die here; what happens beside it is broken in the other ways.
func TestBreaksAnywhere(t *testing.T) {
	t.Parallel()

	life := func(b *bench) {
		physical := ""

		for _, kind := range []string{"Create", "Update", "Delete"} {
			more := map[string]any{"Data": "purge"}
			if kind == "Update" {
				more["Spec"] = map[string]any{"compute": compute("99")}
			}

			e := b.event(kind, physical, more)

			for range 3 {
				if err := b.Call(b.t.Context(), "customresource", func(ctx context.Context) error { return b.Handle(ctx, tenant, e) }); err == nil {
					break
				}

				time.Sleep(61 * time.Second) // a claim of one who died lapses after a minute
			}

			for range 90 {
				if len(b.of(e)) > 0 {
					break
				}

				time.Sleep(time.Minute)

				_ = b.Watch(b.t.Context())
				_ = b.Call(b.t.Context(), "schedule", b.Tick)
			}

			answers := b.of(e)
			if len(answers) == 0 {
				b.t.Fatalf("%s was never answered", kind)
			}

			for _, a := range answers {
				b.want(a, "")
			}

			physical = answers[0].PhysicalResourceId
		}

		if n := b.operations("research"); n != 3 || len(b.left()) > 0 {
			b.t.Errorf("%d operations, and in the end there is %v", n, b.left())
		}
	}

	var points []string

	run(t, func(_ *testing.T, b *bench) {
		life(b)
		points = slices.DeleteFunc(b.Points(), func(p string) bool {
			return !strings.HasPrefix(p, "customresource ") && !strings.HasPrefix(p, "schedule ")
		})
	})

	if len(points) < 20 {
		t.Fatalf("the function makes only these calls: %v", points)
	}

	for _, point := range points {
		actions := []simulation.Action{simulation.ServerError, simulation.LoseAnswer}
		if strings.HasPrefix(point, "customresource store.") || strings.HasPrefix(point, "customresource sfn.") {
			actions = append(actions, simulation.CrashBefore, simulation.CrashAfter)
		}

		for _, action := range actions {
			run(t, func(t *testing.T, b *bench) {
				met := false
				b.Fault = func(p string) simulation.Action {
					if p == point && !met {
						met = true

						return action
					}

					return simulation.None
				}

				life(b)

				if !met {
					t.Errorf("%s was never passed", point)
				}

				if t.Failed() {
					t.Fatalf("%s at %s", action, point)
				}
			})
		}
	}

	t.Logf("%d points", len(points))
}

// TestOverdue: the stack hears that it failed before its own patience ends, and deletes what goes on.
func TestOverdue(t *testing.T) {
	t.Parallel()

	hold := func(point string) simulation.Action {
		if strings.Contains(point, "batch.CreateJobQueue") {
			return simulation.Throttle
		}

		return simulation.None
	}

	run(t, func(t *testing.T, b *bench) {
		b.Fault = hold
		began := time.Now()

		a := b.want(b.ask(b.event("Create", "", map[string]any{"ServiceTimeout": "600"})), "goes on; the stack would not have waited longer. Raise ServiceTimeout")
		if took := time.Since(began); took < 8*time.Minute || took > 600*time.Second {
			t.Errorf("answered after %s of 10 minutes", took)
		}

		if a.PhysicalResourceId != id || b.phase("research") != deploy.PhaseCreating {
			t.Errorf("%+v, and the deployment is %s", a, b.phase("research"))
		}

		b.Fault = nil
		b.want(b.ask(b.event("Delete", a.PhysicalResourceId, map[string]any{"ServiceTimeout": "600", "Data": "purge"})), "")

		if left := b.left(); len(left) > 0 {
			t.Errorf("in the end there is %v", left)
		}
	})
}

// TestUpdates that meet trouble leave the id as it is.
func TestUpdates(t *testing.T) {
	t.Parallel()

	spec := map[string]any{"Spec": map[string]any{"compute": compute("99")}}

	run(t, func(t *testing.T, b *bench) {
		b.want(b.ask(b.event("Create", "", nil)), "")

		// Another operation is at work: the update waits for it.
		owner := deploy.Principal{Tenant: tenant, Actor: "ada", Roles: []deploy.Role{deploy.Deployer}}
		if _, err := b.World.Control.Repair(t.Context(), owner, workflow.UpdateRequest{Name: key.Name}); err != nil {
			t.Fatal(err)
		}

		e := b.event("Update", id, spec)
		b.send(e)

		if len(b.of(e)) > 0 || b.operations("research") != 2 {
			t.Fatalf("answered while another operation was at work: %+v", b.of(e))
		}

		if a := b.want(b.only(b.settle(e, 90)), ""); a.PhysicalResourceId != id || b.operations("research") != 3 {
			t.Errorf("%+v", a)
		}
	})

	run(t, func(t *testing.T, b *bench) {
		b.want(b.ask(b.event("Create", "", nil)), "")

		// One that does not end in time.
		b.World.Control.Starter = idle{}

		owner := deploy.Principal{Tenant: tenant, Actor: "ada", Roles: []deploy.Role{deploy.Deployer}}
		if _, err := b.World.Control.Repair(t.Context(), owner, workflow.UpdateRequest{Name: key.Name}); err != nil {
			t.Fatal(err)
		}

		e := b.event("Update", id, map[string]any{"ServiceTimeout": "300", "Spec": spec["Spec"]})
		b.send(e)

		for range 5 {
			time.Sleep(time.Minute)

			if err := b.Tick(t.Context()); err != nil {
				t.Fatal(err)
			}
		}

		if a := b.want(b.only(b.of(e)), "could not begin in time: research was busy."); a.PhysicalResourceId != id || b.operations("research") != 2 {
			t.Errorf("%+v", a)
		}
	})

	run(t, func(t *testing.T, b *bench) {
		b.want(b.ask(b.event("Create", "", nil)), "")

		// An update that is rolled back, and the stack's own way back, which finds everything as it wants it.
		b.Fault = refusing("batch.UpdateComputeEnvironment")
		if a := b.want(b.ask(b.event("Update", id, spec)), "operation research-"); a.PhysicalResourceId != id || b.phase("research") != deploy.PhaseActive {
			t.Errorf("%+v, and the deployment is %s", a, b.phase("research"))
		}

		operations := b.operations("research")
		b.want(b.ask(b.event("Update", id, nil)), "")

		if b.operations("research") != operations {
			t.Error("the way back to what is there took an operation")
		}

		// What cannot be changed at all.
		a := b.want(b.ask(b.event("Update", id, map[string]any{"Spec": map[string]any{"network": map[string]any{"cidr": "10.99.0.0/16"}}})), "cannot be changed in this way")
		if a.PhysicalResourceId != id {
			t.Errorf("%+v", a)
		}
	})

	run(t, func(t *testing.T, b *bench) {
		// Somebody deleted what the stack describes: it is made again, under the same id.
		b.want(b.ask(b.event("Create", "", nil)), "")

		if _, err := b.World.Control.Delete(t.Context(), deploy.Principal{Tenant: tenant, Actor: "ada"}, workflow.DeleteRequest{Name: key.Name, Data: deploy.Purge}); err != nil {
			t.Fatal(err)
		}

		if a := b.want(b.ask(b.event("Update", id, spec)), ""); a.PhysicalResourceId != id || b.phase("research") != deploy.PhaseActive {
			t.Errorf("%+v", a)
		}
	})
}

// idle starts nothing.
type idle struct{}

func (idle) Start(context.Context, workflow.Execution) error { return nil }
func (idle) Alive(context.Context, workflow.Execution) (alive, known bool, err error) {
	return true, true, nil
}

// TestReplacementsThatFail leave nothing of the new one, and the stack with the old one.
func TestReplacementsThatFail(t *testing.T) {
	t.Parallel()

	second := deploy.Key{Tenant: tenant, Name: "second"}

	for name, c := range map[string]struct {
		reason string
		action simulation.Action
		says   string
	}{
		"rolled back": {"the new one is refused", simulation.Refuse, "operation second-"},
		"overdue":     {"the new one takes too long", simulation.Throttle, "goes on; the stack would not have waited longer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			run(t, func(t *testing.T, b *bench) {
				b.want(b.ask(b.event("Create", "", nil)), "")
				before := b.left()

				b.Fault = func(point string) simulation.Action {
					if strings.Contains(point, "batch.CreateJobQueue") {
						return c.action
					}

					return simulation.None
				}

				a := b.want(b.ask(b.event("Update", id, map[string]any{"Name": "second", "ServiceTimeout": "600"})), c.says)
				if a.PhysicalResourceId != id {
					t.Errorf("%s: the id is %s", c.reason, a.PhysicalResourceId)
				}

				b.Fault = nil

				if _, err := b.Settle(t.Context(), second); err != nil {
					t.Fatal(err)
				}

				if left := b.left(); !slices.Equal(left, before) || b.phase("research") != deploy.PhaseActive {
					t.Errorf("%s: there is %v, before there was %v", c.reason, left, before)
				}

				// CloudFormation's way back.
				b.want(b.ask(b.event("Update", id, nil)), "")
			})
		})
	}

	// The way back from a replacement that succeeded finds the old one, and may take it again.
	run(t, func(t *testing.T, b *bench) {
		b.want(b.ask(b.event("Create", "", nil)), "")
		moved := b.want(b.ask(b.event("Update", id, map[string]any{"Name": "second"})), "")

		back := b.want(b.ask(b.event("Update", moved.PhysicalResourceId, nil)), "")
		if back.PhysicalResourceId != id || b.operations("research") != 1 {
			t.Errorf("%+v after %d operations", back, b.operations("research"))
		}

		b.want(b.ask(b.event("Delete", moved.PhysicalResourceId, nil)), "")

		if b.phase("research") != deploy.PhaseActive || b.phase("second") != deploy.PhaseDeleted {
			t.Errorf("%s and %s", b.phase("research"), b.phase("second"))
		}
	})
}

// TestAnswersThatDoNotArrive are tried again by the schedule, until it is no use.
func TestAnswersThatDoNotArrive(t *testing.T) {
	t.Parallel()

	run(t, func(t *testing.T, b *bench) {
		failures := 3
		b.refuse = func() error {
			if failures--; failures >= 0 {
				return errors.New("the receiver answered 503")
			}

			return nil
		}

		b.want(b.ask(b.event("Create", "", nil)), "")

		if failures >= 0 || b.operations("research") != 1 || len(b.waiting()) > 0 {
			t.Errorf("%d failures are left, %d operations, waiting: %v", failures, b.operations("research"), b.waiting())
		}
	})

	run(t, func(t *testing.T, b *bench) {
		// S3 takes no answer any more: the signature is over.
		tries := 0
		b.refuse = func() error {
			tries++

			return fmt.Errorf("%w: the receiver answered 403", cfnresource.ErrRefused)
		}

		e := b.event("Create", "", nil)
		b.send(e)
		b.settle(e, 60)

		if tries != 1 || len(b.waiting()) > 0 || !strings.Contains(b.log.String(), "an answer was refused") {
			t.Errorf("%d tries, waiting: %v", tries, b.waiting())
		}

		// A refusal for which nothing stands is told again by Lambda, unless it is no use.
		b.send(b.event("Create", "", map[string]any{"Oops": "1"}))

		b.refuse = func() error { return errors.New("the receiver answered 503") }
		if err := b.Handle(t.Context(), tenant, b.event("Create", "", map[string]any{"Oops": "1"})); err == nil {
			t.Error("Lambda is not told that a refusal did not arrive")
		}
	})

	run(t, func(t *testing.T, b *bench) {
		// The bucket is never reached.
		b.refuse = func() error { return errors.New("the receiver answered 503") }

		e := b.event("Create", "", map[string]any{"ServiceTimeout": "900"})
		if err := b.Handle(t.Context(), tenant, e); err != nil {
			t.Fatal(err)
		}

		b.settle(e, 12)

		if len(b.waiting()) != 1 {
			t.Error("given up too early")
		}

		b.settle(e, 30)

		if len(b.waiting()) > 0 || !strings.Contains(b.log.String(), "give up to answer a request") {
			t.Errorf("never given up: %v", b.waiting())
		}
	})
}

// TestDeleteOfWhatWasNeverAnswered: CloudFormation gave up on a create whose answer did not arrive, and made up an id for it.
func TestDeleteOfWhatWasNeverAnswered(t *testing.T) {
	t.Parallel()

	const made = "ml-Env-1ABCDEFGHIJKL"

	for name, c := range map[string]struct {
		reason  string
		minutes int
		waits   int
	}{
		"Waits":   {"the answer is still tried", 15, 1},
		"GivenUp": {"a stack that is not rolled back may be deleted any time later", 45, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			run(t, func(t *testing.T, b *bench) {
				b.refuse = func() error { return errors.New("the receiver answered 503") }

				e := b.event("Create", "", map[string]any{"ServiceTimeout": "900"})
				if err := b.Handle(t.Context(), tenant, e); err != nil {
					t.Fatal(err)
				}

				b.settle(e, c.minutes)

				if b.phase("research") != deploy.PhaseActive || len(b.of(e)) > 0 || len(b.waiting()) != c.waits {
					t.Fatalf("%s: the deployment is %s, and %d requests wait", c.reason, b.phase("research"), len(b.waiting()))
				}

				b.refuse = nil

				// Another resource's Delete takes nothing away.
				other := b.event("Delete", made, map[string]any{"Data": "purge"})
				other.LogicalResourceID = "Other"
				b.want(b.ask(other), "")

				if a := b.want(b.ask(b.event("Delete", made, map[string]any{"Data": "purge"})), ""); a.PhysicalResourceId != made || len(b.left()) > 0 {
					t.Errorf("%s: %+v, and there is still %v", c.reason, a, b.left())
				}
			})
		})
	}
}

// TestDeleteOfWhatHasNotBegun: a stack that is rolled back deletes what it created while that still waits for its admission. Nobody would ever delete what came
// of it later.
func TestDeleteOfWhatHasNotBegun(t *testing.T) {
	t.Parallel()

	run(t, func(t *testing.T, b *bench) {
		b.Fault = func(point string) simulation.Action {
			if strings.HasPrefix(point, "customresource store.Claim") {
				return simulation.Throttle
			}

			return simulation.None
		}

		create, other := b.event("Create", "", nil), b.event("Create", "", map[string]any{"Name": "second"})
		other.LogicalResourceID = "Other"

		for _, e := range []cfnresource.Event{create, other} {
			if err := b.Call(t.Context(), "customresource", func(ctx context.Context) error { return b.Handle(ctx, tenant, e) }); err != nil {
				t.Fatal(err)
			}
		}

		if len(b.waiting()) != 2 || b.operations("research") > 0 {
			t.Fatalf("it does not wait: %v, %d operations", b.waiting(), b.operations("research"))
		}

		b.want(b.ask(b.event("Delete", "ml-Env-1ABCDEFGHIJKL", nil)), "")

		b.Fault = nil
		b.want(b.only(b.settle(other, 5)), "")

		if b.operations("research") > 0 || len(b.of(create)) > 0 {
			t.Errorf("it was made after it had been deleted: %s", b.phase("research"))
		}

		if b.operations("second") != 1 {
			t.Errorf("another resource of the stack was forgotten as well")
		}
	})
}

// TestHostileURLsGetNothing: neither an answer nor an effect.
func TestHostileURLsGetNothing(t *testing.T) {
	t.Parallel()

	run(t, func(t *testing.T, b *bench) {
		e := b.event("Create", "", nil)
		e.ResponseURL = "https://evil.com/?" + capability

		if err := b.Handle(t.Context(), tenant, e); err != nil {
			t.Error("Lambda would repeat it: ", err)
		}

		if len(b.of(e)) > 0 || len(b.waiting()) > 0 || b.operations("research") > 0 || !strings.Contains(b.log.String(), "refuse to answer a request") {
			t.Error("a request with a foreign URL has an effect")
		}
	})
}

// TestLimits: a stack is bound by its tenant's limits like anybody.
func TestLimits(t *testing.T) {
	t.Parallel()

	run(t, func(_ *testing.T, b *bench) {
		b.World.Control.Limits = deploy.Limits{Default: deploy.Usage{VCPUs: 10}}
		b.want(b.ask(b.event("Create", "", nil)), "Spec.compute.environments: Your tenant has 0 of 10 vCPUs")
	})
}
