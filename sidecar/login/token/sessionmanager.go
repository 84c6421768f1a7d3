package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
)

// Reader finds sessions.
type Reader interface {
	Get(ctx context.Context, id string) (session.Session, error)
	List(ctx context.Context, owner session.Owner) ([]session.Session, error)
}

// Ender ends sessions.
type Ender interface {
	End(ctx context.Context, id string) (bool, error)
	EndAll(ctx context.Context, owner session.Owner, except string) ([]string, error)
}

// SessionStore is the part of a session.Store that a SessionManager needs.
type SessionStore interface {
	Reader
	Ender
}

// Revocations stores revocations; revocation.Store implements it.
type Revocations interface {
	Add(ctx context.Context, entries ...revocation.Entry) (revocation.Position, error)
}

// SessionManagerConfig configures a SessionManager. Scope, Sessions, Revocations and Logger are required.
type SessionManagerConfig struct {
	// Issuer is the claim iss of the tokens that the policy issues, and Lifetime their maximum lifetime; empty if it issues none.
	Issuer   string
	Lifetime time.Duration
	// ExternalTokenLifetime is the maximum lifetime of tokens of external issuers.
	ExternalTokenLifetime time.Duration
	// Scope is the policy's "namespace/name".
	Scope string
	// SubjectFrom is the claim that identifies sessions of external issuers. Ended reports which of these have ended.
	SubjectFrom session.SubjectFrom
	Ended       session.Ended
	Sessions    SessionStore
	Revocations Revocations
	Logger      *slog.Logger
	// Events receives the end of every session that is ended on purpose. It may be nil.
	Events *event.Stream
	// Now defaults to time.Now.
	Now func() time.Time
}

// SessionManager lists and ends sessions: own sessions, whose tokens the policy issues, and external sessions, which it tracks
// for the tokens of external issuers. It is safe for concurrent use.
//
// Ending an own session revokes its access tokens: its sid is revoked for the remaining lifetime of the last token. If a caller
// asks for the end, the revocation comes first, so that the caller can repeat what failed half-way. If the store ended the
// session, no caller would repeat it, so the SessionManager retries in the background.
//
// The end of an external session is published to all sidecars in the same way, as a Subject of ExternalSessionIssuer. Its tokens
// belong to another issuer, and a new session can begin under the same id, so the start time tells the sessions apart.
type SessionManager struct {
	cfg SessionManagerConfig
	// later bounds the number of background retries.
	later chan struct{}
}

// ExternalSessionIssuer returns the issuer under which revocations name external sessions of the policy "namespace/name". The
// session's id is the subject, and its start time is the time of issue.
func ExternalSessionIssuer(scope string) string { return "postern:" + scope }

