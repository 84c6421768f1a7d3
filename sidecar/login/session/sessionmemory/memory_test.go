package sessionmemory

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/session/sessiontest"
)

// clocked is a store with a fake clock.
type clocked struct {
	*Store
	mu  sync.Mutex
	now time.Time
}

func (c *clocked) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *clocked) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func newClocked(limit int) *clocked {
	c := &clocked{now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	c.Store = New(Config{MaxBytes: limit, Now: c.time})
	return c
}

func TestStore(t *testing.T) {
	sessiontest.Run(t, func(*testing.T) sessiontest.Clock { return newClocked(0) })
}

func TestStoreIsBounded(t *testing.T) {
	c := newClocked(3 * (entryBytes + 100))
	create := func(subject string) error {
		id := session.NewID()
		_, _, err := c.Create(t.Context(), session.New{ID: id, Owner: session.Owner{Subject: subject}, Refresh: session.NewRefresh(id),
			Limits: session.Limits{IdleTimeout: time.Hour, AbsoluteTimeout: time.Hour, WhenFull: session.Reject}})
		return err
	}
	for _, subject := range []string{"a", "b", "c"} {
		if err := create(subject); err != nil {
			t.Fatal(err)
		}
	}
	if err := create("d"); !errors.Is(err, session.ErrNoRoom) {
		t.Errorf("the fourth: %v", err)
	}
	c.Advance(time.Hour + session.Linger)
	if err := create("d"); err != nil {
		t.Errorf("after the others have ended: %v", err)
	}
	if len(c.sessions) != 1 || len(c.owners) != 1 {
		t.Errorf("%d sessions of %d owners are kept", len(c.sessions), len(c.owners))
	}
}

// TestOneSubjectLeavesRoom: one subject that logs in again and again at an external issuer does not fill the store for others.
func TestOneSubjectLeavesRoom(t *testing.T) {
	c := newClocked(3 * session.MaxPerSubject * (entryBytes + 200))
	admit := func(subject string, n int, maximum int) error {
		_, _, err := c.Admit(t.Context(), session.New{
			ID: session.ExternalID("https://id.example", fmt.Sprint(subject, n)), Owner: session.Owner{Issuer: "https://id.example", Subject: subject},
			Limits: session.Limits{IdleTimeout: time.Minute, AbsoluteTimeout: 1000 * time.Hour, MaxPerSubject: maximum, WhenFull: session.EvictOldest},
		}, time.Second)
		return err
	}
	for n := range 2000 {
		if err := admit("displaced", n, 1); err != nil {
			t.Fatalf("login %d: %v", n, err)
		}
	}
	for n := range 2000 {
		c.Advance(time.Minute)
		if err := admit("idle", n, session.MaxPerSubject); err != nil {
			t.Fatalf("login %d: %v", n, err)
		}
	}
	if err := admit("displaced", 1998, 1); !errors.Is(err, session.ErrEnded) {
		t.Errorf("a session that was displaced recently: %v", err)
	}
	if err := admit("idle", 1998, 1); !errors.Is(err, session.ErrEnded) {
		t.Errorf("a session that reached its idle timeout recently: %v", err)
	}
	if len(c.ended) != 2 || len(c.sessions) > 3*session.MaxPerSubject {
		t.Errorf("%d owners of ended sessions, %d sessions", len(c.ended), len(c.sessions))
	}
	c.Advance(2000 * time.Hour)
	if err := admit("another", 0, 1); err != nil {
		t.Error(err)
	}
}

// TestFullMemory: at the bound a policy forgets the idlest session of any subject, or refuses new ones. Nothing revives an ended one.
func TestFullMemory(t *testing.T) {
	const room = 50
	for name, evict := range map[string]bool{"evict": true, "reject": false} {
		t.Run(name, func(t *testing.T) {
			c := &clocked{now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
			counts := map[Outcome]int{}
			c.Store = New(Config{MaxBytes: room * (entryBytes + 150), Now: c.time, OnFull: func(o Outcome) { counts[o]++ }})
			admit := func(subject string) error {
				c.Advance(time.Second)
				_, _, err := c.Admit(t.Context(), session.New{
					ID: session.ExternalID("https://id.example", subject), Owner: session.Owner{Issuer: "https://id.example", Subject: subject},
					Limits: session.Limits{IdleTimeout: time.Hour, AbsoluteTimeout: 720 * time.Hour, WhenFull: session.EvictOldest, EvictIdlest: evict},
				}, time.Second)
				return err
			}
			ended := session.ExternalID("https://id.example", "logged-out")
			if err := admit("logged-out"); err != nil {
				t.Fatal(err)
			}
			if ok, err := c.End(t.Context(), ended); !ok || err != nil {
				t.Fatal(ok, err)
			}
			var refused int
			for n := range 10 * room {
				if err := admit(fmt.Sprint("person", n)); errors.Is(err, session.ErrNoRoom) {
					refused++
				} else if err != nil {
					t.Fatal(err)
				}
				if n > 0 && !evict {
					continue
				}
				if err := admit("active"); err != nil { // who comes again and again is never the idlest
					t.Fatalf("after %d: %v", n, err)
				}
			}
			sessions, bytes := c.Len()
			if sessions > room+10 || bytes > room*(entryBytes+150) {
				t.Errorf("%d sessions, %d bytes", sessions, bytes)
			}
			if (refused == 0) != evict || counts[Rejected] != refused || (counts[Evicted] > 0) != evict {
				t.Errorf("%d refused; counted %v", refused, counts)
			}
			if err := admit("logged-out"); !errors.Is(err, session.ErrEnded) {
				t.Errorf("a session that was ended: %v", err)
			}
			if c.used.Len() != sessions-1 {
				t.Errorf("%d in the order of use, of %d sessions", c.used.Len(), sessions)
			}
		})
	}
}

// TestBytesAreCounted: what is counted is what the sessions take, within a factor.
func TestBytesAreCounted(t *testing.T) {
	const n = 20000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := New(Config{MaxBytes: 1 << 30})
	for i := range n {
		_, _, err := s.Admit(t.Context(), session.New{
			ID: session.ExternalID("https://id.example", fmt.Sprint(i)), Owner: session.Owner{Issuer: "https://id.example", Subject: fmt.Sprint("person-", i)},
			Limits: session.Limits{IdleTimeout: time.Hour, AbsoluteTimeout: time.Hour, WhenFull: session.Reject},
		}, time.Second)
		if err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	_, counted := s.Len()
	taken := int(after.HeapAlloc - before.HeapAlloc)
	t.Logf("a session takes %d bytes; %d are counted", taken/n, counted/n)
	if taken > counted || counted > 4*taken {
		t.Errorf("%d sessions take %d bytes; %d are counted", n, taken, counted)
	}
	runtime.KeepAlive(s)
}
