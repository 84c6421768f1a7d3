// Package gcra implements the generic cell rate algorithm (ITU-T I.371) in whole microseconds, without a clock or a
// store. The only state of a key is its theoretical arrival time: until then, its quota is partly used. The algorithm
// has no windows, so there is no boundary at which twice the limit passes.
//
// A request is counted either when it is decided on (Take) or later, when its outcome is known (Charge). More
// requests may be allowed between the decision and the charge, so a charge can exceed the quota by up to Rate.Debt
// requests. The key then waits until the debt is worked off. In the long run no more than the rate is charged,
// however many requests arrive at the same time.
package gcra

import (
	"fmt"
	"time"

	"github.com/posterndev/postern/api/check"
)

// Rate allows Burst requests at once, and then one request per Emission.
type Rate struct {
	// Emission is the time after which the quota of one request is available again, in whole microseconds.
	Emission time.Duration
	// Burst is the number of requests that an unused key may send at once.
	Burst int
	// Debt is the number of requests that may be charged beyond the quota. It bounds how long a key waits: Debt+1
	// emissions. If it is 0, a charge uses at most the quota that is left.
	Debt int
}

// NewRate returns a rate of limit requests per period, with a burst. An emission that is not a whole number of
// microseconds is rounded up, so that never more than limit requests pass.
func NewRate(limit int, period time.Duration, burst int) (Rate, error) {
	if err := check.Rate(limit, period); err != nil {
		return Rate{}, err
	}
	if err := check.Burst(limit, period, burst); err != nil {
		return Rate{}, err
	}
	return Rate{Emission: check.Emission(limit, period), Burst: burst}, nil
}

// WithDebt returns the rate with a debt. Burst and debt together must be available again within a year.
func (r Rate) WithDebt(debt int) (Rate, error) {
	if debt < 0 || int64(debt) > (check.MaxRateSpan-r.span()).Microseconds()/r.Emission.Microseconds() {
		return Rate{}, fmt.Errorf("a debt of %d is negative, or takes longer than %s with the burst to be available again", debt, check.MaxRateSpan)
	}
	r.Debt = debt
	return r, nil
}

// Used returns how much of the quota is used at now, as the time until all of it is available again. Both times are
// microseconds of one clock. The result is at most the quota plus the debt. So after a clock was set back or a rate
// was changed, no client is refused for longer than that.
func (r Rate) Used(arrival, now int64) time.Duration {
	used := time.Duration(max(arrival-now, 0)) * time.Microsecond
	return min(used, r.most())
}

// Take returns the usage after one more request, or false if there is no quota left for it.
func (r Rate) Take(used time.Duration) (time.Duration, bool) { return r.TakeUnits(used, 1) }

// TakeUnits is Take of a request that counts as several.
func (r Rate) TakeUnits(used time.Duration, units int) (time.Duration, bool) {
	if r.Wait(used, units) > 0 {
		return used, false
	}
	return used + r.Emission*time.Duration(units), true
}

// Wait returns the time until a request that counts as units is allowed; 0 if it is allowed now. It is never allowed if
// units is more than the burst.
func (r Rate) Wait(used time.Duration, units int) time.Duration {
	return max(used+r.Emission*time.Duration(units)-r.span(), 0)
}

// Charge returns the usage after one more request, whether or not there is quota for it.
func (r Rate) Charge(used time.Duration) time.Duration { return r.ChargeUnits(used, 1) }

// ChargeUnits is Charge of a request that counts as several.
func (r Rate) ChargeUnits(used time.Duration, units int) time.Duration {
	return min(used+r.Emission*time.Duration(units), r.most())
}

// Stale reports whether an arrival time is later than this rate can produce at now: the clock was set back, or a slower
// rate wrote it. A store replaces it by now plus Used, also if it refuses, so that the key is not refused until then.
func (r Rate) Stale(arrival, now int64) bool {
	return arrival-now > r.most().Microseconds()
}

// Left returns the number of requests allowed now, and the time until there is one more; 0 if the whole quota is
// available.
func (r Rate) Left(used time.Duration) (int, time.Duration) {
	if used <= 0 {
		return r.Burst, 0
	}
	left := max(r.span()-used, 0) / r.Emission
	return int(left), used + (left+1)*r.Emission - r.span()
}

// span is the whole quota, and most is the quota plus the debt.
func (r Rate) span() time.Duration { return r.Emission * time.Duration(r.Burst) }

func (r Rate) most() time.Duration { return r.span() + r.Emission*time.Duration(r.Debt) }
