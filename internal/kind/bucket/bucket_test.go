package bucket_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/bucket"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/kindtest"
)

// setting is a world that the kind must work in.
type setting struct {
	region, partition string
	lag               time.Duration
	data              deploy.Data
	spec              deploy.Spec
}

func (s setting) build(t *testing.T) *kindtest.Bench {
	t.Helper()

	w, clock := kindtest.World()
	if s.region != "" {
		w.Region, w.Partition = s.region, s.partition
	}

	w.S3.Lag = s.lag
	s.spec.Tags = map[string]string{"team": "forecast"}

	b := kindtest.New(t, bucket.New(w.S3), w, clock, s.spec, "bucket")
	b.Data = s.data

	return b
}

func build(t *testing.T) *kindtest.Bench {
	t.Helper()

	return setting{data: deploy.Keep}.build(t)
}

func count(_ *testing.T, b *kindtest.Bench) int { return len(b.World.S3.Buckets()) }

func TestConformance(t *testing.T) {
	for name, s := range map[string]setting{
		"Rollback":   {data: deploy.IfEmpty},
		"Purge":      {data: deploy.Purge},
		"Elsewhere":  {data: deploy.IfEmpty, region: "eu-west-1", partition: "aws"},
		"China":      {data: deploy.Purge, region: "cn-north-1", partition: "aws-cn"},
		"SlowToShow": {data: deploy.IfEmpty, lag: 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			kindtest.Suite(t, kindtest.Subject{
				Build: s.build, Count: count, Named: true, Tolerated: map[string]string{"PutBucketVersioning": "NoSuchBucket"},
				Foreign: func(t *testing.T, b *kindtest.Bench) {
					t.Helper()
					b.World.S3.Put(bucketName(b), b.World.Account, b.World.Region, map[string]string{"owner": "somebody"})
				},
				Drifts: drifts(),
			})
		})
	}
}

