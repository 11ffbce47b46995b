package awsfake

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// IAM is the fake of the service, as far as the kinds of roles and instance profiles call it. It judges no permissions.
type IAM struct {
	// Lag is how long a new role or instance profile is not found by its readers, while its name is taken already. IAM user guide, "Troubleshoot IAM",
	// "Changes that I make are not always immediately visible".
	Lag time.Duration
	// IDLag is how long a new role shows its unique id, and a new instance profile a malformed text, where the ARN belongs; seen in the field and waited
	// out by the Terraform AWS provider (internal/service/iam/role.go, instance_profile.go).
	IDLag time.Duration

	w        *World
	roles    map[string]*role
	profiles map[string]*profile
}

type role struct {
	name, id, path, trust, boundary string
	created                         time.Time
	tags                            map[string]string
	inline                          map[string]string
	attached                        []string
}

type profile struct {
	name, id, path string
	created        time.Time
	tags           map[string]string
	// role is the name of the one role that fits, empty for none.
	role string
}

func newIAM(w *World) *IAM {
	return &IAM{w: w, roles: map[string]*role{}, profiles: map[string]*profile{}}
}

// Names lists roles and instance profiles. It is not a call of AWS.
func (i *IAM) Names() (roles, profiles []string) {
	i.w.mu.Lock()
	defer i.w.mu.Unlock()

	for _, r := range sorted(i.roles) {
		roles = append(roles, r.name)
	}

	for _, p := range sorted(i.profiles) {
		profiles = append(profiles, p.name)
	}

	return roles, profiles
}

const slrPath = "/aws-service-role/"

// GetRole returns tags and boundary, which lists leave out, and the trust policy URL-encoded. API reference, GetRole, Role.
func (i *IAM) GetRole(ctx context.Context, in *iam.GetRoleInput, _ ...func(*iam.Options)) (*iam.GetRoleOutput, error) {
	return do(ctx, i.w, "iam", "GetRole", in, func() (*iam.GetRoleOutput, error) {
		r := i.role(in.RoleName)
		if r == nil || i.w.Now().Before(r.created.Add(i.Lag)) {
			return nil, noRole(in.RoleName)
		}

		return &iam.GetRoleOutput{Role: i.describeRole(r)}, nil
	})
}

// CreateRole makes one; names are unique in the account without regard to case or path. API reference, CreateRole.
func (i *IAM) CreateRole(ctx context.Context, in *iam.CreateRoleInput, _ ...func(*iam.Options)) (*iam.CreateRoleOutput, error) {
	return do(ctx, i.w, "iam", "CreateRole", in, func() (*iam.CreateRoleOutput, error) {
		name := aws.ToString(in.RoleName)

		switch {
		case len(name) > 64:
			return nil, refuse("ValidationError", "1 validation error detected: Value at 'roleName' failed to satisfy constraint: Member must have length less than or equal to 64")
		case i.roles[strings.ToLower(name)] != nil:
			return nil, refuse("EntityAlreadyExists", "Role with name %s already exists.", name)
		case !isDocument(in.AssumeRolePolicyDocument):
			return nil, refuse("MalformedPolicyDocument", "This policy contains invalid Json")
		}

		path := "/"
		if in.Path != nil {
			path = *in.Path
		}

		r := &role{
			name: name, id: i.w.id("AROA"), path: path, trust: *in.AssumeRolePolicyDocument, boundary: aws.ToString(in.PermissionsBoundary),
			created: i.w.Now(), tags: iamTags(in.Tags), inline: map[string]string{},
		}
		i.roles[strings.ToLower(name)] = r

		return &iam.CreateRoleOutput{Role: i.describeRole(r)}, nil
	})
}

