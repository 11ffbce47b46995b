package jobrole

import (
	"context"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/iamrole"
)

// List implements kind.Lister.
func (j *JobRole) List(ctx context.Context, place deploy.Owner) ([]kind.Found, error) {
	return iamrole.List(ctx, j.iam, place, name, "-job")
}
