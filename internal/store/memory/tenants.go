package memory

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

// move counts what a tenant uses, or tells that it would be too much.
func (s *Store) move(tenant string, u store.Usage) error {
	have := s.usage[tenant]
	over := func(have, by, limit int) bool { return by > 0 && limit > 0 && have+by > limit }

	if over(have.Deployments, u.Deployments, u.Limit.Deployments) || over(have.Operations, u.Operations, u.Limit.Operations) ||
		over(have.VCPUs, u.VCPUs, u.Limit.VCPUs) {
		return &store.LimitError{Have: have, Limit: u.Limit}
	}

	s.usage[tenant] = have.Plus(u.Usage)

	return nil
}

// Usage implements store.Tenants.
func (s *Store) Usage(ctx context.Context, tenant string) (deploy.Usage, error) {
	return do(ctx, s, "Usage", deploy.Key{Tenant: tenant}, func() (deploy.Usage, error) { return s.usage[tenant], nil })
}

// Queued implements store.Tenants.
func (s *Store) Queued(ctx context.Context, tenant string, limit int) ([]deploy.Key, error) {
	return do(ctx, s, "Queued", deploy.Key{Tenant: tenant}, func() ([]deploy.Key, error) {
		return due(maps.Values(s.records[tenant]), limit, func(d *deploy.Deployment) bool { return d.Queued }), nil
	})
}

// QueuedTenants implements store.Tenants.
func (s *Store) QueuedTenants(ctx context.Context, after string, limit int) ([]string, error) {
	return do(ctx, s, "QueuedTenants", deploy.Key{}, func() ([]string, error) {
		found := map[string]bool{}

		for r := range s.everywhere() {
			if r.header.Queued && r.header.Tenant > after {
				found[r.header.Tenant] = true
			}
		}

		tenants := slices.Sorted(maps.Keys(found))

		return tenants[:min(limit, len(tenants))], nil
	})
}

// Expiring implements store.Tenants.
func (s *Store) Expiring(ctx context.Context, before time.Time, limit int) ([]deploy.Key, error) {
	return do(ctx, s, "Expiring", deploy.Key{}, func() ([]deploy.Key, error) {
		return due(s.everywhere(), limit, func(d *deploy.Deployment) bool {
			return !d.Unfinished && !d.Queued && !d.CheckTime.IsZero() && d.CheckTime.Before(before)
		}), nil
	})
}

// Events reads all that was ever told of a deployment, in order. The product never asks: on AWS the table's stream carries them away.
func (s *Store) Events(ctx context.Context, key deploy.Key) ([]deploy.Event, error) {
	return do(ctx, s, "Events", key, func() ([]deploy.Event, error) {
		var list []deploy.Event
		for i := range s.events[key] {
			list = append(list, *clone(&s.events[key][i]))
		}

		slices.SortFunc(list, func(a, b deploy.Event) int { return int(a.Sequence - b.Sequence) })

		return list, nil
	})
}
