package chain

import (
	"net/http"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/stages/authn"
	"github.com/posterndev/postern/sidecar/stages/clientcert"
	"github.com/posterndev/postern/sidecar/stages/plaintext"
)

// plaintext returns the stage that decides about requests without TLS; nil if they pass.
func (b *builder) plaintext() stage.Stage {
	t := b.policy.TLS
	if t == nil || t.Mode == compiled.TLSPermissive && t.RedirectPort == 0 {
		return nil
	}
	return plaintext.New(plaintext.Config{Require: t.Mode == compiled.TLSRequire, RedirectPort: t.RedirectPort})
}

// clientCertificates returns the stage that judges the certificates of clients. It extends stripCredentials by the headers of their claims.
func (b *builder) clientCertificates() stage.Stage {
	if b.clients == nil {
		return nil
	}
	in := b.policy.TLS.ClientCertificates
	c := clientcert.Config{Clients: b.clients, Provider: compiled.ClientCertificatesProvider, Issuer: compiled.ClientCertificatesIssuer}
	if headers := claimHeaders(in.ClaimsToHeaders); len(headers) > 0 {
		c.Headers = func(id *identity.Identity) (http.Header, error) { return authn.ClaimHeaders(headers, id) }
	}
	s, err := clientcert.New(c)
	b.fail(err, "tls.clientCertificates")
	b.stripCredentials = stripBoth(b.stripCredentials, func(http.Header) {}, in.ClaimsToHeaders)
	return s
}
