package session

import (
	"context"
	"errors"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// seen remembers for a moment what the store said of sessions, so that most requests ask nobody, and asks once for all
// requests of a session that come at once. Its memory is bounded: what is least recently used goes first.
type seen struct {
	config   Config
	sessions *lru.Cache[string, verdict]
	flights  singleflight.Group
}

// verdict is what the store said.
type verdict struct {
	owner  Owner
	device Device
	// err is ErrEnded, ErrFull or ErrInvalid; any other error is not remembered.
	err error
	// until is when the store is asked again.
	until time.Time
	// authenticated is the time of the login that was refused: a later one is no longer the same question.
	authenticated time.Time
	// created is when the session began, as far as that is known.
	created time.Time
}

func newSeen(c Config) (*seen, error) {
	sessions, err := lru.New[string, verdict](c.CacheSize)
	if err != nil {
		return nil, err
	}
	return &seen{config: c, sessions: sessions}, nil
}

// look returns what is known of the claim's session, and asks the store where that is nothing, or where the session was ended
// since. Device is called for a session that may be new.
func (s *seen) look(ctx context.Context, c claim, device func() Device) verdict {
	if v, ok := s.sessions.Get(c.id); ok && s.config.Now().Before(v.until) && v.answers(c) && !s.endedSince(ctx, c, v) {
		return v
	}
	v := s.fly(ctx, c, device)
	if v.err == nil && s.endedSince(ctx, c, v) { // who asked before it was ended waits for another answer
		if v = s.fly(ctx, c, device); v.err == nil && s.surely(ctx, c, v.created) {
			v.err = ErrEnded // it is about to end, or that has failed half-way
		}
	}
	if v.created.IsZero() { // the store did not say
		last, _ := s.sessions.Peek(c.id)
		v.created = last.created
	}
	return v
}

// fly asks the store once for all who ask at the same time. Requests of two logins are two questions.
func (s *seen) fly(ctx context.Context, c claim, device func() Device) verdict {
	key := c.id + c.authenticated.UTC().String() + c.owner.Issuer + "\x00" + c.owner.Subject
	answer, _, _ := s.flights.Do(key, func() (any, error) { return s.ask(context.WithoutCancel(ctx), c, device), nil })
	v, ok := answer.(verdict)
	if !ok {
		return verdict{err: errors.New("asking for a session gave no verdict")}
	}
	return v
}

// endedSince reports whether a session that went on may have been ended on purpose meanwhile. A refusal stays one.
func (s *seen) endedSince(ctx context.Context, c claim, v verdict) bool {
	if s.config.Ended == nil || !c.external || v.err != nil {
		return false
	}
	ended, err := s.config.Ended(ctx, c.id, v.created)
	return ended || err != nil
}

// surely reports whether the session that began then was ended on purpose, or any where that is not known.
func (s *seen) surely(ctx context.Context, c claim, began time.Time) bool {
	if s.config.Ended == nil || !c.external {
		return false
	}
	ended, err := s.config.Ended(ctx, c.id, began)
	return ended && err == nil
}

// answers reports whether a verdict is about the claim: a refusal is not about a later login.
func (v verdict) answers(c claim) bool {
	return v.err == nil || !c.authenticated.After(v.authenticated)
}

func (s *seen) ask(ctx context.Context, c claim, device func() Device) verdict {
	now := s.config.Now()
	var found Session
	var evicted []string
	var err error
	if c.external {
		n := New{ID: c.id, Owner: c.owner, Device: device(), Limits: s.config.Limits, Authenticated: c.authenticated}
		found, evicted, err = s.config.Store.Admit(ctx, n, s.config.TouchEvery)
	} else {
		found, err = s.config.Store.Touch(ctx, c.id, s.config.TouchEvery)
	}
	for _, id := range evicted {
		s.sessions.Remove(id)
		whose := Session{ID: id, Owner: c.owner}.Actor()
		request.Emit(ctx, s.config.Events, event.Event{Kind: event.SessionEvicted, Outcome: event.Success, Actor: whose})
	}
	v := verdict{owner: found.Owner, device: found.Device, err: err, until: now.Add(s.config.CacheFor), authenticated: c.authenticated, created: found.Created}
	switch {
	case err == nil:
		v.until = now.Add(Coalesce(s.config.CacheFor, found.IdleTimeout))
	case !errors.Is(err, ErrEnded) && !errors.Is(err, ErrFull) && !errors.Is(err, ErrInvalid):
		return v
	}
	s.sessions.Add(c.id, v)
	return v
}
