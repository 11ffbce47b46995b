package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/samtemplate"
)

// told is what an event says.
type told struct {
	ID         string `json:"id"`
	Sequence   int64  `json:"sequence"`
	Type       string `json:"type"`
	Deployment string `json:"deployment"`
	Phase      string `json:"phase"`
	Operation  struct{ ID, Kind, State string }
}

// receiver is a webhook's other end, which verifies signatures with the library of the standard, and answers with the given statuses in turn, then with the
// last for ever.
type receiver struct {
	*httptest.Server

	statuses []int

	mu       sync.Mutex
	verify   *standardwebhooks.Webhook
	calls    int
	taken    []told
	ids      []string
	rejected []error
}

func receive(t *testing.T, statuses ...int) *receiver {
	t.Helper()

	r := &receiver{statuses: statuses}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)

	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()

	body, err := io.ReadAll(req.Body)
	if err == nil {
		err = r.verify.Verify(body, req.Header)
	}

	var e told
	if err == nil {
		err = json.Unmarshal(body, &e)
	}

	if err != nil {
		r.rejected = append(r.rejected, err)
		w.WriteHeader(http.StatusBadRequest)

		return
	}

	status := r.statuses[min(r.calls, len(r.statuses)-1)]
	r.calls++

	if status < http.StatusMultipleChoices {
		r.taken, r.ids = append(r.taken, e), append(r.ids, req.Header.Get(standardwebhooks.HeaderWebhookID))
	}

	w.WriteHeader(status)
}

func (r *receiver) seen() []told {
	r.mu.Lock()
	defer r.mu.Unlock()

	return slices.Clone(r.taken)
}

// subscribe makes the receiver a webhook of the world's tenant and answers its id.
func (w *world) subscribe(r *receiver) string {
	w.Helper()

	r.mu.Lock()
	defer r.mu.Unlock()

	hook := as[struct{ ID, Secret string }](w, w.ask(request{method: "POST", path: "/v1/webhooks", body: object{"url": r.URL + "/hook"}}), http.StatusCreated)

	var err error
	if r.verify, err = standardwebhooks.NewWebhook(hook.Secret); err != nil {
		w.Fatal(err)
	}

	return hook.ID
}

// eventually waits until something is so.
func (w *world) eventually(what string, so func() bool) {
	w.Helper()

	for end := time.Now().Add(patience); !so(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("%s: not after %s", what, patience)
		}
	}
}

func (w *world) sqsQueue(logicalID string) samtemplate.Queue {
	w.Helper()

	for _, q := range w.Resources.Queues {
		if q.LogicalID == logicalID {
			return q
		}
	}

	w.Fatalf("the template has no queue %s", logicalID)

	return samtemplate.Queue{}
}

// bodies takes everything out of a queue.
func (w *world) bodies(url string) []string {
	w.Helper()

	var all []string

	for {
		out := must[*sqs.ReceiveMessageOutput](w)(w.aws.sqs.ReceiveMessage(w.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10}))
		if len(out.Messages) == 0 {
			return all
		}

		for _, m := range out.Messages {
			all = append(all, *m.Body)
			must[*sqs.DeleteMessageOutput](w)(w.aws.sqs.DeleteMessage(w.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}))
		}
	}
}

// listen sends what comes onto the product's bus into a queue, as a team would that listens.
func (w *world) listen() (url string) {
	w.Helper()

	bus, name := w.Resources.Buses[0], "listener"
	q := must[*sqs.CreateQueueOutput](w)(w.aws.sqs.CreateQueue(w.Context(), &sqs.CreateQueueInput{QueueName: &name}))
	must[*eventbridge.PutRuleOutput](w)(w.aws.bus.PutRule(w.Context(), &eventbridge.PutRuleInput{
		Name: &name, EventBusName: &bus, EventPattern: aws.String(`{"source": [{"prefix": "metaflow-deployer."}], "detail-type": ["deployment.changed"]}`),
	}))
	must[*eventbridge.PutTargetsOutput](w)(w.aws.bus.PutTargets(w.Context(), &eventbridge.PutTargetsInput{
		Rule: &name, EventBusName: &bus,
		Targets: []ebtypes.Target{{Id: aws.String("1"), Arn: aws.String("arn:aws:sqs:us-east-1:" + w.Account + ":" + name)}},
	}))

	return *q.QueueUrl
}