// CreateServiceLinkedRole answers InvalidInput for a role that is there. API reference, CreateServiceLinkedRole; message as the service gives it.
func (i *IAM) CreateServiceLinkedRole(ctx context.Context, in *iam.CreateServiceLinkedRoleInput, _ ...func(*iam.Options)) (*iam.CreateServiceLinkedRoleOutput, error) {
	return do(ctx, i.w, "iam", "CreateServiceLinkedRole", in, func() (*iam.CreateServiceLinkedRoleOutput, error) {
		service := aws.ToString(in.AWSServiceName)

		name, known := map[string]string{"batch.amazonaws.com": "AWSServiceRoleForBatch"}[service]
		if !known {
			return nil, refuse("InvalidInput", "Service principal name %s is not valid", service)
		}

		if i.roles[strings.ToLower(name)] != nil {
			return nil, refuse("InvalidInput", "Service role name %s has been taken in this account, please try a different suffix.", name)
		}

		r := &role{name: name, id: i.w.id("AROA"), path: slrPath + service + "/", created: i.w.Now(), inline: map[string]string{}}
		i.roles[strings.ToLower(name)] = r

		return &iam.CreateServiceLinkedRoleOutput{Role: i.describeRole(r)}, nil
	})
}

// DeleteRole refuses while the role is in a profile or carries any policy. API reference, DeleteRole.
func (i *IAM) DeleteRole(ctx context.Context, in *iam.DeleteRoleInput, _ ...func(*iam.Options)) (*iam.DeleteRoleOutput, error) {
	return changeRole(ctx, i, "DeleteRole", in, in.RoleName, func(r *role) (*iam.DeleteRoleOutput, error) {
		for _, p := range i.profiles {
			if p.role == r.name {
				return nil, refuse("DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.")
			}
		}

		if len(r.attached) > 0 {
			return nil, refuse("DeleteConflict", "Cannot delete entity, must detach all policies first.")
		}

		if len(r.inline) > 0 {
			return nil, refuse("DeleteConflict", "Cannot delete entity, must delete policies first.")
		}

		delete(i.roles, strings.ToLower(r.name))

		return &iam.DeleteRoleOutput{}, nil
	})
}

// UpdateAssumeRolePolicy replaces the trust policy.
func (i *IAM) UpdateAssumeRolePolicy(ctx context.Context, in *iam.UpdateAssumeRolePolicyInput, _ ...func(*iam.Options)) (*iam.UpdateAssumeRolePolicyOutput, error) {
	return changeRole(ctx, i, "UpdateAssumeRolePolicy", in, in.RoleName, func(r *role) (*iam.UpdateAssumeRolePolicyOutput, error) {
		if !isDocument(in.PolicyDocument) {
			return nil, refuse("MalformedPolicyDocument", "This policy contains invalid Json")
		}

		r.trust = *in.PolicyDocument

		return &iam.UpdateAssumeRolePolicyOutput{}, nil
	})
}

// PutRolePermissionsBoundary replaces the boundary.
func (i *IAM) PutRolePermissionsBoundary(ctx context.Context, in *iam.PutRolePermissionsBoundaryInput, _ ...func(*iam.Options)) (*iam.PutRolePermissionsBoundaryOutput, error) {
	return changeRole(ctx, i, "PutRolePermissionsBoundary", in, in.RoleName, func(r *role) (*iam.PutRolePermissionsBoundaryOutput, error) {
		r.boundary = aws.ToString(in.PermissionsBoundary)

		return &iam.PutRolePermissionsBoundaryOutput{}, nil
	})
}

// DeleteRolePermissionsBoundary takes it away.
func (i *IAM) DeleteRolePermissionsBoundary(ctx context.Context, in *iam.DeleteRolePermissionsBoundaryInput, _ ...func(*iam.Options)) (*iam.DeleteRolePermissionsBoundaryOutput, error) {
	return changeRole(ctx, i, "DeleteRolePermissionsBoundary", in, in.RoleName, func(r *role) (*iam.DeleteRolePermissionsBoundaryOutput, error) {
		r.boundary = ""

		return &iam.DeleteRolePermissionsBoundaryOutput{}, nil
	})
}

