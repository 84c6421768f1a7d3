package check

import (
	"slices"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// Bounds of the age of DPoP proofs. RFC 9449 §11.1 wants seconds or minutes.
const (
	minProofAge = time.Second
	maxProofAge = 10 * time.Minute
)

// ProofAlgorithms returns the algorithms that DPoP proofs may have. The key is in the proof, so none is symmetric (RFC 9449 §4.2).
func ProofAlgorithms() []string {
	return []string{"ES256", "ES384", "ES512", "EdDSA", "Ed25519", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"}
}

func (c *checker) proofOfPossession(field string, in *compiled.ProofOfPossession, p *compiled.Policy) {
	if in == nil {
		return
	}
	c.add(field+".mode", oneOf(in.Mode, compiled.ProofNone, compiled.ProofOptional, compiled.ProofRequire))
	for i, method := range in.Methods {
		c.add(at(field+".methods", i), oneOf(method, compiled.ProofMTLS, compiled.ProofDPoP))
		if slices.Contains(in.Methods[:i], method) {
			c.addf(at(field+".methods", i), "%s is in the list twice; write each method once", method)
		}
	}
	switch {
	case in.Mode == compiled.ProofNone && len(in.Methods) > 0:
		c.addf(field+".methods", "mode None checks no proof; leave methods out, or write mode: Optional")
	case in.Mode != compiled.ProofNone && len(in.Methods) == 0:
		c.addf(field+".methods", "it is empty; write for example [DPoP]")
	case in.Uses(compiled.ProofMTLS) && !p.SeesClientCertificates():
		c.addf(field+".methods", "mTLS needs the certificates of clients, and the sidecar does not see them; write spec.tls.clientCertificates with mode: Optional or Require, or spec.forwardClientCert.fromProxies: Use "+
			"behind a proxy that ends TLS, or leave mTLS out")
	}
	if d := in.DPoP; d != nil {
		if d.MaxAge.Std() < minProofAge || d.MaxAge.Std() > maxProofAge {
			c.addf(field+".dpop.maxAge", "%s is not between %s and %s; write a duration in that range, for example 1m", d.MaxAge.Std(), minProofAge, maxProofAge)
		}
		for i, name := range d.Algorithms {
			c.add(at(field+".dpop.algorithms", i), oneOf(name, ProofAlgorithms()...))
		}
		c.onFailure(field+".dpop.onFailure", d.OnFailure)
	}
}

func (c *checker) forwardClientCert(p *compiled.Policy) {
	f := p.ForwardClientCert
	if f == nil {
		return
	}
	const field = "spec.forwardClientCert"
	c.add(field+".fromProxies", oneOf(f.FromProxies, compiled.XFCCForward, compiled.XFCCUse, compiled.XFCCRemove))
	for i, detail := range f.ToApp {
		c.add(at(field+".toApp", i), oneOf(detail, "Hash", "Cert", "Chain", "Subject", "URI", "DNS"))
		if slices.Contains(f.ToApp[:i], detail) {
			c.addf(at(field+".toApp", i), "%s is in the list twice; write each detail once", detail)
		}
	}
	if len(f.ToApp) > 0 && (p.TLS == nil || p.TLS.ClientCertificates == nil) {
		c.addf(field+".toApp", "the sidecar asks no client for a certificate; write spec.tls.clientCertificates with mode: Optional or Require, or leave toApp out")
	}
}
