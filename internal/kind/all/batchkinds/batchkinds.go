// Package batchkinds lists the kinds of the batch function. A new one is one line.
package batchkinds

import (
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/computeenvironment"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/jobqueue"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/probe"
)

// Kinds makes them on clients, which may be nil where only their declarations are read. EC2 says which instance types a Region offers.
func Kinds(client *batch.Client, types *ec2.Client) kind.Registry {
	return kind.Registry{
		computeenvironment.New(client, types),
		jobqueue.New(client),
		probe.New(client),
	}
}
