package compiled

import (
	"errors"
	"fmt"
)

// The provider and the issuer of the identities that client certificates give. No token has them.
const (
	ClientCertificatesProvider = "client-certificates"
	ClientCertificatesIssuer   = "urn:postern:client-certificates"
)

// TLSMode says whether plain HTTP is accepted beside TLS.
type TLSMode string

// Values of TLSMode that Validate accepts.
const (
	TLSRequire    TLSMode = "Require"
	TLSPermissive TLSMode = "Permissive"
)

// Versions of TLS that Validate accepts.
const (
	TLS12 = "1.2"
	TLS13 = "1.3"
)

// TLS is how the sidecar serves TLS on the HTTP ports.
type TLS struct {
	Mode TLSMode `json:"mode"`
	// Certificates are in the order of preference; the first is the default.
	Certificates []Certificate `json:"certificates"`
	MinVersion   string        `json:"minVersion"`
	// RedirectPort is the port of https URLs to which plain requests are redirected; 0 if they are not.
	RedirectPort uint16 `json:"redirectPort,omitempty"`
	// ClientCertificates is nil if clients are not asked for a certificate.
	ClientCertificates *ClientCertificates `json:"clientCertificates,omitempty"`
}

// Certificate is the source of a certificate: Chain and Key, which are in one Secret or one secret of Vault, or PKI.
type Certificate struct {
	Chain *SecretRef `json:"chain,omitempty"`
	Key   *SecretRef `json:"key,omitempty"`
	PKI   *VaultPKI  `json:"pki,omitempty"`
}

// Name names the certificate in logs, metrics and the status.
func (c *Certificate) Name() string {
	switch {
	case c.PKI != nil:
		return "pki/" + c.PKI.Mount + "/" + c.PKI.Role + "/" + c.PKI.CommonName
	case c.Chain != nil && c.Chain.VaultPath != "":
		return "vault/" + c.Chain.VaultPath
	case c.Chain != nil:
		return "secret/" + c.Chain.Name
	}
	return ""
}

// VaultPKI is what a PKI engine of Vault issues. TTL is 0 for that of the role.
type VaultPKI struct {
	Mount      string   `json:"mount"`
	Role       string   `json:"role"`
	CommonName string   `json:"commonName"`
	AltNames   []string `json:"altNames,omitempty"`
	TTL        Duration `json:"ttl,omitempty"`
}

// CertificateIdentity is the part of a certificate that identifies its owner; empty for none.
type CertificateIdentity string

// Values of CertificateIdentity that Validate accepts.
const (
	IdentityURISAN  CertificateIdentity = "URISAN"
	IdentityDNSSAN  CertificateIdentity = "DNSSAN"
	IdentitySubject CertificateIdentity = "Subject"
)

// ClientCertificates is how the certificates of clients are verified.
type ClientCertificates struct {
	// Required refuses clients without a certificate.
	Required bool `json:"required,omitempty"`
	// CA and CRL are PEM; CRL is nil if there are no revocation lists.
	CA              *SecretRef          `json:"ca"`
	CRL             *SecretRef          `json:"crl,omitempty"`
	Identity        CertificateIdentity `json:"identity,omitempty"`
	TrustDomains    []string            `json:"trustDomains,omitempty"`
	ClaimsToHeaders []ClaimToHeader     `json:"claimsToHeaders,omitempty"`
}

// UpstreamTLS is how the sidecar verifies an app that serves TLS.
type UpstreamTLS struct {
	CA         *SecretRef `json:"ca"`
	ServerName string     `json:"serverName"`
}

// Identifies reports whether the certificate of a client is a credential.
func (t *TLS) Identifies() bool {
	return t != nil && t.ClientCertificates != nil && t.ClientCertificates.Identity != ""
}

// refs returns the secrets that the section refers to.
func (t *TLS) refs() []*SecretRef {
	if t == nil {
		return nil
	}
	var refs []*SecretRef
	for i := range t.Certificates {
		refs = append(refs, t.Certificates[i].Chain, t.Certificates[i].Key)
	}
	if c := t.ClientCertificates; c != nil {
		refs = append(refs, c.CA, c.CRL)
	}
	return refs
}

// usesPKI reports whether a certificate is issued by Vault.
func (t *TLS) usesPKI() bool {
	if t == nil {
		return false
	}
	for i := range t.Certificates {
		if t.Certificates[i].PKI != nil {
			return true
		}
	}
	return false
}

func (t *TLS) validate() error {
	if t == nil {
		return nil
	}
	errs := []error{oneOf("mode", t.Mode, TLSRequire, TLSPermissive), oneOf("minVersion", t.MinVersion, TLS12, TLS13)}
	if len(t.Certificates) == 0 {
		errs = append(errs, errors.New("certificates are required"))
	}
	for i := range t.Certificates {
		c := &t.Certificates[i]
		if (c.Chain == nil) != (c.Key == nil) || (c.Chain == nil) == (c.PKI == nil) {
			errs = append(errs, fmt.Errorf("certificates[%d]: either chain and key or pki is required", i))
		}
		if c.PKI != nil && (c.PKI.Mount == "" || c.PKI.Role == "" || c.PKI.CommonName == "") {
			errs = append(errs, fmt.Errorf("certificates[%d].pki: mount, role and commonName are required", i))
		}
	}
	if c := t.ClientCertificates; c != nil {
		errs = append(errs, c.validate())
	}
	return errors.Join(errs...)
}

func (c *ClientCertificates) validate() error {
	if c.CA == nil {
		return errors.New("clientCertificates: ca is required")
	}
	return wrap(oneOf("identity", c.Identity, "", IdentityURISAN, IdentityDNSSAN, IdentitySubject), "clientCertificates")
}

func (u *UpstreamTLS) validate() error {
	if u != nil && (u.CA == nil || u.ServerName == "") {
		return errors.New("ca and serverName are required")
	}
	return nil
}
