package bucket

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/policydoc"
)

// change is one setting that is not as wanted, and what makes it so. Calls that replace a whole set are given what the owner has put there as well.
type change struct {
	kind.Difference
	put func(ctx context.Context) error
}

// changes reads every setting and returns those that differ, in the order to write them. The tags come last: with them goes the mark that a bucket was
// kept, and until then the bucket is told from one that nobody takes up again.
func (b *Bucket) changes(ctx context.Context, c *kind.Call, bucket string, tags map[string]string) ([]change, error) {
	var all []change

	for _, read := range []func(ctx context.Context, c *kind.Call, bucket string) (*change, error){
		b.ownership, b.publicAccess, b.encryption, b.versioning, b.lifecycle, b.policy,
	} {
		differs, err := read(ctx, c, bucket)
		if err != nil {
			return nil, err
		}

		if differs != nil {
			all = append(all, *differs)
		}
	}

	if differs := b.tagging(c, bucket, tags); differs != nil {
		all = append(all, *differs)
	}

	return all, nil
}

// differ is nil where have is as wanted.
func differ(property, want, have string, put func(ctx context.Context) error) *change {
	for _, d := range kind.Differing(kind.Difference{Property: property, Want: want, Have: have}) {
		return &change{Difference: d, put: put}
	}

	return nil
}

// none takes one of S3's "nothing is set" codes for an empty answer. They are peculiar to each setting, and none of them means that the bucket is gone.
func none(err error, code string) error {
	if awserr.Code(err) == code {
		return nil
	}

	return err
}

// ownership: object ACLs are off.
func (b *Bucket) ownership(ctx context.Context, c *kind.Call, bucket string) (*change, error) {
	out, err := b.s3.GetBucketOwnershipControls(ctx, &s3.GetBucketOwnershipControlsInput{Bucket: &bucket, ExpectedBucketOwner: &c.Owner.Account})
	if err := none(err, "OwnershipControlsNotFoundError"); err != nil {
		return nil, fmt.Errorf("read ownership of bucket %s: %w", bucket, err)
	}

	want, have := types.ObjectOwnershipBucketOwnerEnforced, ""
	if err == nil && out.OwnershipControls != nil && len(out.OwnershipControls.Rules) > 0 {
		have = string(out.OwnershipControls.Rules[0].ObjectOwnership)
	}

	return differ("ownership", string(want), have, func(ctx context.Context) error {
		_, err := b.s3.PutBucketOwnershipControls(ctx, &s3.PutBucketOwnershipControlsInput{
			Bucket: &bucket, ExpectedBucketOwner: &c.Owner.Account,
			OwnershipControls: &types.OwnershipControls{Rules: []types.OwnershipControlsRule{{ObjectOwnership: want}}},
		})

		return err
	}), nil
}

// publicAccess: all four blocks are on.
func (b *Bucket) publicAccess(ctx context.Context, c *kind.Call, bucket string) (*change, error) {
	out, err := b.s3.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: &bucket, ExpectedBucketOwner: &c.Owner.Account})
	if err := none(err, "NoSuchPublicAccessBlockConfiguration"); err != nil {
		return nil, fmt.Errorf("read public access block of bucket %s: %w", bucket, err)
	}

	want := &types.PublicAccessBlockConfiguration{
		BlockPublicAcls: aws.Bool(true), IgnorePublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(true), RestrictPublicBuckets: aws.Bool(true),
	}

	have := &types.PublicAccessBlockConfiguration{}
	if err == nil && out.PublicAccessBlockConfiguration != nil {
		have = out.PublicAccessBlockConfiguration
	}

	return differ("publicAccessBlock", blocks(want), blocks(have), func(ctx context.Context) error {
		_, err := b.s3.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{
			Bucket: &bucket, ExpectedBucketOwner: &c.Owner.Account, PublicAccessBlockConfiguration: want,
		})

		return err
	}), nil
}

func blocks(p *types.PublicAccessBlockConfiguration) string {
	return fmt.Sprintf("acls %t, ignore %t, policy %t, restrict %t",
		aws.ToBool(p.BlockPublicAcls), aws.ToBool(p.IgnorePublicAcls), aws.ToBool(p.BlockPublicPolicy), aws.ToBool(p.RestrictPublicBuckets))
}

