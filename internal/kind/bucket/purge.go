package bucket

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

const (
	// rounds is how many pages of 1,000 versions one look deletes: a few seconds' worth, so that progress is recorded before an invocation ends.
	rounds = 4
	// uploads is how many unfinished uploads one look aborts; each is a call of its own.
	uploads = 100
	// few is how many versions a bucket may hold that nobody but a probe has written to.
	few = 20
)

// purge deletes a few thousand versions a look, then what else is in the bucket, then the bucket. It keeps no place: what is deleted is not listed again.
func (b *Bucket) purge(ctx context.Context, c *kind.Call, bucket string) (kind.Result, error) {
	// A statement of the owner's may deny deletes. It also ends server access logging into the bucket itself, which would never let it become empty:
	// without ACLs the log delivery service lives by the policy.
	_, err := b.s3.DeleteBucketPolicy(ctx, &s3.DeleteBucketPolicyInput{Bucket: &bucket, ExpectedBucketOwner: &c.Owner.Account})
	if err != nil {
		return kind.Result{Waiting: "deleting"}, awserr.IgnoreGone(fmt.Errorf("delete policy of bucket %s: %w", bucket, err))
	}

	deleted := 0

	for range rounds {
		n, err := b.page(ctx, c, bucket)
		deleted += n

		if err != nil {
			return kind.Result{Progressed: deleted > 0, Waiting: "emptying"}, awserr.IgnoreGone(err)
		}

		if n == 0 {
			break
		}
	}

	if deleted == 0 {
		n, err := b.abort(ctx, c, bucket)
		if err != nil {
			return kind.Result{Progressed: n > 0, Waiting: "emptying"}, awserr.IgnoreGone(err)
		}

		deleted = n
	}

	if deleted > 0 {
		return kind.Result{ID: bucket, Progressed: true, Waiting: fmt.Sprintf("emptying, %d more objects deleted", deleted)}, nil
	}

	return b.drop(ctx, c, bucket)
}

// removeIfEmpty deletes the bucket if there is nothing to lose, and keeps it otherwise.
func (b *Bucket) removeIfEmpty(ctx context.Context, c *kind.Call, bucket string, tags map[string]string) (kind.Result, error) {
	out, err := b.s3.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &bucket, ExpectedBucketOwner: &c.Owner.Account, MaxKeys: aws.Int32(few)})
	if err != nil {
		return kind.Result{Waiting: "deleting"}, awserr.IgnoreGone(fmt.Errorf("look into bucket %s: %w", bucket, err))
	}

	if len(out.Versions)+len(out.DeleteMarkers) == 0 {
		return b.drop(ctx, c, bucket)
	}

	// What a probe job of ours wrote is nobody's data. Nothing else is ever deleted here, not even what is written this very moment.
	_, probe := c.Owner.ProbeObject(c.Spec)
	written := slices.ContainsFunc(out.Versions, func(v types.ObjectVersion) bool { return aws.ToString(v.Key) != probe })

	if written || len(out.DeleteMarkers) > 0 || aws.ToBool(out.IsTruncated) {
		return b.keep(ctx, c, bucket, tags)
	}

	ids := make([]types.ObjectIdentifier, 0, len(out.Versions))
	for _, v := range out.Versions {
		ids = append(ids, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
	}

	if _, err := b.deleteTogether(ctx, c, bucket, ids); err != nil {
		return kind.Result{Waiting: "deleting"}, awserr.IgnoreGone(err)
	}

	return b.drop(ctx, c, bucket)
}

// drop deletes the bucket. If somebody has written to it meanwhile, AWS refuses with BucketNotEmpty (class NotReady) and the next look starts over.
func (b *Bucket) drop(ctx context.Context, c *kind.Call, bucket string) (kind.Result, error) {
	result := kind.Result{ID: bucket, Waiting: "deleting"}

	_, err := b.s3.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &bucket, ExpectedBucketOwner: &c.Owner.Account})
	if err != nil {
		return result, awserr.IgnoreGone(fmt.Errorf("delete bucket %s: %w", bucket, err))
	}

	c.Removed()

	// Gone is what a look says, not what a delete answers.
	return result, nil
}

