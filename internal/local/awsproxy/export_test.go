package awsproxy

import "time"

// SetClock gives the proxy another clock.
func (p *Proxy) SetClock(now func() time.Time) { p.now = now }
