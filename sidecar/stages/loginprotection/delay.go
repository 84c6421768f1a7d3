package loginprotection

import (
	"context"
	"time"
)

// Delays before an attempt reaches the app: the first after delayAfter failures of the account, then twice as long for each further one.
const (
	delayAfter = 2
	firstDelay = 250 * time.Millisecond
	maxDelay   = 2 * time.Second
	// maxDelayed bounds the requests that wait at the same time. Further ones do not wait: the lock counts them all the same.
	maxDelayed = 256
)

// Sleep waits for d, or until ctx ends.
type Sleep func(ctx context.Context, d time.Duration)

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// slowDown delays an attempt after failures of its account.
func (a *attempt) slowDown(ctx context.Context, failures int) {
	if d := a.delay(failures); d > 0 {
		a.wait(ctx, d)
	}
}

// delay returns how long an attempt after failures of its account is delayed, whether it is refused or not.
func (a *attempt) delay(failures int) time.Duration {
	if a.cfg.Shadow || a.info.Shadow || a.route.Kind != Login || failures < delayAfter || a.kinds[0] == kindAddress {
		return 0
	}
	return min(firstDelay<<min(failures-delayAfter, 8), maxDelay)
}

// wait waits if not too many others do.
func (a *attempt) wait(ctx context.Context, d time.Duration) {
	select {
	case a.delays <- struct{}{}:
		defer func() { <-a.delays }()
		defer a.info.Timing.Delayed(time.Now())
		a.cfg.Sleep(ctx, d)
	default:
	}
}
