package awsproxy

import (
	"context"
	"net/http"
	"net/url"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsmodel"
)

func iamCorrections() []entry {
	return []entry{{
		name: "correction/service-linked-role",
		source: "IAM user guide, AWS services that work with IAM, and each service's page on its role: the names are AWSServiceRoleForBatch, " +
			"...ForEC2Spot, ...ForEC2SpotFleet; a second create is refused with InvalidInput. moto writes AWSServiceRoleForbatch.",
		service: "iam", actions: []string{"CreateServiceLinkedRole"}, apply: serviceLinkedRole,
	}}
}

// roleOf gives the name of a service's role; empty where moto's own name is right or the service unknown.
func roleOf(service string) string {
	return map[string]string{
		batchService: batchRole, "spot.amazonaws.com": "AWSServiceRoleForEC2Spot", "spotfleet.amazonaws.com": "AWSServiceRoleForEC2SpotFleet",
		"ecs.amazonaws.com": "AWSServiceRoleForECS", "autoscaling.amazonaws.com": "AWSServiceRoleForAutoScaling",
	}[service]
}

func serviceLinkedRole(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	service := c.text("AWSServiceName")

	name := roleOf(service)
	if name == "" {
		return next(ctx, c)
	}

	p.touch(c, "correction/service-linked-role")

	if c.text("CustomSuffix") != "" && service != "autoscaling.amazonaws.com" {
		return c.refuse(http.StatusBadRequest, "InvalidInput", "Custom suffix is not allowed for "+service), nil
	}

	a, root, err := p.makeServiceLinkedRole(ctx, c, service, name, c.text("Description"))
	if err != nil {
		return nil, err
	}

	if a.fault == "EntityAlreadyExists" {
		return c.refuse(http.StatusBadRequest, "InvalidInput",
			"Service role name "+name+" has been taken in this account, please try a different suffix."), nil
	}

	if !a.ok() {
		return a, nil
	}

	// CreateRole and CreateServiceLinkedRole answer with the same role under two names.
	root.Name = "CreateServiceLinkedRoleResponse"
	if result := root.Child("CreateRoleResult"); result != nil {
		result.Name = "CreateServiceLinkedRoleResult"
	}

	a.setBody(root.Bytes())

	return a, nil
}

// makeServiceLinkedRole makes the role by the name AWS gives it. The answer is CreateRole's, also where it refuses.
func (p *Proxy) makeServiceLinkedRole(ctx context.Context, c *call, service, name, description string) (*answer, *awsmodel.Element, error) {
	trust := map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Effect": "Allow", "Principal": map[string]any{"Service": service}, "Action": "sts:AssumeRole",
	}}}

	path := "/aws-service-role/" + service + "/"
	c.world.path("role", name, path)

	params := url.Values{"RoleName": {name}, "Path": {path}, "AssumeRolePolicyDocument": {string(mustJSON(trust))}}
	if description != "" {
		params.Set("Description", description)
	}

	return p.askIAM(ctx, c, "CreateRole", params)
}
