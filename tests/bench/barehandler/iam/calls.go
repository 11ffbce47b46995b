//go:build calls

package main

import (
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// calls keeps the calls that functions/iam can make in the binary.
func calls() []any {
	return []any{
		(*dynamodb.Client).DeleteItem,
		(*dynamodb.Client).PutItem,
		(*dynamodb.Client).Query,
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
