package check

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxClaim bounds a claim's name or path, in bytes.
const maxClaim = 256

// Claim refuses what is not a claim's name or a dotted path into nested ones.
func Claim(path string) error {
	switch {
	case path == "":
		return errors.New("the claim's name is empty; write one as sub or realm_access.roles")
	case len(path) > maxClaim:
		return fmt.Errorf("the claim's name is longer than %d bytes", maxClaim)
	}
	return nil
}

// ReservedClaims are set by the issuer, or would say something about a login that nobody here has checked: RFC 7519 §4.1, RFC
// 9068 §2.2, OpenID Connect Core §2, RFC 8693 §4, RFC 7800 and back-channel logout.
func ReservedClaims() []string {
	return []string{
		"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "sid",
		"auth_time", "acr", "amr", "azp", "nonce", "at_hash", "c_hash", "act", "may_act", "cnf", "events", "scope",
	}
}

// CopiedClaim refuses names of claims that an app cannot choose.
func CopiedClaim(name string) error {
	if err := Claim(name); err != nil {
		return err
	}
	if slices.Contains(ReservedClaims(), name) {
		return fmt.Errorf("the claim %s cannot be copied: it has a meaning of its own in tokens; rename it", name)
	}
	return nil
}

// MediaType refuses what is not a media type or a range of them.
func MediaType(s string) error {
	major, minor, ok := strings.Cut(s, "/")
	if !ok || !isTypeName(major) || (minor != "*" && !isTypeName(minor)) {
		return fmt.Errorf("%.128q is not a media type; write type/subtype or type/*, without parameters", s)
	}
	return nil
}

func isTypeName(s string) bool { return IsToken(s) && !strings.Contains(s, "*") }
