package authn

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/keys/dpop"
	"github.com/posterndev/postern/sidecar/keys/jwt"
)

// The reasons that authentication adds to those of package jwt.
const (
	reasonPlace     jwt.Reason = "wrong_place"
	reasonClaimSize jwt.Reason = "claims_too_large"
	reasonFormat    jwt.Reason = "claim_format"
	// reasonUnbound and the following ones are about the proof that the client has the key of the token, as are those of package dpop.
	reasonUnbound          jwt.Reason = "not_bound"
	reasonScheme           jwt.Reason = "wrong_scheme"
	reasonNoCertificate    jwt.Reason = "no_client_certificate"
	reasonOtherCertificate jwt.Reason = "other_client_certificate"
	reasonReplayed         jwt.Reason = "replayed_dpop_proof"
	reasonUsedUnknown      jwt.Reason = "used_proofs_unavailable"
)

// describe returns the text for the client. It contains nothing of the token.
func describe(r jwt.Reason) string {
	switch r {
	case jwt.TooLarge:
		return "The token is too large"
	case jwt.SeveralTokens:
		return "The field has more than one token"
	case jwt.Encrypted:
		return "Encrypted tokens are not accepted"
	case jwt.Critical:
		return "The token needs an extension that is not supported"
	case jwt.UnknownIssuer:
		return "The token is from an unknown issuer"
	case reasonPlace:
		return "The token of this issuer is not accepted in this header or cookie"
	case jwt.WrongType:
		return "The token is of a type that is not accepted"
	case jwt.WrongAlgorithm:
		return "The token is signed with an algorithm that is not accepted"
	case jwt.Expired:
		return "The token has expired"
	case jwt.Ended:
		return "Tokens of the app's former code are no longer accepted"
	case jwt.NotYetValid:
		return "The token is not valid yet"
	case jwt.LifetimeTooLong:
		return "The token is valid for longer than is accepted"
	case jwt.WrongAudience:
		return "The token is for another audience"
	case jwt.UnknownKey:
		return "The token is signed with an unknown key"
	case jwt.BadSignature:
		return "The signature of the token is wrong"
	case jwt.ClaimType:
		return "A claim of the token has the wrong type"
	case jwt.ClaimRange:
		return "A claim of the token is out of range"
	case jwt.MissingClaim:
		return "The token does not have a claim that is required"
	case reasonFormat:
		return "A claim of the token cannot be passed on in the form that is configured"
	case reasonClaimSize:
		return "The claims of the token are too large"
	case reasonUnbound:
		return "The token is not bound to a key of the client in a way that is accepted"
	case reasonScheme:
		return "The token is bound to a DPoP key, and needs the scheme DPoP"
	case reasonNoCertificate:
		return "The token is bound to a client certificate, and the request has none"
	case reasonOtherCertificate:
		return "The token is bound to another client certificate"
	case dpop.OtherKey:
		return "The token is bound to another DPoP key"
	case dpop.Invalid:
		return "The DPoP proof is not valid"
	case reasonReplayed:
		return "The DPoP proof was used before"
	default:
		return "The token is malformed"
	}
}

// detail names the registered claim or header parameter that is wrong. Names of other claims are the policy's, which clients are not
// told.
func detail(err error) string {
	var problem dpop.Problem
	if errors.As(err, &problem) {
		return ": " + string(problem)
	}
	var d *jwt.Defect
	if !errors.As(err, &d) || !slices.Contains([]string{"alg", "kid", "typ", "iss", "sub", "jti", "aud", "exp", "nbf", "iat", "cnf"}, d.Name) {
		return ""
	}
	switch jwt.ReasonOf(err) {
	case jwt.Malformed, jwt.ClaimType, jwt.ClaimRange, jwt.MissingClaim:
		return ": " + d.Error()
	}
	return ""
}

// retryAfter is the value of Retry-After while an issuer's keys, or the used proofs, are unavailable, in seconds.
const retryAfter = "5"

// refuse returns the response to the client: 503 if the issuer's keys or the used proofs are unavailable, else 401 (RFC 6750 §3.1, RFC 8705 §3, RFC
// 9449 §7.1).
func (a *authenticator) refuse(err error, c *credential) *httperr.Error {
	reason := jwt.ReasonOf(err)
	switch reason {
	case jwt.Unavailable:
		return unavailable("keys-unavailable", "Tokens of this issuer cannot be verified at the moment.", err)
	case reasonUsedUnknown:
		return unavailable("dpop-unavailable", "DPoP proofs cannot be verified at the moment.", err)
	}
	text := describe(reason) + detail(err)
	if reason == reasonScheme && c.withDPoP() {
		text = "The token is bound to no DPoP key, and needs the scheme Bearer"
	}
	e := &httperr.Error{Status: http.StatusUnauthorized, Code: "invalid-token", Detail: text + ".", Cause: err}
	oauth := "invalid_token"
	if reason == dpop.Invalid || reason == reasonReplayed {
		e.Code, oauth = "invalid-dpop-proof", "invalid_dpop_proof"
	}
	parameters := ` realm=` + a.realm + `, error="` + oauth + `", error_description="` + text + `"`
	if c.withDPoP() && len(a.proofAlgorithms) > 0 {
		return e.With("WWW-Authenticate", "DPoP"+parameters+`, algs="`+strings.Join(a.proofAlgorithms, " ")+`"`)
	}
	e = e.With("WWW-Authenticate", "Bearer"+parameters)
	offered := a.offered
	if reason == reasonScheme {
		offered = challenge(a.proofAlgorithms)
	}
	if offered != "" {
		e = e.With("WWW-Authenticate", offered)
	}
	return e
}

func unavailable(code httperr.Code, text string, cause error) *httperr.Error {
	e := &httperr.Error{Status: http.StatusServiceUnavailable, Code: code, Detail: text, Cause: cause}
	return e.With("Retry-After", retryAfter)
}

func twoTokens(realm string) *httperr.Error {
	const text = "The request has more than one token"
	e := &httperr.Error{Status: http.StatusBadRequest, Code: "invalid-request", Detail: text + "."}
	return e.With("WWW-Authenticate", `Bearer realm=`+realm+`, error="invalid_request", error_description="`+text+`"`)
}