func drifts() map[string]kindtest.Drift {
	lifecycle := func(change func(r *types.LifecycleRule)) func(t *testing.T, b *kindtest.Bench) {
		return func(t *testing.T, b *kindtest.Bench) {
			t.Helper()

			out, err := b.World.S3.GetBucketLifecycleConfiguration(t.Context(), &s3.GetBucketLifecycleConfigurationInput{Bucket: &b.ID})
			must(t, err)

			rule := out.Rules[0]
			change(&rule)

			_, err = b.World.S3.PutBucketLifecycleConfiguration(t.Context(), &s3.PutBucketLifecycleConfigurationInput{
				Bucket: &b.ID, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: []types.LifecycleRule{rule}},
			})
			must(t, err)
		}
	}

	policy := func(edit func(document string) string) func(t *testing.T, b *kindtest.Bench) {
		return func(t *testing.T, b *kindtest.Bench) {
			t.Helper()

			out, err := b.World.S3.GetBucketPolicy(t.Context(), &s3.GetBucketPolicyInput{Bucket: &b.ID})
			must(t, err)

			edited := edit(*out.Policy)
			if edited == *out.Policy {
				t.Fatalf("the edit changes nothing in %s", edited)
			}

			_, err = b.World.S3.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &b.ID, Policy: &edited})
			must(t, err)
		}
	}

	return map[string]kindtest.Drift{
		"OwnershipChanged": {Property: "ownership", Change: func(t *testing.T, b *kindtest.Bench) {
			t.Helper()
			putOwnership(t, b, types.ObjectOwnershipObjectWriter)
		}},
		"OwnershipRemoved": {Property: "ownership", Change: func(t *testing.T, b *kindtest.Bench) {
			t.Helper()
			putOwnership(t, b, "")
		}},
		"OneBlockOff": {Property: "publicAccessBlock", Change: func(t *testing.T, b *kindtest.Bench) {
			t.Helper()

			_, err := b.World.S3.PutPublicAccessBlock(t.Context(), &s3.PutPublicAccessBlockInput{Bucket: &b.ID, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
				BlockPublicAcls: aws.Bool(true), IgnorePublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(false), RestrictPublicBuckets: aws.Bool(true),
			}})
			must(t, err)
		}},
		"BlocksRemoved": {Property: "publicAccessBlock", Change: func(t *testing.T, b *kindtest.Bench) {
			t.Helper()

			_, err := b.World.S3.DeletePublicAccessBlock(t.Context(), &s3.DeletePublicAccessBlockInput{Bucket: &b.ID})
			must(t, err)
		}},
		"OtherEncryption": {Property: "encryption", Change: func(t *testing.T, b *kindtest.Bench) {
			t.Helper()

			_, err := b.World.S3.PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{Bucket: &b.ID, ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{
				Rules: []types.ServerSideEncryptionRule{{ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAwsKms}}},
			}})
			must(t, err)
		}},
		"VersioningSuspended": {Property: "versioning", Change: func(t *testing.T, b *kindtest.Bench) {
			t.Helper()

			_, err := b.World.S3.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
				Bucket: &b.ID, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended},
			})
			must(t, err)
		}},
		"RuleDisabled":     {Property: "lifecycle", Change: lifecycle(func(r *types.LifecycleRule) { r.Status = types.ExpirationStatusDisabled })},
		"RuleRenamed":      {Property: "lifecycle", Change: lifecycle(func(r *types.LifecycleRule) { r.ID = aws.String("other") })},
		"OldVersionsStay":  {Property: "lifecycle", Change: lifecycle(func(r *types.LifecycleRule) { r.NoncurrentVersionExpiration = nil })},
		"OldVersionsGo":    {Property: "lifecycle", Change: lifecycle(func(r *types.LifecycleRule) { r.NoncurrentVersionExpiration.NoncurrentDays = aws.Int32(1) })},
		"NewestStay":       {Property: "lifecycle", Change: lifecycle(func(r *types.LifecycleRule) { r.NoncurrentVersionExpiration.NewerNoncurrentVersions = aws.Int32(3) })},
		"UploadsStay":      {Property: "lifecycle", Change: lifecycle(func(r *types.LifecycleRule) { r.AbortIncompleteMultipartUpload = nil })},
		"ObjectsExpire":    {Property: "lifecycle", Change: lifecycle(func(r *types.LifecycleRule) { r.Expiration = &types.LifecycleExpiration{Days: aws.Int32(1)} })},
		"OnlyUnderAPrefix": {Property: "lifecycle", Change: lifecycle(func(r *types.LifecycleRule) { r.Filter = &types.LifecycleRuleFilter{Prefix: aws.String("x")} })},
		"Transitions":      {Property: "lifecycle", Change: lifecycle(func(r *types.LifecycleRule) { r.Transitions = []types.Transition{{Days: aws.Int32(1)}} })},
		"PolicyRemoved": {Property: "policy", Change: func(t *testing.T, b *kindtest.Bench) {
			t.Helper()

			_, err := b.World.S3.DeleteBucketPolicy(t.Context(), &s3.DeleteBucketPolicyInput{Bucket: &b.ID})
			must(t, err)
		}},
		"PolicyTurned":  {Property: "policy", Change: policy(func(d string) string { return strings.ReplaceAll(d, "Deny", "Allow") })},
		"PolicyLoosely": {Property: "policy", Change: policy(func(d string) string { return strings.ReplaceAll(d, `"false"`, `"true"`) })},
		"OwnersTagGone": {Property: "tags", Change: func(t *testing.T, b *kindtest.Bench) {
			t.Helper()
			editTags(t, b, func(tags map[string]string) { delete(tags, "team") })
		}},
		"OwnersTagChanged": {Property: "tags", Change: func(t *testing.T, b *kindtest.Bench) {
			t.Helper()
			editTags(t, b, func(tags map[string]string) { tags["team"] = "other" })
		}},
	}
}

// What S3 hands back in another shape is no drift.
func TestSameMeaningIsNoDifference(t *testing.T) {
	b := build(t)
	b.Ensure(t)

	policy := fmt.Sprintf(`{"Statement": {"Principal": {"AWS": ["*"]}, "Condition": {"Bool": {"AWS:secureTransport": [false]}},
		"Resource": ["arn:aws:s3:::%[1]s/*", "arn:aws:s3:::%[1]s"], "Action": "S3:*", "Effect": "Deny", "Sid": "MetaflowDeployerTLSOnly"}, "Version": "2008-10-17"}`, b.ID)
	_, err := b.World.S3.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &b.ID, Policy: &policy})
	must(t, err)

	if obs := b.Observe(t); len(obs.Differences) > 0 {
		t.Errorf("differences: got %v, want none", obs.Differences)
	}
}

