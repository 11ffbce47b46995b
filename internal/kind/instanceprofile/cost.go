package instanceprofile

import (
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// Cost implements kind.Planned.
func (*InstanceProfile) Cost(c *kind.Call) []deploy.CostLine {
	return []deploy.CostLine{kind.Free(c, "instance profile", "IAM is free.")}
}
