package workflow

import (
	"context"
	"time"
)

// WallClock is the computer's clock.
type WallClock struct{}

// Now is the time in UTC: it goes into records.
func (WallClock) Now() time.Time { return time.Now().UTC() }

// Sleep passes time, or returns early when the context ends.
func (WallClock) Sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()

	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
