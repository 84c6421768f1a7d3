package endpoints

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/reqbody"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/login/token"
	"github.com/posterndev/postern/sidecar/login/transport"
)

// maxRefreshBody bounds the body of /refresh and /logout, in bytes. A refresh token has less than a hundred.
const maxRefreshBody = 4 << 10

// errNoToken reports that the request has no refresh token.
var errNoToken = errors.New("reading refresh token: the request has none")

// oauthError is the body of RFC 6749 §5.2.
type oauthError struct {
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

// bodyError is an error response of RFC 6749 §5.2 for an invalid request.
type bodyError struct {
	status int
	oauthError
}

func (e *bodyError) Error() string { return "reading refresh token: " + e.Description }

func badBody(description string) error {
	return &bodyError{http.StatusBadRequest, oauthError{Error: "invalid_request", Description: description}}
}

// refresh exchanges a refresh token for new tokens. With delivery Body the token is in the body, as a form (RFC 6749 §6) or as
// JSON with the same names, and the response has the new tokens as JSON. With delivery Cookie both are cookies, and the response
// is 204.
//
// The response for every invalid token is the same: invalid_grant.
func (e *endpoints) refresh(w http.ResponseWriter, r *http.Request) error {
	info := request.From(r)
	refreshToken, err := e.refreshToken(r)
	if err != nil {
		return e.refuse(w, r, "invalid_request", err)
	}
	tokens, outcome, err := e.LoginService.Refresh(r.Context(), refreshToken, transport.Device(r))
	if err != nil {
		return e.refuse(w, r, string(outcome), err)
	}
	info.Sensitive = true
	e.LoginService.Emit(r.Context(), event.Event{Kind: event.Refresh, Outcome: event.Success, Reason: string(outcome), Actor: tokens.Session.Actor()})
	if e.TokenTransport.Delivery() == transport.Body {
		return transport.WriteJSON(w, http.StatusOK, transport.TokenResponse(tokens))
	}
	e.TokenTransport.SetCookies(w.Header(), tokens)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// refuse responds as RFC 6749 §5.2 requires, and records the decision for the log. The endpoint is not a rule of the policy, so
// shadow mode does not change it.
func (e *endpoints) refuse(w http.ResponseWriter, r *http.Request, result string, err error) error {
	how := event.Refused
	status, body := http.StatusServiceUnavailable, oauthError{Error: "temporarily_unavailable", Description: "Try again with the same token."}
	var bad *bodyError
	switch {
	case errors.As(err, &bad):
		status, body = bad.status, bad.oauthError
	case errors.Is(err, errNoToken):
		status, body = http.StatusBadRequest, oauthError{Error: "invalid_request", Description: "There is no refresh token."}
	case errors.Is(err, token.ErrGrant):
		status, body = http.StatusBadRequest, oauthError{Error: "invalid_grant", Description: "The refresh token is not valid; log in again."}
		e.TokenTransport.ClearCookies(w.Header())
	default:
		result, how = "unavailable", event.Failed
		w.Header().Set("Retry-After", transport.RetryAfter)
	}
	e.LoginService.Emit(r.Context(), event.Event{Kind: event.Refresh, Outcome: how, Reason: result})
	info := request.From(r)
	info.Decide(request.Decision{Stage: "token", Rule: "refresh", Err: &httperr.Error{
		Status: status, Code: "refresh-refused", Detail: body.Description, Cause: err,
	}})
	return transport.WriteJSON(w, status, body)
}

// refreshToken returns the refresh token of the request. All its errors are client errors: errNoToken or *bodyError.
func (e *endpoints) refreshToken(r *http.Request) (string, error) {
	if e.TokenTransport.Delivery() == transport.Cookie {
		if refresh := transport.RefreshToken(r); refresh != "" {
			return refresh, nil
		}
		return "", errNoToken
	}
	body, err := reqbody.Read(r, reqbody.Limits{Bytes: maxRefreshBody, Depth: 2})
	if err != nil {
		return "", refusedBody(err)
	}
	if len(body.Bytes()) == 0 {
		return "", errNoToken
	}
	return parseRefresh(body)
}

// refusedBody is 413 for a body that is too large, 408 for one that came too slowly, and 400 for every other.
func refusedBody(err error) error {
	refusal := httperr.From(err)
	status := http.StatusBadRequest
	if refusal.Status == http.StatusRequestEntityTooLarge || refusal.Status == http.StatusRequestTimeout {
		status = refusal.Status
	}
	return fmt.Errorf("%w: %w", &bodyError{status, oauthError{Error: "invalid_request", Description: refusal.Detail}}, err)
}

// parseRefresh reads refresh_token, and checks grant_type if present.
func parseRefresh(body *reqbody.Body) (string, error) {
	if body.IsForm() {
		if err := refuseRepeated(body); err != nil {
			return "", err
		}
	}
	refreshToken, _, err := body.Field(reqbody.Selector{JSON: []string{"refresh_token"}, Form: "refresh_token"})
	if err != nil {
		return "", refusedBody(err)
	}
	grantType, _, err := body.Field(reqbody.Selector{JSON: []string{"grant_type"}, Form: "grant_type"})
	switch {
	case err != nil:
		return "", refusedBody(err)
	case grantType != "" && grantType != "refresh_token":
		return "", &bodyError{http.StatusBadRequest, oauthError{Error: "unsupported_grant_type", Description: "The grant type is not refresh_token."}}
	case refreshToken == "":
		return "", errNoToken
	}
	return refreshToken, nil
}

// refuseRepeated refuses a form in which any parameter is repeated (RFC 6749 §3.2).
func refuseRepeated(body *reqbody.Body) error {
	form, err := body.Form()
	if err != nil {
		return refusedBody(err)
	}
	for _, values := range form {
		if len(values) > 1 {
			return badBody("A parameter is repeated.")
		}
	}
	return nil
}
