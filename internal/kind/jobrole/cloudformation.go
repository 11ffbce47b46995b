package jobrole

import (
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/iamrole"
)

// Named implements kind.Planned.
func (*JobRole) Named(c *kind.Call) string { return role(c).Name }

// Template implements kind.Planned.
func (*JobRole) Template(c *kind.Call) kind.Template { return iamrole.Template(c, role(c)) }
