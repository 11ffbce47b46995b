package awsfake

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

type vpc struct {
	born

	id, cidr            string
	dnsSupport, dnsHost bool
	tags                map[string]string
}

type gateway struct {
	born

	id, vpc string
	tags    map[string]string
}

type table struct {
	born

	id, vpc      string
	main         bool
	routes       map[string]string // destination to target
	associations map[string]string // association id to subnet id
	tags         map[string]string
}

type subnet struct {
	born

	id, vpc, cidr, zone string
	publicIP            bool
	tags                map[string]string
}

type endpoint struct {
	born

	id, vpc, service string
	tables           []string
	deleted          time.Time
	tags             map[string]string
}

func noVPC(id *string) error {
	return refuse("InvalidVpcID.NotFound", "The vpc ID '%s' does not exist", aws.ToString(id))
}

func noGateway(id *string) error {
	return refuse("InvalidInternetGatewayID.NotFound", "The internetGateway ID '%s' does not exist", aws.ToString(id))
}

func noTable(id *string) error {
	return refuse("InvalidRouteTableID.NotFound", "The routeTable ID '%s' does not exist", aws.ToString(id))
}

func noSubnet(id *string) error {
	return refuse("InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", aws.ToString(id))
}

// inUse is EC2's refusal to delete what other things live in. It never says who. EC2 API reference, "Error codes", DependencyViolation.
func inUse(what, id string) error {
	return refuse("DependencyViolation", "The %s '%s' has dependencies and cannot be deleted.", what, id)
}

// CreateVpc has neither a token nor a unique name: each call makes one, with a default group and a main route table. API reference, CreateVpc.
func (e *EC2) CreateVpc(ctx context.Context, in *ec2.CreateVpcInput, _ ...func(*ec2.Options)) (*ec2.CreateVpcOutput, error) {
	return do(ctx, e.w, "ec2", "CreateVpc", in, func() (*ec2.CreateVpcOutput, error) {
		prefix, err := netip.ParsePrefix(aws.ToString(in.CidrBlock))
		if err != nil || prefix.Bits() < 16 || prefix.Bits() > 28 {
			return nil, refuse("InvalidVpc.Range", "The CIDR '%s' is invalid.", aws.ToString(in.CidrBlock))
		}

		v := &vpc{born: e.now(), id: e.w.id("vpc"), cidr: prefix.Masked().String(), dnsSupport: true, tags: tagSpec(in.TagSpecifications, types.ResourceTypeVpc)}
		e.vpcs[v.id] = v

		g := &group{born: e.now(), id: e.w.id("sg"), vpc: v.id, name: "default", description: "default VPC security group", egress: everything()}
		e.groups[g.id] = g

		t := &table{born: e.now(), id: e.w.id("rtb"), vpc: v.id, main: true, routes: map[string]string{v.cidr: "local"}, associations: map[string]string{}}
		e.tables[t.id] = t

		return &ec2.CreateVpcOutput{Vpc: e.describeVpc(v)}, nil
	})
}

// DescribeVpcs answers InvalidVpcID.NotFound for an unknown id, and an empty list for filters that match nothing.
func (e *EC2) DescribeVpcs(ctx context.Context, in *ec2.DescribeVpcsInput, _ ...func(*ec2.Options)) (*ec2.DescribeVpcsOutput, error) {
	return do(ctx, e.w, "ec2", "DescribeVpcs", in, func() (*ec2.DescribeVpcsOutput, error) {
		for _, id := range in.VpcIds {
			if _, ok := known(e, e.vpcs, &id); !ok {
				return nil, noVPC(&id)
			}
		}

		var all []types.Vpc

		for _, v := range tagged(e.vpcs, in.Filters) {
			ok, err := selected(in.Filters, v.tags, map[string][]string{"vpc-id": {v.id}, "cidr": {v.cidr}})
			if err != nil {
				return nil, err
			}

			if ok && e.visible(v.at) && (len(in.VpcIds) == 0 || slices.Contains(in.VpcIds, v.id)) {
				all = append(all, *e.describeVpc(v))
			}
		}

		cut, next, err := ec2Page(e, all, in.NextToken)
		if err != nil {
			return nil, err
		}

		return &ec2.DescribeVpcsOutput{Vpcs: cut, NextToken: next}, nil
	})
}

// ModifyVpcAttribute takes one attribute a call. API reference, ModifyVpcAttribute.
func (e *EC2) ModifyVpcAttribute(ctx context.Context, in *ec2.ModifyVpcAttributeInput, _ ...func(*ec2.Options)) (*ec2.ModifyVpcAttributeOutput, error) {
	return do(ctx, e.w, "ec2", "ModifyVpcAttribute", in, func() (*ec2.ModifyVpcAttributeOutput, error) {
		v, ok := known(e, e.vpcs, in.VpcId)
		if !ok {
			return nil, noVPC(in.VpcId)
		}

		if (in.EnableDnsSupport != nil) == (in.EnableDnsHostnames != nil) {
			return nil, refuse("InvalidParameterCombination", "Only one attribute can be modified at a time")
		}

		if in.EnableDnsSupport != nil {
			v.dnsSupport = aws.ToBool(in.EnableDnsSupport.Value)
		}

		if in.EnableDnsHostnames != nil {
			v.dnsHost = aws.ToBool(in.EnableDnsHostnames.Value)
		}

		return &ec2.ModifyVpcAttributeOutput{}, nil
	})
}