// TagRole adds and overwrites. API reference, TagRole.
func (i *IAM) TagRole(ctx context.Context, in *iam.TagRoleInput, _ ...func(*iam.Options)) (*iam.TagRoleOutput, error) {
	return changeRole(ctx, i, "TagRole", in, in.RoleName, func(r *role) (*iam.TagRoleOutput, error) {
		r.tags = merge(r.tags, iamTags(in.Tags))

		return &iam.TagRoleOutput{}, nil
	})
}

// UntagRole takes tags away.
func (i *IAM) UntagRole(ctx context.Context, in *iam.UntagRoleInput, _ ...func(*iam.Options)) (*iam.UntagRoleOutput, error) {
	return changeRole(ctx, i, "UntagRole", in, in.RoleName, func(r *role) (*iam.UntagRoleOutput, error) {
		for _, k := range in.TagKeys {
			delete(r.tags, k)
		}

		return &iam.UntagRoleOutput{}, nil
	})
}

// GetRolePolicy returns the document URL-encoded. API reference, GetRolePolicy.
func (i *IAM) GetRolePolicy(ctx context.Context, in *iam.GetRolePolicyInput, _ ...func(*iam.Options)) (*iam.GetRolePolicyOutput, error) {
	return do(ctx, i.w, "iam", "GetRolePolicy", in, func() (*iam.GetRolePolicyOutput, error) {
		r := i.role(in.RoleName)
		if r == nil {
			return nil, noRole(in.RoleName)
		}

		document, ok := r.inline[aws.ToString(in.PolicyName)]
		if !ok {
			return nil, refuse("NoSuchEntity", "The role policy with name %s cannot be found.", aws.ToString(in.PolicyName))
		}

		return &iam.GetRolePolicyOutput{RoleName: in.RoleName, PolicyName: in.PolicyName, PolicyDocument: encodeDocument(document)}, nil
	})
}

// PutRolePolicy adds or replaces. API reference, PutRolePolicy.
func (i *IAM) PutRolePolicy(ctx context.Context, in *iam.PutRolePolicyInput, _ ...func(*iam.Options)) (*iam.PutRolePolicyOutput, error) {
	return changeRole(ctx, i, "PutRolePolicy", in, in.RoleName, func(r *role) (*iam.PutRolePolicyOutput, error) {
		if !isDocument(in.PolicyDocument) {
			return nil, refuse("MalformedPolicyDocument", "This policy contains invalid Json")
		}

		r.inline[aws.ToString(in.PolicyName)] = *in.PolicyDocument

		return &iam.PutRolePolicyOutput{}, nil
	})
}

// ListRolePolicies lists inline policies by name, in pages.
func (i *IAM) ListRolePolicies(ctx context.Context, in *iam.ListRolePoliciesInput, _ ...func(*iam.Options)) (*iam.ListRolePoliciesOutput, error) {
	return do(ctx, i.w, "iam", "ListRolePolicies", in, func() (*iam.ListRolePoliciesOutput, error) {
		r := i.role(in.RoleName)
		if r == nil {
			return nil, noRole(in.RoleName)
		}

		names, next := iamPage(sortedKeys(r.inline), in.Marker)

		return &iam.ListRolePoliciesOutput{PolicyNames: names, IsTruncated: next != nil, Marker: next}, nil
	})
}

// DeleteRolePolicy deletes an inline policy.
func (i *IAM) DeleteRolePolicy(ctx context.Context, in *iam.DeleteRolePolicyInput, _ ...func(*iam.Options)) (*iam.DeleteRolePolicyOutput, error) {
	return changeRole(ctx, i, "DeleteRolePolicy", in, in.RoleName, func(r *role) (*iam.DeleteRolePolicyOutput, error) {
		name := aws.ToString(in.PolicyName)
		if _, ok := r.inline[name]; !ok {
			return nil, refuse("NoSuchEntity", "The role policy with name %s cannot be found.", name)
		}

		delete(r.inline, name)

		return &iam.DeleteRolePolicyOutput{}, nil
	})
}

