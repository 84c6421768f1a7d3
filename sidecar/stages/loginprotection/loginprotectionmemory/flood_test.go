package loginprotectionmemory

import (
	"fmt"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/stages/loginprotection"
)

// TestFloodsFromALockedAddress: attempts that are refused take no memory, so that a locked address cannot make the store forget anybody.
func TestFloodsFromALockedAddress(t *testing.T) {
	s, _ := clocked(t)
	victim := loginprotection.Counter{Key: "victim", Limit: 1, Within: time.Hour, LockFor: time.Hour, MaxLock: time.Hour}
	address := loginprotection.Counter{Key: "address", Limit: 1, Within: time.Hour, LockFor: time.Hour, MaxLock: time.Hour}
	fail(t, s, victim)
	fail(t, s, address)
	for i := range maxCounters + maxLocked + 100 {
		other := loginprotection.Counter{Key: fmt.Sprint(i), Limit: 5, Within: time.Hour, LockFor: time.Hour, MaxLock: time.Hour}
		if b, _ := s.Begin(t.Context(), []loginprotection.Counter{other, address}); b.Allowed {
			t.Fatalf("attempt %d of the locked address is allowed", i)
		}
	}
	if b, _ := s.Begin(t.Context(), []loginprotection.Counter{victim}); b.Allowed {
		t.Error("the victim's lock is forgotten")
	}
	if n := s.counters.Len() + s.locked.Len(); n != 2 {
		t.Errorf("%d counters are kept; want 2", n)
	}
}

// TestFloodsOfFailures: failures of other accounts do not make the store forget a lock; only as many other locks do.
func TestFloodsOfFailures(t *testing.T) {
	s, _ := clocked(t)
	counter := func(key string) loginprotection.Counter {
		return loginprotection.Counter{Key: key, Limit: 2, Within: time.Hour, LockFor: time.Hour, MaxLock: time.Hour}
	}
	victim := counter("victim")
	fail(t, s, victim)
	fail(t, s, victim)
	for i := range maxCounters + maxLocked + 100 {
		fail(t, s, counter(fmt.Sprint(i)))
	}
	if b, _ := s.Begin(t.Context(), []loginprotection.Counter{victim}); b.Allowed {
		t.Error("the victim's lock is forgotten")
	}
	if s.counters.Len() > maxCounters || s.locked.Len() > maxLocked {
		t.Errorf("%d counters and %d locked ones are kept", s.counters.Len(), s.locked.Len())
	}
}

// TestSuccessesTakeNoMemory: a counter without failures, and without attempts in progress, is not kept.
func TestSuccessesTakeNoMemory(t *testing.T) {
	s, _ := clocked(t)
	c := loginprotection.Counter{Key: "k", Limit: 2, Within: time.Hour, LockFor: time.Hour, MaxLock: time.Hour}
	for _, outcome := range []loginprotection.Outcome{loginprotection.Release, loginprotection.Clear} {
		fail(t, s, c)
		for range 2 {
			if b, _ := s.Begin(t.Context(), []loginprotection.Counter{c}); !b.Allowed {
				t.Fatalf("refused: %+v", b)
			}
			_, _ = s.End(t.Context(), []loginprotection.Counter{c}, []loginprotection.Outcome{loginprotection.Clear})
		}
		other := loginprotection.Counter{Key: "other", Limit: 2, Within: time.Hour}
		if b, _ := s.Begin(t.Context(), []loginprotection.Counter{other}); !b.Allowed {
			t.Fatalf("refused: %+v", b)
		}
		_, _ = s.End(t.Context(), []loginprotection.Counter{other}, []loginprotection.Outcome{outcome})
		if n := s.counters.Len() + s.locked.Len(); n != 0 {
			t.Errorf("%q: %d counters are kept", outcome, n)
		}
	}
	fail(t, s, c)
	fail(t, s, c) // locked
	_, _ = s.End(t.Context(), []loginprotection.Counter{c}, []loginprotection.Outcome{loginprotection.Clear})
	if n := s.counters.Len() + s.locked.Len(); n != 0 {
		t.Errorf("%d counters are kept after a cleared lock", n)
	}
}