// encryption: with S3's own keys. It is what every new bucket has since January 2023, so usually nothing is written.
func (b *Bucket) encryption(ctx context.Context, c *kind.Call, bucket string) (*change, error) {
	out, err := b.s3.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: &bucket, ExpectedBucketOwner: &c.Owner.Account})
	if err := none(err, "ServerSideEncryptionConfigurationNotFoundError"); err != nil {
		return nil, fmt.Errorf("read encryption of bucket %s: %w", bucket, err)
	}

	want, have := types.ServerSideEncryptionAes256, ""

	if err == nil && out.ServerSideEncryptionConfiguration != nil && len(out.ServerSideEncryptionConfiguration.Rules) > 0 {
		if d := out.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault; d != nil {
			have = string(d.SSEAlgorithm)
		}
	}

	return differ("encryption", string(want), have, func(ctx context.Context) error {
		_, err := b.s3.PutBucketEncryption(ctx, &s3.PutBucketEncryptionInput{
			Bucket: &bucket, ExpectedBucketOwner: &c.Owner.Account,
			ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{
				{ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: want}},
			}},
		})

		return err
	}), nil
}

// versioning is on.
func (b *Bucket) versioning(ctx context.Context, c *kind.Call, bucket string) (*change, error) {
	out, err := b.s3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &bucket, ExpectedBucketOwner: &c.Owner.Account})
	if err != nil {
		return nil, fmt.Errorf("read versioning of bucket %s: %w", bucket, err)
	}

	return differ("versioning", string(types.BucketVersioningStatusEnabled), string(out.Status), func(ctx context.Context) error {
		_, err := b.s3.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
			Bucket: &bucket, ExpectedBucketOwner: &c.Owner.Account,
			VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
		})

		return err
	}), nil
}

// ruleID is our one lifecycle rule. Rules with other ids are the owner's.
const ruleID = "metaflow-deployer"

// uploadDays is how long an unfinished multipart upload may lie about; longer than any job's upload takes.
const uploadDays = 7

// lifecycle: unfinished uploads, old versions and markers over nothing go away.
func (b *Bucket) lifecycle(ctx context.Context, c *kind.Call, bucket string) (*change, error) {
	out, err := b.s3.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &bucket, ExpectedBucketOwner: &c.Owner.Account})
	if err := none(err, "NoSuchLifecycleConfiguration"); err != nil {
		return nil, fmt.Errorf("read lifecycle of bucket %s: %w", bucket, err)
	}

	want := types.LifecycleRule{
		ID: aws.String(ruleID), Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("")},
		AbortIncompleteMultipartUpload: &types.AbortIncompleteMultipartUpload{DaysAfterInitiation: aws.Int32(uploadDays)},
		NoncurrentVersionExpiration:    &types.NoncurrentVersionExpiration{NoncurrentDays: aws.Int32(int32(c.Spec.Storage.OldVersionsDays))}, //nolint:gosec // validated to be at most 3,650
		Expiration:                     &types.LifecycleExpiration{ExpiredObjectDeleteMarker: aws.Bool(true)},
	}

	// An owner's default for transitions must survive: a PUT without it resets it.
	var size types.TransitionDefaultMinimumObjectSize

	rules, have := []types.LifecycleRule{}, ""

	if err == nil {
		size = out.TransitionDefaultMinimumObjectSize

		for _, r := range out.Rules {
			if aws.ToString(r.ID) == ruleID {
				have = spell(r)

				continue
			}

			rules = append(rules, r)
		}
	}

	return differ("lifecycle", spell(want), have, func(ctx context.Context) error {
		_, err := b.s3.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{
			Bucket: &bucket, ExpectedBucketOwner: &c.Owner.Account, TransitionDefaultMinimumObjectSize: size,
			LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: append(rules, want)},
		})

		return err
	}), nil
}