// ListAttachedRolePolicies lists managed policies, in pages.
func (i *IAM) ListAttachedRolePolicies(ctx context.Context, in *iam.ListAttachedRolePoliciesInput, _ ...func(*iam.Options)) (*iam.ListAttachedRolePoliciesOutput, error) {
	return do(ctx, i.w, "iam", "ListAttachedRolePolicies", in, func() (*iam.ListAttachedRolePoliciesOutput, error) {
		r := i.role(in.RoleName)
		if r == nil {
			return nil, noRole(in.RoleName)
		}

		arns, next := iamPage(r.attached, in.Marker)

		out := &iam.ListAttachedRolePoliciesOutput{IsTruncated: next != nil, Marker: next}
		for _, arn := range arns {
			out.AttachedPolicies = append(out.AttachedPolicies, types.AttachedPolicy{PolicyArn: aws.String(arn), PolicyName: aws.String(arn[strings.LastIndex(arn, "/")+1:])})
		}

		return out, nil
	})
}

// AttachRolePolicy of an attached policy changes nothing; an ARN of another partition names no policy. API reference, AttachRolePolicy.
func (i *IAM) AttachRolePolicy(ctx context.Context, in *iam.AttachRolePolicyInput, _ ...func(*iam.Options)) (*iam.AttachRolePolicyOutput, error) {
	return changeRole(ctx, i, "AttachRolePolicy", in, in.RoleName, func(r *role) (*iam.AttachRolePolicyOutput, error) {
		arn := aws.ToString(in.PolicyArn)
		if !strings.HasPrefix(arn, i.w.arn("iam", "", "aws", "policy/")) && !strings.HasPrefix(arn, i.w.arn("iam", "", i.w.Account, "policy/")) {
			return nil, refuse("NoSuchEntity", "Policy %s does not exist or is not attachable.", arn)
		}

		if !slices.Contains(r.attached, arn) {
			r.attached = append(r.attached, arn)
		}

		return &iam.AttachRolePolicyOutput{}, nil
	})
}

// DetachRolePolicy answers NoSuchEntity for a policy that is not attached. API reference, DetachRolePolicy.
func (i *IAM) DetachRolePolicy(ctx context.Context, in *iam.DetachRolePolicyInput, _ ...func(*iam.Options)) (*iam.DetachRolePolicyOutput, error) {
	return changeRole(ctx, i, "DetachRolePolicy", in, in.RoleName, func(r *role) (*iam.DetachRolePolicyOutput, error) {
		k := slices.Index(r.attached, aws.ToString(in.PolicyArn))
		if k < 0 {
			return nil, refuse("NoSuchEntity", "Policy %s was not found.", aws.ToString(in.PolicyArn))
		}

		r.attached = slices.Delete(r.attached, k, k+1)

		return &iam.DetachRolePolicyOutput{}, nil
	})
}

// ListRoles lists the roles under a path, without tags and boundary. API reference, ListRoles.
func (i *IAM) ListRoles(ctx context.Context, in *iam.ListRolesInput, _ ...func(*iam.Options)) (*iam.ListRolesOutput, error) {
	return do(ctx, i.w, "iam", "ListRoles", in, func() (*iam.ListRolesOutput, error) {
		var all []types.Role

		for _, r := range sorted(i.roles) {
			if strings.HasPrefix(r.path, aws.ToString(in.PathPrefix)) && !i.w.Now().Before(r.created.Add(i.Lag)) {
				d := i.describeRole(r)
				d.Tags, d.PermissionsBoundary = nil, nil
				all = append(all, *d)
			}
		}

		list, next := iamPage(all, in.Marker)

		return &iam.ListRolesOutput{Roles: list, IsTruncated: next != nil, Marker: next}, nil
	})
}

