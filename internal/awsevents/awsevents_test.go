package awsevents_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsevents"
	"github.com/metaflow-deployer/metaflow-deployer/internal/courier"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// fake is EventBridge and SQS as far as they are used.
type fake struct {
	// code refuses the entry within a good answer, err the whole call.
	code string
	err  error

	put    *eventbridge.PutEventsInput
	sent   *sqs.SendMessageInput
	hidden *sqs.ChangeMessageVisibilityInput
}

func (f *fake) PutEvents(_ context.Context, in *eventbridge.PutEventsInput, _ ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error) {
	f.put = in

	out := &eventbridge.PutEventsOutput{Entries: []ebtypes.PutEventsResultEntry{{}}}
	if f.code != "" {
		out.FailedEntryCount, out.Entries[0].ErrorCode = 1, &f.code
	}

	return out, f.err
}

func (f *fake) SendMessage(_ context.Context, in *sqs.SendMessageInput, _ ...func(*sqs.Options)) (*sqs.SendMessageOutput, error) {
	f.sent = in

	return &sqs.SendMessageOutput{}, f.err
}

func (f *fake) ChangeMessageVisibility(
	_ context.Context, in *sqs.ChangeMessageVisibilityInput, _ ...func(*sqs.Options),
) (*sqs.ChangeMessageVisibilityOutput, error) {
	f.hidden = in

	return &sqs.ChangeMessageVisibilityOutput{}, f.err
}

func TestBus(t *testing.T) {
	t.Parallel()

	down := errors.New("down")

	for reason, f := range map[string]*fake{
		"it is taken": {}, "an entry is refused within a good answer": {code: "ThrottlingException"}, "the call fails": {err: down},
	} {
		err := awsevents.NewBus(f, "bus", "prod").Put(t.Context(), courier.Event{ID: "a", Type: deploy.EventChanged, Time: time.Unix(1, 0)})
		if (err == nil) != (f.code == "" && f.err == nil) || f.code != "" && !strings.Contains(err.Error(), f.code) || f.err != nil && !errors.Is(err, down) {
			t.Errorf("%s: %v", reason, err)
		}

		e := f.put.Entries[0]

		var detail courier.Event
		if err := json.Unmarshal([]byte(*e.Detail), &detail); err != nil || detail.ID != "a" {
			t.Errorf("%v: %s", err, *e.Detail)
		}

		if *e.EventBusName != "bus" || *e.Source != "metaflow-deployer.prod" || *e.DetailType != "deployment.changed" || !e.Time.Equal(time.Unix(1, 0)) {
			t.Errorf("%+v", e)
		}
	}
}

func TestQueue(t *testing.T) {
	t.Parallel()

	down := errors.New("down")

	for _, f := range []*fake{{}, {err: down}} {
		q := awsevents.NewQueue(f, "url")
		d := courier.Delivery{Tenant: "acme", Webhook: "w", ID: "evt_1", Body: json.RawMessage(`{}`), Group: "g", Once: "o"}

		if err := q.Send(t.Context(), d); !errors.Is(err, f.err) {
			t.Errorf("%v", err)
		}

		var got courier.Delivery
		if err := json.Unmarshal([]byte(*f.sent.MessageBody), &got); err != nil || got.Webhook != "w" || got.Tenant != "acme" || got.ID != "evt_1" {
			t.Errorf("%v: %s", err, *f.sent.MessageBody)
		}

		if *f.sent.QueueUrl != "url" || *f.sent.MessageGroupId != "g" || *f.sent.MessageDeduplicationId != "o" {
			t.Errorf("%+v", f.sent)
		}

		if err := q.Hide(t.Context(), "r", 90*time.Second); !errors.Is(err, f.err) {
			t.Errorf("%v", err)
		}

		if aws.ToString(f.hidden.ReceiptHandle) != "r" || f.hidden.VisibilityTimeout != 90 || *f.hidden.QueueUrl != "url" {
			t.Errorf("%+v", f.hidden)
		}
	}
}
