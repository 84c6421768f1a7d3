// Package loginprotectionmemory counts attempts to log in for one process. It holds a bounded number of keys; the least recently used
// are forgotten first. Only attempts that are allowed take memory, and keys that are locked, or were a short time ago, have memory of their
// own: to make the store forget a lock takes more than 8000 locks of other keys.
package loginprotectionmemory

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/posterndev/postern/sidecar/stages/loginprotection"
)

// Bounds: the number of counters without and with a lock, of about 300 bytes each, and of other values.
const (
	maxCounters = 24 << 10
	maxLocked   = 8 << 10
	maxValues   = 256
)

// Store is a loginprotection.Store. It is safe for concurrent use.
type Store struct {
	now func() time.Time

	mu sync.Mutex
	// locked has the counters with locks that are not forgotten yet, and counters the others.
	counters, locked *lru.Cache[string, *state]
	// lasting has the values that must not change, such as the key of device cookies, and values the others. A client that makes the app respond in
	// many ways makes the store forget only the others.
	values, lasting *lru.Cache[string, value]
}

type value struct {
	bytes []byte
	until time.Time
}

// state is one counter, with the fields of attempts.lua.
type state struct {
	times []time.Time
	// pending are the times at which attempts began.
	pending []time.Time
	until   time.Time
	locks   int
	forget  time.Time
}

// New returns an empty store. A nil now means time.Now.
func New(now func() time.Time) (*Store, error) {
	if now == nil {
		now = time.Now
	}
	counters, err := lru.New[string, *state](maxCounters)
	if err != nil {
		return nil, fmt.Errorf("creating attempt counters: %w", err)
	}
	locked, err := lru.New[string, *state](maxLocked)
	if err != nil {
		return nil, fmt.Errorf("creating attempt counters: %w", err)
	}
	values, err := lru.New[string, value](maxValues)
	if err != nil {
		return nil, fmt.Errorf("creating attempt counters: %w", err)
	}
	lasting, err := lru.New[string, value](maxValues)
	if err != nil {
		return nil, fmt.Errorf("creating attempt counters: %w", err)
	}
	return &Store{now: now, counters: counters, locked: locked, values: values, lasting: lasting}, nil
}

// load returns the state of a counter at now. A new one takes no memory until keep.
func (s *Store) load(c *loginprotection.Counter, now time.Time) *state {
	v, ok := s.locked.Get(c.Key)
	if !ok {
		v, ok = s.counters.Get(c.Key)
	}
	if !ok || now.After(v.forget) {
		v = &state{}
	}
	v.times, v.pending = near(v.times, now, c.Within), near(v.pending, now, loginprotection.PendingFor)
	if latest := now.Add(c.MaxLock); v.until.After(latest) { // the clock was set back
		v.until = latest
	}
	return v
}

// near returns the times less than d before now and, if the clock was set back, at most d after it.
func near(times []time.Time, now time.Time, d time.Duration) []time.Time {
	return slices.DeleteFunc(times, func(t time.Time) bool { return !t.After(now.Add(-d)) || t.After(now.Add(d)) })
}

// keep stores the state of a counter, if it is not empty.
func (s *Store) keep(c *loginprotection.Counter, v *state, now time.Time) {
	home, other := s.counters, s.locked
	if v.locks > 0 {
		home, other = other, home
	}
	other.Remove(c.Key)
	if v.locks == 0 && len(v.times)+len(v.pending) == 0 {
		home.Remove(c.Key)
		return
	}
	home.Add(c.Key, v)
	v.forget = now.Add(max(c.Within, loginprotection.PendingFor, v.until.Sub(now)))
	if v.locks > 0 {
		v.forget = v.forget.Add(c.MaxLock)
	}
}

// Begin implements loginprotection.Store.
func (s *Store) Begin(_ context.Context, counters []loginprotection.Counter) (loginprotection.Begun, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	states := make([]*state, len(counters))
	for i := range counters {
		states[i] = s.load(&counters[i], now)
	}
	failures := len(states[0].times) + states[0].locks*counters[0].Limit
	for i, v := range states {
		c, wait := &counters[i], time.Duration(-1)
		switch {
		case v.until.After(now):
			wait = v.until.Sub(now)
		case len(v.times) >= c.Limit:
			wait = v.times[len(v.times)-c.Limit].Add(c.Within).Sub(now)
		case len(v.times)+len(v.pending) >= c.Limit:
			wait = time.Second
		}
		if wait >= 0 {
			return loginprotection.Begun{Blocking: i, Wait: max(wait, time.Millisecond), Failures: failures}, nil
		}
	}
	for i, v := range states {
		v.pending = append(v.pending, now)
		s.keep(&counters[i], v, now)
	}
	return loginprotection.Begun{Allowed: true, Failures: failures}, nil
}

// End implements loginprotection.Store.
func (s *Store) End(_ context.Context, counters []loginprotection.Counter, outcomes []loginprotection.Outcome) ([]bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	locked := make([]bool, len(counters))
	for i := range counters {
		c := &counters[i]
		v := s.load(c, now)
		if n := len(v.pending); n > 0 && outcomes[i] != loginprotection.Forget { // the latest: one that never ends must not look younger
			v.pending = v.pending[:n-1]
		}
		switch outcomes[i] {
		case loginprotection.Clear, loginprotection.Forget:
			v.times, v.until, v.locks = nil, time.Time{}, 0
		case loginprotection.Fail:
			locked[i] = v.fail(c, now)
		}
		s.keep(c, v, now)
	}
	return locked, nil
}

// Look implements loginprotection.Store.
func (s *Store) Look(_ context.Context, counters []loginprotection.Counter) ([]loginprotection.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	states := make([]loginprotection.State, len(counters))
	for i := range counters {
		v := s.load(&counters[i], now)
		states[i] = loginprotection.State{Failures: len(v.times), Locks: v.locks, Until: v.until}
		if n := len(v.times); n > 0 {
			states[i].Latest = v.times[n-1]
		}
	}
	return states, nil
}

// fail counts a failure and reports whether it locks the key, or without a lock, whether it uses up the limit.
func (v *state) fail(c *loginprotection.Counter, now time.Time) bool {
	before := len(v.times)
	v.times = append(v.times, now)
	if len(v.times) > c.Limit {
		v.times = v.times[len(v.times)-c.Limit:]
	}
	if c.LockFor <= 0 {
		return before < c.Limit && len(v.times) >= c.Limit
	}
	if len(v.times) < c.Limit || v.until.After(now) {
		return false
	}
	lock := c.LockFor
	for range min(v.locks, 30) {
		if lock >= c.MaxLock {
			break
		}
		lock *= 2
	}
	v.until, v.locks, v.times = now.Add(min(lock, c.MaxLock)), v.locks+1, nil
	return true
}

// Put implements loginprotection.Store.
func (s *Store) Put(_ context.Context, key string, b []byte, ttl time.Duration, absent bool) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stored := s.value(key); absent && stored != nil {
		return stored, nil
	}
	home, other := s.values, s.lasting
	if absent {
		home, other = other, home
	}
	other.Remove(key)
	home.Add(key, value{b, s.now().Add(ttl)})
	return b, nil
}

// Get implements loginprotection.Store.
func (s *Store) Get(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.value(key), nil
}

// value returns the value of a key, or nil.
func (s *Store) value(key string) []byte {
	v, ok := s.lasting.Get(key)
	if !ok {
		v, ok = s.values.Get(key)
	}
	if !ok || !s.now().Before(v.until) {
		return nil
	}
	return v.bytes
}
