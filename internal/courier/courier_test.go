package courier_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/metaflow-deployer/metaflow-deployer/internal/courier"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/memory"
)

var errDown = errors.New("down")

// outside is bus, queue and receivers: it keeps what it is given, and is down for as many calls as it is told.
type outside struct {
	put  []courier.Event
	sent []courier.Delivery
	// busDown and queueDown fail that many calls, after queueUp good ones.
	busDown, queueUp, queueDown int

	status int
	broken error
	posts  []*http.Request
	bodies [][]byte
}

func (o *outside) Put(_ context.Context, e courier.Event) error {
	if o.busDown > 0 {
		o.busDown--

		return errDown
	}

	o.put = append(o.put, e)

	return nil
}

func (o *outside) Send(_ context.Context, d courier.Delivery) error {
	if o.queueUp == 0 && o.queueDown > 0 {
		o.queueDown--

		return errDown
	}

	o.queueUp = max(0, o.queueUp-1)

	// A FIFO queue takes the second of an id for the first.
	for _, x := range o.sent {
		if x.Once == d.Once {
			return nil
		}
	}

	o.sent = append(o.sent, d)

	return nil
}

func (o *outside) Do(req *http.Request) (int, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return 0, err
	}

	o.posts, o.bodies = append(o.posts, req), append(o.bodies, body)

	return o.status, o.broken
}

func event(sequence int64) deploy.Event {
	return deploy.Event{
		ID: "acme corp/research/" + string(rune('0'+sequence)), Sequence: sequence, Type: deploy.EventChanged, Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Key: deploy.Key{Tenant: "acme corp", Name: "research"}, Phase: deploy.PhaseActive, Operation: "research-1", Kind: deploy.Create, State: deploy.Succeeded,
	}
}

func secret(t *testing.T) string {
	t.Helper()

	s, err := courier.Secret(rand.Read)
	if err != nil {
		t.Fatal(err)
	}

	return s
}

// subscribed is a table with webhooks of the tenant, and one of another's.
func subscribed(t *testing.T, ids ...string) (*memory.Store, map[string]deploy.Webhook) {
	t.Helper()

	table, all := memory.New(), map[string]deploy.Webhook{}

	for _, id := range append(ids, "foreign") {
		w := deploy.Webhook{ID: id, Tenant: "acme corp", URL: "https://hooks.company.com/token-" + id, Secret: secret(t)}
		if id == "foreign" {
			w.Tenant = "other"
		}

		all[id] = w

		if err := table.Subscribe(t.Context(), w, deploy.Entry{ID: id, Tenant: w.Tenant}); err != nil {
			t.Fatal(err)
		}
	}

	return table, all
}

func TestPublish(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		reason    string
		out       outside
		tries     int
		bus, sent int
	}{
		"Well":        {reason: "once on the bus, once for each webhook of the tenant", tries: 1, bus: 1, sent: 2},
		"BusDown":     {reason: "what fails is tried again, whole", out: outside{busDown: 2}, tries: 3, bus: 1, sent: 2},
		"QueueDown":   {reason: "the bus may see it twice, the queue knows its ids", out: outside{queueDown: 1}, tries: 2, bus: 2, sent: 2},
		"BetweenTwo":  {reason: "the first webhook has it already", out: outside{queueUp: 1, queueDown: 1}, tries: 2, bus: 2, sent: 2},
		"TwiceBefore": {reason: "a stream that brings it again", tries: 1, bus: 1, sent: 2},
	}

	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			table, _ := subscribed(t, "a", "b")
			p := &courier.Publisher{Bus: &tt.out, Queue: &tt.out, Webhooks: table}

			for try := 1; ; try++ {
				err := p.Publish(t.Context(), event(1))
				if err == nil && try != tt.tries || err != nil && !errors.Is(err, errDown) {
					t.Errorf("%s: try %d: %v", tt.reason, try, err)
				}

				if err == nil {
					break
				}
			}

			if len(tt.out.put) != tt.bus || len(tt.out.sent) != tt.sent {
				t.Errorf("%s: %d on the bus, %d in the queue", tt.reason, len(tt.out.put), len(tt.out.sent))
			}

			if diff := cmp.Diff(courier.View(event(1)), tt.out.put[0]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The queue orders by webhook and deployment, takes the same event once, and learns no secret.
func TestDeliveries(t *testing.T) {
	t.Parallel()

	var out outside

	table, hooks := subscribed(t, "a", "b")
	p := &courier.Publisher{Bus: &out, Queue: &out, Webhooks: table}

	other := event(1)
	other.Name, other.ID = "other", "acme corp/other/1"

	for _, e := range []deploy.Event{event(1), event(2), other} {
		if err := p.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}

	groups, once, ids := map[string]int{}, map[string]bool{}, map[string]int{}

	for _, d := range out.sent {
		groups[d.Group]++
		once[d.Once] = true
		ids[d.ID]++

		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}

		for _, w := range hooks {
			if strings.Contains(string(text), w.Secret) || strings.Contains(string(text), w.URL) {
				t.Errorf("the queue learns a secret: %s", text)
			}
		}

		// SQS API reference, SendMessage: letters, digits and punctuation, at most 128.
		if strings.ContainsAny(d.Group+d.Once, " \t") || len(d.Group) > 128 || len(d.Once) > 128 || strings.Contains(d.ID, ".") {
			t.Errorf("%+v", d)
		}
	}

	if len(out.sent) != 6 || len(groups) != 4 || len(once) != 6 || len(ids) != 3 {
		t.Errorf("%d messages in %d groups, %d of their own, of %d events", len(out.sent), len(groups), len(once), len(ids))
	}
}

