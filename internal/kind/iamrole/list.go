package iamrole

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/iamtag"
)

// List fulfils kind.Lister for a kind that is one role. A list of roles has no tags (API reference, ListRoles), so those under the installation's path
// whose names end as the kind's do are read one by one.
func List(ctx context.Context, api API, place deploy.Owner, name, suffix string) ([]kind.Found, error) {
	var all []kind.Found

	pages := iam.NewListRolesPaginator(api, &iam.ListRolesInput{PathPrefix: aws.String(place.RolePath())})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list roles: %w", err)
		}

		for i := range page.Roles {
			if !strings.HasSuffix(aws.ToString(page.Roles[i].RoleName), suffix) {
				continue
			}

			role, err := get(ctx, api, aws.ToString(page.Roles[i].RoleName))
			if err != nil {
				return nil, err
			}

			if role == nil {
				continue
			}

			found := kind.Found{ID: aws.ToString(role.RoleName), ARN: aws.ToString(role.Arn), Tags: iamtag.Map(role.Tags)}
			if found.Of(place, name) {
				all = append(all, found)
			}
		}
	}

	return all, nil
}
