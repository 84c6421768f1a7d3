package token

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"

	"github.com/posterndev/postern/api/check/strictjson"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// maxRefreshBody bounds the body of /refresh and /logout, in bytes; a refresh token has less than a hundred.
const maxRefreshBody = 4 << 10

// errNoToken: the request holds no refresh token.
var errNoToken = errors.New("reading refresh token: there is none")

// bodyError is a refusal of RFC 6749 §5.2 for what the client sent.
type bodyError struct {
	status int
	oauthError
}

func (e *bodyError) Error() string { return "reading refresh token: " + e.Description }

func badBody(description string) error {
	return &bodyError{http.StatusBadRequest, oauthError{Error: "invalid_request", Description: description}}
}

// refresh answers a refresh token. With delivery Body the token comes in the body, as a form (RFC 6749 §6) or as JSON with the
// same names, and so do the new ones; with delivery Cookie both are cookies, and the answer is 204.
//
// What the client is told of a token that is not good is the same in every case: invalid_grant.
func (e *endpoints) refresh(w http.ResponseWriter, r *http.Request) error {
	info := request.From(r)
	refreshToken, err := e.refreshToken(w, r)
	if err != nil {
		return e.refuse(w, r, "invalid_request", err)
	}
	tokens, outcome, err := e.LoginService.Refresh(r.Context(), refreshToken, device(r))
	if err != nil {
		return e.refuse(w, r, string(outcome), err)
	}
	info.Sensitive = true
	e.LoginService.observe("refresh", string(outcome))
	if e.TokenTransport.delivery == Body {
		return writeJSON(w, http.StatusOK, answer(tokens))
	}
	e.TokenTransport.setCookies(w.Header(), tokens)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// refuse answers as RFC 6749 §5.2 says, and leaves a record for the log. The endpoint is no rule of the policy, so Shadow does
// not change it.
func (e *endpoints) refuse(w http.ResponseWriter, r *http.Request, result string, err error) error {
	status, body := http.StatusServiceUnavailable, oauthError{Error: "temporarily_unavailable", Description: "Try again with the same token."}
	var bad *bodyError
	switch {
	case errors.As(err, &bad):
		status, body = bad.status, bad.oauthError
	case errors.Is(err, errNoToken):
		status, body = http.StatusBadRequest, oauthError{Error: "invalid_request", Description: "There is no refresh token."}
	case errors.Is(err, ErrGrant):
		status, body = http.StatusBadRequest, oauthError{Error: "invalid_grant", Description: "The refresh token is not valid; log in again."}
		e.TokenTransport.clearCookies(w.Header())
	default:
		result = "unavailable"
		w.Header().Set("Retry-After", retryAfter)
	}
	e.LoginService.observe("refresh", result)
	info := request.From(r)
	info.Decisions = append(info.Decisions, request.Decision{Stage: "token", Rule: "refresh", Err: &httperr.Error{
		Status: status, Code: "refresh-refused", Detail: body.Description, Cause: err,
	}})
	return writeJSON(w, status, body)
}

// refreshToken is the client's. errNoToken and *bodyError are the client's mistakes.
func (e *endpoints) refreshToken(w http.ResponseWriter, r *http.Request) (string, error) {
	if e.TokenTransport.delivery == Cookie {
		if token := presented(r); token != "" {
			return token, nil
		}
		return "", errNoToken
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRefreshBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return "", &bodyError{http.StatusRequestEntityTooLarge, oauthError{Error: "invalid_request", Description: "The body is too large."}}
	}
	if err != nil { // the client's doing: it went away, was too slow, or framed it wrongly
		return "", fmt.Errorf("%w: %w", badBody("The body could not be read."), err)
	}
	if len(body) == 0 {
		return "", errNoToken
	}
	return parseRefresh(r.Header.Get("Content-Type"), body)
}

// parseRefresh reads refresh_token, and checks grant_type where it is there.
func parseRefresh(contentType string, body []byte) (string, error) {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return "", badBody("The body is neither a form nor JSON.")
	}
	var grantType, refreshToken string
	switch mediaType {
	case "application/x-www-form-urlencoded":
		grantType, refreshToken, err = formFields(body)
	case "application/json":
		grantType, refreshToken, err = jsonFields(body)
	default:
		return "", badBody("The body is neither a form nor JSON.")
	}
	switch {
	case err != nil:
		return "", err
	case grantType != "" && grantType != "refresh_token":
		return "", &bodyError{http.StatusBadRequest, oauthError{Error: "unsupported_grant_type", Description: "The grant type is not refresh_token."}}
	case refreshToken == "":
		return "", errNoToken
	}
	return refreshToken, nil
}

func formFields(body []byte) (grantType, refreshToken string, err error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return "", "", badBody("The form is malformed.")
	}
	for name, values := range form {
		if len(values) > 1 { // RFC 6749 §3.2
			return "", "", badBody("A parameter is repeated.")
		}
		switch name {
		case "grant_type":
			grantType = values[0]
		case "refresh_token":
			refreshToken = values[0]
		}
	}
	return grantType, refreshToken, nil
}

func jsonFields(body []byte) (grantType, refreshToken string, err error) {
	object, err := strictjson.Object(body, 2)
	if err != nil {
		return "", "", badBody("The JSON is malformed.")
	}
	for name, field := range map[string]*string{"grant_type": &grantType, "refresh_token": &refreshToken} {
		v, ok := object[name]
		if !ok {
			continue
		}
		if *field, ok = v.(string); !ok {
			return "", "", badBody("A parameter is not a string.")
		}
	}
	return grantType, refreshToken, nil
}
