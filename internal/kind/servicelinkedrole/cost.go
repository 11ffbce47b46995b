package servicelinkedrole

import (
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// Cost implements kind.Planned.
func (*ServiceLinkedRole) Cost(c *kind.Call) []deploy.CostLine {
	return []deploy.CostLine{kind.Free(c, "role", "IAM is free.")}
}
