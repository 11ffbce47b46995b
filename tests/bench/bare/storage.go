package main

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

type object = map[string]any

func (p *program) bucket() *string { return aws.String(p.Name + "-metaflow") }

func (p *program) makeBucket(ctx context.Context) error {
	var tags []s3types.Tag
	for k, v := range p.tags() {
		tags = append(tags, s3types.Tag{Key: &k, Value: &v})
	}

	arn := "arn:aws:s3:::" + *p.bucket()

	return each(ctx,
		call(p.s3.CreateBucket, s3.CreateBucketInput{
			Bucket: p.bucket(), ObjectOwnership: s3types.ObjectOwnershipBucketOwnerEnforced,
			CreateBucketConfiguration: &s3types.CreateBucketConfiguration{Tags: tags},
		}),
		call(p.s3.PutBucketVersioning, s3.PutBucketVersioningInput{
			Bucket: p.bucket(), VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled},
		}),
		call(p.s3.PutBucketLifecycleConfiguration, s3.PutBucketLifecycleConfigurationInput{
			Bucket: p.bucket(),
			LifecycleConfiguration: &s3types.BucketLifecycleConfiguration{Rules: []s3types.LifecycleRule{{
				ID: aws.String("bare"), Status: s3types.ExpirationStatusEnabled, Filter: &s3types.LifecycleRuleFilter{Prefix: aws.String("")},
				AbortIncompleteMultipartUpload: &s3types.AbortIncompleteMultipartUpload{DaysAfterInitiation: aws.Int32(7)},
				Expiration:                     &s3types.LifecycleExpiration{ExpiredObjectDeleteMarker: aws.Bool(true)},
				NoncurrentVersionExpiration:    &s3types.NoncurrentVersionExpiration{NoncurrentDays: aws.Int32(30)},
			}}},
		}),
		call(p.s3.PutBucketPolicy, s3.PutBucketPolicyInput{Bucket: p.bucket(), Policy: p.text(object{
			"Version": "2012-10-17",
			"Statement": []object{{
				"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": []string{arn, arn + "/*"},
				"Condition": object{"Bool": object{"aws:SecureTransport": "false"}},
			}},
		})}),
	)
}

// removeBucket removes a bucket that is empty; it has to look whether it is.
func (p *program) removeBucket(ctx context.Context) error {
	return each(ctx,
		call(p.s3.DeleteBucketPolicy, s3.DeleteBucketPolicyInput{Bucket: p.bucket()}),
		call(p.s3.ListObjectVersions, s3.ListObjectVersionsInput{Bucket: p.bucket()}),
		call(p.s3.DeleteBucket, s3.DeleteBucketInput{Bucket: p.bucket()}),
	)
}

const containers = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"

func (p *program) role(of string) *string { return aws.String(p.Name + "-" + of) }

func (p *program) makeRoles(ctx context.Context) error {
	var tags []iamtypes.Tag
	for k, v := range p.tags() {
		tags = append(tags, iamtypes.Tag{Key: &k, Value: &v})
	}

	path, arn := aws.String("/bare/"), "arn:aws:s3:::"+*p.bucket()
	trust := func(service string) *string {
		return p.text(object{"Version": "2012-10-17", "Statement": []object{{
			"Effect": "Allow", "Principal": object{"Service": service}, "Action": "sts:AssumeRole",
		}}})
	}

	return each(ctx,
		call(p.iam.CreateRole, iam.CreateRoleInput{RoleName: p.role("job"), Path: path, Tags: tags, AssumeRolePolicyDocument: trust("ecs-tasks.amazonaws.com")}),
		call(p.iam.PutRolePolicy, iam.PutRolePolicyInput{RoleName: p.role("job"), PolicyName: aws.String("metaflow"), PolicyDocument: p.text(object{
			"Version": "2012-10-17",
			"Statement": []object{
				{"Effect": "Allow", "Action": []string{"s3:GetObject", "s3:PutObject"}, "Resource": arn + "/*"},
				{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": arn},
			},
		})}),
		call(p.iam.CreateRole, iam.CreateRoleInput{RoleName: p.role("instance"), Path: path, Tags: tags, AssumeRolePolicyDocument: trust("ec2.amazonaws.com")}),
		call(p.iam.AttachRolePolicy, iam.AttachRolePolicyInput{RoleName: p.role("instance"), PolicyArn: aws.String(containers)}),
		call(p.iam.CreateInstanceProfile, iam.CreateInstanceProfileInput{InstanceProfileName: p.role("instance"), Path: path, Tags: tags}),
		call(p.iam.AddRoleToInstanceProfile, iam.AddRoleToInstanceProfileInput{InstanceProfileName: p.role("instance"), RoleName: p.role("instance")}),
		p.makeServiceLinkedRole,
	)
}

// makeServiceLinkedRole makes what an account has once and keeps: the second create in an account is told so, with InvalidInput.
func (p *program) makeServiceLinkedRole(ctx context.Context) error {
	_, err := p.iam.CreateServiceLinkedRole(ctx, &iam.CreateServiceLinkedRoleInput{AWSServiceName: aws.String("batch.amazonaws.com")})
	if _, taken := errors.AsType[*iamtypes.InvalidInputException](err); err != nil && !taken {
		return err
	}

	return nil
}

func (p *program) removeRoles(ctx context.Context) error {
	return each(ctx,
		call(p.iam.RemoveRoleFromInstanceProfile, iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: p.role("instance"), RoleName: p.role("instance")}),
		call(p.iam.DeleteInstanceProfile, iam.DeleteInstanceProfileInput{InstanceProfileName: p.role("instance")}),
		call(p.iam.DetachRolePolicy, iam.DetachRolePolicyInput{RoleName: p.role("instance"), PolicyArn: aws.String(containers)}),
		call(p.iam.DeleteRole, iam.DeleteRoleInput{RoleName: p.role("instance")}),
		call(p.iam.DeleteRolePolicy, iam.DeleteRolePolicyInput{RoleName: p.role("job"), PolicyName: aws.String("metaflow")}),
		call(p.iam.DeleteRole, iam.DeleteRoleInput{RoleName: p.role("job")}),
	)
}