func TestDeliver(t *testing.T) {
	t.Parallel()

	now := time.Now()

	tests := map[string]struct {
		reason  string
		webhook string
		status  int
		broken  error
		tries   int
		since   time.Duration
		// calls, and whether it counts as delivered; else the shortest and the longest wait.
		calls     int
		delivered bool
		low, high time.Duration
	}{
		"OK":          {reason: "any 2xx is taken", webhook: "a", status: 200, tries: 1, calls: 1, delivered: true},
		"NoContent":   {reason: "any 2xx is taken", webhook: "a", status: 204, tries: 1, calls: 1, delivered: true},
		"299":         {reason: "any 2xx is taken", webhook: "a", status: 299, tries: 1, calls: 1, delivered: true},
		"Redirect":    {reason: "a redirect is not followed and not taken", webhook: "a", status: 307, tries: 1, calls: 1, low: 5 * time.Second, high: 10 * time.Second},
		"Gone":        {reason: "410 does not unsubscribe: that is the tenant's to do", webhook: "a", status: 410, tries: 1, calls: 1, low: 5 * time.Second, high: 10 * time.Second},
		"Second":      {reason: "waits double", webhook: "a", status: 500, tries: 2, calls: 1, low: 10 * time.Second, high: 20 * time.Second},
		"Fifth":       {reason: "waits double", webhook: "a", status: 500, tries: 5, calls: 1, low: 80 * time.Second, high: 160 * time.Second},
		"Hundredth":   {reason: "up to a quarter of an hour", webhook: "a", status: 500, tries: 100, calls: 1, low: 450 * time.Second, high: 15 * time.Minute},
		"Unreachable": {reason: "no answer is none", webhook: "a", broken: errors.New("connection refused"), tries: 1, calls: 1, low: 5 * time.Second, high: 10 * time.Second},
		"Unsubscribed": {
			reason: "nobody waits for it any more", webhook: "gone", tries: 3, delivered: true,
		},
		"AnotherTenants": {reason: "a webhook belongs to its tenant", webhook: "foreign", tries: 1, delivered: true},
		"DayOld":         {reason: "after a day the rest of the tries goes by", webhook: "a", status: 200, tries: 30, since: 25 * time.Hour},
		"WaitedForADay":  {reason: "what waited behind others is tried once", webhook: "a", status: 200, tries: 1, since: 25 * time.Hour, calls: 1, delivered: true},
	}

	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			table, hooks := subscribed(t, "a")
			out := &outside{status: tt.status, broken: tt.broken}

			var log bytes.Buffer

			c := &courier.Courier{Webhooks: table, Caller: out, Now: func() time.Time { return now }, Log: slog.New(slog.NewJSONHandler(&log, nil))}
			d := courier.Delivery{Tenant: "acme corp", Webhook: tt.webhook, ID: "evt_1", Body: json.RawMessage(`{"a":"<b>"}`)}

			again, err := c.Deliver(t.Context(), d, tt.tries, now.Add(-tt.since))
			if (err == nil) != tt.delivered || len(out.posts) != tt.calls {
				t.Fatalf("%s: %v after %d calls", tt.reason, err, len(out.posts))
			}

			if err != nil && (again < tt.low || again > tt.high) {
				t.Errorf("%s: again after %s", tt.reason, again)
			}

			for _, text := range []string{log.String(), errorText(err)} {
				if strings.Contains(text, hooks["a"].Secret) || strings.Contains(text, "token-a") {
					t.Errorf("a secret shows: %s", text)
				}
			}

			if tt.calls == 0 {
				return
			}

			req := out.posts[0]
			if req.Method != http.MethodPost || req.URL.String() != hooks["a"].URL || req.Header.Get("Content-Type") != "application/json" || string(out.bodies[0]) != `{"a":"<b>"}` {
				t.Errorf("%s %s %v %s", req.Method, req.URL, req.Header, out.bodies[0])
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}

	return err.Error()
}

