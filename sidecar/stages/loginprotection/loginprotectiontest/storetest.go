// Package loginprotectiontest is the test suite of the implementations of loginprotection.Store.
package loginprotectiontest

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/stages/loginprotection"
	"github.com/posterndev/postern/sidecar/store/keyspace"
)

// space has the form of real keys: ACLs allow no others.
var space = keyspace.New("login", "shop/orders")

var made atomic.Int64

// counter returns a counter with a key of its own.
func counter(limit int, lock, longest time.Duration) loginprotection.Counter {
	return loginprotection.Counter{
		Key: space.Key("account", "Login", fmt.Sprint(made.Add(1))), Limit: limit, Within: time.Hour, LockFor: lock, MaxLock: longest,
	}
}

// Run tests a store. newStore returns one that may share its state with others of the same test.
func Run(t *testing.T, newStore func(*testing.T) loginprotection.Store) {
	tests := map[string]func(*testing.T, loginprotection.Store){
		"failures lock": failuresLock, "a success clears": successClears, "pending attempts count": pendingCounts, "all or nothing": allOrNothing,
		"without lock": withoutLock, "locks end and grow": locksEnd, "failures outlast locks": failuresOutlastLocks, "values": values, "replicas": replicas,
		"forgetting keeps attempts in progress": forgetKeepsPending, "looking changes nothing": look,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(t, newStore(t)) })
	}
}

