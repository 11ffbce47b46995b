package instanceprofile

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/iamtag"
)

// List implements kind.Lister. A list of instance profiles has no tags (API reference, ListInstanceProfiles), so each is read.
func (i *InstanceProfile) List(ctx context.Context, place deploy.Owner) ([]kind.Found, error) {
	var all []kind.Found

	pages := iam.NewListInstanceProfilesPaginator(i.iam, &iam.ListInstanceProfilesInput{PathPrefix: aws.String(place.RolePath())})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list instance profiles: %w", err)
		}

		for _, p := range page.InstanceProfiles {
			out, err := i.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: p.InstanceProfileName})
			if awserr.Gone(err) {
				continue
			}

			if err != nil {
				return nil, fmt.Errorf("read instance profile %s: %w", aws.ToString(p.InstanceProfileName), err)
			}

			found := kind.Found{
				ID: aws.ToString(out.InstanceProfile.InstanceProfileName), ARN: aws.ToString(out.InstanceProfile.Arn), Tags: iamtag.Map(out.InstanceProfile.Tags),
			}
			if found.Of(place, name) {
				all = append(all, found)
			}
		}
	}

	return all, nil
}
