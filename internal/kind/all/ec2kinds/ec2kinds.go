// Package ec2kinds lists the kinds of the ec2 function. A new one is one line.
package ec2kinds

import (
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/internetgateway"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/launchtemplate"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/routetable"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/securitygroup"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/subnet"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/vpc"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/vpcendpoint"
)

// Kinds makes them on a client, which may be nil where only their declarations are read.
func Kinds(client *ec2.Client) kind.Registry {
	return kind.Registry{
		vpc.New(client),
		internetgateway.New(client),
		routetable.New(client),
		subnet.New(client),
		vpcendpoint.New(client),
		securitygroup.New(client),
		launchtemplate.New(client),
	}
}
