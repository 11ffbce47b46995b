package awsfake

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// S3 is the fake of the service, as far as the bucket kind calls it and a test fills it.
type S3 struct {
	// Lag is how long after its creation a bucket's configuration cannot be read or written: NoSuchBucket. S3 user guide, "Amazon S3 data consistency
	// model": bucket configurations have an eventual consistency model.
	Lag time.Duration

	w       *World
	buckets map[string]*bucket
}

type bucket struct {
	name, account, region string
	created               time.Time

	tags       map[string]string
	ownership  types.ObjectOwnership
	block      *types.PublicAccessBlockConfiguration
	encryption *types.ServerSideEncryptionConfiguration
	versioning types.BucketVersioningStatus
	rules      []types.LifecycleRule
	transition types.TransitionDefaultMinimumObjectSize
	policy     string

	versions []version
	uploads  []upload
}

// version is an object's version or a delete marker. The newest of a key stands last.
type version struct {
	key, id string
	marker  bool
	locked  bool
}

type upload struct{ key, id string }

func newS3(w *World) *S3 { return &S3{w: w, buckets: map[string]*bucket{}} }

// Put makes a bucket that is there already: another account's, in another Region, or somebody's of this account. It is not a call of AWS.
func (s *S3) Put(name, account, region string, tags map[string]string) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()

	s.buckets[name] = s.fresh(name, account, region, tags)
}

// Lock puts a legal hold on every version of an object. It is not a call of AWS.
func (s *S3) Lock(bucket, key string, locked bool) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()

	for i := range s.buckets[bucket].versions {
		if v := &s.buckets[bucket].versions[i]; v.key == key {
			v.locked = locked
		}
	}
}

// Buckets lists the names of this account's buckets. It is not a call of AWS.
func (s *S3) Buckets() []string {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()

	var names []string

	for _, b := range sorted(s.buckets) {
		if b.account == s.w.Account {
			names = append(names, b.name)
		}
	}

	return names
}

// fresh is a bucket as S3 makes them since 2023: SSE-S3, public access blocked, ACLs off. S3 user guide, "Default settings for new S3 buckets".
func (s *S3) fresh(name, account, region string, tags map[string]string) *bucket {
	return &bucket{
		name: name, account: account, region: region, tags: tags, created: s.w.Now(), ownership: types.ObjectOwnershipBucketOwnerEnforced,
		block: &types.PublicAccessBlockConfiguration{
			BlockPublicAcls: aws.Bool(true), IgnorePublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(true), RestrictPublicBuckets: aws.Bool(true),
		},
		encryption: &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{
			{ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAes256}},
		}},
	}
}

// HeadBucket answers with a status and no body: 404, 403 for another owner than expected, 301 for another Region. API reference, HeadBucket.
func (s *S3) HeadBucket(ctx context.Context, in *s3.HeadBucketInput, _ ...func(*s3.Options)) (*s3.HeadBucketOutput, error) {
	return do(ctx, s.w, "s3", "HeadBucket", in, func() (*s3.HeadBucketOutput, error) {
		b := s.buckets[aws.ToString(in.Bucket)]

		switch {
		case b == nil:
			return nil, &types.NotFound{}
		case !s.open(b, in.ExpectedBucketOwner):
			return nil, refuse("Forbidden", "Forbidden")
		case b.region != s.w.Region:
			return nil, moved(b.region, "MovedPermanently")
		}

		return &s3.HeadBucketOutput{BucketRegion: aws.String(b.region)}, nil
	})
}

