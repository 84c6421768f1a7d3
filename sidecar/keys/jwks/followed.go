package jwks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posterndev/postern/api/check/keyset"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// Live is a source of a secret that keeps itself up to date, such as a value in Vault. Its Read makes no request after the first
// value: it returns the current value, or an error as soon as the value was deleted or is too old to be used.
type Live interface {
	secret.Source
	// Changed returns a channel that is closed when the value changes, including the first one, or when it is deleted.
	Changed() <-chan struct{}
	// Confirmed returns when the value was last confirmed; zero if there is none.
	Confirmed() time.Time
}

// followed is a Source that follows a Live secret. It has no interval of its own: a new value, a deletion and the end of the value's
// life have an effect at the next lookup. If a new value is not valid, the last good set stays active for maxStale.
type followed struct {
	name     string
	source   Live
	options  keyset.Options
	maxStale time.Duration
	now      func() time.Time
	log      *slog.Logger
	observe  func(result string)
	waiting  *waiting

	life   context.Context
	cancel context.CancelFunc
	// first is closed when the first value was read, or could not be.
	first chan struct{}

	mu    sync.Mutex // held while a value is parsed
	state atomic.Pointer[reading]
}

// reading is the outcome of one read of the source. It is immutable.
type reading struct {
	// changed is the source's channel before the read: if it is another one now, there is a newer value.
	changed <-chan struct{}
	// set is the last good one; nil if the source had no value.
	set *keyset.Set
	// err is why set is not the source's current value, and since when; nil if it is.
	err   error
	since time.Time
	// absent is true if the source had no value.
	absent bool
}

// run parses each new value in the background, so that requests do not wait for it, until the source is released.
func (f *followed) run() {
	for first := true; f.life.Err() == nil; first = false {
		r := f.load(f.life)
		if first {
			close(f.first)
		}
		select {
		case <-f.life.Done():
		case <-r.changed:
		}
	}
}

// load reads and parses the current value, unless that has been done.
func (f *followed) load(ctx context.Context) *reading {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := f.state.Load()
	next := &reading{changed: f.source.Changed()}
	if last != nil && last.changed == next.changed && !last.absent {
		return last
	}
	value, err := f.source.Read(ctx)
	switch {
	case err != nil: // a deleted value is not used any more
		next.err, next.absent = fmt.Errorf("reading key set: %w", err), true
	default:
		next.set, next.err = keyset.ParseSecret(value.Reveal(), f.options)
		if next.err != nil && last != nil {
			next.set = last.set
		}
	}
	if next.err != nil {
		next.since = f.now()
		if last != nil && last.err != nil && !last.absent {
			next.since = last.since
		}
	}
	f.state.Store(next)
	f.report(last, next)
	return next
}

// report counts and logs a new value, or why there is none.
func (f *followed) report(last, next *reading) {
	switch {
	case errors.Is(next.err, context.Canceled): // released
	case next.err != nil:
		f.observe(resultError)
		if last == nil || last.err == nil || last.err.Error() != next.err.Error() {
			f.log.Warn("loading key set failed", "provider", f.name, "lastGoodKept", next.set != nil, "error", next.err)
		}
	default:
		f.observe(resultOK)
		f.log.Info("loaded key set", "provider", f.name, "keys", next.set.Len(), "dropped", len(next.set.Dropped()))
		var before *content
		if last != nil && last.set != nil {
			before = &content{set: last.set}
		}
		logDropped(f.log, f.name, before, next.set)
	}
}

// usable returns the active set, or why there is none.
func (f *followed) usable() (*keyset.Set, error) {
	select {
	case <-f.first:
	default:
		return nil, ErrUnavailable
	}
	if _, err := f.source.Read(f.life); err != nil {
		return nil, unavailable(err)
	}
	r := f.state.Load()
	if r.absent || r.changed != f.source.Changed() {
		r = f.load(f.life)
	}
	if r.set == nil || r.err != nil && f.now().Sub(r.since) > f.maxStale {
		return nil, unavailable(r.err)
	}
	return r.set, nil
}

// Holds returns false for every key while no set is active.
func (f *followed) Holds(key *Key) bool {
	set, err := f.usable()
	return err == nil && set.Holds(key)
}

// Lookup waits, for a limited time, for the first value. An unknown kid causes no request: the source is up to date.
func (f *followed) Lookup(ctx context.Context, kid, alg string) ([]*Key, error) {
	if err := f.waiting.await(ctx, f.first); err != nil {
		return nil, err
	}
	set, err := f.usable()
	if err != nil {
		return nil, err
	}
	return set.Lookup(kid, alg)
}

func (f *followed) status(st *Status, now time.Time) {
	if at := f.source.Confirmed(); !at.IsZero() {
		st.Age = now.Sub(at)
	}
	set, err := f.usable()
	if r := f.state.Load(); err == nil && r != nil {
		err = r.err // a good set is active, but the current value is not valid
	}
	if err != nil {
		st.Err = err.Error()
	}
	if set != nil {
		st.Ready, st.Keys, st.Dropped = true, set.Len(), set.Dropped()
	}
}

func (f *followed) close() { f.cancel() }
