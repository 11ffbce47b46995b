package bucket

import (
	"context"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// vacant finds out whether the name of the bucket that we would make is free, or ours. Names of buckets are shared with everybody in the partition.
func (b *Bucket) vacant(ctx context.Context, c *kind.Call) ([]deploy.Finding, error) {
	if !c.Names {
		return nil, nil
	}

	bucket, _ := c.Owner.Bucket(c.Spec)

	id, err := b.find(ctx, c, bucket)
	if err != nil || id == "" {
		return kind.Taken(c, err)
	}

	tags, err := b.tags(ctx, c, bucket)
	if err = awserr.IgnoreGone(err); err != nil {
		return nil, err
	}

	if tags != nil && !c.Owns(tags) {
		return kind.Taken(c, c.Foreign("bucket", bucket))
	}

	return nil, nil
}
