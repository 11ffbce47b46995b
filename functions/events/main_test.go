package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/courier"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/memory"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

// outside is bus and queue. It refuses the sequences in refuses, once each.
type outside struct {
	put     []int64
	sent    []string
	refuses map[int64]bool
}

func (o *outside) Put(_ context.Context, e courier.Event) error {
	if o.refuses[e.Sequence] {
		delete(o.refuses, e.Sequence)

		return errors.New("throttled")
	}

	o.put = append(o.put, e.Sequence)

	return nil
}

func (o *outside) Send(_ context.Context, d courier.Delivery) error {
	o.sent = append(o.sent, d.Webhook)

	return nil
}

func batch(t *testing.T) events.DynamoDBEvent {
	t.Helper()

	b, err := os.ReadFile(filepath.Join(simulation.Root(), "events", "events.json"))
	if err != nil {
		t.Fatal(err)
	}

	var e events.DynamoDBEvent
	if err := json.Unmarshal(b, &e); err != nil {
		t.Fatal(err)
	}

	return e
}

func TestHandle(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		reason  string
		refuses map[int64]bool
		change  func(*events.DynamoDBEvent)
		put     []int64
		sent    int
		// failed is the record that Lambda is to begin with again; "all" is the whole batch, halved.
		failed string
	}{
		"Both":  {reason: "in the order of the stream", put: []int64{3, 4}, sent: 2},
		"First": {reason: "nothing behind a failure may overtake it", refuses: map[int64]bool{3: true}, failed: "all"},
		"Alone": {
			reason: "what is halved already fails by its number", refuses: map[int64]bool{3: true}, failed: "111100000000000000001",
			change: func(b *events.DynamoDBEvent) { b.Records = b.Records[:1] },
		},
		"Second": {reason: "what went before is not repeated", refuses: map[int64]bool{4: true}, put: []int64{3}, sent: 1, failed: "111200000000000000002"},
		"NoEvent": {
			reason: "other items of the table are none of ours", put: []int64{4}, sent: 1,
			change: func(b *events.DynamoDBEvent) {
				b.Records[0].Change.NewImage["pk"] = events.NewStringAttribute("D#acme#research")
			},
		},
		"Garbage": {
			reason: "what cannot be read never will be, and must not hold up the others", put: []int64{4}, sent: 1,
			change: func(b *events.DynamoDBEvent) { b.Records[0].Change.NewImage["body"] = events.NewStringAttribute("{") },
		},
		"Removed": {
			reason: "an item that goes has no image", put: []int64{4}, sent: 1,
			change: func(b *events.DynamoDBEvent) { b.Records[0].Change.NewImage = nil },
		},
	}

	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			table, out := memory.New(), &outside{refuses: tt.refuses}
			for _, w := range []deploy.Webhook{{ID: "a", Tenant: "acme"}, {ID: "b", Tenant: "other"}} {
				if err := table.Subscribe(t.Context(), w, deploy.Entry{ID: w.ID, Tenant: w.Tenant}); err != nil {
					t.Fatal(err)
				}
			}

			c := &carrier{publisher: &courier.Publisher{Bus: out, Queue: out, Webhooks: table}, log: slog.New(slog.DiscardHandler)}

			b := batch(t)
			if tt.change != nil {
				tt.change(&b)
			}

			answer, err := c.handle(t.Context(), b)
			failed := ""
			if err != nil {
				failed = "all"
			}

			for _, f := range answer.BatchItemFailures {
				failed += f.ItemIdentifier
			}

			if diff := cmp.Diff(tt.put, out.put); diff != "" || len(out.sent) != tt.sent || failed != tt.failed {
				t.Errorf("%s: on the bus %v, %d queued, failed %q", tt.reason, out.put, len(out.sent), failed)
			}
		})
	}
}
