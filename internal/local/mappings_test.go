package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
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
		maxAge time.Duration
		calls  []string
		lost   []string
	}{
		"Well":   {reason: "one call", calls: []string{"12345"}},
		"Once":   {reason: "again from the one that failed", f: function{fails: map[string]int{"3": 1}}, calls: []string{"12345", "345"}},
		"Twice":  {reason: "and again", f: function{fails: map[string]int{"3": 2}}, calls: []string{"12345", "345", "345"}},
		"Two":    {reason: "headway begins the tries anew", f: function{fails: map[string]int{"2": 2, "4": 2}}, calls: []string{"12345", "2345", "2345", "45", "45"}},
		"Whole":  {reason: "what fails whole is halved", f: function{whole: true, fails: map[string]int{"1": 1}}, calls: []string{"12345", "12", "345"}},
		"Poison": {reason: "the one that can never be carried ends alone", f: function{whole: true, fails: map[string]int{"3": -1}}, calls: []string{"12345", "345", "3", "3", "45"}, lost: []string{"3-3"}},
		"Old":    {reason: "its age ends the tries before their number does", f: function{whole: true, fails: map[string]int{"1": -1}}, maxAge: time.Second / 2, calls: []string{"12345", "12", "1", "1", "2345"}, lost: []string{"1-1"}},
		"Rest":   {reason: "without halving the rest of the batch ends with it", f: function{fails: map[string]int{"3": -1}}, calls: []string{"12345", "345", "345"}, lost: []string{"3-5"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				stack := &Stack{opts: Options{Logger: slog.New(slog.DiscardHandler)}}
				world := &World{stack: stack, Resources: &samtemplate.Stack{Queues: []samtemplate.Queue{{ARN: "arn", URL: "url"}}}}
				all := &mappings{world: world, stack: stack, invoke: tt.f.invoke, ask: tt.f.ask, ctx: t.Context()}
				m := &mapping{mappings: all, source: streams, Mapping: samtemplate.Mapping{Partial: true, Bisect: true, Retries: 2, MaxAge: tt.maxAge, OnFailure: "arn"}}
				var records []record
				for _, id := range []string{"1", "2", "3", "4", "5"} {
					records = append(records, record{"dynamodb": map[string]any{"SequenceNumber": id, "ApproximateCreationDateTime": float64(time.Now().Unix())}})
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

// testSources writes to a table and a queue and finds in the function's log what it was called with.
func testSources(t *testing.T, s *Stack, w *World, log string) {
	t.Helper()
	table, key := w.Resources.Tables[0].Name, func(pk string) map[string]dynamotypes.AttributeValue {
		return map[string]dynamotypes.AttributeValue{"pk": &dynamotypes.AttributeValueMemberS{Value: pk}}
	}
	db := dynamodb.NewFromConfig(user(s, w))
	put := func(pk string, condition *string) dynamotypes.TransactWriteItem {
		return dynamotypes.TransactWriteItem{Put: &dynamotypes.Put{TableName: &table, Item: key(pk), ConditionExpression: condition}}
	}
	write := func(items ...dynamotypes.TransactWriteItem) error {
		_, err := db.TransactWriteItems(t.Context(), &dynamodb.TransactWriteItemsInput{TransactItems: items})
		return err
	}
	fresh := aws.String("attribute_not_exists(pk)")
	for i := range 5 {
		if err := write(put(fmt.Sprintf("E#%d", i), fresh), put(fmt.Sprintf("X#%d", i), nil)); err != nil {
			t.Fatal(err)
		}
		// One that is refused leaves no trace and stops no reader.
		if err := write(put(fmt.Sprintf("E#refused%d", i), nil), put("E#0", fresh)); err == nil {
			t.Fatal("a transaction that rests on what is not so was taken")
		}
	}
	queue := sqs.NewFromConfig(user(s, w))
	if _, err := queue.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &w.Resources.Queues[0].URL, MessageBody: aws.String("a message")}); err != nil {
		t.Fatal(err)
	}
	var seen []string
	for end := time.Now().Add(time.Minute); len(seen) < 6; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the function was told of %v", seen)
		}
		text, err := os.ReadFile(log)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // it may not have been called yet
			t.Fatal(err)
		}
		seen = nil
		for _, m := range regexp.MustCompile(`"Keys":\{"pk":\{"S":"([^"]*)"|(a message)`).FindAllStringSubmatch(string(text), -1) {
			seen = append(seen, m[1]+m[2])
		}
	}
	stream := slices.DeleteFunc(slices.Clone(seen), func(x string) bool { return x == "a message" })
	if diff := cmp.Diff([]string{"E#0", "E#1", "E#2", "E#3", "E#4"}, stream); diff != "" || len(seen) != 6 {
		t.Errorf("what the stream brought, beside the message (-want +got):\n%s", diff)
	}
	// Nothing stays in the queue.
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		out, err := queue.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
			QueueUrl: &w.Resources.Queues[0].URL, AttributeNames: []sqstypes.QueueAttributeName{"All"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if out.Attributes["ApproximateNumberOfMessages"] == "0" && out.Attributes["ApproximateNumberOfMessagesNotVisible"] == "0" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the message stays: %v", out.Attributes)
		}
	}
}
