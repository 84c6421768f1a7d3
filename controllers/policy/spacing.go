package policy

import (
	"sync"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// spacing delays reconciles so that many events cause few of them. A reconcile comes delay after the first event. While events go on, the
// next one comes pace after it. Most of the cost of an event of a pod is not the operator's: the API server validates the whole policy
// again for each write of its status.
type spacing struct {
	delay, pace time.Duration
	clock       clock.PassiveClock

	mu sync.Mutex
	// due is when the last reconcile of each policy is due. Entries that delay nothing any more are removed when there are limit of them.
	due   map[reconcile.Request]time.Time
	limit int
}

// spacingSize is the number of policies after which entries are removed for the first time.
const spacingSize = 1024

func newSpacing(delay, pace time.Duration, c clock.PassiveClock) *spacing {
	return &spacing{delay: delay, pace: pace, clock: c, due: map[reconcile.Request]time.Time{}, limit: spacingSize}
}

// next returns the time until the reconcile that an event causes now.
func (s *spacing) next(request reconcile.Request) time.Duration {
	if s.pace <= s.delay {
		return s.delay
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	last, at := s.due[request], now.Add(s.delay)
	switch {
	case last.After(now):
		return last.Sub(now) // it waits in the queue, and will see this event
	case last.Add(s.pace).After(at):
		at = last.Add(s.pace)
	}
	if len(s.due) >= s.limit {
		s.sweep(now)
	}
	s.due[request] = at
	return at.Sub(now)
}

// sweep removes entries that delay nothing any more. s.mu is held.
func (s *spacing) sweep(now time.Time) {
	for request, at := range s.due {
		if !at.Add(s.pace).After(now) {
			delete(s.due, request)
		}
	}
	s.limit = max(spacingSize, 2*len(s.due))
}
