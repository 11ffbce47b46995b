package samtemplate

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const sources = `
Resources:
  Table: {Type: AWS::DynamoDB::Table, Properties: {StreamSpecification: {StreamViewType: NEW_IMAGE}}}
  Bus: {Type: AWS::Events::EventBus, Properties: {Name: own}}
  Dead: {Type: AWS::SQS::Queue, Properties: {FifoQueue: true}}
  Lost: {Type: AWS::SQS::Queue, Properties: {QueueName: lost}}
  Queue:
    Type: AWS::SQS::Queue
    Properties: {FifoQueue: true, VisibilityTimeout: 180, RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 3}}
  Function:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: build/fn/, Environment: {Variables: {QUEUE: !Ref Queue, NAME: !GetAtt Queue.QueueName, BUS: !Ref Bus, ARN: !GetAtt Bus.Arn}}}
  Stream:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      FunctionName: !Ref Function
      EventSourceArn: !GetAtt Table.StreamArn
      StartingPosition: TRIM_HORIZON
      FilterCriteria: {Filters: [{Pattern: '{"a": ["b"]}'}]}
      FunctionResponseTypes: [ReportBatchItemFailures]
      BisectBatchOnFunctionError: true
      MaximumRetryAttempts: 4
      MaximumRecordAgeInSeconds: 60
      DestinationConfig: {OnFailure: {Destination: !GetAtt Lost.Arn}}
  Messages:
    Type: AWS::Lambda::EventSourceMapping
    Properties: {FunctionName: !Ref Function, EventSourceArn: !GetAtt Queue.Arn, BatchSize: 1, ScalingConfig: {MaximumConcurrency: 2}}
`

func TestSources(t *testing.T) {
	tmpl, err := Parse([]byte(sources))
	if err != nil {
		t.Fatal(err)
	}
	st, err := tmpl.Resolve(inputs())
	if err != nil {
		t.Fatal(err)
	}
	const arn, url = "arn:aws:sqs:us-east-1:111122223333:", "https://sqs.us-east-1.amazonaws.com/111122223333/"
	if diff := cmp.Diff([]Queue{
		{LogicalID: "Dead", Name: "st-Dead.fifo", URL: url + "st-Dead.fifo", ARN: arn + "st-Dead.fifo", Attributes: map[string]string{"FifoQueue": "true"}},
		{LogicalID: "Lost", Name: "lost", URL: url + "lost", ARN: arn + "lost", Attributes: map[string]string{}},
		{LogicalID: "Queue", Name: "st-Queue.fifo", URL: url + "st-Queue.fifo", ARN: arn + "st-Queue.fifo", Attributes: map[string]string{
			"FifoQueue": "true", "VisibilityTimeout": "180", "RedrivePolicy": `{"deadLetterTargetArn":"` + arn + `st-Dead.fifo","maxReceiveCount":3}`,
		}},
	}, st.Queues); diff != "" {
		t.Errorf("queues (-want +got):\n%s", diff)
	}
	function := "arn:aws:lambda:us-east-1:111122223333:function:fn"
	if diff := cmp.Diff([]Mapping{
		{
			LogicalID: "Stream", Function: function, Source: "arn:aws:dynamodb:us-east-1:111122223333:table/st-Table/stream/1", Table: "st-Table", BatchSize: 100,
			Filters: []json.RawMessage{json.RawMessage(`{"a": ["b"]}`)}, Partial: true, Bisect: true, Retries: 4, MaxAge: time.Minute, OnFailure: arn + "lost",
		},
		{LogicalID: "Messages", Function: function, Source: arn + "st-Queue.fifo", BatchSize: 1, Retries: -1, Concurrency: 2},
	}, st.Mappings); diff != "" {
		t.Errorf("mappings (-want +got):\n%s", diff)
	}
	want := map[string]string{"QUEUE": url + "st-Queue.fifo", "NAME": "st-Queue.fifo", "BUS": "own", "ARN": "arn:aws:events:us-east-1:111122223333:event-bus/own"}
	if diff := cmp.Diff(want, st.Functions[0].Env); diff != "" || len(st.Buses) != 1 || st.Buses[0] != "own" {
		t.Errorf("buses %v, what a function is told (-want +got):\n%s", st.Buses, diff)
	}
}

func TestMappingsThatAreNotPlayed(t *testing.T) {
	for reason, change := range map[string][2]string{
		"what only newer events are read of":    {"StartingPosition: TRIM_HORIZON", "StartingPosition: LATEST"},
		"a property that nobody acts on":        {"BatchSize: 1,", "BatchSize: 1, MaximumBatchingWindowInSeconds: 5,"},
		"a source that the template has not":    {"EventSourceArn: !GetAtt Queue.Arn", "EventSourceArn: arn:aws:sqs:us-east-1:111122223333:other"},
		"a source that is neither of the sorts": {"EventSourceArn: !GetAtt Queue.Arn", "EventSourceArn: !GetAtt Bus.Arn"},
	} {
		text := strings.Replace(sources, change[0], change[1], 1)
		if text == sources {
			t.Fatalf("%s: nothing was changed", reason)
		}
		tmpl, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tmpl.Resolve(inputs()); err == nil {
			t.Errorf("%s is read", reason)
		}
	}
}
