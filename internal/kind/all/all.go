// Package all is every kind there is: the lists of the worker functions, joined.
package all

import (
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/all/batchkinds"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/all/ec2kinds"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/all/iamkinds"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/all/s3kinds"
)

// Clients are the AWS services that kinds call. The zero value serves where only the kinds' declarations are read.
type Clients struct {
	S3    *s3.Client
	IAM   *iam.Client
	EC2   *ec2.Client
	Batch *batch.Client
}

// Kinds lists every kind.
func Kinds(c Clients) kind.Registry {
	return slices.Concat(s3kinds.Kinds(c.S3), iamkinds.Kinds(c.IAM), ec2kinds.Kinds(c.EC2), batchkinds.Kinds(c.Batch, c.EC2))
}
