// Command webhook is the Lambda function that delivers events to webhooks: the queue of deliveries calls it with one at a time of each webhook and deployment.
// What fails is hidden for longer each time, until the queue gives it up to the dead letters.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsconf"
	"github.com/metaflow-deployer/metaflow-deployer/internal/awsevents"
	"github.com/metaflow-deployer/metaflow-deployer/internal/courier"
	"github.com/metaflow-deployer/metaflow-deployer/internal/egress"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/dynamo"
)

type config struct {
	Table   string `env:"TABLE"`
	Queue   string `env:"WEBHOOK_QUEUE"`
	Origins string `env:"WEBHOOK_ORIGINS"`
}

// hider keeps a received message from being received again for a while.
type hider interface {
	Hide(ctx context.Context, receipt string, d time.Duration) error
}

// postman is what one call of the function works with.
type postman struct {
	courier *courier.Courier
	queue   hider
	log     *slog.Logger
}

func main() { awsconf.Start(wire) }

func wire(log *slog.Logger, sdk aws.Config, c config) (func(context.Context, events.SQSEvent) (events.SQSEventResponse, error), error) {
	origins, err := awsconf.JSON[[]string]("WEBHOOK_ORIGINS", c.Origins)
	if err != nil {
		return nil, err
	}

	out, err := egress.New(origins)
	if err != nil {
		return nil, err
	}

	p := &postman{
		courier: &courier.Courier{Webhooks: dynamo.New(dynamodb.NewFromConfig(sdk), c.Table), Caller: out, Now: time.Now, Log: log},
		queue:   awsevents.NewQueue(sqs.NewFromConfig(sdk), c.Queue), log: log,
	}

	return p.handle, nil
}

// handle delivers a batch. The first that fails ends it, as the order of a FIFO queue asks for.
func (p *postman) handle(ctx context.Context, batch events.SQSEvent) (events.SQSEventResponse, error) {
	failed := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}}

	for i, m := range batch.Records {
		again, err := p.deliver(ctx, m)
		if err == nil {
			continue
		}

		p.log.WarnContext(ctx, "not delivered", "again", again, "error", err)

		// If it cannot be hidden it comes back by the queue's own time.
		if err := p.queue.Hide(ctx, m.ReceiptHandle, again); err != nil {
			p.log.ErrorContext(ctx, "hide a message", "message", m.MessageId, "error", err)
		}

		for _, left := range batch.Records[i:] {
			failed.BatchItemFailures = append(failed.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: left.MessageId})
		}

		break
	}

	return failed, nil
}

func (p *postman) deliver(ctx context.Context, m events.SQSMessage) (time.Duration, error) {
	var d courier.Delivery
	if err := json.Unmarshal([]byte(m.Body), &d); err != nil {
		return 0, fmt.Errorf("read message %s: %w", m.MessageId, err) // a mistake of ours: no time makes it better
	}

	n, err := strconv.Atoi(m.Attributes["ApproximateReceiveCount"])
	if err != nil {
		return 0, fmt.Errorf("read the receive count of message %s: %w", m.MessageId, err)
	}

	sent, err := strconv.ParseInt(m.Attributes["SentTimestamp"], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the time of message %s: %w", m.MessageId, err)
	}

	return p.courier.Deliver(ctx, d, n, time.UnixMilli(sent))
}
