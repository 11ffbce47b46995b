package securitygroup

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
func (s *SecurityGroup) List(ctx context.Context, place deploy.Owner) ([]kind.Found, error) {
	var all []kind.Found

	pages := ec2.NewDescribeSecurityGroupsPaginator(s.ec2, &ec2.DescribeSecurityGroupsInput{Filters: ec2tag.Of(place.Installation)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list security groups: %w", err)
		}

		for i := range page.SecurityGroups {
			one := &page.SecurityGroups[i]

			found := kind.Found{
				ID: aws.ToString(one.GroupId), Tags: ec2tag.Map(one.Tags),
				ARN: place.ARN("ec2", place.Region, place.Account, "security-group/"+aws.ToString(one.GroupId)),
			}

			if found.Of(place, name) {
				all = append(all, found)
			}
		}
	}

	return all, nil
}
