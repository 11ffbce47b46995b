package awsproxy

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsmodel"
)

// held is a thing that is shown in a state between for some more looks. One that has been deleted is shown from a copy.
type held struct {
	kind  *heldKind
	id    string // the name in Batch, the id in EC2
	state string
	polls int
	cause string // what touched the call, for the journal
	// stuck is what never ends by itself.
	stuck  bool
	reason string

	ghostJSON map[string]any
	ghostXML  *awsmodel.Element
}

// heldKind is a kind of thing that AWS has states between for.
type heldKind struct {
	service, describe string
	// set is the member of the answer that lists things; id and state are the members of one.
	set, id, state string
	// ids is the parameter of the call that names things, as it is sent.
	ids string
	// actions and the state they lead through. EC2's VPCs and subnets have none when deleted: they are listed as before.
	actions map[string]string
	// input is the member that names the thing, by action; where none is named, it is made by the call.
	input map[string]string
}

// heldKinds are the kinds whose states AWS documents: CEStatus and JQStatus in the Batch API reference; VpcState, SubnetState, State (VpcEndpoint) and
// NatGatewayState in the EC2 API reference.
func heldKinds() []*heldKind {
	return []*heldKind{
		{
			service: "batch", describe: "DescribeComputeEnvironments", set: "computeEnvironments", id: "computeEnvironmentName", state: "status",
			actions: map[string]string{
				"CreateComputeEnvironment": "CREATING", "UpdateComputeEnvironment": "UPDATING", "DeleteComputeEnvironment": "DELETING",
			},
			input: map[string]string{
				"CreateComputeEnvironment": "computeEnvironmentName", "UpdateComputeEnvironment": "computeEnvironment",
				"DeleteComputeEnvironment": "computeEnvironment",
			},
		},
		{
			service: "batch", describe: "DescribeJobQueues", set: "jobQueues", id: "jobQueueName", state: "status",
			actions: map[string]string{"CreateJobQueue": "CREATING", "UpdateJobQueue": "UPDATING", "DeleteJobQueue": "DELETING"},
			input:   map[string]string{"CreateJobQueue": "jobQueueName", "UpdateJobQueue": "jobQueue", "DeleteJobQueue": "jobQueue"},
		},
		{
			service: "ec2", describe: "DescribeVpcs", set: "vpcSet", id: "vpcId", state: "state", ids: "VpcId",
			actions: map[string]string{"CreateVpc": "pending", "DeleteVpc": ""}, input: map[string]string{"DeleteVpc": "VpcId"},
		},
		{
			service: "ec2", describe: "DescribeSubnets", set: "subnetSet", id: "subnetId", state: "state", ids: "SubnetId",
			actions: map[string]string{"CreateSubnet": "pending", "DeleteSubnet": ""}, input: map[string]string{"DeleteSubnet": "SubnetId"},
		},
		{
			service: "ec2", describe: "DescribeVpcEndpoints", set: "vpcEndpointSet", id: "vpcEndpointId", state: "state", ids: "VpcEndpointId",
			actions: map[string]string{"CreateVpcEndpoint": "pending", "DeleteVpcEndpoints": "deleting"},
			input:   map[string]string{"DeleteVpcEndpoints": "VpcEndpointIds"},
		},
		{
			service: "ec2", describe: "DescribeNatGateways", set: "natGatewaySet", id: "natGatewayId", state: "state", ids: "NatGatewayId",
			actions: map[string]string{"CreateNatGateway": "pending", "DeleteNatGateway": "deleting"}, input: map[string]string{"DeleteNatGateway": "NatGatewayId"},
		},
		{
			service: "ec2", describe: "DescribeInternetGateways", set: "internetGatewaySet", id: "internetGatewayId", ids: "InternetGatewayId",
			actions: map[string]string{"DeleteInternetGateway": ""}, input: map[string]string{"DeleteInternetGateway": "InternetGatewayId"},
		},
		{
			service: "ec2", describe: "DescribeRouteTables", set: "routeTableSet", id: "routeTableId", ids: "RouteTableId",
			actions: map[string]string{"DeleteRouteTable": ""}, input: map[string]string{"DeleteRouteTable": "RouteTableId"},
		},
		{
			service: "ec2", describe: "DescribeSecurityGroups", set: "securityGroupInfo", id: "groupId", ids: "GroupId",
			actions: map[string]string{"DeleteSecurityGroup": ""}, input: map[string]string{"DeleteSecurityGroup": "GroupId"},
		},
	}
}

func kindHeldBy(service, action string) *heldKind {
	for _, k := range heldKinds() {
		if _, ok := k.actions[action]; ok && k.service == service {
			return k
		}
	}

	return nil
}

func canHold(service, action string) bool { return kindHeldBy(service, action) != nil }

