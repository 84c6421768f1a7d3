package redis

import "sync/atomic"

// threshold is the number of consecutive failures that open a breaker. One lost connection is not an outage, and at most three
// requests wait for a timeout when Redis becomes unavailable.
const threshold = 3

// breaker decides whether commands are sent to a server. It is closed at first. It opens after threshold consecutive failures,
// or at once if the server is not the master. Only a successful probe closes it.
type breaker struct {
	failures atomic.Int32
	open     atomic.Bool
}

// succeed records a reply. It does not close the breaker: the command may have been sent before the failures.
func (b *breaker) succeed() {
	if b.failures.Load() != 0 {
		b.failures.Store(0)
	}
}

// fail records a failure and reports whether it opened the breaker.
func (b *breaker) fail() bool {
	return b.failures.Add(1) >= threshold && b.open.CompareAndSwap(false, true)
}

// trip opens the breaker at once, and reports whether it was closed.
func (b *breaker) trip() bool { return b.open.CompareAndSwap(false, true) }

// reset closes the breaker after a successful probe, and reports whether it was open.
func (b *breaker) reset() bool {
	b.failures.Store(0)
	return b.open.CompareAndSwap(true, false)
}