// CreateBucket of a name that the account has: 200 in us-east-1, BucketAlreadyOwnedByYou elsewhere; of another account's: BucketAlreadyExists. us-east-1
// must not be named as a constraint, and every other Region must. API reference, CreateBucket.
func (s *S3) CreateBucket(ctx context.Context, in *s3.CreateBucketInput, _ ...func(*s3.Options)) (*s3.CreateBucketOutput, error) {
	return do(ctx, s.w, "s3", "CreateBucket", in, func() (*s3.CreateBucketOutput, error) {
		name, configuration := aws.ToString(in.Bucket), in.CreateBucketConfiguration
		if configuration == nil {
			configuration = &types.CreateBucketConfiguration{}
		}

		constraint := string(configuration.LocationConstraint)

		switch {
		case len(name) < 3 || len(name) > 63 || !spelled(name, ".-") || !spelled(name[:1]+name[len(name)-1:], "") || name != strings.ToLower(name):
			return nil, refuse("InvalidBucketName", "The specified bucket is not valid.")
		case constraint == "us-east-1":
			return nil, refuse("InvalidLocationConstraint", "The specified location-constraint is not valid")
		case constraint == "" && s.w.Region != "us-east-1", constraint != "" && constraint != s.w.Region:
			return nil, refuse("IllegalLocationConstraintException", "The %s location constraint is incompatible for the region specific endpoint this request was sent to.", cmp.Or(constraint, "unspecified"))
		}

		if b := s.buckets[name]; b != nil {
			switch {
			case b.account != s.w.Account:
				return nil, &types.BucketAlreadyExists{}
			case s.w.Region != "us-east-1":
				return nil, &types.BucketAlreadyOwnedByYou{}
			}

			return &s3.CreateBucketOutput{Location: aws.String("/" + name)}, nil
		}

		b := s.fresh(name, s.w.Account, s.w.Region, s3Tags(configuration.Tags))
		b.ownership = cmp.Or(in.ObjectOwnership, b.ownership)
		s.buckets[name] = b

		return &s3.CreateBucketOutput{Location: aws.String("/" + name)}, nil
	})
}

// ListBuckets lists the account's own, of one Region where asked for, and pages where MaxBuckets is set. API reference, ListBuckets.
func (s *S3) ListBuckets(ctx context.Context, in *s3.ListBucketsInput, _ ...func(*s3.Options)) (*s3.ListBucketsOutput, error) {
	return do(ctx, s.w, "s3", "ListBuckets", in, func() (*s3.ListBucketsOutput, error) {
		out := &s3.ListBucketsOutput{}

		for _, b := range sorted(s.buckets) {
			region := aws.ToString(in.BucketRegion)
			if b.account != s.w.Account || region != "" && region != b.region || b.name <= aws.ToString(in.ContinuationToken) {
				continue
			}

			// Fewer than MaxBuckets may come at once.
			if in.MaxBuckets != nil && len(out.Buckets) == 2 {
				out.ContinuationToken = out.Buckets[1].Name

				break
			}

			out.Buckets = append(out.Buckets, types.Bucket{Name: aws.String(b.name), BucketRegion: aws.String(b.region), CreationDate: aws.Time(b.created)})
		}

		return out, nil
	})
}

// DeleteBucket refuses while there is any version or delete marker; unfinished uploads do not count. S3 user guide, "Deleting a general purpose bucket".
func (s *S3) DeleteBucket(ctx context.Context, in *s3.DeleteBucketInput, _ ...func(*s3.Options)) (*s3.DeleteBucketOutput, error) {
	return on(ctx, s, "DeleteBucket", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.DeleteBucketOutput, error) {
		if len(b.versions) > 0 {
			return nil, refuse("BucketNotEmpty", "The bucket you tried to delete is not empty. You must delete all versions in the bucket.")
		}

		delete(s.buckets, b.name)

		return &s3.DeleteBucketOutput{}, nil
	})
}

// GetBucketTagging answers NoSuchTagSet for none. API reference, GetBucketTagging.
func (s *S3) GetBucketTagging(ctx context.Context, in *s3.GetBucketTaggingInput, _ ...func(*s3.Options)) (*s3.GetBucketTaggingOutput, error) {
	return on(ctx, s, "GetBucketTagging", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.GetBucketTaggingOutput, error) {
		if len(b.tags) == 0 {
			return nil, refuse("NoSuchTagSet", "The TagSet does not exist")
		}

		out := &s3.GetBucketTaggingOutput{}
		for _, k := range sortedKeys(b.tags) {
			out.TagSet = append(out.TagSet, types.Tag{Key: aws.String(k), Value: aws.String(b.tags[k])})
		}

		return out, nil
	})
}

