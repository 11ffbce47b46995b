// Command workflow is the Lambda function behind the machine's own states: Begin, Record, Settle and Close. It may use the table and nothing else.
package main

import (
	"context"
	"log/slog"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsconf"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/all"
	"github.com/metaflow-deployer/metaflow-deployer/internal/lambdastep"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/dynamo"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

type config struct {
	Table string `env:"TABLE"`
}

func main() { awsconf.Start(wire) }

func wire(log *slog.Logger, sdk aws.Config, c config) (func(context.Context, workflow.Input) (workflow.Plan, error), error) {
	graphs, err := workflow.NewGraphs(all.Kinds(all.Clients{}))
	if err != nil {
		return nil, err
	}

	conductor := &workflow.Conductor{
		Store: dynamo.New(dynamodb.NewFromConfig(sdk), c.Table), Graphs: graphs, Clock: workflow.WallClock{}, Log: log,
	}

	return lambdastep.Wrap(log, conductor.Run), nil
}
