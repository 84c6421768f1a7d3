// Package passwordpolicymemory keeps hashes of old passwords for one process. It holds a bounded number of accounts; the least recently used
// are forgotten first.
package passwordpolicymemory

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/posterndev/postern/sidecar/stages/passwordpolicy"
)

// maxAccounts bounds the memory: an account has at most 24 hashes of about 100 bytes.
const maxAccounts = 8 << 10

// Store is a passwordpolicy.Store. It is safe for concurrent use.
type Store struct {
	now func() time.Time

	mu       sync.Mutex
	accounts *lru.Cache[string, *account]
}

// account has the fields of history.lua.
type account struct {
	changed time.Time
	hashes  []string
	window  time.Time
	judged  int
	forget  time.Time
}

// New returns an empty store. A nil now means time.Now.
func New(now func() time.Time) (*Store, error) {
	if now == nil {
		now = time.Now
	}
	accounts, err := lru.New[string, *account](maxAccounts)
	if err != nil {
		return nil, fmt.Errorf("creating password history: %w", err)
	}
	return &Store{now: now, accounts: accounts}, nil
}

// load returns the account, or nil. The caller holds mu.
func (s *Store) load(key string, now time.Time) *account {
	a, ok := s.accounts.Get(key)
	if !ok || now.After(a.forget) {
		return nil
	}
	return a
}

// Old implements passwordpolicy.Store.
func (s *Store) Old(_ context.Context, key string) (hashes []string, wait time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	a := s.load(key, now)
	if a == nil || len(a.hashes) == 0 {
		return nil, 0, nil
	}
	if end := a.window.Add(passwordpolicy.JudgedWithin); !now.Before(end) || now.Before(a.window) { // also if the clock was set back
		a.window, a.judged = now, 0
	}
	if a.judged >= passwordpolicy.JudgedLimit {
		return nil, a.window.Add(passwordpolicy.JudgedWithin).Sub(now), nil
	}
	a.judged++
	return slices.Clone(a.hashes), 0, nil
}

// Add implements passwordpolicy.Store.
func (s *Store) Add(_ context.Context, key, hash string, keep int, ttl time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	a := s.load(key, now)
	if a == nil {
		a = &account{}
		s.accounts.Add(key, a)
	}
	a.changed, a.forget = now, now.Add(ttl)
	if keep == 0 {
		a.hashes = nil
		return nil
	}
	a.hashes = append([]string{hash}, a.hashes[:min(len(a.hashes), keep-1)]...)
	return nil
}

// Look implements passwordpolicy.Store.
func (s *Store) Look(_ context.Context, key string) (passwordpolicy.Kept, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.load(key, s.now()); a != nil {
		return passwordpolicy.Kept{Hashes: len(a.hashes), Changed: a.changed}, nil
	}
	return passwordpolicy.Kept{}, nil
}

// Delete implements passwordpolicy.Store.
func (s *Store) Delete(_ context.Context, key string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.load(key, s.now())
	s.accounts.Remove(key)
	return a != nil, nil
}

// Changed implements passwordpolicy.Store.
func (s *Store) Changed(_ context.Context, key string) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.load(key, s.now()); a != nil {
		return a.changed, nil
	}
	return time.Time{}, nil
}
