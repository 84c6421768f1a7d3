package apikey

import (
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	keys "github.com/posterndev/postern/sidecar/keys/apikey"
)

// identityOf returns the identity of a key. The id of the entry is the token id, in the access log and for revocations.
func (a *authenticator) identityOf(e *keys.Entry) *identity.Identity {
	return &identity.Identity{Provider: a.Keys.Provider, Issuer: a.Keys.Issuer, Subject: e.Subject, TokenID: e.ID, Expires: e.Expires, Claims: e.Claims}
}
