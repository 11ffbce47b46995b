package computeenvironment

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// List implements kind.Lister.
func (e *ComputeEnvironment) List(ctx context.Context, place deploy.Owner) ([]kind.Found, error) {
	environments, err := e.list(ctx)
	if err != nil {
		return nil, err
	}

	var all []kind.Found

	for _, d := range environments {
		found := kind.Found{ID: aws.ToString(d.ComputeEnvironmentName), ARN: aws.ToString(d.ComputeEnvironmentArn), Tags: d.Tags}
		if found.Of(place, name) {
			all = append(all, found)
		}
	}

	return all, nil
}
