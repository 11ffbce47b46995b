package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

func operation(id, verb string) path {
	return under("/v1/operations", "the id of an operation", id, verb)
}

// Operation answers an operation.
func (c *Client) Operation(ctx context.Context, id string) (*Operation, error) {
	return get[Operation](ctx, c, call{method: http.MethodGet, path: operation(id, "")})
}

// Operations lists a deployment's operations, newest first.
func (c *Client) Operations(ctx context.Context, name string) iter.Seq2[*Operation, error] {
	return list[Operation](ctx, c, "operations", path{text: "/v1/operations"}, url.Values{"deployment": {name}})
}

// Cancel stops an operation and rolls it back.
func (c *Client) Cancel(ctx context.Context, id string) (*Operation, error) {
	return get[Operation](ctx, c, call{method: http.MethodPost, path: operation(id, ":cancel")})
}

// Resume goes on with what is unfinished of an operation that needs attention.
func (c *Client) Resume(ctx context.Context, id string) (*Operation, error) {
	return get[Operation](ctx, c, call{method: http.MethodPost, path: operation(id, ":resume")})
}

// Skip leaves one resource behind on purpose and goes on; admins only.
func (c *Client) Skip(ctx context.Context, id, resource string) (*Operation, error) {
	return get[Operation](ctx, c, call{method: http.MethodPost, path: operation(id, ":skip"), body: map[string]string{"resource": resource}})
}

const (
	// hold is how long the API may wait for a change before it answers.
	hold = "25s"
	// pace is the shortest time between two looks that show no change.
	pace = time.Second
)

// Watch yields an operation as it is, then every change, and ends when it is done. It outlasts some minutes without the API; an error is the last thing it
// yields. That it ends does not end the operation.
func (c *Client) Watch(ctx context.Context, id string) iter.Seq2[*Operation, error] {
	return func(yield func(*Operation, error) bool) {
		var query url.Values

		for seen := int64(-1); ; {
			asked := time.Now()

			op, err := get[Operation](ctx, c, call{method: http.MethodGet, path: operation(id, ""), query: query, tries: watching})
			if err != nil {
				yield(nil, err)

				return
			}

			if changed := op.Version != seen || op.Done; changed && !yield(op, nil) || op.Done {
				return
			} else if !changed && time.Since(asked) < pace {
				select {
				case <-time.After(pace):
				case <-ctx.Done():
				}
			}

			seen = op.Version
			query = url.Values{"wait": {hold}, "after": {strconv.FormatInt(seen, 10)}}
		}
	}
}

// OperationError is an operation that ended otherwise than it was meant to.
type OperationError struct{ Operation *Operation }

func (e *OperationError) Error() string {
	what := fmt.Sprintf("operation %s ended %s", e.Operation.ID, e.Operation.State)
	if e.Operation.Error != nil {
		what += ": " + e.Operation.Error.Error()
	}

	return what
}

// Unwrap is the problem that the operation met.
func (e *OperationError) Unwrap() error {
	if e.Operation.Error == nil {
		return nil
	}

	return e.Operation.Error
}

// Wait follows an operation until it is done. One that did not succeed is answered with an *OperationError.
func (c *Client) Wait(ctx context.Context, id string) (*Operation, error) {
	for op, err := range c.Watch(ctx, id) {
		switch {
		case err != nil:
			return nil, err
		case op.State == Succeeded:
			return op, nil
		case op.Done:
			return op, &OperationError{op}
		}
	}

	return nil, errors.New("the operation has no end") // Watch ends with an error or with what is done
}
