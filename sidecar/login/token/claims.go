package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/posterndev/postern/sidecar/keys/jwks/strictjson"
	"github.com/posterndev/postern/sidecar/login/session"
)

// maxClaimsDepth is the depth that authn allows, less the token's own object.
const maxClaimsDepth = 8

// reservedClaims returns the claims that an app cannot set. The issuer sets them itself, or they state something about a login
// that was not checked: RFC 7519 §4.1, RFC 9068 §2.2, OpenID Connect Core §2, RFC 8693 §4, RFC 7800 and back-channel logout.
func reservedClaims() []string {
	return []string{
		"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "sid",
		"auth_time", "acr", "amr", "azp", "nonce", "at_hash", "c_hash", "act", "may_act", "cnf", "events", "scope",
	}
}

func isReserved(name string) bool { return slices.Contains(reservedClaims(), name) }

// errClaims does not quote the claims.
var errClaims = errors.New("reading claims: want one JSON object of up to 4 KiB without repeated members")

// Select returns the members of a JSON object that the policy copies into tokens. It returns none for nil.
func (i *Issuer) Select(object json.RawMessage) (map[string]any, error) {
	if len(object) == 0 {
		return nil, nil
	}
	if len(object) > session.MaxClaims {
		return nil, errClaims
	}
	all, err := strictjson.Object(object, maxClaimsDepth)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errClaims, err)
	}
	selected := map[string]any{}
	for name, value := range all {
		if i.copied[name] {
			selected[name] = value
		}
	}
	return selected, nil
}

// encodeClaims encodes selected claims for the session store; nil for none.
func encodeClaims(selected map[string]any) (json.RawMessage, error) {
	if len(selected) == 0 {
		return nil, nil
	}
	b, err := json.Marshal(selected)
	if err != nil {
		return nil, fmt.Errorf("encoding claims: %w", err)
	}
	if len(b) > session.MaxClaims { // escaping can make it longer
		return nil, errClaims
	}
	return b, nil
}

// CheckIssuer refuses an issuer that clients cannot discover: RFC 8414 §2 requires https, without query and fragment. An asterisk
// in its path would turn the paths of the discovery documents into patterns, which open more than the documents.
func CheckIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	if err != nil || strings.Contains(u.Path, "*") || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return fmt.Errorf("building issuer: %q must be an https URL without user, query, fragment and asterisk", issuer)
	}
	return nil
}
