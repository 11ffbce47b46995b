package instanceprofile

import (
	"context"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/iamtag"
)

// Check implements kind.Checker: a name that is free, or ours.
func (i *InstanceProfile) Check(ctx context.Context, c *kind.Call) ([]deploy.Finding, error) {
	if !c.Names {
		return nil, nil
	}

	profile, err := i.get(ctx, c)
	if err != nil || profile == nil || c.Owns(iamtag.Map(profile.Tags)) {
		return nil, err
	}

	return kind.Taken(c, c.Foreign("instance profile", c.Name("instance")))
}
