package httpapi

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/metaflow-deployer/metaflow-deployer/internal/courier"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// maxWebhooks is how many a tenant may have: each event becomes a message for each. Requests of the same moment may get one more in.
const maxWebhooks = 10

// NewWebhook is the body of a subscription.
type NewWebhook struct {
	URL string `json:"url" minLength:"1" maxLength:"2048" doc:"Where events are posted to: https, a public DNS name, port 443. docs/events.md says what arrives"`
}

// Webhook is where a tenant's events are sent.
type Webhook struct {
	ID     string    `json:"id"`
	Tenant string    `json:"tenant"`
	URL    string    `json:"url"`
	Actor  string    `json:"actor" doc:"Who subscribed it"`
	Time   time.Time `json:"time"`
}

// SubscribedWebhook is a new webhook with its secret.
type SubscribedWebhook struct {
	Webhook
	Secret string `json:"secret" doc:"Signs what is sent (Standard Webhooks). Shown this once"`
}

// Webhooks is where all of a tenant's events are sent.
type Webhooks struct {
	Webhooks []Webhook `json:"webhooks"`
}

type (
	webhooksInput  struct{ Acting }
	webhooksOutput struct{ Body Webhooks }
	subscribeInput struct {
		Acting
		Key string `header:"Idempotency-Key" doc:"1 to 255 visible ASCII characters. The same key and URL get the same webhook again, for as long as it is there"`
	}
	subscribeOutput  struct{ Body SubscribedWebhook }
	unsubscribeInput struct {
		Acting
		ID string `path:"id" maxLength:"64"`
	}
	unsubscribeOutput struct{}
)

// webhooks registers where events go.
func (s *server) webhooks() {
	list := s.route(http.MethodGet, "/v1/webhooks", "listWebhooks", "List where the tenant's events are sent", deploy.Viewer, 200, 403, 422, 503)
	huma.Register(s.api, list, s.listWebhooks)

	subscribe := s.route(http.MethodPost, "/v1/webhooks", "subscribe", "Have the tenant's events sent to a URL", deploy.Deployer, 201, 400, 403, 409, 413, 415, 422, 503)
	subscribe.Description += " The answer holds the secret that signs what is sent; it is not shown again. A tenant may have 10 webhooks."
	huma.Register(s.api, s.takesBody(subscribe, s.schema(NewWebhook{})), s.subscribe)

	unsubscribe := s.route(http.MethodDelete, "/v1/webhooks/{id}", "unsubscribe", "Have no more events sent to a webhook", deploy.Deployer, 204, 403, 404, 422, 503)
	unsubscribe.Description += " What is under way to it is dropped."
	huma.Register(s.api, unsubscribe, s.unsubscribe)
}

func (s *server) listWebhooks(ctx context.Context, _ *webhooksInput) (*webhooksOutput, error) {
	list, err := s.Records.Webhooks(ctx, of(ctx).principal.Tenant)
	if err != nil {
		return nil, s.fail(ctx, err)
	}

	out := &webhooksOutput{Body: Webhooks{Webhooks: []Webhook{}}}
	for _, w := range list {
		out.Body.Webhooks = append(out.Body.Webhooks, webhookView(w))
	}

	return out, nil
}

func webhookView(w deploy.Webhook) Webhook {
	return Webhook{ID: w.ID, Tenant: w.Tenant, URL: w.URL, Actor: w.Actor, Time: w.Time.UTC()}
}

func (s *server) subscribe(ctx context.Context, in *subscribeInput) (*subscribeOutput, error) {
	req := of(ctx)

	// The id of a webhook that is asked for with a key derives from it: whoever asks again finds it.
	id, err := lasting(req, "webhook", in.Key)
	if err != nil {
		return nil, err
	}

	id = cmp.Or(id, workflow.NewID())

	var body NewWebhook
	if err := json.Unmarshal(req.body, &body); err != nil {
		return nil, s.fail(ctx, fmt.Errorf("decode a body that fits the schema: %w", err))
	}

	if refused := s.CheckURL(body.URL); refused != nil {
		return nil, s.fail(ctx, refused)
	}

	list, err := s.Records.Webhooks(ctx, req.principal.Tenant)
	if err != nil {
		return nil, s.fail(ctx, err)
	}

	for _, w := range list {
		switch {
		case w.ID != id:
		case w.URL == body.URL:
			return &subscribeOutput{Body: SubscribedWebhook{Webhook: webhookView(w), Secret: w.Secret}}, nil
		default:
			return nil, s.fail(ctx, store.ErrMismatch)
		}
	}

	if len(list) >= maxWebhooks {
		return nil, problem(http.StatusConflict, deploy.Quota, "too_many_webhooks", "The tenant has %d webhooks, which is as many as it may have.", len(list)).
			remedy("Delete one that is not needed: GET /v1/webhooks lists them.")
	}

	secret, err := courier.Secret(rand.Read)
	if err != nil {
		return nil, s.fail(ctx, err)
	}

	w := deploy.Webhook{
		ID: id, Tenant: req.principal.Tenant, URL: body.URL, Actor: req.principal.Actor, Time: s.Clock.Now(), Secret: secret,
	}
	if err := s.Records.Subscribe(ctx, w, s.subscribed(ctx, "subscribe", w.ID)); err != nil {
		return nil, s.fail(ctx, err)
	}

	return &subscribeOutput{Body: SubscribedWebhook{Webhook: webhookView(w), Secret: secret}}, nil
}

func (s *server) unsubscribe(ctx context.Context, in *unsubscribeInput) (*unsubscribeOutput, error) {
	if err := s.Records.Unsubscribe(ctx, of(ctx).principal.Tenant, in.ID, s.subscribed(ctx, "unsubscribe", in.ID)); err != nil {
		return nil, s.failAt(ctx, err, notFound(ctx, "webhook", in.ID).remedy("GET /v1/webhooks lists those that there are."))
	}

	return &unsubscribeOutput{}, nil
}

// subscribed is the line of the audit trail about a webhook. The URL may hold a secret and stays out of it.
func (s *server) subscribed(ctx context.Context, action, id string) deploy.Entry {
	req := of(ctx)

	return workflow.Line(deploy.Entry{
		Tenant: req.principal.Tenant, Actor: req.principal.Actor, Action: action, Subject: "webhook " + id, Outcome: deploy.OutcomeDone,
	}, cmp.Or(strings.ReplaceAll(req.id, "/", "-"), id), s.Clock.Now())
}
