package authn

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// Reason is why a token gave no identity: a stable name, for metrics and logs.
type Reason string

// The reasons.
const (
	reasonMalformed   Reason = "malformed"
	reasonTooLarge    Reason = "too_large"
	reasonEncrypted   Reason = "encrypted"
	reasonCritical    Reason = "critical_header"
	reasonIssuer      Reason = "unknown_issuer"
	reasonPlace       Reason = "wrong_place"
	reasonType        Reason = "wrong_type"
	reasonAlgorithm   Reason = "wrong_algorithm"
	reasonExpired     Reason = "expired"
	reasonNotYet      Reason = "not_yet_valid"
	reasonLifetime    Reason = "lifetime_too_long"
	reasonAudience    Reason = "wrong_audience"
	reasonKey         Reason = "unknown_key"
	reasonSignature   Reason = "bad_signature"
	reasonClaim       Reason = "missing_claim"
	reasonClaimSize   Reason = "claims_too_large"
	reasonUnavailable Reason = "keys_unavailable"
)

// Error makes a Reason an error; it holds no input.
func (r Reason) Error() string { return "verifying token: " + string(r) }

// describe is the client's text: one of these and nothing of the token.
func (r Reason) describe() string {
	switch r {
	case reasonTooLarge:
		return "The token is too large"
	case reasonEncrypted:
		return "Encrypted tokens are not accepted"
	case reasonCritical:
		return "The token needs an extension that is not supported"
	case reasonIssuer:
		return "The token is from an unknown issuer"
	case reasonPlace:
		return "The token of this issuer is not accepted in this header or cookie"
	case reasonType:
		return "The token is of a type that is not accepted"
	case reasonAlgorithm:
		return "The token is signed with an algorithm that is not accepted"
	case reasonExpired:
		return "The token has expired"
	case reasonNotYet:
		return "The token is not valid yet"
	case reasonLifetime:
		return "The token is valid for longer than is accepted"
	case reasonAudience:
		return "The token is for another audience"
	case reasonKey:
		return "The token is signed with an unknown key"
	case reasonSignature:
		return "The signature of the token is wrong"
	case reasonClaim:
		return "The token does not have a claim that is required"
	case reasonClaimSize:
		return "The claims of the token are too large"
	default:
		return "The token is malformed"
	}
}

// because adds a cause for the log to a reason.
func because(r Reason, cause error) error { return fmt.Errorf("%w: %w", r, cause) }

// reasonOf finds the reason in err; anything else counts as malformed.
func reasonOf(err error) Reason {
	var r Reason
	if errors.As(err, &r) {
		return r
	}
	return reasonMalformed
}

// retryAfter is how long a client waits for an issuer's keys, in seconds.
const retryAfter = "5"

// refuse is what the client is told: 503 while the issuer's keys is unavailable, else 401 by RFC 6750 §3.1.
func refuse(err error, realm string) *httperr.Error {
	reason := reasonOf(err)
	if reason == reasonUnavailable {
		e := &httperr.Error{
			Status: http.StatusServiceUnavailable, Code: "keys-unavailable",
			Detail: "Tokens of this issuer cannot be verified at present.", Cause: err,
		}
		return e.With("Retry-After", retryAfter)
	}
	text := reason.describe()
	e := &httperr.Error{Status: http.StatusUnauthorized, Code: "invalid-token", Detail: text + ".", Cause: err}
	return e.With("WWW-Authenticate", `Bearer realm=`+realm+`, error="invalid_token", error_description="`+text+`"`)
}

func twoTokens(realm string) *httperr.Error {
	const text = "The request has more than one token"
	e := &httperr.Error{Status: http.StatusBadRequest, Code: "invalid-request", Detail: text + "."}
	return e.With("WWW-Authenticate", `Bearer realm=`+realm+`, error="invalid_request", error_description="`+text+`"`)
}

// quote makes a realm a quoted-string (RFC 9110 §5.6.4).
func quote(realm string) (string, error) {
	if realm == "" {
		realm = "postern"
	}
	for i := range len(realm) {
		if realm[i] < ' ' || realm[i] > '~' {
			return "", errors.New("building authentication: the realm is not printable ASCII")
		}
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(realm) + `"`, nil
}
