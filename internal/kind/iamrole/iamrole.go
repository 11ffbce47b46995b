// Package iamrole is what the kinds that make an IAM role share: a role with our path, boundary and tags, one trust policy, and the policies it carries.
// It must not know which service assumes the role nor what the role may do.
package iamrole

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsarn "github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/iamtag"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/policydoc"
)

// API is what roles call.
type API interface {
	GetRole(ctx context.Context, in *iam.GetRoleInput, opts ...func(*iam.Options)) (*iam.GetRoleOutput, error)
	ListRoles(ctx context.Context, in *iam.ListRolesInput, opts ...func(*iam.Options)) (*iam.ListRolesOutput, error)
	CreateRole(ctx context.Context, in *iam.CreateRoleInput, opts ...func(*iam.Options)) (*iam.CreateRoleOutput, error)
	UpdateAssumeRolePolicy(ctx context.Context, in *iam.UpdateAssumeRolePolicyInput, opts ...func(*iam.Options)) (*iam.UpdateAssumeRolePolicyOutput, error)
	PutRolePermissionsBoundary(ctx context.Context, in *iam.PutRolePermissionsBoundaryInput, opts ...func(*iam.Options)) (*iam.PutRolePermissionsBoundaryOutput, error)
	TagRole(ctx context.Context, in *iam.TagRoleInput, opts ...func(*iam.Options)) (*iam.TagRoleOutput, error)
	DeleteRole(ctx context.Context, in *iam.DeleteRoleInput, opts ...func(*iam.Options)) (*iam.DeleteRoleOutput, error)

	GetRolePolicy(ctx context.Context, in *iam.GetRolePolicyInput, opts ...func(*iam.Options)) (*iam.GetRolePolicyOutput, error)
	PutRolePolicy(ctx context.Context, in *iam.PutRolePolicyInput, opts ...func(*iam.Options)) (*iam.PutRolePolicyOutput, error)
	ListRolePolicies(ctx context.Context, in *iam.ListRolePoliciesInput, opts ...func(*iam.Options)) (*iam.ListRolePoliciesOutput, error)
	DeleteRolePolicy(ctx context.Context, in *iam.DeleteRolePolicyInput, opts ...func(*iam.Options)) (*iam.DeleteRolePolicyOutput, error)
	ListAttachedRolePolicies(ctx context.Context, in *iam.ListAttachedRolePoliciesInput, opts ...func(*iam.Options)) (*iam.ListAttachedRolePoliciesOutput, error)
	AttachRolePolicy(ctx context.Context, in *iam.AttachRolePolicyInput, opts ...func(*iam.Options)) (*iam.AttachRolePolicyOutput, error)
	DetachRolePolicy(ctx context.Context, in *iam.DetachRolePolicyInput, opts ...func(*iam.Options)) (*iam.DetachRolePolicyOutput, error)

	ListInstanceProfilesForRole(ctx context.Context, in *iam.ListInstanceProfilesForRoleInput, opts ...func(*iam.Options)) (*iam.ListInstanceProfilesForRoleOutput, error)
	GetInstanceProfile(ctx context.Context, in *iam.GetInstanceProfileInput, opts ...func(*iam.Options)) (*iam.GetInstanceProfileOutput, error)
	RemoveRoleFromInstanceProfile(ctx context.Context, in *iam.RemoveRoleFromInstanceProfileInput, opts ...func(*iam.Options)) (*iam.RemoveRoleFromInstanceProfileOutput, error)
}

// Role is what is wanted. Policies that others have added to the role are left alone until it is removed.
type Role struct {
	// Name is unique in the account, whatever the path, and has no case.
	Name string
	// Trust is the trust policy; Inline is the one inline policy, empty for none; Attached are ARNs of managed policies.
	Trust    string
	Inline   string
	Attached []string
}

// policyName is the name of the inline policy.
const policyName = "metaflow"

