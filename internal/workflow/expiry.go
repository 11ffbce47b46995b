package workflow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

// warnings is how long before its expiry a deployment's owner is told.
func warnings() []time.Duration { return []time.Duration{72 * time.Hour, 24 * time.Hour, time.Hour} }

// notice is when a deployment with nothing at work is to be looked at: for its next warning, or for its expiry. Zero for never: a delete that needs a
// person's attention has been asked for, and another one would only get stuck where it did.
func notice(d deploy.Deployment, last deploy.Operation) time.Time {
	if d.Expires().IsZero() || d.Phase == deploy.PhaseNeedsAttention && last.Kind == deploy.Delete {
		return time.Time{}
	}

	if all := warnings(); d.Warned < len(all) {
		return d.ExpireTime.Add(-all[d.Warned])
	}

	return d.ExpireTime
}

// expire sets a deployment's expiry, and skips the warnings whose time would be over already.
func expire(d *deploy.Deployment, at, now time.Time) {
	d.ExpireTime, d.Warned = at, 0

	for all := warnings(); d.Warned < len(all) && !at.Add(-all[d.Warned]).After(now); {
		d.Warned++
	}
}

// Expiry deletes deployments whose time is over, and warns before. Its delete keeps a bucket that holds data, as every delete does that says nothing else.
type Expiry struct {
	Tenants store.Tenants
	Control *Control
}

// actor is who the product says to be where a time had come.
const actor = "expiry"

// Run looks at every deployment whose time has come, for as long as the context allows. Trouble with one does not keep it from the others. What was at work in
// the meantime is looked at when that has ended.
func (e *Expiry) Run(ctx context.Context) error {
	keys, err := e.Tenants.Expiring(ctx, e.Control.Clock.Now(), patrol)
	if err != nil {
		return fmt.Errorf("list what expires: %w", err)
	}

	var all []error

	for _, key := range keys {
		err := e.look(ctx, key)
		if ctx.Err() != nil {
			break // the rest is the next run's
		}

		if err != nil && !errors.Is(err, store.ErrStale) && !errors.Is(err, store.ErrNotFound) {
			all = append(all, fmt.Errorf("expire %s: %w", key.Name, err))
		}
	}

	return errors.Join(all...)
}

func (e *Expiry) look(ctx context.Context, key deploy.Key) error {
	c := e.Control

	record, err := c.Store.Load(ctx, key)
	if err != nil {
		return err
	}

	header, now := record.Deployment, c.Clock.Now()

	due := notice(header, record.Operation)
	if header.Unfinished || due.IsZero() || due.After(now) {
		return nil // the list lags
	}

	if !header.ExpireTime.After(now) {
		// As it was read: of two who find it due at once, and of one that somebody extends meanwhile, only one write stands.
		_, err := c.remove(ctx, deploy.Principal{Tenant: key.Tenant, Actor: actor}, record, deploy.Keep, nil)

		return err
	}

	header.Warned++
	header.CheckTime, header.UpdateTime = notice(header, record.Operation), now

	change := &store.Change{Deployment: &header}
	announce(change, deploy.EventExpiring, record.Operation)

	return c.Store.Commit(ctx, key, change)
}
