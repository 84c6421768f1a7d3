package check

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/posterndev/postern/api/compiled"
)

// maxClaim is the maximum length of a claim's name or path, in bytes.
const maxClaim = 256

// Claim refuses a path that is neither a claim's name nor a dotted path to a nested claim.
func Claim(path string) error {
	switch {
	case path == "":
		return errors.New("the claim name is empty; write a name or a dotted path, for example sub or realm_access.roles")
	case len(path) > maxClaim:
		return fmt.Errorf("the claim name is longer than %d bytes; write a shorter name or dotted path, for example realm_access.roles", maxClaim)
	}
	if strings.HasPrefix(path, "$.") || indexed(path) {
		return fmt.Errorf("%.128q is written in JSONPath, which is not read, so it never matches; write a dotted path to the claim, for example realm_access.roles: "+
			"a list matches if one of its members does", path)
	}
	return nil
}

// indexed reports whether the path ends with an index, such as [0] or [*].
func indexed(path string) bool {
	open := strings.LastIndexByte(path, '[')
	return open >= 0 && strings.HasSuffix(path, "]") && strings.Trim(path[open+1:len(path)-1], "0123456789*") == ""
}

// ReservedClaims returns the claims that an app cannot choose. They are set by the issuer, or describe a login in a way that
// Postern has not verified: RFC 7519 §4.1, RFC 9068 §2.2, OpenID Connect Core §2, RFC 8693 §4, RFC 7800 and back-channel logout.
func ReservedClaims() []string {
	return []string{
		"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "sid",
		"auth_time", "acr", "amr", "azp", "nonce", "at_hash", "c_hash", "act", "may_act", "cnf", "events", "scope",
	}
}

// CopiedClaim refuses the name of a claim that an app cannot choose.
func CopiedClaim(name string) error {
	if err := Claim(name); err != nil {
		return err
	}
	if slices.Contains(ReservedClaims(), name) {
		return fmt.Errorf("the claim %s cannot be copied: it has a defined meaning in tokens; let the app use another name, for example app_%s", name, name)
	}
	return nil
}

// MediaType refuses a text that is neither a media type nor a range of them, such as text/*.
func MediaType(s string) error {
	major, minor, ok := strings.Cut(s, "/")
	if !ok || !isTypeName(major) || (minor != "*" && !isTypeName(minor)) {
		return fmt.Errorf("%.128q is not a media type; write type/subtype or type/* without parameters, for example text/html", s)
	}
	return nil
}

func isTypeName(s string) bool { return IsToken(s) && !strings.Contains(s, "*") }

func (c *checker) requiredClaim(field string, r compiled.RequiredClaim) {
	c.add(field+".claim", Claim(r.Claim))
	m := r.Members
	switch {
	case m == nil:
	case len(r.Values) > 0:
		c.addf(field+".members", "values compare the whole claim and members a part of it; write one of the two, for example members: {all: [orders:read]}")
	case len(m.All) == 0 && len(m.Any) == 0:
		c.addf(field+".members", "it requires nothing; write the members that the claim must have, for example {all: [orders:read]}")
	default:
		c.claimMembers(field+".members.all", m.All)
		c.claimMembers(field+".members.any", m.Any)
	}
}

func (c *checker) claimMembers(field string, members []string) {
	for i, member := range members {
		switch {
		case member == "":
			c.addf(at(field, i), "the entry is empty; write a member, for example orders:read, or leave the entry out")
		case strings.Contains(member, " "):
			c.addf(at(field, i), "%.64q has a space, which separates members; write one entry for each, for example [%s]", member, strings.Join(strings.Fields(member), ", "))
		}
	}
}
