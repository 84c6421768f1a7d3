// Package sessionmemory stores sessions in the memory of this process, for a sidecar without Redis. A restart ends all sessions.
package sessionmemory

import (
	"container/list"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/login/session"
)

// DefaultMaxBytes is the default of Config.MaxBytes.
const DefaultMaxBytes = 64 << 20

// entryBytes is what a session takes in addition to its texts, in bytes: the entry, its places in maps and lists, and its times.
// TestBytesAreCounted measures it.
const entryBytes = 1400

// sweepEvery is the minimum pause between removals of expired entries.
const sweepEvery = 10 * time.Second

// Config configures a Store.
type Config struct {
	// MaxBytes bounds the memory of the sessions, including ended ones that are still stored. At the bound session.Limits.EvictIdlest
	// decides: another session is forgotten, or the login fails with session.ErrNoRoom. Ended sessions are never forgotten for
	// others, because they would begin again.
	MaxBytes int
	// OnFull, if not nil, is called for each login at the bound.
	OnFull func(Outcome)
	// Now defaults to time.Now.
	Now func() time.Time
}

// Outcome is what happened at the bound. It is a label of a metric.
type Outcome string

const (
	// Evicted says that the idlest session was forgotten.
	Evicted Outcome = "evicted"
	// Rejected says that the login failed.
	Rejected Outcome = "rejected"
)

// Store is a session.Store. It is safe for concurrent use and runs no goroutine.
type Store struct {
	limit  int
	clock  func() time.Time
	onFull func(Outcome)

	mu sync.Mutex
	// bytes is the estimated memory of all entries.
	bytes int
	// used has the entries that are in owners, the idlest first.
	used     *list.List
	sessions map[string]*entry
	owners   map[session.Owner]map[string]*entry
	// ended are the stored external sessions that were ended, the oldest end first, by their anonymous owner.
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
	// bytes is the part of Store.bytes, and place the one in Store.used; nil if the session has ended.
	bytes int
	place *list.Element
}

// New returns an empty store.
func New(c Config) *Store {
	if c.MaxBytes <= 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.OnFull == nil {
		c.OnFull = func(Outcome) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Store{
		limit: c.MaxBytes, clock: c.Now, onFull: c.OnFull, used: list.New(),
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
			s.touch(e, now, coalesce)
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
	e := &entry{absoluteTimeout: n.AbsoluteTimeout, Session: session.Session{
		ID: n.ID, Owner: n.Owner, Device: n.Device, Claims: slices.Clone(n.Claims), IdleTimeout: n.IdleTimeout,
		Created: now, AbsoluteExpiry: now.Add(n.AbsoluteTimeout), External: n.Refresh.IsZero(),
	}}
	if !e.External {
		e.Proof = n.Refresh.Proof()
		e.family = family{current: n.Refresh.Hash()}
	}
	if !s.makeRoom(e, n.EvictIdlest, now) {
		return session.Session{}, evicted, session.ErrNoRoom
	}
	e.slide(now)
	s.sessions[e.ID] = e
	e.place = s.used.PushBack(e)
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
	s.touch(e, now, coalesce)
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
	s.retireIdle(owner, now)
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
