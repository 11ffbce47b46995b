package workflow

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
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

// NewID is a ULID in lower case: later ones sort after earlier ones. https://github.com/ulid/spec
func NewID() string {
	return strings.ToLower(ulid.MustNew(ulid.Now(), rand.Reader).String())
}
