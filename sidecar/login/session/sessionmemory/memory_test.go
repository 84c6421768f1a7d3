package sessionmemory

import (
	"errors"
	"fmt"
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
	c.Store = New(Config{MaxSessions: limit, Now: c.time})
	return c
}

func TestStore(t *testing.T) {
	sessiontest.Run(t, func(*testing.T) sessiontest.Clock { return newClocked(0) })
}

func TestStoreIsBounded(t *testing.T) {
	c := newClocked(3)
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
	c := newClocked(3 * session.MaxPerSubject)
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
