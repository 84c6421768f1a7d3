package backchannel

import (
	"context"
	"errors"
	"sync"
	"time"
)

// maxRemembered bounds the tokens in a Memory. Only providers can fill it: tokens are remembered after they are verified.
const maxRemembered = 1 << 14

// errRemembered refuses a token that cannot be remembered: it could be replayed without being noticed.
var errRemembered = errors.New("remembering logout token: too many are remembered")

// Memory is a Replay for one process without Redis. It is safe for concurrent use.
type Memory struct {
	now func() time.Time

	mu    sync.Mutex
	until map[[2]string]time.Time
}

// NewMemory returns an empty Memory. now defaults to time.Now.
func NewMemory(now func() time.Time) *Memory {
	if now == nil {
		now = time.Now
	}
	return &Memory{now: now, until: map[[2]string]time.Time{}}
}

// First implements Replay.
func (m *Memory) First(_ context.Context, issuer, id string, ttl time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, key := m.now(), [2]string{issuer, id}
	if m.until[key].After(now) {
		return false, nil
	}
	if len(m.until) >= maxRemembered {
		m.sweep(now)
	}
	if len(m.until) >= maxRemembered {
		return false, errRemembered
	}
	m.until[key] = now.Add(ttl)
	return true, nil
}

func (m *Memory) sweep(now time.Time) {
	for key, until := range m.until {
		if !until.After(now) {
			delete(m.until, key)
		}
	}
}

// Forget implements Replay.
func (m *Memory) Forget(_ context.Context, issuer, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.until, [2]string{issuer, id})
	return nil
}
