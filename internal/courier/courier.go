// Package courier takes events out of the product: each to the event bus, and one message for each webhook of its tenant into a queue; and from the queue,
// signed, to the webhook. The two halves run in functions of their own, so a receiver that is slow or dead holds up nothing but its own queue.
//
// An event may be sent twice, by either half; its id is the same then. Messages of one webhook and deployment are in order, and one that cannot be delivered
// holds up those behind it until it is given up; on the bus `sequence` tells the order.
//
// The package must not know what stands behind bus and queue, nor who may be called: that is egress's.
package courier

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

const (
	// firstWait is the wait after a first failure; it doubles up to maxWait.
	firstWait = 10 * time.Second
	maxWait   = 15 * time.Minute
	// patience is how long a delivery is tried. One that has waited for so long behind others is tried once.
	patience = 24 * time.Hour
)

// Bus takes events that anybody in the account may listen to.
type Bus interface {
	Put(ctx context.Context, e Event) error
}

// Queue keeps deliveries: those of one group in order, and only the first of those of one id within minutes.
type Queue interface {
	Send(ctx context.Context, d Delivery) error
}

// Webhooks tells where a tenant wants its events sent; store.Webhooks does.
type Webhooks interface {
	Webhooks(ctx context.Context, tenant string) ([]deploy.Webhook, error)
}

// Caller sends a request and answers the status; *egress.Egress is one.
type Caller interface {
	Do(req *http.Request) (status int, err error)
}

// Delivery is one event on its way to one webhook. It holds neither the URL nor the secret: both are read when it is delivered.
type Delivery struct {
	Tenant  string `json:"tenant"`
	Webhook string `json:"webhook"`
	// ID is the event's for receivers, the same for each of the tenant's webhooks.
	ID   string          `json:"id"`
	Body json.RawMessage `json:"body"`

	// Group and Once are the queue's: what stays in order, and what is one message.
	Group string `json:"-"`
	Once  string `json:"-"`
}

// Publisher sends events to the bus and deliveries to the queue.
type Publisher struct {
	Bus      Bus
	Queue    Queue
	Webhooks Webhooks
}

// Publish sends one event everywhere. It is to be called again with the same event if it fails.
func (p *Publisher) Publish(ctx context.Context, e deploy.Event) error {
	view := View(e)
	if err := p.Bus.Put(ctx, view); err != nil {
		return fmt.Errorf("put event %s on the bus: %w", e.ID, err)
	}

	hooks, err := p.Webhooks.Webhooks(ctx, e.Tenant)
	if err != nil {
		return fmt.Errorf("read the webhooks for event %s: %w", e.ID, err)
	}

	body, err := json.Marshal(view)
	if err != nil {
		return fmt.Errorf("encode event %s: %w", e.ID, err)
	}

	for _, w := range hooks {
		d := Delivery{Tenant: e.Tenant, Webhook: w.ID, ID: "evt_" + digest(e.ID), Body: body, Group: digest(w.ID, e.Name), Once: digest(w.ID, e.ID)}
		if err := p.Queue.Send(ctx, d); err != nil {
			return fmt.Errorf("queue event %s for webhook %s: %w", e.ID, w.ID, err)
		}
	}

	return nil
}

// Courier delivers.
type Courier struct {
	Webhooks Webhooks
	Caller   Caller
	Now      func() time.Time
	Log      *slog.Logger
}

// Deliver tries to deliver what was received for the n-th time since it was sent to the queue. A failure comes with the time until the next try. What a
// webhook that is gone was to get is delivered.
func (c *Courier) Deliver(ctx context.Context, d Delivery, n int, since time.Time) (again time.Duration, err error) {
	// The queue gives up by its count of tries; what is left of them goes by without a call.
	if n > 1 && c.Now().Sub(since) > patience {
		return 0, fmt.Errorf("webhook %s: event %s was tried for %s", d.Webhook, d.ID, patience)
	}

	w, found, err := c.find(ctx, d)
	if err != nil || !found {
		return wait(n), err
	}

	began := c.Now()

	status, err := c.send(ctx, w, d)
	if err == nil && (status < http.StatusOK || status > 299) {
		err = fmt.Errorf("the receiver answered %d", status)
	}

	if err != nil {
		return wait(n), fmt.Errorf("webhook %s: event %s: try %d: %w", d.Webhook, d.ID, n, err)
	}

	c.Log.InfoContext(ctx, "delivered", "webhook", d.Webhook, "event", d.ID, "try", n, "status", status, "took", c.Now().Sub(began), "age", c.Now().Sub(since))

	return 0, nil
}

func (c *Courier) find(ctx context.Context, d Delivery) (deploy.Webhook, bool, error) {
	hooks, err := c.Webhooks.Webhooks(ctx, d.Tenant)
	if err != nil {
		return deploy.Webhook{}, false, fmt.Errorf("webhook %s: read it: %w", d.Webhook, err)
	}

	for _, w := range hooks {
		if w.ID == d.Webhook {
			return w, true, nil
		}
	}

	return deploy.Webhook{}, false, nil
}

func (c *Courier) send(ctx context.Context, w deploy.Webhook, d Delivery) (int, error) {
	at := c.Now()

	signature, err := Sign(w.Secret, d.ID, at, d.Body)
	if err != nil {
		return 0, err
	}

	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(d.Body))
	if err != nil {
		return 0, errors.New("the webhook's URL cannot be read") // the error would quote it
	}

	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "metaflow-deployer")
	req.Header.Set("Webhook-Id", d.ID)
	req.Header.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	req.Header.Set("Webhook-Signature", signature)

	return c.Caller.Do(req)
}

// wait is how long to wait after the n-th try, half of it by chance, so that what failed together does not come back together.
func wait(n int) time.Duration {
	d := maxWait
	if doublings := max(n, 1) - 1; doublings < 7 {
		d = min(firstWait<<doublings, maxWait)
	}

	return d/2 + rand.N(d/2) //nolint:gosec // nobody gains by guessing it
}

// secretPrefix begins the secrets of Standard Webhooks; what follows is the key in base64.
const secretPrefix = "whsec_"

// secretSize is the size of a key: Standard Webhooks wants 24 to 64 bytes.
const secretSize = 32

// Secret makes a webhook's secret of bytes that nobody can guess, from a source such as crypto/rand's Reader.Read.
func Secret(random func([]byte) (int, error)) (string, error) {
	key := make([]byte, secretSize)
	if _, err := random(key); err != nil {
		return "", fmt.Errorf("make a secret: %w", err)
	}

	return secretPrefix + base64.StdEncoding.EncodeToString(key), nil
}

// Sign makes the signature header of Standard Webhooks, https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md: HMAC-SHA256 of
// id, time and body, so that a receiver can refuse what is old or was changed. The error does not quote the secret.
func Sign(secret, id string, at time.Time, body []byte) (string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil || len(key) == 0 {
		return "", errors.New("the webhook's secret cannot be read")
	}

	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.%s", id, at.Unix(), body)

	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}