// PutBucketTagging replaces the whole set. API reference, PutBucketTagging.
func (s *S3) PutBucketTagging(ctx context.Context, in *s3.PutBucketTaggingInput, _ ...func(*s3.Options)) (*s3.PutBucketTaggingOutput, error) {
	return on(ctx, s, "PutBucketTagging", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.PutBucketTaggingOutput, error) {
		if len(in.Tagging.TagSet) > 50 {
			return nil, refuse("BadRequest", "Bucket tag count cannot be greater than 50")
		}

		b.tags = s3Tags(in.Tagging.TagSet)

		return &s3.PutBucketTaggingOutput{}, nil
	})
}

// GetBucketOwnershipControls answers OwnershipControlsNotFoundError for none. API reference, GetBucketOwnershipControls.
func (s *S3) GetBucketOwnershipControls(ctx context.Context, in *s3.GetBucketOwnershipControlsInput, _ ...func(*s3.Options)) (*s3.GetBucketOwnershipControlsOutput, error) {
	return on(ctx, s, "GetBucketOwnershipControls", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.GetBucketOwnershipControlsOutput, error) {
		if b.ownership == "" {
			return nil, refuse("OwnershipControlsNotFoundError", "The bucket ownership controls were not found")
		}

		return &s3.GetBucketOwnershipControlsOutput{OwnershipControls: &types.OwnershipControls{Rules: []types.OwnershipControlsRule{{ObjectOwnership: b.ownership}}}}, nil
	})
}

// PutBucketOwnershipControls takes one rule; an empty one stands for DeleteBucketOwnershipControls in tests.
func (s *S3) PutBucketOwnershipControls(ctx context.Context, in *s3.PutBucketOwnershipControlsInput, _ ...func(*s3.Options)) (*s3.PutBucketOwnershipControlsOutput, error) {
	return on(ctx, s, "PutBucketOwnershipControls", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.PutBucketOwnershipControlsOutput, error) {
		b.ownership = in.OwnershipControls.Rules[0].ObjectOwnership

		return &s3.PutBucketOwnershipControlsOutput{}, nil
	})
}

// GetPublicAccessBlock answers NoSuchPublicAccessBlockConfiguration for none. API reference, GetPublicAccessBlock.
func (s *S3) GetPublicAccessBlock(ctx context.Context, in *s3.GetPublicAccessBlockInput, _ ...func(*s3.Options)) (*s3.GetPublicAccessBlockOutput, error) {
	return on(ctx, s, "GetPublicAccessBlock", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.GetPublicAccessBlockOutput, error) {
		if b.block == nil {
			return nil, refuse("NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found")
		}

		return &s3.GetPublicAccessBlockOutput{PublicAccessBlockConfiguration: b.block}, nil
	})
}

// PutPublicAccessBlock replaces all four.
func (s *S3) PutPublicAccessBlock(ctx context.Context, in *s3.PutPublicAccessBlockInput, _ ...func(*s3.Options)) (*s3.PutPublicAccessBlockOutput, error) {
	return on(ctx, s, "PutPublicAccessBlock", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.PutPublicAccessBlockOutput, error) {
		b.block = in.PublicAccessBlockConfiguration

		return &s3.PutPublicAccessBlockOutput{}, nil
	})
}

// DeletePublicAccessBlock takes all four away.
func (s *S3) DeletePublicAccessBlock(ctx context.Context, in *s3.DeletePublicAccessBlockInput, _ ...func(*s3.Options)) (*s3.DeletePublicAccessBlockOutput, error) {
	return on(ctx, s, "DeletePublicAccessBlock", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.DeletePublicAccessBlockOutput, error) {
		b.block = nil

		return &s3.DeletePublicAccessBlockOutput{}, nil
	})
}

