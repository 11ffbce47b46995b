// Command iam is the Lambda function that makes and removes roles and instance profiles: one step for one resource an invocation, and
// a sweep for those that no record knows on a schedule. It may act on that AWS service and write the table.
package main

import (
	"log/slog"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsconf"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/all/iamkinds"
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
	Boundary     string `env:"BOUNDARY"`
}

func main() { awsconf.Start(wire) }

func wire(log *slog.Logger, sdk aws.Config, c config) (lambdastep.Step, error) {
	table := dynamo.New(dynamodb.NewFromConfig(sdk), c.Table)
	worker := &workflow.Worker{
		Store: table,
		Kinds: iamkinds.Kinds(iam.NewFromConfig(sdk)),
		Place: workflow.Place{Installation: c.Installation, Partition: c.Partition, Account: c.Account, Region: c.Region, Boundary: c.Boundary},
		Clock: workflow.WallClock{}, Log: log,
	}

	return lambdastep.Worker(worker, "iam", table), nil
}
