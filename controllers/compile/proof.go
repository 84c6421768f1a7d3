package compile

import (
	"fmt"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// proofs adds how clients prove that tokens were issued to them. It needs the rest of the policy, which says what the sidecar can check.
func (c *compiler) proofs(spec *v1alpha1.SecurityPolicySpec, p *compiled.Policy) {
	if spec.JWT == nil {
		return
	}
	for i := range spec.JWT.Providers {
		field := fmt.Sprintf("spec.jwt.providers[%d].proofOfPossession", i)
		p.Providers[i].ProofOfPossession = c.proof(field, spec.JWT.Providers[i].ProofOfPossession, p.SeesClientCertificates())
	}
}

func (c *compiler) proof(field string, in *v1alpha1.ProofOfPossession, seesCertificates bool) *compiled.ProofOfPossession {
	if in == nil {
		return nil
	}
	out := &compiled.ProofOfPossession{Mode: compiled.ProofMode(in.Mode)}
	if in.Mode == v1alpha1.ProofNone {
		if len(in.Methods) > 0 || in.DPoP != nil {
			c.errorf(field+".mode", "None checks nothing: remove methods and dpop, or write mode: Optional")
		}
		return out
	}
	for _, m := range in.Methods {
		out.Methods = append(out.Methods, string(m))
	}
	if len(out.Methods) == 0 {
		if seesCertificates {
			out.Methods = append(out.Methods, compiled.ProofMTLS)
		}
		out.Methods = append(out.Methods, compiled.ProofDPoP)
	}
	switch d := in.DPoP; {
	case !out.Uses(compiled.ProofDPoP) && d != nil:
		c.errorf(field+".dpop", "it applies to the method DPoP only: add it to methods, or remove dpop")
	case out.Uses(compiled.ProofDPoP):
		out.DPoP = &compiled.DPoP{MaxAge: c.duration(field+".dpop.maxAge", d.MaxAge), OnFailure: compiled.FailureMode(d.OnFailure)}
		for _, name := range d.Algorithms {
			out.DPoP.Algorithms = append(out.DPoP.Algorithms, string(name))
		}
	}
	return out
}

func forwardClientCert(in *v1alpha1.ForwardClientCert) *compiled.ForwardClientCert {
	if in == nil {
		return nil
	}
	out := &compiled.ForwardClientCert{FromProxies: compiled.XFCCFromProxies(in.FromProxies)}
	for _, d := range in.ToApp {
		out.ToApp = append(out.ToApp, string(d))
	}
	return out
}

// warnProofs reports what weakens the proofs.
func (c *compiler) warnProofs(p *compiled.Policy) {
	if f := p.ForwardClientCert; f != nil && f.FromProxies == compiled.XFCCUse && len(p.Sidecar.TrustedProxies) == 0 {
		c.warnf("spec.forwardClientCert.fromProxies", "Use reads the header of trusted proxies, and the SidecarClass names none, so no certificate is ever found in it: "+
			"write trustedProxies in the class, such as [10.0.0.0/8]")
	}
	for i := range p.Providers {
		in := p.Providers[i].ProofOfPossession
		field := fmt.Sprintf("spec.jwt.providers[%d].proofOfPossession", i)
		if in.Uses(compiled.ProofDPoP) && p.Redis == nil {
			c.warnf(field, "the SidecarClass has no Redis, so each pod remembers only its own DPoP proofs, and a proof that is stolen can be used once at each other pod: "+
				"add spec.redis to the class, or run one replica")
		}
		if in != nil && in.Mode == compiled.ProofRequire && len(p.Providers[i].From) > 0 && in.Uses(compiled.ProofDPoP) && !in.Uses(compiled.ProofMTLS) {
			c.warnf(fmt.Sprintf("spec.jwt.providers[%d].from", i), "with proofs by DPoP alone, tokens are accepted with the scheme DPoP in Authorization only (RFC 9449), and from none of these places: remove from")
		}
	}
}
