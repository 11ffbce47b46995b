// Command workflow is the Lambda function behind the machine's own states: Begin, Record, Settle and Close. It may use the table and nothing else.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
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

func main() {
	log := awsconf.Logger()

	run, err := wire(context.Background(), log)
	if err != nil {
		log.Error("start", "error", err)
		os.Exit(1)
	}

	lambda.Start(lambdastep.Wrap(log, run))
}

func wire(ctx context.Context, log *slog.Logger) (func(context.Context, workflow.Input) (workflow.Plan, error), error) {
	c, err := awsconf.Load[config]()
	if err != nil {
		return nil, err
	}

	sdk, err := awsconf.SDK(ctx)
	if err != nil {
		return nil, err
	}

	graphs, err := workflow.NewGraphs(all.Kinds(all.Clients{}))
	if err != nil {
		return nil, err
	}

	conductor := &workflow.Conductor{
		Store: dynamo.New(dynamodb.NewFromConfig(sdk), c.Table), Graphs: graphs, Clock: workflow.WallClock{}, Log: log,
	}

	return conductor.Run, nil
}
