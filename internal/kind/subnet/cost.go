package subnet

import (
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// Cost implements kind.Planned.
func (*Subnet) Cost(c *kind.Call) []deploy.CostLine {
	return []deploy.CostLine{kind.Free(c, "subnet", "A subnet is free; the public addresses in it are paid for with the instances.")}
}
