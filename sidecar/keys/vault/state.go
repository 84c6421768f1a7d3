package vault

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/api"
)

// State is how things stand with Vault: a condition's reason, and the label of postern_vault_state.
type State string

// The states. All but OK and Starting are tried again with bounded backoff, for whoever runs Vault can mend each of them.
const (
	// Starting: the first login is under way.
	Starting State = "starting"
	OK       State = "ok"
	// Sealed: Vault answers that it is sealed or not initialised.
	Sealed State = "sealed"
	// Unreachable: no answer in time, or one that a working Vault does not give.
	Unreachable State = "unreachable"
	// Untrusted: the server's certificate is not signed by the CA, not for this host, or expired.
	Untrusted State = "untrusted"
	// Throttled: a quota of Vault is exceeded.
	Throttled State = "throttled"
	// PermissionDenied: the token is good and its policies forbid what was asked.
	PermissionDenied State = "permission_denied"
	// WrongRole: the role to log in with does not exist, or is not for this service account, audience or secret ID.
	WrongRole State = "wrong_role"
	// LoginRefused: the login fails for another reason, as a mount that is not there or a token that expired.
	LoginRefused State = "login_refused"
	// NoCredentials: the file or secret to log in with cannot be read here.
	NoCredentials State = "no_credentials"
	// Refused: Vault takes the login and finds a request wrong, as a key that Transit does not have.
	Refused State = "refused"
)

// states are all of them, in the order in which the metric gives them.
func states() []State {
	return []State{Starting, OK, Sealed, Unreachable, Untrusted, Throttled, PermissionDenied, WrongRole, LoginRefused,
		NoCredentials, Refused}
}

// stateOf judges the error of a request that was made with a token.
func stateOf(err error) State {
	var own *Error
	var answer *api.ResponseError
	switch {
	case err == nil:
		return OK
	case errors.As(err, &own):
		return own.State
	case errors.As(err, &answer):
		return stateOfAnswer(answer)
	case untrusted(err):
		return Untrusted
	}
	return Unreachable
}

func stateOfAnswer(answer *api.ResponseError) State {
	switch code := answer.StatusCode; {
	case code == http.StatusServiceUnavailable && says(answer, "sealed"), says(answer, "not initialized"):
		return Sealed
	case code == http.StatusTooManyRequests:
		return Throttled
	case code == http.StatusForbidden && !answer.RawError:
		return PermissionDenied
	case (code == http.StatusBadRequest || code == http.StatusNotFound) && !answer.RawError:
		return Refused
	}
	return Unreachable
}

// stateOfLogin judges the error of a login, where what a policy forbids cannot be the reason.
func stateOfLogin(err error) State {
	state := stateOf(err)
	if state != PermissionDenied && state != Refused {
		return state
	}
	var answer *api.ResponseError
	if errors.As(err, &answer) {
		for _, text := range []string{"invalid role", "role not found", "not authorized", "could not load role", "invalid audience"} {
			if says(answer, text) {
				return WrongRole
			}
		}
	}
	return LoginRefused
}

func says(answer *api.ResponseError, text string) bool {
	for _, e := range answer.Errors {
		if !answer.RawError && strings.Contains(strings.ToLower(e), text) {
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
