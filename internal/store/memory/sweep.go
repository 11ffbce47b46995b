package memory

import (
	"context"
	"maps"
	"slices"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// Orphans implements store.Sweeps.
func (s *Store) Orphans(ctx context.Context, size int, after string) (page []deploy.Orphan, more bool, err error) {
	page, err = do(ctx, s, "Orphans", deploy.Key{}, func() ([]deploy.Orphan, error) {
		var list []deploy.Orphan

		for _, name := range slices.Sorted(maps.Keys(s.orphans)) {
			if name <= after {
				continue
			}

			if len(list) == size {
				more = true

				break
			}

			o := s.orphans[name]
			list = append(list, *clone(&o))
		}

		return list, nil
	})

	return page, more, err
}

// NoteOrphan implements store.Sweeps.
func (s *Store) NoteOrphan(ctx context.Context, o deploy.Orphan) error {
	_, err := do(ctx, s, "NoteOrphan", o.Key, func() (struct{}, error) {
		s.orphans[o.Name()] = *clone(&o)

		return struct{}{}, nil
	})

	return err
}

// ForgetOrphan implements store.Sweeps.
func (s *Store) ForgetOrphan(ctx context.Context, name string) error {
	_, err := do(ctx, s, "ForgetOrphan", deploy.Key{}, func() (struct{}, error) {
		delete(s.orphans, name)

		return struct{}{}, nil
	})

	return err
}

// Sweeps implements store.Sweeps.
func (s *Store) Sweeps(ctx context.Context) ([]deploy.Sweep, error) {
	return do(ctx, s, "Sweeps", deploy.Key{}, func() ([]deploy.Sweep, error) {
		var list []deploy.Sweep
		for _, family := range slices.Sorted(maps.Keys(s.sweeps)) {
			list = append(list, s.sweeps[family])
		}

		return list, nil
	})
}

// NoteSweep implements store.Sweeps.
func (s *Store) NoteSweep(ctx context.Context, sweep deploy.Sweep) error {
	_, err := do(ctx, s, "NoteSweep", deploy.Key{}, func() (struct{}, error) {
		s.sweeps[sweep.Family] = *clone(&sweep)

		return struct{}{}, nil
	})

	return err
}
