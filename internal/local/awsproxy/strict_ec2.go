package awsproxy

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsmodel"
)

func strictEC2() []entry {
	return []entry{
		{
			name:    "strict/ec2-fresh-reads",
			source:  "EC2 API reference, Eventual consistency: what was made just now may not be found. moto finds it at once.",
			service: "ec2",
			actions: []string{
				"CreateVpc", "CreateSubnet", "CreateInternetGateway", "CreateRouteTable", "CreateSecurityGroup",
				"DescribeVpcs", "DescribeSubnets", "DescribeInternetGateways", "DescribeRouteTables", "DescribeSecurityGroups",
			},
			apply: freshReads,
		},
		{
			name: "strict/ec2-dependents",
			source: "EC2 API reference, DeleteSecurityGroup: a group that a rule of another group names is refused with DependencyViolation. moto deletes it. " +
				"What a network interface lingers in (strict/lingering-interfaces) is refused here, too.",
			service: "ec2", actions: []string{"DeleteSecurityGroup", "DeleteSubnet"}, apply: dependents,
		},
		{
			name: "strict/endpoint-route-taken",
			source: "VPC user guide, Gateway endpoints: a route table holds one endpoint route for a service; a second is refused with RouteAlreadyExists. " +
				"moto makes a second.",
			service: "ec2", actions: []string{"CreateVpcEndpoint"}, apply: endpointRouteTaken,
		},
		{
			name:    "strict/endpoints-unsuccessful",
			source:  "EC2 API reference, DeleteVpcEndpoints, Unsuccessful: the answer may be good and the deletes not. Here the first call in an account.",
			service: "ec2", actions: []string{"DeleteVpcEndpoints"}, apply: endpointsUnsuccessful,
		},
		{
			name: "strict/ec2-states",
			source: "EC2 API reference, VpcState, SubnetState, State (VpcEndpoint), NatGatewayState: new things are pending and deleted ones deleting for a " +
				"while, and Eventual consistency: what is gone may still be listed. moto knows neither.",
			service: "ec2",
			actions: []string{
				"CreateVpc", "CreateSubnet", "CreateVpcEndpoint", "CreateNatGateway", "DeleteVpc", "DeleteSubnet", "DeleteVpcEndpoints", "DeleteNatGateway",
				"DeleteInternetGateway", "DeleteRouteTable", "DeleteSecurityGroup",
			},
			apply: func(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
				a, err := p.hold(ctx, c, next, strictPolls, "strict/ec2-states")
				if err == nil && a.ok() {
					p.touch(c, "strict/ec2-states")
				}

				return a, err
			},
		},
	}
}

// notFound gives EC2's irregular spelling of "not found" for a Describe call, and the member that names things.
func notFound(action string) (code, ids, set, id string) {
	switch action {
	case "DescribeVpcs":
		return "InvalidVpcID.NotFound", "VpcIds", "vpcSet", "vpcId"
	case "DescribeSubnets":
		return "InvalidSubnetID.NotFound", "SubnetIds", "subnetSet", "subnetId"
	case "DescribeInternetGateways":
		return "InvalidInternetGatewayID.NotFound", "InternetGatewayIds", "internetGatewaySet", "internetGatewayId"
	case "DescribeRouteTables":
		return "InvalidRouteTableID.NotFound", "RouteTableIds", "routeTableSet", "routeTableId"
	default:
		return "InvalidGroup.NotFound", "GroupIds", "securityGroupInfo", "groupId"
	}
}