// Ensure makes the role ready. It fulfils kind.Kind's Ensure for a kind that is one role.
func Ensure(ctx context.Context, api API, c *kind.Call, want Role) (kind.Result, error) {
	if c.Boundary == "" {
		return kind.Result{}, errors.New("create role: the installation has no permissions boundary") // a wiring mistake; never a role without one
	}

	var (
		role *types.Role
		made bool
	)

	_, err := kind.Repeatable(ctx, c, func(ctx context.Context) (id string, err error) {
		role, err = get(ctx, api, want.Name)

		return idOf(role), err
	}, func(ctx context.Context) (id string, err error) {
		role, err = create(ctx, api, c, want)
		made = role != nil

		return idOf(role), err
	})
	if err != nil || role == nil {
		return kind.Result{Waiting: "the role to appear"}, err
	}

	if !c.Owns(iamtag.Map(role.Tags)) {
		return kind.Result{}, c.Foreign("role", want.Name)
	}

	result := kind.Result{ID: want.Name, Outputs: map[string]string{"name": want.Name}, Waiting: "the role's policies"}

	changes, err := compare(ctx, api, c, want, role, made)
	if err != nil {
		return result, awserr.IgnoreGone(err)
	}

	for _, change := range changes {
		if err := change.put(ctx); err != nil {
			return result, awserr.IgnoreGone(fmt.Errorf("set %s of role %s: %w", change.Property, want.Name, err))
		}
	}

	// For some seconds after its creation a role's ARN may read as its unique id, which Batch and EC2 cannot use.
	if !isARN(role.Arn) {
		result.Waiting = "the role's ARN"

		return result, nil
	}

	result.ARN, result.Done = aws.ToString(role.Arn), len(changes) == 0
	if result.Done {
		result.Waiting = ""
	}

	return result, nil
}

func idOf(role *types.Role) string {
	if role == nil {
		return ""
	}

	return aws.ToString(role.RoleName)
}

// create returns the role, or nil if there is one of that name that does not show yet.
func create(ctx context.Context, api API, c *kind.Call, want Role) (*types.Role, error) {
	out, err := api.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName: aws.String(want.Name), Path: aws.String(c.Owner.RolePath()), AssumeRolePolicyDocument: aws.String(want.Trust),
		PermissionsBoundary: aws.String(c.Boundary), Tags: iamtag.List(c.Tags()),
	})
	if awserr.Code(err) == "EntityAlreadyExists" {
		return nil, nil // an earlier attempt's or somebody else's: the next look reads its tags
	}

	if awserr.Gone(err) { // the boundary is all that a new role names
		missing := awserr.Classify(err)
		missing.Code = "boundary_missing"

		return nil, missing.WithRemedy("Ask the installation's operator to deploy its stack again: the permissions boundary %s is part of it.", c.Boundary)
	}

	if err != nil {
		return nil, fmt.Errorf("create role %s: %w", want.Name, err)
	}

	return out.Role, nil
}

// Observe fulfils kind.Kind's Observe for a role that we make.
func Observe(ctx context.Context, api API, c *kind.Call, want Role) (kind.Observation, error) {
	role, err := get(ctx, api, want.Name)
	if err != nil || role == nil || !c.Owns(iamtag.Map(role.Tags)) {
		return kind.Observation{State: kind.Absent}, err
	}

	obs := kind.Observation{
		State: kind.Ready, ID: want.Name, ARN: aws.ToString(role.Arn), Outputs: map[string]string{"name": want.Name}, NotChecked: notChecked(),
	}

	if !isARN(role.Arn) {
		obs.State, obs.ARN = kind.InProgress, ""
	}

	changes, err := compare(ctx, api, c, want, role, false)
	if awserr.Gone(err) {
		return kind.Observation{State: kind.InProgress, ID: want.Name}, nil
	}

	for _, change := range changes {
		obs.Differences = append(obs.Differences, change.Difference)
	}

	return obs, err
}

// notChecked: nobody can change the path of a role, and AWS knows of one role by a name, whatever its path (API reference, UpdateRole and CreateRole).
func notChecked() []string { return []string{"path"} }

// change is one setting that is not as wanted, and what makes it so.
type change struct {
	kind.Difference
	put func(ctx context.Context) error
}