// GetBucketEncryption always has an answer since January 2023. API reference, GetBucketEncryption.
func (s *S3) GetBucketEncryption(ctx context.Context, in *s3.GetBucketEncryptionInput, _ ...func(*s3.Options)) (*s3.GetBucketEncryptionOutput, error) {
	return on(ctx, s, "GetBucketEncryption", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.GetBucketEncryptionOutput, error) {
		return &s3.GetBucketEncryptionOutput{ServerSideEncryptionConfiguration: b.encryption}, nil
	})
}

// PutBucketEncryption replaces the configuration.
func (s *S3) PutBucketEncryption(ctx context.Context, in *s3.PutBucketEncryptionInput, _ ...func(*s3.Options)) (*s3.PutBucketEncryptionOutput, error) {
	return on(ctx, s, "PutBucketEncryption", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.PutBucketEncryptionOutput, error) {
		b.encryption = in.ServerSideEncryptionConfiguration

		return &s3.PutBucketEncryptionOutput{}, nil
	})
}

// GetBucketVersioning answers an empty status for a bucket that never had it. API reference, GetBucketVersioning.
func (s *S3) GetBucketVersioning(ctx context.Context, in *s3.GetBucketVersioningInput, _ ...func(*s3.Options)) (*s3.GetBucketVersioningOutput, error) {
	return on(ctx, s, "GetBucketVersioning", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.GetBucketVersioningOutput, error) {
		return &s3.GetBucketVersioningOutput{Status: b.versioning}, nil
	})
}

// PutBucketVersioning enables or suspends.
func (s *S3) PutBucketVersioning(ctx context.Context, in *s3.PutBucketVersioningInput, _ ...func(*s3.Options)) (*s3.PutBucketVersioningOutput, error) {
	return on(ctx, s, "PutBucketVersioning", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.PutBucketVersioningOutput, error) {
		b.versioning = in.VersioningConfiguration.Status

		return &s3.PutBucketVersioningOutput{}, nil
	})
}

// GetBucketLifecycleConfiguration answers NoSuchLifecycleConfiguration for none. API reference, GetBucketLifecycleConfiguration.
func (s *S3) GetBucketLifecycleConfiguration(ctx context.Context, in *s3.GetBucketLifecycleConfigurationInput, _ ...func(*s3.Options)) (*s3.GetBucketLifecycleConfigurationOutput, error) {
	return on(ctx, s, "GetBucketLifecycleConfiguration", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.GetBucketLifecycleConfigurationOutput, error) {
		if len(b.rules) == 0 {
			return nil, refuse("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")
		}

		return &s3.GetBucketLifecycleConfigurationOutput{Rules: slices.Clone(b.rules), TransitionDefaultMinimumObjectSize: b.transition}, nil
	})
}

// PutBucketLifecycleConfiguration replaces all rules, and resets the default size for transitions unless it is given. API reference,
// PutBucketLifecycleConfiguration.
func (s *S3) PutBucketLifecycleConfiguration(ctx context.Context, in *s3.PutBucketLifecycleConfigurationInput, _ ...func(*s3.Options)) (*s3.PutBucketLifecycleConfigurationOutput, error) {
	return on(ctx, s, "PutBucketLifecycleConfiguration", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.PutBucketLifecycleConfigurationOutput, error) {
		ids := map[string]bool{}

		for _, r := range in.LifecycleConfiguration.Rules {
			if ids[aws.ToString(r.ID)] {
				return nil, refuse("InvalidArgument", "Rule ID must be unique. Found same ID for more than one rule")
			}

			ids[aws.ToString(r.ID)] = true

			if e := r.Expiration; e != nil && e.ExpiredObjectDeleteMarker != nil && (e.Days != nil || e.Date != nil) {
				return nil, refuse("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
			}
		}

		b.rules = slices.Clone(in.LifecycleConfiguration.Rules)
		b.transition = cmp.Or(in.TransitionDefaultMinimumObjectSize, types.TransitionDefaultMinimumObjectSizeAllStorageClasses128k)

		return &s3.PutBucketLifecycleConfigurationOutput{TransitionDefaultMinimumObjectSize: b.transition}, nil
	})
}

