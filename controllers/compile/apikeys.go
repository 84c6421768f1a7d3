package compile

import (
	"fmt"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

func (c *compiler) apiKeys(in *v1alpha1.APIKeys) *compiled.APIKeys {
	if in == nil {
		return nil
	}
	a := &compiled.APIKeys{
		Keys: c.secretRef("spec.apiKeys.keysRef", in.KeysRef), Users: c.secretRef("spec.apiKeys.usersRef", in.UsersRef), ForwardKey: in.ForwardKey, Mode: compiled.Mode(in.Mode),
		ClaimsToHeaders: claimsToHeaders(in.ClaimsToHeaders),
	}
	for i, l := range in.From {
		a.From = append(a.From, compiled.APIKeyLocation(l))
		if l.Query != "" {
			c.warnf(fmt.Sprintf("spec.apiKeys.from[%d].query", i), "a key in the URL is kept by the histories and logs of clients and proxies, "+
				"and sent to other sites as Referer: write header: X-API-Key if the clients can send a header")
		}
	}
	return a
}

// keyLifetime is how long a revocation of API keys and users lasts unless it says expires: longer than anybody keeps a key, because the
// operator does not know when a key expires.
const keyLifetime = 10 * 365 * 24 * time.Hour

// applies reports whether a revocation applies to the identities of an issuer. To users of a file only those of a subject do. To API
// keys and client certificates those of a subject do, and, if they name their issuer, those of tokenID: the id of a key, or the
// fingerprint of a certificate.
func applies(r *v1alpha1.TokenRevocation, issuer string) bool {
	switch issuer {
	case compiled.APIKeysIssuer, compiled.ClientCertificatesIssuer:
		return r.Spec.Subject != "" || r.Spec.Issuer == issuer && r.Spec.TokenID != ""
	case compiled.BasicUsersIssuer:
		return r.Spec.Subject != ""
	}
	return true
}
