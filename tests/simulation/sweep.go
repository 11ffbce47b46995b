package simulation

import (
	"context"
	"slices"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/lambdastep"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/sweep"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// Sweep plays the schedule of sweeps: n times each family's sweep, half an hour apart. It returns the first error.
func (w *World) Sweep(ctx context.Context, n int) error {
	for range n {
		for _, family := range sweep.Families() {
			worker := &workflow.Worker{
				Store: w.Store, Place: w.Control.Place, Clock: w.Control.Clock, Log: w.Control.Log,
				Kinds: slices.DeleteFunc(slices.Clone(w.Graphs.Kinds), func(k kind.Kind) bool { return k.About().Family != family }),
			}

			err := w.Call(ctx, family+" sweep", func(ctx context.Context) error {
				ctx, cancel := context.WithTimeout(ctx, lambdaTimeout)
				defer cancel()

				return lambdastep.Sweeper(worker, family, w.Store).Run(ctx)
			})
			if err != nil {
				return err
			}
		}

		time.Sleep(30 * time.Minute)
	}

	return nil
}

// Forget loses resources from a deployment's record, as no part of the product does.
func (w *World) Forget(ctx context.Context, key deploy.Key, refs ...deploy.Ref) error {
	record, err := w.Store.Load(ctx, key)
	if err != nil {
		return err
	}

	change := &store.Change{}

	for _, r := range record.Resources {
		if slices.Contains(refs, r.Ref) {
			change.Drop = append(change.Drop, r)
		}
	}

	return w.Store.Commit(ctx, key, change)
}
