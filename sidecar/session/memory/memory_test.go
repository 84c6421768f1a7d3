package memory

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/session"
	"github.com/posterndev/postern/sidecar/session/storetest"
)

// clocked is a store whose clock stands still.
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
	storetest.Run(t, func(*testing.T) storetest.Clock { return newClocked(0) })
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
