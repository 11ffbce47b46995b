package dynamo_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/dynamo"
	"github.com/metaflow-deployer/metaflow-deployer/tests/dynamotest"
)

func first() deploy.Key { return deploy.Key{Tenant: "acme", Name: "first"} }

func change() *store.Change {
	return &store.Change{
		Deployment: &deploy.Deployment{Key: first(), Operation: "first-1", Phase: deploy.PhaseCreating},
		Operations: []deploy.Operation{{ID: "first-1", Key: first()}},
		Resources:  []deploy.Resource{{Ref: "vpc"}, {Ref: "bucket"}},
	}
}

// writes are the store's calls that change something, from an empty table on.
func writes(t *testing.T, s *dynamo.Store) {
	t.Helper()

	claim := store.Claim{Tenant: "acme", Key: "k", Fingerprint: "f"}
	if answer, err := s.Claim(t.Context(), claim); err != nil || answer != nil {
		t.Fatalf("Claim: got %v, %v", answer, err)
	}

	c := change()
	c.Answer = &store.Answer{Claim: claim, Operation: "first-1", Name: "first"}
	c.Events = []deploy.Event{{Key: first(), Sequence: 1}}
	c.Entries = []deploy.Entry{{ID: "1", Tenant: "acme"}}
	c.Usage = &store.Usage{Usage: deploy.Usage{Operations: 2}, Limit: deploy.Usage{Operations: 3}} // not twice

	if err := s.Commit(t.Context(), first(), c); err != nil {
		t.Fatalf("Commit: %v", err)
	}

	if err := s.Save(t.Context(), first(), &c.Resources[0]); err != nil {
		t.Fatalf("Save: %v", err)
	}

	if err := s.Commit(t.Context(), first(), &store.Change{Deployment: c.Deployment, Resources: c.Resources[:1], Drop: c.Resources[1:]}); err != nil {
		t.Fatalf("Commit with a drop: %v", err)
	}

	if err := s.Release(t.Context(), claim); err != nil {
		t.Fatalf("Release: %v", err)
	}

	entry := func(id string) deploy.Entry { return deploy.Entry{ID: id, Tenant: "acme"} }

	for _, write := range []struct {
		name string
		err  error
	}{
		{"Append", s.Append(t.Context(), entry("2"))},
		{"Allow", s.Allow(t.Context(), deploy.Grant{Tenant: "acme", Kind: deploy.GrantBucket, Value: "b"}, entry("3"))},
		{"Withdraw", s.Withdraw(t.Context(), deploy.Grant{Tenant: "acme", Kind: deploy.GrantBucket, Value: "b"}, entry("4"))},
		{"Subscribe", s.Subscribe(t.Context(), deploy.Webhook{ID: "a", Tenant: "acme"}, entry("5"))},
		{"Unsubscribe", s.Unsubscribe(t.Context(), "acme", "a", entry("6"))},
		{"NoteCallback", s.NoteCallback(t.Context(), deploy.Callback{Key: first(), RequestID: "a"})},
		{"ForgetCallback", s.ForgetCallback(t.Context(), first(), "a")},
	} {
		if write.err != nil {
			t.Fatalf("%s: %v", write.name, write.err)
		}
	}

	if used, err := s.Usage(t.Context(), "acme"); err != nil || used != (deploy.Usage{Operations: 2}) {
		t.Errorf("the tenant uses %+v, %v; want the one operation's 2", used, err)
	}

	record, err := s.Load(t.Context(), first())
	if err != nil {
		t.Fatal(err)
	}

	got := fmt.Sprint(record.Deployment.Version, record.Operation.Version, len(record.Resources), record.Resources[0].Version)
	if want := "2 1 1 3"; got != want {
		t.Errorf("versions in the table: %s, want %s", got, want)
	}

	got = fmt.Sprint(c.Deployment.Version, c.Operations[0].Version, c.Resources[0].Version)
	if want := "2 1 3"; got != want {
		t.Errorf("versions in the caller's hands: %s, want %s", got, want)
	}
}

// The SDK repeats a write whose answer was lost; the repetition fails its condition and must be known for our own success.
func TestLostAnswer(t *testing.T) {
	s := dynamo.New(&losing{newFake()}, "table")
	writes(t, s)
}

// losing runs every write twice, as the SDK does behind a connection that breaks after the request.
type losing struct{ *fake }

func (l *losing) PutItem(ctx context.Context, in *dynamodb.PutItemInput, o ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	l.lose++

	return l.fake.PutItem(ctx, in, o...)
}

func (l *losing) DeleteItem(ctx context.Context, in *dynamodb.DeleteItemInput, o ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error) {
	l.lose++

	return l.fake.DeleteItem(ctx, in, o...)
}