// TestEventsGoOut follows a deployment's life from outside: by three webhooks, of which one fails at first and one for ever, and on the bus.
func TestEventsGoOut(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	good, flaky, dead := receive(t, 204), receive(t, 500, 301, 200), receive(t, 503)
	w.subscribe(good)
	w.subscribe(flaky)
	lost := w.subscribe(dead)
	heard := w.listen()

	// A day of tries made short: three, whatever the template says.
	hooks, letters := w.sqsQueue("WebhookQueue"), w.sqsQueue("DeadWebhooks")
	must[*sqs.SetQueueAttributesOutput](w)(w.aws.sqs.SetQueueAttributes(w.Context(), &sqs.SetQueueAttributesInput{
		QueueUrl: &hooks.URL, Attributes: map[string]string{"RedrivePolicy": `{"deadLetterTargetArn": "` + letters.ARN + `", "maxReceiveCount": 3}`},
	}))

	// Operations end while one receiver refuses everything.
	w.active("research", nil)
	w.gone("research")

	ended := func(r *receiver) func() bool {
		return func() bool {
			all := r.seen()

			return len(all) > 0 && all[len(all)-1].Phase == "DELETED"
		}
	}
	w.eventually("the end arrives", ended(good))
	w.eventually("the end arrives, at the one that failed at first", ended(flaky))

	all := good.seen()

	var states []string
	for i, e := range all {
		if e.Sequence != int64(i+1) || e.Deployment != "research" || e.Type != "deployment.changed" {
			t.Errorf("the %d. event is %+v", i+1, e)
		}

		states = append(states, e.Phase+" "+e.Operation.Kind+" "+e.Operation.State)
	}

	want := []string{
		"CREATING CREATE PENDING", "CREATING CREATE RUNNING", "ACTIVE CREATE SUCCEEDED",
		"DELETING DELETE PENDING", "DELETING DELETE RUNNING", "DELETED DELETE SUCCEEDED",
	}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Errorf("every change in its order (-want +got):\n%s", diff)
	}

	if diff := cmp.Diff(all, flaky.seen()); diff != "" {
		t.Errorf("the receiver that failed at first sees the same in the same order (-good +flaky):\n%s", diff)
	}

	if flaky.calls != len(all)+2 {
		t.Errorf("the receiver that failed twice was called %d times for %d events", flaky.calls, len(all))
	}

	if diff := cmp.Diff(good.ids, flaky.ids); diff != "" {
		t.Errorf("an event has one id:\n%s", diff)
	}

	var onBus []told

	w.eventually("the bus has told everything", func() bool {
		for _, body := range w.bodies(heard) {
			var e struct {
				Source     string
				DetailType string `json:"detail-type"`
				Detail     told
			}
			if err := json.Unmarshal([]byte(body), &e); err != nil || e.DetailType != e.Detail.Type || !strings.HasPrefix(e.Source, "metaflow-deployer.") {
				t.Fatalf("%v: %s", err, body)
			}

			onBus = append(onBus, e.Detail)
		}

		return len(onBus) >= len(all)
	})
	slices.SortFunc(onBus, func(a, b told) int { return int(a.Sequence - b.Sequence) })

	if diff := cmp.Diff(all, slices.Compact(onBus)); diff != "" {
		t.Errorf("the bus tells the same (-webhook +bus):\n%s", diff)
	}

	var buried []string

	w.eventually("what nobody took is in the dead letters", func() bool {
		buried = append(buried, w.bodies(letters.URL)...)

		return len(buried) >= len(all)
	})

	for i, body := range buried {
		var d struct {
			Webhook string
			Body    told
		}
		if err := json.Unmarshal([]byte(body), &d); err != nil || d.Webhook != lost || d.Body.Sequence != int64(i+1) {
			t.Errorf("the %d. dead letter: %v %s", i+1, err, body)
		}

		if strings.Contains(body, "whsec_") || strings.Contains(body, dead.URL) {
			t.Errorf("a dead letter holds a secret: %s", body)
		}
	}

	for name, r := range map[string]*receiver{"good": good, "flaky": flaky, "dead": dead} {
		if len(r.rejected) > 0 {
			t.Errorf("%s: %v", name, r.rejected)
		}
	}
}

// TestUnsubscribedHearsNothing: what is under way to a webhook that is deleted is dropped, and no dead letter.
func TestUnsubscribedHearsNothing(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	gone, stays := receive(t, 503), receive(t, 200)
	id := w.subscribe(gone)
	w.subscribe(stays)

	w.create("research", nil)
	w.eventually("it was called", func() bool {
		gone.mu.Lock()
		defer gone.mu.Unlock()

		return gone.calls > 0
	})

	if a := w.ask(request{method: "DELETE", path: "/v1/webhooks/" + id}); a.status != http.StatusNoContent {
		t.Fatalf("%d %s", a.status, a.body)
	}

	w.eventually("the other goes on hearing", func() bool { all := stays.seen(); return len(all) > 0 && all[len(all)-1].Phase == "ACTIVE" })

	q := w.sqsQueue("WebhookQueue")
	w.eventually("nothing is left for it", func() bool {
		out := must[*sqs.GetQueueAttributesOutput](w)(w.aws.sqs.GetQueueAttributes(w.Context(), &sqs.GetQueueAttributesInput{
			QueueUrl: &q.URL, AttributeNames: []sqstypes.QueueAttributeName{"All"},
		}))

		return out.Attributes["ApproximateNumberOfMessages"] == "0" && out.Attributes["ApproximateNumberOfMessagesNotVisible"] == "0"
	})

	if left := w.bodies(w.sqsQueue("DeadWebhooks").URL); len(left) > 0 {
		t.Errorf("dead letters: %v", left)
	}

	if all := gone.seen(); len(all) > 0 {
		t.Errorf("%v", all)
	}
}
