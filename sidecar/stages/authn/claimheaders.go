package authn

import (
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
)

// ClaimHeaders returns the headers that carry the claims of an identity to the app, by the same rules and bounds as for tokens. Other
// kinds of credentials use it.
func ClaimHeaders(claims []ClaimHeader, id *identity.Identity) (http.Header, error) {
	headers, err := headersOf(&provider{Provider: Provider{ClaimsToHeaders: claims}}, id)
	if err != nil {
		return nil, err
	}
	out := http.Header{}
	for _, h := range headers {
		out[h.name] = []string{h.value}
	}
	return out, nil
}
