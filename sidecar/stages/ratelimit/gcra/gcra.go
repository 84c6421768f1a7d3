// Package gcra is the generic cell rate algorithm (ITU-T I.371) on whole microseconds, without clock or store. A key's
// only state is its theoretical arrival time: until then its quota is partly used. The algorithm has no windows, so
// there is no edge at which twice the limit passes.
package gcra

import (
	"time"

	"github.com/posterndev/postern/api/check"
)

// Rate lets Burst requests pass at once and then one each Emission.
type Rate struct {
	// Emission is the time in which one request's quota comes back, in whole microseconds.
	Emission time.Duration
	// Burst is the number of requests that an unused key may send at once.
	Burst int
}

// NewRate returns limit requests a period with a burst. An emission that is no whole number of microseconds is rounded up:
// never more than limit pass.
func NewRate(limit int, period time.Duration, burst int) (Rate, error) {
	if err := check.Rate(limit, period); err != nil {
		return Rate{}, err
	}
	if err := check.Burst(limit, period, burst); err != nil {
		return Rate{}, err
	}
	return Rate{Emission: check.Emission(limit, period), Burst: burst}, nil
}

// Used is how much of the quota is used at now, in time until it is whole again. Both times are microseconds of one clock.
// It is never more than the whole quota: a clock that was set back, or a rate that was changed, locks nobody out for
// longer than an empty quota does.
func (r Rate) Used(arrival, now int64) time.Duration {
	used := time.Duration(max(arrival-now, 0)) * time.Microsecond
	return min(used, r.span())
}

// Take returns the use after one more request, or false where there is no quota for it.
func (r Rate) Take(used time.Duration) (time.Duration, bool) {
	if used+r.Emission > r.span() {
		return used, false
	}
	return used + r.Emission, true
}

// Left returns the number of requests that may follow at once, and the time until there is one more; 0 where the quota
// is whole.
func (r Rate) Left(used time.Duration) (int, time.Duration) {
	if used <= 0 {
		return r.Burst, 0
	}
	left := (r.span() - used) / r.Emission
	return int(left), used + (left+1)*r.Emission - r.span()
}

func (r Rate) span() time.Duration { return r.Emission * time.Duration(r.Burst) }
