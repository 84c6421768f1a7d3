package subject

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
)

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
