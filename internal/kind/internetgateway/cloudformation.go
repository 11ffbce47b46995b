package internetgateway

import "github.com/metaflow-deployer/metaflow-deployer/internal/kind"

// Named implements kind.Planned: EC2 names a gateway by its id only.
func (*InternetGateway) Named(*kind.Call) string { return "" }

// Template implements kind.Planned.
func (*InternetGateway) Template(c *kind.Call) kind.Template {
	return kind.Template{
		Type: "AWS::EC2::InternetGateway", Properties: map[string]any{"Tags": c.TemplateNameTags()},
		Parts: map[string]kind.Template{"Attachment": {
			Type: "AWS::EC2::VPCGatewayAttachment", Properties: map[string]any{"VpcId": c.Refer("vpc"), "InternetGatewayId": c.Refer(c.Ref)},
		}},
	}
}
