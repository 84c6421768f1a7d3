package revocation

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// errRoom ends following, so that everything is loaded again after an overflow.
var errRoom = errors.New("the index may have room for all revocations again")

// errMaxSilence ends following, so that it continues with another maxSilence.
var errMaxSilence = errors.New("the maximum silence has changed")

// run loads the content and follows changes until ctx ends.
func (x *Index) run(ctx context.Context) {
	pause, loaded, unavailable := retryFirst, false, false
	for ctx.Err() == nil {
		began := x.config.Now()
		err := x.step(ctx, loaded)
		if x.config.Now().Sub(began) > retryMost { // it worked for some time
			pause, unavailable = retryFirst, false
		}
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			loaded, unavailable = true, false
			continue
		case errors.Is(err, errMaxSilence):
			continue
		case errors.Is(err, ErrGap), errors.Is(err, errRoom):
			x.config.Log.Info("loading all revocations again", "reason", err)
			loaded = false
		default:
			x.fallBehind()
			if !unavailable { // once per outage; the age metric shows how long it lasts
				x.config.Log.Warn("following revocations failed, retrying", "error", err)
				unavailable = true
			}
		}
		x.sleep(ctx, pause)
		pause = min(2*pause, retryMost)
	}
}

// step loads the content, or follows the changes after it. A successful load returns nil.
func (x *Index) step(ctx context.Context, loaded bool) error {
	if loaded {
		return x.follow(ctx)
	}
	began := x.config.Now()
	x.table.begin()
	cursor, err := x.config.Feed.Load(ctx, func(entries []Entry) { x.table.add(entries, x.config.Now()) })
	x.config.Metrics.loaded(err)
	unproven := errors.Is(err, ErrUnproven)
	if err != nil && !unproven {
		return err
	}
	x.table.complete()
	x.counted = began
	x.Apply(cursor, nil)
	if unproven { // Follow goes on from here, and reports once the store is known to be current
		return x.Doubt(err)
	}
	x.confirm(began)
	return nil
}

// confirm records that the index was complete at a time.
func (x *Index) confirm(at time.Time) {
	x.fresh.Store(max(0, int64(at.Sub(x.start))))
	x.catchUp()
	if x.doubted.Swap(false) {
		x.config.Log.Info("the revocations are known to be current again")
	}
	select {
	case <-x.ready:
	default:
		close(x.ready)
		x.config.Log.Info("revocations loaded", "position", x.cursor.Load().Position.String())
	}
}

// follow ends with errMaxSilence if LowerMaxStaleness asks for it.
func (x *Index) follow(ctx context.Context) error {
	following, cancel := context.WithCancel(ctx)
	defer cancel()
	x.mu.Lock()
	maxSilence := x.maxSilence
	x.interrupt = cancel
	x.mu.Unlock()
	err := x.config.Feed.Follow(following, *x.cursor.Load(), maxSilence, x)
	if following.Err() != nil && ctx.Err() == nil {
		return errMaxSilence
	}
	return err
}

func (x *Index) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