// Calls that replace a whole set keep what the owner has put there.
func TestOwnersAdditionsSurvive(t *testing.T) {
	b := build(t)
	b.Ensure(t)

	editTags(t, b, func(tags map[string]string) { tags["cost-center"] = "42"; tags["team"] = "wrong" })

	policy := `{"Version": "2012-10-17", "Statement": [{"Sid": "Audit", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::x/*"}]}`
	_, err := b.World.S3.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &b.ID, Policy: &policy})
	must(t, err)

	_, err = b.World.S3.PutBucketLifecycleConfiguration(t.Context(), &s3.PutBucketLifecycleConfigurationInput{
		Bucket: &b.ID, TransitionDefaultMinimumObjectSize: types.TransitionDefaultMinimumObjectSizeVariesByStorageClass,
		LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: []types.LifecycleRule{{ID: aws.String("archive"), Status: types.ExpirationStatusEnabled}}},
	})
	must(t, err)

	b.Ensure(t)

	tags := readTags(t, b)
	if tags["cost-center"] != "42" || tags["team"] != "forecast" {
		t.Errorf("tags: got %v, want the owner's cost-center kept and team mended", tags)
	}

	document, err := b.World.S3.GetBucketPolicy(t.Context(), &s3.GetBucketPolicyInput{Bucket: &b.ID})
	must(t, err)

	if p := *document.Policy; !strings.Contains(p, "Audit") || !strings.Contains(p, "MetaflowDeployerTLSOnly") {
		t.Errorf("policy: got %s, want the owner's statement and ours", p)
	}

	rules, err := b.World.S3.GetBucketLifecycleConfiguration(t.Context(), &s3.GetBucketLifecycleConfigurationInput{Bucket: &b.ID})
	must(t, err)

	var ids []string
	for _, r := range rules.Rules {
		ids = append(ids, *r.ID)
	}

	if diff := cmp.Diff([]string{"archive", "metaflow-deployer"}, ids); diff != "" {
		t.Errorf("lifecycle rules (-want +got):\n%s", diff)
	}

	if got := rules.TransitionDefaultMinimumObjectSize; got != types.TransitionDefaultMinimumObjectSizeVariesByStorageClass {
		t.Errorf("transition default: got %s, want the owner's", got)
	}
}

func TestRemoveByData(t *testing.T) {
	object := func(t *testing.T, b *kindtest.Bench) {
		t.Helper()
		put(t, b, "flows/a")
	}
	marker := func(t *testing.T, b *kindtest.Bench) {
		t.Helper()

		_, err := b.World.S3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &b.ID, Key: aws.String("flows/a")})
		must(t, err)
	}
	nothing := func(*testing.T, *kindtest.Bench) {}
	probe := func(t *testing.T, b *kindtest.Bench) {
		t.Helper()

		// Each verification writes another version.
		for range 3 {
			_, key := b.Owner.ProbeObject(b.Spec)
			put(t, b, key)
		}
	}
	both := func(t *testing.T, b *kindtest.Bench) {
		t.Helper()
		probe(t, b)
		object(t, b)
	}

	for name, tc := range map[string]struct {
		reason   string
		data     deploy.Data
		origin   deploy.Origin
		fill     func(t *testing.T, b *kindtest.Bench)
		wantKept bool
	}{
		"KeepEmpty":      {"a delete keeps what it was told to keep, whatever is in it", deploy.Keep, deploy.Made, nothing, true},
		"KeepFull":       {"the objects stay", deploy.Keep, deploy.Made, object, true},
		"UnsetFull":      {"without a word the safe thing is done", "", deploy.Made, object, true},
		"RollbackEmpty":  {"nobody has written to it: it goes", deploy.IfEmpty, deploy.Made, nothing, false},
		"RollbackFull":   {"somebody has written to it", deploy.IfEmpty, deploy.Made, object, true},
		"RollbackProbe":  {"what a probe of ours wrote is nobody's data", deploy.IfEmpty, deploy.Made, probe, false},
		"RollbackProbed": {"somebody has written to it beside the probe", deploy.IfEmpty, deploy.Made, both, true},
		"RollbackMarker": {"a marker says that somebody has written to it", deploy.IfEmpty, deploy.Made, marker, true},
		"RollbackReused": {"it was there before the operation, empty or not", deploy.IfEmpty, deploy.Reused, nothing, true},
		"DeleteReused":   {"a delete treats it as any bucket", deploy.Keep, deploy.Reused, object, true},
		"PurgeFull":      {"the owner asked for it", deploy.Purge, deploy.Made, object, false},
		"PurgeReused":    {"the owner asked for it", deploy.Purge, deploy.Reused, object, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := setting{data: tc.data}.build(t)
			b.Ensure(t)
			b.Origin = tc.origin
			tc.fill(t, b)

			r := b.Remove(t)
			if r.Kept != tc.wantKept {
				t.Errorf("kept: got %t, want %t (%s)", r.Kept, tc.wantKept, tc.reason)
			}

			if got := len(b.World.S3.Buckets()) == 1; got != tc.wantKept {
				t.Fatalf("the bucket is there: got %t, want %t (%s)", got, tc.wantKept, tc.reason)
			}

			if !tc.wantKept {
				return
			}

			if got := readTags(t, b)[deploy.TagKept]; got != "true" {
				t.Errorf("tag %s: got %q, want true", deploy.TagKept, got)
			}

			mark := len(b.World.Calls())
			if r := b.Remove(t); !r.Kept {
				t.Error("a second removal does not say that the bucket is kept")
			}

			if changes := b.Changes(mark); len(changes) > 0 {
				t.Errorf("a second removal changed something: %v", changes)
			}
		})
	}
}