// DeleteBucketLifecycle removes every rule.
func (s *S3) DeleteBucketLifecycle(ctx context.Context, in *s3.DeleteBucketLifecycleInput, _ ...func(*s3.Options)) (*s3.DeleteBucketLifecycleOutput, error) {
	return on(ctx, s, "DeleteBucketLifecycle", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.DeleteBucketLifecycleOutput, error) {
		b.rules = nil

		return &s3.DeleteBucketLifecycleOutput{}, nil
	})
}

// GetBucketPolicy answers NoSuchBucketPolicy for none. API reference, GetBucketPolicy.
func (s *S3) GetBucketPolicy(ctx context.Context, in *s3.GetBucketPolicyInput, _ ...func(*s3.Options)) (*s3.GetBucketPolicyOutput, error) {
	return on(ctx, s, "GetBucketPolicy", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.GetBucketPolicyOutput, error) {
		if b.policy == "" {
			return nil, refuse("NoSuchBucketPolicy", "The bucket policy does not exist")
		}

		return &s3.GetBucketPolicyOutput{Policy: aws.String(b.policy)}, nil
	})
}

// PutBucketPolicy replaces the document. API reference, PutBucketPolicy.
func (s *S3) PutBucketPolicy(ctx context.Context, in *s3.PutBucketPolicyInput, _ ...func(*s3.Options)) (*s3.PutBucketPolicyOutput, error) {
	return on(ctx, s, "PutBucketPolicy", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.PutBucketPolicyOutput, error) {
		if !json.Valid([]byte(aws.ToString(in.Policy))) {
			return nil, refuse("MalformedPolicy", "Policies must be valid JSON and the first byte must be '{'")
		}

		b.policy = aws.ToString(in.Policy)

		return &s3.PutBucketPolicyOutput{}, nil
	})
}

// DeleteBucketPolicy succeeds also where there is none. API reference, DeleteBucketPolicy.
func (s *S3) DeleteBucketPolicy(ctx context.Context, in *s3.DeleteBucketPolicyInput, _ ...func(*s3.Options)) (*s3.DeleteBucketPolicyOutput, error) {
	return on(ctx, s, "DeleteBucketPolicy", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.DeleteBucketPolicyOutput, error) {
		b.policy = ""

		return &s3.DeleteBucketPolicyOutput{}, nil
	})
}

// PutObject adds a version; without versioning it replaces the one there is. S3 user guide, "How S3 Versioning works".
func (s *S3) PutObject(ctx context.Context, in *s3.PutObjectInput, _ ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	return on(ctx, s, "PutObject", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.PutObjectOutput, error) {
		id := s.add(b, aws.ToString(in.Key), false)

		return &s3.PutObjectOutput{VersionId: aws.String(id)}, nil
	})
}

// DeleteObject of a version deletes it for good; without one, a versioned bucket gets a delete marker. S3 user guide, "Deleting object versions".
func (s *S3) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput, _ ...func(*s3.Options)) (*s3.DeleteObjectOutput, error) {
	return on(ctx, s, "DeleteObject", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.DeleteObjectOutput, error) {
		if refused := s.deleteVersion(b, aws.ToString(in.Key), in.VersionId); refused != "" {
			return nil, refuse(refused, "Access Denied because object protected by object lock.")
		}

		return &s3.DeleteObjectOutput{}, nil
	})
}

