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

// Beginner begins sessions and goes on with them.
type Beginner interface {
	Create(ctx context.Context, n session.New) (session.Session, []string, error)
	Rotate(ctx context.Context, r session.Rotation) (session.Rotated, error)
}

// Sessions is what the login service needs of a session.Store.
type Sessions interface {
	Beginner
	SessionStore
}

// Revoked knows what is revoked; revocation.Judge does.
type Revoked interface {
	Revoked(ctx context.Context, q *revocation.Query) (bool, error)
}

// LoginServiceConfig is what a LoginService is made of.
type LoginServiceConfig struct {
	Issuer *Issuer
	// SessionManager is of the same issuer and store.
	SessionManager *SessionManager
	Sessions       Sessions
	// Revoked is asked at each refresh: a session that is revoked brings forth no token, even if its end has failed. Nil for
	// nobody.
	Revoked Revoked
	// Limits are the policy's for new sessions.
	Limits session.Limits
	// Grace is for how long a refresh token that was rotated may come again, because the answer was lost.
	Grace time.Duration
	// Bind is what of the device must stay the same.
	Bind session.Bind
	// Shadow lets logins beyond the cap and refreshes from another device pass, and counts them: a rule that is only tried out
	// must not log anybody out. At session.MaxPerSubject the oldest session ends all the same.
	Shadow bool
	Logger *slog.Logger
	// Events gets every login, refresh and logout; nil for nobody.
	Events *event.Stream
}

// LoginService begins, goes on with and ends logins, each with all its tokens. It is safe for concurrent use. It is also a SessionManager of the sessions.
type LoginService struct {
	*SessionManager
	cfg LoginServiceConfig
}

// retention is for how long past their end access tokens are remembered as revoked: the most that verifiers grant to exp.
const retention = time.Hour

// Errors of a LoginService, beside session.ErrFull and those of the stores and signers.
var (
	// ErrInvalid: the subject or the claims of a login cannot be used.
	ErrInvalid = errors.New("beginning session: the subject or the claims cannot be used")
	// ErrGrant: the refresh token is not good, whatever the reason.
	ErrGrant = errors.New("refreshing session: the refresh token is not good")
)

// NewLoginService returns a LoginService, or an error that says which setting to change.
func NewLoginService(c LoginServiceConfig) (*LoginService, error) {
	if c.Issuer == nil || c.SessionManager == nil || c.Sessions == nil || c.Logger == nil {
		return nil, errors.New("building tokens: Issuer, SessionManager, Sessions and Logger are required")
	}
	if c.SessionManager.cfg.Issuer != c.Issuer.cfg.Issuer {
		return nil, errors.New("building tokens: the SessionManager is of another issuer")
	}
	if err := c.Limits.Check(); err != nil {
		return nil, fmt.Errorf("building tokens: %w", err)
	}
	if c.Bind == "" {
		c.Bind = session.BindNone
	}
	if err := (session.Rotation{Grace: c.Grace, Bind: c.Bind}).Check(); err != nil {
		return nil, fmt.Errorf("building tokens: %w", err)
	}
	return &LoginService{SessionManager: c.SessionManager, cfg: c}, nil
}

// Login is a person whom the app has recognised.
type Login struct {
	Subject string
	// Claims is a JSON object, or nil.
	Claims json.RawMessage
	Device session.Device
	// Replace, if any, ends what the client was logged in as before. It is called once the login can be signed, so that one
	// which fails for that ends nothing.
	Replace func(context.Context) error
}

// Tokens are a session's.
type Tokens struct {
	Access
	Refresh secret.Value
	Session session.Session
	// Beyond says that the login was beyond the cap, which Shadow let pass.
	Beyond bool
}

// Begin begins a session with an id of its own. Sessions that it displaces at the cap are ended with their tokens. Errors:
// ErrInvalid, ErrTooLarge, session.ErrFull, and those of the stores and the signer; then there is no new session.
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
	// The token is signed first: a signer that is away then leaves no session behind and displaces none.
	end := d.cfg.Issuer.cfg.Now().Add(d.cfg.Limits.AbsoluteTimeout)
	access, err := d.cfg.Issuer.Issue(ctx, Grant{Subject: l.Subject, Session: id, Claims: claims, NotAfter: end})
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
		return Tokens{}, fmt.Errorf("revoking displaced sessions: %w", err)
	}
	return Tokens{Access: access, Refresh: refresh.Token(), Session: s, Beyond: d.beyond(ctx, s.Owner)}, nil
}

// printable refuses subjects with control characters or space around them, which look like others in a log.
func printable(subject string) bool {
	return subject != "" && strings.TrimSpace(subject) == subject && !strings.ContainsFunc(subject, func(r rune) bool {
		return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0
	})
}

// limits are those that hold.
func (d *LoginService) limits() session.Limits {
	limits := d.cfg.Limits
	if d.cfg.Shadow {
		limits.MaxPerSubject, limits.WhenFull = session.MaxPerSubject, session.EvictOldest
	}
	return limits
}

