package awsproxy

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// youngRole is how old a role must be before Batch can use it.
const youngRole = 5 * time.Second

const (
	stuckSource = "Terraform, aws_batch_compute_environment, and aws-nuke issue 674: roles must outlive the environment, else it stays in DELETING for ever. " +
		"Restored, they let it go. moto does not look at them."
	youngRoleSource = "IAM user guide, Changes are not always immediately visible; Batch user guide, INVALID compute environment: made within seconds of its " +
		"roles an environment turns INVALID, until it is updated. moto's is VALID."
)

func strictBatch() []entry {
	environments := []string{"CreateComputeEnvironment", "UpdateComputeEnvironment", "DeleteComputeEnvironment"}
	queues := []string{"CreateJobQueue", "UpdateJobQueue", "DeleteJobQueue"}

	return []entry{
		{
			name: "strict/batch-modified",
			source: "Batch user guide, Troubleshooting; Terraform's waits in internal/service/batch: what is CREATING, UPDATING or DELETING cannot be changed, " +
				"\"resource is being modified\". In moto nothing ever is.",
			service: "batch", actions: slices.Concat(environments, queues), apply: beingModified,
		},
		{
			name: "strict/batch-enabled",
			source: "Batch API reference, DeleteComputeEnvironment and DeleteJobQueue: both must be DISABLED first, and an environment must be in no queue. " +
				"moto deletes all the same.",
			service: "batch", actions: []string{"DeleteComputeEnvironment", "DeleteJobQueue"}, apply: enabledOrUsed,
		},
		{
			name: "strict/batch-relationship",
			source: "terraform-provider-aws issue 46925: for a while after a queue has gone or let go of an environment, its delete is refused with \"found " +
				"existing JobQueue relationship\".",
			service: "batch", actions: []string{"DeleteComputeEnvironment", "DeleteJobQueue", "UpdateJobQueue"}, apply: lingeringRelationship,
		},
		{
			name: "strict/queue-environments",
			source: "Batch API reference, CreateJobQueue, computeEnvironmentOrder: the environments must be VALID, and EC2 and Fargate are not mixed. " +
				"moto asks only that they exist.",
			service: "batch", actions: []string{"CreateJobQueue", "UpdateJobQueue"}, apply: queueEnvironments,
		},
		{
			name: "strict/stuck-environment", source: stuckSource,
			service: "batch", actions: []string{"DeleteComputeEnvironment"}, apply: stuckEnvironment,
		},
		{
			name: "strict/batch-states",
			source: "Batch API reference, CEStatus and JQStatus: create, update and delete go on for seconds to minutes after they were answered. moto is " +
				"done at once.",
			service: "batch", actions: slices.Concat(environments, queues),
			apply: func(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
				a, err := p.hold(ctx, c, next, strictPolls, "strict/batch-states")
				if err == nil && a.ok() {
					p.touch(c, "strict/batch-states")
				}

				return a, err
			},
		},
		{
			name: "strict/young-role", source: youngRoleSource,
			service: "batch", actions: append(environments, "DescribeComputeEnvironments"), apply: youngRoles,
		},
		{
			name: "strict/lingering-interfaces",
			source: "VPC user guide, Delete a VPC; EC2 user guide, Requester-managed network interfaces: the interfaces of instances outlive the environment for " +
				"minutes, and what they are in is refused with DependencyViolation. moto has none.",
			service: "batch", actions: []string{"DeleteComputeEnvironment"}, apply: leaveInterfaces,
		},
	}
}

func clientException(c *call, format string, args ...any) *answer {
	return c.refuse(http.StatusBadRequest, "ClientException", fmt.Sprintf(format, args...))
}

// batchThing gives the name that a call of Batch acts on, and the kind.
func batchThing(c *call) (*heldKind, string) {
	kind := kindHeldBy(c.service, c.action)

	return kind, nameOf(c.text(kind.input[c.action]))
}

func beingModified(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	kind, name := batchThing(c)

	h := c.world.heldAs(kind.describe, name)
	if h == nil {
		return next(ctx, c)
	}

	p.touch(c, "strict/batch-modified")

	if strings.HasPrefix(c.action, "Create") {
		return clientException(c, takenMessage), nil
	}

	verb := "update"
	if strings.HasPrefix(c.action, "Delete") {
		verb = "delete"
	}

	return clientException(c, "Cannot %s, resource is being modified.", verb), nil
}