// A bucket that a delete kept is taken up by the next create, and that create's rollback leaves it.
func TestKeptBucketIsReused(t *testing.T) {
	b := build(t)
	b.Ensure(t)
	put(t, b, "flows/a")
	b.Remove(t)

	for round := range 2 {
		b.NextOperation()
		b.Data = deploy.IfEmpty
		b.Ensure(t)

		if b.Origin != deploy.Reused {
			t.Fatalf("round %d: origin: got %s, want %s", round, b.Origin, deploy.Reused)
		}

		if v, kept := readTags(t, b)[deploy.TagKept]; kept {
			t.Errorf("round %d: tag %s: got %q, want none while the bucket is in use", round, deploy.TagKept, v)
		}

		if r := b.Remove(t); !r.Kept {
			t.Fatalf("round %d: the rollback did not keep the bucket", round)
		}

		// Even an empty one: it was not this operation's to delete.
		if round == 0 {
			purgeObjects(t, b)
		}
	}

	b.NextOperation()
	b.Data = deploy.Purge
	b.Remove(t)

	if got := b.World.S3.Buckets(); len(got) != 0 {
		t.Errorf("buckets after a purge: got %v, want none", got)
	}
}

// Whatever call of a create over a kept bucket is the last, the rollback leaves the bucket: that it was there before must be recorded in time.
func TestKeptBucketSurvivesEveryCrash(t *testing.T) {
	calls := 0

	for i := 0; ; i++ {
		b := build(t)
		b.Ensure(t)
		b.Remove(t)
		b.NextOperation()
		b.Data = deploy.IfEmpty

		mark, seen := len(b.World.Calls()), 0
		b.World.Fault = func(context.Context, awsfake.Call) awsfake.Fault {
			if seen++; seen > i {
				return awsfake.Fault{Before: errors.New("the process is dead")}
			}

			return awsfake.Fault{}
		}

		b.Die(t.Context(), deploy.Ensure)

		b.World.Fault = nil
		calls = len(b.World.Calls()) - mark

		if r := b.Remove(t); !r.Kept || len(b.World.S3.Buckets()) != 1 {
			t.Fatalf("dead after %d calls: the rollback answered %+v and left %v, want the bucket kept", i, r, b.World.S3.Buckets())
		}

		if seen <= i {
			break
		}
	}

	if calls < 8 {
		t.Errorf("a create over a kept bucket made %d calls: the test tried too little", calls)
	}
}

// purgeSize is more than one look can delete: 4 pages of 1,000.
const purgeSize = 4500

func TestPurge(t *testing.T) {
	b := setting{data: deploy.Purge}.build(t)
	b.Ensure(t)

	for i := range purgeSize {
		put(t, b, fmt.Sprintf("flows/%04d", i%1500))
	}

	odd := []string{"a b+c%2F", "née/ü", "bell\a", "\x00", "\uffff", "tab\t\n\r", "<&>\"'", ".", "a//b"}
	for _, key := range odd {
		put(t, b, key)

		_, err := b.World.S3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &b.ID, Key: &key})
		must(t, err)
		_, err = b.World.S3.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &b.ID, Key: &key})
		must(t, err)
	}

	for i := range 150 { // more than one look aborts
		_, err := b.World.S3.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &b.ID, Key: aws.String(fmt.Sprint(i))})
		must(t, err)
	}

	deny := `{"Version": "2012-10-17", "Statement": [{"Sid": "NoDelete", "Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject*", "Resource": "*"}]}`
	_, err := b.World.S3.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &b.ID, Policy: &deny})
	must(t, err)

	mark, looks := len(b.World.Calls()), 0

	for {
		looks++

		// Each look is another process's, with nothing to go on.
		b.NextOperation()

		r, err := b.Look(t.Context(), deploy.Remove)
		must(t, err)

		if r.Done {
			break
		}

		if looks > 10 {
			t.Fatalf("not gone after %d looks: %+v", looks, r)
		}
	}

	// 4 pages; the rest; 100 uploads; the other uploads; the bucket; the look that finds nothing.
	if looks != 6 {
		t.Errorf("looks: got %d, want 6", looks)
	}

	if got := b.World.S3.Buckets(); len(got) != 0 {
		t.Errorf("buckets: got %v, want none", got)
	}

	if changes := b.Changes(mark); changes[0] != "DeleteBucketPolicy" {
		t.Errorf("first change: got %s, want DeleteBucketPolicy, or the owner's statement denies the rest", changes[0])
	}
}

