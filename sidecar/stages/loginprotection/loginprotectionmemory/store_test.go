package loginprotectionmemory

import (
	"fmt"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/stages/loginprotection"
	"github.com/posterndev/postern/sidecar/stages/loginprotection/loginprotectiontest"
)

func TestStore(t *testing.T) {
	loginprotectiontest.Run(t, func(t *testing.T) loginprotection.Store {
		s, err := New(nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// clocked is a store with a clock that the test sets.
func clocked(t *testing.T) (*Store, *time.Time) {
	t.Helper()
	now := time.Unix(1_800_000_000, 0)
	s, err := New(func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return s, &now
}

func fail(t *testing.T, s *Store, c loginprotection.Counter) {
	t.Helper()
	counters := []loginprotection.Counter{c}
	if b, _ := s.Begin(t.Context(), counters); !b.Allowed {
		t.Fatalf("refused: %+v", b)
	}
	if _, err := s.End(t.Context(), counters, []loginprotection.Outcome{loginprotection.Fail}); err != nil {
		t.Fatal(err)
	}
}

// TestLocksGrow: each lock lasts twice as long as the one before, up to the longest, and they are forgotten in time.
func TestLocksGrow(t *testing.T) {
	s, now := clocked(t)
	c := loginprotection.Counter{Key: "k", Limit: 2, Within: time.Minute, LockFor: time.Minute, MaxLock: 5 * time.Minute}
	wait := func() time.Duration {
		b, _ := s.Begin(t.Context(), []loginprotection.Counter{c})
		if b.Allowed {
			t.Fatal("it is not locked")
		}
		return b.Wait
	}
	for _, want := range []time.Duration{1, 2, 4, 5, 5} {
		fail(t, s, c)
		fail(t, s, c)
		if got := wait(); got != want*time.Minute {
			t.Errorf("the lock lasts %s; want %d minutes", got, want)
		}
		*now = now.Add(want * time.Minute)
	}
	*now = now.Add(time.Hour)
	fail(t, s, c)
	fail(t, s, c)
	if got := wait(); got != time.Minute {
		t.Errorf("after an hour the lock lasts %s; want 1 minute", got)
	}
}

// TestClockJumps: a clock that is set back makes no lock longer than the longest, and one that is set forward ends it.
func TestClockJumps(t *testing.T) {
	s, now := clocked(t)
	c := loginprotection.Counter{Key: "k", Limit: 1, Within: time.Minute, LockFor: time.Minute, MaxLock: 5 * time.Minute}
	fail(t, s, c)
	*now = now.Add(-24 * time.Hour)
	if b, _ := s.Begin(t.Context(), []loginprotection.Counter{c}); b.Allowed || b.Wait > 5*time.Minute {
		t.Errorf("a day back: %+v; want at most five minutes", b)
	}
	*now = now.Add(48 * time.Hour)
	if b, _ := s.Begin(t.Context(), []loginprotection.Counter{c}); !b.Allowed {
		t.Errorf("a day forward: %+v", b)
	}
}

// TestPendingEnds: an attempt of a process that died counts for a minute.
func TestPendingEnds(t *testing.T) {
	s, now := clocked(t)
	c := []loginprotection.Counter{{Key: "k", Limit: 1, Within: time.Hour, LockFor: time.Minute, MaxLock: time.Minute}}
	if b, _ := s.Begin(t.Context(), c); !b.Allowed {
		t.Fatal(b)
	}
	*now = now.Add(loginprotection.PendingFor - time.Second)
	if b, _ := s.Begin(t.Context(), c); b.Allowed {
		t.Error("it is allowed beside a pending one")
	}
	*now = now.Add(time.Second)
	if b, _ := s.Begin(t.Context(), c); !b.Allowed {
		t.Errorf("after a minute: %+v", b)
	}
}

// TestLeakedAttempts: attempts that never ended are forgotten in time, also while others begin and end.
func TestLeakedAttempts(t *testing.T) {
	s, now := clocked(t)
	c := []loginprotection.Counter{{Key: "k", Limit: 3, Within: time.Hour}}
	begin := func(attempts int) (allowed int) {
		for range attempts {
			if b, _ := s.Begin(t.Context(), c); b.Allowed {
				allowed++
			}
		}
		return allowed
	}
	if begin(2) != 2 { // their process dies
		t.Fatal("refused")
	}
	for range 4 {
		*now = now.Add(loginprotection.PendingFor / 4)
		if begin(1) != 1 {
			t.Fatal("refused")
		}
		_, _ = s.End(t.Context(), c, []loginprotection.Outcome{loginprotection.Release})
	}
	if n := begin(4); n != 3 {
		t.Errorf("after a minute %d attempts are allowed; want 3", n)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	s, _ := clocked(t)
	for i := range maxCounters + 100 {
		fail(t, s, loginprotection.Counter{Key: fmt.Sprint(i), Limit: 2, Within: time.Hour})
		for _, absent := range []bool{false, true} {
			_, _ = s.Put(t.Context(), fmt.Sprint(absent, i), []byte("x"), time.Hour, absent)
		}
	}
	if s.counters.Len() > maxCounters || s.values.Len() > maxValues || s.lasting.Len() > maxValues {
		t.Errorf("%d counters and %d values", s.counters.Len(), s.values.Len())
	}
}
