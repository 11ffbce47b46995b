package internetgateway

import (
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// Cost implements kind.Planned.
func (*InternetGateway) Cost(c *kind.Call) []deploy.CostLine {
	return []deploy.CostLine{kind.Free(c, "internet gateway", "A gateway is free; what jobs send to the internet is charged as data transfer.")}
}
