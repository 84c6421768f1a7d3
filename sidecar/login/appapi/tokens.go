package appapi

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/netip"

	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/token"
)

// issueRequest is the request for a login.
type issueRequest struct {
	Subject string          `json:"subject"`
	Claims  json.RawMessage `json:"claims,omitempty"`
	Device  deviceRequest   `json:"device"`
}

// deviceRequest is the user's device, as far as the app knows it.
type deviceRequest struct {
	UserAgent string `json:"user_agent,omitempty"`
	Address   string `json:"address,omitempty"`
}

// issueResponse is the response of RFC 6749 §5.1 with the session's id.
type issueResponse struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
	SessionID    string `json:"session_id"`
}

// issue begins a session. It refuses with 409 at the session limit, 422 for an invalid subject or claims, and 503 if the store or
// the key is unavailable.
func (a *api) issue(w http.ResponseWriter, r *http.Request) error {
	var request issueRequest
	if err := readJSON(r, &request); err != nil {
		return err
	}
	var address netip.Addr
	if request.Device.Address != "" {
		var err error
		if address, err = netip.ParseAddr(request.Device.Address); err != nil {
			return badRequest(http.StatusUnprocessableEntity, "device.address must be an IP address.")
		}
	}
	tokens, err := a.LoginService.Begin(r.Context(), token.Login{
		Subject: request.Subject, Claims: request.Claims, Device: session.NewDevice(request.Device.UserAgent, address),
	})
	if err != nil {
		refusal := refuseLogin(err)
		e := token.FailedLogin(request.Subject, string(refusal.Code), err)
		e.ClientAddr = address
		a.LoginService.Emit(r.Context(), e)
		if refusal.Status >= http.StatusInternalServerError {
			a.acted(r, record.IssueTokens, event.Event{Actor: event.Actor{Subject: request.Subject}, ClientAddr: address}, err)
		}
		return refusal
	}
	a.LoginService.Emit(r.Context(), event.Event{Kind: event.Login, Outcome: event.Success, Actor: tokens.Session.Actor(), ClientAddr: address})
	a.acted(r, record.IssueTokens, event.Event{Actor: tokens.Session.Actor(), ClientAddr: address}, nil)
	return write(w, issueResponse{
		AccessToken: tokens.Token, TokenType: "Bearer", ExpiresIn: int64(tokens.Expires.Sub(tokens.Issued).Seconds()),
		RefreshToken: string(tokens.Refresh.Reveal()), SessionID: tokens.Session.ID,
	})
}

func refuseLogin(err error) *httperr.Error {
	switch {
	case errors.Is(err, session.ErrFull):
		return &httperr.Error{Status: http.StatusConflict, Code: "session-limit", Detail: "The subject has its maximum number of sessions.", Cause: err}
	case errors.Is(err, token.ErrRevoked):
		return &httperr.Error{Status: http.StatusForbidden, Code: "login-revoked", Detail: "The subject is revoked up to a time in the future.", Cause: err}
	case errors.Is(err, token.ErrInvalid), errors.Is(err, token.ErrTooLarge):
		return httperr.From(badRequest(http.StatusUnprocessableEntity, "The subject or the claims are invalid."))
	default:
		return httperr.From(unavailable(err))
	}
}

// tokenRequest holds the parameters of RFC 7662 and RFC 7009.
type tokenRequest struct {
	Token string `json:"token"`
	// TokenTypeHint is accepted and ignored: the two kinds of token have different forms.
	TokenTypeHint string `json:"token_type_hint,omitempty"`
}

// introspect implements RFC 7662 for access tokens of every issuer that the policy accepts. The response has the claims and
// active=true, or only active=false. A refresh token is not active, because it is not a token for a resource.
func (a *api) introspect(w http.ResponseWriter, r *http.Request) error {
	raw, err := readToken(r)
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
	response := maps.Clone(id.Claims)
	response["active"], response["token_type"] = true, "Bearer"
	return write(w, response)
}

// active returns the identity of a token if it is valid, not revoked, and its session is active; otherwise nil.
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

// revoke implements RFC 7009. It responds with 200 for any token, except a valid one without jti, which cannot be revoked alone.
// Revoking an access token does not end its session. Revoking a refresh token does.
func (a *api) revoke(w http.ResponseWriter, r *http.Request) error {
	raw, err := readToken(r)
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
		return badRequest(http.StatusUnprocessableEntity, "The token has no jti, so it cannot be revoked alone. Revoke its session or its subject.")
	}
	if err := a.Revoker.RevokeToken(r.Context(), id.Issuer, id.TokenID, id.Expires); err != nil {
		return unavailable(err)
	}
	return write(w, struct{}{})
}
