package template_test

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/dynamo"
)

// written keeps the items that the store writes.
type written struct {
	items []map[string]types.AttributeValue
}

func (w *written) Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	return &dynamodb.QueryOutput{}, nil
}

func (w *written) GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	return &dynamodb.GetItemOutput{}, nil
}

func (w *written) PutItem(_ context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	w.items = append(w.items, in.Item)

	return &dynamodb.PutItemOutput{}, nil
}

func (w *written) DeleteItem(context.Context, *dynamodb.DeleteItemInput, ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error) {
	return &dynamodb.DeleteItemOutput{}, nil
}

func (w *written) TransactWriteItems(
	_ context.Context, in *dynamodb.TransactWriteItemsInput, _ ...func(*dynamodb.Options),
) (*dynamodb.TransactWriteItemsOutput, error) {
	for _, x := range in.TransactItems {
		if x.Put != nil {
			w.items = append(w.items, x.Put.Item)
		}
	}

	return &dynamodb.TransactWriteItemsOutput{}, nil
}

// TestTheStreamBringsEventsOnly writes one of everything and holds the keys against the filter of the stream's mapping: a function that is called for each
// write of the table would cost more than all the rest, and one that misses events would go unnoticed.
func TestTheStreamBringsEventsOnly(t *testing.T) {
	t.Parallel()

	_, s := stack(t)

	var pattern struct {
		EventName []string
		Dynamodb  struct {
			Keys struct {
				PK struct{ S []struct{ Prefix string } }
			}
		}
	}

	for _, m := range s.Mappings {
		if m.Table == "" {
			continue
		}

		if len(m.Filters) != 1 {
			t.Fatalf("%s has %d filters", m.LogicalID, len(m.Filters))
		}

		if err := json.Unmarshal(m.Filters[0], &pattern); err != nil {
			t.Fatal(err)
		}
	}

	prefixes := pattern.Dynamodb.Keys.PK.S
	if len(prefixes) != 1 || len(pattern.EventName) != 1 || pattern.EventName[0] != "INSERT" {
		t.Fatalf("the filter is %+v", pattern)
	}

	var (
		w   = &written{}
		db  = dynamo.New(w, "table")
		ctx = t.Context()
		key = deploy.Key{Tenant: "E", Name: "e"}
		e   = func(id string) deploy.Entry { return deploy.Entry{ID: id, Tenant: key.Tenant, Deployment: key.Name} }
	)

	for _, err := range []error{
		db.Commit(ctx, key, &store.Change{
			Deployment: &deploy.Deployment{Key: key, Operation: "a"}, Operations: []deploy.Operation{{ID: "a"}}, Resources: []deploy.Resource{{Ref: "vpc"}},
			Events: []deploy.Event{{Key: key, Sequence: 1, ID: "E/e/1"}, {Key: key, Sequence: 2, ID: "E/e/2"}}, Entries: []deploy.Entry{e("1")},
		}),
		db.Save(ctx, key, &deploy.Resource{Ref: "vpc"}),
		db.Append(ctx, e("2")),
		db.Allow(ctx, deploy.Grant{Tenant: key.Tenant, Kind: deploy.GrantBucket, Value: "b"}, e("3")),
		db.Subscribe(ctx, deploy.Webhook{ID: "a", Tenant: key.Tenant}, e("4")),
		db.NoteCallback(ctx, deploy.Callback{Key: key, RequestID: "a"}),
		db.NoteOrphan(ctx, deploy.Orphan{Key: key}),
		db.NoteSweep(ctx, deploy.Sweep{Family: "ec2"}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}

	found := 0

	for _, item := range w.items {
		pk, body := item["pk"].(*types.AttributeValueMemberS).Value, ""
		if b, ok := item["body"].(*types.AttributeValueMemberS); ok {
			body = b.Value
		}

		_, is, err := dynamo.EventOf(pk, body)
		if err != nil {
			t.Fatal(err)
		}

		if is {
			found++
		}

		if passes := strings.HasPrefix(pk, prefixes[0].Prefix); passes != is {
			t.Errorf("the item %s is an event: %t; the stream brings it: %t", pk, is, passes)
		}
	}

	if found != 2 || len(w.items) < 12 {
		t.Errorf("%d items were looked at, %d of them events", len(w.items), found)
	}
}

func TestQueues(t *testing.T) {
	t.Parallel()

	_, s := stack(t)
	fifo, dead := map[string]bool{}, map[string]string{}

	for _, q := range s.Queues {
		fifo[q.ARN] = q.Attributes["FifoQueue"] == "true"

		if q.Attributes["SqsManagedSseEnabled"] != "true" {
			t.Errorf("%s is not encrypted", q.LogicalID)
		}

		if q.Attributes["MessageRetentionPeriod"] != "1209600" {
			t.Errorf("%s forgets after %s s; nobody may have looked by then", q.LogicalID, q.Attributes["MessageRetentionPeriod"])
		}

		if redrive := q.Attributes["RedrivePolicy"]; redrive != "" {
			var p struct {
				DeadLetterTargetArn string
				MaxReceiveCount     int
			}
			if err := json.Unmarshal([]byte(redrive), &p); err != nil {
				t.Fatal(err)
			}

			dead[q.ARN] = p.DeadLetterTargetArn

			// The waits are 10 s doubling to 15 minutes, and half of each is left to chance: the longest take a day in 102 tries, the shortest in 204.
			if p.MaxReceiveCount < 102 || p.MaxReceiveCount > 204 {
				t.Errorf("%s gives up after %d tries, which is far from a day", q.LogicalID, p.MaxReceiveCount)
			}
		}
	}

	for _, m := range s.Mappings {
		// What it does its function's schedule does as well: nothing can be lost, and nothing may be held up.
		if m.LogicalID == "CustomResourceStream" {
			if m.Retries < 0 || m.Retries > 2 {
				t.Errorf("%s tries %d times what the schedule will do", m.LogicalID, m.Retries)
			}

			continue
		}

		if !m.Partial {
			t.Errorf("%s repeats what succeeded", m.LogicalID)
		}

		if m.Table != "" {
			if m.OnFailure == "" || !m.Bisect || fifo[m.OnFailure] {
				t.Errorf("%s: one record that cannot be carried would take others with it, or vanish: %+v", m.LogicalID, m)
			}

			// The stream keeps what stands behind a record for 24 hours. Whoever counts tries loses events to an outage of minutes.
			if m.Retries >= 0 || m.MaxAge < 6*time.Hour || m.MaxAge > 18*time.Hour {
				t.Errorf("%s gives a record up after %d tries and %s: an outage would lose it, or it would hold up others until they are gone", m.LogicalID, m.Retries, m.MaxAge)
			}

			continue
		}

		// SQS Developer Guide, "Using dead-letter queues": of a FIFO queue, a FIFO queue.
		if dead[m.Source] == "" || fifo[dead[m.Source]] != fifo[m.Source] {
			t.Errorf("%s: what cannot be delivered goes to %q", m.LogicalID, dead[m.Source])
		}

		if m.Concurrency < 2 || m.Concurrency > 10 {
			t.Errorf("%s: %d calls at a time may take a new account's whole concurrency from deployments", m.LogicalID, m.Concurrency)
		}

		for _, q := range s.Queues {
			for _, f := range s.Functions {
				if q.ARN != m.Source || f.ARN != m.Function {
					continue
				}

				seconds, err := strconv.Atoi(q.Attributes["VisibilityTimeout"])
				if err != nil || time.Duration(seconds)*time.Second < 6*f.Timeout {
					t.Errorf("%s shows a message again after %d s, while %s may work on it for %s: Lambda Developer Guide wants six times that", q.LogicalID, seconds, f.Name, f.Timeout)
				}
			}
		}
	}
}
