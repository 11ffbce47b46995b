package awsproxy

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsmodel"
)

func s3Corrections() []entry {
	return []entry{
		{
			name: "correction/bucket-owner",
			source: "S3 user guide, Verifying bucket ownership: a call for a bucket of another account than ExpectedBucketOwner, or than the caller's, is answered " +
				"403. moto lets every account at every bucket.",
			service: "s3", apply: bucketOwner,
		},
		{
			name: "correction/bucket-defaults",
			source: "S3 user guide: since 2023 new buckets block public access, have their ACLs off and are encrypted with SSE-S3; S3 API reference, " +
				"CreateBucketConfiguration, Tags: the bucket is made with them, and with no others. moto does none of this, and hands out the tags of one that had " +
				"the name before.",
			service: "s3", actions: []string{"CreateBucket"}, apply: bucketDefaults,
		},
		{
			name:    "correction/bucket-encryption",
			source:  "S3 API reference, GetBucketEncryption: a bucket has at least SSE-S3. moto finds no configuration.",
			service: "s3", actions: []string{"GetBucketEncryption"}, apply: bucketEncryption,
		},
		{
			name:    "correction/quiet-delete",
			source:  "S3 API reference, DeleteObjects: in quiet mode only errors are listed. moto lists what it deleted all the same.",
			service: "s3", actions: []string{"DeleteObjects"}, apply: quietDelete,
		},
		{
			name: "correction/bucket-policy",
			source: "IAM user guide, IAM JSON policy elements: Condition. moto applies a statement whatever its condition, so that a policy which denies " +
				"insecure transport refuses everything. Policies with conditions are kept here, out of moto's sight; loopback counts as secure transport, and " +
				"no other condition is judged.",
			service: "s3", actions: []string{"PutBucketPolicy", "GetBucketPolicy", "DeleteBucketPolicy", "DeleteBucket"}, apply: bucketPolicy,
		},
	}
}

// bucketOwner knows the owners of buckets that were made through this endpoint.
func bucketOwner(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	bucket := c.text("Bucket")
	owner := p.worlds.ownerOf(bucket)
	expected := c.text("ExpectedBucketOwner")

	if c.action != "CreateBucket" && owner != "" && (owner != c.account || (expected != "" && expected != owner)) {
		p.touch(c, "correction/bucket-owner")

		code := "AccessDenied"
		if c.method == http.MethodHead {
			code = "Forbidden"
		}

		return c.refuse(http.StatusForbidden, code, "Access Denied"), nil
	}

	a, err := next(ctx, c)
	if err != nil || !a.ok() {
		return a, err
	}

	switch c.action {
	case "CreateBucket":
		p.worlds.own(bucket, c.account)
	case "DeleteBucket":
		p.worlds.own(bucket, "")
	}

	return a, nil
}

// bucketDefaults gives a new bucket what moto leaves out. A create in us-east-1 of a bucket that one has already changes nothing.
func bucketDefaults(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	bucket := c.text("Bucket")
	isNew := p.worlds.ownerOf(bucket) == ""

	a, err := next(ctx, c)
	if err != nil || !a.ok() || !isNew {
		return a, err
	}

	p.touch(c, "correction/bucket-defaults")

	puts := map[string]*awsmodel.Element{"publicAccessBlock": element("PublicAccessBlockConfiguration",
		leaf("BlockPublicAcls", "true"), leaf("IgnorePublicAcls", "true"), leaf("BlockPublicPolicy", "true"), leaf("RestrictPublicBuckets", "true"))}

	if c.text("ObjectOwnership") == "" {
		puts["ownershipControls"] = element("OwnershipControls", element("Rule", leaf("ObjectOwnership", "BucketOwnerEnforced")))
	}

	if tags := listOf(c.object("CreateBucketConfiguration")["Tags"]); len(tags) > 0 {
		set := element("TagSet")

		for _, t := range tags {
			tag, _ := t.(map[string]any)
			key, _ := tag["Key"].(string)
			value, _ := tag["Value"].(string)
			set.Children = append(set.Children, element("Tag", leaf("Key", key), leaf("Value", value)))
		}

		puts["tagging"] = element("Tagging", set)
	}

	if forgot, err := p.ask(ctx, c, "s3", http.MethodDelete, "/"+url.PathEscape(bucket)+"?tagging", "", nil); err != nil || !forgot.ok() {
		return forgot, err
	}

	for config, body := range puts {
		put, err := p.ask(ctx, c, "s3", http.MethodPut, "/"+url.PathEscape(bucket)+"?"+config, "application/xml", body.Bytes())
		if err != nil {
			return nil, err
		}

		if !put.ok() {
			return put, nil
		}
	}

	return a, nil
}

