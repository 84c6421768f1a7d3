package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// Bounds of what a store keeps.
const (
	// MaxPerSubject is the most sessions of one owner, and what a cap of 0 means.
	MaxPerSubject = 256
	// MaxGrace bounds Rotation.Grace.
	MaxGrace = time.Minute
	// MaxRetried is the number of rotated tokens that a family remembers.
	MaxRetried = 8
	// MaxClaims, maxSubject and maxIssuer are in bytes.
	MaxClaims  = 4 << 10
	maxSubject = 256
	maxIssuer  = 512
	// maxTimeout keeps every time in microseconds exact in a double, as Lua computes.
	maxTimeout = 10 * 365 * 24 * time.Hour
	// minTimeout is the shortest idle and absolute timeout.
	minTimeout = time.Second
)

// Linger is for how long an ended session of our own is still known to have expired.
const Linger = 10 * time.Minute

// CoalesceShare: one in so many parts of an idle timeout may be lost by coalescing.
const CoalesceShare = 20

// Coalesce cuts an interval in which touches are coalesced to a twentieth of the idle timeout, so that a session in use
// never ends by more than that too early.
func Coalesce(interval, idleTimeout time.Duration) time.Duration {
	return min(interval, idleTimeout/CoalesceShare)
}

// WhenFull is what happens at the cap.
type WhenFull string

// EvictOldest ends the session that was created first; Reject refuses the new one.
const (
	EvictOldest WhenFull = "EvictOldest"
	Reject      WhenFull = "Reject"
)

// Limits are the policy's rules for sessions.
type Limits struct {
	// IdleTimeout and AbsoluteTimeout are at least a second; an idle timeout beyond the absolute one never takes effect.
	IdleTimeout, AbsoluteTimeout time.Duration
	// MaxPerSubject is the cap, at most 256; 0 is that bound. It holds exactly, whoever logs in at once.
	MaxPerSubject int
	WhenFull      WhenFull
}

// Timeouts are the longest that sessions may last, also those that began while longer ones held; zero for no bound. A session
// that began with shorter ones keeps to these.
type Timeouts struct{ Idle, Absolute time.Duration }

// MaxEnded is how many ended sessions of one owner at an external issuer are remembered, the latest: else one person, who logs in
// there again and again, would leave no room for anybody.
const MaxEnded = MaxPerSubject

// Check returns an ErrInvalid that says what to change.
func (l Limits) Check() error {
	for _, d := range []time.Duration{l.IdleTimeout, l.AbsoluteTimeout} {
		if d < minTimeout || d > maxTimeout {
			return fmt.Errorf("%w: the timeout %s is not between %s and %s", ErrInvalid, d, minTimeout, maxTimeout)
		}
	}
	if l.MaxPerSubject < 0 || l.MaxPerSubject > MaxPerSubject {
		return fmt.Errorf("%w: the cap %d is not between 0 and %d", ErrInvalid, l.MaxPerSubject, MaxPerSubject)
	}
	if l.WhenFull != EvictOldest && l.WhenFull != Reject {
		return fmt.Errorf("%w: what to do at the cap is %q, not %s or %s", ErrInvalid, l.WhenFull, EvictOldest, Reject)
	}
	return nil
}

// Cap is the number of sessions that an owner may have.
func (l Limits) Cap() int {
	if l.MaxPerSubject == 0 {
		return MaxPerSubject
	}
	return l.MaxPerSubject
}

// New describes a session to begin.
type New struct {
	// ID is NewID's, or ExternalID's for Admit.
	ID string
	Owner
	Device Device
	// Claims is a JSON object of up to MaxClaims bytes, or nil.
	Claims json.RawMessage
	Limits
	// Refresh is the first token of the family, of the same ID; zero for a session of an external issuer.
	Refresh Refresh
	// Authenticated is when the person logged in at the external issuer, as far as its token says; zero where it does not.
	Authenticated time.Time
}

// Check returns an ErrInvalid for what no store may keep.
func (n New) Check() error {
	switch {
	case !ValidID(n.ID):
		return fmt.Errorf("%w: the id is not of NewID or ExternalID", ErrInvalid)
	case n.Subject == "" || len(n.Subject) > maxSubject || !utf8.ValidString(n.Subject):
		return fmt.Errorf("%w: the subject is not 1 to %d bytes of UTF-8", ErrInvalid, maxSubject)
	case len(n.Issuer) > maxIssuer || !utf8.ValidString(n.Issuer):
		return fmt.Errorf("%w: the issuer is longer than %d bytes or not UTF-8", ErrInvalid, maxIssuer)
	case !n.Refresh.IsZero() && n.Refresh.ID != n.ID:
		return fmt.Errorf("%w: the refresh token is of another session", ErrInvalid)
	case len(n.Device.UserAgent) > maxUserAgent || len(n.Device.Browser) > maxName || len(n.Device.OS) > maxName:
		return fmt.Errorf("%w: the device is not of NewDevice", ErrInvalid)
	case len(n.Claims) > MaxClaims:
		return fmt.Errorf("%w: the claims are longer than %d bytes", ErrInvalid, MaxClaims)
	case len(n.Claims) > 0 && (!json.Valid(n.Claims) || bytes.TrimLeft(n.Claims, " \t\r\n")[0] != '{'):
		return fmt.Errorf("%w: the claims are not a JSON object", ErrInvalid)
	}
	return n.Limits.Check()
}

// Check returns an ErrInvalid for what no store may decide on.
func (r Rotation) Check() error {
	if r.Grace < 0 || r.Grace > MaxGrace {
		return fmt.Errorf("%w: the grace %s is not between 0 and %s", ErrInvalid, r.Grace, MaxGrace)
	}
	if err := r.Bind.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}