func freshReads(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	a, err := next(ctx, c)
	if err != nil || !a.ok() {
		return a, err
	}

	if strings.HasPrefix(c.action, "Create") {
		// The answer to a token that came before is about an old thing.
		if id := created(c, a); id != "" && c.world.first("made "+id) {
			c.world.set("fresh "+id, strictFreshReads)
		}

		return a, nil
	}

	if !c.isFunction() {
		return a, nil
	}

	root, err := a.xml()
	if err != nil {
		return nil, err
	}

	fault, ids, member, idName := notFound(c.action)

	set := root.Child(member)
	if set == nil {
		return a, nil
	}

	var hidden []string

	set.Children = slices.DeleteFunc(set.Children, func(item *awsmodel.Element) bool {
		id := item.ChildText(idName)
		if !c.world.spend("fresh " + id) {
			return false
		}

		hidden = append(hidden, id)

		return true
	})

	if len(hidden) == 0 {
		return a, nil
	}

	p.touch(c, "strict/ec2-fresh-reads")

	for _, id := range c.texts(ids) {
		if slices.Contains(hidden, id) {
			return c.refuse(http.StatusBadRequest, fault, "The ID '"+id+"' does not exist"), nil
		}
	}

	a.setBody(root.Bytes())

	return a, nil
}

func dependents(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	id := c.text("GroupId") + c.text("SubnetId")
	refuse := func(rule, what string) *answer {
		p.touch(c, rule)

		return c.refuse(http.StatusBadRequest, "DependencyViolation", what)
	}

	if c.isFunction() && c.world.spend("interface "+id) {
		if c.action == "DeleteSubnet" {
			return refuse("strict/lingering-interfaces", "The subnet '"+id+"' has dependencies and cannot be deleted."), nil
		}

		return refuse("strict/lingering-interfaces", "resource "+id+" has a dependent object"), nil
	}

	if c.text("GroupId") == "" {
		return next(ctx, c)
	}

	root, err := p.askEC2(ctx, c, "DescribeSecurityGroups", url.Values{"Filter.1.Name": {"ip-permission.group-id"}, "Filter.1.Value.1": {id}})
	if err != nil {
		return nil, err
	}

	if set := root.Child("securityGroupInfo"); set != nil {
		for _, group := range set.Children {
			if group.ChildText("groupId") != id {
				return refuse("strict/ec2-dependents", "resource "+id+" has a dependent object"), nil
			}
		}
	}

	return next(ctx, c)
}

func endpointRouteTaken(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	tables := c.texts("RouteTableIds")
	replayed := false

	c.world.with(func() { replayed = c.world.tokens[tokenKey(c, c.text("ClientToken"))] != nil })

	if replayed {
		return next(ctx, c)
	}

	root, err := p.askEC2(ctx, c, "DescribeVpcEndpoints", url.Values{
		"Filter.1.Name": {"vpc-id"}, "Filter.1.Value.1": {c.text("VpcId")},
	})
	if err != nil {
		return nil, err
	}

	set := root.Child("vpcEndpointSet")
	if set == nil {
		return next(ctx, c)
	}

	for _, endpoint := range set.Children {
		taken := endpoint.Child("routeTableIdSet")
		if endpoint.ChildText("serviceName") != c.text("ServiceName") || strings.EqualFold(endpoint.ChildText("state"), "deleted") || taken == nil {
			continue
		}

		for _, t := range taken.Children {
			if slices.Contains(tables, strings.TrimSpace(t.Text)) {
				p.touch(c, "strict/endpoint-route-taken")

				return c.refuse(http.StatusBadRequest, "RouteAlreadyExists",
					"route table "+strings.TrimSpace(t.Text)+" already has a route with destination-prefix-list-id of "+c.text("ServiceName")), nil
			}
		}
	}

	return next(ctx, c)
}

func endpointsUnsuccessful(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	if !c.isFunction() || !c.world.first("unsuccessful") {
		return next(ctx, c)
	}

	p.touch(c, "strict/endpoints-unsuccessful")

	failed := &awsmodel.Element{Name: "unsuccessful"}
	for _, id := range c.texts("VpcEndpointIds") {
		failed.Children = append(failed.Children, unsuccessful(id, "InternalError", "An internal error has occurred"))
	}

	return c.xml("DeleteVpcEndpointsResponse", failed), nil
}