// page lists one page of versions and delete markers and deletes them. It returns how many went.
func (b *Bucket) page(ctx context.Context, c *kind.Call, bucket string) (int, error) {
	// Keys are any bytes of UTF-8; as XML some of them could not even be listed.
	out, err := b.s3.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{
		Bucket: &bucket, ExpectedBucketOwner: &c.Owner.Account, EncodingType: types.EncodingTypeUrl,
	})
	if err != nil {
		return 0, fmt.Errorf("list versions of bucket %s: %w", bucket, err)
	}

	var together, single []types.ObjectIdentifier

	add := func(key, version *string) error {
		k, err := decode(aws.ToString(key), out.EncodingType)
		if err != nil {
			return fmt.Errorf("list versions of bucket %s: %w", bucket, err)
		}

		id := types.ObjectIdentifier{Key: aws.String(k), VersionId: version}
		if legal(k) {
			together = append(together, id)
		} else {
			single = append(single, id)
		}

		return nil
	}

	for _, v := range out.Versions {
		if err := add(v.Key, v.VersionId); err != nil {
			return 0, err
		}
	}

	for _, m := range out.DeleteMarkers {
		if err := add(m.Key, m.VersionId); err != nil {
			return 0, err
		}
	}

	deleted := 0

	if len(together) > 0 {
		n, err := b.deleteTogether(ctx, c, bucket, together)
		if deleted += n; err != nil {
			return deleted, err
		}
	}

	for _, id := range single {
		_, err := b.s3.DeleteObject(ctx, &s3.DeleteObjectInput{
			Bucket: &bucket, ExpectedBucketOwner: &c.Owner.Account, Key: id.Key, VersionId: id.VersionId,
		})
		if err != nil && !vanished(awserr.Code(err)) {
			return deleted, refused(bucket, 1, err)
		}

		deleted++
	}

	return deleted, nil
}

// deleteTogether deletes up to 1,000 versions in one call, which answers 200 whatever happened to each of them.
func (b *Bucket) deleteTogether(ctx context.Context, c *kind.Call, bucket string, ids []types.ObjectIdentifier) (int, error) {
	out, err := b.s3.DeleteObjects(ctx, &s3.DeleteObjectsInput{
		Bucket: &bucket, ExpectedBucketOwner: &c.Owner.Account, Delete: &types.Delete{Objects: ids, Quiet: aws.Bool(true)},
	})
	if err != nil {
		return 0, fmt.Errorf("delete objects of bucket %s: %w", bucket, err)
	}

	failed := 0

	var first error

	for _, e := range out.Errors {
		if vanished(aws.ToString(e.Code)) {
			continue
		}

		failed++

		if first == nil {
			first = &smithy.GenericAPIError{Code: aws.ToString(e.Code), Message: aws.ToString(e.Message)}
		}
	}

	if first != nil {
		return len(ids) - failed, refused(bucket, failed, first)
	}

	return len(ids), nil
}

// vanished: somebody else, or the lifecycle, was quicker.
func vanished(code string) bool { return code == "NoSuchKey" || code == "NoSuchVersion" }

// refused tells what stands in the way of deleting objects.
func refused(bucket string, n int, err error) error {
	if !awserr.Is(err, deploy.Denied) {
		return fmt.Errorf("delete objects of bucket %s: %w", bucket, err)
	}

	return deploy.Errorf(deploy.Denied, "objects_protected", "S3 refuses to delete %d objects of bucket %s: %w", n, bucket, err).
		WithRemedy("Lift the legal hold, retention or policy that protects them and resume, or skip the bucket to leave it behind.")
}

// abort ends unfinished uploads: they cost, and one that is completed later would bring an object back.
func (b *Bucket) abort(ctx context.Context, c *kind.Call, bucket string) (int, error) {
	out, err := b.s3.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{
		Bucket: &bucket, ExpectedBucketOwner: &c.Owner.Account, EncodingType: types.EncodingTypeUrl, MaxUploads: aws.Int32(uploads),
	})
	if err != nil {
		return 0, fmt.Errorf("list uploads of bucket %s: %w", bucket, err)
	}

	for i, u := range out.Uploads {
		key, err := decode(aws.ToString(u.Key), out.EncodingType)
		if err != nil {
			return i, fmt.Errorf("list uploads of bucket %s: %w", bucket, err)
		}

		_, err = b.s3.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
			Bucket: &bucket, ExpectedBucketOwner: &c.Owner.Account, Key: &key, UploadId: u.UploadId,
		})
		if err != nil && awserr.Code(err) != "NoSuchUpload" {
			return i, fmt.Errorf("abort upload to bucket %s: %w", bucket, err)
		}
	}

	return len(out.Uploads), nil
}

// decode undoes S3's URL encoding, where the answer says that it has been applied; the SDK leaves that to its caller.
func decode(key string, encoding types.EncodingType) (string, error) {
	if encoding != types.EncodingTypeUrl {
		return key, nil
	}

	return url.QueryUnescape(key)
}

// legal tells whether a key can stand in XML as it is. One that cannot would name another object in DeleteObjects, or fail the call for all.
func legal(key string) bool {
	return utf8.ValidString(key) && !strings.ContainsFunc(key, func(r rune) bool {
		return r < ' ' || r == utf8.RuneError || r == 0xFFFE || r == 0xFFFF
	})
}