// batchDetail looks at one environment or queue; nil where there is none.
func (p *Proxy) batchDetail(ctx context.Context, c *call, kind *heldKind, name string) (map[string]any, error) {
	var out map[string][]map[string]any
	if err := p.askBatch(ctx, c, strings.ToLower(kind.describe), map[string]any{kind.set: []string{name}}, &out); err != nil {
		return nil, err
	}

	if len(out[kind.set]) == 0 {
		return nil, nil
	}

	return out[kind.set][0], nil
}

func enabledOrUsed(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	const rule = "strict/batch-enabled"

	kind, name := batchThing(c)

	detail, err := p.batchDetail(ctx, c, kind, name)
	if err != nil {
		return nil, err
	}

	if detail["state"] == "ENABLED" {
		p.touch(c, rule)

		if c.action == "DeleteJobQueue" {
			return clientException(c, "Cannot delete, job queue state must be DISABLED"), nil
		}

		return clientException(c, "Cannot delete, compute environment state must be DISABLED"), nil
	}

	if c.action == "DeleteJobQueue" {
		return next(ctx, c)
	}

	var queues map[string][]map[string]any
	if err := p.askBatch(ctx, c, "describejobqueues", map[string]any{}, &queues); err != nil {
		return nil, err
	}

	all := queues["jobQueues"]

	c.world.with(func() {
		for _, h := range c.world.held {
			if h.kind.describe == "DescribeJobQueues" && h.ghostJSON != nil {
				all = append(all, h.ghostJSON)
			}
		}
	})

	for _, q := range all {
		if slices.Contains(environmentsOf(q), name) {
			p.touch(c, rule)

			return clientException(c, "Cannot delete, found existing JobQueue relationship"), nil
		}
	}

	return next(ctx, c)
}

// environmentsOf gives the names of the environments in the order of a queue, or of a call that makes or changes one.
func environmentsOf(queue map[string]any) []string {
	var names []string

	for _, o := range listOf(queue["computeEnvironmentOrder"]) {
		order, _ := o.(map[string]any)
		name, _ := order["computeEnvironment"].(string)
		names = append(names, nameOf(name))
	}

	return names
}

func lingeringRelationship(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	const rule = "strict/batch-relationship"

	kind, name := batchThing(c)

	if c.action == "DeleteComputeEnvironment" {
		if !c.isFunction() || !c.world.spend("relation "+c.region+" "+name) {
			return next(ctx, c)
		}

		p.touch(c, rule)

		return clientException(c, "Cannot delete, found existing JobQueue relationship"), nil
	}

	before, err := p.batchDetail(ctx, c, kind, name)
	if err != nil {
		return nil, err
	}

	a, err := next(ctx, c)
	if err != nil || !a.ok() {
		return a, err
	}

	if c.action == "UpdateJobQueue" && c.input["computeEnvironmentOrder"] == nil {
		return a, nil
	}

	kept := environmentsOf(c.input)
	for _, env := range environmentsOf(before) {
		if !slices.Contains(kept, env) {
			c.world.set("relation "+c.region+" "+env, 1)
		}
	}

	return a, nil
}

func queueEnvironments(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	const rule = "strict/queue-environments"

	kind := kindHeldBy("batch", "CreateComputeEnvironment")
	fargate := map[bool]bool{}

	for _, name := range environmentsOf(c.input) {
		detail, err := p.batchDetail(ctx, c, kind, name)
		if err != nil {
			return nil, err
		}

		if detail == nil {
			continue // moto refuses it
		}

		h, reason := c.world.heldAs(kind.describe, name), ""

		c.world.with(func() { reason = c.world.invalid[c.region+" "+name] })

		if h != nil || reason != "" {
			p.touch(c, rule)

			return clientException(c, "%s - is not in VALID state", detail["computeEnvironmentArn"]), nil
		}

		resources, _ := detail["computeResources"].(map[string]any)
		if kind, _ := resources["type"].(string); kind != "" {
			fargate[strings.HasPrefix(kind, "FARGATE")] = true
		}
	}

	if len(fargate) > 1 {
		p.touch(c, rule)

		return clientException(c, "All compute environments in a job queue must be either EC2 or Fargate; they cannot be mixed."), nil
	}

	return next(ctx, c)
}

// rolesOf gives what an environment cannot do without: its service role and its instance profile.
func rolesOf(environment map[string]any) (serviceRole, profile string) {
	role, _ := environment["serviceRole"].(string)
	resources, _ := environment["computeResources"].(map[string]any)
	prof, _ := resources["instanceRole"].(string)

	return nameOf(role), nameOf(prof)
}