func (l *losing) TransactWriteItems(
	ctx context.Context, in *dynamodb.TransactWriteItemsInput, o ...func(*dynamodb.Options),
) (*dynamodb.TransactWriteItemsOutput, error) {
	l.lose++

	return l.fake.TransactWriteItems(ctx, in, o...)
}

// The same with the SDK's own retries against a server.
func TestLostAnswerServer(t *testing.T) {
	var lost atomic.Int32

	client := server(t, func(o *dynamodb.Options) { o.HTTPClient = &breaking{lost: &lost} })
	writes(t, dynamo.New(client, dynamotest.Table(t, server(t))))

	if n := lost.Load(); n != 12 {
		t.Errorf("%d answers were lost, want 12: the test proves nothing", n)
	}
}

// breaking lets every write happen and breaks the answer of its first attempt.
type breaking struct{ lost *atomic.Int32 }

func (b *breaking) Do(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}

	target := r.Header.Get("X-Amz-Target")
	writes := strings.HasSuffix(target, ".PutItem") || strings.HasSuffix(target, ".DeleteItem") || strings.HasSuffix(target, ".TransactWriteItems")

	if !writes || !strings.HasPrefix(r.Header.Get("Amz-Sdk-Request"), "attempt=1;") {
		return resp, nil
	}

	b.lost.Add(1)
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()

	return nil, &smithy.GenericAPIError{Code: "RequestTimeout", Message: "the answer was lost"}
}

// When the SDK has given up, the caller gets AWS's error and unraised versions; a repetition tells that it had happened.
func TestLostForGood(t *testing.T) {
	f := newFake()
	broken := &types.InternalServerError{Message: aws.String("broken")}
	s := dynamo.New(&failing{fake: f, err: broken, after: true}, "table")
	c := change()

	err := s.Commit(t.Context(), first(), c)
	if !errors.Is(err, broken) || !awserr.Is(err, deploy.Transient) {
		t.Errorf("Commit: got error %v, want %v", err, broken)
	}

	if c.Deployment.Version != 0 || c.Operations[0].Version != 0 || c.Resources[0].Version != 0 {
		t.Errorf("the caller's versions were raised")
	}

	if err := s.Commit(t.Context(), first(), c); !errors.Is(err, store.ErrStale) {
		t.Errorf("Commit again: got error %v, want %v", err, store.ErrStale)
	}

	r := deploy.Resource{Ref: "vpc", Version: 1}
	if err := s.Save(t.Context(), first(), &r); !errors.Is(err, broken) || r.Version != 1 {
		t.Errorf("Save: got error %v and version %d, want %v and 1", err, r.Version, broken)
	}

	if err := s.Save(t.Context(), first(), &r); !errors.Is(err, store.ErrStale) {
		t.Errorf("Save again: got error %v, want %v", err, store.ErrStale)
	}
}

// failing answers every write that would have succeeded with an error, before or after it.
type failing struct {
	*fake

	err   error
	after bool
}

func (f *failing) PutItem(ctx context.Context, in *dynamodb.PutItemInput, o ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	if f.after {
		if out, err := f.fake.PutItem(ctx, in, o...); err != nil {
			return out, err
		}
	}

	return nil, f.err
}

func (f *failing) TransactWriteItems(
	ctx context.Context, in *dynamodb.TransactWriteItemsInput, o ...func(*dynamodb.Options),
) (*dynamodb.TransactWriteItemsOutput, error) {
	if f.after {
		if out, err := f.fake.TransactWriteItems(ctx, in, o...); err != nil {
			return out, err
		}
	}

	return nil, f.err
}

