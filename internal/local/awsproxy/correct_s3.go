package awsproxy

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsmodel"
)

func s3Corrections() []entry {
	return []entry{
		{
			name:    "correction/bucket-tags",
			source:  "S3 API reference, CreateBucketConfiguration, Tags: the bucket is made with them. moto ignores them.",
			service: "s3", actions: []string{"CreateBucket"}, apply: bucketTags,
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

func bucketTags(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	a, err := next(ctx, c)

	tags := listOf(c.object("CreateBucketConfiguration")["Tags"])
	if err != nil || !a.ok() || len(tags) == 0 {
		return a, err
	}

	p.touch(c, "correction/bucket-tags")

	set := &awsmodel.Element{Name: "TagSet"}

	for _, t := range tags {
		tag, _ := t.(map[string]any)
		key, _ := tag["Key"].(string)
		value, _ := tag["Value"].(string)
		set.Children = append(set.Children, &awsmodel.Element{Name: "Tag", Children: []*awsmodel.Element{{Name: "Key", Text: key}, {Name: "Value", Text: value}}})
	}

	body := (&awsmodel.Element{Name: "Tagging", Children: []*awsmodel.Element{set}}).Bytes()

	put, err := p.ask(ctx, c, "s3", http.MethodPut, "/"+url.PathEscape(c.text("Bucket"))+"?tagging", "application/xml", body)
	if err != nil {
		return nil, err
	}

	if !put.ok() {
		return put, nil
	}

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
