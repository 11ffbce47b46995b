package vpc

import (
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// Cost implements kind.Planned.
func (*VPC) Cost(c *kind.Call) []deploy.CostLine {
	return []deploy.CostLine{kind.Free(c, "VPC", "A VPC is free.")}
}
