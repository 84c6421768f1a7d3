package session

import (
	"context"
	"errors"
	"time"
)

var (
	// ErrFull reports that the owner is at the session limit, and WhenFull is Reject. It does not count as a failed login.
	ErrFull = errors.New("the subject is at its session limit")
	// ErrEnded reports that the session does not exist or has expired.
	ErrEnded = errors.New("the session has ended")
	// ErrExists reports that another session has the id.
	ErrExists = errors.New("the session id is in use")
	// ErrInvalid matches errors of invalid arguments.
	ErrInvalid = errors.New("invalid session")
	// ErrNoRoom reports that the store in memory is full.
	ErrNoRoom = errors.New("no room for another session")
)

// Store stores sessions. Each method is one atomic step, by the store's clock, across all users of the store. If the store is
// unavailable, every method fails with its error. Implementations are sessionredis and sessionmemory.
type Store interface {
	// Create begins a session. It returns the ids of the sessions that were evicted for it, the oldest first. Errors are ErrFull,
	// ErrExists, ErrInvalid and ErrNoRoom.
	Create(ctx context.Context, n New) (s Session, evicted []string, err error)
	// Admit returns an external session. It creates the session on first use, as Create does, and touches an active one, as Touch
	// does. A session that has ended stays ended for its AbsoluteTimeout after the last attempt, unless n.Authenticated is after
	// its end. Errors are ErrEnded, and those of Create except ErrExists.
	Admit(ctx context.Context, n New, coalesce time.Duration) (s Session, evicted []string, err error)
	// Rotate rotates a refresh token. The package comment has a table of the outcomes.
	Rotate(ctx context.Context, r Rotation) (Rotated, error)
	// Touch records the use of a session and slides its idle expiry. It writes at most once per interval coalesce, which is limited
	// by Coalesce. The error is ErrEnded.
	Touch(ctx context.Context, id string, coalesce time.Duration) (Session, error)
	// Get returns an active session, or ErrEnded.
	Get(ctx context.Context, id string) (Session, error)
	// List returns an owner's sessions without claims, the most recently used first.
	List(ctx context.Context, owner Owner) ([]Session, error)
	// End ends a session, and reports whether there was one.
	End(ctx context.Context, id string) (bool, error)
	// EndAll ends an owner's sessions except the one with the id except (empty for none), and returns the ids of those it ended.
	EndAll(ctx context.Context, owner Owner, except string) ([]string, error)
}

// Rotation is a request to rotate a refresh token.
type Rotation struct {
	Presented Refresh
	// Salt determines the successor; it is from NewSalt.
	Salt Salt
	// Grace is how long after its rotation a token may be used again; at most MaxGrace.
	Grace time.Duration
	// Bind is the property of Device that must be the same as at the login.
	Bind   Bind
	Device Device
}

// Outcome is the outcome of a Rotation.
type Outcome string

// The outcomes. The package comment has a table of them.
const (
	OutcomeRotated Outcome = "rotated"
	OutcomeRetried Outcome = "retried"
	OutcomeReused  Outcome = "reused"
	OutcomeBound   Outcome = "bound"
	OutcomeExpired Outcome = "expired"
	OutcomeUnknown Outcome = "unknown"
)

// Rotated is the result of a Rotation.
type Rotated struct {
	Outcome Outcome
	// Session is set for all outcomes but OutcomeUnknown. If it was ended now (OutcomeReused), the caller revokes its tokens.
	Session Session
	// Current is the new token of the client, for OutcomeRotated and OutcomeRetried.
	Current Refresh
}
