package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
)

// SessionCreator creates sessions and rotates their refresh tokens.
type SessionCreator interface {
	Create(ctx context.Context, n session.New) (session.Session, []string, error)
	Rotate(ctx context.Context, r session.Rotation) (session.Rotated, error)
}

// Sessions is the part of a session.Store that a LoginService needs.
type Sessions interface {
	SessionCreator
	SessionStore
}

// RevocationChecker reports what is revoked; revocation.Checker implements it.
type RevocationChecker interface {
	Revoked(ctx context.Context, q *revocation.Query) (bool, error)
}

// LoginServiceConfig configures a LoginService. Issuer, SessionManager, Sessions, Limits and Logger are required.
type LoginServiceConfig struct {
	Issuer *Issuer
	// SessionManager must have the same issuer and store.
	SessionManager *SessionManager
	Sessions       Sessions
	// Revoked is checked at each login and refresh: nobody gets a token that is revoked already. A revoked session gets no token,
	// even if ending it has failed. Nil disables the check.
	Revoked RevocationChecker
	// Limits are the policy's limits for new sessions.
	Limits session.Limits
	// Grace is how long a rotated refresh token is still accepted, in case the client did not receive the response.
	Grace time.Duration
	// Bind is the property of the device that must not change.
	Bind session.Bind
	// Shadow allows logins above the session limit and refreshes from another device, and counts them: a rule in shadow mode
	// must not log anyone out. At session.MaxPerSubject the oldest session is ended even so.
	Shadow bool
	Logger *slog.Logger
	// Events receives every login, refresh and logout; may be nil.
	Events *event.Stream
}

// LoginService begins, refreshes and ends logins with all their tokens. It embeds the SessionManager of its sessions. It is safe
// for concurrent use.
type LoginService struct {
	*SessionManager
	cfg LoginServiceConfig
}

// retention is how long a revocation is kept after the expiry of its tokens: the maximum leeway of verifiers for exp.
const retention = time.Hour

// Errors of a LoginService, in addition to session.ErrFull and the errors of stores and signers.
var (
	// ErrInvalid reports that the subject or the claims of a login are invalid.
	ErrInvalid = errors.New("beginning session: the subject or the claims are invalid")
	// ErrRevoked reports that the subject is revoked up to a time in the future, or the session by its id.
	ErrRevoked = errors.New("issuing token: the subject is revoked up to a time in the future")
	// ErrGrant reports that the refresh token is invalid, for any reason.
	ErrGrant = errors.New("refreshing session: the refresh token is invalid")
)

// NewLoginService returns a LoginService. Its error says which setting to change.
func NewLoginService(c LoginServiceConfig) (*LoginService, error) {
	if c.Issuer == nil || c.SessionManager == nil || c.Sessions == nil || c.Logger == nil {
		return nil, errors.New("building login service: Issuer, SessionManager, Sessions and Logger are required")
	}
	if c.SessionManager.cfg.Issuer != c.Issuer.cfg.Issuer {
		return nil, errors.New("building login service: the SessionManager has another issuer")
	}
	if err := c.Limits.Check(); err != nil {
		return nil, fmt.Errorf("building login service: %w", err)
	}
	if c.Bind == "" {
		c.Bind = session.BindNone
	}
	if err := (session.Rotation{Grace: c.Grace, Bind: c.Bind}).Check(); err != nil {
		return nil, fmt.Errorf("building login service: %w", err)
	}
	return &LoginService{SessionManager: c.SessionManager, cfg: c}, nil
}

// Login is a user whom the app has authenticated.
type Login struct {
	Subject string
	// Claims is a JSON object or nil.
	Claims json.RawMessage
	Device session.Device
	// Replace ends the previous session of the client; may be nil. It is called after the token is signed, so that a login that
	// cannot be signed ends nothing.
	Replace func(context.Context) error
}

// Tokens are the tokens of a session.
type Tokens struct {
	Access
	Refresh secret.Value
	Session session.Session
	// OverLimit reports that the login exceeded the session limit, which Shadow allowed.
	OverLimit bool
}

