// Package iamcalls lists what functions/api and functions/iam call of IAM, for the bare handlers that can make the same calls.
package iamcalls

import "github.com/aws/aws-sdk-go-v2/service/iam"

// List keeps the calls in the binary.
func List() []any {
	return []any{
		(*iam.Client).AddRoleToInstanceProfile,
		(*iam.Client).AttachRolePolicy,
		(*iam.Client).CreateInstanceProfile,
		(*iam.Client).CreateRole,
		(*iam.Client).CreateServiceLinkedRole,
		(*iam.Client).DeleteInstanceProfile,
		(*iam.Client).DeleteRole,
		(*iam.Client).DeleteRolePolicy,
		(*iam.Client).DetachRolePolicy,
		(*iam.Client).GetInstanceProfile,
		(*iam.Client).GetRole,
		(*iam.Client).GetRolePolicy,
		(*iam.Client).ListAttachedRolePolicies,
		(*iam.Client).ListInstanceProfiles,
		(*iam.Client).ListInstanceProfilesForRole,
		(*iam.Client).ListRolePolicies,
		(*iam.Client).ListRoles,
		(*iam.Client).PutRolePermissionsBoundary,
		(*iam.Client).PutRolePolicy,
		(*iam.Client).RemoveRoleFromInstanceProfile,
		(*iam.Client).TagInstanceProfile,
		(*iam.Client).TagRole,
		(*iam.Client).UpdateAssumeRolePolicy,
	}
}