// DescribeVpcAttribute reads one attribute.
func (e *EC2) DescribeVpcAttribute(ctx context.Context, in *ec2.DescribeVpcAttributeInput, _ ...func(*ec2.Options)) (*ec2.DescribeVpcAttributeOutput, error) {
	return do(ctx, e.w, "ec2", "DescribeVpcAttribute", in, func() (*ec2.DescribeVpcAttributeOutput, error) {
		v, ok := known(e, e.vpcs, in.VpcId)
		if !ok {
			return nil, noVPC(in.VpcId)
		}

		out := &ec2.DescribeVpcAttributeOutput{VpcId: in.VpcId}

		switch in.Attribute {
		case types.VpcAttributeNameEnableDnsSupport:
			out.EnableDnsSupport = &types.AttributeBooleanValue{Value: aws.Bool(v.dnsSupport)}
		case types.VpcAttributeNameEnableDnsHostnames:
			out.EnableDnsHostnames = &types.AttributeBooleanValue{Value: aws.Bool(v.dnsHost)}
		default:
			return nil, refuse("InvalidParameterValue", "Value (%s) for parameter attribute is invalid", in.Attribute)
		}

		return out, nil
	})
}

// DeleteVpc refuses while anything lives in the VPC, and takes its main route table and default group along. VPC user guide, "Delete your VPC".
func (e *EC2) DeleteVpc(ctx context.Context, in *ec2.DeleteVpcInput, _ ...func(*ec2.Options)) (*ec2.DeleteVpcOutput, error) {
	return do(ctx, e.w, "ec2", "DeleteVpc", in, func() (*ec2.DeleteVpcOutput, error) {
		v, ok := known(e, e.vpcs, in.VpcId)
		if !ok {
			return nil, noVPC(in.VpcId)
		}

		if e.inhabited(v.id) {
			return nil, inUse("vpc", v.id)
		}

		for id, t := range e.tables {
			if t.vpc == v.id {
				delete(e.tables, id)
			}
		}

		for id, g := range e.groups {
			if g.vpc == v.id {
				delete(e.groups, id)
			}
		}

		delete(e.vpcs, v.id)

		return &ec2.DeleteVpcOutput{}, nil
	})
}

func (e *EC2) inhabited(vpc string) bool {
	for _, s := range e.subnets {
		if s.vpc == vpc {
			return true
		}
	}

	for _, g := range e.gateways {
		if g.vpc == vpc {
			return true
		}
	}

	for _, t := range e.tables {
		if t.vpc == vpc && !t.main {
			return true
		}
	}

	for _, g := range e.groups {
		if g.vpc == vpc && g.name != "default" {
			return true
		}
	}

	for _, p := range e.endpoints {
		if p.vpc == vpc && e.endpointState(p) != "deleted" {
			return true
		}
	}

	return false
}

func (e *EC2) describeVpc(v *vpc) *types.Vpc {
	state := types.VpcStateAvailable
	if e.w.Now().Before(v.at.Add(e.w.Takes.VPCPending)) {
		state = types.VpcStatePending
	}

	return &types.Vpc{VpcId: aws.String(v.id), CidrBlock: aws.String(v.cidr), State: state, OwnerId: aws.String(e.w.Account), Tags: ec2Tags(v.tags)}
}

// CreateInternetGateway has neither a token nor a unique name. API reference, CreateInternetGateway.
func (e *EC2) CreateInternetGateway(ctx context.Context, in *ec2.CreateInternetGatewayInput, _ ...func(*ec2.Options)) (*ec2.CreateInternetGatewayOutput, error) {
	return do(ctx, e.w, "ec2", "CreateInternetGateway", in, func() (*ec2.CreateInternetGatewayOutput, error) {
		g := &gateway{born: e.now(), id: e.w.id("igw"), tags: tagSpec(in.TagSpecifications, types.ResourceTypeInternetGateway)}
		e.gateways[g.id] = g

		return &ec2.CreateInternetGatewayOutput{InternetGateway: describeGateway(g)}, nil
	})
}

