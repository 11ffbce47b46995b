// Package bucket makes the S3 bucket that Metaflow keeps its data in: no public access, no ACLs, TLS only, encrypted, versioned, with a lifecycle that
// clears old versions away.
//
// It is the one kind that holds what people put in, so its removal may leave it behind on purpose. It must not know Metaflow's key layout nor who reads
// the bucket: access is the job role's business.
package bucket

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// api is what this kind calls.
type api interface {
	HeadBucket(ctx context.Context, in *s3.HeadBucketInput, opts ...func(*s3.Options)) (*s3.HeadBucketOutput, error)
	CreateBucket(ctx context.Context, in *s3.CreateBucketInput, opts ...func(*s3.Options)) (*s3.CreateBucketOutput, error)
	DeleteBucket(ctx context.Context, in *s3.DeleteBucketInput, opts ...func(*s3.Options)) (*s3.DeleteBucketOutput, error)

	GetBucketTagging(ctx context.Context, in *s3.GetBucketTaggingInput, opts ...func(*s3.Options)) (*s3.GetBucketTaggingOutput, error)
	PutBucketTagging(ctx context.Context, in *s3.PutBucketTaggingInput, opts ...func(*s3.Options)) (*s3.PutBucketTaggingOutput, error)
	GetBucketOwnershipControls(ctx context.Context, in *s3.GetBucketOwnershipControlsInput, opts ...func(*s3.Options)) (*s3.GetBucketOwnershipControlsOutput, error)
	PutBucketOwnershipControls(ctx context.Context, in *s3.PutBucketOwnershipControlsInput, opts ...func(*s3.Options)) (*s3.PutBucketOwnershipControlsOutput, error)
	GetPublicAccessBlock(ctx context.Context, in *s3.GetPublicAccessBlockInput, opts ...func(*s3.Options)) (*s3.GetPublicAccessBlockOutput, error)
	PutPublicAccessBlock(ctx context.Context, in *s3.PutPublicAccessBlockInput, opts ...func(*s3.Options)) (*s3.PutPublicAccessBlockOutput, error)
	GetBucketEncryption(ctx context.Context, in *s3.GetBucketEncryptionInput, opts ...func(*s3.Options)) (*s3.GetBucketEncryptionOutput, error)
	PutBucketEncryption(ctx context.Context, in *s3.PutBucketEncryptionInput, opts ...func(*s3.Options)) (*s3.PutBucketEncryptionOutput, error)
	GetBucketVersioning(ctx context.Context, in *s3.GetBucketVersioningInput, opts ...func(*s3.Options)) (*s3.GetBucketVersioningOutput, error)
	PutBucketVersioning(ctx context.Context, in *s3.PutBucketVersioningInput, opts ...func(*s3.Options)) (*s3.PutBucketVersioningOutput, error)
	GetBucketLifecycleConfiguration(ctx context.Context, in *s3.GetBucketLifecycleConfigurationInput, opts ...func(*s3.Options)) (*s3.GetBucketLifecycleConfigurationOutput, error)
	PutBucketLifecycleConfiguration(ctx context.Context, in *s3.PutBucketLifecycleConfigurationInput, opts ...func(*s3.Options)) (*s3.PutBucketLifecycleConfigurationOutput, error)
	GetBucketPolicy(ctx context.Context, in *s3.GetBucketPolicyInput, opts ...func(*s3.Options)) (*s3.GetBucketPolicyOutput, error)
	PutBucketPolicy(ctx context.Context, in *s3.PutBucketPolicyInput, opts ...func(*s3.Options)) (*s3.PutBucketPolicyOutput, error)
	DeleteBucketPolicy(ctx context.Context, in *s3.DeleteBucketPolicyInput, opts ...func(*s3.Options)) (*s3.DeleteBucketPolicyOutput, error)

	ListObjectVersions(ctx context.Context, in *s3.ListObjectVersionsInput, opts ...func(*s3.Options)) (*s3.ListObjectVersionsOutput, error)
	DeleteObjects(ctx context.Context, in *s3.DeleteObjectsInput, opts ...func(*s3.Options)) (*s3.DeleteObjectsOutput, error)
	DeleteObject(ctx context.Context, in *s3.DeleteObjectInput, opts ...func(*s3.Options)) (*s3.DeleteObjectOutput, error)
	ListMultipartUploads(ctx context.Context, in *s3.ListMultipartUploadsInput, opts ...func(*s3.Options)) (*s3.ListMultipartUploadsOutput, error)
	ListBuckets(ctx context.Context, in *s3.ListBucketsInput, opts ...func(*s3.Options)) (*s3.ListBucketsOutput, error)
	AbortMultipartUpload(ctx context.Context, in *s3.AbortMultipartUploadInput, opts ...func(*s3.Options)) (*s3.AbortMultipartUploadOutput, error)
}

