package instancerole

import (
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/iamrole"
)

// Named implements kind.Planned.
func (*InstanceRole) Named(c *kind.Call) string { return role(c).Name }

// Template implements kind.Planned.
func (*InstanceRole) Template(c *kind.Call) kind.Template { return iamrole.Template(c, role(c)) }
