package bucket

import (
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/policydoc"
)

// Named implements kind.Planned.
func (*Bucket) Named(c *kind.Call) string {
	bucket, _ := c.Owner.Bucket(c.Spec)

	return bucket
}

// Template implements kind.Planned. The stack leaves the bucket behind, as a delete does by default.
func (b *Bucket) Template(c *kind.Call) kind.Template {
	bucket := b.Named(c)

	t := kind.Template{
		Type: "AWS::S3::Bucket", Keep: true,
		Properties: map[string]any{
			"BucketName":        bucket,
			"OwnershipControls": map[string]any{"Rules": []any{map[string]any{"ObjectOwnership": "BucketOwnerEnforced"}}},
			"PublicAccessBlockConfiguration": map[string]any{
				"BlockPublicAcls": true, "IgnorePublicAcls": true, "BlockPublicPolicy": true, "RestrictPublicBuckets": true,
			},
			"BucketEncryption": map[string]any{"ServerSideEncryptionConfiguration": []any{
				map[string]any{"ServerSideEncryptionByDefault": map[string]any{"SSEAlgorithm": "AES256"}},
			}},
			"VersioningConfiguration": map[string]any{"Status": "Enabled"},
			"LifecycleConfiguration": map[string]any{"Rules": []any{map[string]any{
				"Id": ruleID, "Status": "Enabled", "ExpiredObjectDeleteMarker": true,
				"AbortIncompleteMultipartUpload": map[string]any{"DaysAfterInitiation": uploadDays},
				"NoncurrentVersionExpiration":    map[string]any{"NoncurrentDays": c.Spec.Storage.OldVersionsDays},
			}}},
			"Tags": c.TemplateTags(),
		},
		Parts: map[string]kind.Template{"Policy": {
			Type: "AWS::S3::BucketPolicy", Keep: true,
			Properties: map[string]any{"Bucket": map[string]any{"Ref": kind.Logical(c.Ref)}, "PolicyDocument": policydoc.Object(policydoc.New(tlsOnly(c, bucket)))},
		}},
	}

	return t
}
