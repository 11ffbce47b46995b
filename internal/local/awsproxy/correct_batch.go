package awsproxy

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	batchService  = "batch.amazonaws.com"
	batchRolePath = "/aws-service-role/" + batchService + "/"
	batchRole     = "AWSServiceRoleForBatch"
)

func batchCorrections() []entry {
	return []entry{
		{
			name: "correction/batch-errors",
			source: "Batch API reference: every operation refuses with ClientException (400) and fails with ServerException (500); there are no others. " +
				"moto has codes of its own.",
			service: "batch", apply: batchErrors,
		},
		{
			name: "correction/batch-service-role",
			source: "Batch API reference, CreateComputeEnvironment, serviceRole: without one the service-linked role is used, and made if it is not there. " +
				"moto refuses.",
			service: "batch", actions: []string{"CreateComputeEnvironment"}, apply: supplyServiceRole,
		},
		{
			name: "correction/batch-defaults",
			source: "Batch API reference: state is optional and ENABLED by default, minvCpus 0, and default_x86_64 and default_arm64 are instance types. " +
				"moto refuses a queue without a state, an environment without minvCpus, and such types.",
			service: "batch", actions: []string{"CreateComputeEnvironment", "CreateJobQueue"}, apply: batchDefaults,
		},
		{
			name: "correction/batch-compute-resources",
			source: "Batch API reference, UpdateComputeEnvironment, computeResources: what is given is changed. moto ignores it, and unmanagedvCpus " +
				"at all times.",
			service: "batch",
			actions: []string{"CreateComputeEnvironment", "UpdateComputeEnvironment", "DeleteComputeEnvironment", "DescribeComputeEnvironments"},
			apply:   rememberCompute,
		},
		{
			name:    "correction/batch-missing",
			source:  "Batch API reference, Delete* and Update*: what does not exist is refused with ClientException. moto answers 200 to such a delete.",
			service: "batch",
			actions: []string{"DeleteComputeEnvironment", "DeleteJobQueue"},
			apply:   refuseMissing,
		},
		{
			name: "correction/batch-tags",
			source: "Batch user guide, Tag your AWS Batch resources: the tags of a resource are deleted with it. moto hands them to the next one of that name, " +
				"whose ARN is the same.",
			service: "batch", actions: []string{"DeleteComputeEnvironment", "DeleteJobQueue"}, apply: forgetTags,
		},
		{
			name: "correction/batch-shape",
			source: "Batch API reference, ComputeEnvironmentDetail and JobQueueDetail: containerOrchestrationType and jobQueueType are ECS by default, healthy things " +
				"say so, and a queue shows its environments by ARN. moto leaves the types out and shows names as they were given.",
			service: "batch", actions: []string{"DescribeComputeEnvironments", "DescribeJobQueues"}, apply: batchShape,
		},
		{
			name:    "correction/batch-integers",
			source:  "Batch API reference, ContainerDetail: vcpus and memory are integers. moto writes 1.0, which no typed SDK can read.",
			service: "batch", actions: []string{"DescribeJobs"}, apply: batchIntegers,
		},
	}
}

// takenMessage is what Batch says of a name that is in use.
const takenMessage = "Object already exists"

func batchErrors(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	a, err := next(ctx, c)
	if err != nil || a.ok() {
		return a, err
	}

	var fault struct {
		Message string `json:"message"`
		Upper   string `json:"Message"`
	}

	_ = json.Unmarshal(a.body, &fault) // a body that is no JSON has no message

	message := fault.Message + fault.Upper
	taken := strings.Contains(message, "already exists") && message != takenMessage
	nameless := strings.Contains(message, "{0}")

	if (a.fault == "ClientException" || a.fault == "ServerException") && !taken && !nameless {
		return a, nil
	}

	p.touch(c, "correction/batch-errors")

	if a.status >= http.StatusInternalServerError {
		return c.refuse(http.StatusInternalServerError, "ServerException", message), nil
	}

	if taken {
		return c.refuse(http.StatusBadRequest, "ClientException", takenMessage), nil
	}

	if nameless {
		return c.refuse(http.StatusBadRequest, "ClientException", strings.ReplaceAll(message, "{0}", c.text("computeEnvironment"))), nil
	}

	return c.refuse(http.StatusBadRequest, "ClientException", "Error executing request, Exception : "+message), nil
}

