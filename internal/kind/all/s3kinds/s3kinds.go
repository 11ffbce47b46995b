// Package s3kinds lists the kinds of the s3 function. A new one is one line.
package s3kinds

import (
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/bucket"
)

// Kinds makes them on a client, which may be nil where only their declarations are read.
func Kinds(client *s3.Client) kind.Registry {
	return kind.Registry{
		bucket.New(client),
	}
}
