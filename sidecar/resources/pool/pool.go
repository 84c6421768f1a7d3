package chain

import (
	"sync"
	"time"
)

// closeDelay is how long a shared value outlives its last snapshot, whose requests may still be under way.
const closeDelay = time.Minute

// pool shares values among snapshots: each is opened once for its name, and closed a while after its last user has left,
// unless another has come meanwhile. It is safe for concurrent use.
type pool[T any] struct {
	delay time.Duration

	mu      sync.Mutex
	entries map[string]*pooled[T]
}

// user says who uses a value: a snapshot, or another shared value, which may outlive the snapshots that wanted it.
type user int

const (
	bySnapshot user = iota
	byShared
)

// pooled is a value with the number of its users.
type pooled[T any] struct {
	value T
	close func()
	users [2]int
	// left counts how often nobody was left, so that only the last of several delays closes.
	left int
}

func (e *pooled[T]) unused() bool { return e.users == [2]int{} }

func newPool[T any](delay time.Duration) *pool[T] {
	return &pool[T]{delay: delay, entries: map[string]*pooled[T]{}}
}

// acquire returns the value of that name, which open makes where there is none. The caller calls release once.
func (p *pool[T]) acquire(name string, u user, open func() (T, func(), error)) (value T, release func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.entries[name]
	if e == nil {
		e = &pooled[T]{}
		if e.value, e.close, err = open(); err != nil {
			return value, nil, err
		}
		p.entries[name] = e
	}
	e.users[u]++
	return e.value, sync.OnceFunc(func() { p.release(name, u, e) }), nil
}

func (p *pool[T]) release(name string, u user, e *pooled[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.users[u]--; e.unused() {
		e.left++
		left := e.left
		time.AfterFunc(p.delay, func() { p.closeIdle(name, e, left) })
	}
}

func (p *pool[T]) closeIdle(name string, e *pooled[T], left int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !e.unused() || e.left != left || p.entries[name] != e {
		return
	}
	delete(p.entries, name)
	go e.close() // it may wait for what is under way
}

// inUse are the values that a snapshot uses itself.
func (p *pool[T]) inUse() []T {
	p.mu.Lock()
	defer p.mu.Unlock()
	var values []T
	for _, e := range p.entries {
		if e.users[bySnapshot] > 0 {
			values = append(values, e.value)
		}
	}
	return values
}

// closeAll closes every value, used or not, and waits for it: the process ends.
func (p *pool[T]) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, e := range p.entries {
		delete(p.entries, name)
		e.close()
	}
}