func TestPurgeReportsProgress(t *testing.T) {
	b := setting{data: deploy.Purge}.build(t)
	b.Ensure(t)
	put(t, b, "a")

	r, err := b.Look(t.Context(), deploy.Remove)
	must(t, err)

	if !r.Progressed || r.Done {
		t.Errorf("a look that deleted an object: got %+v, want progress", r)
	}

	r, err = b.Look(t.Context(), deploy.Remove)
	must(t, err)

	if r.Progressed || r.Done {
		t.Errorf("a look that deleted the bucket: got %+v, want neither progress nor done: gone is what a look says", r)
	}

	// Seconds after the create: once AWS has taken the removal, an empty look is to be believed.
	r, err = b.Look(t.Context(), deploy.Remove)
	must(t, err)

	if !r.Done {
		t.Errorf("a look that finds no bucket: got %+v, want done", r)
	}
}

// DeleteObjects answers 200 also for what it refused.
func TestPurgeOfProtectedObjects(t *testing.T) {
	for name, key := range map[string]string{"InABatch": "held", "AKeyOfItsOwn": "held\a"} {
		t.Run(name, func(t *testing.T) {
			b := setting{data: deploy.Purge}.build(t)
			b.Ensure(t)
			put(t, b, "free")
			put(t, b, key)
			b.World.S3.Lock(b.ID, key, true)

			r, err := b.Until(t.Context(), deploy.Remove)

			e := awserr.Classify(err)
			if err == nil || e.Class != deploy.Denied || e.Code != "objects_protected" || e.Remedy == "" {
				t.Fatalf("purge of a held object: got %v, want objects_protected with a remedy", err)
			}

			if !r.Progressed {
				t.Error("the free object went, but no progress was reported")
			}

			if r, err := b.Look(t.Context(), deploy.Remove); err == nil || r.Progressed {
				t.Errorf("a look that deleted nothing: got %+v, %v, want an error and no progress", r, err)
			}

			b.World.S3.Lock(b.ID, key, false)
			b.Remove(t)

			if got := b.World.S3.Buckets(); len(got) != 0 {
				t.Errorf("buckets: got %v, want none", got)
			}
		})
	}
}

// A writer that is still alive makes the purge start over, not fail.
func TestPurgeWhileSomebodyWrites(t *testing.T) {
	b := setting{data: deploy.Purge}.build(t)
	b.Ensure(t)

	id, written := b.ID, 0
	b.World.Fault = func(ctx context.Context, c awsfake.Call) awsfake.Fault {
		if c.Operation == "DeleteBucket" && written < 3 {
			written++

			if _, err := b.World.S3.PutObject(ctx, &s3.PutObjectInput{Bucket: &id, Key: aws.String("late")}); err != nil {
				t.Error(err)
			}
		}

		return awsfake.Fault{}
	}

	b.Remove(t)

	if got := b.World.S3.Buckets(); len(got) != 0 || written != 3 {
		t.Errorf("after %d late writes: buckets %v, want none after 3", written, got)
	}
}

// A write between the look into the bucket and its deletion: AWS refuses, and the bucket is kept after all.
func TestRollbackWhileSomebodyWrites(t *testing.T) {
	b := setting{data: deploy.IfEmpty}.build(t)
	b.Ensure(t)

	id := b.ID
	b.World.Fault = func(ctx context.Context, c awsfake.Call) awsfake.Fault {
		if c.Operation == "DeleteBucket" {
			if _, err := b.World.S3.PutObject(ctx, &s3.PutObjectInput{Bucket: &id, Key: aws.String("late")}); err != nil {
				t.Error(err)
			}
		}

		return awsfake.Fault{}
	}

	if r := b.Remove(t); !r.Kept {
		t.Errorf("rollback: got %+v, want the bucket kept", r)
	}
}

