package authn

import (
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/keys/jwt"
)

// maxHeaders is the maximum size of the values of all identity headers of one token, in bytes.
const maxHeaders = 8 << 10

// header is a request header that a verified token sets.
type header struct{ name, value string }

// headersOf returns the headers that carry claims to the app. A claim that is absent or null, or has no text, gives no header. The error
// is reasonClaimSize, or reasonFormat if the policy's format cannot hold the claim's value.
func headersOf(p *provider, id *identity.Identity) ([]header, error) {
	var headers []header
	size := 0
	for _, c := range p.ClaimsToHeaders {
		v, _ := id.Claim(c.Claim)
		value, err := format(c.Format, p.Encoding, v)
		if err != nil {
			return nil, jwt.BecauseOf(reasonFormat, c.Claim, "cannot be sent as %s: %v", c.Format, err)
		}
		if value == "" {
			continue
		}
		if size += len(value); size > maxHeaders {
			return nil, jwt.BecauseOf(reasonClaimSize, c.Claim, "makes the headers for the app longer than %d bytes", maxHeaders)
		}
		headers = append(headers, header{name: http.CanonicalHeaderKey(c.Header), value: value})
	}
	return headers, nil
}
