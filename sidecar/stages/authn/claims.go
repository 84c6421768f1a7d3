package authn

import (
	"slices"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/keys/jwt"
)

// newIdentity returns the identity of a verified token. The error is reasonClaim if a claim that the provider requires is missing.
func newIdentity(p *provider, t *jwt.Token) (*identity.Identity, error) {
	id := &identity.Identity{
		Provider: p.Name, Issuer: t.Issuer, Subject: t.Subject, TokenID: t.ID, KeyID: t.Key.ID(),
		IssuedAt: t.Issued, Expires: t.Expires, Claims: t.Claims,
	}
	for _, c := range p.RequiredClaims {
		if !c.met(id) {
			return nil, reasonClaim
		}
	}
	return id, nil
}

func (c RequiredClaim) met(id *identity.Identity) bool {
	v, _ := id.Claim(c.Claim)
	if v == nil {
		return false
	}
	if c.Members != nil {
		return c.Members.MetBy(v)
	}
	if len(c.Values) == 0 {
		return true
	}
	if list, ok := v.([]any); ok {
		return slices.ContainsFunc(list, c.matches)
	}
	return c.matches(v)
}

func (c RequiredClaim) matches(v any) bool {
	text, ok := identity.Scalar(v)
	return ok && slices.Contains(c.Values, text)
}