// DescribeInternetGateways lists by id, attachment and tag.
func (e *EC2) DescribeInternetGateways(ctx context.Context, in *ec2.DescribeInternetGatewaysInput, _ ...func(*ec2.Options)) (*ec2.DescribeInternetGatewaysOutput, error) {
	return do(ctx, e.w, "ec2", "DescribeInternetGateways", in, func() (*ec2.DescribeInternetGatewaysOutput, error) {
		for _, id := range in.InternetGatewayIds {
			if _, ok := known(e, e.gateways, &id); !ok {
				return nil, noGateway(&id)
			}
		}

		var all []types.InternetGateway

		for _, g := range tagged(e.gateways, in.Filters) {
			ok, err := selected(in.Filters, g.tags, map[string][]string{"internet-gateway-id": {g.id}, "attachment.vpc-id": {g.vpc}})
			if err != nil {
				return nil, err
			}

			if ok && e.visible(g.at) && (len(in.InternetGatewayIds) == 0 || slices.Contains(in.InternetGatewayIds, g.id)) {
				all = append(all, *describeGateway(g))
			}
		}

		cut, next, err := ec2Page(e, all, in.NextToken)
		if err != nil {
			return nil, err
		}

		return &ec2.DescribeInternetGatewaysOutput{InternetGateways: cut, NextToken: next}, nil
	})
}

// AttachInternetGateway refuses a gateway that is attached, and a VPC that has one. VPC user guide, "Internet gateways".
func (e *EC2) AttachInternetGateway(ctx context.Context, in *ec2.AttachInternetGatewayInput, _ ...func(*ec2.Options)) (*ec2.AttachInternetGatewayOutput, error) {
	return do(ctx, e.w, "ec2", "AttachInternetGateway", in, func() (*ec2.AttachInternetGatewayOutput, error) {
		g, ok := known(e, e.gateways, in.InternetGatewayId)
		if !ok {
			return nil, noGateway(in.InternetGatewayId)
		}

		if _, ok := known(e, e.vpcs, in.VpcId); !ok {
			return nil, noVPC(in.VpcId)
		}

		if g.vpc != "" {
			return nil, refuse("Resource.AlreadyAssociated", "resource %s is already attached to network %s", g.id, g.vpc)
		}

		for _, other := range e.gateways {
			if other.vpc == *in.VpcId {
				return nil, refuse("InvalidParameterValue", "Network %s already has an internet gateway attached", *in.VpcId)
			}
		}

		g.vpc = *in.VpcId

		return &ec2.AttachInternetGatewayOutput{}, nil
	})
}

// DetachInternetGateway refuses while anything in the VPC has a public address. VPC user guide, "Delete an internet gateway"; the wording is what the
// Terraform AWS provider meets.
func (e *EC2) DetachInternetGateway(ctx context.Context, in *ec2.DetachInternetGatewayInput, _ ...func(*ec2.Options)) (*ec2.DetachInternetGatewayOutput, error) {
	return do(ctx, e.w, "ec2", "DetachInternetGateway", in, func() (*ec2.DetachInternetGatewayOutput, error) {
		g, ok := known(e, e.gateways, in.InternetGatewayId)
		if !ok {
			return nil, noGateway(in.InternetGatewayId)
		}

		if g.vpc == "" || g.vpc != aws.ToString(in.VpcId) {
			return nil, refuse("Gateway.NotAttached", "resource %s is not attached to network %s", g.id, aws.ToString(in.VpcId))
		}

		for _, n := range e.interfaces {
			if s := e.subnets[n.subnet]; n.public && s != nil && s.vpc == g.vpc {
				return nil, refuse("DependencyViolation",
					"Network %s has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.", g.vpc)
			}
		}

		g.vpc = ""

		return &ec2.DetachInternetGatewayOutput{}, nil
	})
}

// DeleteInternetGateway refuses while the gateway is attached. API reference, DeleteInternetGateway.
func (e *EC2) DeleteInternetGateway(ctx context.Context, in *ec2.DeleteInternetGatewayInput, _ ...func(*ec2.Options)) (*ec2.DeleteInternetGatewayOutput, error) {
	return do(ctx, e.w, "ec2", "DeleteInternetGateway", in, func() (*ec2.DeleteInternetGatewayOutput, error) {
		g, ok := known(e, e.gateways, in.InternetGatewayId)
		if !ok {
			return nil, noGateway(in.InternetGatewayId)
		}

		if g.vpc != "" {
			return nil, inUse("internetGateway", g.id)
		}

		delete(e.gateways, g.id)

		return &ec2.DeleteInternetGatewayOutput{}, nil
	})
}

func describeGateway(g *gateway) *types.InternetGateway {
	out := &types.InternetGateway{InternetGatewayId: aws.String(g.id), Tags: ec2Tags(g.tags)}
	if g.vpc != "" {
		// "available" is what EC2 shows for an attached internet gateway. API reference, InternetGatewayAttachment.
		out.Attachments = []types.InternetGatewayAttachment{{VpcId: aws.String(g.vpc), State: "available"}}
	}

	return out
}