// DeleteObjects takes up to 1,000 keys as XML, answers 200 and tells in Errors what it did not delete. API reference, DeleteObjects.
func (s *S3) DeleteObjects(ctx context.Context, in *s3.DeleteObjectsInput, _ ...func(*s3.Options)) (*s3.DeleteObjectsOutput, error) {
	return on(ctx, s, "DeleteObjects", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.DeleteObjectsOutput, error) {
		if n := len(in.Delete.Objects); n == 0 || n > 1000 {
			return nil, refuse("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
		}

		out := &s3.DeleteObjectsOutput{}

		for _, o := range in.Delete.Objects {
			if !fitsXML(aws.ToString(o.Key)) {
				return nil, refuse("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
			}

			if refused := s.deleteVersion(b, aws.ToString(o.Key), o.VersionId); refused != "" {
				out.Errors = append(out.Errors, types.Error{Key: o.Key, VersionId: o.VersionId, Code: aws.String(refused), Message: aws.String("Access Denied because object protected by object lock.")})
			} else if !aws.ToBool(in.Delete.Quiet) {
				out.Deleted = append(out.Deleted, types.DeletedObject{Key: o.Key, VersionId: o.VersionId})
			}
		}

		return out, nil
	})
}

// ListObjectVersions lists versions and markers together, up to 1,000, keys in order and the newest version first. API reference, ListObjectVersions.
func (s *S3) ListObjectVersions(ctx context.Context, in *s3.ListObjectVersionsInput, _ ...func(*s3.Options)) (*s3.ListObjectVersionsOutput, error) {
	return on(ctx, s, "ListObjectVersions", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.ListObjectVersionsOutput, error) {
		list := slices.Clone(b.versions)
		slices.Reverse(list)
		slices.SortStableFunc(list, func(x, y version) int { return strings.Compare(x.key, y.key) })

		limit := int(aws.ToInt32(in.MaxKeys))
		if limit == 0 || limit > 1000 {
			limit = 1000
		}

		out := &s3.ListObjectVersionsOutput{EncodingType: in.EncodingType, IsTruncated: aws.Bool(len(list) > limit)}

		for _, v := range list[:min(limit, len(list))] {
			key, err := encodeKey(v.key, in.EncodingType)
			if err != nil {
				return nil, err
			}

			if v.marker {
				out.DeleteMarkers = append(out.DeleteMarkers, types.DeleteMarkerEntry{Key: &key, VersionId: aws.String(v.id)})
			} else {
				out.Versions = append(out.Versions, types.ObjectVersion{Key: &key, VersionId: aws.String(v.id)})
			}
		}

		return out, nil
	})
}

// CreateMultipartUpload begins an upload that lies about until it is completed or aborted.
func (s *S3) CreateMultipartUpload(ctx context.Context, in *s3.CreateMultipartUploadInput, _ ...func(*s3.Options)) (*s3.CreateMultipartUploadOutput, error) {
	return on(ctx, s, "CreateMultipartUpload", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.CreateMultipartUploadOutput, error) {
		u := upload{key: aws.ToString(in.Key), id: s.w.id("upload")}
		b.uploads = append(b.uploads, u)

		return &s3.CreateMultipartUploadOutput{UploadId: aws.String(u.id)}, nil
	})
}

// ListMultipartUploads lists up to MaxUploads. API reference, ListMultipartUploads.
func (s *S3) ListMultipartUploads(ctx context.Context, in *s3.ListMultipartUploadsInput, _ ...func(*s3.Options)) (*s3.ListMultipartUploadsOutput, error) {
	return on(ctx, s, "ListMultipartUploads", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.ListMultipartUploadsOutput, error) {
		limit := int(aws.ToInt32(in.MaxUploads))
		if limit == 0 || limit > 1000 {
			limit = 1000
		}

		out := &s3.ListMultipartUploadsOutput{EncodingType: in.EncodingType}

		for _, u := range b.uploads[:min(limit, len(b.uploads))] {
			key, err := encodeKey(u.key, in.EncodingType)
			if err != nil {
				return nil, err
			}

			out.Uploads = append(out.Uploads, types.MultipartUpload{Key: &key, UploadId: aws.String(u.id)})
		}

		return out, nil
	})
}

