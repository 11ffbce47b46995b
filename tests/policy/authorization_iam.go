package policy

import "fmt"

// iamRules: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html.
func iamRules() map[string]rule {
	rules := map[string]rule{
		"iam.CreateRole":                    createRole,
		"iam.CreateInstanceProfile":         createInstanceProfile,
		"iam.AddRoleToInstanceProfile":      addRoleToInstanceProfile,
		"iam.RemoveRoleFromInstanceProfile": profile("iam:RemoveRoleFromInstanceProfile"),
		"iam.GetInstanceProfile":            profile("iam:GetInstanceProfile"),
		"iam.DeleteInstanceProfile":         profile("iam:DeleteInstanceProfile"),
		"iam.TagInstanceProfile":            profile("iam:TagInstanceProfile"),
		"iam.UntagInstanceProfile":          profile("iam:UntagInstanceProfile"),
		"iam.CreateServiceLinkedRole":       createServiceLinkedRole,
		"iam.ListRoles":                     anywhere("iam:ListRoles"),
		"iam.SimulatePrincipalPolicy": func(_ *World, in input) ([]Request, error) {
			return []Request{{Action: "iam:SimulatePrincipalPolicy", Resource: in.text("PolicySourceArn")}}, nil
		},
		// Unlike roles, profiles are asked for by the path that is listed.
		"iam.ListInstanceProfiles": func(w *World, in input) ([]Request, error) {
			return []Request{{Action: "iam:ListInstanceProfiles", Resource: w.iam("instance-profile" + slash(in.text("PathPrefix")))}}, nil
		},
		// The boundary that the call sets is the one that is asked for. IAM User Guide, "Delegating responsibility to others using permissions boundaries".
		"iam.PutRolePermissionsBoundary": func(w *World, in input) ([]Request, error) {
			r := Request{Action: "iam:PutRolePermissionsBoundary", Resource: w.role(in.text("RoleName"))}
			r.Context = Context{"iam:PermissionsBoundary": {in.text("PermissionsBoundary")}}

			return []Request{r}, nil
		},
	}

	for _, operation := range []string{
		"DeleteRole", "GetRole", "GetRolePolicy", "ListAttachedRolePolicies", "ListInstanceProfilesForRole", "ListRolePolicies", "ListRoleTags",
		"UpdateAssumeRolePolicy",
	} {
		rules["iam."+operation] = func(w *World, in input) ([]Request, error) {
			return []Request{{Action: "iam:" + operation, Resource: w.role(in.text("RoleName"))}}, nil
		}
	}

	rules["iam.TagRole"] = func(w *World, in input) ([]Request, error) {
		return []Request{{Action: "iam:TagRole", Resource: w.role(in.text("RoleName")), Context: requestTags(in.tagList())}}, nil
	}

	// These are asked with the boundary that the role has.
	for _, operation := range []string{"PutRolePolicy", "DeleteRolePolicy", "AttachRolePolicy", "DetachRolePolicy"} {
		rules["iam."+operation] = func(w *World, in input) ([]Request, error) {
			r := Request{Action: "iam:" + operation, Resource: w.role(in.text("RoleName")), Context: Context{}}

			if boundary := w.roles[in.text("RoleName")].boundary; boundary != "" {
				r.Context["iam:PermissionsBoundary"] = []string{boundary}
			}

			if arn := in.text("PolicyArn"); arn != "" {
				r.Context["iam:PolicyARN"] = []string{arn}
			}

			return []Request{r}, nil
		}
	}

	return rules
}

// role is the ARN of a role that a call names without its path. IAM can add the path only if the role exists: for one that does not, the ARN that is
// asked for has none, so that a statement scoped by path answers AccessDenied where the caller hopes for NoSuchEntity.
func (w *World) role(name string) string {
	if r, there := w.roles[name]; there {
		return w.iam("role" + r.path + name)
	}

	return w.iam("role/" + name)
}

// profile: as role.
func (w *World) profile(name string) string {
	if path, there := w.profiles[name]; there {
		return w.iam("instance-profile" + path + name)
	}

	return w.iam("instance-profile/" + name)
}

func profile(action string) rule {
	return func(w *World, in input) ([]Request, error) {
		return []Request{{Action: action, Resource: w.profile(in.text("InstanceProfileName")), Context: requestTags(in.tagList())}}, nil
	}
}

// createRole: tags on create are asked for as iam:TagRole. IAM User Guide, "Tagging IAM roles".
func createRole(w *World, in input) ([]Request, error) {
	arn := w.iam("role" + slash(in.text("Path")) + in.text("RoleName"))
	tags := in.tagList()

	create := Request{Action: "iam:CreateRole", Resource: arn, Context: requestTags(tags)}
	if boundary := in.text("PermissionsBoundary"); boundary != "" {
		create.Context["iam:PermissionsBoundary"] = []string{boundary}
	}

	list := []Request{create}
	if len(tags) > 0 {
		list = append(list, Request{Action: "iam:TagRole", Resource: arn, Context: requestTags(tags)})
	}

	return list, nil
}

func createInstanceProfile(w *World, in input) ([]Request, error) {
	arn := w.iam("instance-profile" + slash(in.text("Path")) + in.text("InstanceProfileName"))
	tags := in.tagList()

	list := []Request{{Action: "iam:CreateInstanceProfile", Resource: arn, Context: requestTags(tags)}}
	if len(tags) > 0 {
		list = append(list, Request{Action: "iam:TagInstanceProfile", Resource: arn, Context: requestTags(tags)})
	}

	return list, nil
}

// addRoleToInstanceProfile has iam:PassRole as a dependent action; the role is handed to EC2.
func addRoleToInstanceProfile(w *World, in input) ([]Request, error) {
	return []Request{
		{Action: "iam:AddRoleToInstanceProfile", Resource: w.profile(in.text("InstanceProfileName"))},
		w.pass(in.text("RoleName"), "ec2.amazonaws.com"),
	}, nil
}

func (w *World) pass(role, service string) Request {
	return Request{Action: "iam:PassRole", Resource: w.role(role), Context: Context{"iam:PassedToService": {service}}}
}

// createServiceLinkedRole: the name of the role is the service's own, so the table must know it.
// IAM User Guide, "Create a service-linked role"; Batch User Guide, "Using service-linked roles for AWS Batch".
func createServiceLinkedRole(w *World, in input) ([]Request, error) {
	service := in.text("AWSServiceName")
	if service != "batch.amazonaws.com" {
		return nil, fmt.Errorf("the service-linked role of %s is not known here", service)
	}

	return []Request{{
		Action: "iam:CreateServiceLinkedRole", Resource: w.iam("role/aws-service-role/" + service + "/AWSServiceRoleForBatch"),
		Context: Context{"iam:AWSServiceName": {service}},
	}}, nil
}
