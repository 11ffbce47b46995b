package routetable

import "github.com/metaflow-deployer/metaflow-deployer/internal/kind"

// Named implements kind.Planned: EC2 names a table by its id only.
func (*RouteTable) Named(*kind.Call) string { return "" }

// Template implements kind.Planned.
func (*RouteTable) Template(c *kind.Call) kind.Template {
	return kind.Template{
		Type: "AWS::EC2::RouteTable", Properties: map[string]any{"VpcId": c.Refer("vpc"), "Tags": c.TemplateNameTags()},
		Parts: map[string]kind.Template{"DefaultRoute": {
			Type: "AWS::EC2::Route",
			// A route to a gateway that is not attached yet is refused.
			DependsOn:  []string{kind.Logical("internet-gateway") + "Attachment"},
			Properties: map[string]any{"RouteTableId": c.Refer(c.Ref), "DestinationCidrBlock": everywhere, "GatewayId": c.Refer("internet-gateway")},
		}},
	}
}