// compare lists what is not as wanted, the boundary first. A role that was made a moment ago carries no policies: nobody need be asked.
func compare(ctx context.Context, api API, c *kind.Call, want Role, role *types.Role, made bool) ([]change, error) {
	var all []change

	add := func(property, want, have string, put func(ctx context.Context) error) {
		for _, d := range kind.Differing(kind.Difference{Property: property, Want: want, Have: have}) {
			all = append(all, change{Difference: d, put: put})
		}
	}

	name := aws.String(want.Name)

	// The boundary comes first: with it missing, the other calls are not ours to make.
	add("permissionsBoundary", c.Boundary, boundary(role), func(ctx context.Context) error {
		_, err := api.PutRolePermissionsBoundary(ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: name, PermissionsBoundary: aws.String(c.Boundary)})

		return err
	})

	if have := aws.ToString(role.AssumeRolePolicyDocument); !policydoc.Equal(have, want.Trust) {
		add("trustPolicy", want.Trust, policydoc.Text(have), func(ctx context.Context) error {
			_, err := api.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: name, PolicyDocument: aws.String(want.Trust)})

			return err
		})
	}

	tags := kind.Tags(c.Tags(), iamtag.Map(role.Tags))
	add(tags.Property, tags.Want, tags.Have, func(ctx context.Context) error {
		_, err := api.TagRole(ctx, &iam.TagRoleInput{RoleName: name, Tags: iamtag.List(c.Tags())})

		return err
	})

	if want.Inline != "" {
		have := ""

		if !made {
			var err error
			if have, err = inline(ctx, api, want.Name); err != nil {
				return nil, err
			}
		}

		if !policydoc.Equal(have, want.Inline) {
			add("policy", want.Inline, policydoc.Text(have), func(ctx context.Context) error {
				_, err := api.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: name, PolicyName: aws.String(policyName), PolicyDocument: aws.String(want.Inline)})

				return err
			})
		}
	}

	if len(want.Attached) == 0 {
		return all, nil
	}

	var attached []string

	if !made {
		var err error
		if attached, err = listAttached(ctx, api, want.Name); err != nil {
			return nil, err
		}
	}

	for _, arn := range want.Attached {
		if !slices.Contains(attached, arn) {
			add("attachedPolicy", arn, "", func(ctx context.Context) error {
				_, err := api.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: name, PolicyArn: aws.String(arn)})

				return err
			})
		}
	}

	return all, nil
}

// Remove fulfils kind.Kind's Remove. It takes every policy off the role, also what others have put on it, and takes it out of this deployment's instance
// profiles; a profile that is not ours holds the role until its owner lets go.
func Remove(ctx context.Context, api API, c *kind.Call, name string) (kind.Result, error) {
	role, err := get(ctx, api, name)
	if err != nil {
		return kind.Result{}, err
	}

	if role == nil {
		return kind.Result{Done: !c.Unsure(), Waiting: "to be sure that no role was made"}, nil
	}

	if !c.Owns(iamtag.Map(role.Tags)) {
		return kind.Result{Done: true}, nil
	}

	result := kind.Result{ID: name, Waiting: "deleting"}

	held, err := leaveProfiles(ctx, api, c, name)
	if err != nil {
		return result, err
	}

	if held != "" {
		result.Waiting = fmt.Sprintf("instance profile %s, which this deployment did not make, to let go of the role", held)

		return result, nil
	}

	// The installation may take policies off roles with its boundary only; one that lost it would stay for ever.
	if boundary(role) != c.Boundary {
		_, err := api.PutRolePermissionsBoundary(ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: aws.String(name), PermissionsBoundary: aws.String(c.Boundary)})
		if awserr.IgnoreGone(err) != nil {
			return result, fmt.Errorf("set boundary of role %s: %w", name, err)
		}
	}

	if err := strip(ctx, api, name); err != nil {
		return result, err
	}

	// DeleteConflict, when a list above lagged behind, means "look again".
	if _, err := api.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: aws.String(name)}); awserr.IgnoreGone(err) != nil {
		return result, fmt.Errorf("delete role %s: %w", name, err)
	}

	c.Removed()

	// Gone is what a look says, not what a delete answers.
	return result, nil
}

// leaveProfiles returns the name of a foreign instance profile that holds the role, if any.
func leaveProfiles(ctx context.Context, api API, c *kind.Call, name string) (held string, err error) {
	// All pages before the first removal: a marker may not survive it.
	var profiles []types.InstanceProfile

	pages := iam.NewListInstanceProfilesForRolePaginator(api, &iam.ListInstanceProfilesForRoleInput{RoleName: aws.String(name)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if awserr.Gone(err) {
			return "", nil
		}

		if err != nil {
			return "", fmt.Errorf("list instance profiles of role %s: %w", name, err)
		}

		profiles = append(profiles, page.InstanceProfiles...)
	}

	for _, p := range profiles {
		// Lists leave tags out (API reference, ListInstanceProfilesForRole).
		out, err := api.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: p.InstanceProfileName})
		if awserr.Gone(err) {
			continue
		}

		if err != nil {
			return "", fmt.Errorf("read instance profile %s: %w", aws.ToString(p.InstanceProfileName), err)
		}

		if tags := iamtag.Map(out.InstanceProfile.Tags); !c.Owner.Owns(deploy.Ref(tags[deploy.TagResource]), tags) {
			held = aws.ToString(p.InstanceProfileName)

			continue
		}

		_, err = api.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{
			InstanceProfileName: p.InstanceProfileName, RoleName: aws.String(name),
		})
		if awserr.IgnoreGone(err) != nil {
			return "", fmt.Errorf("remove role %s from instance profile %s: %w", name, aws.ToString(p.InstanceProfileName), err)
		}
	}

	return held, nil
}

