package memory

import (
	"context"
	"slices"
	"strings"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

type (
	entryID struct{ tenant, id string }
	grantID struct {
		tenant string
		kind   deploy.GrantKind
		value  string
	}
	webhookID  struct{ tenant, id string }
	callbackID struct {
		deploy.Key

		requestID string
	}
)

// taken tells whether an entry's id stands already.
func (s *Store) taken(e deploy.Entry) bool {
	_, there := s.entries[entryID{e.Tenant, e.ID}]

	return there
}

// Append implements store.Trail.
func (s *Store) Append(ctx context.Context, e deploy.Entry) error {
	return s.noting(ctx, "Append", e.Tenant, e, func() error { return nil })
}

// noting runs a write that comes with an entry in the trail, both or neither.
func (s *Store) noting(ctx context.Context, method, tenant string, e deploy.Entry, act func() error) error {
	_, err := do(ctx, s, method, deploy.Key{Tenant: tenant}, func() (struct{}, error) {
		if err := store.Fits(e, tenant); err != nil {
			return struct{}{}, err
		}

		if s.taken(e) {
			return struct{}{}, store.ErrStale
		}

		if err := act(); err != nil {
			return struct{}{}, err
		}

		s.entries[entryID{e.Tenant, e.ID}] = e

		return struct{}{}, nil
	})

	return err
}

// Entries implements store.Trail.
func (s *Store) Entries(
	ctx context.Context, tenant, deployment string, size int, before string,
) (page []deploy.Entry, last string, more bool, err error) {
	page, err = do(ctx, s, "Entries", deploy.Key{Tenant: tenant, Name: deployment}, func() ([]deploy.Entry, error) {
		var all []deploy.Entry

		for id, e := range s.entries {
			if id.tenant == tenant && (before == "" || e.ID < before) && (deployment == "" || e.Deployment == deployment) {
				all = append(all, e)
			}
		}

		slices.SortFunc(all, func(a, b deploy.Entry) int { return strings.Compare(b.ID, a.ID) })

		more = len(all) > size

		return all[:min(size, len(all))], nil
	})

	if last = before; len(page) > 0 {
		last = page[len(page)-1].ID
	}

	return page, last, more, err
}

// Grants implements store.Grants.
func (s *Store) Grants(ctx context.Context, tenant string) ([]deploy.Grant, error) {
	return do(ctx, s, "Grants", deploy.Key{Tenant: tenant}, func() ([]deploy.Grant, error) {
		return sorted(s.grants, func(g deploy.Grant) bool { return g.Tenant == tenant }, func(g deploy.Grant) string { return string(g.Kind) + "#" + g.Value }), nil
	})
}

// sorted lists those of a map that match, in the order of what by makes of them.
func sorted[K comparable, V any](from map[K]V, match func(V) bool, by func(V) string) []V {
	var list []V

	for _, v := range from {
		if match(v) {
			list = append(list, v)
		}
	}

	slices.SortFunc(list, func(a, b V) int { return strings.Compare(by(a), by(b)) })

	return list
}

// Allow implements store.Grants.
func (s *Store) Allow(ctx context.Context, g deploy.Grant, e deploy.Entry) error {
	return s.noting(ctx, "Allow", g.Tenant, e, func() error {
		s.grants[grantID{g.Tenant, g.Kind, g.Value}] = g

		return nil
	})
}

// Withdraw implements store.Grants.
func (s *Store) Withdraw(ctx context.Context, g deploy.Grant, e deploy.Entry) error {
	return s.noting(ctx, "Withdraw", g.Tenant, e, func() error { return forget(s.grants, grantID{g.Tenant, g.Kind, g.Value}) })
}

// forget drops what must be there.
func forget[K comparable, V any](from map[K]V, id K) error {
	if _, there := from[id]; !there {
		return store.ErrNotFound
	}

	delete(from, id)

	return nil
}

// Webhooks implements store.Webhooks.
func (s *Store) Webhooks(ctx context.Context, tenant string) ([]deploy.Webhook, error) {
	return do(ctx, s, "Webhooks", deploy.Key{Tenant: tenant}, func() ([]deploy.Webhook, error) {
		return sorted(s.webhooks, func(w deploy.Webhook) bool { return w.Tenant == tenant }, func(w deploy.Webhook) string { return w.ID }), nil
	})
}

// Subscribe implements store.Webhooks.
func (s *Store) Subscribe(ctx context.Context, w deploy.Webhook, e deploy.Entry) error {
	return s.noting(ctx, "Subscribe", w.Tenant, e, func() error {
		id := webhookID{w.Tenant, w.ID}
		if _, there := s.webhooks[id]; there {
			return store.ErrStale
		}

		s.webhooks[id] = w

		return nil
	})
}

// Unsubscribe implements store.Webhooks.
func (s *Store) Unsubscribe(ctx context.Context, tenant, id string, e deploy.Entry) error {
	return s.noting(ctx, "Unsubscribe", tenant, e, func() error { return forget(s.webhooks, webhookID{tenant, id}) })
}
