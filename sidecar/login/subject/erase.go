package subject

import (
	"context"
	"fmt"
)

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
