// Command batch is the Lambda function that makes and removes compute environments and job queues: one step for one resource an invocation, and
// a sweep for those that no record knows on a schedule. It may act on that AWS service and write the table.
package main

import (
	"log/slog"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsconf"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/all/batchkinds"
	"github.com/metaflow-deployer/metaflow-deployer/internal/lambdastep"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/dynamo"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

type config struct {
	Table        string `env:"TABLE"`
	Installation string `env:"INSTALLATION"`
	Partition    string `env:"PARTITION"`
	Account      string `env:"ACCOUNT"`
	Region       string `env:"AWS_REGION"`
}

func main() { awsconf.Start(wire) }

func wire(log *slog.Logger, sdk aws.Config, c config) (lambdastep.Step, error) {
	table := dynamo.New(dynamodb.NewFromConfig(sdk), c.Table)
	worker := &workflow.Worker{
		Store: table,
		Kinds: batchkinds.Kinds(batch.NewFromConfig(sdk), ec2.NewFromConfig(sdk)),
		Place: workflow.Place{Installation: c.Installation, Partition: c.Partition, Account: c.Account, Region: c.Region},
		Clock: workflow.WallClock{}, Log: log,
	}

	return lambdastep.Worker(worker, "batch", table), nil
}
