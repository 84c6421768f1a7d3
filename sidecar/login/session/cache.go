package session

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/posterndev/postern/sidecar/httpkit/cache"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// results keeps the store's results for a short time, so that most requests need no round trip, and take no lock. Concurrent requests
// of one session share a round trip. The memory is bounded.
type results struct {
	config   Config
	sessions *cache.Cache[result]
	flights  singleflight.Group
}

// result is the store's result for a session.
type result struct {
	owner  Owner
	device Device
	// err is ErrEnded, ErrFull or ErrInvalid. Any other error is not cached.
	err error
	// until is when the entry expires.
	until time.Time
	// authenticated is the time of the login that was refused. The result does not apply to a later login.
	authenticated time.Time
	// created is when the session began; zero if unknown.
	created time.Time
}

func newResults(c Config) (*results, error) {
	sessions, err := cache.New[result](c.CacheSize, 0)
	if err != nil {
		return nil, err
	}
	return &results{config: c, sessions: sessions}, nil
}

// get returns the result for the claim's session. It reads the store if nothing is cached, or if the session has been ended since.
// It calls device for a session that may be new.
func (k *results) get(ctx context.Context, c claim, device func() Device) result {
	if v, ok := k.sessions.Get(c.id); ok && k.config.Now().Before(v.until) && v.appliesTo(c) && !k.mayHaveEnded(ctx, c, v) {
		return v
	}
	v := k.load(ctx, c, device)
	if v.err == nil && k.mayHaveEnded(ctx, c, v) { // read before the end: read again
		if v = k.load(ctx, c, device); v.err == nil && k.hasEnded(ctx, c, v.created) {
			v.err = ErrEnded // the end is in progress, or has failed half-way
		}
	}
	if v.created.IsZero() { // the store did not return it
		last, _ := k.sessions.Get(c.id)
		v.created = last.created
	}
	return v
}

// load reads the store once for all concurrent requests of a login.
func (k *results) load(ctx context.Context, c claim, device func() Device) result {
	key := c.id + c.authenticated.UTC().String() + c.owner.Issuer + "\x00" + c.owner.Subject
	loaded, _, _ := k.flights.Do(key, func() (any, error) { return k.read(context.WithoutCancel(ctx), c, device), nil })
	v, ok := loaded.(result)
	if !ok {
		return result{err: errors.New("reading session: no result")}
	}
	return v
}

// mayHaveEnded reports whether an active session may have been ended on purpose since it was read. A refusal remains one.
func (k *results) mayHaveEnded(ctx context.Context, c claim, v result) bool {
	if k.config.Ended == nil || !c.external || v.err != nil {
		return false
	}
	ended, err := k.config.Ended(ctx, c.id, v.created)
	return ended || err != nil
}

// hasEnded reports whether the session that began at that time was ended on purpose; for a zero time, any session of that id.
func (k *results) hasEnded(ctx context.Context, c claim, began time.Time) bool {
	if k.config.Ended == nil || !c.external {
		return false
	}
	ended, err := k.config.Ended(ctx, c.id, began)
	return ended && err == nil
}

// appliesTo reports whether v applies to the claim. A refusal does not apply to a later login.
func (v result) appliesTo(c claim) bool {
	return v.err == nil || !c.authenticated.After(v.authenticated)
}

func (k *results) read(ctx context.Context, c claim, device func() Device) result {
	now := k.config.Now()
	var found Session
	var evicted []string
	var err error
	if c.external {
		n := New{ID: c.id, Owner: c.owner, Device: device(), Limits: k.config.Limits, Authenticated: c.authenticated}
		found, evicted, err = k.config.Store.Admit(ctx, n, k.config.TouchEvery)
	} else {
		found, err = k.config.Store.Touch(ctx, c.id, k.config.TouchEvery)
	}
	for _, id := range evicted {
		k.sessions.Remove(id)
		evictedActor := Session{ID: id, Owner: c.owner}.Actor()
		request.Emit(ctx, k.config.Events, event.Event{Kind: event.SessionEvicted, Outcome: event.Success, Actor: evictedActor})
	}
	v := result{owner: found.Owner, device: found.Device, err: err, until: now.Add(k.config.CacheFor), authenticated: c.authenticated, created: found.Created}
	switch {
	case err == nil:
		v.until = now.Add(Coalesce(k.config.CacheFor, found.IdleTimeout))
	case !errors.Is(err, ErrEnded) && !errors.Is(err, ErrFull) && !errors.Is(err, ErrInvalid):
		return v
	}
	k.sessions.Put(c.id, v, 1)
	return v
}
