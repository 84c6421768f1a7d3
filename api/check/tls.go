package check

import (
	"fmt"
	"strings"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// Bounds of spec.tls. A Vault issues no certificate of less than a few minutes, because each is renewed at two thirds of its lifetime.
const (
	maxCertificates   = 16
	maxAltNames       = 32
	minCertificateTTL = 5 * time.Minute
	maxCertificateTTL = 8760 * time.Hour
	maxTrustDomain    = 255
)

func (c *checker) tls(t *compiled.TLS) {
	if t == nil {
		return
	}
	const field = "spec.tls"
	c.add(field+".mode", oneOf(t.Mode, compiled.TLSRequire, compiled.TLSPermissive))
	c.add(field+".minVersion", oneOf(t.MinVersion, compiled.TLS12, compiled.TLS13))
	if len(t.Certificates) == 0 || len(t.Certificates) > maxCertificates {
		c.addf(field+".certificates", "there are %d certificates; write 1 to %d, for example [{secretRef: {name: orders-tls}}]", len(t.Certificates), maxCertificates)
	}
	seen := map[string]bool{}
	for i := range t.Certificates {
		name := t.Certificates[i].Name()
		if seen[name] {
			c.addf(at(field+".certificates", i), "another entry has the same certificate; write each once")
		}
		seen[name] = true
		c.certificate(at(field+".certificates", i), &t.Certificates[i])
	}
	if t.ClientCertificates != nil {
		c.clientCertificates(field+".clientCertificates", t)
	}
}

func (c *checker) certificate(field string, in *compiled.Certificate) {
	switch {
	case (in.Chain == nil) == (in.PKI == nil):
		c.addf(field, "write exactly one of secretRef and vault, for example secretRef: {name: orders-tls}")
	case in.PKI != nil:
		c.pki(field+".vault.pki", in.PKI)
	case in.Chain.VaultPath != "":
		c.add(field+".vault.kv.path", VaultSecretPath(in.Chain.VaultPath))
	default:
		c.secret(field+".secretRef", in.Chain)
	}
}

func (c *checker) pki(field string, in *compiled.VaultPKI) {
	c.add(field+".mount", VaultPath(in.Mount))
	if strings.ContainsAny(in.Role, "/ ") || VaultPath(in.Role) != nil {
		c.addf(field+".role", "%.64q is not the name of a role in Vault; write letters, digits and hyphens, for example shop", in.Role)
	}
	c.add(field+".commonName", certificateName(in.CommonName))
	if len(in.AltNames) > maxAltNames {
		c.addf(field+".altNames", "there are %d names; write at most %d", len(in.AltNames), maxAltNames)
	}
	for i, name := range in.AltNames {
		c.add(at(field+".altNames", i), certificateName(name))
	}
	if in.TTL != 0 && (in.TTL.Std() < minCertificateTTL || in.TTL.Std() > maxCertificateTTL) {
		c.addf(field+".ttl", "%s is not between %s and %s; write a duration in that range, for example 24h", in.TTL.Std(), minCertificateTTL, maxCertificateTTL)
	}
}

// certificateName refuses what is not a DNS name, whose first label may be *. A comma would be another name for Vault.
func certificateName(name string) error {
	if !isHostName(strings.TrimPrefix(name, "*.")) {
		return fmt.Errorf("%.128q is not a DNS name; write letters, digits, hyphens and dots, for example orders.shop.svc", name)
	}
	return nil
}

func (c *checker) clientCertificates(field string, t *compiled.TLS) {
	in := t.ClientCertificates
	if in.Required && t.Mode == compiled.TLSPermissive {
		c.addf(field+".mode", "Require does not hold for plain HTTP, which mode Permissive accepts; write tls.mode: Require, or clientCertificates.mode: Optional")
	}
	if in.CA == nil {
		c.addf(field+".caRef", "there is no CA to verify certificates with; write for example {secretKeyRef: {name: clients-ca, key: ca.crt}}")
	}
	c.secret(field+".caRef", in.CA)
	c.secret(field+".crlRef", in.CRL)
	c.add(field+".identity", oneOf(in.Identity, "", compiled.IdentityURISAN, compiled.IdentityDNSSAN, compiled.IdentitySubject))
	if len(in.TrustDomains) > 0 && in.Identity != compiled.IdentityURISAN {
		c.addf(field+".trustDomains", "it applies to identity URISAN only; write identity: URISAN, or leave trustDomains out")
	}
	for i, domain := range in.TrustDomains {
		c.add(at(field+".trustDomains", i), TrustDomain(domain))
	}
	if len(in.ClaimsToHeaders) > 0 && in.Identity == "" {
		c.addf(field+".claimsToHeaders", "without identity a certificate has no claims; write identity, for example URISAN, or leave claimsToHeaders out")
	}
	c.claimsToHeaders(field+".claimsToHeaders", in.ClaimsToHeaders)
}

// TrustDomain refuses what is not a SPIFFE trust domain (SPIFFE-ID §2.1).
func TrustDomain(domain string) error {
	ok := domain != "" && len(domain) <= maxTrustDomain
	for i := 0; ok && i < len(domain); i++ {
		ch := domain[i]
		ok = ch >= 'a' && ch <= 'z' || ch >= '0' && ch <= '9' || ch == '.' || ch == '-' || ch == '_'
	}
	if !ok {
		return fmt.Errorf("%.64q is not a SPIFFE trust domain; write lower-case letters, digits, dots, hyphens and underscores, for example example.org", domain)
	}
	return nil
}

func (c *checker) upstreamTLS(u *compiled.UpstreamTLS) {
	if u == nil {
		return
	}
	if u.CA == nil {
		c.addf("spec.upstreamTLS.caRef", "there is no CA to verify the app with; write for example {secretKeyRef: {name: orders-ca, key: ca.crt}}")
	}
	c.secret("spec.upstreamTLS.caRef", u.CA)
	c.add("spec.upstreamTLS.serverName", certificateName(u.ServerName))
}