func supplyServiceRole(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	if c.text("serviceRole") != "" {
		return next(ctx, c)
	}

	a, _, err := p.askIAM(ctx, c, "GetRole", url.Values{"RoleName": {batchRole}})
	if err != nil {
		return nil, err
	}

	if !a.ok() {
		if _, _, err := p.makeServiceLinkedRole(ctx, c, batchService, batchRole, ""); err != nil {
			return nil, err
		}
	}

	p.touch(c, "correction/batch-service-role")

	input := maps.Clone(c.input)
	input["serviceRole"] = fmt.Sprintf("arn:aws:iam::%s:role%s%s", c.account, batchRolePath, batchRole)
	c.setJSON(input)

	return next(ctx, c)
}

func batchDefaults(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	input := maps.Clone(c.input)
	changed := false

	var shown []string

	if c.text("state") == "" {
		input["state"], changed = "ENABLED", true
	}

	// AWS has newer groups of types than moto knows; the answers show what was asked for.
	if types := texts(c.object("computeResources")["instanceTypes"]); slices.ContainsFunc(types, isDefaultType) {
		resources := maps.Clone(c.object("computeResources"))
		resources["instanceTypes"] = []any{"optimal"}
		input["computeResources"], changed = resources, true

		shown = types
	}

	if resources, _ := input["computeResources"].(map[string]any); resources != nil {
		kind, _ := resources["type"].(string)
		if resources["minvCpus"] == nil && !strings.Contains(kind, "FARGATE") {
			resources = maps.Clone(resources)
			resources["minvCpus"] = 0
			input["computeResources"], changed = resources, true
		}
	}

	if !changed {
		return next(ctx, c)
	}

	p.touch(c, "correction/batch-defaults")
	c.setJSON(input)

	a, err := next(ctx, c)
	if err == nil && a.ok() && shown != nil {
		c.world.with(func() { c.world.instanceTypes(c.region+" "+c.text("computeEnvironmentName"), shown) })
	}

	return a, err
}

func isDefaultType(s string) bool { return strings.HasPrefix(s, "default_") }

// instanceTypes notes the types to be shown for an environment. The caller has the world.
func (w *world) instanceTypes(key string, types []string) {
	if w.compute[key] == nil {
		w.compute[key] = map[string]any{}
	}

	w.compute[key]["computeResources"] = map[string]any{"instanceTypes": types}
}

func rememberCompute(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	a, err := next(ctx, c)
	if err != nil || !a.ok() {
		return a, err
	}

	name := nameOf(c.text("computeEnvironmentName") + c.text("computeEnvironment"))
	key := c.region + " " + name

	switch c.action {
	case "CreateComputeEnvironment", "DeleteComputeEnvironment":
		c.world.with(func() {
			delete(c.world.compute, key)

			if v := c.input["unmanagedvCpus"]; v != nil && c.action == "CreateComputeEnvironment" {
				c.world.compute[key] = map[string]any{"unmanagedvCpus": v}
			}
		})
	case "UpdateComputeEnvironment":
		c.world.with(func() {
			kept := c.world.compute[key]
			if kept == nil {
				kept = map[string]any{}
				c.world.compute[key] = kept
			}

			for _, member := range []string{"computeResources", "updatePolicy"} {
				if given := c.object(member); given != nil {
					old, _ := kept[member].(map[string]any)
					merged := maps.Clone(given)

					for k, v := range old {
						if _, ok := merged[k]; !ok {
							merged[k] = v
						}
					}

					kept[member] = merged
				}
			}

			if v := c.input["unmanagedvCpus"]; v != nil {
				kept["unmanagedvCpus"] = v
			}
		})
	default:
		p.overlayCompute(c, a)
	}

	return a, nil
}

