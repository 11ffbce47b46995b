package iamrole

import (
	"context"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/iamtag"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/policydoc"
)

// Vacant finds out whether a role's name is free, or ours.
func Vacant(ctx context.Context, api API, c *kind.Call, name string) ([]deploy.Finding, error) {
	if !c.Names {
		return nil, nil
	}

	role, err := get(ctx, api, name)
	if err != nil || role == nil || c.Owns(iamtag.Map(role.Tags)) {
		return nil, err
	}

	return kind.Taken(c, c.Foreign("role", name))
}

// Template says the role in CloudFormation's words.
func Template(c *kind.Call, want Role) kind.Template {
	t := kind.Template{Type: "AWS::IAM::Role", Properties: map[string]any{
		"RoleName": want.Name, "Path": c.Owner.RolePath(), "AssumeRolePolicyDocument": policydoc.Object(want.Trust),
		"PermissionsBoundary": c.Boundary, "Tags": c.TemplateTags(),
	}}

	if want.Inline != "" {
		t.Properties["Policies"] = []any{map[string]any{"PolicyName": policyName, "PolicyDocument": policydoc.Object(want.Inline)}}
	}

	if len(want.Attached) > 0 {
		t.Properties["ManagedPolicyArns"] = want.Attached
	}

	return t
}