// Bucket is the kind.
type Bucket struct{ s3 api }

// New takes the S3 client.
func New(client api) *Bucket { return &Bucket{s3: client} }

// name is the kind's name, which is also the ref: a deployment has one bucket.
const name = "bucket"

// About implements kind.Kind.
func (*Bucket) About() kind.About {
	return kind.About{
		ForLife: true,
		Name:    name, Family: "s3", Component: "storage", Settings: deploy.Storage{}, HoldsData: true,
		Doc: "The S3 bucket that Metaflow keeps its data in.",
		// Jobs write to it until the last queue and instance are gone.
		RemoveAfter: []string{"job-queue", "compute-environment"},
		Ensuring:    kind.Timing{Typical: 3 * time.Second, Deadline: 5 * time.Minute},
		// Counted from the last progress: a purge takes as long as there are objects.
		Removing: kind.Timing{Typical: 3 * time.Second, Deadline: 30 * time.Minute},
	}
}

// Plan asks for a bucket always.
func (*Bucket) Plan(spec deploy.Spec) []kind.Item {
	if e := spec.Storage.Existing; e != nil {
		return []kind.Item{{Ref: name, Existing: e.Bucket, Pointer: "/spec/storage/existing/bucket"}}
	}

	return []kind.Item{{Ref: name, Pointer: "/spec/storage"}}
}

// Ensure implements kind.Kind. A bucket that an earlier delete of this deployment kept is taken up again: Origin becomes Reused.
func (b *Bucket) Ensure(ctx context.Context, c *kind.Call) (kind.Result, error) {
	bucket, _ := c.Owner.Bucket(c.Spec)

	_, err := kind.Repeatable(ctx, c, func(ctx context.Context) (string, error) { return b.find(ctx, c, bucket) },
		func(ctx context.Context) (string, error) { return bucket, b.create(ctx, c, bucket) })
	if err != nil {
		return kind.Result{}, err
	}

	// Read back even after our own create: in us-east-1 CreateBucket succeeds for a bucket that the account has already.
	// A bucket's configuration shows later than the bucket (S3 user guide, "Amazon S3 data consistency model").
	tags, err := b.tags(ctx, c, bucket)
	if err != nil {
		return kind.Result{Waiting: "the bucket to appear"}, awserr.IgnoreGone(err)
	}

	if !c.Owns(tags) {
		if len(tags) == 0 && c.Unsure() {
			return kind.Result{Waiting: "the bucket's tags to appear"}, nil
		}

		return kind.Result{}, c.Foreign("bucket", bucket)
	}

	if _, kept := tags[deploy.TagKept]; kept && c.Origin != deploy.Reused {
		// Recorded before the tag goes, so that a rollback leaves the bucket whatever happens in between.
		c.Origin = deploy.Reused

		if err := c.Save(ctx); err != nil {
			return kind.Result{}, err
		}
	}

	return b.apply(ctx, c, bucket, tags)
}

func (b *Bucket) apply(ctx context.Context, c *kind.Call, bucket string, tags map[string]string) (kind.Result, error) {
	result := kind.Result{ID: bucket, ARN: arn(c, bucket), Outputs: outputs(bucket), Waiting: "the bucket's settings"}

	changes, err := b.changes(ctx, c, bucket, tags)
	if err != nil {
		return result, awserr.IgnoreGone(err)
	}

	// One after the other: concurrent writes of a bucket's configuration collide with OperationAborted.
	for _, change := range changes {
		if err := change.put(ctx); err != nil {
			return result, awserr.IgnoreGone(fmt.Errorf("set %s of bucket %s: %w", change.Property, bucket, err))
		}
	}

	// All was read before, and S3 has acknowledged what was not as wanted.
	result.Done, result.Waiting = true, ""

	return result, nil
}

