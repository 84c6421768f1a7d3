// Package flight shares one run of a function among concurrent callers. Unlike singleflight, a caller never gets the result of a
// run that started before it called, so the result is as new as one of its own.
package flight

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Config configures a Group.
type Config struct {
	// Slots bounds the runs of all keys at once.
	Slots int
	// Timeout bounds one run, including the wait for a slot.
	Timeout time.Duration
	// Pace is the shortest time between the starts of two runs of one key; 0 for none.
	Pace time.Duration
}

// Group shares runs by key. At most one run of a key is in progress, and at most one waits, whatever the number of callers.
type Group[K comparable, V any] struct {
	cfg   Config
	slots chan struct{}
	mu    sync.Mutex
	lanes map[K]*lane[V]
}

// lane is the run of a key that has not started yet; nil if there is none.
type lane[V any] struct{ next *run[V] }

type run[V any] struct {
	do    func(context.Context) (V, error)
	done  chan struct{}
	value V
	err   error
}

// New returns a Group.
func New[K comparable, V any](cfg Config) *Group[K, V] {
	return &Group[K, V]{cfg: cfg, slots: make(chan struct{}, cfg.Slots), lanes: map[K]*lane[V]{}}
}

// Do returns the result of a run that starts after the call. Callers of the same key must pass functions that do the same. The
// run's context does not end with ctx, because others wait for it too. The value is shared, and must not be changed.
func (g *Group[K, V]) Do(ctx context.Context, key K, do func(context.Context) (V, error)) (V, error) {
	r := g.join(ctx, key, do)
	select {
	case <-r.done:
		return r.value, r.err
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}

func (g *Group[K, V]) join(ctx context.Context, key K, do func(context.Context) (V, error)) *run[V] {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.lanes[key]
	if l != nil && l.next != nil {
		return l.next
	}
	r := &run[V]{do: do, done: make(chan struct{})}
	if l != nil {
		l.next = r
		return r
	}
	l = &lane[V]{next: r}
	g.lanes[key] = l
	go g.fly(context.WithoutCancel(ctx), key, l)
	return r
}

// fly runs what is asked for the key, one run after the other, until nobody asks.
func (g *Group[K, V]) fly(ctx context.Context, key K, l *lane[V]) {
	for {
		g.mu.Lock()
		if l.next == nil {
			delete(g.lanes, key)
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		started := time.Now()
		g.run(ctx, l)
		time.Sleep(g.cfg.Pace - time.Since(started))
	}
}

// run waits for a slot and then closes the run to new callers, who need a run that starts later.
func (g *Group[K, V]) run(ctx context.Context, l *lane[V]) {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Timeout)
	defer cancel()
	var err error
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
	case <-ctx.Done():
		err = fmt.Errorf("waiting for other reads to finish: %w", ctx.Err())
	}
	g.mu.Lock()
	r := l.next
	l.next = nil
	g.mu.Unlock()
	defer close(r.done)
	if r.err = err; err == nil {
		r.value, r.err = r.do(ctx)
	}
}
