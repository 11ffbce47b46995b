// Command watchdog is the Lambda function that starts abandoned operations again: each minute on a schedule, and at once when Step Functions reports that
// an execution ended without success.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sfn"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsconf"
	"github.com/metaflow-deployer/metaflow-deployer/internal/awssfn"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/all"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/dynamo"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

type config struct {
	Table        string `env:"TABLE"`
	Installation string `env:"INSTALLATION"`
	StateMachine string `env:"STATE_MACHINE"`
}

func main() {
	log := awsconf.Logger()

	handle, err := wire(context.Background(), log)
	if err != nil {
		log.Error("start", "error", err)
		os.Exit(1)
	}

	lambda.Start(handle)
}

func wire(ctx context.Context, log *slog.Logger) (func(context.Context, events.EventBridgeEvent) error, error) {
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

	dog := &workflow.Watchdog{
		Store: dynamo.New(dynamodb.NewFromConfig(sdk), c.Table), Graphs: graphs, Starter: awssfn.New(sfn.NewFromConfig(sdk), c.StateMachine),
		Place: workflow.Place{Installation: c.Installation}, Clock: workflow.WallClock{}, Log: log,
	}

	return func(ctx context.Context, e events.EventBridgeEvent) error { return handle(ctx, dog, e) }, nil
}

func handle(ctx context.Context, dog *workflow.Watchdog, e events.EventBridgeEvent) error {
	if e.Source != "aws.states" {
		return dog.Run(ctx)
	}

	// https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html: the input of the execution is a text in the detail.
	var detail struct {
		Input string `json:"input"`
	}
	if err := json.Unmarshal(e.Detail, &detail); err != nil {
		return fmt.Errorf("read the status event: %w", err)
	}

	var execution workflow.Execution
	if err := json.Unmarshal([]byte(detail.Input), &execution); err != nil {
		return fmt.Errorf("read the execution's input: %w", err)
	}

	return dog.Ended(ctx, execution)
}
