package policy

import (
	"cmp"
	"fmt"
	"strings"
)

// otherRules are those of DynamoDB (list_amazondynamodb.html), Step Functions (list_awsstepfunctions.html), SQS (list_amazonsqs.html), EventBridge
// (list_amazoneventbridge.html) and Service Quotas (list_servicequotas.html).
func otherRules() map[string]rule {
	rules := map[string]rule{
		"dynamodb.TransactWriteItems": transact,
		// A query of an index is asked for on the index, not on the table. DynamoDB Developer Guide, "Using IAM policy conditions".
		"dynamodb.Query": func(w *World, in input) ([]Request, error) {
			r := w.table("dynamodb:Query", in)
			if r.Context == nil && in.text("IndexName") == "" {
				r.Context = leading(in.sub("ExpressionAttributeValues").sub(":pk"))
			}

			if index := in.text("IndexName"); index != "" {
				r.Resource += "/index/" + index
			}

			return []Request{r}, nil
		},

		"sfn.StartExecution": func(_ *World, in input) ([]Request, error) {
			return []Request{{Action: "states:StartExecution", Resource: in.text("stateMachineArn")}}, nil
		},
		"sfn.DescribeExecution": func(_ *World, in input) ([]Request, error) {
			return []Request{{Action: "states:DescribeExecution", Resource: in.text("executionArn")}}, nil
		},

		// Each entry is asked for on the bus that it names, by name or ARN.
		"eventbridge.PutEvents": func(w *World, in input) ([]Request, error) {
			var list []Request
			for _, e := range in.each("Entries") {
				list = append(list, Request{Action: "events:PutEvents", Resource: w.arn("events", "event-bus/"+e.text("EventBusName"))})
			}

			return list, nil
		},

		"servicequotas.GetServiceQuota": anywhere("servicequotas:GetServiceQuota"),
	}

	for _, operation := range []string{"SendMessage", "ChangeMessageVisibility", "ReceiveMessage", "DeleteMessage", "GetQueueAttributes"} {
		rules["sqs."+operation] = func(w *World, in input) ([]Request, error) {
			url := in.text("QueueUrl")

			return []Request{{Action: "sqs:" + operation, Resource: w.arn("sqs", url[strings.LastIndex(url, "/")+1:])}}, nil
		}
	}

	// The reading of a stream, which Lambda does in a function's name.
	for _, operation := range []string{"DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"} {
		rules["dynamodbstreams."+operation] = func(_ *World, in input) ([]Request, error) {
			return []Request{{Action: "dynamodb:" + operation, Resource: in.text("StreamArn")}}, nil
		}
	}

	for _, operation := range []string{"GetItem", "PutItem", "DeleteItem"} {
		rules["dynamodb."+operation] = func(w *World, in input) ([]Request, error) {
			return []Request{w.table("dynamodb:"+operation, in)}, nil
		}
	}

	return rules
}

// table: what names one item by its key is asked for with the key's partition. DynamoDB Developer Guide, "Using IAM policy conditions for fine-grained access
// control".
func (w *World) table(action string, in input) Request {
	r := Request{Action: action, Resource: w.arn("dynamodb", "table/"+in.text("TableName"))}

	// The SDK's structure, or what it is on the wire.
	r.Context = leading(in.sub("Key").sub("pk"))

	return r
}

// leading is the context of one partition, whose key may not be told.
func leading(pk input) Context {
	if partition := cmp.Or(pk.text("Value"), pk.text("S")); partition != "" {
		return Context{"dynamodb:LeadingKeys": {partition}}
	}

	return nil
}

// transact: a transaction is asked for as the calls that it is made of. DynamoDB Developer Guide, "Using IAM with DynamoDB transactions".
func transact(w *World, in input) ([]Request, error) {
	var list []Request

	for _, item := range in.each("TransactItems") {
		before := len(list)

		for member, action := range map[string]string{
			"Put": "dynamodb:PutItem", "Delete": "dynamodb:DeleteItem", "Update": "dynamodb:UpdateItem", "ConditionCheck": "dynamodb:ConditionCheckItem",
		} {
			if part := item.sub(member); part != nil {
				list = append(list, w.table(action, part))
			}
		}

		if len(list) == before {
			return nil, fmt.Errorf("an item of a transaction does nothing that is known here: %v", item)
		}
	}

	return list, nil
}