// CreateRouteTable takes a client token. API reference, CreateRouteTable.
func (e *EC2) CreateRouteTable(ctx context.Context, in *ec2.CreateRouteTableInput, _ ...func(*ec2.Options)) (*ec2.CreateRouteTableOutput, error) {
	return do(ctx, e.w, "ec2", "CreateRouteTable", in, func() (*ec2.CreateRouteTableOutput, error) {
		return once(e, in.ClientToken, in, func() (*ec2.CreateRouteTableOutput, error) {
			v, ok := known(e, e.vpcs, in.VpcId)
			if !ok {
				return nil, noVPC(in.VpcId)
			}

			t := &table{
				born: e.now(), id: e.w.id("rtb"), vpc: v.id, routes: map[string]string{v.cidr: "local"}, associations: map[string]string{},
				tags: tagSpec(in.TagSpecifications, types.ResourceTypeRouteTable),
			}
			e.tables[t.id] = t

			return &ec2.CreateRouteTableOutput{RouteTable: e.describeTable(t)}, nil
		})
	})
}

// DescribeRouteTables lists by id, association and tag.
func (e *EC2) DescribeRouteTables(ctx context.Context, in *ec2.DescribeRouteTablesInput, _ ...func(*ec2.Options)) (*ec2.DescribeRouteTablesOutput, error) {
	return do(ctx, e.w, "ec2", "DescribeRouteTables", in, func() (*ec2.DescribeRouteTablesOutput, error) {
		for _, id := range in.RouteTableIds {
			if _, ok := known(e, e.tables, &id); !ok {
				return nil, noTable(&id)
			}
		}

		out := &ec2.DescribeRouteTablesOutput{}

		for _, t := range tagged(e.tables, in.Filters) {
			ok, err := selected(in.Filters, t.tags, map[string][]string{
				"route-table-id": {t.id}, "vpc-id": {t.vpc}, "association.subnet-id": sorted(t.associations),
			})
			if err != nil {
				return nil, err
			}

			if ok && e.visible(t.at) && (len(in.RouteTableIds) == 0 || slices.Contains(in.RouteTableIds, t.id)) {
				out.RouteTables = append(out.RouteTables, *e.describeTable(t))
			}
		}

		return out, nil
	})
}

func (e *EC2) describeTable(t *table) *types.RouteTable {
	out := &types.RouteTable{RouteTableId: aws.String(t.id), VpcId: aws.String(t.vpc), Tags: ec2Tags(t.tags)}

	for _, destination := range sortedKeys(t.routes) {
		to := t.routes[destination]
		r := types.Route{DestinationCidrBlock: aws.String(destination), GatewayId: aws.String(to), State: types.RouteStateActive}

		// A route to a gateway that is detached or deleted is a blackhole. VPC user guide, "Route tables".
		if g := e.gateways[to]; to != "local" && e.endpoints[to] == nil && (g == nil || g.vpc != t.vpc) {
			r.State = types.RouteStateBlackhole
		}

		if e.endpoints[to] != nil {
			r.DestinationCidrBlock, r.DestinationPrefixListId = nil, aws.String(destination)
		}

		out.Routes = append(out.Routes, r)
	}

	if t.main {
		out.Associations = append(out.Associations, types.RouteTableAssociation{Main: aws.Bool(true), RouteTableId: aws.String(t.id)})
	}

	for _, id := range sortedKeys(t.associations) {
		out.Associations = append(out.Associations, types.RouteTableAssociation{
			RouteTableAssociationId: aws.String(id), RouteTableId: aws.String(t.id), SubnetId: aws.String(t.associations[id]), Main: aws.Bool(false),
			AssociationState: e.associationState(id),
		})
	}

	return out
}

// CreateRoute refuses a destination that has a route (RouteAlreadyExists), and a gateway that is not there. API reference, CreateRoute.
func (e *EC2) CreateRoute(ctx context.Context, in *ec2.CreateRouteInput, _ ...func(*ec2.Options)) (*ec2.CreateRouteOutput, error) {
	return do(ctx, e.w, "ec2", "CreateRoute", in, func() (*ec2.CreateRouteOutput, error) {
		t, err := e.routable(in.RouteTableId, in.GatewayId)
		if err != nil {
			return nil, err
		}

		if t.routes[aws.ToString(in.DestinationCidrBlock)] != "" {
			return nil, refuse("RouteAlreadyExists", "The route identified by %s already exists.", aws.ToString(in.DestinationCidrBlock))
		}

		t.routes[aws.ToString(in.DestinationCidrBlock)] = aws.ToString(in.GatewayId)

		return &ec2.CreateRouteOutput{Return: aws.Bool(true)}, nil
	})
}

// ReplaceRoute refuses a destination without a route. API reference, ReplaceRoute.
func (e *EC2) ReplaceRoute(ctx context.Context, in *ec2.ReplaceRouteInput, _ ...func(*ec2.Options)) (*ec2.ReplaceRouteOutput, error) {
	return do(ctx, e.w, "ec2", "ReplaceRoute", in, func() (*ec2.ReplaceRouteOutput, error) {
		t, err := e.routable(in.RouteTableId, in.GatewayId)
		if err != nil {
			return nil, err
		}

		if t.routes[aws.ToString(in.DestinationCidrBlock)] == "" {
			return nil, refuse("InvalidParameterValue", "There is no route defined for '%s' in the route table.", aws.ToString(in.DestinationCidrBlock))
		}

		t.routes[aws.ToString(in.DestinationCidrBlock)] = aws.ToString(in.GatewayId)

		return &ec2.ReplaceRouteOutput{}, nil
	})
}

