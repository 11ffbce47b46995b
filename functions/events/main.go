// Command events is the Lambda function that carries events out: the table's stream calls it with those that were written, in order, and it puts each on the
// event bus and into the queue of each webhook of its tenant.
package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsconf"
	"github.com/metaflow-deployer/metaflow-deployer/internal/awsevents"
	"github.com/metaflow-deployer/metaflow-deployer/internal/courier"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/dynamo"
)

type config struct {
	Table        string `env:"TABLE"`
	Installation string `env:"INSTALLATION"`
	Bus          string `env:"EVENT_BUS"`
	Queue        string `env:"WEBHOOK_QUEUE"`
}

// carrier is what one call of the function works with.
type carrier struct {
	publisher *courier.Publisher
	log       *slog.Logger
}

func main() { awsconf.Start(wire) }

func wire(log *slog.Logger, sdk aws.Config, c config) (func(context.Context, events.DynamoDBEvent) (events.DynamoDBEventResponse, error), error) {
	carrier := &carrier{log: log, publisher: &courier.Publisher{
		Bus: awsevents.NewBus(eventbridge.NewFromConfig(sdk), c.Bus, c.Installation), Queue: awsevents.NewQueue(sqs.NewFromConfig(sdk), c.Queue),
		Webhooks: dynamo.New(dynamodb.NewFromConfig(sdk), c.Table),
	}}

	return carrier.handle, nil
}

// handle carries out a batch. The first that fails ends it: Lambda calls again with that one and those behind it, so their order stays. A batch that made no
// headway fails as a whole, for then Lambda halves it: what cannot be carried ends alone and is given up alone.
func (c *carrier) handle(ctx context.Context, batch events.DynamoDBEvent) (events.DynamoDBEventResponse, error) {
	for i, r := range batch.Records {
		if err := c.carry(ctx, r.Change.NewImage); err != nil {
			c.log.ErrorContext(ctx, "carry an event", "record", r.Change.SequenceNumber, "error", err)

			if i == 0 && len(batch.Records) > 1 {
				return events.DynamoDBEventResponse{}, errors.New("the first record of the batch cannot be carried")
			}

			return events.DynamoDBEventResponse{BatchItemFailures: []events.DynamoDBBatchItemFailure{{ItemIdentifier: r.Change.SequenceNumber}}}, nil
		}
	}

	return events.DynamoDBEventResponse{BatchItemFailures: []events.DynamoDBBatchItemFailure{}}, nil
}

func (c *carrier) carry(ctx context.Context, item map[string]events.DynamoDBAttributeValue) error {
	e, ok, err := dynamo.EventOf(text(item["pk"]), text(item["body"]))
	if err != nil {
		// It never will be readable, and must not hold up those behind it for half a day.
		c.log.ErrorContext(ctx, "leave out an event that cannot be read", "error", err)

		return nil
	}

	if !ok {
		return nil
	}

	if err := c.publisher.Publish(ctx, e); err != nil {
		return err
	}

	c.log.InfoContext(ctx, "carried", "event", e.ID, "type", e.Type, "phase", e.Phase, "state", e.State)

	return nil
}

// text is a value that is text; anything else is none.
func text(v events.DynamoDBAttributeValue) string {
	if v.DataType() != events.DataTypeString {
		return ""
	}

	return v.String()
}
