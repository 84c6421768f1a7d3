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
	mu      sync.Mutex
	entries map[string]*pooled[T]
}

// pooled is a value with the number of snapshots that use it.
type pooled[T any] struct {
	value T
	close func()
	users int
}

func newPool[T any]() *pool[T] { return &pool[T]{entries: map[string]*pooled[T]{}} }

// acquire returns the value of that name, which open makes where there is none. The caller calls release once.
func (p *pool[T]) acquire(name string, open func() (T, func(), error)) (value T, release func(), err error) {
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
	e.users++
	return e.value, sync.OnceFunc(func() { p.release(name, e) }), nil
}

func (p *pool[T]) release(name string, e *pooled[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.users--; e.users == 0 {
		time.AfterFunc(closeDelay, func() { p.closeIdle(name, e) })
	}
}

func (p *pool[T]) closeIdle(name string, e *pooled[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.users > 0 || p.entries[name] != e {
		return
	}
	delete(p.entries, name)
	go e.close() // it may wait for what is under way
}

// inUse are the values that a snapshot uses.
func (p *pool[T]) inUse() []T {
	p.mu.Lock()
	defer p.mu.Unlock()
	var values []T
	for _, e := range p.entries {
		if e.users > 0 {
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
