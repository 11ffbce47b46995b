package vpc

import "github.com/metaflow-deployer/metaflow-deployer/internal/kind"

// Named implements kind.Planned: EC2 names a VPC by its id only.
func (*VPC) Named(*kind.Call) string { return "" }

// Template implements kind.Planned.
func (*VPC) Template(c *kind.Call) kind.Template {
	return kind.Template{Type: "AWS::EC2::VPC", Properties: map[string]any{
		"CidrBlock": c.Spec.Network.CIDR, "EnableDnsSupport": true, "EnableDnsHostnames": true, "Tags": c.TemplateNameTags(),
	}}
}