func element(name string, children ...*awsmodel.Element) *awsmodel.Element {
	return &awsmodel.Element{Name: name, Children: children}
}

func leaf(name, text string) *awsmodel.Element { return &awsmodel.Element{Name: name, Text: text} }

func bucketEncryption(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	a, err := next(ctx, c)
	if err != nil || a.fault != "ServerSideEncryptionConfigurationNotFoundError" {
		return a, err
	}

	p.touch(c, "correction/bucket-encryption")

	root := element("ServerSideEncryptionConfiguration", element("Rule",
		element("ApplyServerSideEncryptionByDefault", leaf("SSEAlgorithm", "AES256")), leaf("BucketKeyEnabled", "false")))

	return &answer{status: http.StatusOK, header: http.Header{"Content-Type": {"application/xml"}}, body: root.Bytes()}, nil
}

func quietDelete(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	a, err := next(ctx, c)
	if err != nil || !a.ok() || c.object("Delete")["Quiet"] != true {
		return a, err
	}

	root, err := a.xml()
	if err != nil {
		return nil, err
	}

	p.touch(c, "correction/quiet-delete")

	root.Children = slices.DeleteFunc(root.Children, func(e *awsmodel.Element) bool { return e.Name == "Deleted" })
	a.setBody(root.Bytes())

	return a, nil
}

func bucketPolicy(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	bucket := c.text("Bucket")

	switch c.action {
	case "PutBucketPolicy":
		if !conditional(c.text("Policy")) {
			a, err := next(ctx, c)
			if err == nil && a.ok() {
				c.world.forgetPolicy(bucket)
			}

			return a, err
		}

		return p.keepPolicy(ctx, c)
	case "DeleteBucket":
		a, err := next(ctx, c)
		if err == nil && a.ok() {
			c.world.forgetPolicy(bucket)
		}

		return a, err
	}

	kept := ""

	c.world.with(func() { kept = c.world.policies[bucket] })

	if kept == "" {
		return next(ctx, c)
	}

	p.touch(c, "correction/bucket-policy")

	if c.action == "DeleteBucketPolicy" {
		c.world.forgetPolicy(bucket)

		return empty(http.StatusNoContent), nil
	}

	return &answer{status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, body: []byte(kept)}, nil
}

// keepPolicy takes a policy in moto's place. moto's own is taken away, as the new one replaces it.
func (p *Proxy) keepPolicy(ctx context.Context, c *call) (*answer, error) {
	bucket := c.text("Bucket")

	a, err := p.ask(ctx, c, "s3", http.MethodDelete, "/"+url.PathEscape(bucket)+"?policy", "", nil)
	if err != nil || !a.ok() {
		return a, err // NoSuchBucket, for one
	}

	p.touch(c, "correction/bucket-policy")
	c.world.with(func() { c.world.policies[bucket] = c.text("Policy") })

	return empty(http.StatusNoContent), nil
}

func (w *world) forgetPolicy(bucket string) { w.with(func() { delete(w.policies, bucket) }) }

func empty(status int) *answer { return &answer{status: status, header: http.Header{}} }

// conditional says whether a statement of a policy has a condition. What is no policy has none: moto shall refuse it.
func conditional(policy string) bool {
	var doc struct{ Statement json.RawMessage }
	if json.Unmarshal([]byte(policy), &doc) != nil {
		return false
	}

	type statement struct{ Condition map[string]any }

	var many []statement
	if json.Unmarshal(doc.Statement, &many) != nil {
		many = make([]statement, 1)
		if json.Unmarshal(doc.Statement, &many[0]) != nil {
			return false
		}
	}

	for _, s := range many {
		if len(s.Condition) > 0 {
			return true
		}
	}

	return false
}
