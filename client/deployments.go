package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
)

// CreateRequest asks for a deployment. Only the name is needed.
type CreateRequest struct {
	Name string `json:"name"`
	// Spec is a Spec or anything else that marshals to the contract's; nil is the default environment.
	Spec   any               `json:"spec,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	// TTL is how long the deployment lives, such as 72h or 3d; empty is for ever.
	TTL string `json:"ttl,omitempty"`
	// Verify, if true, proves the environment with a probe job before the create succeeds.
	Verify bool `json:"verify,omitempty"`

	// IdempotencyKey makes the request the same as an earlier one with that key, within 24 hours. One is made for each call if it is empty.
	IdempotencyKey string `json:"-"`
}

// UpdateRequest asks for another spec, whole: what it leaves out goes back to its default.
type UpdateRequest struct {
	Spec any `json:"spec"`
	// Labels take the place of those that are there: an empty map takes all of them away, nil leaves them.
	Labels map[string]string `json:"labels,omitzero"`
	// TTL moves the expiry to that long from now, such as 72h or 3d; empty leaves it.
	TTL string `json:"ttl,omitempty"`

	// IfMatch, if set, is the ETag of the deployment as the caller has seen it last: if it changed since, the update is refused.
	IfMatch string `json:"-"`
}

// Data says what a delete does with a bucket that the deployment made.
type Data string

// The choices: the bucket stays with its objects, or goes with everything in it.
const (
	Keep  Data = "keep"
	Purge Data = "purge"
)

// DeleteOptions are the choices of a delete.
type DeleteOptions struct {
	// Data is Keep if empty.
	Data Data
	// AllowMissing makes it no error that there is nothing to delete; the operation is nil then.
	AllowMissing bool
	// IfMatch is as in UpdateRequest.
	IfMatch string
}

// ChangeOptions are the choices of what else changes a deployment.
type ChangeOptions struct {
	// IfMatch is as in UpdateRequest.
	IfMatch string
}

// ListOptions narrow a list.
type ListOptions struct {
	// Filter joins terms by commas: phase=ACTIVE,label.team=data.
	Filter string
	// ShowDeleted lists what is deleted, too.
	ShowDeleted bool
}

func deployment(name, rest string) path {
	return under("/v1/deployments", "the name of a deployment", name, rest)
}

func flag(on bool) []string {
	if on {
		return []string{"true"}
	}

	return nil
}

// Create asks for a deployment and answers the operation that makes it.
func (c *Client) Create(ctx context.Context, r CreateRequest) (*Operation, error) {
	return get[Operation](ctx, c, call{method: http.MethodPost, path: path{text: "/v1/deployments"}, body: r, key: r.IdempotencyKey})
}

// PlanCreate answers what a create would do, and does nothing.
func (c *Client) PlanCreate(ctx context.Context, r CreateRequest) (*Plan, error) {
	return get[Plan](ctx, c, call{method: http.MethodPost, path: path{text: "/v1/deployments:plan"}, body: r, key: r.IdempotencyKey})
}

// Update asks for another spec and answers the operation that brings it about.
func (c *Client) Update(ctx context.Context, name string, r UpdateRequest) (*Operation, error) {
	return get[Operation](ctx, c, call{method: http.MethodPut, path: deployment(name, ""), body: r, header: ifMatch(r.IfMatch)})
}

// PlanCreateTemplate answers what a create would make as a CloudFormation template, in JSON, and does nothing. What the create would be refused for is not in
// it: PlanCreate finds that.
func (c *Client) PlanCreateTemplate(ctx context.Context, r CreateRequest) (json.RawMessage, error) {
	return c.template(ctx, call{path: path{text: "/v1/deployments:plan"}, body: r, key: r.IdempotencyKey})
}

// PlanUpdate answers what an update would do, and does nothing.
func (c *Client) PlanUpdate(ctx context.Context, name string, r UpdateRequest) (*Plan, error) {
	return get[Plan](ctx, c, call{method: http.MethodPost, path: deployment(name, ":plan"), body: r, header: ifMatch(r.IfMatch)})
}

// PlanUpdateTemplate answers what a deployment would have after an update as a CloudFormation template, in JSON, and does nothing. What the update would be
// refused for is not in it: PlanUpdate finds that.
func (c *Client) PlanUpdateTemplate(ctx context.Context, name string, r UpdateRequest) (json.RawMessage, error) {
	return c.template(ctx, call{path: deployment(name, ":plan"), body: r, header: ifMatch(r.IfMatch)})
}

// template asks for a plan as a template.
func (c *Client) template(ctx context.Context, r call) (json.RawMessage, error) {
	r.method, r.query = http.MethodPost, url.Values{"format": {"cloudformation"}}

	a, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}

	return a.body, a.into(&template{})
}

func ifMatch(etag string) map[string]string {
	if etag == "" {
		return nil
	}

	return map[string]string{"If-Match": etag}
}

// Delete asks for a deployment's end and answers the operation that brings it about. If the deployment is gone when the call is repeated, because the first
// answer was lost, that is the operation that ended it; with AllowMissing it is nil.
func (c *Client) Delete(ctx context.Context, name string, o DeleteOptions) (*Operation, error) {
	a, err := c.do(ctx, call{
		method: http.MethodDelete, path: deployment(name, ""), query: url.Values{"data": {string(o.Data)}, "allowMissing": flag(o.AllowMissing)},
		header: ifMatch(o.IfMatch),
	})
	if err != nil || a.status == http.StatusNoContent && o.AllowMissing {
		return nil, err
	}

	if a.status == http.StatusNoContent {
		d, err := c.DeletedDeployment(ctx, name)
		if err != nil {
			return nil, err
		}

		return c.Operation(ctx, d.Operation)
	}

	op := new(Operation)

	return op, a.into(op)
}

// Deployment answers a deployment.
func (c *Client) Deployment(ctx context.Context, name string) (*Deployment, error) {
	return get[Deployment](ctx, c, call{method: http.MethodGet, path: deployment(name, "")})
}

// DeletedDeployment answers a deployment even if it is deleted.
func (c *Client) DeletedDeployment(ctx context.Context, name string) (*Deployment, error) {
	return get[Deployment](ctx, c, call{method: http.MethodGet, path: deployment(name, ""), query: url.Values{"showDeleted": flag(true)}})
}

// Deployments lists the tenant's deployments.
func (c *Client) Deployments(ctx context.Context, o ListOptions) iter.Seq2[*Deployment, error] {
	return list[Deployment](ctx, c, "deployments", path{text: "/v1/deployments"}, url.Values{"filter": {o.Filter}, "showDeleted": flag(o.ShowDeleted)})
}

// Resources lists a deployment's resources; of a deleted one, the bucket that it kept.
func (c *Client) Resources(ctx context.Context, name string) iter.Seq2[*Resource, error] {
	return list[Resource](ctx, c, "resources", deployment(name, "/resources"), url.Values{"showDeleted": flag(true)})
}

// Format is how a configuration is written.
type Format string

// The formats: what Metaflow reads as config.json, or exports for a shell, with the Region.
const (
	JSON Format = "json"
	Env  Format = "env"
)

// Configuration answers the Metaflow configuration of an active deployment, byte for byte as it is to be kept.
func (c *Client) Configuration(ctx context.Context, name string, f Format) ([]byte, error) {
	r := call{method: http.MethodGet, path: deployment(name, "/configuration"), query: url.Values{"format": {string(f)}}}
	if f == Env {
		r.media = "text/plain"
	}

	a, err := c.do(ctx, r)

	return a.body, err
}

// Drift answers how far AWS is from what the deployment's record says.
func (c *Client) Drift(ctx context.Context, name string) (*Drift, error) {
	return get[Drift](ctx, c, call{method: http.MethodPost, path: deployment(name, ":drift")})
}

// Repair brings back what drifted, and answers the operation that does it.
func (c *Client) Repair(ctx context.Context, name string, o ChangeOptions) (*Operation, error) {
	return get[Operation](ctx, c, call{method: http.MethodPost, path: deployment(name, ":repair"), header: ifMatch(o.IfMatch)})
}

// Verify proves the environment with a probe job, and answers the operation that does it.
func (c *Client) Verify(ctx context.Context, name string, o ChangeOptions) (*Operation, error) {
	return get[Operation](ctx, c, call{method: http.MethodPost, path: deployment(name, ":verify"), header: ifMatch(o.IfMatch)})
}

// Extend moves the deployment's expiry to that long from now, such as 72h or 3d.
func (c *Client) Extend(ctx context.Context, name, ttl string, o ChangeOptions) (*Deployment, error) {
	return get[Deployment](ctx, c, call{
		method: http.MethodPost, path: deployment(name, ":extend"), body: map[string]string{"ttl": ttl}, header: ifMatch(o.IfMatch),
	})
}

// list follows the pages of a list.
func list[T any](ctx context.Context, c *Client, member string, from path, query url.Values) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for token := ""; ; {
			query.Set("pageToken", token)
			query.Set("pageSize", "100")

			page, err := get[map[string]json.RawMessage](ctx, c, call{method: http.MethodGet, path: from, query: query})
			if err != nil {
				yield(nil, err)

				return
			}

			if _, ok := (*page)[member]; !ok {
				yield(nil, stranger(http.StatusOK))

				return
			}

			var items []*T

			token = ""

			for name, into := range map[string]any{member: &items, "nextPageToken": &token} {
				if raw, ok := (*page)[name]; ok {
					if err := json.Unmarshal(raw, into); err != nil {
						yield(nil, err)

						return
					}
				}
			}

			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}

			if token == "" {
				return
			}
		}
	}
}