func (p *Proxy) overlayCompute(c *call, a *answer) {
	editItems(a, "computeEnvironments", func(item map[string]any) bool {
		changed := false

		c.world.with(func() {
			kept := c.world.compute[c.region+" "+fmt.Sprint(item["computeEnvironmentName"])]
			for member, v := range kept {
				changed = true

				if object, ok := v.(map[string]any); ok {
					shown, _ := item[member].(map[string]any)
					if shown == nil {
						shown = map[string]any{}
					}

					maps.Copy(shown, object)
					v = shown
				}

				item[member] = v
			}
		})

		if changed {
			p.touch(c, "correction/batch-compute-resources")
		}

		return changed
	})
}

// editItems lets f change the objects of a list in an answer; f says whether it did.
func editItems(a *answer, member string, f func(map[string]any) bool) {
	var out map[string]any
	if json.Unmarshal(a.body, &out) != nil {
		return
	}

	changed := false

	for _, item := range listOf(out[member]) {
		if object, ok := item.(map[string]any); ok && f(object) {
			changed = true
		}
	}

	if changed {
		a.setBody(mustJSON(out))
	}
}

// refuseMissing looks before a delete.
func refuseMissing(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	kind := kindHeldBy(c.service, c.action)
	name := c.text(kind.input[c.action])

	var out map[string][]any
	if err := p.askBatch(ctx, c, strings.ToLower(kind.describe), map[string]any{kind.set: []string{name}}, &out); err != nil {
		return nil, err
	}

	if len(out[kind.set]) > 0 {
		return next(ctx, c)
	}

	p.touch(c, "correction/batch-missing")

	return c.refuse(http.StatusBadRequest, "ClientException", name+" does not exist"), nil
}

// forgetTags takes the tags off an ARN that moto has just given up.
func forgetTags(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	kind, name := batchThing(c)

	detail, err := p.batchDetail(ctx, c, kind, name)
	if err != nil {
		return nil, err
	}

	a, err := next(ctx, c)
	if err != nil || !a.ok() {
		return a, err
	}

	tags, _ := detail["tags"].(map[string]any)
	if len(tags) == 0 {
		return a, nil
	}

	p.touch(c, "correction/batch-tags")

	arn, _ := detail[strings.TrimSuffix(kind.id, "Name")+"Arn"].(string)

	forgot, err := p.ask(ctx, c, "batch", http.MethodDelete, "/v1/tags/"+url.PathEscape(arn)+"?"+url.Values{"tagKeys": slices.Collect(maps.Keys(tags))}.Encode(), "", nil)
	if err != nil || !forgot.ok() {
		return forgot, err
	}

	return a, nil
}

func batchIntegers(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	a, err := next(ctx, c)
	if err != nil || !a.ok() {
		return a, err
	}

	// Written again, a whole number has no fraction.
	editItems(a, "jobs", func(item map[string]any) bool {
		_, has := item["container"]
		if has {
			p.touch(c, "correction/batch-integers")
		}

		return has
	})

	return a, nil
}

func batchShape(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	a, err := next(ctx, c)
	if err != nil || !a.ok() {
		return a, err
	}

	p.touch(c, "correction/batch-shape")

	editItems(a, "computeEnvironments", func(item map[string]any) bool {
		item["containerOrchestrationType"], item["statusReason"] = "ECS", "ComputeEnvironment Healthy"

		return true
	})
	editItems(a, "jobQueues", func(item map[string]any) bool {
		item["statusReason"], item["jobQueueType"] = "JobQueue Healthy", "ECS"

		for _, o := range listOf(item["computeEnvironmentOrder"]) {
			order, _ := o.(map[string]any)
			if name, _ := order["computeEnvironment"].(string); name != "" && !strings.HasPrefix(name, "arn:") {
				order["computeEnvironment"] = fmt.Sprintf("arn:aws:batch:%s:%s:compute-environment/%s", c.region, c.account, name)
			}
		}

		return true
	})

	return a, nil
}
