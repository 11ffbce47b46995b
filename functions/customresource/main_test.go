package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/metaflow-deployer/metaflow-deployer/internal/cfnresource"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

const arn = "arn:aws:lambda:us-east-1:123456789012:function:customresource"

// bucket takes answers.
type bucket struct{ got []string }

func (*bucket) Check(string) error { return nil }

func (b *bucket) Send(_ context.Context, _ string, body []byte) error {
	b.got = append(b.got, string(body))

	return nil
}

// last is the newest answer, or nothing.
func (b *bucket) last() string { return strings.Join(b.got[max(0, len(b.got)-1):], "") }

func event(t *testing.T) []byte {
	t.Helper()

	b, err := os.ReadFile(filepath.Join(simulation.Root(), "events", "customresource.json"))
	if err != nil {
		t.Fatal(err)
	}

	return b
}

// TestWhoCalls: the name by which the function was called tells who does, and nothing in the event.
func TestWhoCalls(t *testing.T) {
	t.Parallel()

	const (
		schedule = `{"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}`
		answered = `"Status":"SUCCESS"`
	)

	stream := func(operation string) string {
		e, err := json.Marshal(deploy.Event{
			ID: "a", Sequence: 1, Type: deploy.EventChanged, Key: deploy.Key{Tenant: "acme", Name: "research"}, Operation: operation, State: deploy.Succeeded,
		})
		if err != nil {
			t.Fatal(err)
		}

		body, err := json.Marshal(string(e))
		if err != nil {
			t.Fatal(err)
		}

		return `{"Records": [{"eventSource": "aws:dynamodb", "dynamodb": {"NewImage": {"pk": {"S": "T#acme"}, "body": {"S": "{}"}}}},
			{"eventSource": "aws:dynamodb", "dynamodb": {"NewImage": {"pk": {"S": "E#acme#research"}, "sk": {"S": "1"}, "version": {"N": "1"}, "body": {"S": ` + string(body) + `}}}},
			{"eventSource": "aws:dynamodb", "dynamodb": {"Keys": {"pk": {"S": "E#acme#research"}}}}]}`
	}

	tests := map[string]struct {
		reason, qualifier, event string
		want                     string
	}{
		"the schedule":          {"the function's own name", "", schedule, answered},
		"the stream":            {"likewise", "", stream("research-1"), answered},
		"a tenant, unasked":     {"who may call an alias is no schedule", ":acme", schedule, "not a request of CloudFormation"},
		"a tenant, as stream":   {"nor a stream", ":acme", stream("research-1"), "not a request of CloudFormation"},
		"another tenant":        {"an alias speaks for its tenant", ":other", string(event(t)), "do not act for tenant other"},
		"nobody":                {"the function's own name is no tenant's", "", string(event(t)), "The ServiceToken names no tenant."},
		"the newest version":    {"nor is $LATEST", ":$LATEST", string(event(t)), "The ServiceToken names no tenant."},
		"a version":             {"nor a number", ":7", string(event(t)), "The ServiceToken names no tenant."},
		"the tenant, once more": {"a duplicate of what runs has no effect", ":acme", string(event(t)), answered},
	}

	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, err := simulation.NewWorld(1)
				if err != nil {
					t.Fatal(err)
				}

				grant := deploy.Grant{Tenant: "acme", Kind: deploy.GrantStackAccount, Value: "123456789012"}
				if err := w.Store.Allow(t.Context(), grant, workflow.Line(deploy.Entry{Tenant: "acme", Action: "allow"}, "1", time.Now())); err != nil {
					t.Fatal(err)
				}

				var (
					b   = &bucket{}
					log bytes.Buffer
					f   = function{&cfnresource.Resource{
						Control: w.Control, Records: w.Store, Sender: b, Clock: workflow.WallClock{}, Log: slog.New(slog.NewTextHandler(&log, nil)),
					}}
				)

				call := func(qualifier, event string) {
					t.Helper()

					ctx := lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{InvokedFunctionArn: arn + qualifier})
					if err := f.handle(ctx, json.RawMessage(event)); err != nil {
						t.Fatal(err)
					}
				}

				call(":acme", string(event(t)))

				if header, err := w.Settle(t.Context(), deploy.Key{Tenant: "acme", Name: "research"}); err != nil || header.Phase != deploy.PhaseActive || len(b.got) > 0 {
					t.Fatalf("the deployment is %s, %v; answered %v", header.Phase, err, b.got)
				}

				call(tt.qualifier, tt.event)

				if !strings.Contains(b.last(), tt.want) {
					t.Errorf("%s: answered %v", tt.reason, b.got)
				}

				if strings.Contains(log.String(), "X-Amz-Signature") {
					t.Error("the log holds the ResponseURL")
				}
			})
		})
	}
}

func TestEventsThatCannotBeRead(t *testing.T) {
	t.Parallel()

	for _, qualifier := range []string{"", ":acme"} {
		ctx := lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{InvokedFunctionArn: arn + qualifier})

		err := function{}.handle(ctx, json.RawMessage(`["X-Amz-Signature"]`))
		if err == nil || strings.Contains(err.Error(), "Signature") {
			t.Errorf("%v", err)
		}
	}
}