func (b *Bucket) create(ctx context.Context, c *kind.Call, bucket string) error {
	in := &s3.CreateBucketInput{
		Bucket: aws.String(bucket), ObjectOwnership: types.ObjectOwnershipBucketOwnerEnforced,
		CreateBucketConfiguration: &types.CreateBucketConfiguration{Tags: tagList(c.Tags())},
	}

	// us-east-1 is the one Region that must not be named (API reference, CreateBucket: IllegalLocationConstraintException, InvalidLocationConstraint).
	if c.Owner.Region != "us-east-1" {
		in.CreateBucketConfiguration.LocationConstraint = types.BucketLocationConstraint(c.Owner.Region)
	}

	_, err := b.s3.CreateBucket(ctx, in)

	switch awserr.Code(err) {
	case "BucketAlreadyOwnedByYou":
		return nil // by an earlier attempt or by somebody else of the account: the tags tell
	case "BucketAlreadyExists":
		return c.Foreign("bucket", bucket)
	}

	if err != nil {
		return fmt.Errorf("create bucket %s: %w", bucket, err)
	}

	return nil
}

// Remove implements kind.Kind. Of a bucket that we made, Data decides: Purge deletes whatever is in it and then the bucket; IfEmpty deletes it if it holds
// nothing at all, not even an old version, and was not there before this operation; anything else keeps it, marked as kept.
func (b *Bucket) Remove(ctx context.Context, c *kind.Call) (kind.Result, error) {
	bucket, _ := c.Owner.Bucket(c.Spec)

	at, err := b.locate(ctx, c, bucket)
	if err != nil {
		return kind.Result{}, err
	}

	switch at.state {
	case absent:
		return kind.Result{Done: !c.Unsure(), Waiting: "to be sure that no bucket was made"}, nil
	case closed, elsewhere:
		// Never asked for, or refused: somebody else's. What may be ours and is closed now is a refusal that a person must lift, not a bucket that is gone.
		if c.ID == "" && !c.Tried() {
			return kind.Result{Done: true}, nil
		}

		return kind.Result{}, at.err
	case here:
	}

	tags, err := b.tags(ctx, c, bucket)
	if err != nil {
		return kind.Result{Waiting: "deleting"}, awserr.IgnoreGone(err)
	}

	if !c.Owns(tags) {
		if len(tags) == 0 && c.Unsure() {
			return kind.Result{Waiting: "the bucket's tags to appear"}, nil
		}

		return kind.Result{Done: true}, nil
	}

	_, kept := tags[deploy.TagKept]

	switch {
	case c.Data == deploy.Purge:
		return b.purge(ctx, c, bucket)
	case kept:
		return kind.Result{Done: true, Kept: true, ID: bucket, ARN: arn(c, bucket)}, nil
	case c.Data == deploy.IfEmpty && c.Origin != deploy.Reused:
		return b.removeIfEmpty(ctx, c, bucket, tags)
	default:
		return b.keep(ctx, c, bucket, tags)
	}
}

// keep marks the bucket; the next look finds the mark and ends the step.
func (b *Bucket) keep(ctx context.Context, c *kind.Call, bucket string, tags map[string]string) (kind.Result, error) {
	tags[deploy.TagKept] = "true"

	result := kind.Result{ID: bucket, ARN: arn(c, bucket), Waiting: "the mark that the bucket is kept"}

	if err := b.putTags(ctx, c, bucket, tags); err != nil {
		return result, awserr.IgnoreGone(fmt.Errorf("tag bucket %s as kept: %w", bucket, err))
	}

	return result, nil
}

// Observe implements kind.Kind.
func (b *Bucket) Observe(ctx context.Context, c *kind.Call) (kind.Observation, error) {
	bucket, _ := c.Owner.Bucket(c.Spec)

	at, err := b.locate(ctx, c, bucket)
	if err != nil || at.state == absent {
		return kind.Observation{State: kind.Absent}, err
	}

	obs := kind.Observation{State: kind.Ready, ID: bucket, ARN: arn(c, bucket), Outputs: outputs(bucket)}

	if c.Existing != "" {
		if problem := at.problem(c); problem != nil {
			obs.State, obs.Problems = kind.Failed, []deploy.Finding{problem.At(c.Pointer).Finding()}
		}

		return obs, nil
	}

	if at.state != here {
		return kind.Observation{State: kind.Absent}, nil
	}

	tags, err := b.tags(ctx, c, bucket)
	if awserr.Gone(err) || err == nil && !c.Owns(tags) {
		return kind.Observation{State: kind.Absent}, nil
	}

	if err != nil {
		return kind.Observation{}, err
	}

	changes, err := b.changes(ctx, c, bucket, tags)
	if err != nil {
		return kind.Observation{}, err
	}

	for _, change := range changes {
		obs.Differences = append(obs.Differences, change.Difference)
	}

	return obs, nil
}

