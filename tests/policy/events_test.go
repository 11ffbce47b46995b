package policy_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsevents"
	"github.com/metaflow-deployer/metaflow-deployer/internal/courier"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/samtemplate"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/dynamo"
	"github.com/metaflow-deployer/metaflow-deployer/tests/policy"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

// tellsEvents takes down what awsevents asks of EventBridge and SQS.
type tellsEvents struct {
	add func(service, operation string, in any)
}

func (e *tellsEvents) PutEvents(_ context.Context, in *eventbridge.PutEventsInput, _ ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error) {
	e.add("eventbridge", "PutEvents", in)

	return &eventbridge.PutEventsOutput{}, nil
}

func (e *tellsEvents) SendMessage(_ context.Context, in *sqs.SendMessageInput, _ ...func(*sqs.Options)) (*sqs.SendMessageOutput, error) {
	e.add("sqs", "SendMessage", in)

	return &sqs.SendMessageOutput{}, nil
}

func (e *tellsEvents) ChangeMessageVisibility(
	_ context.Context, in *sqs.ChangeMessageVisibilityInput, _ ...func(*sqs.Options),
) (*sqs.ChangeMessageVisibilityOutput, error) {
	e.add("sqs", "ChangeMessageVisibility", in)

	return &sqs.ChangeMessageVisibilityOutput{}, nil
}

// eventsOut is what the functions ask for that carry an event out and deliver it, and what Lambda asks for in their names, by the template's mappings.
func eventsOut(t *testing.T) []policy.Ask {
	t.Helper()

	data, err := os.ReadFile(filepath.Join(simulation.Root(), "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}

	template, err := samtemplate.Parse(data)
	if err != nil {
		t.Fatal(err)
	}

	stack, err := template.Resolve(inputs())
	if err != nil {
		t.Fatal(err)
	}

	var (
		calls []policy.Call
		ctx   = t.Context()
	)

	as := func(function string) func(service, operation string, in any) {
		return func(service, operation string, in any) {
			m, err := policy.Input(in)
			if err != nil {
				t.Fatal(err)
			}

			calls = append(calls, policy.Call{Function: function, Service: service, Action: operation, Input: m})
		}
	}

	env := map[string]map[string]string{}
	for _, f := range stack.Functions {
		env[f.Name] = f.Env
	}

	for _, name := range []string{"events", "webhook"} {
		add := as(name)
		taking := &tellsEvents{add: add}
		db := dynamo.New(&takesDown{add: func(operation string, in any) { add("dynamodb", operation, in) }}, env[name]["TABLE"])
		queue := awsevents.NewQueue(taking, env[name]["WEBHOOK_QUEUE"])

		_, err := db.Webhooks(ctx, "acme")
		if name == "webhook" {
			err = queue.Hide(ctx, "receipt", time.Second)
		} else if err == nil {
			p := courier.Publisher{Bus: awsevents.NewBus(taking, env[name]["EVENT_BUS"], installation), Queue: queue, Webhooks: db}
			if err = p.Publish(ctx, deploy.Event{Key: key, Sequence: 1}); err == nil {
				err = queue.Send(ctx, courier.Delivery{Webhook: "a"})
			}
		}

		if err != nil {
			t.Fatal(err)
		}
	}

	// Lambda Developer Guide, "Using AWS Lambda with Amazon DynamoDB" and "Using Lambda with Amazon SQS": the permissions of the execution role.
	for _, m := range stack.Mappings {
		function := ""

		for _, f := range stack.Functions {
			if f.ARN == m.Function {
				function = f.Name
			}
		}

		add := as(function)

		if m.Table != "" {
			for _, operation := range []string{"DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"} {
				add("dynamodbstreams", operation, map[string]any{"StreamArn": m.Source})
			}
		} else {
			for _, operation := range []string{"ReceiveMessage", "DeleteMessage", "GetQueueAttributes"} {
				add("sqs", operation, map[string]any{"QueueUrl": queueURL(t, stack, m.Source)})
			}
		}

		if m.OnFailure != "" {
			add("sqs", "SendMessage", map[string]any{"QueueUrl": queueURL(t, stack, m.OnFailure)})
		}
	}

	// Lambda Developer Guide, "Capturing records of Lambda asynchronous invocations": so has the destination of what could not be done.
	for _, id := range template.Resources("AWS::Lambda::EventInvokeConfig") {
		p, err := template.Properties(inputs(), id)
		if err != nil {
			t.Fatal(err)
		}

		function, _ := p["FunctionName"].(string)
		destinations, _ := p["DestinationConfig"].(map[string]any)
		failure, _ := destinations["OnFailure"].(map[string]any)
		queue, _ := failure["Destination"].(string)

		as(function)("sqs", "SendMessage", map[string]any{"QueueUrl": queueURL(t, stack, queue)})
	}

	asks, err := policy.NewWorld(policy.Place{Partition: "aws", Region: region, Account: account}, nil, nil).Asks(calls)
	if err != nil {
		t.Fatal(err)
	}

	return asks
}

func queueURL(t *testing.T, stack *samtemplate.Stack, arn string) string {
	t.Helper()

	for _, q := range stack.Queues {
		if q.ARN == arn {
			return q.URL
		}
	}

	t.Fatalf("%s is no queue of the template", arn)

	return ""
}