func TestNameIsTaken(t *testing.T) {
	for name, tc := range map[string]struct {
		reason          string
		account, region string
	}{
		"OtherAccount": {"HeadBucket answers 403", "999999999999", "us-east-1"},
		"OtherRegion":  {"HeadBucket answers 301, whoever's it is", "123456789012", "eu-west-1"},
		"SameAccount":  {"in us-east-1 CreateBucket would succeed", "123456789012", "us-east-1"},
	} {
		t.Run(name, func(t *testing.T) {
			b := setting{data: deploy.Purge}.build(t)
			b.World.S3.Put(bucketName(b), tc.account, tc.region, nil)

			if _, err := b.Until(t.Context(), deploy.Ensure); !awserr.Is(err, deploy.Conflict) {
				t.Errorf("ensure: got %v, want a conflict (%s)", err, tc.reason)
			}

			b.Remove(t)

			if changes := b.Changes(0); len(changes) > 0 {
				t.Errorf("it was touched: %v (%s)", changes, tc.reason)
			}
		})
	}
}

// A name that somebody takes between the look and the create.
func TestNameIsSnatched(t *testing.T) {
	b := build(t)
	b.World.Fault = func(_ context.Context, c awsfake.Call) awsfake.Fault {
		if c.Operation == "CreateBucket" {
			b.World.S3.Put(bucketName(b), "999999999999", "us-east-1", nil)
		}

		return awsfake.Fault{}
	}

	if _, err := b.Until(t.Context(), deploy.Ensure); !awserr.Is(err, deploy.Conflict) {
		t.Errorf("ensure: got %v, want a conflict", err)
	}
}

// S3 answers 403 both for a foreign bucket and for one of ours that a policy closes: the second must not pass for gone.
func TestOursButClosed(t *testing.T) {
	b := setting{data: deploy.Purge}.build(t)
	b.Ensure(t)
	b.World.S3.Put(b.ID, "999999999999", "us-east-1", nil)

	for _, action := range []deploy.Action{deploy.Ensure, deploy.Remove} {
		if r, err := b.Look(t.Context(), action); !awserr.Is(err, deploy.Denied) {
			t.Errorf("%s: got %+v, %v, want class denied", action, r, err)
		}
	}
}

