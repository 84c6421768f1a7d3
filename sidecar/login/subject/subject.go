// Package subject says what the stores of a policy hold of one person, and erases it: sessions, failed logins and locks, old passwords. It
// never returns a token, a hash or a key.
//
// Revocations are shown and not erased: a token that was stolen must stay refused. They name the subject until the last of its tokens has expired.
// Rate limits and known devices cannot be found by a person: their keys are hashes with parts that only the client's request has.
package subject

import (
	"context"
	"encoding/json"
	"fmt"
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

// Part is a part of what is stored.
type Part string

// The parts.
const (
	PartSessions    Part = "sessions"
	PartRevocations Part = "revocations"
	PartLogins      Part = "logins"
	PartPasswords   Part = "passwords"
	PartRateLimits  Part = "rate_limits"
	PartDevices     Part = "known_devices"
)

// Why is why a part is not in a response.
type Why string

// The reasons.
const (
	// NotEnabled: the policy has no such section. NoSubject and NoAccount: the request does not name one. NotByPerson: it is stored, but not so that
	// it could be found by a name.
	NotEnabled  Why = "not-enabled"
	NoSubject   Why = "subject-not-given"
	NoAccount   Why = "account-not-given"
	NotByPerson Why = "not-stored-by-person"
)

// Omission is a part that is not in a response.
type Omission struct {
	Part   Part `json:"part"`
	Reason Why  `json:"reason"`
}

// omitted returns the parts that are left out for p.
func (s *Stores) omitted(p Person) []Omission {
	var out []Omission
	leave := func(part Part, enabled, named bool, unnamed Why) {
		switch {
		case !enabled:
			out = append(out, Omission{part, NotEnabled})
		case !named:
			out = append(out, Omission{part, unnamed})
		}
	}
	leave(PartSessions, s.Sessions != nil, p.Owner.Subject != "", NoSubject)
	leave(PartRevocations, s.Revocations != nil, p.Owner.Subject != "", NoSubject)
	leave(PartLogins, s.Logins != nil, p.Account != "", NoAccount)
	leave(PartPasswords, s.Passwords != nil, p.Account != "", NoAccount)
	return append(out, Omission{PartRateLimits, NotByPerson}, Omission{PartDevices, NotByPerson})
}

// Export is what is held of a person. A part that is not there is in Omitted.
type Export struct {
	Time    time.Time `json:"time"`
	Subject string    `json:"subject,omitempty"`
	// Issuer is the claim iss of the subject's tokens.
	Issuer string `json:"issuer,omitempty"`
	// Own says that it is that of the policy's own tokens.
	Own     bool   `json:"own_issuer"`
	Account string `json:"account,omitempty"`
	// Shared is false if only one pod was asked, because the class has no Redis.
	Shared      bool               `json:"shared"`
	Sessions    []session.Resource `json:"sessions,omitzero"`
	Revocations []Revocation       `json:"revocations,omitzero"`
	Logins      *Counts            `json:"logins,omitempty"`
	Resets      *Counts            `json:"password_resets,omitempty"`
	Passwords   *Kept              `json:"passwords,omitempty"`
	Omitted     []Omission         `json:"omitted"`
}

// Revocation revokes the tokens of the subject that were issued before a time.
type Revocation struct {
	IssuedBefore time.Time `json:"issued_before"`
	Expires      time.Time `json:"expires"`
}

// Counts are failed logins, or requests for a new password.
type Counts struct {
	Failures    int        `json:"failures"`
	Latest      *time.Time `json:"latest,omitempty"`
	Locks       int        `json:"locks"`
	LockedUntil *time.Time `json:"locked_until,omitempty"`
}

// Kept is the number of remembered passwords, and the time of the last change.
type Kept struct {
	Remembered int        `json:"remembered"`
	Changed    *time.Time `json:"changed,omitempty"`
}

// Erasure is what was erased of a person, and what was kept. A part that is not in the policy, or was not named, is in Omitted.
type Erasure struct {
	Subject string `json:"subject,omitempty"`
	Issuer  string `json:"issuer,omitempty"`
	Own     bool   `json:"own_issuer"`
	Account string `json:"account,omitempty"`
	Shared  bool   `json:"shared"`
	// Sessions is the number of sessions that were ended.
	Sessions int `json:"sessions"`
	// Failures are failed logins and requests for a new password, and Locks the locks of both.
	Failures int `json:"login_failures"`
	Locks    int `json:"login_locks"`
	// Passwords is the number of remembered passwords.
	Passwords int `json:"passwords"`
	// RevocationsKept is the number of revocations that name the subject until they expire.
	RevocationsKept int        `json:"revocations_kept"`
	Omitted         []Omission `json:"omitted"`
}

// Export returns what is held of a person. Errors are those of the stores.
func (s *Stores) Export(ctx context.Context, p Person) (Export, error) {
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	out := Export{Time: now().UTC(), Subject: p.Owner.Subject, Issuer: p.Issuer, Own: s.own(p), Account: p.Account, Shared: s.Shared, Omitted: s.omitted(p)}
	if s.Sessions != nil && p.Owner.Subject != "" {
		found, err := s.Sessions.Find(ctx, p.Owner)
		if err != nil {
			return Export{}, fmt.Errorf("exporting sessions: %w", err)
		}
		out.Sessions = resources(found)
	}
	revoked, err := s.revocations(ctx, p)
	if err != nil {
		return Export{}, err
	}
	out.Revocations = revoked
	if s.Logins != nil && p.Account != "" {
		logins, resets, err := s.Logins.Look(ctx, p.Account)
		if err != nil {
			return Export{}, fmt.Errorf("exporting login failures: %w", err)
		}
		out.Logins, out.Resets = counts(logins), counts(resets)
	}
	if s.Passwords != nil && p.Account != "" {
		remembered, changed, err := s.Passwords.Look(ctx, p.Account)
		if err != nil {
			return Export{}, fmt.Errorf("exporting old passwords: %w", err)
		}
		out.Passwords = &Kept{Remembered: remembered, Changed: optional(changed)}
	}
	return out, nil
}

func (s *Stores) own(p Person) bool { return s.OwnIssuer != "" && p.Issuer == s.OwnIssuer }

// resources returns sessions with their claims.
func resources(sessions []session.Session) []session.Resource {
	out := session.Resources(sessions, "")
	for i, s := range sessions {
		out[i].Claims = json.RawMessage(s.Claims)
	}
	return out
}

func (s *Stores) revocations(ctx context.Context, p Person) ([]Revocation, error) {
	if s.Revocations == nil || p.Owner.Subject == "" {
		return nil, nil
	}
	found, err := s.Revocations.Find(ctx, []revocation.Entry{{Kind: revocation.Subject, Issuer: p.Issuer, Value: p.Owner.Subject}})
	if err != nil {
		return nil, fmt.Errorf("finding revocations: %w", err)
	}
	out := []Revocation{}
	for _, e := range found {
		out = append(out, Revocation{IssuedBefore: e.Before.UTC(), Expires: e.Expires.UTC()})
	}
	return out, nil
}

func counts(a Attempts) *Counts {
	return &Counts{Failures: a.Failures, Latest: optional(a.Latest), Locks: a.Locks, LockedUntil: optional(a.Until)}
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// Erase erases what is held of a person, and may be repeated. After an error, a part may have been erased. Errors are those of the stores.
func (s *Stores) Erase(ctx context.Context, p Person) (Erasure, error) {
	out := Erasure{Subject: p.Owner.Subject, Issuer: p.Issuer, Own: s.own(p), Account: p.Account, Shared: s.Shared, Omitted: s.omitted(p)}
	if err := s.eraseAccount(ctx, p.Account, &out); err != nil {
		return Erasure{}, err
	}
	if s.Sessions != nil && p.Owner.Subject != "" {
		ended, err := s.Sessions.EndAll(ctx, p.Owner, "")
		if err != nil {
			return Erasure{}, fmt.Errorf("erasing sessions: %w", err)
		}
		out.Sessions = ended
	}
	kept, err := s.revocations(ctx, p)
	if err != nil {
		return Erasure{}, err
	}
	out.RevocationsKept = len(kept)
	return out, nil
}

func (s *Stores) eraseAccount(ctx context.Context, account string, out *Erasure) error {
	if account == "" {
		return nil
	}
	if s.Logins != nil {
		logins, resets, err := s.Logins.Look(ctx, account)
		if err == nil {
			_, err = s.Logins.Clear(ctx, account)
		}
		if err != nil {
			return fmt.Errorf("erasing login failures: %w", err)
		}
		out.Failures, out.Locks = logins.Failures+resets.Failures, logins.Locks+resets.Locks
	}
	if s.Passwords != nil {
		remembered, _, err := s.Passwords.Look(ctx, account)
		if err == nil {
			_, err = s.Passwords.Forget(ctx, account)
		}
		if err != nil {
			return fmt.Errorf("erasing old passwords: %w", err)
		}
		out.Passwords = remembered
	}
	return nil
}
