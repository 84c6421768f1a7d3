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

// logoutEvent is the member of the claim "events" that identifies a logout token.
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// Bounds of the request body and of the jti, in bytes.
const (
	maxBody = 20 << 10
	maxID   = 256
)

// Reasons of this package, in addition to those of package jwt.
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

// reasonOf returns why the token is invalid. It returns false if a store or the keys are unavailable: the provider can then send
// the token again.
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
	// session is the claim sid. It may be empty.
	session string
}

// actor returns the subject and session of the token, or an empty Actor if the token was not verified.
func (t logoutToken) actor() event.Actor {
	if t.Token == nil {
		return event.Actor{}
	}
	return event.Actor{Issuer: t.Issuer, Subject: t.Subject, Session: t.session, TokenID: t.ID}
}

// logout reads, verifies and executes the logout token. It returns the actor of the token as soon as its signature is verified.
// An error has a reason (see reasonOf) if the token is invalid.
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
			e.Logger.WarnContext(r.Context(), "forgetting logout token failed; it cannot be sent again", "issuer", p.Issuer, "error", forget)
		}
		return t.actor(), err
	}
	e.Logger.InfoContext(r.Context(), "logged out by the provider", "issuer", p.Issuer, "bySession", t.session != "")
	return t.actor(), nil
}

// readToken returns the form field logout_token (§2.5).
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

// verify returns the verified token and its provider. Until the signature is verified, the issuer is only a claim of the sender.
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

// check checks what a logout token requires beyond a verified token (§2.6).
func check(verified *jwt.Token) (logoutToken, error) {
	t := logoutToken{Token: verified}
	if sid, present := t.Claims["sid"]; present {
		var isText bool
		if t.session, isText = sid.(string); !isText {
			return t, jwt.BecauseOf(jwt.ClaimType, "sid", "is %s; it must be a string", jwt.TypeName(sid))
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

// end revokes the provider's tokens and ends the external sessions. Both steps are idempotent.
func (e *endpoint) end(ctx context.Context, p provider, t logoutToken, now time.Time) error {
	entry := revocation.Entry{Kind: revocation.Session, Issuer: p.Issuer, Value: t.session, Expires: revocation.ExpiryAfter(now, p.TokenLifetime+p.Leeway)}
	if t.session == "" {
		// iat has whole seconds: tokens of the second of the logout are revoked too.
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
			return nil // there is no session to end; the revocation of the sid suffices
		}
	}
	if _, err := e.Sessions.End(ctx, session.ExternalID(p.Issuer, external)); err != nil {
		return fmt.Errorf("ending session by logout token: %w", err)
	}
	return nil
}
