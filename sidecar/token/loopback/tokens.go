package loopback

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"

	"github.com/posterndev/postern/sidecar/httperr"
	"github.com/posterndev/postern/sidecar/revocation"
	"github.com/posterndev/postern/sidecar/session"
	"github.com/posterndev/postern/sidecar/token"
	"github.com/posterndev/postern/sidecar/token/jws"
)

// issueRequest asks for a login.
type issueRequest struct {
	Subject string          `json:"subject"`
	Claims  json.RawMessage `json:"claims,omitempty"`
	Device  deviceRequest   `json:"device"`
}

// deviceRequest is what the app knows of the person's device.
type deviceRequest struct {
	UserAgent string `json:"user_agent,omitempty"`
	Address   string `json:"address,omitempty"`
}

// issueAnswer is RFC 6749 §5.1's, with the session's id.
type issueAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
	SessionID    string `json:"session_id"`
}

// issue begins a session: 409 at the cap, 422 where subject or claims cannot be used, 503 where the store or key is away.
func (a *api) issue(w http.ResponseWriter, r *http.Request) error {
	var request issueRequest
	if err := readJSON(w, r, &request); err != nil {
		return err
	}
	var address netip.Addr
	if request.Device.Address != "" {
		var err error
		if address, err = netip.ParseAddr(request.Device.Address); err != nil {
			return badRequest(http.StatusUnprocessableEntity, "The device's address is no IP address.")
		}
	}
	tokens, err := a.Tokens.Desk.Begin(r.Context(), token.Login{
		Subject: request.Subject, Claims: request.Claims, Device: session.NewDevice(request.Device.UserAgent, address),
	})
	switch {
	case err == nil:
	case errors.Is(err, session.ErrFull):
		return &httperr.Error{Status: http.StatusConflict, Code: "session-limit", Detail: "The subject has as many sessions as it may have.", Cause: err}
	case errors.Is(err, token.ErrInvalid), errors.Is(err, token.ErrTooLarge):
		return badRequest(http.StatusUnprocessableEntity, "The subject or the claims cannot be used.")
	default:
		return unavailable(err)
	}
	return write(w, issueAnswer{
		AccessToken: tokens.Token, TokenType: "Bearer", ExpiresIn: int64(tokens.Expires.Sub(tokens.Issued).Seconds()),
		RefreshToken: string(tokens.Refresh.Reveal()), SessionID: tokens.Session.ID,
	})
}

// tokenRequest is the parameters of RFC 7662 and RFC 7009.
type tokenRequest struct {
	Token string `json:"token"`
	// TokenTypeHint is taken and not needed: the two kinds of token look different.
	TokenTypeHint string `json:"token_type_hint,omitempty"`
}

// introspect answers RFC 7662 §2.2 for access tokens of ours: their claims and active, or active=false and nothing more. A
// refresh token is not active: it is no token for a resource.
func (a *api) introspect(w http.ResponseWriter, r *http.Request) error {
	raw, err := readToken(w, r)
	if err != nil {
		return err
	}
	t, err := a.active(r, raw)
	if err != nil {
		return unavailable(err)
	}
	if t == nil {
		return write(w, map[string]any{"active": false})
	}
	answer := map[string]any{}
	for name, value := range t.Claims {
		answer[name] = value
	}
	answer["active"], answer["token_type"] = true, "Bearer"
	return write(w, answer)
}

// active returns the token, if it is good, its session goes on and it is not revoked; nil where it is not.
func (a *api) active(r *http.Request, raw string) (*jws.Token, error) {
	t, err := a.Tokens.Own.Verify(r.Context(), raw, a.Now())
	if errors.Is(err, jws.ErrInvalid) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	revoked, err := a.Tokens.Revoked.Revoked(r.Context(), &revocation.Query{
		Issuer: t.Issuer, TokenID: t.ID, Session: t.Session, Subject: t.Subject, KeyID: t.KeyID, IssuedAt: t.Issued,
	})
	if err != nil || revoked {
		return nil, err
	}
	goesOn, err := a.Tokens.Desk.Active(r.Context(), t.Session)
	if err != nil || !goesOn {
		return nil, err
	}
	return t, nil
}

// revoke answers RFC 7009 §2.2: 200 whatever the token was. An access token is revoked alone; a refresh token ends its
// session.
func (a *api) revoke(w http.ResponseWriter, r *http.Request) error {
	raw, err := readToken(w, r)
	if err != nil {
		return err
	}
	if _, err := session.ParseRefresh(raw); err == nil {
		if _, err := a.Tokens.Desk.EndPresented(r.Context(), raw); err != nil {
			return unavailable(err)
		}
		return write(w, struct{}{})
	}
	t, err := a.Tokens.Own.Verify(r.Context(), raw, a.Now())
	if err == nil {
		err = a.Tokens.Desk.RevokeToken(r.Context(), t.ID, t.Expires)
	}
	if err != nil && !errors.Is(err, jws.ErrInvalid) {
		return unavailable(err)
	}
	return write(w, struct{}{})
}
