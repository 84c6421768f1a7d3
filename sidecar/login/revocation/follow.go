package revocation

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// errRoom ends following so that everything is loaded again, now that there may be room for it.
var errRoom = errors.New("there may be room for all revocations again")

// errMaxSilence ends following so that it goes on with another maxSilence.
var errMaxSilence = errors.New("revocations are to be fresher")

// run loads and follows until ctx ends.
func (x *Index) run(ctx context.Context) {
	pause, loaded, away := retryFirst, false, false
	for ctx.Err() == nil {
		began := x.config.Now()
		err := x.step(ctx, loaded)
		if x.config.Now().Sub(began) > retryMost { // it worked for a while
			pause, away = retryFirst, false
		}
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			loaded, away = true, false
			continue
		case errors.Is(err, errMaxSilence):
			continue
		case errors.Is(err, ErrGap), errors.Is(err, errRoom):
			x.config.Log.Info("loading all revocations again", "reason", err)
			loaded = false
		case !away: // once an outage; the metric of the age tells how long it lasts
			x.config.Log.Warn("revocations cannot be followed until the store answers", "error", err)
			away = true
		}
		x.sleep(ctx, pause)
		pause = min(2*pause, retryMost)
	}
}

// step loads the content, or follows what comes after it; a load that worked gives no error.
func (x *Index) step(ctx context.Context, loaded bool) error {
	if loaded {
		return x.follow(ctx)
	}
	began := x.config.Now()
	x.table.begin()
	cursor, err := x.config.Feed.Load(ctx, func(entries []Entry) { x.table.add(entries, x.config.Now()) })
	x.config.Metrics.loaded(err)
	if err != nil {
		return err
	}
	x.table.complete()
	x.counted = began
	x.Apply(cursor, nil)
	x.fresh.Store(max(0, int64(began.Sub(x.start))))
	select {
	case <-x.ready:
	default:
		close(x.ready)
		x.config.Log.Info("revocations are loaded", "position", cursor.Position.String())
	}
	return nil
}

// follow ends with errMaxSilence where Hasten asks for it.
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