// TestSignature: whoever verifies by the standard's own library takes what we sign, and nothing else.
func TestSignature(t *testing.T) {
	t.Parallel()

	own, body := secret(t), []byte(`{"sequence":1}`)
	now := time.Now()

	verifier, err := standardwebhooks.NewWebhook(own)
	if err != nil {
		t.Fatal(err)
	}

	sent := func(change func(*deploy.Webhook, *courier.Delivery), at time.Time) (http.Header, []byte) {
		w := deploy.Webhook{ID: "a", Tenant: "t", URL: "https://hooks.company.com/", Secret: own}
		d := courier.Delivery{Tenant: "t", Webhook: "a", ID: "evt_1", Body: body}
		change(&w, &d)

		table, out := memory.New(), &outside{status: 200}
		if err := table.Subscribe(t.Context(), w, deploy.Entry{ID: "1", Tenant: "t"}); err != nil {
			t.Fatal(err)
		}

		c := &courier.Courier{Webhooks: table, Caller: out, Now: func() time.Time { return at }, Log: slog.New(slog.DiscardHandler)}
		if _, err := c.Deliver(t.Context(), d, 1, at); err != nil {
			t.Fatal(err)
		}

		return out.posts[0].Header, out.bodies[0]
	}

	same := func(*deploy.Webhook, *courier.Delivery) {}

	headers, got := sent(same, now)
	if err := verifier.Verify(got, headers); err != nil {
		t.Errorf("the library refuses what we sign: %v", err)
	}

	// The worked example of the standard: spec/standard-webhooks.md, "Signature scheme".
	example, err := courier.Sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; err != nil || example != want {
		t.Errorf("the standard's example is %s, %v", example, err)
	}

	for reason, forge := range map[string]func() (http.Header, []byte){
		"the body was changed":   func() (http.Header, []byte) { h, _ := sent(same, now); return h, []byte(`{"sequence":2}`) },
		"the id was changed":     func() (http.Header, []byte) { h, b := sent(same, now); h.Set("Webhook-Id", "evt_2"); return h, b },
		"it is sent again later": func() (http.Header, []byte) { return sent(same, now.Add(-6*time.Minute)) },
		"it is from the future":  func() (http.Header, []byte) { return sent(same, now.Add(6*time.Minute)) },
		"another webhook's": func() (http.Header, []byte) {
			return sent(func(w *deploy.Webhook, _ *courier.Delivery) { w.Secret = secret(t) }, now)
		},
		"the time was changed":  func() (http.Header, []byte) { h, b := sent(same, now); h.Set("Webhook-Timestamp", "1"); return h, b },
		"there is no signature": func() (http.Header, []byte) { h, b := sent(same, now); h.Del("Webhook-Signature"); return h, b },
		"the signature is no mac": func() (http.Header, []byte) {
			h, b := sent(same, now)
			h.Set("Webhook-Signature", "v1,AAAA")
			return h, b
		},
	} {
		if h, b := forge(); verifier.Verify(b, h) == nil {
			t.Errorf("it is taken although %s", reason)
		}
	}

	for _, bad := range []string{"", "whsec_", "whsec_%%%"} {
		if _, err := courier.Sign(bad, "a", now, nil); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q signs, or shows: %v", bad, err)
		}
	}
}
