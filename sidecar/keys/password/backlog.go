package password

import (
	"errors"
	"sync"
	"time"
)

// DefaultWait is the default of Config.Wait. Clients of a login wait longer than this rarely, and what they gave up is computed all the
// same.
const DefaultWait = 5 * time.Second

// Bounds of the factor between real and estimated time, and the weight of a new measurement in it. The upper bound is that of a
// machine that gives the sidecar a small part of a core.
const (
	minFactor, maxFactor = 0.25, 32
	smoothing            = 0.25
)

// backlog is the estimated time until all calls in progress are done. The estimate learns from the time that hashes take. It is safe
// for concurrent use.
type backlog struct {
	longest time.Duration

	mu sync.Mutex
	// pending is the sum of the shares: of each call the time for which it would occupy the whole machine.
	pending time.Duration
	factor  float64
}

func newBacklog(longest time.Duration) backlog { return backlog{longest: longest, factor: 1} }

// add adds a call, unless it would wait for the others for more than longest. A call that waits for no other is always accepted.
func (b *backlog) add(share, longest time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if wait := b.estimate(); wait > longest {
		return &busyError{after: wait - longest}
	}
	b.pending += share
	return nil
}

// estimate returns the time until the calls in progress are done. The caller holds mu.
func (b *backlog) estimate() time.Duration { return time.Duration(float64(b.pending) * b.factor) }

func (b *backlog) wait() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.estimate()
}

// remove removes a call that was not computed.
func (b *backlog) remove(share time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pending -= share
}

// done removes a call that took the time took, of estimated work.
func (b *backlog) done(share, work, took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pending -= share
	if work > 0 {
		measured := min(max(float64(took)/float64(work), minFactor), maxFactor)
		b.factor += smoothing * (measured - b.factor)
	}
}

// busyError is ErrBusy with the time after which a call would be accepted, as far as is known.
type busyError struct{ after time.Duration }

func (e *busyError) Error() string { return ErrBusy.Error() }

// Is makes it match ErrBusy.
func (e *busyError) Is(target error) bool { return target == ErrBusy }

// RetryAfter returns how long a caller that got ErrBusy should wait: whole seconds, at least one.
func RetryAfter(err error) time.Duration {
	var busy *busyError
	if !errors.As(err, &busy) {
		return time.Second
	}
	return max(time.Second, (busy.after + time.Second - 1).Truncate(time.Second))
}
