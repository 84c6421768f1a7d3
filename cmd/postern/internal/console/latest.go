package console

import (
	"context"
	"time"
)

// freshness is how long something that was read is shown again without another read. It bounds the load on the cluster, whatever the
// number of open pages.
const freshness = 2 * time.Second

// latest remembers the last value that was read. At most one read runs at a time.
type latest[T any] struct {
	fresh time.Duration
	now   func() time.Time
	// turn is held by who reads or writes the fields below.
	turn  chan struct{}
	at    time.Time
	value T
}

func newLatest[T any](fresh time.Duration, now func() time.Time) *latest[T] {
	return &latest[T]{fresh: fresh, now: now, turn: make(chan struct{}, 1)}
}

// get returns the last value, or reads a new one. Errors are not remembered.
func (l *latest[T]) get(ctx context.Context, read func(context.Context) (T, error)) (T, error) {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
	defer func() { <-l.turn }()
	if !l.at.IsZero() && l.now().Sub(l.at) < l.fresh {
		return l.value, nil
	}
	v, err := read(ctx)
	if err == nil {
		l.value, l.at = v, l.now()
	}
	return v, err
}
