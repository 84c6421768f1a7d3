// Package subject says what the stores of a policy hold of one person, and erases it: sessions, failed logins and locks, old passwords. It
// never returns a token, a hash or a key.
//
// Revocations are shown and not erased: a token that was stolen must stay refused. They name the subject until the last of its tokens has expired.
// Rate limits and known devices cannot be found by a person: their keys are hashes with parts that only the client's request has.
package subject

import (
	"context"
	"time"

	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
)

// Sessions finds and ends sessions; *token.SessionManager implements it.
type Sessions interface {
	// Find returns an owner's sessions with their claims.
	Find(ctx context.Context, owner session.Owner) ([]session.Session, error)
	EndAll(ctx context.Context, owner session.Owner, except string) (int, error)
}

// Revocations finds revocations; *revocation.Index implements it.
type Revocations interface {
	Find(ctx context.Context, entries []revocation.Entry) ([]revocation.Entry, error)
}

// Logins shows and clears what login protection counts against an account.
type Logins interface {
	Look(ctx context.Context, account string) (logins, resets Attempts, err error)
	Clear(ctx context.Context, account string) (shared bool, err error)
}

// Attempts are failed logins, or requests for a new password. Zero times are not known.
type Attempts struct {
	Failures int
	Latest   time.Time
	Locks    int
	Until    time.Time
}

// Passwords shows and forgets the old passwords of an account; *passwordpolicy.History implements it.
type Passwords interface {
	// Look returns the number of passwords, and the time of the last change; zero if it is not known.
	Look(ctx context.Context, account string) (remembered int, changed time.Time, err error)
	Forget(ctx context.Context, account string) (bool, error)
}

// Stores are those of a policy. A nil one is not in the policy.
type Stores struct {
	Sessions    Sessions
	Revocations Revocations
	Logins      Logins
	Passwords   Passwords
	// OwnIssuer is the claim iss of the tokens that the policy issues; empty if it issues none.
	OwnIssuer string
	// Shared says that all pods share them. Otherwise they are those of one pod.
	Shared bool
	// Canonical returns the form of an account's name under which attempts are counted; nil leaves it as it is.
	Canonical func(string) string
	// Now defaults to time.Now.
	Now func() time.Time
}

// None reports whether the policy has no store of persons.
func (s *Stores) None() bool {
	return s.Sessions == nil && s.Revocations == nil && s.Logins == nil && s.Passwords == nil
}

// Account returns the name under which the stores know an account.
func (s *Stores) Account(name string) string {
	if s.Canonical == nil {
		return name
	}
	return s.Canonical(name)
}

// Person names a person.
type Person struct {
	// Owner is whose sessions are meant; its Subject is empty for none.
	Owner session.Owner
	// Issuer is the claim iss of the subject's tokens, also for own tokens.
	Issuer string
	// Account is the name by which the person logs in, in its canonical form; empty for none.
	Account string
}
