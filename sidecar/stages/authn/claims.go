package authn

import (
	"encoding/json"
	"slices"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/keys/jwt"
)

// maxLegacySubject bounds the subject of a legacy token, in bytes.
const maxLegacySubject = 255

// newIdentity returns the identity of a verified token. The error is jwt.MissingClaim if it does not have a claim that the provider requires.
func newIdentity(p *provider, t *jwt.Token) (*identity.Identity, error) {
	id := &identity.Identity{
		Provider: p.Name, Issuer: t.Issuer, Subject: t.Subject, TokenID: t.ID, KeyID: t.Key.ID(),
		IssuedAt: t.Issued, Expires: t.Expires, Claims: t.Claims,
	}
	if p.Legacy != nil {
		if err := p.Legacy.setSubject(id); err != nil {
			return nil, err
		}
	}
	for _, c := range p.RequiredClaims {
		if !c.met(id) {
			v, _ := id.Claim(c.Claim)
			return nil, jwt.BecauseOf(jwt.MissingClaim, c.Claim, "%s", c.problem(v))
		}
	}
	return id, nil
}

// setSubject sets the subject from the claim that identifies the user. An empty subject would be that of many users.
func (l *Legacy) setSubject(id *identity.Identity) error {
	v, _ := id.Claim(l.SubjectClaim)
	switch v := v.(type) {
	case string:
		id.Subject = v
	case json.Number:
		id.Subject = v.String()
	default:
		id.Subject = ""
	}
	if id.Subject == "" || len(id.Subject) > maxLegacySubject {
		return jwt.BecauseOf(jwt.MissingClaim, l.SubjectClaim, "is %s; it must be a text or a number that identifies the user", jwt.TypeName(v))
	}
	return nil
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

// problem returns why a claim with the value v is not what is required.
func (c RequiredClaim) problem(v any) string {
	switch {
	case v == nil:
		return "is absent or null"
	case c.Members != nil:
		return "is " + jwt.TypeName(v) + " without the required members"
	}
	return "is " + jwt.TypeName(v) + " with another value"
}

func (c RequiredClaim) matches(v any) bool {
	text, ok := identity.Scalar(v)
	return ok && slices.Contains(c.Values, text)
}
