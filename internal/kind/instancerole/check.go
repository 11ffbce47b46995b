package instancerole

import (
	"context"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/iamrole"
)

// Check implements kind.Checker: a name that is free.
func (i *InstanceRole) Check(ctx context.Context, c *kind.Call) ([]deploy.Finding, error) {
	return iamrole.Vacant(ctx, i.iam, c, role(c).Name)
}
