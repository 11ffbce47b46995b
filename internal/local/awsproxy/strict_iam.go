package awsproxy

import (
	"context"
	"net/http"
	"net/url"
)

func strictIAM() []entry {
	return []entry{
		{
			name: "strict/profile-propagation",
			source: "IAM user guide, Changes that I make are not always immediately visible: a new instance profile is not found for a while. moto shows it " +
				"at once.",
			service: "iam", actions: []string{"CreateInstanceProfile", "GetInstanceProfile"}, apply: freshProfile,
		},
		{
			name:    "strict/boundary",
			source:  "IAM API reference, CreateRole and PutRolePermissionsBoundary: a boundary that does not exist is refused with NoSuchEntity. moto takes any ARN.",
			service: "iam", actions: []string{"CreateRole", "PutRolePermissionsBoundary"}, apply: missingBoundary,
		},
		// The IAM side of two rules of Batch.
		{
			name: "strict/young-role", source: youngRoleSource, service: "iam",
			actions: []string{"CreateRole", "CreateServiceLinkedRole", "AddRoleToInstanceProfile"}, apply: noteBirth,
		},
		{
			name: "strict/stuck-environment", source: stuckSource, service: "iam",
			actions: []string{
				"DeleteRole", "DeleteInstanceProfile", "RemoveRoleFromInstanceProfile", "CreateRole", "CreateInstanceProfile", "AddRoleToInstanceProfile",
			},
			apply: noteRoles,
		},
	}
}

func freshProfile(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	key := "fresh profile " + c.text("InstanceProfileName")

	if c.action == "CreateInstanceProfile" {
		a, err := next(ctx, c)
		if err == nil && a.ok() {
			c.world.set(key, strictFreshReads)
		}

		return a, err
	}

	if !c.isFunction() || !c.world.spend(key) {
		return next(ctx, c)
	}

	p.touch(c, "strict/profile-propagation")

	return c.refuse(http.StatusNotFound, "NoSuchEntity", "Instance Profile "+c.text("InstanceProfileName")+" cannot be found."), nil
}

func missingBoundary(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	arn := c.text("PermissionsBoundary")
	if arn == "" {
		return next(ctx, c)
	}

	a, _, err := p.askIAM(ctx, c, "GetPolicy", url.Values{"PolicyArn": {arn}})
	if err != nil {
		return nil, err
	}

	if a.ok() {
		return next(ctx, c)
	}

	p.touch(c, "strict/boundary")

	return c.refuse(http.StatusNotFound, "NoSuchEntity", "Scope ARN: "+arn+" does not exist or is not attachable."), nil
}

func noteBirth(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	a, err := next(ctx, c)
	if err != nil || !a.ok() {
		return a, err
	}

	key := "role " + c.text("RoleName")

	switch c.action {
	case "CreateServiceLinkedRole":
		key = "role " + roleOf(c.text("AWSServiceName"))
	case "AddRoleToInstanceProfile":
		key = "profile " + c.text("InstanceProfileName")
	}

	c.world.with(func() { c.world.born[key] = p.now() })

	return a, nil
}

func noteRoles(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	a, err := next(ctx, c)
	if err != nil || !a.ok() {
		return a, err
	}

	return a, p.stickAll(ctx, c)
}
