package token

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
)

// Trusted is an issuer whose tokens the policy accepts.
type Trusted struct {
	// Issuer is the claim iss.
	Issuer string
	// Own says that it is us.
	Own bool
	// Lifetime is that of its longest token, and SessionLifetime for how long its sessions may bring forth new ones.
	Lifetime, SessionLifetime time.Duration
	// BySession says that a session is kept for each claim sid of it.
	BySession bool
}

// owner is who has the sessions of a subject of the issuer.
func (t Trusted) owner(subject string) session.Owner {
	if t.Own {
		return session.Owner{Subject: subject}
	}
	return session.Owner{Issuer: t.Issuer, Subject: subject}
}

// Keeper finds sessions, and ends them with whatever they have brought forth, which may be of a later date than what revokes
// them; *SessionManager does.
type Keeper interface {
	List(ctx context.Context, owner session.Owner) ([]session.Session, error)
	End(ctx context.Context, id string) (bool, error)
}

// RevokerConfig is what a Revoker is made of; all of it but Events and Now is required.
type RevokerConfig struct {
	Trusted     []Trusted
	Sessions    Keeper
	Revocations Revocations
	// Events gets every revocation; nil for nobody.
	Events *event.Stream
	// Now is time.Now where nil.
	Now func() time.Time
}

// Revoker revokes tokens of any issuer that the policy accepts, and ends the sessions that would bring forth new ones. It is
// safe for concurrent use.
type Revoker struct{ cfg RevokerConfig }

// ErrUntrusted: the policy accepts no tokens of the issuer.
var ErrUntrusted = errors.New("revoking: the policy accepts no tokens of this issuer")

// NewRevoker returns a Revoker.
func NewRevoker(c RevokerConfig) (*Revoker, error) {
	if len(c.Trusted) == 0 || c.Sessions == nil || c.Revocations == nil {
		return nil, errors.New("building revoker: issuers, Sessions and Revocations are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Revoker{cfg: c}, nil
}

// Revoke carries out e for its issuer, or for every one where that is empty. A Subject without Before is revoked up to now,
// and an entry without Expires is kept for as long as its tokens can live; one that has expired is invalid, for it would be
// dropped and revoke nothing. It returns how many issuers it concerns. Errors match revocation.ErrInvalid or ErrUntrusted, or are the
// stores'; then it can be asked for again.
//
// Up to now means every session that there is: the clocks of sidecars and stores, by which tokens and sessions are dated, may
// differ by more than has passed.
func (r *Revoker) Revoke(ctx context.Context, e revocation.Entry) (int, error) {
	if !e.Expires.IsZero() && !e.Expires.After(r.cfg.Now()) {
		return 0, fmt.Errorf("revoking: %w: it has expired", revocation.ErrInvalid)
	}
	every := e.Kind == revocation.Subject && e.Before.IsZero()
	var entries []revocation.Entry
	for _, t := range r.cfg.Trusted {
		if e.Issuer == "" || e.Issuer == t.Issuer {
			entries = append(entries, r.complete(e, t))
		}
	}
	if len(entries) == 0 {
		return 0, ErrUntrusted
	}
	if _, err := r.cfg.Revocations.Add(ctx, entries...); err != nil {
		return 0, fmt.Errorf("revoking: %w", err)
	}
	for _, entry := range entries {
		request.Emit(ctx, r.cfg.Events, revoked(entry))
		if every {
			entry.Before = time.Time{}
		}
		if err := r.EndSessions(ctx, entry); err != nil {
			return 0, err
		}
	}
	return len(entries), nil
}

// revoked is the event of an entry.
func revoked(entry revocation.Entry) event.Event {
	e := event.Event{Kind: event.Revocation, Outcome: event.Success, Reason: strings.ToLower(string(entry.Kind)), Actor: event.Actor{Issuer: entry.Issuer}}
	switch entry.Kind {
	case revocation.Token:
		e.TokenID = entry.Value
	case revocation.Session:
		e.Session = entry.Value
	case revocation.Subject:
		e.Subject = entry.Value
	case revocation.Key:
		e.KeyID = entry.Value
	}
	return e
}

// RevokeToken makes one token worthless everywhere until it expires by itself, or for as long as anything is remembered, and
// leaves its session alone.
func (r *Revoker) RevokeToken(ctx context.Context, issuer, id string, expires time.Time) error {
	expires = expires.Add(retention)
	if most := r.cfg.Now().Add(revocation.MaxRetention - time.Hour); expires.After(most) {
		expires = most
	}
	_, err := r.Revoke(ctx, revocation.Entry{Kind: revocation.Token, Issuer: issuer, Value: id, Expires: expires})
	return err
}

func (r *Revoker) complete(e revocation.Entry, t Trusted) revocation.Entry {
	now := r.cfg.Now()
	e.Issuer = t.Issuer
	if e.Kind == revocation.Subject && e.Before.IsZero() {
		e.Before = now.Truncate(time.Second).Add(time.Second) // tokens have whole seconds
	}
	if !e.Expires.IsZero() {
		return e
	}
	switch e.Kind {
	case revocation.Key: // whoever has the key can sign with any date
		e.Expires = now.Add(revocation.MaxRetention - time.Hour)
	case revocation.Token:
		e.Expires = now.Add(t.Lifetime + retention)
		if t.Own { // it may be of a time when they lived longer
			e.Expires = now.Add(maxLifetime + retention)
		}
	default:
		e.Expires = now.Add(t.SessionLifetime + retention)
	}
	return e
}

// EndSessions ends the external sessions that e, an entry of one issuer, names; for other kinds it does nothing. A subject's are
// those that began before e.Before, every one where that is zero.
func (r *Revoker) EndSessions(ctx context.Context, e revocation.Entry) error {
	for _, t := range r.cfg.Trusted {
		if t.Issuer != e.Issuer {
			continue
		}
		switch e.Kind {
		case revocation.Session:
			return r.endSession(ctx, t, e.Value)
		case revocation.Subject:
			return r.endSubject(ctx, t, e)
		}
	}
	return nil
}

func (r *Revoker) endSession(ctx context.Context, t Trusted, sid string) error {
	id := sid
	switch {
	case !t.Own && !t.BySession, t.Own && !session.ValidID(sid):
		return nil
	case !t.Own:
		id = session.ExternalID(t.Issuer, sid)
	}
	if _, err := r.cfg.Sessions.End(ctx, id); err != nil {
		return fmt.Errorf("ending revoked session: %w", err)
	}
	return nil
}

func (r *Revoker) endSubject(ctx context.Context, t Trusted, e revocation.Entry) error {
	sessions, err := r.cfg.Sessions.List(ctx, t.owner(e.Value))
	if err != nil {
		return fmt.Errorf("listing revoked sessions: %w", err)
	}
	for _, s := range sessions {
		if !e.Before.IsZero() && !s.Created.Before(e.Before) {
			continue
		}
		if _, err := r.cfg.Sessions.End(ctx, s.ID); err != nil {
			return fmt.Errorf("ending revoked session: %w", err)
		}
	}
	return nil
}
