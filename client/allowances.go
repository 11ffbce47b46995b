package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Webhook is where a tenant's events are sent. Secret signs them (Standard Webhooks); only the answer to Subscribe has it.
type Webhook struct {
	ID     string    `json:"id"`
	Tenant string    `json:"tenant"`
	URL    string    `json:"url"`
	Actor  string    `json:"actor"`
	Time   time.Time `json:"time"`
	Secret string    `json:"secret,omitempty"`

	Raw json.RawMessage `json:"-"`
}

// UnmarshalJSON keeps the whole answer in Raw.
func (w *Webhook) UnmarshalJSON(b []byte) error {
	type plain Webhook

	return decode(b, (*plain)(w), &w.Raw)
}

// Webhooks lists where the tenant's events are sent.
func (c *Client) Webhooks(ctx context.Context) ([]*Webhook, error) {
	all, err := get[struct{ Webhooks []*Webhook }](ctx, c, call{method: http.MethodGet, path: path{text: "/v1/webhooks"}})
	if err != nil {
		return nil, err
	}

	return all.Webhooks, nil
}

// Subscribe has the tenant's events sent to a URL.
func (c *Client) Subscribe(ctx context.Context, to string) (*Webhook, error) {
	return get[Webhook](ctx, c, call{method: http.MethodPost, path: path{text: "/v1/webhooks"}, body: map[string]string{"url": to}})
}

// Unsubscribe has no more events sent to a webhook. One that is gone when the call is repeated, because the first answer was lost, is no error.
func (c *Client) Unsubscribe(ctx context.Context, id string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: under("/v1/webhooks", "the id of a webhook", id, "")})

	return err
}

// Grant is what an admin allowed a tenant. Kind is bucket, role or stack-account; Value the bucket's name, the role's ARN, the account's number.
type Grant struct {
	Tenant string    `json:"tenant"`
	Kind   string    `json:"kind"`
	Value  string    `json:"value"`
	Actor  string    `json:"actor"`
	Time   time.Time `json:"time"`

	Raw json.RawMessage `json:"-"`
}

// UnmarshalJSON keeps the whole answer in Raw.
func (g *Grant) UnmarshalJSON(b []byte) error {
	type plain Grant

	return decode(b, (*plain)(g), &g.Raw)
}

// Grants lists what the tenant is allowed.
func (c *Client) Grants(ctx context.Context) ([]*Grant, error) {
	all, err := get[struct{ Grants []*Grant }](ctx, c, call{method: http.MethodGet, path: path{text: "/v1/grants"}})
	if err != nil {
		return nil, err
	}

	return all.Grants, nil
}

// Allow lets the tenant name a thing; admins only.
func (c *Client) Allow(ctx context.Context, kind, value string) (*Grant, error) {
	return get[Grant](ctx, c, call{method: http.MethodPost, path: path{text: "/v1/grants"}, body: map[string]string{"kind": kind, "value": value}})
}

// Withdraw takes back what was allowed; admins only. What uses the thing already goes on doing so. What is not allowed any more when the call is repeated,
// because the first answer was lost, is no error.
func (c *Client) Withdraw(ctx context.Context, kind, value string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: path{text: "/v1/grants"}, query: url.Values{"kind": {kind}, "value": {value}}})

	return err
}