// DeleteRoute removes a route. API reference, DeleteRoute.
func (e *EC2) DeleteRoute(ctx context.Context, in *ec2.DeleteRouteInput, _ ...func(*ec2.Options)) (*ec2.DeleteRouteOutput, error) {
	return do(ctx, e.w, "ec2", "DeleteRoute", in, func() (*ec2.DeleteRouteOutput, error) {
		t, ok := known(e, e.tables, in.RouteTableId)
		if !ok {
			return nil, noTable(in.RouteTableId)
		}

		if t.routes[aws.ToString(in.DestinationCidrBlock)] == "" {
			return nil, refuse("InvalidRoute.NotFound", "no route with destination-cidr-block %s in route table", aws.ToString(in.DestinationCidrBlock))
		}

		delete(t.routes, aws.ToString(in.DestinationCidrBlock))

		return &ec2.DeleteRouteOutput{}, nil
	})
}

// routable finds the table of a route whose gateway exists and is attached to the table's VPC.
func (e *EC2) routable(tableID, gatewayID *string) (*table, error) {
	t, ok := known(e, e.tables, tableID)
	if !ok {
		return nil, noTable(tableID)
	}

	g, ok := known(e, e.gateways, gatewayID)
	if !ok {
		// CreateRoute spells the code unlike the calls on gateways.
		return nil, refuse("InvalidGatewayID.NotFound", "The gateway ID '%s' does not exist", aws.ToString(gatewayID))
	}

	if g.vpc != t.vpc {
		return nil, refuse("InvalidParameterValue", "route table %s and network gateway %s belong to different networks", t.id, g.id)
	}

	return t, nil
}

// DeleteRouteTable refuses the main table and one that subnets use. API reference, DeleteRouteTable.
func (e *EC2) DeleteRouteTable(ctx context.Context, in *ec2.DeleteRouteTableInput, _ ...func(*ec2.Options)) (*ec2.DeleteRouteTableOutput, error) {
	return do(ctx, e.w, "ec2", "DeleteRouteTable", in, func() (*ec2.DeleteRouteTableOutput, error) {
		t, ok := known(e, e.tables, in.RouteTableId)
		if !ok {
			return nil, noTable(in.RouteTableId)
		}

		if t.main || len(t.associations) > 0 {
			return nil, inUse("routeTable", t.id)
		}

		e.forgetTable(t.id)

		return &ec2.DeleteRouteTableOutput{}, nil
	})
}

// forgetTable takes a table out of the endpoints that it has routes to, too.
func (e *EC2) forgetTable(id string) {
	for _, p := range e.endpoints {
		e.disconnect(p, []string{id})
	}

	delete(e.tables, id)
}

// AssociateRouteTable is idempotent for the same table and refuses a subnet that is on another. API reference, AssociateRouteTable; the code is what the
// Terraform AWS provider meets.
func (e *EC2) AssociateRouteTable(ctx context.Context, in *ec2.AssociateRouteTableInput, _ ...func(*ec2.Options)) (*ec2.AssociateRouteTableOutput, error) {
	return do(ctx, e.w, "ec2", "AssociateRouteTable", in, func() (*ec2.AssociateRouteTableOutput, error) {
		t, ok := known(e, e.tables, in.RouteTableId)
		if !ok {
			return nil, noTable(in.RouteTableId)
		}

		s, ok := known(e, e.subnets, in.SubnetId)
		if !ok {
			return nil, noSubnet(in.SubnetId)
		}

		for _, other := range e.tables {
			for id, subnet := range other.associations {
				if subnet == s.id && other != t {
					return nil, refuse("Resource.AlreadyAssociated", "the specified association for route table %s conflicts with an existing association", t.id)
				}

				if subnet == s.id {
					return &ec2.AssociateRouteTableOutput{AssociationId: aws.String(id), AssociationState: e.associationState(id)}, nil
				}
			}
		}

		id := e.associate(t, s.id)

		return &ec2.AssociateRouteTableOutput{AssociationId: aws.String(id), AssociationState: e.associationState(id)}, nil
	})
}

// ReplaceRouteTableAssociation moves a subnet to another table under a new association id. API reference, ReplaceRouteTableAssociation.
func (e *EC2) ReplaceRouteTableAssociation(ctx context.Context, in *ec2.ReplaceRouteTableAssociationInput, _ ...func(*ec2.Options)) (*ec2.ReplaceRouteTableAssociationOutput, error) {
	return do(ctx, e.w, "ec2", "ReplaceRouteTableAssociation", in, func() (*ec2.ReplaceRouteTableAssociationOutput, error) {
		to, ok := known(e, e.tables, in.RouteTableId)
		if !ok {
			return nil, noTable(in.RouteTableId)
		}

		subnet, err := e.disassociate(in.AssociationId)
		if err != nil {
			return nil, err
		}

		id := e.associate(to, subnet)

		return &ec2.ReplaceRouteTableAssociationOutput{NewAssociationId: aws.String(id), AssociationState: e.associationState(id)}, nil
	})
}