// strip takes every policy off the role: IAM deletes no role that carries any.
func strip(ctx context.Context, api API, name string) error {
	arns, err := listAttached(ctx, api, name)
	if awserr.IgnoreGone(err) != nil {
		return err
	}

	for _, arn := range arns {
		_, err := api.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: aws.String(name), PolicyArn: aws.String(arn)})
		if awserr.IgnoreGone(err) != nil {
			return fmt.Errorf("detach policy %s from role %s: %w", arn, name, err)
		}
	}

	var policies []string

	pages := iam.NewListRolePoliciesPaginator(api, &iam.ListRolePoliciesInput{RoleName: aws.String(name)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if awserr.Gone(err) {
			return nil
		}

		if err != nil {
			return fmt.Errorf("list policies of role %s: %w", name, err)
		}

		policies = append(policies, page.PolicyNames...)
	}

	for _, policy := range policies {
		_, err := api.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: aws.String(name), PolicyName: aws.String(policy)})
		if awserr.IgnoreGone(err) != nil {
			return fmt.Errorf("delete policy %s of role %s: %w", policy, name, err)
		}
	}

	return nil
}

// Existing looks at a role that the owner named by ARN and says what keeps a service from assuming it; with its tags.
func Existing(ctx context.Context, api API, c *kind.Call, service string) (kind.Observation, map[string]string, error) {
	arn, err := awsarn.Parse(c.Existing)
	if err != nil {
		return kind.Observation{State: kind.Absent}, nil, nil //nolint:nilerr // what is no ARN names nothing
	}

	name := arn.Resource[strings.LastIndex(arn.Resource, "/")+1:]

	role, err := get(ctx, api, name)
	if err != nil {
		return kind.Observation{}, nil, err
	}

	// A role of that name with another path or in another account has another ARN.
	if role == nil || aws.ToString(role.Arn) != c.Existing {
		return kind.Observation{State: kind.Absent}, nil, nil
	}

	obs := kind.Observation{State: kind.Ready, ID: name, ARN: c.Existing, Outputs: map[string]string{"name": name}}

	if !policydoc.Trusts(aws.ToString(role.AssumeRolePolicyDocument), service) {
		obs.Problems = []deploy.Finding{deploy.Errorf(deploy.Invalid, "existing_unusable", "Role %s does not trust %s.", name, service).
			WithRemedy("Allow the service %s to sts:AssumeRole in the role's trust policy.", service).At(c.Pointer).Finding()}
	}

	return obs, iamtag.Map(role.Tags), nil
}

// get returns the role, or nil.
func get(ctx context.Context, api API, name string) (*types.Role, error) {
	out, err := api.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String(name)})
	if awserr.Gone(err) {
		return nil, nil
	}

	if err != nil {
		return nil, fmt.Errorf("read role %s: %w", name, err)
	}

	return out.Role, nil
}

// boundary is the ARN of a role's permissions boundary, empty for none.
func boundary(role *types.Role) string {
	if role.PermissionsBoundary == nil {
		return ""
	}

	return aws.ToString(role.PermissionsBoundary.PermissionsBoundaryArn)
}

// inline returns our inline policy, empty if there is none.
func inline(ctx context.Context, api API, role string) (string, error) {
	out, err := api.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: aws.String(role), PolicyName: aws.String(policyName)})
	if awserr.Gone(err) {
		return "", nil
	}

	if err != nil {
		return "", fmt.Errorf("read policy of role %s: %w", role, err)
	}

	return aws.ToString(out.PolicyDocument), nil
}

// listAttached returns the ARNs of the managed policies of a role.
func listAttached(ctx context.Context, api API, role string) ([]string, error) {
	var arns []string

	pages := iam.NewListAttachedRolePoliciesPaginator(api, &iam.ListAttachedRolePoliciesInput{RoleName: aws.String(role)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list policies attached to role %s: %w", role, err)
		}

		for _, p := range page.AttachedPolicies {
			arns = append(arns, aws.ToString(p.PolicyArn))
		}
	}

	return arns, nil
}

func isARN(s *string) bool {
	arn, err := awsarn.Parse(aws.ToString(s))

	return err == nil && strings.HasPrefix(arn.Resource, "role/")
}
