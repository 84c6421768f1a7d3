package compile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// The keys of a Secret of the type kubernetes.io/tls.
const (
	chainKey      = "tls.crt"
	privateKeyKey = "tls.key"
)

func (c *compiler) tls(in *v1alpha1.TLS) *compiled.TLS {
	if in == nil {
		return nil
	}
	t := &compiled.TLS{Mode: compiled.TLSMode(in.Mode), MinVersion: string(in.MinVersion)}
	for i := range in.Certificates {
		t.Certificates = append(t.Certificates, c.certificate(fmt.Sprintf("spec.tls.certificates[%d]", i), &in.Certificates[i]))
	}
	if in.Redirect != nil {
		t.RedirectPort = uint16(in.Redirect.Port)
		if in.Redirect.Port < 1 || in.Redirect.Port > 65535 {
			c.errorf("spec.tls.redirect.port", "%d is not a port number: write a number from 1 to 65535, such as 443", in.Redirect.Port)
		}
	}
	if k := in.ClientCertificates; k != nil && k.Mode != v1alpha1.ClientCertificatesNone {
		t.ClientCertificates = c.clientCertificates(in.Mode, k)
	}
	return t
}

func (c *compiler) certificate(field string, in *v1alpha1.TLSCertificate) compiled.Certificate {
	c.one(field, "secretRef and vault", in.SecretRef != nil, in.Vault != nil)
	switch {
	case in.SecretRef != nil:
		name := in.SecretRef.Name
		return compiled.Certificate{Chain: &compiled.SecretRef{Name: name, Key: chainKey}, Key: &compiled.SecretRef{Name: name, Key: privateKeyKey}}
	case in.Vault == nil:
		return compiled.Certificate{}
	}
	c.one(field+".vault", "kv and pki", in.Vault.KV != nil, in.Vault.PKI != nil)
	if kv := in.Vault.KV; kv != nil {
		return compiled.Certificate{Chain: &compiled.SecretRef{VaultPath: kv.Path, Key: chainKey}, Key: &compiled.SecretRef{VaultPath: kv.Path, Key: privateKeyKey}}
	}
	pki := in.Vault.PKI
	if pki == nil {
		return compiled.Certificate{}
	}
	return compiled.Certificate{PKI: &compiled.VaultPKI{
		Mount: pki.Mount, Role: pki.Role, CommonName: pki.CommonName, AltNames: pki.AltNames, TTL: c.duration(field+".vault.pki.ttl", pki.TTL),
	}}
}

func (c *compiler) clientCertificates(mode v1alpha1.TLSMode, in *v1alpha1.ClientCertificates) *compiled.ClientCertificates {
	const field = "spec.tls.clientCertificates"
	if in.Mode == v1alpha1.ClientCertificatesRequire && mode == v1alpha1.TLSPermissive {
		c.errorf(field+".mode", "Require does not hold for plain HTTP, which mode Permissive accepts: write tls.mode: Require, or clientCertificates.mode: Optional")
	}
	return &compiled.ClientCertificates{
		Required: in.Mode == v1alpha1.ClientCertificatesRequire, CA: c.secretRef(field+".caRef", in.CARef), CRL: c.secretRef(field+".crlRef", in.CRLRef),
		Identity: compiled.CertificateIdentity(in.Identity), TrustDomains: in.TrustDomains, ClaimsToHeaders: claimsToHeaders(in.ClaimsToHeaders),
	}
}

func (c *compiler) upstreamTLS(in *v1alpha1.UpstreamTLS) *compiled.UpstreamTLS {
	if in == nil {
		return nil
	}
	return &compiled.UpstreamTLS{CA: c.secretRef("spec.upstreamTLS.caRef", &in.CARef), ServerName: in.ServerName}
}

// warnTLS reports what weakens TLS.
func (c *compiler) warnTLS(p *compiled.Policy) {
	t := p.TLS
	if t == nil {
		return
	}
	if t.Mode == compiled.TLSPermissive && t.RedirectPort == 0 {
		c.warnf("spec.tls.mode", "Permissive accepts plain HTTP, which anyone on the network can read and change: write mode: Require when all clients use TLS, or add redirect")
	}
	if t.Identifies() && (len(p.Providers) > 0 || p.Tokens != nil) {
		c.warnf("spec.tls.clientCertificates.identity", "the policy has tokens too, and a rule that requires Authenticated also lets a client pass that has a certificate and no token: "+
			"write providers in the rules that need a token, or remove identity if certificates only admit connections")
	}
	c.suspectCertificateClaims(p)
}

// certificateClaims are the claims of a client certificate, as package certificate gives them.
var certificateClaims = []string{"cn", "dns", "o", "ou", "sub", "uris", "x5t#S256"}

// suspectCertificateClaims reports conditions on claims, and headers for them, that no certificate has.
func (c *compiler) suspectCertificateClaims(p *compiled.Policy) {
	warn := func(field, claim string) {
		if !slices.Contains(certificateClaims, claim) {
			c.warnf(field, "no client certificate has the claim %.64q: write one of %s", claim, strings.Join(certificateClaims, ", "))
		}
	}
	if k := p.TLS.ClientCertificates; k != nil {
		for i := range k.ClaimsToHeaders {
			warn(fmt.Sprintf("spec.tls.clientCertificates.claimsToHeaders[%d].claim", i), k.ClaimsToHeaders[i].Claim)
		}
	}
	only := p.TLS.Identifies() && len(p.Providers) == 0 && p.Tokens == nil && p.APIKeys == nil
	for i := range p.Authorization.Rules {
		r := &p.Authorization.Rules[i]
		if !only && !slices.Equal(r.Providers, []string{compiled.ClientCertificatesProvider}) {
			continue
		}
		for j := range r.Claims {
			warn(fmt.Sprintf("spec.authorization.rules[%d].claims[%d].claim", i, j), r.Claims[j].Claim)
		}
	}
}
