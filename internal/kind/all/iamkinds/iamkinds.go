// Package iamkinds lists the kinds of the iam function. A new one is one line.
package iamkinds

import (
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/instanceprofile"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/instancerole"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/jobrole"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/servicelinkedrole"
)

// Kinds makes them on a client, which may be nil where only their declarations are read.
func Kinds(client *iam.Client) kind.Registry {
	return kind.Registry{
		jobrole.New(client),
		instancerole.New(client),
		instanceprofile.New(client),
		servicelinkedrole.New(client),
	}
}