// ListInstanceProfiles lists the instance profiles under a path, without tags. API reference, ListInstanceProfiles.
func (i *IAM) ListInstanceProfiles(ctx context.Context, in *iam.ListInstanceProfilesInput, _ ...func(*iam.Options)) (*iam.ListInstanceProfilesOutput, error) {
	return do(ctx, i.w, "iam", "ListInstanceProfiles", in, func() (*iam.ListInstanceProfilesOutput, error) {
		var all []types.InstanceProfile

		for _, p := range sorted(i.profiles) {
			if strings.HasPrefix(p.path, aws.ToString(in.PathPrefix)) && !i.w.Now().Before(p.created.Add(i.Lag)) {
				d := i.describeProfile(p)
				d.Tags = nil
				all = append(all, *d)
			}
		}

		list, next := iamPage(all, in.Marker)

		return &iam.ListInstanceProfilesOutput{InstanceProfiles: list, IsTruncated: next != nil, Marker: next}, nil
	})
}

// ListInstanceProfilesForRole leaves tags out. API reference, ListInstanceProfilesForRole.
func (i *IAM) ListInstanceProfilesForRole(ctx context.Context, in *iam.ListInstanceProfilesForRoleInput, _ ...func(*iam.Options)) (*iam.ListInstanceProfilesForRoleOutput, error) {
	return do(ctx, i.w, "iam", "ListInstanceProfilesForRole", in, func() (*iam.ListInstanceProfilesForRoleOutput, error) {
		r := i.role(in.RoleName)
		if r == nil {
			return nil, noRole(in.RoleName)
		}

		var all []types.InstanceProfile

		for _, p := range sorted(i.profiles) {
			if p.role == r.name {
				d := i.describeProfile(p)
				d.Tags = nil
				all = append(all, *d)
			}
		}

		list, next := iamPage(all, in.Marker)

		return &iam.ListInstanceProfilesForRoleOutput{InstanceProfiles: list, IsTruncated: next != nil, Marker: next}, nil
	})
}

// GetInstanceProfile answers NoSuchEntity for an unknown name.
func (i *IAM) GetInstanceProfile(ctx context.Context, in *iam.GetInstanceProfileInput, _ ...func(*iam.Options)) (*iam.GetInstanceProfileOutput, error) {
	return do(ctx, i.w, "iam", "GetInstanceProfile", in, func() (*iam.GetInstanceProfileOutput, error) {
		p := i.profile(in.InstanceProfileName)
		if p == nil || i.w.Now().Before(p.created.Add(i.Lag)) {
			return nil, noProfile(in.InstanceProfileName)
		}

		return &iam.GetInstanceProfileOutput{InstanceProfile: i.describeProfile(p)}, nil
	})
}

// CreateInstanceProfile makes one; names are unique in the account without regard to case or path. API reference, CreateInstanceProfile.
func (i *IAM) CreateInstanceProfile(ctx context.Context, in *iam.CreateInstanceProfileInput, _ ...func(*iam.Options)) (*iam.CreateInstanceProfileOutput, error) {
	return do(ctx, i.w, "iam", "CreateInstanceProfile", in, func() (*iam.CreateInstanceProfileOutput, error) {
		name := aws.ToString(in.InstanceProfileName)
		if i.profiles[strings.ToLower(name)] != nil {
			return nil, refuse("EntityAlreadyExists", "Instance Profile %s already exists.", name)
		}

		path := "/"
		if in.Path != nil {
			path = *in.Path
		}

		p := &profile{name: name, id: i.w.id("AIPA"), path: path, created: i.w.Now(), tags: iamTags(in.Tags)}
		i.profiles[strings.ToLower(name)] = p

		return &iam.CreateInstanceProfileOutput{InstanceProfile: i.describeProfile(p)}, nil
	})
}