// beyond reports, in Shadow, whether an owner has more sessions than the policy's cap.
func (d *LoginService) beyond(ctx context.Context, owner session.Owner) bool {
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

// Abandon ends a session that nobody has been told of; where that fails it idles out.
func (d *LoginService) Abandon(ctx context.Context, id string) {
	if _, err := d.cfg.Sessions.End(ctx, id); err != nil {
		d.cfg.Logger.WarnContext(ctx, "a session that was not handed out stays until it idles out", "error", err)
	}
}

// Refresh answers a refresh token with new tokens. Errors: ErrGrant, and those of the stores and the signer, after which the
// token can be tried again. Reuse of an old token has ended the session when Refresh returns.
func (d *LoginService) Refresh(ctx context.Context, refreshToken string, device session.Device) (Tokens, session.Outcome, error) {
	presented, err := session.ParseRefresh(refreshToken)
	if err != nil {
		return Tokens{}, session.OutcomeUnknown, fmt.Errorf("%w: %w", ErrGrant, err)
	}
	// The access token is signed before the rotation. Were it the other way round, a signer that is away for longer than the
	// grace would leave the client with a token that counts as stolen. Nothing is handed out before the rotation.
	s, err := d.cfg.Sessions.Get(ctx, presented.ID)
	if err != nil && !errors.Is(err, session.ErrEnded) {
		return Tokens{}, "", fmt.Errorf("refreshing session: %w", err)
	}
	if err == nil && !s.Owns(presented) { // nothing is signed for who knows the session's id alone
		return Tokens{}, session.OutcomeUnknown, fmt.Errorf("%w: %s", ErrGrant, session.OutcomeUnknown)
	}
	var access Access
	if err == nil {
		if err := d.refuseRevoked(ctx, s); err != nil {
			return Tokens{}, outcomeRevoked, err
		}
		grant := Grant{Subject: s.Subject, Session: s.ID, Claims: s.Claims, NotAfter: s.AbsoluteExpiry}
		if access, err = d.cfg.Issuer.Issue(ctx, grant); err != nil {
			return Tokens{}, "", err
		}
	}
	bind := d.cfg.Bind
	if d.cfg.Shadow {
		bind = session.BindNone
	}
	rotated, err := d.cfg.Sessions.Rotate(ctx, session.Rotation{
		Presented: presented, Salt: session.NewSalt(), Grace: d.cfg.Grace, Bind: bind, Device: device,
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
			return Tokens{}, "", errors.New("refreshing session: it appeared while it was looked for")
		}
		return Tokens{Access: access, Refresh: rotated.Current.Token(), Session: rotated.Session}, rotated.Outcome, nil
	case session.OutcomeReused:
		d.cfg.Logger.WarnContext(ctx, "an old refresh token was used again; its session is ended", "session", rotated.Session.ID)
		d.Emit(ctx, event.Event{Kind: event.RefreshReused, Outcome: event.Refused, Actor: rotated.Session.Actor()})
		if err := d.revokeEnded(ctx, rotated.Session.Owner, rotated.Session.ID); err != nil {
			return Tokens{}, rotated.Outcome, fmt.Errorf("revoking reused session: %w", err)
		}
	}
	return Tokens{}, rotated.Outcome, fmt.Errorf("%w: %s", ErrGrant, rotated.Outcome)
}

// outcomeRevoked is the outcome of a refresh token whose session is revoked, for metrics.
const outcomeRevoked session.Outcome = "revoked"

// refuseRevoked returns ErrGrant for a session that is revoked, by itself or as one of its subject's.
func (d *LoginService) refuseRevoked(ctx context.Context, s session.Session) error {
	if d.cfg.Revoked == nil {
		return nil
	}
	q := revocation.Query{Issuer: d.cfg.Issuer.cfg.Issuer, Session: s.ID, Subject: s.Subject, IssuedAt: s.Created}
	revoked, err := d.cfg.Revoked.Revoked(ctx, &q)
	if err != nil {
		return fmt.Errorf("refreshing session: %w", err)
	}
	if !revoked {
		return nil
	}
	if _, err := d.cfg.Sessions.End(ctx, s.ID); err != nil {
		d.cfg.Logger.WarnContext(ctx, "a revoked session cannot be ended; it is not refreshed", "error", err)
	}
	return fmt.Errorf("%w: %s", ErrGrant, outcomeRevoked)
}

// EndPresented ends the session that a refresh token belongs to, and reports whether there was one. A token that only looks
// like one of the session's ends nothing.
func (d *LoginService) EndPresented(ctx context.Context, refreshToken string) (bool, error) {
	presented, err := session.ParseRefresh(refreshToken)
	if err != nil {
		return false, nil
	}
	// A rotation tells whether the token is of the family; the device does not matter for leaving.
	rotated, err := d.cfg.Sessions.Rotate(ctx, session.Rotation{
		Presented: presented, Salt: session.NewSalt(), Grace: d.cfg.Grace, Bind: session.BindNone,
	})
	if err != nil {
		return false, fmt.Errorf("finding session: %w", err)
	}
	if rotated.Outcome == session.OutcomeUnknown {
		return false, nil
	}
	ended := rotated.Session
	ended.ID = presented.ID
	if _, err := d.end(ctx, ended); err != nil {
		return false, err
	}
	return rotated.Outcome != session.OutcomeExpired, nil
}

// FailedLogin is the event of a subject whom the app has recognised and who was not logged in, by the error of Begin. Reason is the
// code of what was responded.
func FailedLogin(subject, reason string, err error) event.Event {
	e := event.Event{Kind: event.Login, Outcome: event.Failed, Reason: reason, Actor: event.Actor{Subject: subject}}
	if errors.Is(err, session.ErrFull) || errors.Is(err, ErrInvalid) || errors.Is(err, ErrTooLarge) {
		e.Outcome = event.Refused
	}
	return e
}

// Emit emits an event of the login service's own, or of those who serve it to clients and to the app.
func (d *LoginService) Emit(ctx context.Context, e event.Event) { request.Emit(ctx, d.cfg.Events, e) }
