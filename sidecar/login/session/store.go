package session

import (
	"context"
	"errors"
	"time"
)

var (
	// ErrFull: the owner has as many sessions as the policy allows, and WhenFull is Reject. It is no failed login.
	ErrFull = errors.New("the subject has as many sessions as it may have")
	// ErrEnded: there is no such session, or it has idled or aged out.
	ErrEnded = errors.New("the session has ended")
	// ErrExists: a session has the id already.
	ErrExists = errors.New("the session id is in use")
	// ErrInvalid matches errors of what a caller asked for, before the store was asked.
	ErrInvalid = errors.New("invalid session")
	// ErrNoRoom: the store in memory holds as many sessions as it can.
	ErrNoRoom = errors.New("no room for another session")
)

// Store keeps sessions. Each method decides in one atomic step, by the store's clock, for all users of the store; all of
// them fail with the store's error where it does not answer. Implementations: session/redis and session/memory.
type Store interface {
	// Create begins a session at a login. Evicted are the ids of those which ended to make room for it, oldest first.
	// Errors: ErrFull, ErrExists, ErrInvalid, ErrNoRoom.
	Create(ctx context.Context, n New) (s Session, evicted []string, err error)
	// Admit returns the session of an external issuer, and creates it at first sight as Create does. One that has ended stays
	// ended for its AbsoluteTimeout since the last attempt, unless n.Authenticated is after its end. A session that goes on
	// is touched as Touch does. Errors: ErrEnded, and those of Create but ErrExists.
	Admit(ctx context.Context, n New, coalesce time.Duration) (s Session, evicted []string, err error)
	// Rotate answers a refresh token; the table is in the package's comment.
	Rotate(ctx context.Context, r Rotation) (Rotated, error)
	// Touch records that a session was seen and slides its idle expiry, with at most one write in coalesce, which is cut to
	// Coalesce of the session's idle timeout. Errors: ErrEnded.
	Touch(ctx context.Context, id string, coalesce time.Duration) (Session, error)
	// Get returns a session that has not ended, or ErrEnded.
	Get(ctx context.Context, id string) (Session, error)
	// List returns an owner's sessions without claims, the last seen first.
	List(ctx context.Context, owner Owner) ([]Session, error)
	// End ends a session, and reports whether there was one.
	End(ctx context.Context, id string) (bool, error)
	// EndAll ends an owner's sessions but the one with the id except (empty for none), and returns the ids of those ended.
	EndAll(ctx context.Context, owner Owner, except string) ([]string, error)
}

// Rotation presents a refresh token.
type Rotation struct {
	Presented Refresh
	// Salt makes the successor: NewSalt.
	Salt Salt
	// Grace is for how long after its rotation a token may be presented again; at most MaxGrace.
	Grace time.Duration
	// Bind and Device: what of the device must be as it was at the login.
	Bind   Bind
	Device Device
}

// Outcome is what became of a refresh token.
type Outcome string

// The outcomes; the table is in the package's comment.
const (
	OutcomeRotated Outcome = "rotated"
	OutcomeRetried Outcome = "retried"
	OutcomeReused  Outcome = "reused"
	OutcomeBound   Outcome = "bound"
	OutcomeExpired Outcome = "expired"
	OutcomeUnknown Outcome = "unknown"
)

// Rotated answers a Rotation.
type Rotated struct {
	Outcome Outcome
	// Session is set but for OutcomeUnknown. Of a session that ended now (OutcomeReused) the caller revokes the tokens.
	Session Session
	// Current is the token that the client is to hold from now on, of OutcomeRotated and OutcomeRetried.
	Current Refresh
}
