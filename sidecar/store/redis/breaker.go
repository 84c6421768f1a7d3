package redis

import "sync/atomic"

// threshold is the number of failures in a row that open a breaker. One lost connection is no outage, and three requests
// may wait for a timeout each time that Redis goes away.
const threshold = 3

// breaker decides whether a server is asked at all. It is closed at first; it opens after threshold failures in a row
// and is closed again by a probe alone.
type breaker struct {
	failures atomic.Int32
	open     atomic.Bool
}

// succeed records a response. It does not close the breaker: the response may have been long under way.
func (b *breaker) succeed() {
	if b.failures.Load() != 0 {
		b.failures.Store(0)
	}
}

// fail records a failure and reports whether it opened the breaker.
func (b *breaker) fail() bool {
	return b.failures.Add(1) >= threshold && b.open.CompareAndSwap(false, true)
}

// reset closes the breaker after a probe was answered, and reports whether it was open.
func (b *breaker) reset() bool {
	b.failures.Store(0)
	return b.open.CompareAndSwap(true, false)
}
