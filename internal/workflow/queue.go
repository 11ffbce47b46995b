package workflow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

// Queue starts operations that were admitted while their tenant had as many at work as it may. Each tenant has places of its own, so whoever queues a
// thousand waits behind nobody but themselves.
type Queue struct {
	Store   store.Store
	Tenants store.Tenants
	Starter Starter
	Place   Place
	Clock   Clock
	Limits  deploy.Limits
	Log     *slog.Logger
}

// advancing is how many queued operations one call starts at most; the rest is the next call's.
const advancing = 25

// Advance starts a tenant's queued operations, the oldest first, as long as there is room. It may be called at any time by anybody.
func (q *Queue) Advance(ctx context.Context, tenant string) error {
	keys, err := q.Tenants.Queued(ctx, tenant, advancing)
	if err != nil {
		return fmt.Errorf("list what is queued: %w", err)
	}

	for _, key := range keys {
		room, err := q.start(ctx, key)
		if err != nil || !room {
			return err
		}
	}

	return nil
}

// AdvanceAll does so for every tenant that has anything queued, for as long as the context allows: another one comes first each minute, so that all come first
// some time. Trouble with one does not keep it from the others.
func (q *Queue) AdvanceAll(ctx context.Context) error {
	var tenants []string

	for after := ""; ; {
		page, err := q.Tenants.QueuedTenants(ctx, after, patrol)
		if err != nil {
			return fmt.Errorf("list tenants with anything queued: %w", err)
		}

		if tenants = append(tenants, page...); len(page) < patrol {
			break
		}

		after = page[len(page)-1]
	}

	var all []error

	first := int(q.Clock.Now().Unix() / 60)

	for i := range tenants {
		err := q.Advance(ctx, tenants[(first+i)%len(tenants)])
		if ctx.Err() != nil {
			break // the rest is the next call's
		}

		all = append(all, err)
	}

	return errors.Join(all...)
}

// start takes one operation out of the queue. It tells whether there was room.
func (q *Queue) start(ctx context.Context, key deploy.Key) (room bool, err error) {
	record, err := q.Store.Load(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}

	if err != nil {
		return false, fmt.Errorf("read deployment %s: %w", key.Name, err)
	}

	header := record.Deployment
	if !header.Queued {
		return true, nil // the list lags
	}

	header.Queued, header.CheckTime = false, q.Clock.Now().Add(started)
	change := &store.Change{Deployment: &header}

	counts := header.Counts
	counts.Operations = 1
	count(change, counts, deploy.Usage{Operations: q.Limits.Of(key.Tenant).Operations})

	err = q.Store.Commit(ctx, key, change)
	if full, ok := errors.AsType[*store.LimitError](err); ok {
		q.Log.DebugContext(ctx, "no room", "tenant", key.Tenant, "have", full.Have)

		return false, nil
	}

	if errors.Is(err, store.ErrStale) {
		return true, nil // somebody was quicker
	}

	if err != nil {
		return false, fmt.Errorf("take operation %s out of the queue: %w", header.Operation, err)
	}

	// If it cannot be started now, the watchdog starts it.
	if err := q.Starter.Start(ctx, execution(q.Place, header)); err != nil {
		q.Log.WarnContext(ctx, "start execution", "operation", header.Operation, "error", deploy.Scrub(err.Error()))
	}

	return true, nil
}
