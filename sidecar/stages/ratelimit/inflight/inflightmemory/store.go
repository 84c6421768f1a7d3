// Package inflightmemory counts requests in progress in the memory of this process, for a sidecar without Redis and for the time while
// Redis is unavailable.
package inflightmemory

import (
	"context"
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/stages/ratelimit/inflight"
)

// Store is an inflight.Store. Its memory is bounded by the requests in progress: it keeps about 100 bytes and the key for each of
// their places, and nothing for keys without places. It runs no goroutine and is safe for concurrent use.
type Store struct {
	now func() time.Time

	mu   sync.Mutex
	keys map[string]*key
	// swept is when leases of all keys were checked last.
	swept time.Time
}

// key holds when the leases of its places end. due is the earliest of them, or before that.
type key struct {
	ends map[string]time.Time
	due  time.Time
}

// New returns an empty store. now is the clock; time.Now if nil.
func New(now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	return &Store{now: now, keys: map[string]*key{}, swept: now()}
}

// Acquire implements inflight.Store. It never fails.
func (s *Store) Acquire(_ context.Context, id string, lease time.Duration, asks []inflight.Ask) ([]bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, free := s.now(), make([]bool, len(asks))
	for i, ask := range asks {
		s.expire(ask.Key, now)
		free[i] = s.keys[ask.Key].len() < ask.Max
	}
	if inflight.Refused(asks, free) {
		return free, nil
	}
	for i, ask := range asks {
		if free[i] {
			s.hold(ask.Key, id, now.Add(lease))
		}
	}
	return free, nil
}

// Renew implements inflight.Store. It never fails.
func (s *Store) Renew(_ context.Context, lease time.Duration, places []inflight.Place) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for _, p := range places {
		s.hold(p.Key, p.ID, now.Add(lease))
	}
	if now.Sub(s.swept) >= lease {
		s.swept = now
		for key := range s.keys {
			s.expire(key, now)
		}
	}
	return nil
}

// Release implements inflight.Store. It never fails.
func (s *Store) Release(_ context.Context, places []inflight.Place) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range places {
		if k := s.keys[p.Key]; k != nil {
			delete(k.ends, p.ID)
			s.forget(p.Key, k)
		}
	}
	return nil
}

func (s *Store) hold(name, id string, end time.Time) {
	k := s.keys[name]
	if k == nil {
		k = &key{ends: map[string]time.Time{}, due: end}
		s.keys[name] = k
	}
	k.ends[id] = end
	if end.Before(k.due) {
		k.due = end
	}
}

// expire removes the places of a key whose lease has ended.
func (s *Store) expire(name string, now time.Time) {
	k := s.keys[name]
	if k == nil || now.Before(k.due) {
		return
	}
	k.due = time.Time{}
	for id, end := range k.ends {
		switch {
		case !end.After(now):
			delete(k.ends, id)
		case k.due.IsZero() || end.Before(k.due):
			k.due = end
		}
	}
	s.forget(name, k)
}

func (s *Store) forget(name string, k *key) {
	if len(k.ends) == 0 {
		delete(s.keys, name)
	}
}

func (k *key) len() int {
	if k == nil {
		return 0
	}
	return len(k.ends)
}
