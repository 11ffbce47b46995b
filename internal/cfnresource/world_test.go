package cfnresource_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/cfnresource"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

const (
	tenant  = "acme"
	account = "123456789012"
	stackID = "arn:aws:cloudformation:us-east-1:" + account + ":stack/ml/6f6b2f60-0000-11f0-8000-0a58a9feac02"
	alias   = "arn:aws:lambda:us-east-1:" + account + ":function:customresource:" + tenant
	// capability is what nobody may see of a ResponseURL.
	capability = "X-Amz-Signature=c0ffee5ec2e7"
)

var key = deploy.Key{Tenant: tenant, Name: "research"}

// answer is what CloudFormation got.
type answer struct {
	Status, Reason, PhysicalResourceId, StackId, RequestId, LogicalResourceId string //nolint:revive,staticcheck // CloudFormation's spelling
	NoEcho                                                                    bool
	Data                                                                      map[string]string
}

// bench is a whole installation in virtual time, with the resource in front and a bucket for its answers behind.
type bench struct {
	*simulation.World
	*cfnresource.Resource

	t       *testing.T
	mu      sync.Mutex
	answers map[string][]answer // by request id
	// refuse, where set, is what the bucket answers instead of taking an answer.
	refuse   func() error
	log      *bytes.Buffer
	requests int
}

// run has a test run in a bubble of virtual time.
func run(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Helper()

	synctest.Test(t, func(t *testing.T) {
		t.Helper()

		w, err := simulation.NewWorld(1)
		if err != nil {
			t.Fatal(err)
		}

		b := &bench{World: w, t: t, answers: map[string][]answer{}, log: &bytes.Buffer{}}
		log := slog.New(slog.NewTextHandler(&locked{w: b.log}, nil))
		w.Control.Log = log
		b.Resource = &cfnresource.Resource{Control: w.Control, Records: w.Store, Sender: b, Clock: workflow.WallClock{}, Log: log}

		grant := deploy.Grant{Tenant: tenant, Kind: deploy.GrantStackAccount, Value: account, Actor: "root"}
		if err := w.Store.Allow(t.Context(), grant, workflow.Line(deploy.Entry{Tenant: tenant, Action: "allow"}, "1", time.Now())); err != nil {
			t.Fatal(err)
		}

		test(t, b)
		b.spilled()
	})
}

type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.w.Write(p)
}

// Check lets the real one decide.
func (b *bench) Check(url string) error {
	r, err := cfnresource.NewResponder("us-east-1", "amazonaws.com", nil, workflow.WallClock{})
	if err != nil {
		b.t.Fatal(err)
	}

	return r.Check(url)
}

// Send is CloudFormation's bucket: it holds each answer to the limit and keeps it.
func (b *bench) Send(_ context.Context, url string, body []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()

	if b.refuse != nil {
		if err := b.refuse(); err != nil {
			return err
		}
	}

	var a answer

	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()

	if err := dec.Decode(&a); err != nil || len(body) > 4096 || a.PhysicalResourceId == "" || (a.Status == "FAILED") != (a.Reason != "") {
		b.t.Errorf("no answer of CloudFormation's: %v, %d bytes: %s", err, len(body), body)
	}

	if !strings.Contains(url, a.RequestId) {
		b.t.Errorf("the answer to %s was sent to another's URL", a.RequestId)
	}

	b.answers[a.RequestId] = append(b.answers[a.RequestId], a)

	return nil
}

// of lists the answers to a request.
func (b *bench) of(e cfnresource.Event) []answer {
	b.mu.Lock()
	defer b.mu.Unlock()

	return b.answers[e.RequestID]
}

// event is a request of the stack, with the properties that every resource has and some more.
func (b *bench) event(kind, physical string, more map[string]any) cfnresource.Event {
	b.requests++
	id := fmt.Sprintf("request-%d", b.requests)

	properties := map[string]any{"ServiceToken": alias, "Name": key.Name}
	maps.Copy(properties, more)

	return cfnresource.Event{
		RequestType: kind, RequestID: id, StackID: stackID, LogicalResourceID: "Env", PhysicalResourceID: physical, ResourceProperties: properties,
		ResponseURL: "https://cloudformation-custom-resource-response-useast1.s3.amazonaws.com/" + id + "?X-Amz-Algorithm=AWS4-HMAC-SHA256&" + capability,
	}
}

