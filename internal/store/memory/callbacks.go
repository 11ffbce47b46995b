package memory

import (
	"context"
	"strings"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// NoteCallback implements store.Callbacks.
func (s *Store) NoteCallback(ctx context.Context, c deploy.Callback) error {
	_, err := do(ctx, s, "NoteCallback", c.Key, func() (struct{}, error) {
		s.callbacks[callbackID{c.Key, c.RequestID}] = c

		return struct{}{}, nil
	})

	return err
}

// ForgetCallback implements store.Callbacks.
func (s *Store) ForgetCallback(ctx context.Context, key deploy.Key, requestID string) error {
	_, err := do(ctx, s, "ForgetCallback", key, func() (struct{}, error) {
		delete(s.callbacks, callbackID{key, requestID})

		return struct{}{}, nil
	})

	return err
}

// Callbacks implements store.Callbacks.
func (s *Store) Callbacks(ctx context.Context, key deploy.Key) ([]deploy.Callback, error) {
	return do(ctx, s, "Callbacks", key, func() ([]deploy.Callback, error) {
		return sorted(s.callbacks, func(c deploy.Callback) bool { return c.Key == key }, func(c deploy.Callback) string { return c.RequestID }), nil
	})
}

// Overdue implements store.Callbacks.
func (s *Store) Overdue(ctx context.Context, before time.Time, limit int) ([]deploy.Callback, error) {
	return do(ctx, s, "Overdue", deploy.Key{}, func() ([]deploy.Callback, error) {
		const sortable = "2006-01-02T15:04:05.000000000"

		list := sorted(s.callbacks, func(c deploy.Callback) bool { return c.Deadline.Before(before) }, func(c deploy.Callback) string {
			return strings.Join([]string{c.Deadline.UTC().Format(sortable), c.Tenant, c.Name, c.RequestID}, "#")
		})

		return list[:min(limit, len(list))], nil
	})
}
