package chain

import (
	"crypto/sha256"
	"net/http"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/httpkit/xfcc"
	"github.com/posterndev/postern/sidecar/keys/dpop"
	"github.com/posterndev/postern/sidecar/stages/authn"
	"github.com/posterndev/postern/sidecar/stages/forwardcert"
)

// proof returns how clients prove that a provider's tokens were issued to them. A policy that says nothing checks what tokens are bound to, as far as the
// sidecar can: nobody loses by it but the thief of a bound token.
func proof(policy *compiled.Policy, p *compiled.Provider) *authn.Proof {
	in := p.ProofOfPossession
	out := &authn.Proof{OnFailure: authn.Deny, Rules: dpop.Rules{Algorithms: dpop.Algorithms(), MaxAge: compiled.DefaultProofMaxAge, Leeway: p.Leeway.Std()}}
	switch {
	case in == nil:
		out.Lenient, out.DPoP, out.Certificates = true, true, policy.SeesClientCertificates()
		return out
	case in.Mode == compiled.ProofNone:
		return nil
	}
	out.Required = in.Mode == compiled.ProofRequire
	out.Certificates, out.DPoP = in.Uses(compiled.ProofMTLS), in.Uses(compiled.ProofDPoP)
	if d := in.DPoP; d != nil {
		out.Rules.MaxAge, out.OnFailure = d.MaxAge.Std(), authn.OnFailure(d.OnFailure)
		if len(d.Algorithms) > 0 {
			out.Rules.Algorithms = d.Algorithms
		}
	}
	return out
}

// proofs are what the proofs are checked with.
func (b *builder) proofs() authn.Proofs {
	return authn.Proofs{Certificate: clientCertificate(b.policy), Used: b.usedProofs, Local: b.localProofs}
}

// clientCertificate returns what finds the certificate of a request's client. Behind a trusted proxy whose header is used, the certificate of the connection
// is the proxy's, which is no proof of anything that a client does.
func clientCertificate(p *compiled.Policy) func(*http.Request) (sum [sha256.Size]byte, ok bool, err error) {
	fromProxies := p.ForwardClientCert != nil && p.ForwardClientCert.FromProxies == compiled.XFCCUse
	return func(r *http.Request) (sum [sha256.Size]byte, ok bool, err error) {
		info := request.From(r)
		if fromProxies && info.Proxied {
			return xfcc.Certificate(r.Header[xfcc.Header])
		}
		sum, ok = info.TLS.Certificate()
		return sum, ok, nil
	}
}

// forwardedCertificate returns the stage that tells the app about the client's certificate; nil if the policy has no use for it.
func (b *builder) forwardedCertificate() stage.Stage {
	in := b.policy.ForwardClientCert
	if in == nil {
		return nil
	}
	c := forwardcert.Config{Remove: in.FromProxies == compiled.XFCCRemove, Clients: b.clients}
	if b.clients != nil { // there are none while a document is only checked
		for _, d := range in.ToApp {
			c.Details = append(c.Details, xfcc.Detail(d))
		}
	}
	s, err := forwardcert.New(c)
	b.fail(err, "forwardClientCert")
	return s
}