func (e *EC2) associate(t *table, subnet string) string {
	id := e.w.id("rtbassoc")
	t.associations[id], e.associated[id] = subnet, e.now()

	return id
}

// associationState: an association may take a while. API reference, RouteTableAssociationState.
func (e *EC2) associationState(id string) *types.RouteTableAssociationState {
	state := types.RouteTableAssociationStateCodeAssociated
	if e.w.Now().Before(e.associated[id].at.Add(e.w.Takes.Associating)) {
		state = types.RouteTableAssociationStateCodeAssociating
	}

	return &types.RouteTableAssociationState{State: state}
}

// DisassociateRouteTable leaves the subnet to the main table. API reference, DisassociateRouteTable.
func (e *EC2) DisassociateRouteTable(ctx context.Context, in *ec2.DisassociateRouteTableInput, _ ...func(*ec2.Options)) (*ec2.DisassociateRouteTableOutput, error) {
	return do(ctx, e.w, "ec2", "DisassociateRouteTable", in, func() (*ec2.DisassociateRouteTableOutput, error) {
		_, err := e.disassociate(in.AssociationId)

		return &ec2.DisassociateRouteTableOutput{}, err
	})
}

func (e *EC2) disassociate(id *string) (string, error) {
	for _, t := range e.tables {
		if subnet := t.associations[aws.ToString(id)]; subnet != "" {
			delete(t.associations, *id)

			return subnet, nil
		}
	}

	return "", refuse("InvalidAssociationID.NotFound", "The association ID '%s' does not exist", aws.ToString(id))
}

// CreateSubnet has neither a token nor a unique name, but its range must lie in the VPC's and be free. API reference, CreateSubnet.
func (e *EC2) CreateSubnet(ctx context.Context, in *ec2.CreateSubnetInput, _ ...func(*ec2.Options)) (*ec2.CreateSubnetOutput, error) {
	return do(ctx, e.w, "ec2", "CreateSubnet", in, func() (*ec2.CreateSubnetOutput, error) {
		v, ok := known(e, e.vpcs, in.VpcId)
		if !ok {
			return nil, noVPC(in.VpcId)
		}

		prefix, err := netip.ParsePrefix(aws.ToString(in.CidrBlock))
		if err != nil {
			return nil, refuse("InvalidParameterValue", "Value (%s) for parameter cidrBlock is invalid. This is not a valid CIDR block.", aws.ToString(in.CidrBlock))
		}

		if whole := netip.MustParsePrefix(v.cidr); !whole.Contains(prefix.Addr()) || prefix.Bits() < whole.Bits() || prefix.Bits() > 28 {
			return nil, refuse("InvalidSubnet.Range", "The CIDR '%s' is invalid.", prefix)
		}

		for _, s := range e.subnets {
			if s.vpc == v.id && netip.MustParsePrefix(s.cidr).Overlaps(prefix) {
				return nil, refuse("InvalidSubnet.Conflict", "The CIDR '%s' conflicts with another subnet", prefix)
			}
		}

		if !slices.ContainsFunc(e.Zones, func(z types.AvailabilityZone) bool {
			return aws.ToString(z.ZoneName) == aws.ToString(in.AvailabilityZone)
		}) {
			return nil, refuse("InvalidParameterValue", "Value (%s) for parameter availabilityZone is invalid.", aws.ToString(in.AvailabilityZone))
		}

		s := &subnet{
			born: e.now(), id: e.w.id("subnet"), vpc: v.id, cidr: prefix.String(), zone: aws.ToString(in.AvailabilityZone),
			tags: tagSpec(in.TagSpecifications, types.ResourceTypeSubnet),
		}
		e.subnets[s.id] = s

		return &ec2.CreateSubnetOutput{Subnet: e.describeSubnet(s)}, nil
	})
}

// DescribeSubnets lists by id, VPC and tag.
func (e *EC2) DescribeSubnets(ctx context.Context, in *ec2.DescribeSubnetsInput, _ ...func(*ec2.Options)) (*ec2.DescribeSubnetsOutput, error) {
	return do(ctx, e.w, "ec2", "DescribeSubnets", in, func() (*ec2.DescribeSubnetsOutput, error) {
		for _, id := range in.SubnetIds {
			if _, ok := known(e, e.subnets, &id); !ok {
				return nil, noSubnet(&id)
			}
		}

		out := &ec2.DescribeSubnetsOutput{}

		for _, s := range tagged(e.subnets, in.Filters) {
			ok, err := selected(in.Filters, s.tags, map[string][]string{"subnet-id": {s.id}, "vpc-id": {s.vpc}})
			if err != nil {
				return nil, err
			}

			if ok && e.visible(s.at) && (len(in.SubnetIds) == 0 || slices.Contains(in.SubnetIds, s.id)) {
				out.Subnets = append(out.Subnets, *e.describeSubnet(s))
			}
		}

		return out, nil
	})
}

