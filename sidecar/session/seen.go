package session

import (
	"context"
	"errors"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"
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
	// ended says that Config.Ended held already when the store was asked.
	ended bool
}

func newSeen(c Config) (*seen, error) {
	sessions, err := lru.New[string, verdict](c.CacheSize)
	if err != nil {
		return nil, err
	}
	return &seen{config: c, sessions: sessions}, nil
}

// look returns what is known of the claim's session, and asks the store where that is nothing, or where the session may have
// been ended since. Device is called for a session that may be new.
func (s *seen) look(ctx context.Context, c claim, ended bool, device func() Device) verdict {
	if v, ok := s.sessions.Get(c.id); ok && s.config.Now().Before(v.until) && v.answers(c) && (v.ended || !ended) {
		return v
	}
	// Requests of two logins are two questions.
	key := c.id + c.authenticated.UTC().String() + c.owner.Issuer + "\x00" + c.owner.Subject
	if ended {
		key += "\x00ended" // who asked before it was known waits for another answer
	}
	answer, _, _ := s.flights.Do(key, func() (any, error) { return s.ask(context.WithoutCancel(ctx), c, ended, device), nil })
	v, ok := answer.(verdict)
	if !ok {
		return verdict{err: errors.New("asking for a session gave no verdict")}
	}
	return v
}

// answers reports whether a verdict is about the claim: a refusal is not about a later login.
func (v verdict) answers(c claim) bool {
	return v.err == nil || !c.authenticated.After(v.authenticated)
}

func (s *seen) ask(ctx context.Context, c claim, ended bool, device func() Device) verdict {
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
	}
	v := verdict{owner: found.Owner, device: found.Device, err: err, until: now.Add(s.config.CacheFor), authenticated: c.authenticated, ended: ended}
	switch {
	case err == nil:
		v.until = now.Add(Coalesce(s.config.CacheFor, found.IdleTimeout))
	case !errors.Is(err, ErrEnded) && !errors.Is(err, ErrFull) && !errors.Is(err, ErrInvalid):
		return v
	}
	s.sessions.Add(c.id, v)
	return v
}
