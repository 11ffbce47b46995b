package launchtemplate

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/ec2tag"
)

// List implements kind.Lister.
func (l *LaunchTemplate) List(ctx context.Context, place deploy.Owner) ([]kind.Found, error) {
	var all []kind.Found

	pages := ec2.NewDescribeLaunchTemplatesPaginator(l.ec2, &ec2.DescribeLaunchTemplatesInput{Filters: ec2tag.Of(place.Installation)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list launch templates: %w", err)
		}

		for i := range page.LaunchTemplates {
			one := &page.LaunchTemplates[i]

			found := kind.Found{
				ID: aws.ToString(one.LaunchTemplateId), Tags: ec2tag.Map(one.Tags),
				ARN: place.ARN("ec2", place.Region, place.Account, "launch-template/"+aws.ToString(one.LaunchTemplateId)),
			}

			if found.Of(place, name) {
				all = append(all, found)
			}
		}
	}

	return all, nil
}
