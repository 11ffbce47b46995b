package vpcendpoint

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
func (e *VPCEndpoint) List(ctx context.Context, place deploy.Owner) ([]kind.Found, error) {
	var all []kind.Found

	pages := ec2.NewDescribeVpcEndpointsPaginator(e.ec2, &ec2.DescribeVpcEndpointsInput{Filters: ec2tag.Of(place.Installation)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list S3 endpoints: %w", err)
		}

		for i := range page.VpcEndpoints {
			one := &page.VpcEndpoints[i]
			if s := state(one); s == "deleting" || s == "deleted" {
				continue
			}

			found := kind.Found{
				ID: aws.ToString(one.VpcEndpointId), Tags: ec2tag.Map(one.Tags),
				ARN: place.ARN("ec2", place.Region, place.Account, "vpc-endpoint/"+aws.ToString(one.VpcEndpointId)),
			}

			if found.Of(place, name) {
				all = append(all, found)
			}
		}
	}

	return all, nil
}