// TagInstanceProfile adds and overwrites.
func (i *IAM) TagInstanceProfile(ctx context.Context, in *iam.TagInstanceProfileInput, _ ...func(*iam.Options)) (*iam.TagInstanceProfileOutput, error) {
	return changeProfile(ctx, i, "TagInstanceProfile", in, in.InstanceProfileName, func(p *profile) (*iam.TagInstanceProfileOutput, error) {
		p.tags = merge(p.tags, iamTags(in.Tags))

		return &iam.TagInstanceProfileOutput{}, nil
	})
}

// UntagInstanceProfile takes tags away.
func (i *IAM) UntagInstanceProfile(ctx context.Context, in *iam.UntagInstanceProfileInput, _ ...func(*iam.Options)) (*iam.UntagInstanceProfileOutput, error) {
	return changeProfile(ctx, i, "UntagInstanceProfile", in, in.InstanceProfileName, func(p *profile) (*iam.UntagInstanceProfileOutput, error) {
		for _, k := range in.TagKeys {
			delete(p.tags, k)
		}

		return &iam.UntagInstanceProfileOutput{}, nil
	})
}

// AddRoleToInstanceProfile puts a role in; one role fits. API reference, AddRoleToInstanceProfile.
func (i *IAM) AddRoleToInstanceProfile(ctx context.Context, in *iam.AddRoleToInstanceProfileInput, _ ...func(*iam.Options)) (*iam.AddRoleToInstanceProfileOutput, error) {
	return changeProfile(ctx, i, "AddRoleToInstanceProfile", in, in.InstanceProfileName, func(p *profile) (*iam.AddRoleToInstanceProfileOutput, error) {
		r := i.role(in.RoleName)

		switch {
		case r == nil || i.w.Now().Before(r.created.Add(i.Lag)):
			return nil, noRole(in.RoleName)
		case p.role != "":
			return nil, refuse("LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
		}

		p.role = r.name

		return &iam.AddRoleToInstanceProfileOutput{}, nil
	})
}

// RemoveRoleFromInstanceProfile answers NoSuchEntity for a role that is not in it.
func (i *IAM) RemoveRoleFromInstanceProfile(ctx context.Context, in *iam.RemoveRoleFromInstanceProfileInput, _ ...func(*iam.Options)) (*iam.RemoveRoleFromInstanceProfileOutput, error) {
	return changeProfile(ctx, i, "RemoveRoleFromInstanceProfile", in, in.InstanceProfileName, func(p *profile) (*iam.RemoveRoleFromInstanceProfileOutput, error) {
		if p.role == "" || !strings.EqualFold(p.role, aws.ToString(in.RoleName)) {
			return nil, noRole(in.RoleName)
		}

		p.role = ""

		return &iam.RemoveRoleFromInstanceProfileOutput{}, nil
	})
}

// DeleteInstanceProfile refuses while a role is in it. API reference, DeleteInstanceProfile.
func (i *IAM) DeleteInstanceProfile(ctx context.Context, in *iam.DeleteInstanceProfileInput, _ ...func(*iam.Options)) (*iam.DeleteInstanceProfileOutput, error) {
	return changeProfile(ctx, i, "DeleteInstanceProfile", in, in.InstanceProfileName, func(p *profile) (*iam.DeleteInstanceProfileOutput, error) {
		if p.role != "" {
			return nil, refuse("DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.")
		}

		delete(i.profiles, strings.ToLower(p.name))

		return &iam.DeleteInstanceProfileOutput{}, nil
	})
}

// changeRole runs a changing call for a role that is there; a service-linked one is its service's alone. IAM user guide, "Service-linked roles".
func changeRole[O any](ctx context.Context, i *IAM, operation string, in any, name *string, act func(r *role) (O, error)) (O, error) {
	return do(ctx, i.w, "iam", operation, in, func() (O, error) {
		var none O

		r := i.role(name)

		switch {
		case r == nil:
			return none, noRole(name)
		case strings.HasPrefix(r.path, slrPath):
			return none, refuse("UnmodifiableEntity", "Cannot perform the operation on the protected role '%s' - this role is only modifiable by AWS", r.name)
		}

		return act(r)
	})
}

func changeProfile[O any](ctx context.Context, i *IAM, operation string, in any, name *string, act func(p *profile) (O, error)) (O, error) {
	return do(ctx, i.w, "iam", operation, in, func() (O, error) {
		p := i.profile(name)
		if p == nil {
			var none O

			return none, noProfile(name)
		}

		return act(p)
	})
}

func (i *IAM) role(name *string) *role { return i.roles[strings.ToLower(aws.ToString(name))] }

func (i *IAM) profile(name *string) *profile {
	return i.profiles[strings.ToLower(aws.ToString(name))]
}

func noRole(name *string) error {
	return refuse("NoSuchEntity", "The role with name %s cannot be found.", aws.ToString(name))
}

func noProfile(name *string) error {
	return refuse("NoSuchEntity", "Instance Profile %s cannot be found.", aws.ToString(name))
}

func (i *IAM) describeRole(r *role) *types.Role {
	d := &types.Role{
		RoleName: aws.String(r.name), RoleId: aws.String(r.id), Path: aws.String(r.path), CreateDate: aws.Time(r.created),
		Arn: aws.String(i.w.arn("iam", "", i.w.Account, "role"+r.path+r.name)), AssumeRolePolicyDocument: encodeDocument(r.trust), Tags: iamTagList(r.tags),
	}

	if i.w.Now().Before(r.created.Add(i.IDLag)) {
		d.Arn = aws.String(r.id)
	}

	if r.boundary != "" {
		d.PermissionsBoundary = &types.AttachedPermissionsBoundary{
			PermissionsBoundaryArn: aws.String(r.boundary), PermissionsBoundaryType: types.PermissionsBoundaryAttachmentTypePolicy,
		}
	}

	return d
}

func (i *IAM) describeProfile(p *profile) *types.InstanceProfile {
	d := &types.InstanceProfile{
		InstanceProfileName: aws.String(p.name), InstanceProfileId: aws.String(p.id), Path: aws.String(p.path), CreateDate: aws.Time(p.created),
		Arn: aws.String(i.w.arn("iam", "", i.w.Account, "instance-profile"+p.path+p.name)), Tags: iamTagList(p.tags),
	}

	if i.w.Now().Before(p.created.Add(i.IDLag)) {
		d.Arn = aws.String(p.id)
	}

	if r := i.roles[strings.ToLower(p.role)]; r != nil {
		d.Roles = []types.Role{*i.describeRole(r)}
	}

	return d
}

// iamPage returns two members at a time: a caller may not rely on more. API reference, MaxItems: "IAM might return fewer than the MaxItems number of results,
// even when there are more results available".
func iamPage[E any](all []E, marker *string) (part []E, next *string) {
	const size = 2

	from, _ := strconv.Atoi(aws.ToString(marker))
	from = min(from, len(all))
	to := min(from+size, len(all))

	if to < len(all) {
		next = aws.String(strconv.Itoa(to))
	}

	return slices.Clone(all[from:to]), next
}

// encodeDocument is how IAM returns policy documents: URL-encoded by RFC 3986. API reference, Role, AssumeRolePolicyDocument.
func encodeDocument(document string) *string {
	return aws.String(strings.ReplaceAll(url.QueryEscape(document), "+", "%20"))
}

func isDocument(document *string) bool { return document != nil && json.Valid([]byte(*document)) }

func iamTags(list []types.Tag) map[string]string {
	tags := map[string]string{}
	for _, t := range list {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}

	return tags
}

func iamTagList(tags map[string]string) []types.Tag {
	var list []types.Tag
	for _, k := range sortedKeys(tags) {
		list = append(list, types.Tag{Key: aws.String(k), Value: aws.String(tags[k])})
	}

	return list
}

func merge(have, more map[string]string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, have)
	maps.Copy(all, more)

	return all
}
