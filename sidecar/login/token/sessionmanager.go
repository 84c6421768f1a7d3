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

// SessionStore is what a SessionManager needs of a session.Store.
type SessionStore interface {
	Reader
	Ender
}

// Revocations takes revocations; revocation.Store is one.
type Revocations interface {
	Add(ctx context.Context, entries ...revocation.Entry) (revocation.Position, error)
}

// SessionManagerConfig is what a SessionManager is made of.
type SessionManagerConfig struct {
	// Issuer is the claim iss of our own tokens, and Lifetime that of the longest; empty where there are none.
	Issuer   string
	Lifetime time.Duration
	// ExternalTokenLifetime is that of the longest token of external issuers.
	ExternalTokenLifetime time.Duration
	// Scope is the policy's "namespace/name".
	Scope string
	// SubjectFrom is by what sessions of external issuers are kept, and Ended knows which of them were ended.
	SubjectFrom session.SubjectFrom
	Ended       session.Ended
	Sessions    SessionStore
	Revocations Revocations
	Logger      *slog.Logger
	// Events gets the end of every session that is ended on purpose; nil for nobody.
	Events *event.Stream
	// Now is time.Now where nil.
	Now func() time.Time
}

// SessionManager lists and ends sessions, our own and those that are kept of external issuers. It is safe for concurrent use.
//
// A session of ours that ends takes its access tokens along: its sid is revoked for as long as the last of them could live.
// Where somebody asks for the end the revocation comes first, so that what fails half-way can be asked for again; where the
// store has decided it, nobody would ask again, and the SessionManager goes on trying by itself. The end of an external issuer's is told
// to every sidecar in the same way, as a Subject of ExternalSessionIssuer: its tokens are not ours to revoke, and it may begin anew under the
// same id, so that it is known by when it began.
type SessionManager struct {
	cfg SessionManagerConfig
	// later bounds what is tried in the background.
	later chan struct{}
}

// ExternalSessionIssuer stands, in revocations, for whoever keeps the sessions of external issuers for the policy "namespace/name"; the
// session's id stands for the subject, and its beginning for the time at which that got its token.
func ExternalSessionIssuer(scope string) string { return "postern:" + scope }

// NewSessionManager returns a SessionManager, or an error that says what is missing.
func NewSessionManager(c SessionManagerConfig) (*SessionManager, error) {
	if c.Scope == "" || c.Sessions == nil || c.Revocations == nil || c.Logger == nil {
		return nil, errors.New("building session manager: Scope, Sessions, Revocations and Logger are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &SessionManager{cfg: c, later: make(chan struct{}, maxLater)}, nil
}

// EndOwn ends a session of ours with its access tokens, and reports whether there was one. It asks for nothing before.
func (l *SessionManager) EndOwn(ctx context.Context, id string) (bool, error) {
	if !session.ValidID(id) {
		return false, nil
	}
	return l.end(ctx, session.Session{ID: id})
}

// End ends a session, ours or one that is kept of an external issuer, with its access tokens, and reports whether there was one.
func (l *SessionManager) End(ctx context.Context, id string) (bool, error) {
	if !session.ValidID(id) {
		return false, nil
	}
	s, err := l.cfg.Sessions.Get(ctx, id)
	if errors.Is(err, session.ErrEnded) { // what was revoked before that, or goes on being tried
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("finding session: %w", err)
	}
	// Somebody else may be faster, such as a refresh that meets the revocation: that is an end as well.
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

// EndAll ends an owner's sessions, each with its access tokens, but the one with the id except (empty for none), and
// returns how many there were.
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
	// Those that began in between are ended too.
	n := len(ids)
	between := slices.DeleteFunc(ids, func(id string) bool {
		return slices.ContainsFunc(sessions, func(s session.Session) bool { return s.ID == id })
	})
	return n, l.revokeEnded(ctx, owner, between...)
}

// EndOwned ends one of an owner's sessions, and reports false where it is not theirs or there is none.
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

// List returns an owner's sessions, the last seen first.
func (l *SessionManager) List(ctx context.Context, owner session.Owner) ([]session.Session, error) {
	sessions, err := l.cfg.Sessions.List(ctx, owner)
	if err != nil {
		return nil, fmt.Errorf("listing sessions: %w", err)
	}
	return sessions, nil
}

// Active reports whether a session goes on.
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

// GoesOn reports whether the session of a verified token goes on. One of an external issuer that has not begun yet does, and so,
// for all that can be told, does one that idled out; one that was ended does not.
func (l *SessionManager) GoesOn(ctx context.Context, id *identity.Identity) (bool, error) {
	if l.cfg.Issuer != "" && id.Issuer == l.cfg.Issuer {
		return l.Active(ctx, l.OwnSessionID(id))
	}
	kept := session.ExternalIDOf(id, l.cfg.SubjectFrom)
	if kept == "" || l.cfg.Ended == nil {
		return true, nil
	}
	if ended, err := l.cfg.Ended(ctx, kept, time.Time{}); err != nil || !ended {
		return err == nil, err
	}
	return l.Active(ctx, kept) // it may have begun anew
}

// OwnSessionID returns the sid of an access token of ours; empty for tokens of other issuers and for nil.
func (l *SessionManager) OwnSessionID(id *identity.Identity) string {
	if id == nil || id.Issuer != l.cfg.Issuer {
		return ""
	}
	sid, _ := id.Claims["sid"].(string)
	return sid
}

// Owner is whose sessions those of a subject are; an empty issuer stands for ours.
func (l *SessionManager) Owner(issuer, subject string) session.Owner {
	if issuer == l.cfg.Issuer {
		issuer = ""
	}
	return session.Owner{Issuer: issuer, Subject: subject}
}

// revoke makes the sessions' access tokens worthless everywhere, and tells everybody that external issuers' have ended.
func (l *SessionManager) revoke(ctx context.Context, sessions ...session.Session) error {
	var entries []revocation.Entry
	for _, s := range sessions {
		e := revocation.Entry{Kind: revocation.Session, Issuer: l.cfg.Issuer, Value: s.ID, Expires: l.cfg.Now().Add(l.cfg.Lifetime + retention)}
		if s.External { // by the store's clock, as Created is
			e.Kind, e.Issuer, e.Before = revocation.Subject, ExternalSessionIssuer(l.cfg.Scope), s.Created.Add(time.Microsecond)
			e.Expires = l.cfg.Now().Add(l.cfg.ExternalTokenLifetime + retention)
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

// What a SessionManager tries in the background: at most so many at once, for so long, with pauses between these.
const (
	maxLater               = 64
	laterFor               = 5 * time.Minute
	laterFirst, laterPause = 100 * time.Millisecond, 5 * time.Second
)

// revokeEnded revokes sessions that the store has ended by its own decision. Where it fails it is tried on in the background:
// nobody could ask for it again.
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
		go l.revokeLater(context.WithoutCancel(ctx), sessions)
	default:
		l.cfg.Logger.WarnContext(ctx, "access tokens of ended sessions stay good until they expire", "sessions", len(sessions), "error", err)
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
			l.cfg.Logger.WarnContext(ctx, "access tokens of ended sessions stay good until they expire", "sessions", len(sessions))
			return
		case <-time.After(wait):
		}
		if l.revoke(ctx, sessions...) == nil {
			return
		}
	}
}
