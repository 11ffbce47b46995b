package launchtemplate

import (
	"context"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/ec2tag"
)

// Check implements kind.Checker: a name that is free, or ours.
func (l *LaunchTemplate) Check(ctx context.Context, c *kind.Call) ([]deploy.Finding, error) {
	if !c.Names {
		return nil, nil
	}

	found, err := l.named(ctx, c)
	if err != nil || found == nil || c.Owns(ec2tag.Map(found.Tags)) {
		return nil, err
	}

	return kind.Taken(c, c.Foreign("launch template", c.Name(c.Ref.ID())))
}
