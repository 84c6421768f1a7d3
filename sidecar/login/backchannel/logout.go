package backchannel

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/reqbody"
	"github.com/posterndev/postern/sidecar/keys/jwt"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
)

// logoutEvent is the member of "events" that makes a token a logout token.
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// Bounds of the body, and of a logout token's jti, in bytes.
const (
	maxBody = 20 << 10
	maxID   = 256
)

// The reasons that this package adds to those of package jwt.
const (
	reasonRequest  jwt.Reason = "malformed_request"
	reasonEvent    jwt.Reason = "no_logout_event"
	reasonNonce    jwt.Reason = "nonce"
	reasonSubject  jwt.Reason = "no_subject"
	reasonID       jwt.Reason = "no_token_id"
	reasonRevoked  jwt.Reason = "revoked"
	reasonReplayed jwt.Reason = "replayed"
	reasonValue    jwt.Reason = "value_not_revocable"
)

// reasonOf returns why the token is not valid; false where a store or the keys are away, so that it can be sent again.
func reasonOf(err error) (jwt.Reason, bool) {
	var reason jwt.Reason
	if !errors.As(err, &reason) || reason == jwt.Unavailable {
		return "", false
	}
	return reason, true
}

// logoutToken is a verified logout token.
type logoutToken struct {
	*jwt.Token
	// session is the claim sid, or empty.
	session string
}

// actor is whom the token names; nobody where it is not verified.
func (t logoutToken) actor() event.Actor {
	if t.Token == nil {
		return event.Actor{}
	}
	return event.Actor{Issuer: t.Issuer, Subject: t.Subject, Session: t.session, TokenID: t.ID}
}

// logout reads, checks and carries out the token, and returns whom it names as soon as its signature is verified. Errors have a
// reason (reasonOf) where the token is at fault.
func (e *endpoint) logout(r *http.Request) (event.Actor, error) {
	raw, err := readToken(r)
	if err != nil {
		return event.Actor{}, err
	}
	now := e.Now()
	p, t, err := e.verify(r.Context(), raw, now)
	if err != nil {
		return t.actor(), err
	}
	first, err := e.Replay.First(r.Context(), p.Issuer, t.ID, t.Expires.Sub(now)+p.Leeway+time.Minute)
	if err != nil {
		return t.actor(), fmt.Errorf("remembering logout token: %w", err)
	}
	if !first {
		return t.actor(), reasonReplayed
	}
	if err := e.end(r.Context(), p, t, now); err != nil {
		if forget := e.Replay.Forget(r.Context(), p.Issuer, t.ID); forget != nil {
			e.Logger.WarnContext(r.Context(), "a logout token that failed cannot be sent again", "issuer", p.Issuer, "error", forget)
		}
		return t.actor(), err
	}
	e.Logger.InfoContext(r.Context(), "logged out by the provider", "issuer", p.Issuer, "bySession", t.session != "")
	return t.actor(), nil
}

// readToken reads the form's logout_token (§2.5).
func readToken(r *http.Request) (string, error) {
	body, err := reqbody.Read(r, reqbody.Limits{Bytes: maxBody})
	if err != nil {
		return "", jwt.Because(reasonRequest, fmt.Errorf("reading body: %w", err))
	}
	raw, found, err := body.Field(reqbody.Selector{Form: "logout_token"})
	switch {
	case err != nil:
		return "", jwt.Because(reasonRequest, fmt.Errorf("reading logout_token: %w", err))
	case !found:
		return "", jwt.Because(reasonRequest, errors.New("the form has no logout_token"))
	}
	return raw, nil
}

// verify returns the token and whose it is. The issuer is not known to be the sender before the signature is.
func (e *endpoint) verify(ctx context.Context, raw string, now time.Time) (provider, logoutToken, error) {
	parsed, err := jwt.Parse(raw)
	if err != nil {
		return provider{}, logoutToken{}, err
	}
	p, ok := e.providers[parsed.Issuer()]
	if !ok {
		return provider{}, logoutToken{}, jwt.UnknownIssuer
	}
	verified, err := p.rules.Verify(ctx, parsed, now)
	if err != nil {
		return p, logoutToken{}, err
	}
	t, err := check(verified)
	if err != nil {
		return p, t, err
	}
	revoked, err := e.Revoked.Revoked(ctx, &revocation.Query{Issuer: p.Issuer, TokenID: t.ID, KeyID: t.Key.ID()})
	if err != nil {
		return p, t, fmt.Errorf("looking up logout token: %w", err)
	}
	if revoked { // the token itself, or the key that has signed it
		return p, t, reasonRevoked
	}
	return p, t, nil
}

// check is what makes a verified token a logout token (§2.6).
func check(verified *jwt.Token) (logoutToken, error) {
	t := logoutToken{Token: verified}
	if sid, present := t.Claims["sid"]; present {
		var isText bool
		if t.session, isText = sid.(string); !isText {
			return t, jwt.Malformed
		}
	}
	events, _ := t.Claims["events"].(map[string]any)
	_, isLogout := events[logoutEvent].(map[string]any)
	_, hasNonce := t.Claims["nonce"]
	switch {
	case !isLogout:
		return t, reasonEvent
	case hasNonce: // as ID tokens have
		return t, reasonNonce
	case t.Subject == "" && t.session == "":
		return t, reasonSubject
	case t.ID == "" || len(t.ID) > maxID:
		return t, reasonID
	}
	return t, nil
}

// end revokes the provider's tokens and ends the external sessions. Both can be done again.
func (e *endpoint) end(ctx context.Context, p provider, t logoutToken, now time.Time) error {
	entry := revocation.Entry{Kind: revocation.Session, Issuer: p.Issuer, Value: t.session, Expires: revocation.ExpiryAfter(now, p.TokenLifetime+p.Leeway)}
	if t.session == "" {
		// Tokens have whole seconds: those of the second of the logout are ended too.
		entry.Kind, entry.Value, entry.Before = revocation.Subject, t.Subject, t.Issued.Add(time.Second)
	}
	if _, err := e.Revocations.Add(ctx, entry); err != nil {
		if errors.Is(err, revocation.ErrInvalid) {
			return jwt.Because(reasonValue, err)
		}
		return fmt.Errorf("revoking by logout token: %w", err)
	}
	return e.endExternal(ctx, p, t)
}

func (e *endpoint) endExternal(ctx context.Context, p provider, t logoutToken) error {
	if t.session == "" {
		if _, err := e.Sessions.EndAll(ctx, session.Owner{Issuer: p.Issuer, Subject: t.Subject}, ""); err != nil {
			return fmt.Errorf("ending sessions by logout token: %w", err)
		}
		return nil
	}
	external := t.session
	if p.BySubject {
		if external = t.Subject; external == "" {
			return nil // the revocation of the sid stands for the session
		}
	}
	if _, err := e.Sessions.End(ctx, session.ExternalID(p.Issuer, external)); err != nil {
		return fmt.Errorf("ending session by logout token: %w", err)
	}
	return nil
}