func (e *EC2) describeSubnet(s *subnet) *types.Subnet {
	state := types.SubnetStateAvailable
	if e.w.Now().Before(s.at.Add(e.w.Takes.SubnetPending)) {
		state = types.SubnetStatePending
	}

	return &types.Subnet{
		SubnetId: aws.String(s.id), VpcId: aws.String(s.vpc), CidrBlock: aws.String(s.cidr), AvailabilityZone: aws.String(s.zone), State: state,
		MapPublicIpOnLaunch: aws.Bool(s.publicIP), OwnerId: aws.String(e.w.Account), Tags: ec2Tags(s.tags),
	}
}

// ModifySubnetAttribute sets whether instances get a public address. API reference, ModifySubnetAttribute.
func (e *EC2) ModifySubnetAttribute(ctx context.Context, in *ec2.ModifySubnetAttributeInput, _ ...func(*ec2.Options)) (*ec2.ModifySubnetAttributeOutput, error) {
	return do(ctx, e.w, "ec2", "ModifySubnetAttribute", in, func() (*ec2.ModifySubnetAttributeOutput, error) {
		s, ok := known(e, e.subnets, in.SubnetId)
		if !ok {
			return nil, noSubnet(in.SubnetId)
		}

		if in.MapPublicIpOnLaunch != nil {
			s.publicIP = aws.ToBool(in.MapPublicIpOnLaunch.Value)
		}

		return &ec2.ModifySubnetAttributeOutput{}, nil
	})
}

// DeleteSubnet refuses while a network interface is in the subnet, and ends the subnet's association with a route table. VPC user guide, "Delete a
// subnet".
func (e *EC2) DeleteSubnet(ctx context.Context, in *ec2.DeleteSubnetInput, _ ...func(*ec2.Options)) (*ec2.DeleteSubnetOutput, error) {
	return do(ctx, e.w, "ec2", "DeleteSubnet", in, func() (*ec2.DeleteSubnetOutput, error) {
		s, ok := known(e, e.subnets, in.SubnetId)
		if !ok {
			return nil, noSubnet(in.SubnetId)
		}

		for _, n := range e.interfaces {
			if n.subnet == s.id {
				return nil, inUse("subnet", s.id)
			}
		}

		for _, t := range e.tables {
			for id, subnet := range t.associations {
				if subnet == s.id {
					delete(t.associations, id)
				}
			}
		}

		delete(e.subnets, s.id)

		return &ec2.DeleteSubnetOutput{}, nil
	})
}

// CreateVpcEndpoint takes a client token, and for a gateway endpoint puts its own route into the tables. API reference, CreateVpcEndpoint.
func (e *EC2) CreateVpcEndpoint(ctx context.Context, in *ec2.CreateVpcEndpointInput, _ ...func(*ec2.Options)) (*ec2.CreateVpcEndpointOutput, error) {
	return do(ctx, e.w, "ec2", "CreateVpcEndpoint", in, func() (*ec2.CreateVpcEndpointOutput, error) {
		return once(e, in.ClientToken, in, func() (*ec2.CreateVpcEndpointOutput, error) {
			v, ok := known(e, e.vpcs, in.VpcId)
			if !ok {
				return nil, noVPC(in.VpcId)
			}

			if want := "com.amazonaws." + e.w.Region + ".s3"; aws.ToString(in.ServiceName) != want {
				return nil, refuse("InvalidServiceName", "The Vpc Endpoint Service '%s' does not exist", aws.ToString(in.ServiceName))
			}

			p := &endpoint{
				born: e.now(), id: e.w.id("vpce"), vpc: v.id, service: aws.ToString(in.ServiceName),
				tags: tagSpec(in.TagSpecifications, types.ResourceTypeVpcEndpoint),
			}

			if err := e.connect(p, in.RouteTableIds); err != nil {
				return nil, err
			}

			e.endpoints[p.id] = p

			return &ec2.CreateVpcEndpointOutput{VpcEndpoint: e.describeEndpoint(p)}, nil
		})
	})
}

// prefixList is the id of S3's prefix list, the destination of the endpoint's route.
const prefixList = "pl-63a5400a"

func (e *EC2) connect(p *endpoint, tables []string) error {
	for _, id := range tables {
		t, ok := known(e, e.tables, &id)
		if !ok {
			return refuse("InvalidRouteTableId.NotFound", "The routeTable ID '%s' does not exist", id)
		}

		if to := t.routes[prefixList]; to != "" && to != p.id {
			return refuse("RouteAlreadyExists", "route table %s already has a route with destination-prefix-list-id %s", id, prefixList)
		}
	}

	for _, id := range tables {
		e.tables[id].routes[prefixList] = p.id

		if !slices.Contains(p.tables, id) {
			p.tables = append(p.tables, id)
		}
	}

	return nil
}

