package authn

import (
	"encoding/json"
	"slices"
	"strconv"

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
	if len(c.Values) == 0 {
		return true
	}
	if list, ok := v.([]any); ok {
		return slices.ContainsFunc(list, c.matches)
	}
	return c.matches(v)
}

func (c RequiredClaim) matches(v any) bool {
	text, ok := scalar(v)
	return ok && slices.Contains(c.Values, text)
}

// scalar returns a string as it is, and a number or boolean as JSON writes it.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}