func stuckEnvironment(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	kind, name := batchThing(c)

	detail, err := p.batchDetail(ctx, c, kind, name)
	if err != nil {
		return nil, err
	}

	a, err := next(ctx, c)
	if err != nil || !a.ok() || detail == nil {
		return a, err
	}

	whole, err := p.rolesThere(ctx, c, detail)
	if err != nil {
		return nil, err
	}

	if !whole {
		p.touch(c, "strict/stuck-environment")
		c.world.stick(name, true)
	}

	return a, nil
}

// rolesThere says whether an environment's service role and instance profile with its role are there.
func (p *Proxy) rolesThere(ctx context.Context, c *call, environment map[string]any) (bool, error) {
	role, profile := rolesOf(environment)

	if role != "" {
		a, _, err := p.askIAM(ctx, c, "GetRole", url.Values{"RoleName": {role}})
		if err != nil || !a.ok() {
			return false, err
		}
	}

	if profile == "" {
		return true, nil
	}

	a, root, err := p.askIAM(ctx, c, "GetInstanceProfile", url.Values{"InstanceProfileName": {profile}})
	if err != nil || !a.ok() {
		return false, err
	}

	return root.Child("GetInstanceProfileResult", "InstanceProfile", "Roles", "member") != nil, nil
}

// stick lets an environment that is being deleted stay so, or go on.
func (w *world) stick(name string, stuck bool) {
	w.with(func() {
		for _, h := range w.held {
			if h.kind.describe == "DescribeComputeEnvironments" && h.id == name && h.state == "DELETING" {
				h.stuck, h.reason = stuck, ""
				if stuck {
					h.reason = "CLIENT_ERROR - Not authorized to perform sts:AssumeRole"
				}
			}
		}
	})
}

// stickAll looks at all environments that are being deleted: something in IAM has gone or come back.
func (p *Proxy) stickAll(ctx context.Context, c *call) error {
	ghosts := map[*held]bool{} // and whether they are stuck

	c.world.with(func() {
		for _, h := range c.world.held {
			if h.kind.describe == "DescribeComputeEnvironments" && h.ghostJSON != nil {
				ghosts[h] = h.stuck
			}
		}
	})

	for h, stuck := range ghosts {
		whole, err := p.rolesThere(ctx, c, h.ghostJSON)
		if err != nil {
			return err
		}

		if whole == stuck {
			p.touch(c, "strict/stuck-environment")
			c.world.stick(h.id, !whole)
		}
	}

	return nil
}

func youngRoles(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	const rule = "strict/young-role"

	if c.action == "DescribeComputeEnvironments" {
		a, err := next(ctx, c)
		if err != nil || !a.ok() {
			return a, err
		}

		editItems(a, "computeEnvironments", func(item map[string]any) bool {
			reason := ""

			c.world.with(func() { reason = c.world.invalid[c.region+" "+fmt.Sprint(item["computeEnvironmentName"])] })

			if reason == "" {
				return false
			}

			p.touch(c, rule)

			item["status"], item["statusReason"] = "INVALID", reason

			return true
		})

		return a, nil
	}

	kind, name := batchThing(c)

	a, err := next(ctx, c)
	if err != nil || !a.ok() {
		return a, err
	}

	detail, err := p.batchDetail(ctx, c, kind, name)
	if err != nil {
		return nil, err
	}

	c.world.with(func() {
		delete(c.world.invalid, c.region+" "+name)

		role, profile := rolesOf(detail)
		for _, key := range []string{"role " + role, "profile " + profile} {
			if born, ok := c.world.born[key]; ok && p.now().Sub(born) < youngRole {
				c.world.invalid[c.region+" "+name] = fmt.Sprintf(
					"CLIENT_ERROR - User: arn:aws:sts::%s:assumed-role is not authorized to perform: sts:AssumeRole on resource: %s", c.account, key)
			}
		}
	})

	return a, nil
}

func leaveInterfaces(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	kind, name := batchThing(c)

	detail, err := p.batchDetail(ctx, c, kind, name)
	if err != nil {
		return nil, err
	}

	a, err := next(ctx, c)
	if err != nil || !a.ok() {
		return a, err
	}

	resources, _ := detail["computeResources"].(map[string]any)
	for _, member := range []string{"subnets", "securityGroupIds"} {
		for _, id := range texts(resources[member]) {
			c.world.set("interface "+id, strictInterfaces)
		}
	}

	return a, nil
}