// AbortMultipartUpload answers NoSuchUpload for one that is over. API reference, AbortMultipartUpload.
func (s *S3) AbortMultipartUpload(ctx context.Context, in *s3.AbortMultipartUploadInput, _ ...func(*s3.Options)) (*s3.AbortMultipartUploadOutput, error) {
	return on(ctx, s, "AbortMultipartUpload", in, in.Bucket, in.ExpectedBucketOwner, func(b *bucket) (*s3.AbortMultipartUploadOutput, error) {
		i := slices.Index(b.uploads, upload{key: aws.ToString(in.Key), id: aws.ToString(in.UploadId)})
		if i < 0 {
			return nil, &types.NoSuchUpload{}
		}

		b.uploads = slices.Delete(b.uploads, i, i+1)

		return &s3.AbortMultipartUploadOutput{}, nil
	})
}

// on runs a call for a bucket: there, its configuration visible, of the expected owner, in this Region.
func on[O any](ctx context.Context, s *S3, operation string, in any, name, owner *string, act func(b *bucket) (O, error)) (O, error) {
	return do(ctx, s.w, "s3", operation, in, func() (O, error) {
		var none O

		b := s.buckets[aws.ToString(name)]

		switch {
		case b == nil, s.w.Now().Before(b.created.Add(s.Lag)):
			return none, refuse("NoSuchBucket", "The specified bucket does not exist")
		case !s.open(b, owner):
			return none, refuse("AccessDenied", "Access Denied")
		case b.region != s.w.Region:
			return none, moved(b.region, "PermanentRedirect")
		}

		return act(b)
	})
}

// open: the bucket is this account's, and the expected owner's where one is expected. S3 user guide, "Verifying bucket ownership with bucket owner
// condition".
func (s *S3) open(b *bucket, owner *string) bool {
	return b.account == s.w.Account && (owner == nil || *owner == b.account)
}

// moved is a redirect, with the Region in a header. S3 user guide, "Request redirection and the REST API".
func moved(region, code string) error {
	return &awshttp.ResponseError{ResponseError: &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: http.StatusMovedPermanently, Header: http.Header{"X-Amz-Bucket-Region": {region}}}},
		Err:      refuse(code, "The bucket you are attempting to access must be addressed using the specified endpoint."),
	}}
}

func (s *S3) add(b *bucket, key string, marker bool) string {
	id := s.w.id("version")

	if b.versioning != types.BucketVersioningStatusEnabled {
		id = "null"
		b.versions = slices.DeleteFunc(b.versions, func(v version) bool { return v.key == key && v.id == id })
	}

	b.versions = append(b.versions, version{key: key, id: id, marker: marker})

	return id
}

// deleteVersion returns the code of a refusal, or an empty string; what is not there is deleted.
func (s *S3) deleteVersion(b *bucket, key string, id *string) string {
	if id == nil {
		s.add(b, key, true)

		return ""
	}

	for i, v := range b.versions {
		if v.key != key || v.id != *id {
			continue
		}

		if v.locked {
			return "AccessDenied"
		}

		b.versions = slices.Delete(b.versions, i, i+1)

		break
	}

	return ""
}

// encodeKey: without encoding, a key that XML 1.0 cannot hold breaks the answer for its reader. API reference, ListObjectVersions, encoding-type.
func encodeKey(key string, encoding types.EncodingType) (string, error) {
	if encoding == types.EncodingTypeUrl {
		return strings.ReplaceAll(url.QueryEscape(key), "%2F", "/"), nil
	}

	if !fitsXML(key) {
		return "", fmt.Errorf("deserialization failed: XML syntax error: illegal character code in %q", key)
	}

	return key, nil
}

func fitsXML(key string) bool {
	return !strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0xFFFE || r == 0xFFFF })
}

func s3Tags(list []types.Tag) map[string]string {
	tags := map[string]string{}
	for _, t := range list {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}

	return tags
}
