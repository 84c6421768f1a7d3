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
//
// While events of many policies go on, their next reconciles are also apart from each other, so that all policies together cause no
// more than one each apart. Then they come later than pace, but at most longest after the last.
type spacing struct {
	delay, pace, apart, longest time.Duration
	clock                       clock.PassiveClock

	mu sync.Mutex
	// due is when the last reconcile of each policy is due. Entries that delay nothing any more are removed when there are limit of them.
	due   map[reconcile.Request]time.Time
	limit int
	// free is when the next of the reconciles that are apart can be due.
	free time.Time
}

// spacingSize is the number of policies after which entries are removed for the first time.
const spacingSize = 1024

func newSpacing(delay, pace time.Duration, c clock.PassiveClock) *spacing {
	return &spacing{delay: delay, pace: pace, longest: pace, clock: c, due: map[reconcile.Request]time.Time{}, limit: spacingSize}
}

// spread sets apart and longest.
func (s *spacing) spread(apart, longest time.Duration) *spacing {
	s.apart, s.longest = apart, longest
	return s
}

// next returns the time until the reconcile that an event causes now.
func (s *spacing) next(request reconcile.Request) time.Duration {
	if s.pace <= s.delay {
		return s.delay
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, last := s.clock.Now(), s.due[request]
	if last.After(now) {
		return last.Sub(now) // it waits in the queue, and will see this event
	}
	if len(s.due) >= s.limit {
		s.sweep(now)
	}
	at := s.after(now, last)
	s.due[request] = at
	return at.Sub(now)
}

// after returns when the next reconcile of a policy is due; last is when the one before was, the zero time if that was long ago. s.mu is
// held.
func (s *spacing) after(now, last time.Time) time.Time {
	at := latestOf(now.Add(s.delay), last.Add(s.pace))
	latest := latestOf(at, last.Add(s.longest))
	if s.free.After(latest) {
		return latest
	}
	at = latestOf(at, s.free)
	s.free = latestOf(now, s.free).Add(s.apart)
	return at
}

func latestOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// sweep removes entries that delay nothing any more. s.mu is held.
func (s *spacing) sweep(now time.Time) {
	for request, at := range s.due {
		if !at.Add(s.longest).After(now) {
			delete(s.due, request)
		}
	}
	s.limit = max(spacingSize, 2*len(s.due))
}
