package appapi

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/netip"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/token"
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
	tokens, err := a.LoginService.Begin(r.Context(), token.Login{
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

// introspect answers RFC 7662 §2.2 for access tokens of every issuer that the policy accepts: their claims and active, or
// active=false and nothing more. A refresh token is not active: it is no token for a resource.
func (a *api) introspect(w http.ResponseWriter, r *http.Request) error {
	raw, err := readToken(w, r)
	if err != nil {
		return err
	}
	id, err := a.active(r.Context(), raw)
	if err != nil {
		return unavailable(err)
	}
	if id == nil {
		return write(w, map[string]any{"active": false})
	}
	answer := maps.Clone(id.Claims)
	answer["active"], answer["token_type"] = true, "Bearer"
	return write(w, answer)
}

// active returns what the token says, if it is good, its session goes on and it is not revoked; nil where it is not.
func (a *api) active(ctx context.Context, raw string) (*identity.Identity, error) {
	id, err := a.Verifier.Verify(ctx, raw)
	if err != nil || id == nil {
		return nil, err
	}
	q := revocation.QueryOf(id)
	revoked, err := a.Revoked.Revoked(ctx, &q)
	if err != nil || revoked {
		return nil, err
	}
	if a.SessionManager == nil {
		return id, nil
	}
	active, err := a.SessionManager.ActiveFor(ctx, id)
	if err != nil || !active {
		return nil, err
	}
	return id, nil
}

// revoke answers RFC 7009 §2.2: 200 whatever the token was, unless it is good and cannot be told from others. An access token
// is revoked alone; a refresh token ends its session.
func (a *api) revoke(w http.ResponseWriter, r *http.Request) error {
	raw, err := readToken(w, r)
	if err != nil {
		return err
	}
	if _, err := session.ParseRefresh(raw); err == nil && a.LoginService != nil {
		if _, err := a.LoginService.EndByRefreshToken(r.Context(), raw); err != nil {
			return unavailable(err)
		}
		return write(w, struct{}{})
	}
	id, err := a.Verifier.Verify(r.Context(), raw)
	if err != nil {
		return unavailable(err)
	}
	if id == nil {
		return write(w, struct{}{})
	}
	if id.TokenID == "" {
		return badRequest(http.StatusUnprocessableEntity, "The token has no jti, by which alone it could be told from others; revoke its session or its subject.")
	}
	if err := a.Revoker.RevokeToken(r.Context(), id.Issuer, id.TokenID, id.Expires); err != nil {
		return unavailable(err)
	}
	return write(w, struct{}{})
}
