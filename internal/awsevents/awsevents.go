// Package awsevents puts events on EventBridge and deliveries into SQS for package courier.
package awsevents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/metaflow-deployer/metaflow-deployer/internal/courier"
)

type eventsAPI interface {
	PutEvents(ctx context.Context, in *eventbridge.PutEventsInput, opts ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error)
}

type queueAPI interface {
	SendMessage(ctx context.Context, in *sqs.SendMessageInput, opts ...func(*sqs.Options)) (*sqs.SendMessageOutput, error)
	ChangeMessageVisibility(
		ctx context.Context, in *sqs.ChangeMessageVisibilityInput, opts ...func(*sqs.Options),
	) (*sqs.ChangeMessageVisibilityOutput, error)
}

// Bus is an event bus. It implements courier.Bus.
type Bus struct {
	client       eventsAPI
	name, source string
}

// NewBus takes the bus's name and the installation, which is in each event's source.
func NewBus(client eventsAPI, name, installation string) *Bus {
	return &Bus{client: client, name: name, source: "metaflow-deployer." + installation}
}

// Put implements courier.Bus.
func (b *Bus) Put(ctx context.Context, e courier.Event) error {
	detail, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode the event: %w", err)
	}

	out, err := b.client.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{{
		EventBusName: &b.name, Source: &b.source, DetailType: aws.String(string(e.Type)), Detail: aws.String(string(detail)), Time: &e.Time,
	}}})
	if err != nil {
		return fmt.Errorf("put the event: %w", err)
	}

	// API reference, PutEvents: an entry may be refused within an answer of 200.
	if out.FailedEntryCount > 0 {
		code := "no reason"
		if len(out.Entries) > 0 {
			code = aws.ToString(out.Entries[0].ErrorCode)
		}

		return errors.New("the bus took the event not: " + code)
	}

	return nil
}

// Queue is the FIFO queue of deliveries. It implements courier.Queue.
type Queue struct {
	client queueAPI
	url    string
}

// NewQueue takes the queue's URL.
func NewQueue(client queueAPI, url string) *Queue { return &Queue{client: client, url: url} }

// Send implements courier.Queue.
func (q *Queue) Send(ctx context.Context, d courier.Delivery) error {
	body, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encode the delivery: %w", err)
	}

	_, err = q.client.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl: &q.url, MessageBody: aws.String(string(body)), MessageGroupId: &d.Group, MessageDeduplicationId: &d.Once,
	})
	if err != nil {
		return fmt.Errorf("send the delivery: %w", err)
	}

	return nil
}

// Hide keeps a received message from being received again for a while.
func (q *Queue) Hide(ctx context.Context, receipt string, d time.Duration) error {
	_, err := q.client.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
		QueueUrl: &q.url, ReceiptHandle: &receipt, VisibilityTimeout: int32(d.Seconds()),
	})
	if err != nil {
		return fmt.Errorf("hide the message: %w", err)
	}

	return nil
}