// spell writes what a rule does, and so that anything we do not set shows.
func spell(r types.LifecycleRule) string {
	parts := []string{string(r.Status)}
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }

	if f := r.Filter; f != nil && (aws.ToString(f.Prefix) != "" || f.And != nil || f.Tag != nil || f.ObjectSizeGreaterThan != nil || f.ObjectSizeLessThan != nil) {
		add("only some objects")
	}

	if p := aws.ToString(r.Prefix); p != "" { //nolint:staticcheck // rules of old still carry it
		add("only under %s", p)
	}

	if a := r.AbortIncompleteMultipartUpload; a != nil {
		add("uploads %d d", aws.ToInt32(a.DaysAfterInitiation))
	}

	if n := r.NoncurrentVersionExpiration; n != nil {
		add("old versions %d d", aws.ToInt32(n.NoncurrentDays))

		if keep := aws.ToInt32(n.NewerNoncurrentVersions); keep != 0 {
			add("but the newest %d", keep)
		}
	}

	if e := r.Expiration; e != nil {
		if aws.ToBool(e.ExpiredObjectDeleteMarker) {
			add("expired markers")
		}

		if e.Days != nil || e.Date != nil {
			add("objects expire")
		}
	}

	if len(r.Transitions)+len(r.NoncurrentVersionTransitions) > 0 {
		add("transitions")
	}

	return strings.Join(parts, ", ")
}

// statementID is our one statement in the bucket's policy. Statements with other Sids are the owner's.
const statementID = "MetaflowDeployerTLSOnly"

func tlsOnly(c *kind.Call, bucket string) policydoc.Statement {
	return policydoc.Statement{
		Sid: statementID, Effect: policydoc.Deny, Principal: "*", Action: []string{"s3:*"}, Resource: []string{arn(c, bucket), arn(c, bucket) + "/*"},
		Condition: map[string]map[string]string{"Bool": {"aws:SecureTransport": "false"}},
	}
}

// policy: whoever comes without TLS is turned away.
func (b *Bucket) policy(ctx context.Context, c *kind.Call, bucket string) (*change, error) {
	out, err := b.s3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &bucket, ExpectedBucketOwner: &c.Owner.Account})
	if err := none(err, "NoSuchBucketPolicy"); err != nil {
		return nil, fmt.Errorf("read policy of bucket %s: %w", bucket, err)
	}

	document := ""
	if err == nil {
		document = aws.ToString(out.Policy)
	}

	merged, same, err := policydoc.Merge(document, tlsOnly(c, bucket))
	if err != nil {
		return nil, fmt.Errorf("read policy of bucket %s: %w", bucket, err)
	}

	if same {
		return nil, nil
	}

	have := "absent"
	if strings.Contains(document, statementID) {
		have = "changed"
	}

	return differ("policy", "TLS only", have, func(ctx context.Context) error {
		_, err := b.s3.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &bucket, ExpectedBucketOwner: &c.Owner.Account, Policy: &merged})

		return err
	}), nil
}

// tagging: ours and the owner's tags are there, the mark of a kept bucket is not. Other tags stay.
func (b *Bucket) tagging(c *kind.Call, bucket string, have map[string]string) *change {
	wanted, found, merged := map[string]string{}, map[string]string{}, maps.Clone(have)

	for k, v := range c.Tags() {
		merged[k] = v

		if old, ok := have[k]; !ok || old != v {
			wanted[k] = v

			if ok {
				found[k] = old
			}
		}
	}

	if v, kept := have[deploy.TagKept]; kept {
		found[deploy.TagKept] = v
		delete(merged, deploy.TagKept)
	}

	return differ(kind.PropertyTags, kind.Pairs(wanted), kind.Pairs(found), func(ctx context.Context) error { return b.putTags(ctx, c, bucket, merged) })
}

func (b *Bucket) tags(ctx context.Context, c *kind.Call, bucket string) (map[string]string, error) {
	out, err := b.s3.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: &bucket, ExpectedBucketOwner: &c.Owner.Account})
	if err := none(err, "NoSuchTagSet"); err != nil {
		return nil, fmt.Errorf("read tags of bucket %s: %w", bucket, err)
	}

	tags := map[string]string{}

	if err == nil {
		for _, t := range out.TagSet {
			tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
	}

	return tags, nil
}

func (b *Bucket) putTags(ctx context.Context, c *kind.Call, bucket string, tags map[string]string) error {
	_, err := b.s3.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{
		Bucket: &bucket, ExpectedBucketOwner: &c.Owner.Account, Tagging: &types.Tagging{TagSet: tagList(tags)},
	})

	return err
}

func tagList(tags map[string]string) []types.Tag {
	all := make([]types.Tag, 0, len(tags))
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, types.Tag{Key: aws.String(k), Value: aws.String(tags[k])})
	}

	return all
}
