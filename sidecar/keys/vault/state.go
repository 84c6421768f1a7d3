package vault

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/api"
)

// State is the state of a Client: the reason of a condition, and the label of postern_vault_state.
type State string

// The states. All except OK and Starting are retried with bounded backoff, because each can be fixed on the side of Vault.
const (
	// Starting: the first login is in progress.
	Starting State = "starting"
	// OK: Vault works.
	OK State = "ok"
	// Sealed: Vault is sealed or not initialised.
	Sealed State = "sealed"
	// Unreachable: there was no response in time, or one that a working Vault does not send.
	Unreachable State = "unreachable"
	// Untrusted: the server's certificate is not signed by the CA, not for this host, or expired.
	Untrusted State = "untrusted"
	// Throttled: a quota of Vault is exceeded.
	Throttled State = "throttled"
	// PermissionDenied: the token is valid, but its policies forbid the request.
	PermissionDenied State = "permission_denied"
	// WrongRole: the role of the login does not exist, or is not for this service account, audience or secret ID.
	WrongRole State = "wrong_role"
	// LoginRefused: the login fails for another reason, such as a missing mount or an expired token.
	LoginRefused State = "login_refused"
	// NoCredentials: the file or secret with the credentials cannot be read.
	NoCredentials State = "no_credentials"
	// Refused: the login works, but Vault rejects a request, for example for a Transit key that does not exist.
	Refused State = "refused"
)

// states returns all states, in the order of the metric.
func states() []State {
	return []State{Starting, OK, Sealed, Unreachable, Untrusted, Throttled, PermissionDenied, WrongRole, LoginRefused,
		NoCredentials, Refused}
}

// results returns the states that a request can end in.
func results() []State { return states()[1:] }

// stateOf returns the state for the error of a request with a token.
func stateOf(err error) State {
	var own *Error
	var response *api.ResponseError
	switch {
	case err == nil:
		return OK
	case errors.As(err, &own):
		return own.State
	case errors.As(err, &response):
		return stateOfResponse(response)
	case untrusted(err):
		return Untrusted
	}
	return Unreachable
}

func stateOfResponse(response *api.ResponseError) State {
	switch code := response.StatusCode; {
	case code == http.StatusServiceUnavailable && says(response, "sealed"), says(response, "not initialized"):
		return Sealed
	case code == http.StatusTooManyRequests:
		return Throttled
	case code == http.StatusForbidden && !response.RawError:
		return PermissionDenied
	case (code == http.StatusBadRequest || code == http.StatusNotFound) && !response.RawError:
		return Refused
	}
	return Unreachable
}

// stateOfLogin returns the state for the error of a login, which a policy cannot forbid.
func stateOfLogin(err error) State {
	state := stateOf(err)
	if state != PermissionDenied && state != Refused {
		return state
	}
	var response *api.ResponseError
	if errors.As(err, &response) {
		for _, text := range []string{"invalid role", "role not found", "not authorized", "could not load role", "invalid audience"} {
			if says(response, text) {
				return WrongRole
			}
		}
	}
	return LoginRefused
}

func says(response *api.ResponseError, text string) bool {
	for _, e := range response.Errors {
		if !response.RawError && strings.Contains(strings.ToLower(e), text) {
			return true
		}
	}
	return false
}

func untrusted(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid)
}
