// Package pool shares values that are costly to open among users that come and go: connections, clients, key sets. It is
// the one reference-counted pool of the sidecar, and imports nothing of it.
package pool

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// ErrClosed is returned by Acquire after CloseAll.
var ErrClosed = errors.New("the pool is closed")

// Pool opens one value for each key and counts its users. It closes the value when the delay has passed after the
// last user released it, unless another user has acquired it in the meantime. It is safe for concurrent use.
type Pool[K comparable, T any] struct {
	delay time.Duration

	mu      sync.Mutex
	closed  bool
	entries map[K]*entry[T]
	opened  int
	// closing are the values that are being closed after their delay.
	closing sync.WaitGroup
}

// User is the kind of a user of a value.
type User int

const (
	// Direct is a user that counts for InUse, such as the active snapshot.
	Direct User = iota
	// Nested is another shared value, which may outlive the direct users that wanted it.
	Nested
)

// entry is a value with the number of its users.
type entry[T any] struct {
	value T
	close func()
	users [2]int
	// order is the number of values that were opened before this one.
	order int
	// idle counts how often the last user released the value, so that only the latest of several delays closes it.
	idle int
}

func (e *entry[T]) unused() bool { return e.users == [2]int{} }

// New returns an empty pool. With a delay of zero, the last release closes the value before it returns.
func New[K comparable, T any](delay time.Duration) *Pool[K, T] {
	return &Pool[K, T]{delay: delay, entries: map[K]*entry[T]{}}
}

// Acquire returns the value of key. If there is none, it calls open, which returns the value and the function that
// closes it. The caller calls release when it no longer uses the value; further calls have no effect. Acquire returns
// ErrClosed after CloseAll, or the error of open.
//
// open runs with the pool locked, and so does close if the delay is zero: they may use other pools, but not this one.
func (p *Pool[K, T]) Acquire(key K, user User, open func() (value T, close func(), err error)) (value T, release func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return value, nil, ErrClosed
	}
	e := p.entries[key]
	if e == nil {
		e = &entry[T]{order: p.opened}
		if e.value, e.close, err = open(); err != nil {
			return value, nil, err
		}
		p.opened++
		p.entries[key] = e
	}
	e.users[user]++
	return e.value, sync.OnceFunc(func() { p.release(key, user, e) }), nil
}

func (p *Pool[K, T]) release(key K, user User, e *entry[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.users[user]--
	if !e.unused() || p.entries[key] != e { // CloseAll may have closed it
		return
	}
	if p.delay == 0 {
		delete(p.entries, key)
		e.close()
		return
	}
	e.idle++
	idle := e.idle
	time.AfterFunc(p.delay, func() { p.closeIdle(key, e, idle) })
}

// closeIdle closes e, unless it was acquired after its delay began. It calls close without the lock, because closing
// may wait for work in progress.
func (p *Pool[K, T]) closeIdle(key K, e *entry[T], idle int) {
	p.mu.Lock()
	expired := e.unused() && e.idle == idle && p.entries[key] == e
	if expired {
		delete(p.entries, key)
		p.closing.Add(1)
	}
	p.mu.Unlock()
	if expired {
		defer p.closing.Done()
		e.close()
	}
}

// InUse returns the values that have a direct user, the last opened one first.
func (p *Pool[K, T]) InUse() []T {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []*entry[T]
	for _, e := range p.entries {
		if e.users[Direct] > 0 {
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(a, b *entry[T]) int { return b.order - a.order })
	values := make([]T, len(found))
	for i, e := range found {
		values[i] = e.value
	}
	return values
}

// Len returns the number of open values, whether or not they have users.
func (p *Pool[K, T]) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.entries)
}

// CloseAll closes every value, used or not, and returns when all are closed. Later calls of Acquire fail.
func (p *Pool[K, T]) CloseAll() {
	p.mu.Lock()
	p.closed = true
	for key, e := range p.entries {
		delete(p.entries, key)
		e.close()
	}
	p.mu.Unlock()
	p.closing.Wait() // unlocked: closeIdle takes the lock before it finds that there is nothing to close
}
