package dpop

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"
)

// Bounds of the proofs in one generation of a Memory: of all clients, and of one key, so that no client takes the memory of the others. An
// entry takes about 40 bytes.
const (
	maxUsed      = 1 << 16
	maxUsedByKey = 1 << 13
)

// ErrFull is the error of a proof that cannot be remembered: it could be replayed without being noticed.
var ErrFull = errors.New("remembering a DPoP proof: too many are remembered")

// usedID identifies a used proof.
type usedID [16]byte

// generation holds the proofs of some time.
type generation struct {
	used  map[usedID]struct{}
	byKey map[usedID]int
}

func newGeneration() generation {
	return generation{used: map[usedID]struct{}{}, byKey: map[usedID]int{}}
}

// Memory remembers used proofs in one process, without Redis. It is safe for concurrent use.
type Memory struct {
	now func() time.Time

	mu sync.Mutex
	// A proof is remembered in current, and until the end of the following generation. A generation is as long as the longest ttl of its proofs.
	current, previous generation
	since             time.Time
	length            time.Duration
}

// NewMemory returns an empty Memory. now defaults to time.Now.
func NewMemory(now func() time.Time) *Memory {
	if now == nil {
		now = time.Now
	}
	return &Memory{now: now, current: newGeneration(), previous: newGeneration(), since: now()}
}

// FirstProof reports whether the key's proof with this jti was not used in the last ttl, and records it.
func (m *Memory) FirstProof(_ context.Context, key Thumbprint, id string, ttl time.Duration) (bool, error) {
	proof := idOf(key, id)
	owner := usedID(key[:])
	m.mu.Lock()
	defer m.mu.Unlock()
	m.length = max(m.length, ttl)
	m.turn(m.now())
	if _, used := m.current.used[proof]; used {
		return false, nil
	}
	if _, used := m.previous.used[proof]; used {
		return false, nil
	}
	if len(m.current.used) >= maxUsed || m.current.byKey[owner] >= maxUsedByKey {
		return false, ErrFull
	}
	m.current.used[proof] = struct{}{}
	m.current.byKey[owner]++
	return true, nil
}

// turn begins a new generation if the current one is over.
func (m *Memory) turn(now time.Time) {
	age := now.Sub(m.since)
	if age < m.length {
		return
	}
	m.previous, m.current = m.current, newGeneration()
	if age >= 2*m.length {
		m.previous = newGeneration()
	}
	m.since = now
}

// idOf returns the start of a hash: an attacker who makes two proofs of one key with the same one only blocks a proof of their own.
func idOf(key Thumbprint, id string) usedID {
	sum := sha256.Sum256(append(key[:len(key):len(key)], id...))
	return usedID(sum[:])
}

// StoredID returns a text of bounded length that identifies a proof, for stores.
func StoredID(key Thumbprint, id string) string {
	sum := sha256.Sum256(append(key[:len(key):len(key)], id...))
	return Thumbprint(sum).String()
}
