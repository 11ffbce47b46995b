package deploy

import (
	"strconv"
	"strings"
	"time"
)

// The bounds of a time to live. The longest is a promise to tenants' budgets: what is needed longer is extended by somebody who still needs it.
const (
	ShortestTTL = time.Hour
	LongestTTL  = 90 * 24 * time.Hour
)

// ParseTTL reads a time to live: a duration as Go writes it (90m, 72h, 259200s), or whole days (3d). It answers an *Error of class invalid that points at
// the member ttl.
func ParseTTL(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)

	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int

		n, err = strconv.Atoi(days)
		d = time.Duration(min(max(n, 0), 1000)) * 24 * time.Hour
	}

	const forGood = "Without one, a deployment lives until somebody deletes it; an expiry that is set can be moved, never taken off."

	switch {
	case err != nil:
		return 0, Errorf(Invalid, "invalid_ttl", "This is not a duration.").WithRemedy("Write it like 72h or 3d. %s", forGood).At("/ttl")
	case d < ShortestTTL || d > LongestTTL:
		return 0, Errorf(Invalid, "invalid_ttl", "A time to live is 1 hour at least and 90 days at most.").
			WithRemedy("Ask for up to 90d; :extend moves the expiry later. %s", forGood).At("/ttl")
	}

	return d, nil
}
