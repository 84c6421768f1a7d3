package ratelimit

import (
	"sync"
	"time"
)

// maxRefusals bounds the memory of refusals. A key is at most about 600 bytes, and usually 100.
const maxRefusals = 8 << 10

// refusals remembers keys that have no quota until some time, so that a flood that is refused does not reach the store. It
// may forget: the store then says so again.
type refusals struct {
	now func() time.Time

	mu    sync.RWMutex
	until map[string]time.Time
	// due is when the first one ends.
	due time.Time
}

func newRefusals(now func() time.Time) *refusals {
	return &refusals{now: now, until: map[string]time.Time{}}
}

// empty reports whether nothing is remembered.
func (r *refusals) empty() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.until) == 0
}

// remaining is for how long key is still refused; 0 if it is not known to be.
func (r *refusals) remaining(key string) time.Duration {
	r.mu.RLock()
	until, ok := r.until[key]
	r.mu.RUnlock()
	if !ok {
		return 0
	}
	return max(until.Sub(r.now()), 0)
}

// remember keeps key for d.
func (r *refusals) remember(key string, d time.Duration) {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.until[key]; !ok && len(r.until) >= maxRefusals {
		r.makeRoom(now)
	}
	until := now.Add(d)
	r.until[key] = until
	if len(r.until) == 1 || until.Before(r.due) {
		r.due = until
	}
}

// makeRoom removes what has ended, or else any one.
func (r *refusals) makeRoom(now time.Time) {
	if !now.Before(r.due) {
		r.due = now.Add(time.Minute)
		for key, until := range r.until {
			switch {
			case !until.After(now):
				delete(r.until, key)
			case until.Before(r.due):
				r.due = until
			}
		}
	}
	for key := range r.until {
		if len(r.until) < maxRefusals {
			return
		}
		delete(r.until, key)
	}
}
