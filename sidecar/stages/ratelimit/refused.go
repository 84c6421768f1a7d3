package ratelimit

import (
	"sync"
	"sync/atomic"
	"time"
)

// maxRefusals bounds the number of remembered refusals. A key has at most about 600 bytes, and usually 100.
const maxRefusals = 8 << 10

// refusals remembers keys that have no quota until some time, so that a flood of refused requests does not reach the
// store. It may forget a key: the store then refuses it again.
type refusals struct {
	now func() time.Time

	mu    sync.RWMutex
	until map[string]time.Time
	// due is when the first of them ends.
	due time.Time
	// n is the length of until, so that most requests need no lock.
	n atomic.Int64
}

func newRefusals(now func() time.Time) *refusals {
	return &refusals{now: now, until: map[string]time.Time{}}
}

// empty reports whether no key is remembered.
func (r *refusals) empty() bool { return r.n.Load() == 0 }

// remaining returns how long key is still refused; 0 if that is not known.
func (r *refusals) remaining(key []byte) time.Duration {
	if r.empty() {
		return 0
	}
	r.mu.RLock()
	until, ok := r.until[string(key)]
	r.mu.RUnlock()
	if !ok {
		return 0
	}
	return max(until.Sub(r.now()), 0)
}

// remember remembers key for d.
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
	r.n.Store(int64(len(r.until)))
}

// makeRoom removes the keys whose time has passed, or else an arbitrary one.
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