func holdable() string {
	var names []string

	for _, k := range heldKinds() {
		for action := range k.actions {
			names = append(names, k.service+" "+action)
		}
	}

	slices.Sort(names)

	return strings.Join(names, ", ")
}

// hold lets a call through and then keeps what it made, changed or deleted in its state between.
func (p *Proxy) hold(ctx context.Context, c *call, next handler, polls int, cause string) (*answer, error) {
	kind := kindHeldBy(c.service, c.action)
	deletes := strings.HasPrefix(c.action, "Delete")

	var things []*held

	if deletes {
		var err error

		things, err = p.copies(ctx, c, kind)
		if err != nil {
			return nil, err
		}
	}

	a, err := next(ctx, c)
	if err != nil || !a.ok() {
		return a, err
	}

	if !deletes {
		id := created(c, a)
		if member := kind.input[c.action]; member != "" {
			id = nameOf(c.text(member))
		}

		things = []*held{{id: id}}
	}

	state := kind.actions[c.action]
	if state == "pending" {
		showPending(a)
	}

	c.world.with(func() {
		for _, h := range things {
			h.kind, h.state, h.polls, h.cause = kind, state, polls, cause
			// What happens last is what is shown.
			c.world.held = slices.DeleteFunc(c.world.held, func(o *held) bool { return o.kind.describe == kind.describe && o.id == h.id })
			c.world.held = append(c.world.held, h)
		}
	})

	return a, nil
}

// showPending lets a create of EC2 answer as AWS does: the new thing is pending.
func showPending(a *answer) {
	root, err := awsmodel.ParseXML(a.body)
	if err != nil {
		return
	}

	for _, c := range root.Children {
		if state := c.Child("state"); state != nil {
			state.Text = "pending"
			a.setBody(root.Bytes())
		}
	}
}

// copies looks at what a call is about to delete.
func (p *Proxy) copies(ctx context.Context, c *call, kind *heldKind) ([]*held, error) {
	if kind.service == "batch" {
		name := c.text(kind.input[c.action])

		var out map[string][]map[string]any
		if err := p.askBatch(ctx, c, strings.ToLower(kind.describe), map[string]any{kind.set: []string{name}}, &out); err != nil {
			return nil, err
		}

		var things []*held
		for _, item := range out[kind.set] {
			things = append(things, &held{id: fmt.Sprint(item[kind.id]), ghostJSON: item})
		}

		return things, nil
	}

	var things []*held

	for id := range strings.SplitSeq(joined(c.input[kind.input[c.action]]), ",") {
		root, err := p.askEC2(ctx, c, kind.describe, url.Values{kind.ids + ".1": {id}})
		if err != nil {
			continue // moto will say itself that it is not there
		}

		if set := root.Child(kind.set); set != nil && len(set.Children) > 0 {
			things = append(things, &held{id: id, ghostXML: set.Children[0]})
		}
	}

	return things, nil
}

// showHeld puts what is held into the answers of Describe calls.
func (p *Proxy) showHeld(next handler) handler {
	return func(ctx context.Context, c *call) (*answer, error) {
		a, err := next(ctx, c)
		if err != nil {
			return a, err
		}

		for _, kind := range heldKinds() {
			if kind.service != c.service || kind.describe != c.action {
				continue
			}

			var things []*held

			c.world.with(func() {
				for _, h := range c.world.held {
					if h.kind.describe == kind.describe {
						things = append(things, h)
					}
				}
			})

			for _, h := range things {
				if p.look(c, a, h) {
					p.touch(c, h.cause)
				}
			}
		}

		return a, nil
	}
}

// look shows one held thing in an answer, if it belongs there, and counts the look.
func (p *Proxy) look(c *call, a *answer, h *held) bool {
	shown := false
	if h.kind.service == "batch" {
		shown = a.ok() && lookJSON(c, a, h)
	} else {
		shown = lookXML(c, a, h)
	}

	if !shown {
		return false
	}

	c.world.with(func() {
		if h.stuck {
			return
		}

		h.polls--
		if h.polls <= 0 {
			c.world.held = slices.DeleteFunc(c.world.held, func(o *held) bool { return o == h })
		}
	})

	return true
}

