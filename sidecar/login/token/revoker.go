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

// TrustedIssuer is an issuer whose tokens the policy accepts.
type TrustedIssuer struct {
	// Issuer is the claim iss.
	Issuer string
	// Own marks the issuer of the policy's own tokens.
	Own bool
	// Lifetime is the maximum lifetime of its tokens. SessionLifetime is how long one of its sessions can get new tokens, plus the
	// lifetime of the last one.
	Lifetime, SessionLifetime time.Duration
	// BySession says that its sessions are tracked by the claim sid.
	BySession bool
}

// owner returns the owner of the sessions of a subject of the issuer.
func (t TrustedIssuer) owner(subject string) session.Owner {
	if t.Own {
		return session.Owner{Subject: subject}
	}
	return session.Owner{Issuer: t.Issuer, Subject: subject}
}

// SessionEnder lists sessions, and ends them with all tokens that they have issued, which can be newer than the revocation;
// *SessionManager implements it.
type SessionEnder interface {
	List(ctx context.Context, owner session.Owner) ([]session.Session, error)
	End(ctx context.Context, id string) (bool, error)
}

// RevokerConfig configures a Revoker. All fields but Now are required.
type RevokerConfig struct {
	Issuers     []TrustedIssuer
	Sessions    SessionEnder
	Revocations Revocations
	// Events receives every revocation; may be nil.
	Events *event.Stream
	// Now defaults to time.Now.
	Now func() time.Time
}

// Revoker revokes tokens of any issuer that the policy accepts, and ends the sessions that could get new ones. It is safe for
// concurrent use.
type Revoker struct{ cfg RevokerConfig }

// ErrUntrusted reports that the policy accepts no tokens of the issuer.
var ErrUntrusted = errors.New("revoking: the policy accepts no tokens of this issuer")

// NewRevoker returns a Revoker.
func NewRevoker(c RevokerConfig) (*Revoker, error) {
	if len(c.Issuers) == 0 || c.Sessions == nil || c.Revocations == nil {
		return nil, errors.New("building revoker: Issuers, Sessions and Revocations are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Revoker{cfg: c}, nil
}

// Revoke applies e to its issuer, or to every issuer if e names none. It returns the number of issuers. A Subject without Before
// is revoked up to now. An entry without Expires is kept for as long as its tokens can live. An expired entry is invalid: it would
// be dropped and revoke nothing. Errors match revocation.ErrInvalid or ErrUntrusted, or come from the stores; after the latter
// the call can be repeated.
//
// "Up to now" ends every existing session, whatever its start time: the clocks of sidecars and stores can differ. Own sessions that
// begin after the call are not affected, also in the same second and at a sidecar whose clock is up to clockSkew behind.
func (r *Revoker) Revoke(ctx context.Context, e revocation.Entry) (int, error) {
	if !e.Expires.IsZero() && !e.Expires.After(r.cfg.Now()) {
		return 0, fmt.Errorf("revoking: %w: it has expired", revocation.ErrInvalid)
	}
	before := e.Before // of the sessions that are ended; zero for all
	var entries []revocation.Entry
	for _, t := range r.cfg.Issuers {
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
		entry.Before = before
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

// RevokeToken revokes one token until it expires, at most for revocation.MaxRetention. It does not end the session.
func (r *Revoker) RevokeToken(ctx context.Context, issuer, id string, expires time.Time) error {
	expires = expires.Add(retention) // verifiers accept an expired token for their leeway
	if most := revocation.ExpiryAfter(r.cfg.Now(), revocation.MaxRetention); expires.After(most) {
		expires = most
	}
	_, err := r.Revoke(ctx, revocation.Entry{Kind: revocation.Token, Issuer: issuer, Value: id, Expires: expires})
	return err
}

func (r *Revoker) complete(e revocation.Entry, t TrustedIssuer) revocation.Entry {
	now := r.cfg.Now()
	e.Issuer = t.Issuer
	if e.Kind == revocation.Subject {
		e.Before = tokensBefore(e.Before, now, t.Own)
	}
	if !e.Expires.IsZero() {
		return e
	}
	switch e.Kind {
	case revocation.Key: // a stolen key can sign tokens with any date
		e.Expires = revocation.ExpiryAfter(now, revocation.MaxRetention)
	case revocation.Token:
		e.Expires = revocation.ExpiryAfter(now, t.Lifetime+retention)
		if t.Own { // it may have been issued when the configured lifetime was longer
			e.Expires = now.Add(maxLifetime + retention)
		}
	default:
		e.Expires = revocation.ExpiryAfter(now, t.SessionLifetime+retention)
	}
	return e
}

// clockSkew is how far the clocks of sidecars and stores may differ.
const clockSkew = 5 * time.Second

// tokensBefore returns the time of issue before which a subject's tokens are revoked; before is zero for "up to now".
//
// Tokens have whole seconds. So for an external issuer "up to now" includes the current second. For own tokens that would revoke a
// login right after the call. There every token belongs to a session, and the existing sessions are ended one by one, each with its
// tokens. So only the tokens of sessions that no longer exist depend on this time, and it can leave out the latest seconds.
func tokensBefore(before, now time.Time, own bool) time.Time {
	switch {
	case own && before.IsZero():
		return now.Add(-clockSkew)
	case own && !before.After(now):
		return before.Add(-clockSkew)
	case before.IsZero():
		return now.Truncate(time.Second).Add(time.Second)
	default:
		return before
	}
}

// EndSessions ends the sessions that e, an entry of one issuer, names. It does nothing for kinds other than Session and Subject.
// Of a subject it ends the sessions that began before e.Before, or all if that is zero.
func (r *Revoker) EndSessions(ctx context.Context, e revocation.Entry) error {
	for _, t := range r.cfg.Issuers {
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

func (r *Revoker) endSession(ctx context.Context, t TrustedIssuer, sid string) error {
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

func (r *Revoker) endSubject(ctx context.Context, t TrustedIssuer, e revocation.Entry) error {
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