// send hands an event in, as Lambda does: again if it fails.
func (b *bench) send(e cfnresource.Event) {
	b.t.Helper()

	for range 3 {
		err := b.Handle(b.t.Context(), tenant, e)
		if err == nil {
			return
		}

		time.Sleep(time.Minute)
	}

	b.t.Fatalf("request %s: failed three times", e.RequestID)
}

// settle lets minutes pass, with every schedule, until the request is answered or so many have passed.
func (b *bench) settle(e cfnresource.Event, minutes int) []answer {
	b.t.Helper()

	for range minutes {
		if len(b.of(e)) > 0 {
			break
		}

		time.Sleep(time.Minute)

		_ = b.Watch(b.t.Context())

		if err := b.Tick(b.t.Context()); err != nil {
			b.t.Logf("tick: %v", err)
		}
	}

	return b.of(e)
}

// ask sends a request and waits for its one answer.
func (b *bench) ask(e cfnresource.Event) answer {
	b.t.Helper()
	b.send(e)

	return b.only(b.settle(e, 90))
}

func (b *bench) only(answers []answer) answer {
	b.t.Helper()

	if len(answers) != 1 {
		b.t.Fatalf("answered %d times: %+v", len(answers), answers)
	}

	return answers[0]
}

// want fails unless an answer is a success, or a failure whose reason says as much.
func (b *bench) want(a answer, says string) answer {
	b.t.Helper()

	if says == "" && a.Status != "SUCCESS" || says != "" && (a.Status != "FAILED" || !strings.Contains(a.Reason, says)) {
		b.t.Fatalf("the answer is %+v, want %q", a, says)
	}

	return a
}

func (b *bench) phase(name string) deploy.Phase {
	b.t.Helper()

	record, err := b.Store.Load(b.t.Context(), deploy.Key{Tenant: tenant, Name: name})
	if err != nil {
		return ""
	}

	return record.Deployment.Phase
}

// operations counts what was ever admitted for a name.
func (b *bench) operations(name string) int {
	b.t.Helper()

	list, err := b.Store.Operations(b.t.Context(), deploy.Key{Tenant: tenant, Name: name}, 50, "")
	if err != nil {
		return 0
	}

	return len(list)
}

// spilled looks for the capability everywhere but where it must stand.
func (b *bench) spilled() {
	b.t.Helper()

	ctx := context.WithoutCancel(b.t.Context())

	places := map[string]any{"the log": b.log.String()}

	entries, _, _, err := b.Store.Entries(ctx, tenant, "", 1000, "")
	if err != nil {
		b.t.Fatal(err)
	}

	places["the audit trail"] = entries
	places["what went to AWS"] = fmt.Sprintf("%+v", b.AWS.Calls())

	headers, _, err := b.Store.Deployments(ctx, listAll())
	if err != nil {
		b.t.Fatal(err)
	}

	for _, h := range headers {
		record, err := b.Store.Load(ctx, h.Key)
		if err != nil {
			b.t.Fatal(err)
		}

		ops, err := b.Store.Operations(ctx, h.Key, 100, "")
		if err != nil {
			b.t.Fatal(err)
		}

		events, err := b.Store.Events(ctx, h.Key)
		if err != nil {
			b.t.Fatal(err)
		}

		places["the record of "+h.Name], places["the operations of "+h.Name], places["the events of "+h.Name] = record, ops, events
	}

	for place, v := range places {
		text, err := json.Marshal(v)
		if err != nil {
			b.t.Fatal(err)
		}

		if bytes.Contains(text, []byte("c0ffee5ec2e7")) {
			b.t.Errorf("a ResponseURL is in %s", place)
		}
	}

	for id, answers := range b.answers {
		if strings.Contains(fmt.Sprint(answers), "c0ffee5ec2e7") {
			b.t.Errorf("a ResponseURL is in the answer to %s", id)
		}
	}
}
