// Package revocationmemory stores revocations in the memory of this process, for a sidecar without Redis. A restart loses them.
package revocationmemory

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/login/revocation"
)

// DefaultMaxEntries is the default of Config.MaxEntries. An entry takes up to about 1.5 KiB.
const DefaultMaxEntries = 1 << 16

// sweepEvery is the minimum pause between removals of expired entries.
const sweepEvery = time.Second

// Config configures a Store.
type Config struct {
	// MaxEntries bounds the memory. At the bound no entry is dropped: adding fails with revocation.ErrFull.
	MaxEntries int
	// Now defaults to time.Now.
	Now func() time.Time
}

// Store is a revocation.Store and a revocation.Feed. It is safe for concurrent use and runs no goroutine.
type Store struct {
	limit int
	now   func() time.Time

	mu       sync.Mutex
	entries  map[string]revocation.Entry
	position revocation.Position
	swept    time.Time
	// changed is closed at the next change. latest are the latest changes, up to position.
	changed chan struct{}
	latest  []revocation.Entry
}

// maxLatest is how many changes a follower can be behind.
const maxLatest = 1024

// New returns an empty store.
func New(c Config) *Store {
	if c.MaxEntries <= 0 {
		c.MaxEntries = DefaultMaxEntries
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Store{
		limit: c.MaxEntries, now: c.Now, entries: map[string]revocation.Entry{}, changed: make(chan struct{}),
		position: revocation.Position{Generation: rand.Text()},
	}
}

// Add implements revocation.Store. It adds all entries or none.
func (s *Store) Add(_ context.Context, entries ...revocation.Entry) (revocation.Position, error) {
	now := s.now()
	for _, e := range entries {
		if err := e.Check(now); err != nil {
			return revocation.Position{}, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.entries)+len(entries) > s.limit {
		s.sweep(now)
	}
	if len(s.entries)+len(entries) > s.limit {
		return revocation.Position{}, revocation.ErrFull
	}
	for _, e := range entries {
		s.add(e, now)
	}
	return s.position, nil
}

func (s *Store) add(e revocation.Entry, now time.Time) {
	if !e.Expires.After(now) {
		return
	}
	id := e.ID()
	if old, ok := s.entries[id]; ok && old.Expires.After(now) {
		merged := revocation.Merge(old, e)
		if merged.Before.Equal(old.Before) && merged.Expires.Equal(old.Expires) {
			return
		}
		e = merged
	}
	s.entries[id] = e
	s.position.Sequence++
	s.latest = append(s.latest, e)
	if len(s.latest) > maxLatest {
		s.latest = slices.Clone(s.latest[maxLatest/2:])
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Store) sweep(now time.Time) {
	if now.Sub(s.swept) < sweepEvery {
		return
	}
	s.swept = now
	for id, e := range s.entries {
		if !e.Expires.After(now) {
			delete(s.entries, id)
		}
	}
}

// Load implements revocation.Feed.
func (s *Store) Load(_ context.Context, apply func([]revocation.Entry)) (revocation.Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries := make([]revocation.Entry, 0, len(s.entries))
	for _, e := range s.entries {
		entries = append(entries, e)
	}
	apply(entries)
	return revocation.Cursor{Position: s.position}, nil
}

// Follow implements revocation.Feed.
func (s *Store) Follow(ctx context.Context, from revocation.Cursor, maxSilence time.Duration, sink revocation.Sink) error {
	ticker := time.NewTicker(maxSilence / 4)
	defer ticker.Stop()
	for {
		at := s.now()
		changes, position, changed := s.since(from.Position)
		if changes == nil && position != from.Position {
			return revocation.ErrGap
		}
		if len(changes) > 0 {
			from.Position = position
			sink.Apply(from, changes)
		}
		if err := sink.Fresh(ctx, at); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-ticker.C:
		}
	}
}

// since returns the changes after from, or nil if they are no longer stored, and a channel that is closed at the next change.
func (s *Store) since(from revocation.Position) ([]revocation.Entry, revocation.Position, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(s.now())
	n := s.position.Sequence - from.Sequence
	if s.position.Generation != from.Generation || n < 0 || n > int64(len(s.latest)) {
		return nil, s.position, s.changed
	}
	return slices.Clone(s.latest[int64(len(s.latest))-n:]), s.position, s.changed
}

// Find implements revocation.Feed.
func (s *Store) Find(_ context.Context, entries []revocation.Entry) (found []revocation.Entry, err error) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		if e, ok := s.entries[e.ID()]; ok && e.Expires.After(now) {
			found = append(found, e)
		}
	}
	return found, nil
}

// Count implements revocation.Feed.
func (s *Store) Count(context.Context) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(s.now())
	return len(s.entries), nil
}