// A bucket that was made, but denied before anybody could record its name, is not somebody else's when the removal is denied too.
func TestOursBeforeItWasSeenButClosed(t *testing.T) {
	b := setting{data: deploy.Purge}.build(t)
	denied := &smithy.GenericAPIError{Code: "AccessDenied", Message: "a service control policy forbids it", Fault: smithy.FaultClient}

	b.World.Fault = func(_ context.Context, c awsfake.Call) awsfake.Fault {
		if len(b.World.S3.Buckets()) > 0 {
			return awsfake.Fault{Before: denied}
		}

		return awsfake.Fault{}
	}

	if _, err := b.Until(t.Context(), deploy.Ensure); !awserr.Is(err, deploy.Denied) {
		t.Fatalf("ensure: got %v, want class denied", err)
	}

	if r, err := b.Look(t.Context(), deploy.Remove); !awserr.Is(err, deploy.Denied) {
		t.Errorf("remove: got %+v, %v, want class denied", r, err)
	}

	b.World.Fault = nil
	b.Remove(t)

	if left := b.World.S3.Buckets(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestOperationAbortedIsWaitedOut(t *testing.T) {
	b := setting{data: deploy.Purge}.build(t)
	tried := map[string]bool{}
	b.World.Fault = func(_ context.Context, c awsfake.Call) awsfake.Fault {
		if kindtest.Changing(c) && !tried[c.Operation] {
			tried[c.Operation] = true

			return awsfake.Fault{Before: &smithy.GenericAPIError{Code: "OperationAborted", Message: "A conflicting conditional operation is currently in progress against this resource."}}
		}

		return awsfake.Fault{}
	}

	b.Ensure(t)
	b.Remove(t)

	if got := b.World.S3.Buckets(); len(got) != 0 {
		t.Errorf("buckets: got %v, want none", got)
	}
}

// untagged is an S3 that shows a bucket's tags some looks late.
type untagged struct {
	*awsfake.S3
	looks int
}

func (u *untagged) GetBucketTagging(ctx context.Context, in *s3.GetBucketTaggingInput, opts ...func(*s3.Options)) (*s3.GetBucketTaggingOutput, error) {
	out, err := u.S3.GetBucketTagging(ctx, in, opts...)
	if err == nil && u.looks > 0 {
		u.looks--

		return nil, &smithy.GenericAPIError{Code: "NoSuchTagSet", Message: "The TagSet does not exist"}
	}

	return out, err
}

// Right after our create, a bucket without tags is ours all the same; a minute later it is not.
func TestTagsShowLate(t *testing.T) {
	for name, tc := range map[string]struct {
		reason   string
		looks    int
		wantOurs bool
	}{
		"Soon":  {"the configuration of a bucket is eventually consistent", 50, true},
		"Never": {"somebody took the name in the same moment", 1000, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := setting{data: deploy.Purge}.build(t)
			b.Kind = bucket.New(&untagged{S3: b.World.S3, looks: tc.looks})

			_, err := b.Until(t.Context(), deploy.Ensure)
			if tc.wantOurs && err != nil || !tc.wantOurs && !awserr.Is(err, deploy.Conflict) {
				t.Errorf("ensure: got %v, want ours %t: %s", err, tc.wantOurs, tc.reason)
			}

			// A removal that comes at once must not take the bucket for somebody else's either.
			b = setting{data: deploy.Purge}.build(t)
			b.Kind = bucket.New(&untagged{S3: b.World.S3, looks: tc.looks})
			b.Die(t.Context(), deploy.Ensure)
			b.Remove(t)

			if got := len(b.World.S3.Buckets()) == 0; got != tc.wantOurs {
				t.Errorf("removed: got %t, want %t: %s", got, tc.wantOurs, tc.reason)
			}
		})
	}
}

func TestExisting(t *testing.T) {
	for name, tc := range map[string]struct {
		reason          string
		account, region string
		tags            map[string]string
		admin           bool
		want            []string
	}{
		"Tenants":        {"tagged for the caller's tenant", "123456789012", "us-east-1", map[string]string{deploy.TagTenant: "acme"}, false, nil},
		"Admin":          {"an admin may use any", "123456789012", "us-east-1", nil, true, nil},
		"Untagged":       {"it would grant access to what is not the tenant's", "123456789012", "us-east-1", nil, false, []string{"existing_not_allowed"}},
		"OtherTenants":   {"another tenant's", "123456789012", "us-east-1", map[string]string{deploy.TagTenant: "other"}, false, []string{"existing_not_allowed"}},
		"OfADeployment":  {"it goes when that deployment goes, admin or not", "123456789012", "us-east-1", map[string]string{deploy.TagTenant: "acme", deploy.TagDeployment: "x"}, true, []string{"existing_belongs_to_deployment"}},
		"Kept":           {"a later create of its own deployment takes it up", "123456789012", "us-east-1", map[string]string{deploy.TagTenant: "acme", deploy.TagResource: "bucket"}, false, []string{"existing_belongs_to_deployment"}},
		"OtherRegion":    {"jobs would pay for every byte", "123456789012", "eu-west-1", map[string]string{deploy.TagTenant: "acme"}, false, []string{"existing_unusable"}},
		"OtherAccount":   {"S3 does not tell whose it is", "999999999999", "us-east-1", map[string]string{deploy.TagTenant: "acme"}, true, []string{"existing_unusable"}},
		"NotThere":       {"nothing of that name", "", "", nil, true, []string{"existing_not_found"}},
		"NotThereTenant": {"nothing of that name", "", "", nil, false, []string{"existing_not_found"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := setting{spec: deploy.Spec{Storage: deploy.Storage{Existing: &deploy.ExistingBucket{Bucket: "theirs", Prefix: "/metaflow/"}}}}.build(t)
			b.Admin = tc.admin

			if tc.account != "" {
				b.World.S3.Put("theirs", tc.account, tc.region, tc.tags)
			}

			var codes []string

			for _, f := range b.Check(t) {
				codes = append(codes, f.Code)

				if f.Pointer != "/spec/storage/existing/bucket" || f.Remedy == "" || f.Message == "" {
					t.Errorf("finding: got %+v, want a pointer, a message and a remedy", f)
				}
			}

			if diff := cmp.Diff(tc.want, codes); diff != "" {
				t.Errorf("findings (-want +got): %s\n%s", tc.reason, diff)
			}

			obs := b.Observe(t)
			usable := obs.State == kind.Ready && len(obs.Problems) == 0

			// Whose it is, is judged when the request comes in; only then is the caller known.
			if want := tc.account == "123456789012" && tc.region == "us-east-1"; usable != want {
				t.Errorf("observation: got %+v, want usable %t", obs, want)
			}

			if usable && (obs.Outputs["name"] != "theirs" || obs.ARN != "arn:aws:s3:::theirs") {
				t.Errorf("observation: got %+v, want the bucket's name and ARN", obs)
			}
		})
	}
}

func TestCheckOfWhatWeMake(t *testing.T) {
	if got := build(t).Check(t); len(got) > 0 {
		t.Errorf("findings: got %v, want none", got)
	}
}

// The bucket of another account must never be read or written by mistake.
func TestEveryCallNamesTheOwner(t *testing.T) {
	b := setting{data: deploy.Purge}.build(t)
	b.Ensure(t)

	for _, key := range []string{"a", "\a"} {
		_, err := b.World.S3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &b.ID, Key: &key, ExpectedBucketOwner: &b.World.Account})
		must(t, err)
		_, err = b.World.S3.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &b.ID, Key: &key, ExpectedBucketOwner: &b.World.Account})
		must(t, err)
	}

	b.Observe(t)
	b.Remove(t)

	for _, c := range b.World.Calls() {
		if c.Operation == "CreateBucket" {
			continue // has no such member: nobody owns it yet
		}

		owner, _ := reflect.ValueOf(c.Input).Elem().FieldByName("ExpectedBucketOwner").Interface().(*string)
		if aws.ToString(owner) != b.World.Account {
			t.Errorf("%s: ExpectedBucketOwner: got %q, want %q", c.Operation, aws.ToString(owner), b.World.Account)
		}
	}
}

