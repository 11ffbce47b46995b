package instanceprofile

import "github.com/metaflow-deployer/metaflow-deployer/internal/kind"

// Named implements kind.Planned.
func (*InstanceProfile) Named(c *kind.Call) string { return c.Name("instance") }

// Template implements kind.Planned. CloudFormation gives instance profiles no tags.
func (i *InstanceProfile) Template(c *kind.Call) kind.Template {
	return kind.Template{Type: "AWS::IAM::InstanceProfile", Properties: map[string]any{
		"InstanceProfileName": i.Named(c), "Path": c.Owner.RolePath(), "Roles": []any{c.Refer(roleKind)},
	}}
}
