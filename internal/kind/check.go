package kind

import (
	"context"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// CheckExisting looks at what the owner named as existing and says what makes it unusable: absent (or in another Region or account, which AWS does not
// tell apart), or the problems that the kind's Observe reports.
func CheckExisting(ctx context.Context, k Kind, c *Call, what string) ([]deploy.Finding, error) {
	obs, err := k.Observe(ctx, c)
	if err != nil {
		return nil, err
	}

	if obs.State == Absent {
		return []deploy.Finding{deploy.Errorf(deploy.Invalid, "existing_not_found", "There is no %s %s in %s.", what, c.Existing, c.Owner.Region).
			WithRemedy("Check the id and the Region; it must be in the account and Region of this installation.").At(c.Pointer).Finding()}, nil
	}

	return obs.Problems, nil
}

// Headroom notes a quota that one more is needed of, and reports it if there is no room.
func Headroom(c *Call, what string, have, limit int, remedy string) []deploy.Finding {
	c.Quotas = append(c.Quotas, deploy.QuotaUse{Name: what, Region: c.Owner.Region, Used: have, Needs: 1, Limit: limit, Adjustable: true})

	if have < limit {
		return nil
	}

	return []deploy.Finding{deploy.Errorf(deploy.Quota, "quota_exceeded", "The account has %d of %d %s in %s.", have, limit, what, c.Owner.Region).
		WithRemedy("%s", remedy).At(c.Pointer).Finding()}
}

// Unusable is what an existing thing's Observe reports of it: why it cannot be used, and what to do.
func Unusable(c *Call, message, remedy string) deploy.Finding {
	return deploy.Errorf(deploy.Invalid, "existing_unusable", "%s", message).WithRemedy("%s", remedy).At(c.Pointer).Finding()
}
