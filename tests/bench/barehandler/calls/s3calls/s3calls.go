// Package s3calls lists what functions/api and functions/s3 call of S3, for the bare handlers that can make the same calls.
package s3calls

import "github.com/aws/aws-sdk-go-v2/service/s3"

// List keeps the calls in the binary.
func List() []any {
	return []any{
		(*s3.Client).AbortMultipartUpload,
		(*s3.Client).CreateBucket,
		(*s3.Client).CreateSession,
		(*s3.Client).DeleteBucket,
		(*s3.Client).DeleteBucketPolicy,
		(*s3.Client).DeleteObject,
		(*s3.Client).DeleteObjects,
		(*s3.Client).GetBucketEncryption,
		(*s3.Client).GetBucketLifecycleConfiguration,
		(*s3.Client).GetBucketOwnershipControls,
		(*s3.Client).GetBucketPolicy,
		(*s3.Client).GetBucketTagging,
		(*s3.Client).GetBucketVersioning,
		(*s3.Client).GetPublicAccessBlock,
		(*s3.Client).HeadBucket,
		(*s3.Client).ListBuckets,
		(*s3.Client).ListMultipartUploads,
		(*s3.Client).ListObjectVersions,
		(*s3.Client).PutBucketEncryption,
		(*s3.Client).PutBucketLifecycleConfiguration,
		(*s3.Client).PutBucketOwnershipControls,
		(*s3.Client).PutBucketPolicy,
		(*s3.Client).PutBucketTagging,
		(*s3.Client).PutBucketVersioning,
		(*s3.Client).PutPublicAccessBlock,
	}
}
