package passwordpolicymemory

import (
	"fmt"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/stages/passwordpolicy"
	"github.com/posterndev/postern/sidecar/stages/passwordpolicy/passwordpolicytest"
)

func TestStore(t *testing.T) {
	passwordpolicytest.Run(t, func(t *testing.T) passwordpolicy.Store { return newStore(t, nil) })
}

func newStore(t *testing.T, now func() time.Time) *Store {
	t.Helper()
	s, err := New(now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestTimes: comparisons are possible again after the window, also if the clock was set back, and an account is forgotten after its ttl.
func TestTimes(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	s := newStore(t, func() time.Time { return now })
	if err := s.Add(t.Context(), "k", "a", 3, 100*time.Hour); err != nil {
		t.Fatal(err)
	}
	compare := func(want bool) {
		t.Helper()
		hashes, wait, err := s.Old(t.Context(), "k")
		if err != nil || (len(hashes) == 1) != want || (wait > 0) == want {
			t.Errorf("%q, %s, %v; want hashes %t", hashes, wait, err, want)
		}
	}
	for range passwordpolicy.JudgedLimit {
		compare(true)
	}
	now = now.Add(passwordpolicy.JudgedWithin - time.Second)
	compare(false)
	now = now.Add(time.Second)
	for range passwordpolicy.JudgedLimit {
		compare(true)
	}
	compare(false)
	now = now.Add(-time.Minute) // set back
	compare(true)
	if at, err := s.Changed(t.Context(), "k"); err != nil || !at.Equal(time.Unix(1_700_000_000, 0)) {
		t.Errorf("changed %s, %v", at, err)
	}
	now = now.Add(200 * time.Hour)
	if at, err := s.Changed(t.Context(), "k"); err != nil || !at.IsZero() {
		t.Errorf("after the ttl: changed %s, %v", at, err)
	}
	if hashes, _, err := s.Old(t.Context(), "k"); err != nil || len(hashes) != 0 {
		t.Errorf("after the ttl: %q, %v", hashes, err)
	}
}

// TestMemoryIsBounded: the least recently used accounts are forgotten first.
func TestMemoryIsBounded(t *testing.T) {
	s := newStore(t, nil)
	for i := range maxAccounts + 100 {
		if err := s.Add(t.Context(), fmt.Sprint(i), "a", 1, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.accounts.Len(); n != maxAccounts {
		t.Errorf("%d accounts; want %d", n, maxAccounts)
	}
}
