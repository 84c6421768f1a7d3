package authz

import (
	"net/http"
	"slices"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
)

// scopes are scopes that a token must have.
type scopes struct {
	identity.Members
	// challenges are the values of WWW-Authenticate: one for each member of Any, or one alone. Each names the scopes of All, and
	// that of Any.
	challenges []string
}

func newScopes(m identity.Members, realm string) *scopes {
	s := &scopes{Members: m}
	challenge := func(needed []string) {
		s.challenges = append(s.challenges, `Bearer realm=`+realm+`, error="insufficient_scope", scope="`+strings.Join(needed, " ")+`"`)
	}
	if len(m.Any) == 0 {
		challenge(m.All)
	}
	for _, one := range m.Any {
		needed := slices.Clone(m.All)
		if !slices.Contains(needed, one) {
			needed = append(needed, one)
		}
		challenge(needed)
	}
	return s
}

// judge returns a 403 with the error insufficient_scope (RFC 6750 §3.1) if the identity does not have the scopes. Its scope attribute
// names all scopes that are needed: of Any the one that the token has, or else the first.
func (s *scopes) judge(id *identity.Identity) *httperr.Error {
	claim := scopeOf(id)
	if s.MetBy(claim) {
		return nil
	}
	i := slices.IndexFunc(s.Any, func(one string) bool { return identity.Members{Any: []string{one}}.MetBy(claim) })
	e := &httperr.Error{Status: http.StatusForbidden, Code: "insufficient-scope", Detail: "The token does not have a scope that this resource needs."}
	return e.With("WWW-Authenticate", s.challenges[max(i, 0)])
}

// scopeOf returns the claim with the scopes of a token: scope (RFC 8693 §4.2, RFC 9068 §2.2.3), or else scp, which Microsoft Entra ID
// sends as words and Okta as an array. It returns nil for a claim of another type.
func scopeOf(id *identity.Identity) any {
	if id == nil {
		return nil
	}
	claim, ok := id.Claims["scope"]
	if !ok {
		claim = id.Claims["scp"]
	}
	switch claim.(type) {
	case string, []any:
		return claim
	}
	return nil
}
