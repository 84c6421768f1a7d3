package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/hashicorp/vault/api"
)

// ErrExpired reports that the last good value of a secret has expired, and no newer one could be read.
var ErrExpired = errors.New("the value has expired")

// Error is a failed request to Vault. Its text is safe to log: it contains no URL, no credential, and nothing that looks like a token.
type Error struct {
	State State
	// Target is the object of the request: "login" or a path.
	Target string
	// Status is the HTTP status; zero without a response.
	Status int
	// Detail is the error message of Vault or of the network.
	Detail string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("requesting %s from Vault: %s: %s", e.Target, e.State, e.Detail)
	}
	return fmt.Sprintf("requesting %s from Vault: %s: status %d: %s", e.Target, e.State, e.Status, e.Detail)
}

// newError describes err without secrets. Known are the credentials of the request.
func newError(target string, state State, err error, known ...string) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	e := &Error{State: state, Target: target}
	var response *api.ResponseError
	if errors.As(err, &response) {
		e.Status = response.StatusCode
		e.Detail = "the response is not from Vault"
		if !response.RawError {
			e.Detail = scrub(strings.Join(response.Errors, "; "), known)
		}
		return e
	}
	e.Detail = scrub(cause(err), known)
	return e
}

// cause returns the text of err without the address in client errors and without the content that a decoder quotes.
func cause(err error) string {
	var address *url.Error
	var syntax *json.SyntaxError
	var mistyped *json.UnmarshalTypeError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no response in time"
	case errors.As(err, &syntax), errors.As(err, &mistyped):
		return "the response is not from Vault"
	case errors.As(err, &address):
		return address.Err.Error()
	}
	return err.Error()
}