func TestLongestName(t *testing.T) {
	o := deploy.Owner{Installation: strings.Repeat("i", 40), Account: "123456789012", Region: "ap-southeast-99", Tenant: "t", Name: strings.Repeat("n", 24)}
	if name, _ := o.Bucket(deploy.Spec{}); len(name) > 63 {
		t.Errorf("bucket name %s: got %d characters, want at most 63", name, len(name))
	}
}

func bucketName(b *kindtest.Bench) string {
	name, _ := b.Owner.Bucket(b.Spec)

	return name
}

func put(t *testing.T, b *kindtest.Bench, key string) {
	t.Helper()

	_, err := b.World.S3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &b.ID, Key: &key})
	must(t, err)
}

// purgeObjects empties the bucket behind the kind's back.
func purgeObjects(t *testing.T, b *kindtest.Bench) {
	t.Helper()

	out, err := b.World.S3.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &b.ID})
	must(t, err)

	for _, v := range out.Versions {
		_, err := b.World.S3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &b.ID, Key: v.Key, VersionId: v.VersionId})
		must(t, err)
	}
}

func putOwnership(t *testing.T, b *kindtest.Bench, o types.ObjectOwnership) {
	t.Helper()

	_, err := b.World.S3.PutBucketOwnershipControls(t.Context(), &s3.PutBucketOwnershipControlsInput{
		Bucket: &b.ID, OwnershipControls: &types.OwnershipControls{Rules: []types.OwnershipControlsRule{{ObjectOwnership: o}}},
	})
	must(t, err)
}

func readTags(t *testing.T, b *kindtest.Bench) map[string]string {
	t.Helper()

	out, err := b.World.S3.GetBucketTagging(t.Context(), &s3.GetBucketTaggingInput{Bucket: aws.String(bucketName(b))})
	must(t, err)

	tags := map[string]string{}
	for _, tag := range out.TagSet {
		tags[*tag.Key] = *tag.Value
	}

	return tags
}

func editTags(t *testing.T, b *kindtest.Bench, edit func(tags map[string]string)) {
	t.Helper()

	tags := readTags(t, b)
	edit(tags)

	var list []types.Tag
	for k, v := range tags {
		list = append(list, types.Tag{Key: aws.String(k), Value: aws.String(v)})
	}

	_, err := b.World.S3.PutBucketTagging(t.Context(), &s3.PutBucketTaggingInput{Bucket: &b.ID, Tagging: &types.Tagging{TagSet: list}})
	must(t, err)
}

func must(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

// What somebody writes while a rollback takes the probe's object away stays, and with it the bucket.
func TestWrittenWhileTheProbesObjectGoes(t *testing.T) {
	b := setting{data: deploy.IfEmpty}.build(t)
	b.Ensure(t)

	_, key := b.Owner.ProbeObject(b.Spec)
	put(t, b, key)

	written := false

	b.World.Fault = func(ctx context.Context, c awsfake.Call) awsfake.Fault {
		if c.Operation == "DeleteObjects" && !written {
			written = true
			_, err := b.World.S3.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(b.Name("metaflow")), Key: aws.String("flows/a")})
			must(t, err)
		}

		return awsfake.Fault{}
	}

	if r := b.Remove(t); !r.Kept || !written {
		t.Errorf("kept: got %t, want the bucket to stay with what was written to it", r.Kept)
	}

	out, err := b.World.S3.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(b.Name("metaflow"))})
	must(t, err)

	if len(out.Versions) != 1 || *out.Versions[0].Key != "flows/a" {
		t.Errorf("left in the bucket: %v", out.Versions)
	}
}
