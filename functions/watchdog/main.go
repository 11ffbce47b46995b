// Command watchdog is the Lambda function that looks after what has its time: each minute on a schedule it starts abandoned and queued operations, and
// deletes deployments that expire; and at once when Step Functions reports that an execution ended.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sfn"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsconf"
	"github.com/metaflow-deployer/metaflow-deployer/internal/awssfn"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/all"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/dynamo"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

type config struct {
	Table        string `env:"TABLE"`
	Installation string `env:"INSTALLATION"`
	StateMachine string `env:"STATE_MACHINE"`
	TenantLimits string `env:"TENANT_LIMITS"`
}

// watch is everything that one look is about.
type watch struct {
	dog    *workflow.Watchdog
	queue  *workflow.Queue
	expiry *workflow.Expiry
}

func main() { awsconf.Start(wire) }

func wire(log *slog.Logger, sdk aws.Config, c config) (func(context.Context, events.EventBridgeEvent) error, error) {
	graphs, err := workflow.NewGraphs(all.Kinds(all.Clients{}))
	if err != nil {
		return nil, err
	}

	limits, err := awsconf.JSON[deploy.Limits]("TENANT_LIMITS", c.TenantLimits)
	if err != nil {
		return nil, err
	}

	var (
		table   = dynamo.New(dynamodb.NewFromConfig(sdk), c.Table)
		starter = awssfn.New(sfn.NewFromConfig(sdk), c.StateMachine)
		place   = workflow.Place{Installation: c.Installation}
		clock   = workflow.WallClock{}
	)

	w := watch{
		dog:   &workflow.Watchdog{Store: table, Graphs: graphs, Starter: starter, Place: place, Clock: clock, Log: log},
		queue: &workflow.Queue{Store: table, Tenants: table, Starter: starter, Place: place, Clock: clock, Limits: limits, Log: log},
		expiry: &workflow.Expiry{Tenants: table, Control: &workflow.Control{
			Store: table, Graphs: graphs, Starter: starter, Place: place, Clock: clock, NewID: workflow.NewID, Limits: limits, Grants: table, Log: log,
		}},
	}

	return w.handle, nil
}

// queueing and expiring are what the queue and the expiry may take of an invocation's 40 s at most.
const queueing, expiring = 12 * time.Second, 8 * time.Second

func within(ctx context.Context, d time.Duration, work func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()

	return work(ctx)
}

func (w watch) handle(ctx context.Context, e events.EventBridgeEvent) error {
	if e.Source != "aws.states" {
		// The dog last: after a storm it goes on for as long as there is time. The others leave it some: while Step Functions throttles, each start takes long.
		return errors.Join(within(ctx, queueing, w.queue.AdvanceAll), within(ctx, expiring, w.expiry.Run), w.dog.Run(ctx))
	}

	// https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html: the input of the execution is a text in the detail.
	var detail struct {
		Status string `json:"status"`
		Input  string `json:"input"`
	}
	if err := json.Unmarshal(e.Detail, &detail); err != nil {
		return fmt.Errorf("read the status event: %w", err)
	}

	var execution workflow.Execution
	if err := json.Unmarshal([]byte(detail.Input), &execution); err != nil {
		return fmt.Errorf("read the execution's input: %w", err)
	}

	if detail.Status == "SUCCEEDED" {
		return w.queue.Advance(ctx, execution.Tenant) // there is room for another one
	}

	return w.dog.Ended(ctx, execution)
}
