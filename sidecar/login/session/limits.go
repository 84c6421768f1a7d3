package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// Bounds of a session in a store.
const (
	// MaxPerSubject is the maximum number of sessions of one owner, and the limit if Limits.MaxPerSubject is 0.
	MaxPerSubject = 256
	// MaxGrace bounds Rotation.Grace.
	MaxGrace = time.Minute
	// MaxRetried is the number of rotated tokens that a family stores.
	MaxRetried = 8
	// MaxClaims, maxSubject and maxIssuer are in bytes.
	MaxClaims  = 4 << 10
	maxSubject = 256
	maxIssuer  = 512
	// maxTimeout keeps every time in microseconds exact in a double, which Lua uses.
	maxTimeout = 10 * 365 * 24 * time.Hour
	// minTimeout is the minimum of both timeouts.
	minTimeout = time.Second
)

// Linger is how long an expired own session is still reported as expired rather than unknown.
const Linger = 10 * time.Minute

// CoalesceShare is the divisor of an idle timeout that gives the longest coalescing interval.
const CoalesceShare = 20

// Coalesce limits an interval in which touches are coalesced to a twentieth of the idle timeout. A session in use ends too early
// by that at most.
func Coalesce(interval, idleTimeout time.Duration) time.Duration {
	return min(interval, idleTimeout/CoalesceShare)
}

// WhenFull is what happens at the session limit.
type WhenFull string

// EvictOldest ends the oldest session. Reject refuses the new one.
const (
	EvictOldest WhenFull = "EvictOldest"
	Reject      WhenFull = "Reject"
)

// Limits are the policy's limits for sessions.
type Limits struct {
	// IdleTimeout and AbsoluteTimeout are at least a second. An idle timeout longer than the absolute one has no effect.
	IdleTimeout, AbsoluteTimeout time.Duration
	// MaxPerSubject is the session limit of an owner, at most 256; 0 means 256. It is exact under concurrent logins.
	MaxPerSubject int
	WhenFull      WhenFull
	// EvictIdlest says that a store in memory that is full forgets the session that was unused for the longest time, of any subject.
	// Otherwise the new session fails with ErrNoRoom. It does not apply to Redis.
	EvictIdlest bool
}

// Timeouts limit the timeouts of existing sessions; zero means no limit. A session that began with shorter timeouts keeps them.
type Timeouts struct{ Idle, Absolute time.Duration }

// MaxEnded is how many ended external sessions of one owner are stored, the latest. Without this limit one user, by repeated
// logins at the external issuer, could use up the space of all others.
const MaxEnded = MaxPerSubject

// Check returns an error that matches ErrInvalid and says what to change.
func (l Limits) Check() error {
	for _, d := range []time.Duration{l.IdleTimeout, l.AbsoluteTimeout} {
		if d < minTimeout || d > maxTimeout {
			return fmt.Errorf("%w: the timeout %s must be between %s and %s", ErrInvalid, d, minTimeout, maxTimeout)
		}
	}
	if l.MaxPerSubject < 0 || l.MaxPerSubject > MaxPerSubject {
		return fmt.Errorf("%w: maxPerSubject %d must be between 0 and %d", ErrInvalid, l.MaxPerSubject, MaxPerSubject)
	}
	if l.WhenFull != EvictOldest && l.WhenFull != Reject {
		return fmt.Errorf("%w: whenFull %q must be %s or %s", ErrInvalid, l.WhenFull, EvictOldest, Reject)
	}
	return nil
}

// Cap returns the session limit of an owner.
func (l Limits) Cap() int {
	if l.MaxPerSubject == 0 {
		return MaxPerSubject
	}
	return l.MaxPerSubject
}

// New describes a new session.
type New struct {
	// ID is from NewID, or from ExternalID for Admit.
	ID string
	Owner
	Device Device
	// Claims is a JSON object of up to MaxClaims bytes, or nil.
	Claims json.RawMessage
	Limits
	// Refresh is the first token of the family, with the same ID; zero for an external session.
	Refresh Refresh
	// Authenticated is when the user logged in at the external issuer; zero if its token does not tell.
	Authenticated time.Time
}

// Check returns an error that matches ErrInvalid if a store must not take n.
func (n New) Check() error {
	switch {
	case !ValidID(n.ID):
		return fmt.Errorf("%w: the id must be from NewID or ExternalID", ErrInvalid)
	case n.Subject == "" || len(n.Subject) > maxSubject || !utf8.ValidString(n.Subject):
		return fmt.Errorf("%w: the subject must be 1 to %d bytes of UTF-8", ErrInvalid, maxSubject)
	case len(n.Issuer) > maxIssuer || !utf8.ValidString(n.Issuer):
		return fmt.Errorf("%w: the issuer is longer than %d bytes or not UTF-8", ErrInvalid, maxIssuer)
	case !n.Refresh.IsZero() && n.Refresh.ID != n.ID:
		return fmt.Errorf("%w: the refresh token belongs to another session", ErrInvalid)
	case len(n.Device.UserAgent) > maxUserAgent || len(n.Device.Browser) > maxName || len(n.Device.OS) > maxName:
		return fmt.Errorf("%w: the device must be from NewDevice", ErrInvalid)
	case len(n.Claims) > MaxClaims:
		return fmt.Errorf("%w: the claims are longer than %d bytes", ErrInvalid, MaxClaims)
	case len(n.Claims) > 0 && (!json.Valid(n.Claims) || bytes.TrimLeft(n.Claims, " \t\r\n")[0] != '{'):
		return fmt.Errorf("%w: the claims are not a JSON object", ErrInvalid)
	}
	return n.Limits.Check()
}

// Check returns an error that matches ErrInvalid if a store must not take r.
func (r Rotation) Check() error {
	if r.Grace < 0 || r.Grace > MaxGrace {
		return fmt.Errorf("%w: the grace %s must be between 0 and %s", ErrInvalid, r.Grace, MaxGrace)
	}
	if err := r.Bind.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}
