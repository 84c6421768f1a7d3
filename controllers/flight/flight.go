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
	// Overlap bounds the runs of one key at once; 0 means 1. A caller then does not wait for the whole run that is in progress
	// before its own starts.
	Overlap int
	// Timeout bounds one run, including the wait for a slot.
	Timeout time.Duration
	// Pace is the shortest time between the starts of two runs of one key; 0 for none.
	Pace time.Duration
}

// Group shares runs by key. At most Overlap runs of a key are in progress, and at most one waits, whatever the number of callers.
type Group[K comparable, V any] struct {
	cfg   Config
	slots chan struct{}
	mu    sync.Mutex
	lanes map[K]*lane[V]
}

// lane holds the runs of a key. It is kept until the last of them ended and the pace allows another.
type lane[V any] struct {
	// next has not started yet; nil if there is none.
	next *run[V]
	// runs counts next and those in progress.
	runs int
	// room bounds those in progress.
	room chan struct{}
	// earliest is when the next may start.
	earliest time.Time
}

type run[V any] struct {
	do    func(context.Context) (V, error)
	done  chan struct{}
	value V
	err   error
}

// New returns a Group.
func New[K comparable, V any](cfg Config) *Group[K, V] {
	cfg.Overlap = max(cfg.Overlap, 1)
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
	if l == nil {
		l = &lane[V]{room: make(chan struct{}, g.cfg.Overlap)}
		g.lanes[key] = l
	}
	if l.next == nil {
		l.next = &run[V]{do: do, done: make(chan struct{})}
		l.runs++
		go g.fly(context.WithoutCancel(ctx), key, l)
	}
	return l.next
}

// fly runs what is asked for the key when the pace and the other runs allow it.
func (g *Group[K, V]) fly(ctx context.Context, key K, l *lane[V]) {
	g.mu.Lock()
	earliest := l.earliest // only the start of a run changes it, and none starts before this one
	g.mu.Unlock()
	time.Sleep(time.Until(earliest))
	started := g.run(ctx, l)
	time.Sleep(time.Until(started.Add(g.cfg.Pace)))
	g.mu.Lock()
	defer g.mu.Unlock()
	if l.runs--; l.runs == 0 {
		delete(g.lanes, key)
	}
}

// run waits for the lane and for a slot, closes the run to new callers, who need one that starts later, and returns when it started.
func (g *Group[K, V]) run(ctx context.Context, l *lane[V]) time.Time {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Timeout)
	defer cancel()
	var err error
	for _, room := range []chan struct{}{l.room, g.slots} {
		select {
		case room <- struct{}{}:
			defer func() { <-room }()
			continue
		case <-ctx.Done():
			err = fmt.Errorf("waiting for other reads to finish: %w", ctx.Err())
		}
		break
	}
	started := time.Now()
	g.mu.Lock()
	r := l.next
	l.next, l.earliest = nil, started.Add(g.cfg.Pace)
	g.mu.Unlock()
	defer close(r.done)
	if r.err = err; err == nil {
		r.value, r.err = r.do(ctx)
	}
	return started
}
