package securitygroup

import "github.com/metaflow-deployer/metaflow-deployer/internal/kind"

// Named implements kind.Planned.
func (*SecurityGroup) Named(c *kind.Call) string { return groupName(c) }

// Template implements kind.Planned.
func (*SecurityGroup) Template(c *kind.Call) kind.Template {
	return kind.Template{Type: "AWS::EC2::SecurityGroup", Properties: map[string]any{
		"GroupName": groupName(c), "GroupDescription": description, "VpcId": c.Refer("vpc"),
		"SecurityGroupEgress": []any{map[string]any{"IpProtocol": all, "CidrIp": everywhere, "Description": egress}},
		"Tags":                c.TemplateNameTags(),
	}}
}