// Begin begins a session with a new id. Sessions that it evicts at the limit are ended with their tokens. On error there is no
// new session. Errors are ErrInvalid, ErrTooLarge, ErrRevoked, session.ErrFull, and those of the stores and the signer.
func (d *LoginService) Begin(ctx context.Context, l Login) (Tokens, error) {
	if !printable(l.Subject) {
		return Tokens{}, ErrInvalid
	}
	selected, err := d.cfg.Issuer.Select(l.Claims)
	if err != nil {
		return Tokens{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	claims, err := encodeClaims(selected)
	if err != nil {
		return Tokens{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	id := session.NewID()
	refresh := session.NewRefresh(id)
	n := session.New{ID: id, Owner: session.Owner{Subject: l.Subject}, Device: l.Device, Claims: claims, Limits: d.limits(), Refresh: refresh}
	if err := n.Check(); err != nil {
		return Tokens{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	// The token is signed first: an unavailable signer then leaves no session behind and evicts none.
	now := d.cfg.Issuer.cfg.Now()
	end := now.Add(d.cfg.Limits.AbsoluteTimeout)
	access, err := d.issue(ctx, Grant{Subject: l.Subject, Session: id, Claims: claims, NotAfter: end}, now)
	if err != nil {
		return Tokens{}, err
	}
	if l.Replace != nil {
		if err := l.Replace(ctx); err != nil {
			return Tokens{}, err
		}
	}
	s, evicted, err := d.cfg.Sessions.Create(ctx, n)
	if err != nil {
		return Tokens{}, fmt.Errorf("beginning session: %w", err)
	}
	for _, id := range evicted {
		d.Emit(ctx, event.Event{Kind: event.SessionEvicted, Outcome: event.Success, Actor: event.Actor{Subject: l.Subject, Session: id}})
	}
	if err := d.revokeEnded(ctx, s.Owner, evicted...); err != nil {
		d.Abandon(ctx, id)
		return Tokens{}, fmt.Errorf("revoking evicted sessions: %w", err)
	}
	return Tokens{Access: access, Refresh: refresh.Token(), Session: s, OverLimit: d.overLimit(ctx, s.Owner)}, nil
}

// issue signs an access token of the session that began at the given time, unless it would be revoked from the start.
//
// A token has whole seconds. A revocation of the subject can have a time later in the same second, and before the session began. The
// time of issue is then rounded up.
func (d *LoginService) issue(ctx context.Context, g Grant, began time.Time) (Access, error) {
	q := revocation.Query{Issuer: d.cfg.Issuer.cfg.Issuer, Session: g.Session, Subject: g.Subject, IssuedAt: began}
	revoked, err := d.revoked(ctx, q)
	if err != nil {
		return Access{}, err
	}
	if revoked {
		return Access{}, ErrRevoked
	}
	q.IssuedAt = d.cfg.Issuer.cfg.Now().Truncate(time.Second)
	if g.RoundUp, err = d.revoked(ctx, q); err != nil {
		return Access{}, err
	}
	access, err := d.cfg.Issuer.Issue(ctx, g)
	if err != nil {
		return Access{}, err
	}
	q = revocation.Query{Issuer: q.Issuer, TokenID: access.ID, KeyID: access.KeyID, IssuedAt: access.Issued}
	if revoked, err = d.revoked(ctx, q); err == nil && revoked {
		err = errors.New("issuing token: the signing key is revoked")
	}
	return access, err
}

// revoked reports whether a token is revoked, as far as this sidecar knows.
func (d *LoginService) revoked(ctx context.Context, q revocation.Query) (bool, error) {
	if d.cfg.Revoked == nil {
		return false, nil
	}
	revoked, err := d.cfg.Revoked.Revoked(ctx, &q)
	if err != nil {
		return false, fmt.Errorf("issuing token: %w", err)
	}
	return revoked, nil
}

// printable rejects subjects with control characters or surrounding space, which look like other subjects in a log.
func printable(subject string) bool {
	return subject != "" && strings.TrimSpace(subject) == subject && !strings.ContainsFunc(subject, func(r rune) bool {
		return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0
	})
}

// limits returns the limits that are enforced.
func (d *LoginService) limits() session.Limits {
	limits := d.cfg.Limits
	if d.cfg.Shadow {
		limits.MaxPerSubject, limits.WhenFull = session.MaxPerSubject, session.EvictOldest
	}
	return limits
}

// overLimit reports, in shadow mode, whether an owner has more sessions than the policy allows.
func (d *LoginService) overLimit(ctx context.Context, owner session.Owner) bool {
	if !d.cfg.Shadow {
		return false
	}
	sessions, err := d.cfg.Sessions.List(ctx, owner)
	if err != nil || len(sessions) <= d.cfg.Limits.Cap() {
		return false
	}
	d.Emit(ctx, event.Event{Kind: event.SessionLimit, Outcome: event.Shadow, Reason: "shadow", Actor: event.Actor{Subject: owner.Subject}})
	return true
}

// Abandon ends a session whose tokens were not delivered. If that fails, the session ends by its idle timeout.
func (d *LoginService) Abandon(ctx context.Context, id string) {
	if _, err := d.cfg.Sessions.End(ctx, id); err != nil {
		d.cfg.Logger.WarnContext(ctx, "ending undelivered session failed, it ends by its idle timeout", "error", err)
	}
}

// Refresh returns new tokens for a refresh token. Errors are ErrGrant, and those of the stores and the signer; after the latter
// the client can use the same token again. Reuse of an old token has ended the session when Refresh returns.
func (d *LoginService) Refresh(ctx context.Context, refreshToken string, device session.Device) (Tokens, session.Outcome, error) {
	refresh, err := session.ParseRefresh(refreshToken)
	if err != nil {
		return Tokens{}, session.OutcomeUnknown, fmt.Errorf("%w: %w", ErrGrant, err)
	}
	// The access token is signed before the rotation. In the reverse order, an outage of the signer longer than the grace would
	// leave the client with a refresh token that counts as reused. No token is returned before the rotation.
	s, err := d.cfg.Sessions.Get(ctx, refresh.ID)
	if err != nil && !errors.Is(err, session.ErrEnded) {
		return Tokens{}, "", fmt.Errorf("refreshing session: %w", err)
	}
	if err == nil && !s.Owns(refresh) { // knowing a session's id is not enough to get anything signed
		return Tokens{}, session.OutcomeUnknown, fmt.Errorf("%w: %s", ErrGrant, session.OutcomeUnknown)
	}
	var access Access
	if err == nil {
		if err := d.refuseRevoked(ctx, s); err != nil {
			return Tokens{}, outcomeRevoked, err
		}
		grant := Grant{Subject: s.Subject, Session: s.ID, Claims: s.Claims, NotAfter: s.AbsoluteExpiry}
		if access, err = d.issue(ctx, grant, s.Created); err != nil {
			return Tokens{}, "", err
		}
	}
	bind := d.cfg.Bind
	if d.cfg.Shadow {
		bind = session.BindNone
	}
	rotated, err := d.cfg.Sessions.Rotate(ctx, session.Rotation{
		Presented: refresh, Salt: session.NewSalt(), Grace: d.cfg.Grace, Bind: bind, Device: device,
	})
	if err != nil {
		return Tokens{}, "", fmt.Errorf("refreshing session: %w", err)
	}
	if bind != d.cfg.Bind && rotated.Outcome != session.OutcomeUnknown && d.cfg.Bind.Tie(rotated.Session.Device) != d.cfg.Bind.Tie(device) {
		d.Emit(ctx, event.Event{Kind: event.SessionDevice, Outcome: event.Shadow, Reason: "shadow", Actor: rotated.Session.Actor()})
	}
	switch rotated.Outcome {
	case session.OutcomeRotated, session.OutcomeRetried:
		if access.Token == "" {
			return Tokens{}, "", errors.New("refreshing session: it was created during the refresh")
		}
		return Tokens{Access: access, Refresh: rotated.Current.Token(), Session: rotated.Session}, rotated.Outcome, nil
	case session.OutcomeReused:
		d.cfg.Logger.WarnContext(ctx, "refresh token reused, session ended", "session", rotated.Session.ID)
		d.Emit(ctx, event.Event{Kind: event.RefreshReused, Outcome: event.Refused, Actor: rotated.Session.Actor()})
		if err := d.revokeEnded(ctx, rotated.Session.Owner, rotated.Session.ID); err != nil {
			return Tokens{}, rotated.Outcome, fmt.Errorf("revoking reused session: %w", err)
		}
	}
	return Tokens{}, rotated.Outcome, fmt.Errorf("%w: %s", ErrGrant, rotated.Outcome)
}

// outcomeRevoked is the outcome, in metrics, for a refresh token whose session is revoked.
const outcomeRevoked session.Outcome = "revoked"

// refuseRevoked returns ErrGrant if the session or its subject is revoked.
func (d *LoginService) refuseRevoked(ctx context.Context, s session.Session) error {
	revoked, err := d.revoked(ctx, revocation.Query{Issuer: d.cfg.Issuer.cfg.Issuer, Session: s.ID, Subject: s.Subject, IssuedAt: s.Created})
	if err != nil {
		return fmt.Errorf("refreshing session: %w", err)
	}
	if !revoked {
		return nil
	}
	if _, err := d.cfg.Sessions.End(ctx, s.ID); err != nil {
		d.cfg.Logger.WarnContext(ctx, "ending revoked session failed, its refresh is refused", "error", err)
	}
	return fmt.Errorf("%w: %s", ErrGrant, outcomeRevoked)
}

// EndByRefreshToken ends the session of a refresh token, and reports whether there was one. A forged token ends nothing.
func (d *LoginService) EndByRefreshToken(ctx context.Context, refreshToken string) (bool, error) {
	refresh, err := session.ParseRefresh(refreshToken)
	if err != nil {
		return false, nil
	}
	// A rotation shows whether the token belongs to the session. The device does not matter for a logout.
	rotated, err := d.cfg.Sessions.Rotate(ctx, session.Rotation{
		Presented: refresh, Salt: session.NewSalt(), Grace: d.cfg.Grace, Bind: session.BindNone,
	})
	if err != nil {
		return false, fmt.Errorf("finding session: %w", err)
	}
	if rotated.Outcome == session.OutcomeUnknown {
		return false, nil
	}
	ended := rotated.Session
	ended.ID = refresh.ID
	if _, err := d.end(ctx, ended); err != nil {
		return false, err
	}
	return rotated.Outcome != session.OutcomeExpired, nil
}

// FailedLogin is the event of a subject whom the app has recognised and who was not logged in, by the error of Begin. Reason is the
// code of what was responded.
func FailedLogin(subject, reason string, err error) event.Event {
	e := event.Event{Kind: event.Login, Outcome: event.Failed, Reason: reason, Actor: event.Actor{Subject: subject}}
	if errors.Is(err, session.ErrFull) || errors.Is(err, ErrInvalid) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrRevoked) {
		e.Outcome = event.Refused
	}
	return e
}

// Emit emits an event of the login service's own, or of those who serve it to clients and to the app.
func (d *LoginService) Emit(ctx context.Context, e event.Event) { request.Emit(ctx, d.cfg.Events, e) }
