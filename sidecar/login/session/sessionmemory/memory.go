// Package sessionmemory stores sessions in the memory of this process, for a sidecar without Redis. A restart ends all sessions.
package sessionmemory

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/login/session"
)

// DefaultMaxSessions is the default of Config.MaxSessions. A session takes up to about 6 KiB.
const DefaultMaxSessions = 1 << 14

// sweepEvery is the minimum pause between removals of expired entries.
const sweepEvery = 10 * time.Second

// Config configures a Store.
type Config struct {
	// MaxSessions bounds the sessions, including ended ones that are still stored. At the bound no session is ended for another:
	// further logins fail with session.ErrNoRoom.
	MaxSessions int
	// Now defaults to time.Now.
	Now func() time.Time
}

// Store is a session.Store. It is safe for concurrent use and runs no goroutine.
type Store struct {
	limit int
	clock func() time.Time

	mu       sync.Mutex
	sessions map[string]*entry
	owners   map[session.Owner]map[string]*entry
	// ended are the stored external sessions that were ended, the oldest end first.
	ended map[session.Owner][]*entry
	swept time.Time
}

// entry is a session with its state. It is in its owner's map until it ends.
type entry struct {
	session.Session
	family
	absoluteTimeout time.Duration
	// ended is set for an external session that was ended and is still stored.
	ended time.Time
	// forget is when the entry can be removed.
	forget time.Time
}

// New returns an empty store.
func New(c Config) *Store {
	if c.MaxSessions <= 0 {
		c.MaxSessions = DefaultMaxSessions
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Store{
		limit: c.MaxSessions, clock: c.Now,
		sessions: map[string]*entry{}, owners: map[session.Owner]map[string]*entry{}, ended: map[session.Owner][]*entry{},
	}
}

// now returns the time in microseconds, the precision of Redis.
func (s *Store) now() time.Time { return s.clock().UTC().Truncate(time.Microsecond) }

// Hold limits the timeouts of existing sessions. New sessions have their own limits.
func (s *Store) Hold(most session.Timeouts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.sessions {
		e.shorten(most)
	}
}

// Create implements session.Store.
func (s *Store) Create(_ context.Context, n session.New) (session.Session, []string, error) {
	if err := n.Check(); err != nil {
		return session.Session{}, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.find(n.ID, now) != nil {
		return session.Session{}, nil, session.ErrExists
	}
	return s.create(n, now)
}

// Admit implements session.Store.
func (s *Store) Admit(_ context.Context, n session.New, coalesce time.Duration) (session.Session, []string, error) {
	if err := n.Check(); err != nil {
		return session.Session{}, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if e := s.find(n.ID, now); e != nil {
		end := e.end(now)
		if end.IsZero() {
			e.touch(now, coalesce)
			return e.Session, nil, nil
		}
		if !n.Authenticated.After(end) {
			e.forget = now.Add(n.AbsoluteTimeout)
			return session.Session{}, nil, session.ErrEnded
		}
	}
	return s.create(n, now)
}

func (s *Store) create(n session.New, now time.Time) (session.Session, []string, error) {
	s.retireIdle(n.Owner, now)
	live := s.live(n.Owner, now)
	var evicted []string
	if excess := len(live) + 1 - n.Cap(); excess > 0 {
		if n.WhenFull == session.Reject {
			return session.Session{}, nil, session.ErrFull
		}
		for _, e := range live[:excess] {
			s.finish(e, now)
			evicted = append(evicted, e.ID)
		}
	}
	if old := s.sessions[n.ID]; old != nil { // it has ended; removed only now, because a rejected login must not revive it
		s.remove(old)
	}
	if s.full(now) {
		return session.Session{}, evicted, session.ErrNoRoom
	}
	e := &entry{absoluteTimeout: n.AbsoluteTimeout, Session: session.Session{
		ID: n.ID, Owner: n.Owner, Device: n.Device, Claims: slices.Clone(n.Claims), IdleTimeout: n.IdleTimeout,
		Created: now, AbsoluteExpiry: now.Add(n.AbsoluteTimeout), External: n.Refresh.IsZero(),
	}}
	if !e.External {
		e.Proof = n.Refresh.Proof()
		e.family = family{current: n.Refresh.Hash()}
	}
	e.slide(now)
	s.sessions[e.ID] = e
	if s.owners[e.Owner] == nil {
		s.owners[e.Owner] = map[string]*entry{}
	}
	s.owners[e.Owner][e.ID] = e
	return e.Session, evicted, nil
}

// Touch implements session.Store.
func (s *Store) Touch(_ context.Context, id string, coalesce time.Duration) (session.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	e := s.find(id, now)
	if e == nil || !e.end(now).IsZero() {
		return session.Session{}, session.ErrEnded
	}
	e.touch(now, coalesce)
	return e.Session, nil
}

// Get implements session.Store.
func (s *Store) Get(_ context.Context, id string) (session.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	e := s.find(id, now)
	if e == nil || !e.end(now).IsZero() {
		return session.Session{}, session.ErrEnded
	}
	return e.Session, nil
}

// List implements session.Store.
func (s *Store) List(_ context.Context, owner session.Owner) ([]session.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []session.Session
	for _, e := range s.live(owner, s.now()) {
		one := e.Session
		one.Claims = nil
		list = append(list, one)
	}
	session.SortBySeen(list)
	return list, nil
}

// End implements session.Store.
func (s *Store) End(_ context.Context, id string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	e := s.find(id, now)
	if e == nil || !e.end(now).IsZero() {
		return false, nil
	}
	s.finish(e, now)
	return true, nil
}

// EndAll implements session.Store.
func (s *Store) EndAll(_ context.Context, owner session.Owner, except string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var ended []string
	for _, e := range s.live(owner, now) {
		if e.ID != except {
			s.finish(e, now)
			ended = append(ended, e.ID)
		}
	}
	return ended, nil
}

// live returns an owner's active sessions, the oldest first.
func (s *Store) live(owner session.Owner, now time.Time) (live []*entry) {
	for _, e := range s.owners[owner] {
		if e.end(now).IsZero() {
			live = append(live, e)
		}
	}
	slices.SortFunc(live, func(a, b *entry) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return live
}