// What AWS answers when it wrote nothing: a lost race only where a condition failed, else a fault that is worth a repetition.
func TestFaults(t *testing.T) {
	canceled := func(codes ...string) error {
		e := &types.TransactionCanceledException{Message: aws.String("Transaction cancelled")}
		for _, c := range codes {
			e.CancellationReasons = append(e.CancellationReasons, types.CancellationReason{Code: &c})
		}

		return e
	}

	for name, test := range map[string]struct {
		reason string
		err    error
		stale  bool
		class  deploy.Class
	}{
		"Condition":   {"a condition failed", canceled("None", "ConditionalCheckFailed"), true, ""},
		"Both":        {"a failed condition decides, whatever else there was", canceled("TransactionConflict", "ConditionalCheckFailed"), true, ""},
		"Conflict":    {"another transaction was at the same items: not lost yet", canceled("None", "TransactionConflict"), false, deploy.Transient},
		"Throttled":   {"too much traffic", canceled("ThrottlingError", "None"), false, deploy.Transient},
		"InProgress":  {"our own first attempt is still at work", &types.TransactionInProgressException{}, false, deploy.Transient},
		"PutConflict": {"a single write met a transaction", &types.TransactionConflictException{}, false, deploy.Transient},
		"TooFast":     {"the table's limit", &types.ProvisionedThroughputExceededException{}, false, deploy.Throttled},
		"Denied":      {"the function's role may not", &smithy.GenericAPIError{Code: "AccessDeniedException"}, false, deploy.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(test.reason)

			// In a bubble, because what meets another transaction is tried again for a while.
			synctest.Test(t, func(t *testing.T) {
				err := dynamo.New(&failing{fake: newFake(), err: test.err}, "table").Commit(t.Context(), first(), change())

				if got := errors.Is(err, store.ErrStale); got != test.stale {
					t.Fatalf("got error %v; stale is %t, want %t", err, got, test.stale)
				}

				if !test.stale && (!errors.Is(err, test.err) || !awserr.Is(err, test.class)) {
					t.Errorf("got error %v of class %s, want %v of class %s", err, awserr.Classify(err).Class, test.err, test.class)
				}
			})
		})
	}
}

// A transaction that meets another one at the same item has lost nothing: it is tried again as it is, for as long as the caller has time, but not for ever.
func TestConflict(t *testing.T) {
	for name, test := range map[string]struct {
		reason  string
		refused int
		within  time.Duration
		want    func(error) bool
	}{
		"Few":      {"the others are done soon", 5, time.Minute, func(err error) bool { return err == nil }},
		"Forever":  {"somebody is always there", 1 << 30, time.Minute, func(err error) bool { return awserr.Is(err, deploy.Transient) }},
		"Deadline": {"the caller's time is over first", 1 << 30, 300 * time.Millisecond, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(test.reason)
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), test.within)
				defer cancel()

				f := &crowded{fake: newFake(), refused: test.refused}
				s := dynamo.New(f, "table")
				c := change()
				c.Usage = &store.Usage{Usage: deploy.Usage{Operations: 1}, Limit: deploy.Usage{Operations: 1}}
				err := s.Commit(ctx, first(), c)

				if !test.want(err) || errors.Is(err, store.ErrStale) {
					t.Errorf("got error %v", err)
				}

				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("it went on for %s", took)
				}

				if len(f.tokens) != 1 {
					t.Errorf("%d tokens: a repetition that happened twice would go unnoticed", len(f.tokens))
				}

				used, errUsed := s.Usage(t.Context(), "acme")
				if want := (err == nil); errUsed != nil || (used.Operations == 1) != want {
					t.Errorf("the tenant uses %+v, %v", used, errUsed)
				}
			})
		})
	}
}

// crowded refuses the first transactions because another one is at the same item.
type crowded struct {
	*fake

	refused int
	tokens  map[string]bool
}

func (c *crowded) TransactWriteItems(
	ctx context.Context, in *dynamodb.TransactWriteItemsInput, o ...func(*dynamodb.Options),
) (*dynamodb.TransactWriteItemsOutput, error) {
	if c.tokens == nil {
		c.tokens = map[string]bool{}
	}

	c.tokens[*in.ClientRequestToken] = true

	if c.refused == 0 {
		return c.fake.TransactWriteItems(ctx, in, o...)
	}

	c.refused--

	e := &types.TransactionCanceledException{Message: aws.String("Transaction cancelled"), CancellationReasons: make([]types.CancellationReason, len(in.TransactItems))}
	for i := range e.CancellationReasons {
		e.CancellationReasons[i].Code = aws.String("None")
	}

	e.CancellationReasons[len(in.TransactItems)-1].Code = aws.String("TransactionConflict")

	return nil, e
}

// What of the stream is an event, and what is not.
func TestEventOf(t *testing.T) {
	for name, test := range map[string]struct {
		reason, pk, body string
		is, fails        bool
	}{
		"Event":   {"an event that was written", "E#acme#first", `{"id":"a","sequence":7,"tenant":"acme","name":"first"}`, true, false},
		"Header":  {"most of what the stream shows", "D#acme#first", `{"id":"a","sequence":7}`, false, false},
		"Counter": {"an item without a body", "T#acme#USAGE", "", false, false},
		"Removed": {"what the TTL removed has no new image", "", "", false, false},
		"Broken":  {"an event that cannot be read must not be passed over", "E#acme#first", "{", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(test.reason)

			e, ok, err := dynamo.EventOf(test.pk, test.body)
			if ok != test.is || (err != nil) != test.fails {
				t.Fatalf("got %t, %v", ok, err)
			}

			if test.is && (e.Sequence != 7 || e.Key != first()) {
				t.Errorf("got %+v", e)
			}
		})
	}
}

