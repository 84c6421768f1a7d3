package inflightmemory

import (
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/stages/ratelimit/inflight"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/inflight/inflighttest"
)

// clock is a time that a test sets.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func TestStore(t *testing.T) {
	c := &clock{at: time.Unix(1e9, 0)}
	inflighttest.Run(t, func(*testing.T) inflight.Store { return New(c.now) }, c.add)
}

// TestMemory: keys without places are forgotten, also those whose requests never ended.
func TestMemory(t *testing.T) {
	c := &clock{at: time.Unix(1e9, 0)}
	s := New(c.now)
	for i := range 100 {
		key := string(rune('a' + i))
		asks := []inflight.Ask{{Key: key, Max: 1}}
		if free, err := s.Acquire(t.Context(), "1", inflight.Lease, asks); err != nil || !free[0] {
			t.Fatal(free, err)
		}
		if i%2 == 0 {
			_ = s.Release(t.Context(), []inflight.Place{{Key: key, ID: "1"}})
		}
		if _, err := s.Acquire(t.Context(), "1", inflight.Lease, []inflight.Ask{{Key: "refused" + key, Max: 0}}); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.keys) != 50 {
		t.Errorf("%d keys; want 50", len(s.keys))
	}
	c.add(inflight.Lease)
	if err := s.Renew(t.Context(), inflight.Lease, []inflight.Place{{Key: "alive", ID: "1"}}); err != nil {
		t.Fatal(err)
	}
	if len(s.keys) != 1 {
		t.Errorf("%d keys after their lease; want 1", len(s.keys))
	}
}
