package vpcendpoint

import (
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// Cost implements kind.Planned.
func (*VPCEndpoint) Cost(c *kind.Call) []deploy.CostLine {
	return []deploy.CostLine{kind.Free(c, "gateway endpoint to S3", "Gateway endpoints are free, and so is what goes through them to S3 in the Region.")}
}
