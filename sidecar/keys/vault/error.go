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

// ErrExpired: a secret's last good value was too old or past its own expiry, and no newer one could be read.
var ErrExpired = errors.New("the value has expired")

// Error is a failed use of Vault. Its text is safe to log: it has no URL, no credential, and nothing that looks like a token.
type Error struct {
	State State
	// Target is what was asked for: "login", a secret's path, a Transit key.
	Target string
	// Status is that of the HTTP answer; zero where there was none.
	Status int
	// Detail is what Vault, or the network, says.
	Detail string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("asking Vault (%s): %s: %s", e.Target, e.State, e.Detail)
	}
	return fmt.Sprintf("asking Vault (%s): %s: status %d: %s", e.Target, e.State, e.Status, e.Detail)
}

// newError describes err without what it must not tell: known are the credentials that the request carried.
func newError(target string, state State, err error, known ...string) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	e := &Error{State: state, Target: target}
	var answer *api.ResponseError
	if errors.As(err, &answer) {
		e.Status = answer.StatusCode
		e.Detail = "the answer is not Vault's"
		if !answer.RawError {
			e.Detail = scrub(strings.Join(answer.Errors, "; "), known)
		}
		return e
	}
	e.Detail = scrub(cause(err), known)
	return e
}

// cause is err's text without the address that a client's errors hold, and without the content that a decoder quotes.
func cause(err error) string {
	var address *url.Error
	var syntax *json.SyntaxError
	var mistyped *json.UnmarshalTypeError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.As(err, &syntax), errors.As(err, &mistyped):
		return "the answer is not Vault's"
	case errors.As(err, &address):
		return address.Err.Error()
	}
	return err.Error()
}