// endpointState: EC2 goes on listing a deleted endpoint for a while.
func (e *EC2) endpointState(p *endpoint) string {
	now := e.w.Now()

	switch {
	case !p.deleted.IsZero() && !now.Before(p.deleted.Add(e.w.Takes.EndpointDeleting)):
		return "deleted"
	case !p.deleted.IsZero():
		return "deleting"
	case now.Before(p.at.Add(e.w.Takes.EndpointPending)):
		return "pending"
	default:
		return "available"
	}
}

func (e *EC2) describeEndpoint(p *endpoint) *types.VpcEndpoint {
	return &types.VpcEndpoint{
		VpcEndpointId: aws.String(p.id), VpcId: aws.String(p.vpc), ServiceName: aws.String(p.service), RouteTableIds: slices.Clone(p.tables),
		VpcEndpointType: types.VpcEndpointTypeGateway, State: types.State(e.endpointState(p)), Tags: ec2Tags(p.tags),
	}
}

// DescribeVpcEndpoints lists by id, VPC and tag.
func (e *EC2) DescribeVpcEndpoints(ctx context.Context, in *ec2.DescribeVpcEndpointsInput, _ ...func(*ec2.Options)) (*ec2.DescribeVpcEndpointsOutput, error) {
	return do(ctx, e.w, "ec2", "DescribeVpcEndpoints", in, func() (*ec2.DescribeVpcEndpointsOutput, error) {
		for _, id := range in.VpcEndpointIds {
			if _, ok := known(e, e.endpoints, &id); !ok {
				return nil, refuse("InvalidVpcEndpointId.NotFound", "The Vpc Endpoint Id '%s' does not exist", id)
			}
		}

		out := &ec2.DescribeVpcEndpointsOutput{}

		for _, p := range tagged(e.endpoints, in.Filters) {
			ok, err := selected(in.Filters, p.tags, map[string][]string{"vpc-endpoint-id": {p.id}, "vpc-id": {p.vpc}, "service-name": {p.service}})
			if err != nil {
				return nil, err
			}

			if ok && e.visible(p.at) && (len(in.VpcEndpointIds) == 0 || slices.Contains(in.VpcEndpointIds, p.id)) {
				out.VpcEndpoints = append(out.VpcEndpoints, *e.describeEndpoint(p))
			}
		}

		return out, nil
	})
}

// ModifyVpcEndpoint adds and removes route tables. API reference, ModifyVpcEndpoint.
func (e *EC2) ModifyVpcEndpoint(ctx context.Context, in *ec2.ModifyVpcEndpointInput, _ ...func(*ec2.Options)) (*ec2.ModifyVpcEndpointOutput, error) {
	return do(ctx, e.w, "ec2", "ModifyVpcEndpoint", in, func() (*ec2.ModifyVpcEndpointOutput, error) {
		p, ok := known(e, e.endpoints, in.VpcEndpointId)
		if !ok {
			return nil, refuse("InvalidVpcEndpointId.NotFound", "The Vpc Endpoint Id '%s' does not exist", aws.ToString(in.VpcEndpointId))
		}

		e.disconnect(p, in.RemoveRouteTableIds)

		return &ec2.ModifyVpcEndpointOutput{Return: aws.Bool(true)}, e.connect(p, in.AddRouteTableIds)
	})
}

func (e *EC2) disconnect(p *endpoint, tables []string) {
	for _, id := range slices.Clone(tables) {
		if t := e.tables[id]; t != nil && t.routes[prefixList] == p.id {
			delete(t.routes, prefixList)
		}

		p.tables = slices.DeleteFunc(p.tables, func(t string) bool { return t == id })
	}
}

// DeleteVpcEndpoints answers 200 with the refusals inside, and takes the endpoint's routes along. API reference, DeleteVpcEndpoints.
func (e *EC2) DeleteVpcEndpoints(ctx context.Context, in *ec2.DeleteVpcEndpointsInput, _ ...func(*ec2.Options)) (*ec2.DeleteVpcEndpointsOutput, error) {
	return do(ctx, e.w, "ec2", "DeleteVpcEndpoints", in, func() (*ec2.DeleteVpcEndpointsOutput, error) {
		out := &ec2.DeleteVpcEndpointsOutput{}

		for _, id := range in.VpcEndpointIds {
			p, ok := known(e, e.endpoints, &id)
			if !ok || !p.deleted.IsZero() {
				out.Unsuccessful = append(out.Unsuccessful, types.UnsuccessfulItem{ResourceId: aws.String(id), Error: &types.UnsuccessfulItemError{
					Code: aws.String("InvalidVpcEndpoint.NotFound"), Message: aws.String("The VPC endpoint '" + id + "' does not exist"),
				}})

				continue
			}

			if code := e.Unsuccessful; code != "" {
				e.Unsuccessful = ""
				out.Unsuccessful = append(out.Unsuccessful, types.UnsuccessfulItem{ResourceId: aws.String(id), Error: &types.UnsuccessfulItemError{
					Code: aws.String(code), Message: aws.String("The VPC endpoint '" + id + "' was not deleted"),
				}})

				continue
			}

			e.disconnect(p, p.tables)
			p.deleted = e.w.Now()
		}

		return out, nil
	})
}
