package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/metaflow-deployer/metaflow-deployer/internal/courier"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/memory"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

// outside is a receiver and the queue's visibility.
type outside struct {
	status int
	calls  int
	hidden map[string]time.Duration
	broken error
}

func (o *outside) Do(*http.Request) (int, error) {
	o.calls++

	return o.status, nil
}

func (o *outside) Hide(_ context.Context, receipt string, d time.Duration) error {
	o.hidden[receipt] = d

	return o.broken
}

func batch(t *testing.T) events.SQSEvent {
	t.Helper()

	b, err := os.ReadFile(filepath.Join(simulation.Root(), "events", "webhook.json"))
	if err != nil {
		t.Fatal(err)
	}

	var e events.SQSEvent
	if err := json.Unmarshal(b, &e); err != nil {
		t.Fatal(err)
	}

	return e
}

func TestHandle(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		reason string
		status int
		broken error
		change func(*events.SQSMessage)
		now    time.Duration // since the message was sent
		calls  int
		failed bool
		// low and high bound how long the message is hidden.
		low, high time.Duration
	}{
		"Delivered":  {reason: "it is deleted", status: 200, calls: 1},
		"Failed":     {reason: "it comes back after a while", status: 500, calls: 1, failed: true, low: 5 * time.Second, high: 10 * time.Second},
		"Again":      {reason: "and later each time", status: 500, calls: 1, failed: true, low: 40 * time.Second, high: 80 * time.Second, change: count("4")},
		"DayOld":     {reason: "its tries are used up without a call", status: 200, failed: true, change: count("40"), now: 25 * time.Hour},
		"NotHidden":  {reason: "then it comes back by the queue's own time", status: 500, broken: errors.New("denied"), calls: 1, failed: true, low: 5 * time.Second, high: 10 * time.Second},
		"Garbage":    {reason: "no time makes it better", failed: true, change: func(m *events.SQSMessage) { m.Body = "{" }},
		"NoCount":    {reason: "nor this", failed: true, change: count("")},
		"NoTime":     {reason: "nor this", failed: true, change: func(m *events.SQSMessage) { m.Attributes["SentTimestamp"] = "" }},
		"Elsewhere":  {reason: "a webhook that is gone gets nothing", change: func(m *events.SQSMessage) { m.Body = strings.ReplaceAll(m.Body, "000003", "000004") }},
		"NotOfOther": {reason: "another tenant's webhook gets nothing", change: func(m *events.SQSMessage) { m.Body = strings.Replace(m.Body, `"acme"`, `"other"`, 1) }},
	}

	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			table, out := memory.New(), &outside{status: tt.status, hidden: map[string]time.Duration{}, broken: tt.broken}
			w := deploy.Webhook{ID: "01jn0000000000000000000003", Tenant: "acme", URL: "https://hooks.company.com/path-token", Secret: "whsec_c2VjcmV0c2VjcmV0c2VjcmV0"}

			if err := table.Subscribe(t.Context(), w, deploy.Entry{ID: "1", Tenant: "acme"}); err != nil {
				t.Fatal(err)
			}

			var log bytes.Buffer

			now := time.UnixMilli(1772366401000).Add(tt.now)
			logger := slog.New(slog.NewJSONHandler(&log, nil))
			p := &postman{courier: &courier.Courier{Webhooks: table, Caller: out, Now: func() time.Time { return now }, Log: logger}, queue: out, log: logger}

			b := batch(t)
			if tt.change != nil {
				tt.change(&b.Records[0])
			}

			answer, err := p.handle(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}

			failed := len(answer.BatchItemFailures) == 1 && answer.BatchItemFailures[0].ItemIdentifier == b.Records[0].MessageId
			if failed != tt.failed || out.calls != tt.calls {
				t.Errorf("%s: %+v after %d calls", tt.reason, answer, out.calls)
			}

			if d, hidden := out.hidden[b.Records[0].ReceiptHandle]; hidden != tt.failed || d < tt.low || d > tt.high {
				t.Errorf("%s: hidden %t for %s", tt.reason, hidden, d)
			}

			if strings.Contains(log.String(), "path-token") || strings.Contains(log.String(), "c2VjcmV0") {
				t.Errorf("the log holds a secret: %s", log.String())
			}
		})
	}
}

func count(n string) func(*events.SQSMessage) {
	return func(m *events.SQSMessage) { m.Attributes["ApproximateReceiveCount"] = n }
}

// TestOrder: what stands behind a failure in a batch stays behind it.
func TestOrder(t *testing.T) {
	t.Parallel()

	b := batch(t)
	second := b.Records[0]
	second.MessageId, second.Body = "2", "{}"
	b.Records[0].Body = "{"
	b.Records = append(b.Records, second)

	out := &outside{hidden: map[string]time.Duration{}}
	log := slog.New(slog.DiscardHandler)
	p := &postman{courier: &courier.Courier{Webhooks: memory.New(), Caller: out, Now: time.Now, Log: log}, queue: out, log: log}

	answer, err := p.handle(t.Context(), b)
	if err != nil || len(answer.BatchItemFailures) != 2 || out.calls > 0 {
		t.Errorf("%+v, %v, %d calls", answer, err, out.calls)
	}
}
