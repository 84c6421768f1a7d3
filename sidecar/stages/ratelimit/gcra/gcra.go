// Package gcra is the generic cell rate algorithm (ITU-T I.371) on whole microseconds, without clock or store. A key's
// only state is its theoretical arrival time: until then its quota is partly used. The algorithm has no windows, so
// there is no edge at which twice the limit passes.
//
// A request is counted either when it is decided on (Take), or later, when it is known whether it counts (Charge). Between the
// decision and the charge further requests may be let in, so a charge is counted beyond the quota as well, up to Rate.Debt: the
// key then waits until the debt has been worked off, and in the long run no more than the rate is charged, however many requests
// come at the same time.
package gcra

import (
	"fmt"
	"time"

	"github.com/posterndev/postern/api/check"
)

// Rate lets Burst requests pass at once and then one each Emission.
type Rate struct {
	// Emission is the time in which one request's quota comes back, in whole microseconds.
	Emission time.Duration
	// Burst is the number of requests that an unused key may send at once.
	Burst int
	// Debt is the number of requests that may be charged beyond the quota, which bounds for how long a key waits: Debt+1
	// emissions. Where it is 0, a charge uses up what is left of the quota and no more.
	Debt int
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

// WithDebt returns the rate with a debt. As for the burst, it must not take longer than a year to come back.
func (r Rate) WithDebt(debt int) (Rate, error) {
	if debt < 0 || int64(debt) > (check.MaxRateSpan-r.span()).Microseconds()/r.Emission.Microseconds() {
		return Rate{}, fmt.Errorf("a debt of %d is negative, or takes longer than %s to come back with the burst", debt, check.MaxRateSpan)
	}
	r.Debt = debt
	return r, nil
}

// Used is how much of the quota is used at now, in time until it is whole again. Both times are microseconds of one clock.
// It is never more than the whole quota and the debt: a clock that was set back, or a rate that was changed, locks nobody out
// for longer than these do.
func (r Rate) Used(arrival, now int64) time.Duration {
	used := time.Duration(max(arrival-now, 0)) * time.Microsecond
	return min(used, r.most())
}

// Take returns the use after one more request, or false where there is no quota for it.
func (r Rate) Take(used time.Duration) (time.Duration, bool) {
	if used+r.Emission > r.span() {
		return used, false
	}
	return used + r.Emission, true
}

// Charge returns the use after one more request, whether or not there is quota for it.
func (r Rate) Charge(used time.Duration) time.Duration { return min(used+r.Emission, r.most()) }

// Left returns the number of requests that may follow at once, and the time until there is one more; 0 where the quota
// is whole.
func (r Rate) Left(used time.Duration) (int, time.Duration) {
	if used <= 0 {
		return r.Burst, 0
	}
	left := max(r.span()-used, 0) / r.Emission
	return int(left), used + (left+1)*r.Emission - r.span()
}

// span is the whole quota, and most the quota with the debt.
func (r Rate) span() time.Duration { return r.Emission * time.Duration(r.Burst) }

func (r Rate) most() time.Duration { return r.span() + r.Emission*time.Duration(r.Debt) }