// Check implements kind.Checker: an existing bucket that is there, in this Region, and the caller's to use; or a name that is free. The quota of buckets is
// far away.
func (b *Bucket) Check(ctx context.Context, c *kind.Call) ([]deploy.Finding, error) {
	if c.Existing == "" {
		return b.vacant(ctx, c)
	}

	findings, err := kind.CheckExisting(ctx, b, c, "bucket")
	if err != nil || len(findings) > 0 {
		return findings, err
	}

	tags, err := b.tags(ctx, c, c.Existing)
	if err != nil {
		return nil, err
	}

	return kind.Allowed(c, "bucket", deploy.GrantBucket, tags), nil
}

// place is what HeadBucket tells: it has no body, so the status is all there is.
type place struct {
	state  placeState
	region string
	err    error
}

type placeState int

const (
	absent placeState = iota
	here
	// closed: another account's, or ours and we may not look at it; S3 answers 403 to both.
	closed
	// elsewhere: in another Region, of whatever account.
	elsewhere
)

// locate asks for the bucket as this account's own. The SDK's BucketExists waiter will not do: it takes 403 and 301 for success.
func (b *Bucket) locate(ctx context.Context, c *kind.Call, bucket string) (place, error) {
	out, err := b.s3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: aws.String(bucket), ExpectedBucketOwner: aws.String(c.Owner.Account)})
	if err == nil {
		if region := aws.ToString(out.BucketRegion); region != "" && region != c.Owner.Region {
			return place{state: elsewhere, region: region, err: fmt.Errorf("look at bucket %s: it is in %s", bucket, region)}, nil
		}

		return place{state: here}, nil
	}

	err = fmt.Errorf("look at bucket %s: %w", bucket, err)

	switch {
	case awserr.Gone(err):
		return place{state: absent}, nil
	case awserr.Code(err) == "MovedPermanently", awserr.Code(err) == "PermanentRedirect":
		at := place{state: elsewhere, err: err}
		if r, ok := errors.AsType[*awshttp.ResponseError](err); ok && r.Response != nil {
			at.region = r.Response.Header.Get("X-Amz-Bucket-Region")
		}

		return at, nil
	case awserr.Is(err, deploy.Denied):
		return place{state: closed, err: err}, nil
	}

	return place{}, err
}

// problem says why an existing bucket cannot be used, or nil.
func (p place) problem(c *kind.Call) *deploy.Error {
	switch p.state {
	case closed:
		return deploy.Errorf(deploy.Denied, "existing_unusable", "Bucket %s is another account's, or its policy shuts this service out.", c.Existing).
			WithRemedy("Name a bucket of this account whose policy lets the account list it.")
	case elsewhere:
		where := p.region
		if where == "" {
			where = "another Region"
		}

		return deploy.Errorf(deploy.Invalid, "existing_unusable", "Bucket %s is in %s; this installation works in %s.", c.Existing, where, c.Owner.Region).
			WithRemedy("Name a bucket in %s.", c.Owner.Region)
	case absent, here:
	}

	return nil
}

// find returns the name where the bucket is here, and an empty one where the name is free.
func (b *Bucket) find(ctx context.Context, c *kind.Call, bucket string) (string, error) {
	at, err := b.locate(ctx, c, bucket)
	if err != nil || at.state == absent {
		return "", err
	}

	if at.state == here {
		return bucket, nil
	}

	// One that was ours and is closed now is told as AWS tells it.
	if c.ID != "" {
		return "", at.err
	}

	return "", c.Foreign("bucket", bucket)
}

func arn(c *kind.Call, bucket string) string { return c.Owner.ARN("s3", "", "", bucket) }

func outputs(bucket string) map[string]string { return map[string]string{"name": bucket} }
