package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/samtemplate"
)

// function is one of a stream: it fails what it is told to, whole where the first of a batch fails.
type function struct {
	// fails says how often a record fails yet; -1 is for ever.
	fails map[string]int
	whole bool
	calls []string
	lost  []string
}

func (f *function) invoke(_ context.Context, _ string, event []byte) ([]byte, string, error) {
	var in struct{ Records []record }
	if err := json.Unmarshal(event, &in); err != nil {
		return nil, "", err
	}
	var ids []string
	for _, r := range in.Records {
		ids = append(ids, sequence(r))
	}
	f.calls = append(f.calls, strings.Join(ids, ""))
	for i, id := range ids {
		if f.fails[id] == 0 {
			continue
		}
		f.fails[id]--
		if f.whole && i == 0 && len(ids) > 1 {
			return []byte(`{"errorType":"x"}`), "Unhandled", nil
		}
		return fmt.Appendf(nil, `{"batchItemFailures": [{"itemIdentifier": %q}]}`, id), "", nil
	}
	return []byte(`{"batchItemFailures": []}`), "", nil
}

func (f *function) ask(_, target string, in, _ any) error {
	sent, _ := in.(map[string]any)
	var body struct {
		DDBStreamBatchInfo struct{ StartSequenceNumber, EndSequenceNumber string }
	}
	if target != "AmazonSQS.SendMessage" || sent["QueueUrl"] != "url" {
		return errors.New("not foreseen: " + target)
	}
	if err := json.Unmarshal([]byte(sent["MessageBody"].(string)), &body); err != nil {
		return err
	}
	f.lost = append(f.lost, body.DDBStreamBatchInfo.StartSequenceNumber+"-"+body.DDBStreamBatchInfo.EndSequenceNumber)
	return nil
}

// TestAStreamKeepsItsOrder plays what Lambda does with a batch of a shard: nothing overtakes what failed, and what fails for ever ends at the destination.
func TestAStreamKeepsItsOrder(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		f      function
		calls  []string
		lost   []string
	}{
		"Well":   {reason: "one call", calls: []string{"12345"}},
		"Once":   {reason: "again from the one that failed", f: function{fails: map[string]int{"3": 1}}, calls: []string{"12345", "345"}},
		"Twice":  {reason: "and again", f: function{fails: map[string]int{"3": 2}}, calls: []string{"12345", "345", "345"}},
		"Two":    {reason: "headway begins the tries anew", f: function{fails: map[string]int{"2": 2, "4": 2}}, calls: []string{"12345", "2345", "2345", "45", "45"}},
		"Whole":  {reason: "what fails whole is halved", f: function{whole: true, fails: map[string]int{"1": 1}}, calls: []string{"12345", "12", "345"}},
		"Poison": {reason: "the one that can never be carried ends alone", f: function{whole: true, fails: map[string]int{"3": -1}}, calls: []string{"12345", "345", "3", "3", "45"}, lost: []string{"3-3"}},
		"Rest":   {reason: "without halving the rest of the batch ends with it", f: function{fails: map[string]int{"3": -1}}, calls: []string{"12345", "345", "345"}, lost: []string{"3-5"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				stack := &Stack{opts: Options{Logger: slog.New(slog.DiscardHandler)}}
				world := &World{stack: stack, Resources: &samtemplate.Stack{Queues: []samtemplate.Queue{{ARN: "arn", URL: "url"}}}}
				all := &mappings{world: world, stack: stack, invoke: tt.f.invoke, ask: tt.f.ask, ctx: t.Context()}
				m := &mapping{mappings: all, source: streams, Mapping: samtemplate.Mapping{Partial: true, Bisect: true, Retries: 2, OnFailure: "arn"}}
				var records []record
				for _, id := range []string{"1", "2", "3", "4", "5"} {
					records = append(records, record{"dynamodb": map[string]any{"SequenceNumber": id}})
				}
				m.bring(records)
				if diff := cmp.Diff(tt.calls, tt.f.calls); diff != "" {
					t.Errorf("%s: calls (-want +got):\n%s", tt.reason, diff)
				}
				if diff := cmp.Diff(tt.lost, tt.f.lost); diff != "" {
					t.Errorf("%s: given up (-want +got):\n%s", tt.reason, diff)
				}
			})
		})
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	pattern := json.RawMessage(`{"eventName": ["INSERT"], "dynamodb": {"Keys": {"pk": {"S": [{"prefix": "E#"}]}}}}`)
	m, err := newMappings(&World{Resources: &samtemplate.Stack{Mappings: []samtemplate.Mapping{{Table: "t", Filters: []json.RawMessage{pattern}}, {}}}}, &Stack{})
	if err != nil {
		t.Fatal(err)
	}
	for text, fits := range map[string]bool{
		`{"eventName": "INSERT", "dynamodb": {"Keys": {"pk": {"S": "E#a#b"}, "sk": {"S": "1"}}}}`: true,
		`{"eventName": "MODIFY", "dynamodb": {"Keys": {"pk": {"S": "E#a#b"}}}}`:                   false,
		`{"eventName": "INSERT", "dynamodb": {"Keys": {"pk": {"S": "D#a#b"}}}}`:                   false,
		`{"eventName": "INSERT", "dynamodb": {"Keys": {"pk": {"N": "1"}}}}`:                       false,
	} {
		var r record
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		if m.list[0].fits(r) != fits || !m.list[1].fits(r) {
			t.Errorf("%s: want %t, and all where there is no filter", text, fits)
		}
	}
	for reason, bad := range map[string]string{"not JSON": `{`, "a matcher that is not played": `{"eventName": [{"exists": true}]}`} {
		if _, err := newMappings(&World{Resources: &samtemplate.Stack{Mappings: []samtemplate.Mapping{{Filters: []json.RawMessage{json.RawMessage(bad)}}}}}, &Stack{}); err == nil {
			t.Errorf("%s is taken", reason)
		}
	}
}