func lookJSON(c *call, a *answer, h *held) bool {
	var out map[string]any
	if json.Unmarshal(a.body, &out) != nil {
		return false
	}

	items, _ := out[h.kind.set].([]any)
	found := false

	for _, item := range items {
		object, _ := item.(map[string]any)
		if object[h.kind.id] == h.id {
			found = true
			object[h.kind.state] = h.state
			object["statusReason"] = h.reason
		}
	}

	if !found && h.ghostJSON != nil {
		asked := c.texts(h.kind.set)
		arn, _ := h.ghostJSON[strings.TrimSuffix(h.kind.id, "Name")+"Arn"].(string)
		found = len(asked) == 0 || slices.Contains(asked, h.id) || slices.Contains(asked, arn)

		if found {
			ghost := map[string]any{}
			for key, v := range h.ghostJSON {
				ghost[key] = v
			}

			ghost[h.kind.state], ghost["statusReason"] = h.state, h.reason
			out[h.kind.set] = append(items, ghost)
		}
	}

	if found {
		a.setBody(mustJSON(out))
	}

	return found
}

func lookXML(c *call, a *answer, h *held) bool {
	root, err := awsmodel.ParseXML(a.body)
	if err != nil {
		return false
	}

	if h.ghostXML != nil {
		return showGhost(c, a, root, h)
	}

	set := root.Child(h.kind.set)
	if !a.ok() || set == nil {
		return false
	}

	for _, item := range set.Children {
		if item.ChildText(h.kind.id) == h.id {
			item.SetChild(h.kind.state, h.state)
			a.setBody(root.Bytes())

			return true
		}
	}

	return false
}

// showGhost lists a thing that moto no longer has. A look by its id, which moto refuses as not found, becomes a good answer.
func showGhost(c *call, a *answer, root *awsmodel.Element, h *held) bool {
	if !wanted(c, h) {
		return false
	}

	ghost := *h.ghostXML
	ghost.Children = slices.Clone(ghost.Children)

	if h.state != "" {
		ghost.Children = slices.DeleteFunc(ghost.Children, func(e *awsmodel.Element) bool { return e.Name == h.kind.state })
		ghost.SetChild(h.kind.state, h.state)
	}

	if a.ok() {
		set := root.Child(h.kind.set)
		if set == nil {
			return false
		}

		for _, item := range set.Children {
			if item.ChildText(h.kind.id) == h.id { // moto lists deleted NAT gateways itself
				item.Children = ghost.Children
				a.setBody(root.Bytes())

				return true
			}
		}

		set.Children = append(set.Children, &ghost)
		a.setBody(root.Bytes())

		return true
	}

	if !strings.Contains(a.fault, "NotFound") {
		return false
	}

	answer := &awsmodel.Element{Name: c.action + "Response", Children: []*awsmodel.Element{
		{Name: "requestId", Text: awsmodel.NewRequestID()}, {Name: h.kind.set, Children: []*awsmodel.Element{&ghost}},
	}}
	a.status, a.fault = http.StatusOK, ""
	a.setBody(answer.Bytes())

	return true
}

// wanted says whether a Describe call asks for a thing, by ids or filters.
func wanted(c *call, h *held) bool {
	// The API reference names the list of ids once with, once without "Vpc": VpcIds, GroupIds.
	if ids := c.texts(h.kind.ids + "s"); len(ids) > 0 && !slices.Contains(ids, h.id) {
		return false
	}

	filters, _ := c.input["Filters"].([]any)
	for _, f := range append(filters, listOf(c.input["Filter"])...) {
		filter, _ := f.(map[string]any)
		name, _ := filter["Name"].(string)

		if !passes(h, name, texts(filter["Values"])) {
			return false
		}
	}

	return true
}

func listOf(v any) []any {
	list, _ := v.([]any)

	return list
}

func passes(h *held, filter string, values []string) bool {
	if key, ok := strings.CutPrefix(filter, "tag:"); ok {
		for _, tag := range tagsOf(h.ghostXML) {
			if tag.ChildText("key") == key && slices.Contains(values, tag.ChildText("value")) {
				return true
			}
		}

		return false
	}

	if filter == "tag-key" {
		return slices.ContainsFunc(tagsOf(h.ghostXML), func(tag *awsmodel.Element) bool { return slices.Contains(values, tag.ChildText("key")) })
	}

	// The other filters are spelled as the members, with hyphens.
	member := filter
	for _, part := range strings.Split(filter, "-")[1:] {
		if part != "" {
			member = strings.Replace(member, "-"+part, strings.ToUpper(part[:1])+part[1:], 1)
		}
	}

	if strings.HasSuffix(filter, "state") && h.state != "" {
		return slices.Contains(values, h.state)
	}

	return slices.Contains(values, h.ghostXML.ChildText(member))
}

func tagsOf(e *awsmodel.Element) []*awsmodel.Element {
	if set := e.Child("tagSet"); set != nil {
		return set.Children
	}

	return nil
}

// heldAs gives what is held of a kind under a name or id, or nil.
func (w *world) heldAs(describe, id string) *held {
	var found *held

	w.with(func() {
		for _, h := range w.held {
			if h.kind.describe == describe && h.id == id {
				found = h
			}
		}
	})

	return found
}
