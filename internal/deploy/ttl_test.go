package deploy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

func TestParseTTL(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		reason, text string
		want         time.Duration // zero is a refusal
	}{
		"Hours":     {"as Go writes durations", "72h", 72 * time.Hour},
		"Seconds":   {"as AIP-214 writes durations", "259200s", 72 * time.Hour},
		"Days":      {"as people count", "3d", 72 * time.Hour},
		"Mixed":     {"Go allows it", "1h30m", 90 * time.Minute},
		"Shortest":  {"the bound itself is allowed", "1h", time.Hour},
		"Longest":   {"the bound itself is allowed", "90d", 90 * 24 * time.Hour},
		"Short":     {"it would expire while it is built", "59m", 0},
		"Long":      {"nobody would remember it", "91d", 0},
		"Huge":      {"no overflow makes it small again", "99999999999999d", 0},
		"Negative":  {"time runs one way", "-3d", 0},
		"Bare":      {"a number alone has no unit", "72", 0},
		"Empty":     {"left out is another thing", "", 0},
		"Half days": {"whole days only", "1.5d", 0},
		"Never":     {"an expiry cannot be taken off", "never", 0},
		"None":      {"likewise", "none", 0},
		"Zero":      {"likewise", "0", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			got, err := deploy.ParseTTL(c.text)
			if got != c.want || (err == nil) != (c.want > 0) {
				t.Errorf("%s: ParseTTL(%q) = %v, %v", c.reason, c.text, got, err)
			}

			if err != nil && deploy.AsError(err).Pointer != "/ttl" {
				t.Errorf("the refusal of %q points at %q", c.text, deploy.AsError(err).Pointer)
			}

			if err != nil && !strings.Contains(deploy.AsError(err).Remedy, "can be moved, never taken off") {
				t.Errorf("the refusal of %q does not say that an expiry stays: %s", c.text, deploy.AsError(err).Remedy)
			}
		})
	}
}