// NewSessionManager returns a SessionManager. Its error says which setting is missing.
func NewSessionManager(c SessionManagerConfig) (*SessionManager, error) {
	if c.Scope == "" || c.Sessions == nil || c.Revocations == nil || c.Logger == nil {
		return nil, errors.New("building session manager: Scope, Sessions, Revocations and Logger are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &SessionManager{cfg: c, later: make(chan struct{}, maxLater)}, nil
}

// EndOwn ends an own session with its access tokens, and reports whether there was one. Unlike End, it does not read the session
// first.
func (l *SessionManager) EndOwn(ctx context.Context, id string) (bool, error) {
	if !session.ValidID(id) {
		return false, nil
	}
	return l.end(ctx, session.Session{ID: id})
}

// End ends an own or external session with its access tokens, and reports whether there was one.
func (l *SessionManager) End(ctx context.Context, id string) (bool, error) {
	if !session.ValidID(id) {
		return false, nil
	}
	s, err := l.cfg.Sessions.Get(ctx, id)
	if errors.Is(err, session.ErrEnded) { // its tokens are revoked already, or revokeLater is retrying
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("finding session: %w", err)
	}
	// A concurrent call can end it first, such as a refresh that finds the revocation. That counts as ended.
	_, err = l.end(ctx, s)
	return err == nil, err
}

func (l *SessionManager) end(ctx context.Context, s session.Session) (bool, error) {
	if err := l.revoke(ctx, s); err != nil {
		return false, err
	}
	ended, err := l.cfg.Sessions.End(ctx, s.ID)
	if err != nil {
		return false, fmt.Errorf("ending session: %w", err)
	}
	if ended {
		l.emitEnded(ctx, s.Actor())
	}
	return ended, nil
}

func (l *SessionManager) emitEnded(ctx context.Context, whose event.Actor) {
	request.Emit(ctx, l.cfg.Events, event.Event{Kind: event.SessionEnded, Outcome: event.Success, Actor: whose})
}

// EndAll ends an owner's sessions with their access tokens, except the one with the id except (empty for none), and returns how
// many it ended.
func (l *SessionManager) EndAll(ctx context.Context, owner session.Owner, except string) (int, error) {
	listed, err := l.List(ctx, owner)
	if err != nil {
		return 0, err
	}
	sessions := make([]session.Session, 0, len(listed))
	for _, s := range listed {
		if s.ID != except {
			sessions = append(sessions, s)
		}
	}
	if err := l.revoke(ctx, sessions...); err != nil {
		return 0, err
	}
	ids, err := l.cfg.Sessions.EndAll(ctx, owner, except)
	if err != nil {
		return 0, fmt.Errorf("ending sessions: %w", err)
	}
	for _, id := range ids {
		l.emitEnded(ctx, session.Session{ID: id, Owner: owner}.Actor())
	}
	// Sessions that began after List have ended too, and still have to be revoked.
	n := len(ids)
	between := slices.DeleteFunc(ids, func(id string) bool {
		return slices.ContainsFunc(sessions, func(s session.Session) bool { return s.ID == id })
	})
	return n, l.revokeEnded(ctx, owner, between...)
}

// EndOwned ends one of an owner's sessions. It reports false if the session does not exist or belongs to another owner.
func (l *SessionManager) EndOwned(ctx context.Context, owner session.Owner, id string) (bool, error) {
	if !session.ValidID(id) {
		return false, nil
	}
	s, err := l.cfg.Sessions.Get(ctx, id)
	if errors.Is(err, session.ErrEnded) || err == nil && s.Owner != owner {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("finding session: %w", err)
	}
	_, err = l.end(ctx, s)
	return err == nil, err
}

// List returns an owner's sessions, the most recently used first.
func (l *SessionManager) List(ctx context.Context, owner session.Owner) ([]session.Session, error) {
	sessions, err := l.cfg.Sessions.List(ctx, owner)
	if err != nil {
		return nil, fmt.Errorf("listing sessions: %w", err)
	}
	return sessions, nil
}

// Find returns an owner's sessions as List does, with their claims.
func (l *SessionManager) Find(ctx context.Context, owner session.Owner) ([]session.Session, error) {
	listed, err := l.List(ctx, owner)
	if err != nil {
		return nil, err
	}
	found := make([]session.Session, 0, len(listed))
	for _, s := range listed {
		whole, err := l.cfg.Sessions.Get(ctx, s.ID)
		if errors.Is(err, session.ErrEnded) || err == nil && whole.Owner != owner {
			continue // it ended meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("reading session: %w", err)
		}
		found = append(found, whole)
	}
	return found, nil
}

// Active reports whether a session exists and has not ended.
func (l *SessionManager) Active(ctx context.Context, id string) (bool, error) {
	if !session.ValidID(id) {
		return false, nil
	}
	switch _, err := l.cfg.Sessions.Get(ctx, id); {
	case errors.Is(err, session.ErrEnded):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("finding session: %w", err)
	}
	return true, nil
}

// ActiveFor reports whether the session of a verified token is active. An external session that has not begun counts as active.
// So does one that ended by its idle timeout, because the two cannot be told apart. One that was ended does not.
func (l *SessionManager) ActiveFor(ctx context.Context, id *identity.Identity) (bool, error) {
	if l.cfg.Issuer != "" && id.Issuer == l.cfg.Issuer {
		return l.Active(ctx, l.OwnSessionID(id))
	}
	external := session.ExternalIDOf(id, l.cfg.SubjectFrom)
	if external == "" || l.cfg.Ended == nil {
		return true, nil
	}
	if ended, err := l.cfg.Ended(ctx, external, time.Time{}); err != nil || !ended {
		return err == nil, err
	}
	return l.Active(ctx, external) // a new session may have begun
}

// OwnSessionID returns the sid of a token that the policy has issued; empty for nil and for tokens of other issuers.
func (l *SessionManager) OwnSessionID(id *identity.Identity) string {
	if id == nil || id.Issuer != l.cfg.Issuer {
		return ""
	}
	sid, _ := id.Claims["sid"].(string)
	return sid
}

// Owner returns the owner of a subject's sessions. For the policy's own issuer, Owner.Issuer is empty.
func (l *SessionManager) Owner(issuer, subject string) session.Owner {
	if issuer == l.cfg.Issuer {
		issuer = ""
	}
	return session.Owner{Issuer: issuer, Subject: subject}
}

// revoke revokes the access tokens of own sessions, and publishes the end of external ones.
func (l *SessionManager) revoke(ctx context.Context, sessions ...session.Session) error {
	var entries []revocation.Entry
	for _, s := range sessions {
		e := revocation.Entry{Kind: revocation.Session, Issuer: l.cfg.Issuer, Value: s.ID, Expires: l.cfg.Now().Add(l.cfg.Lifetime + retention)}
		if s.External { // Created and Before use the store's clock
			e.Kind, e.Issuer, e.Before = revocation.Subject, ExternalSessionIssuer(l.cfg.Scope), s.Created.Add(time.Microsecond)
			e.Expires = revocation.ExpiryAfter(l.cfg.Now(), l.cfg.ExternalTokenLifetime+retention)
		}
		if e.Issuer != "" {
			entries = append(entries, e)
		}
	}
	if len(entries) == 0 {
		return nil
	}
	if _, err := l.cfg.Revocations.Add(ctx, entries...); err != nil {
		return fmt.Errorf("revoking sessions: %w", err)
	}
	return nil
}

// Bounds of background retries: the number at once, the total time, and the first and the longest pause.
const (
	maxLater               = 64
	laterFor               = 5 * time.Minute
	laterFirst, laterPause = 100 * time.Millisecond, 5 * time.Second
)

// revokeEnded revokes sessions that the store has ended by itself. If that fails it is retried in the background, because no
// caller would repeat it.
func (l *SessionManager) revokeEnded(ctx context.Context, owner session.Owner, ids ...string) error {
	sessions := make([]session.Session, len(ids))
	for i, id := range ids {
		sessions[i] = session.Session{ID: id, Owner: owner, External: owner.Issuer != "", Created: l.cfg.Now()}
	}
	err := l.revoke(ctx, sessions...)
	if err == nil {
		return nil
	}
	select {
	case l.later <- struct{}{}:
		go l.revokeLater(request.Detach(ctx), sessions)
	default:
		l.cfg.Logger.WarnContext(ctx, "revoking access tokens of ended sessions failed, they are accepted until they expire", "sessions", len(sessions), "error", err)
	}
	return err
}

func (l *SessionManager) revokeLater(ctx context.Context, sessions []session.Session) {
	defer func() { <-l.later }()
	ctx, cancel := context.WithTimeout(ctx, laterFor)
	defer cancel()
	for wait := laterFirst; ; wait = min(2*wait, laterPause) {
		select {
		case <-ctx.Done():
			l.cfg.Logger.WarnContext(ctx, "revoking access tokens of ended sessions failed, they are accepted until they expire", "sessions", len(sessions))
			return
		case <-time.After(wait):
		}
		if l.revoke(ctx, sessions...) == nil {
			return
		}
	}
}
