// Package breaker decides whether requests are sent to a server that may be unavailable.
package breaker

import "sync/atomic"

// Threshold is the number of consecutive failures that open a breaker. One lost connection is not an outage, and at most three
// requests wait for a timeout when a server becomes unavailable.
const Threshold = 3

// Breaker is closed at first. It opens after Threshold consecutive failures, or at once if the server is known to be of no use. Only
// a successful probe closes it. It is safe for concurrent use.
type Breaker struct {
	failures atomic.Int32
	open     atomic.Bool
}

// Open reports whether requests must not be sent, except probes.
func (b *Breaker) Open() bool { return b.open.Load() }

// Succeed records a reply. It does not close the breaker: the request may have been sent before the failures.
func (b *Breaker) Succeed() {
	if b.failures.Load() != 0 {
		b.failures.Store(0)
	}
}

// Fail records a failure and reports whether it opened the breaker.
func (b *Breaker) Fail() bool {
	return b.failures.Add(1) >= Threshold && b.open.CompareAndSwap(false, true)
}

// Trip opens the breaker at once, and reports whether it was closed.
func (b *Breaker) Trip() bool { return b.open.CompareAndSwap(false, true) }

// Reset closes the breaker after a successful probe, and reports whether it was open.
func (b *Breaker) Reset() bool {
	b.failures.Store(0)
	return b.open.CompareAndSwap(true, false)
}
