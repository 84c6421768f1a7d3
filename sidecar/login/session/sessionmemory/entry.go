package sessionmemory

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/posterndev/postern/sidecar/login/session"
)

// end returns when the session ended; zero while it is active.
func (e *entry) end(now time.Time) time.Time {
	if !e.ended.IsZero() {
		return e.ended
	}
	if !now.Before(e.IdleExpiry) {
		return e.IdleExpiry
	}
	return time.Time{}
}

// slide records the use of the session.
func (e *entry) slide(now time.Time) {
	e.LastSeen, e.IdleExpiry = now, now.Add(e.IdleTimeout)
	if e.IdleExpiry.After(e.AbsoluteExpiry) {
		e.IdleExpiry = e.AbsoluteExpiry
	}
	e.forget = e.IdleExpiry.Add(e.linger())
}

// shorten applies shorter timeouts to the session.
func (e *entry) shorten(most session.Timeouts) {
	if most.Idle > 0 {
		e.IdleTimeout = min(e.IdleTimeout, most.Idle)
	}
	if end := e.Created.Add(most.Absolute); most.Absolute > 0 && end.Before(e.AbsoluteExpiry) {
		e.AbsoluteExpiry = end
	}
	for _, end := range []time.Time{e.LastSeen.Add(e.IdleTimeout), e.AbsoluteExpiry} {
		if end.Before(e.IdleExpiry) {
			e.IdleExpiry = end
		}
	}
}

// touch slides unless the session was used within the coalescing interval.
func (s *Store) touch(e *entry, now time.Time, coalesce time.Duration) {
	if now.Sub(e.LastSeen) >= session.Coalesce(coalesce, e.IdleTimeout) {
		s.slide(e, now)
	}
}

// slide records the use of a stored session.
func (s *Store) slide(e *entry, now time.Time) {
	e.slide(now)
	if e.place != nil {
		s.used.MoveToBack(e.place)
	}
}

// linger returns how long the session is stored after its end.
func (e *entry) linger() time.Duration {
	if e.External {
		return e.absoluteTimeout
	}
	return session.Linger
}

// find returns the entry of id, or nil.
func (s *Store) find(id string, now time.Time) *entry {
	e := s.sessions[id]
	if e != nil && !now.Before(e.forget) {
		s.remove(e)
		return nil
	}
	return e
}

// finish ends a session. An ended external session is stored, because the next request would begin it again.
func (s *Store) finish(e *entry, now time.Time) {
	e.forget = now.Add(e.absoluteTimeout)
	s.retire(e, now)
}

// retire removes a session that ended at end from its owner.
func (s *Store) retire(e *entry, end time.Time) {
	s.remove(e)
	if !e.External {
		return
	}
	s.sessions[e.ID] = e
	e.ended = end
	e.Claims, e.Device, e.Owner = nil, session.Device{}, anonymous(e.Owner)
	s.resize(e)
	s.ended[e.Owner] = append(s.ended[e.Owner], e)
	if of := s.ended[e.Owner]; len(of) > session.MaxEnded {
		s.remove(of[0])
	}
}

// anonymous returns a name for an owner that does not show the subject.
func anonymous(o session.Owner) session.Owner {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %s", len(o.Issuer), o.Issuer, o.Subject))
	return session.Owner{Subject: hex.EncodeToString(sum[:])}
}

// retireIdle retires an owner's expired external sessions.
func (s *Store) retireIdle(owner session.Owner, now time.Time) {
	for _, e := range s.owners[owner] {
		if end := e.end(now); e.External && !end.IsZero() {
			s.retire(e, end)
		}
	}
}

func (s *Store) remove(e *entry) {
	delete(s.sessions, e.ID)
	s.bytes -= e.bytes
	e.bytes = 0
	if e.place != nil {
		s.used.Remove(e.place)
		e.place = nil
	}
	if of := s.ended[e.Owner]; of != nil {
		if of = slices.DeleteFunc(of, func(other *entry) bool { return other == e }); len(of) > 0 {
			s.ended[e.Owner] = of
		} else {
			delete(s.ended, e.Owner)
		}
	}
	if of := s.owners[e.Owner]; of != nil {
		delete(of, e.ID)
		if len(of) == 0 {
			delete(s.owners, e.Owner)
		}
	}
}

// resize counts what e takes now.
func (s *Store) resize(e *entry) {
	s.bytes -= e.bytes
	e.bytes = entryBytes + len(e.ID) + len(e.Owner.Issuer) + len(e.Owner.Subject) + len(e.Claims) + len(e.Device.UserAgent) + len(e.Device.Browser) + len(e.Device.OS)
	s.bytes += e.bytes
}

// makeRoom counts e, and reports whether there is room for it. It removes expired entries first. Then, if evict is set, it forgets the
// idlest sessions.
func (s *Store) makeRoom(e *entry, evict bool, now time.Time) bool {
	if now.Sub(s.swept) >= sweepEvery {
		s.swept = now
		for _, e := range s.sessions {
			if !now.Before(e.forget) {
				s.remove(e)
			}
		}
	}
	s.resize(e)
	for evict && s.bytes > s.limit && s.used.Len() > 0 {
		if idlest, ok := s.used.Front().Value.(*entry); ok {
			s.remove(idlest)
			s.onFull(Evicted)
		}
	}
	if s.bytes <= s.limit {
		return true
	}
	s.bytes -= e.bytes
	s.onFull(Rejected)
	return false
}

// Len returns the number of stored sessions, with ended ones, and their estimated memory in bytes.
func (s *Store) Len() (sessions, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions), s.bytes
}
