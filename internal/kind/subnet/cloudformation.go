package subnet

import "github.com/metaflow-deployer/metaflow-deployer/internal/kind"

// Named implements kind.Planned: EC2 names a subnet by its id only.
func (*Subnet) Named(*kind.Call) string { return "" }

// Template implements kind.Planned. Which zone a subnet goes into that the spec names none for is found out when it is made; a template can only take the
// Region's first ones.
func (*Subnet) Template(c *kind.Call) kind.Template {
	var zone any = map[string]any{"Fn::Select": []any{index(c), map[string]any{"Fn::GetAZs": ""}}}
	if zones := c.Spec.Network.Zones; index(c) < len(zones) {
		zone = zones[index(c)]
	}

	return kind.Template{
		Type: "AWS::EC2::Subnet",
		Properties: map[string]any{
			"VpcId": c.Refer("vpc"), "CidrBlock": quarter(c.Spec.Network.CIDR, index(c)), "AvailabilityZone": zone, "MapPublicIpOnLaunch": true,
			"Tags": c.TemplateNameTags(),
		},
		Parts: map[string]kind.Template{"Routes": {
			Type: "AWS::EC2::SubnetRouteTableAssociation", Properties: map[string]any{"SubnetId": c.Refer(c.Ref), "RouteTableId": c.Refer("route-table")},
		}},
	}
}
