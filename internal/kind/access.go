package kind

import "github.com/metaflow-deployer/metaflow-deployer/internal/deploy"

// Belongs refuses an existing thing that some deployment made: it would vanish with that deployment. Tags are those of the thing.
func Belongs(c *Call, what string, tags map[string]string) []deploy.Finding {
	_, deployment := tags[deploy.TagDeployment]
	_, resource := tags[deploy.TagResource]

	if !deployment && !resource {
		return nil
	}

	return []deploy.Finding{deploy.Errorf(deploy.Denied, "existing_belongs_to_deployment", "The %s %s was made by a deployment and goes when that goes.", what, c.Existing).
		WithRemedy("Name one that no deployment made.").At(c.Pointer).Finding()}
}

// Allowed refuses an existing thing that grants access to what this deployment did not make, unless it is tagged for the caller's tenant, an admin allowed
// it for that tenant, or the caller is an admin; and, as Belongs, whatever some deployment made.
func Allowed(c *Call, what string, grant deploy.GrantKind, tags map[string]string) []deploy.Finding {
	if refused := Belongs(c, what, tags); refused != nil {
		return refused
	}

	if c.Admin || tags[deploy.TagTenant] == c.Owner.Tenant || c.Granted != nil && c.Granted(grant, c.Existing) {
		return nil
	}

	return []deploy.Finding{deploy.Errorf(deploy.Denied, "existing_not_allowed", "The %s %s is not tagged for your tenant.", what, c.Existing).
		WithRemedy("Ask whoever owns the %s to tag it %s=%s, or an admin to allow it for your tenant (POST /v1/grants).", what, deploy.TagTenant, c.Owner.Tenant).At(c.Pointer).Finding()}
}