func begin(t *testing.T, s loginprotection.Store, counters ...loginprotection.Counter) loginprotection.Begun {
	t.Helper()
	b, err := s.Begin(t.Context(), counters)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func end(t *testing.T, s loginprotection.Store, outcome loginprotection.Outcome, counters ...loginprotection.Counter) []bool {
	t.Helper()
	outcomes := slices.Repeat([]loginprotection.Outcome{outcome}, len(counters))
	locked, err := s.End(t.Context(), counters, outcomes)
	if err != nil || len(locked) != len(counters) {
		t.Fatal(locked, err)
	}
	return locked
}

func fail(t *testing.T, s loginprotection.Store, c loginprotection.Counter) (locked bool) {
	t.Helper()
	if b := begin(t, s, c); !b.Allowed {
		t.Fatalf("refused: %+v", b)
	}
	return end(t, s, loginprotection.Fail, c)[0]
}

func failuresLock(t *testing.T, s loginprotection.Store) {
	c := counter(3, time.Minute, time.Hour)
	for i := range 3 {
		if b := begin(t, s, c); !b.Allowed || b.Failures != i {
			t.Fatalf("attempt %d: %+v", i, b)
		}
		if locked := end(t, s, loginprotection.Fail, c)[0]; locked != (i == 2) {
			t.Fatalf("failure %d locks: %v", i, locked)
		}
	}
	if b := begin(t, s, c); b.Allowed || b.Wait <= 50*time.Second || b.Wait > time.Minute {
		t.Errorf("a locked key: %+v", b)
	}
	if b := begin(t, s, counter(3, time.Minute, time.Hour)); !b.Allowed {
		t.Errorf("another key: %+v", b)
	}
}

func look(t *testing.T, s loginprotection.Store) {
	unknown, failed, locked := counter(3, time.Minute, time.Hour), counter(3, time.Minute, time.Hour), counter(1, time.Minute, time.Hour)
	fail(t, s, failed)
	fail(t, s, failed)
	fail(t, s, locked)
	begin(t, s, failed)
	for range 2 {
		states, err := s.Look(t.Context(), []loginprotection.Counter{unknown, failed, locked})
		if err != nil || len(states) != 3 || states[0] != (loginprotection.State{}) {
			t.Fatalf("%+v, %v", states, err)
		}
		if f := states[1]; f.Failures != 2 || f.Latest.IsZero() || f.Locks != 0 || !f.Until.IsZero() {
			t.Errorf("two failures: %+v", f)
		}
		if l := states[2]; l.Failures != 0 || !l.Latest.IsZero() || l.Locks != 1 || l.Until.IsZero() {
			t.Errorf("a lock: %+v", l)
		}
		if d := states[2].Until.Sub(states[1].Latest); d < 50*time.Second || d > 70*time.Second {
			t.Errorf("the lock ends %s after the last failure of another key", d)
		}
	}
	end(t, s, loginprotection.Fail, failed)
	if states, err := s.Look(t.Context(), []loginprotection.Counter{failed}); err != nil || states[0].Locks != 1 {
		t.Errorf("after the pending attempt: %+v, %v", states, err)
	}
}

func successClears(t *testing.T, s loginprotection.Store) {
	c := counter(3, time.Minute, time.Hour)
	for range 3 {
		fail(t, s, c)
		fail(t, s, c)
		begin(t, s, c)
		end(t, s, loginprotection.Clear, c)
	}
	begin(t, s, c)
	end(t, s, loginprotection.Release, c)
	if b := begin(t, s, c); !b.Allowed || b.Failures != 0 {
		t.Errorf("%+v", b)
	}
}

// forgetKeepsPending: attempts in progress count on after the failures and locks are forgotten, so that they are no further guesses.
func forgetKeepsPending(t *testing.T, s loginprotection.Store) {
	locked := counter(1, time.Minute, time.Hour)
	fail(t, s, locked)
	c := counter(3, time.Minute, time.Hour)
	fail(t, s, c)
	begin(t, s, c)
	begin(t, s, c)
	end(t, s, loginprotection.Forget, c, locked, counter(3, time.Minute, time.Hour))
	if b := begin(t, s, locked); !b.Allowed || b.Failures != 0 {
		t.Errorf("a key that was locked: %+v", b)
	}
	if b := begin(t, s, c); !b.Allowed || b.Failures != 0 {
		t.Errorf("a third attempt beside two: %+v", b)
	}
	if b := begin(t, s, c); b.Allowed {
		t.Errorf("a fourth attempt beside three: %+v", b)
	}
}

func pendingCounts(t *testing.T, s loginprotection.Store) {
	c := counter(3, time.Minute, time.Hour)
	for range 3 {
		begin(t, s, c)
	}
	if b := begin(t, s, c); b.Allowed || b.Wait <= 0 || b.Wait > 2*time.Second {
		t.Errorf("a fourth attempt beside three: %+v", b)
	}
	end(t, s, loginprotection.Release, c)
	if b := begin(t, s, c); !b.Allowed {
		t.Errorf("after one ended: %+v", b)
	}
}

func allOrNothing(t *testing.T, s loginprotection.Store) {
	locked, open := counter(1, time.Minute, time.Hour), counter(1, time.Minute, time.Hour)
	fail(t, s, locked)
	for range 3 {
		if b := begin(t, s, open, locked); b.Allowed || b.Blocking != 1 {
			t.Fatalf("%+v; want the second counter to refuse", b)
		}
	}
	if b := begin(t, s, open); !b.Allowed {
		t.Errorf("refused attempts were counted: %+v", b)
	}
}

func withoutLock(t *testing.T, s loginprotection.Store) {
	c := counter(2, 0, 0)
	c.Within = 2 * time.Second
	if fail(t, s, c) || !fail(t, s, c) || end(t, s, loginprotection.Fail, c)[0] {
		t.Error("not exactly the failure that reaches the limit is reported")
	}
	if b := begin(t, s, c); b.Allowed || b.Wait <= 0 || b.Wait > c.Within {
		t.Errorf("a used up window: %+v", b)
	}
	eventually(t, "the window to move on", func() bool { return begin(t, s, c).Allowed })
}

func locksEnd(t *testing.T, s loginprotection.Store) {
	c := counter(1, 50*time.Millisecond, 120*time.Millisecond)
	var waits []time.Duration
	for range 4 {
		eventually(t, "the lock to end", func() bool {
			b := begin(t, s, c)
			return b.Allowed
		})
		end(t, s, loginprotection.Fail, c)
		waits = append(waits, begin(t, s, c).Wait)
	}
	for i, most := range []time.Duration{50, 100, 120, 120} {
		if waits[i] > most*time.Millisecond {
			t.Errorf("lock %d lasts %s; want at most %d ms", i, waits[i], most)
		}
	}
	if waits[0] > 50*time.Millisecond || waits[3] <= 50*time.Millisecond {
		t.Errorf("the locks do not grow: %v", waits)
	}
}

// failuresOutlastLocks: failures that have locked a key are still told after the lock, so that delays and challenges go on.
func failuresOutlastLocks(t *testing.T, s loginprotection.Store) {
	c := counter(2, 50*time.Millisecond, time.Hour)
	fail(t, s, c)
	fail(t, s, c)
	eventually(t, "the lock to end", func() bool {
		b := begin(t, s, c)
		if b.Allowed && b.Failures != 2 {
			t.Errorf("%d failures after a lock; want 2", b.Failures)
		}
		return b.Allowed
	})
	end(t, s, loginprotection.Clear, c)
	if b := begin(t, s, c); !b.Allowed || b.Failures != 0 {
		t.Errorf("after a success: %+v", b)
	}
}

func values(t *testing.T, s loginprotection.Store) {
	if _, err := s.Put(t.Context(), space.Key("candidate", "login", fmt.Sprint(made.Add(1))), []byte("x"), time.Hour, false); err != nil {
		t.Error(err)
	}
	key := space.Key("sample", "login", fmt.Sprint(made.Add(1)))
	if got, err := s.Get(t.Context(), key); err != nil || got != nil {
		t.Fatalf("%q, %v before it is stored", got, err)
	}
	for _, tt := range []struct {
		value  string
		absent bool
		want   string
	}{{"one", true, "one"}, {"two", true, "one"}, {"three", false, "three"}} {
		if got, err := s.Put(t.Context(), key, []byte(tt.value), time.Minute, tt.absent); err != nil || string(got) != tt.want {
			t.Errorf("Put(%q, %v) = %q, %v; want %q", tt.value, tt.absent, got, err, tt.want)
		}
		if got, err := s.Get(t.Context(), key); err != nil || !bytes.Equal(got, []byte(tt.want)) {
			t.Errorf("Get = %q, %v; want %q", got, err, tt.want)
		}
	}
}

// replicas: attempts in parallel pass exactly as often as the limit says.
func replicas(t *testing.T, s loginprotection.Store) {
	c := counter(10, time.Minute, time.Hour)
	var passed atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 8 {
				b, err := s.Begin(t.Context(), []loginprotection.Counter{c})
				if err != nil {
					t.Error(err)
				} else if b.Allowed {
					passed.Add(1)
					if _, err := s.End(t.Context(), []loginprotection.Counter{c}, []loginprotection.Outcome{loginprotection.Fail}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	if passed.Load() != 10 {
		t.Errorf("%d passed; want 10", passed.Load())
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("waiting for %s", what)
}
