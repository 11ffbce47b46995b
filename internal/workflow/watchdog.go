package workflow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

// Watchdog starts again what nobody works on any more: the api function may die between the header and StartExecution, and an execution may end in ways
// that no Catch sees. It runs each minute; Step Functions' status events only make it quicker, because they are best effort.
type Watchdog struct {
	Store   store.Store
	Graphs  *Graphs
	Starter Starter
	Place   Place
	Clock   Clock
	Log     *slog.Logger
}

const (
	// patrol is how many deployments a run lists at once, and abreast how many of them it looks after at the same time.
	patrol, abreast = 200, 10
	// round is how long a run goes on at most: the next one begins within a minute.
	round = 50 * time.Second
	// lives is how many executions an operation may use up before a person has to look, and again after each time that one did.
	lives = 25
)

// Run looks at every operation whose time to be looked at has come, list after list while its own time lasts: after a storm of creates there may be
// thousands. Trouble with one does not keep it from the others.
func (w *Watchdog) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, round)
	defer cancel()

	var (
		now    = w.Clock.Now()
		seen   = map[deploy.Key]bool{}
		failed []error
	)

	for {
		// What failed stays at the head of the list; it must not hide what stands behind it.
		keys, err := w.Store.Unfinished(ctx, now, patrol+len(failed))
		if err != nil {
			return errors.Join(append(failed, fmt.Errorf("list unfinished operations: %w", err))...)
		}

		// The list may lag behind our own writes.
		keys = slices.DeleteFunc(keys, func(key deploy.Key) bool { return seen[key] })
		if len(keys) == 0 {
			return errors.Join(failed...)
		}

		for _, key := range keys {
			seen[key] = true
		}

		failed = append(failed, w.abreast(ctx, keys)...)

		if end, ok := ctx.Deadline(); ok && time.Until(end) < reserve {
			return errors.Join(failed...)
		}
	}
}

// abreast looks after several deployments at the same time, and answers what went wrong.
func (w *Watchdog) abreast(ctx context.Context, keys []deploy.Key) []error {
	var (
		wait   sync.WaitGroup
		mu     sync.Mutex
		failed []error
		queue  = make(chan deploy.Key, len(keys))
	)

	for _, key := range keys {
		queue <- key
	}

	close(queue)

	for range min(abreast, len(keys)) {
		wait.Go(func() {
			for key := range queue {
				// What is left when the time is over stays due.
				if end, ok := ctx.Deadline(); ok && time.Until(end) < reserve {
					return
				}

				if err := w.look(ctx, key, false); err != nil {
					mu.Lock()
					failed = append(failed, fmt.Errorf("look after %s: %w", key.Name, err))
					mu.Unlock()
				}
			}
		})
	}

	wait.Wait()

	return failed
}

// Ended is told that an execution ended without success.
func (w *Watchdog) Ended(ctx context.Context, e Execution) error {
	if e.Installation != w.Place.Installation {
		return nil
	}

	return w.look(ctx, e.Key(), true)
}

func (w *Watchdog) look(ctx context.Context, key deploy.Key, ended bool) error {
	record, err := w.Store.Load(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}

	if err != nil {
		return err
	}

	header, now := record.Deployment, w.Clock.Now()
	if !header.Unfinished || header.Queued {
		return nil
	}

	patience := quiet
	if record.Operation.State == deploy.Pending {
		patience = started
	}

	if last := lastWrite(record); !ended && now.Sub(last) < patience {
		return w.again(ctx, header, last.Add(patience))
	}

	e := execution(w.Place, header)

	alive, known, err := w.Starter.Alive(ctx, e)
	if err != nil {
		return err
	}

	if alive {
		return w.again(ctx, header, now.Add(quiet))
	}

	if known && header.Epoch-record.Operation.SteeredAt >= lives {
		return w.giveUp(ctx, record)
	}

	if known {
		// Names of executions cannot be used twice; and whoever still acts for the old one must be fenced off.
		header.Epoch++
		e.Epoch = header.Epoch
	}

	header.CheckTime = now.Add(quiet)

	if err := w.Store.Commit(ctx, key, &store.Change{Deployment: &header}); err != nil {
		return ignoreStale(err) // somebody works on it after all
	}

	w.Log.WarnContext(ctx, "start an abandoned operation again", "operation", header.Operation, "epoch", header.Epoch, "known", known)

	if err := w.Starter.Start(ctx, e); err != nil {
		return errors.Join(err, w.again(ctx, header, w.Clock.Now()))
	}

	return nil
}

// again notes when to look next. A writer who was quicker knows better.
func (w *Watchdog) again(ctx context.Context, header deploy.Deployment, at time.Time) error {
	header.CheckTime = at

	return ignoreStale(w.Store.Commit(ctx, header.Key, &store.Change{Deployment: &header}))
}

func ignoreStale(err error) error {
	if errors.Is(err, store.ErrStale) {
		return nil
	}

	return err
}

func (w *Watchdog) giveUp(ctx context.Context, record *store.Record) error {
	op := &record.Operation
	phase, state := record.Deployment.Phase, op.State
	op.State, record.Deployment.Phase = deploy.NeedsAttention, deploy.PhaseNeedsAttention
	op.Error = deploy.Errorf(deploy.Internal, "abandoned", "%d executions of this operation ended before it was finished.", lives).
		WithRemedy("Read the state machine's executions of this operation for the cause, then delete the deployment.")

	return w.Store.Commit(ctx, record.Deployment.Key, finish(w.Graphs, record, phase, state, w.Clock.Now()))
}

func lastWrite(record *store.Record) time.Time {
	last := record.Deployment.UpdateTime
	for i := range record.Resources {
		if t := record.Resources[i].UpdateTime; t.After(last) {
			last = t
		}

		// Whoever holds the resource may be at work without writing.
		if t := record.Resources[i].BusyUntil; t.After(last) {
			last = t
		}
	}

	return last
}
