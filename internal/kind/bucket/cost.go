package bucket

import (
	"fmt"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// Cost implements kind.Planned: a bucket costs what is in it and what is asked of it. S3 user guide, "Understanding your AWS billing and usage reports".
func (*Bucket) Cost(c *kind.Call) []deploy.CostLine {
	return []deploy.CostLine{
		kind.Used(c, "objects", "s3/storage", fmt.Sprintf("What flows keep, and for %d days what they overwrote or deleted. An empty bucket costs nothing.", c.Spec.Storage.OldVersionsDays)),
		kind.Used(c, "writes and lists", "s3/write", "PUT, COPY, POST and LIST requests."),
		kind.Used(c, "reads", "s3/read", "GET and all other requests; DELETE is free."),
	}
}