// A Query that met a transaction half-way shows another operation than the header names.
func TestTornRead(t *testing.T) {
	f := newFake()
	s := dynamo.New(f, "table")

	if err := s.Commit(t.Context(), first(), change()); err != nil {
		t.Fatal(err)
	}

	torn := 2
	f.onQuery = func(out *dynamodb.QueryOutput) {
		for _, it := range out.Items {
			if value(it["sk"]) == "A#OP" && torn > 0 {
				torn--
				it["body"] = &types.AttributeValueMemberS{Value: `{"id":"first-0"}`}
			}
		}
	}

	record, err := s.Load(t.Context(), first())
	if err != nil {
		t.Fatal(err)
	}

	if torn != 0 || record.Operation.ID != "first-1" || len(record.Resources) != 2 {
		t.Errorf("got operation %s and %d resources after %d torn reads", record.Operation.ID, len(record.Resources), 2-torn)
	}

	torn = 1000

	if _, err := s.Load(t.Context(), first()); err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrStale) {
		t.Errorf("a record that never fits together: got error %v, want a fault", err)
	}
}

// One read of a record is one Query, however long its history and however many others there are; so is a page of a list.
func TestCost(t *testing.T) {
	f := newFake()
	s := dynamo.New(f, "table")
	c := change()
	c.Resources = c.Resources[:0] // two items: within one page of the fake

	for n := range 30 {
		c.Deployment.Operation = fmt.Sprintf("first-%02d", n)
		c.Operations = []deploy.Operation{{ID: c.Deployment.Operation, Key: first()}}

		if err := s.Commit(t.Context(), first(), c); err != nil {
			t.Fatal(err)
		}

		key := deploy.Key{Tenant: "acme", Name: fmt.Sprintf("gone-%02d", n)}
		if err := s.Commit(t.Context(), key, &store.Change{Deployment: &deploy.Deployment{Key: key, Phase: deploy.PhaseDeleted}}); err != nil {
			t.Fatal(err)
		}
	}

	for name, read := range map[string]func() error{
		"Load": func() error {
			_, err := s.Load(t.Context(), first())

			return err
		},
		"Operations": func() error {
			_, err := s.Operations(t.Context(), first(), 2, "first-20")

			return err
		},
		"Deployments": func() error {
			page, more, err := s.Deployments(t.Context(), store.List{Tenant: "acme", Size: 2})
			if len(page) != 1 || more {
				t.Errorf("a list of %d, more %t, where one lives", len(page), more)
			}

			return err
		},
	} {
		f.queries = 0

		if err := read(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}

		if f.queries != 1 {
			t.Errorf("%s took %d queries, want 1", name, f.queries)
		}
	}
}

// A filter that few match must not read a tenant's whole list for one page; the pages lead to the end all the same.
func TestScanned(t *testing.T) {
	f := newFake()
	f.page = 100
	s := dynamo.New(f, "table")

	for n := range 1100 {
		key := deploy.Key{Tenant: "acme", Name: fmt.Sprintf("d%04d", n)}
		phase := deploy.PhaseActive

		if n%2 == 1 {
			phase = deploy.PhaseDeleted
		}

		if err := s.Commit(t.Context(), key, &store.Change{Deployment: &deploy.Deployment{Key: key, Phase: phase}}); err != nil {
			t.Fatal(err)
		}
	}

	var (
		pages int
		last  string
		found []string
	)

	for more := true; more; pages++ {
		looked := 0

		page, further, err := s.Deployments(t.Context(), store.List{Tenant: "acme", Size: 10, After: last, Deleted: true, Match: func(d deploy.Deployment) bool {
			if d.Name <= last {
				t.Fatalf("%s was shown behind %s", d.Name, last)
			}

			looked++
			last = d.Name

			return d.Name == "d1099"
		}})
		if err != nil {
			t.Fatal(err)
		}

		if looked > 500 {
			t.Errorf("one page looked at %d", looked)
		}

		for _, d := range page {
			found = append(found, d.Name)
		}

		more = further
	}

	if pages != 3 || len(found) != 1 {
		t.Errorf("got %v in %d pages, want one in 3", found, pages)
	}
}

// The SDK's own retries hold what this package counts on: a transaction that is still in progress is asked for again.
func TestRetryable(t *testing.T) {
	r := retry.NewStandard()
	if !r.IsErrorRetryable(&types.TransactionInProgressException{}) {
		t.Error("TransactionInProgressException is not repeated by the SDK")
	}
}
