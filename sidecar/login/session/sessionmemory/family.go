package sessionmemory

import (
	"context"
	"crypto/subtle"
	"time"

	"github.com/posterndev/postern/sidecar/login/session"
)

// family is the state of a session's refresh tokens.
type family struct {
	current session.Hash
	// turns are the latest rotations, the oldest first.
	turns []turn
}

// turn is one rotation: the token, the time and the salt.
type turn struct {
	hash session.Hash
	at   time.Time
	salt session.Salt
}

func same(a, b session.Hash) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }

// Rotate implements session.Store.
func (s *Store) Rotate(_ context.Context, r session.Rotation) (session.Rotated, error) {
	if err := r.Check(); err != nil {
		return session.Rotated{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	e := s.find(r.Presented.ID, now)
	if e == nil || !e.Owns(r.Presented) {
		return session.Rotated{Outcome: session.OutcomeUnknown}, nil
	}
	if !e.end(now).IsZero() {
		return session.Rotated{Outcome: session.OutcomeExpired, Session: e.Session}, nil
	}
	outcome, salts := e.judge(r.Presented.Hash(), now, r.Grace)
	switch {
	case outcome == session.OutcomeReused:
		s.finish(e, now)
		return session.Rotated{Outcome: outcome, Session: e.Session}, nil
	case r.Bind.Tie(e.Device) != r.Bind.Tie(r.Device):
		return session.Rotated{Outcome: session.OutcomeBound, Session: e.Session}, nil
	case outcome == session.OutcomeRotated:
		e.rotate(r, now)
		salts = []session.Salt{r.Salt}
	}
	s.slide(e, now)
	return session.Rotated{Outcome: outcome, Session: e.Session, Current: r.Presented.Follow(salts)}, nil
}

// judge returns the outcome for a token of the family, and the salts from a retried token to the current one.
func (f *family) judge(hash session.Hash, now time.Time, grace time.Duration) (session.Outcome, []session.Salt) {
	if same(hash, f.current) {
		return session.OutcomeRotated, nil
	}
	for i, t := range f.turns {
		if !same(hash, t.hash) || !now.Before(t.at.Add(grace)) {
			continue
		}
		var salts []session.Salt
		for _, later := range f.turns[i:] {
			salts = append(salts, later.salt)
		}
		return session.OutcomeRetried, salts
	}
	return session.OutcomeReused, nil
}

// rotate makes the successor of the current token current, and drops turns older than the grace.
func (f *family) rotate(r session.Rotation, now time.Time) {
	turns := append(f.turns, turn{hash: f.current, at: now, salt: r.Salt})
	first := max(0, len(turns)-session.MaxRetried)
	for first < len(turns) && !now.Before(turns[first].at.Add(r.Grace)) {
		first++
	}
	f.turns = append([]turn(nil), turns[first:]...)
	f.current = r.Presented.Next(r.Salt).Hash()
}
