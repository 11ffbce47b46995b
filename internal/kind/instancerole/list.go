package instancerole

import (
	"context"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/iamrole"
)

// List implements kind.Lister.
func (i *InstanceRole) List(ctx context.Context, place deploy.Owner) ([]kind.Found, error) {
	return iamrole.List(ctx, i.iam, place, name, "-instance")
}
