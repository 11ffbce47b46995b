package vpcendpoint

import "github.com/metaflow-deployer/metaflow-deployer/internal/kind"

// Named implements kind.Planned: EC2 names an endpoint by its id only.
func (*VPCEndpoint) Named(*kind.Call) string { return "" }

// Template implements kind.Planned.
func (*VPCEndpoint) Template(c *kind.Call) kind.Template {
	return kind.Template{Type: "AWS::EC2::VPCEndpoint", Properties: map[string]any{
		"VpcId": c.Refer("vpc"), "ServiceName": service(c), "VpcEndpointType": "Gateway", "RouteTableIds": []any{c.Refer("route-table")},
		"Tags": c.TemplateNameTags(),
	}}
}
