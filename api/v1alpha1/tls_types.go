package v1alpha1

// TLS makes the sidecar serve TLS on the policy's HTTP ports. The app gets plain HTTP, unless upstreamTLS is set. HTTP/2 and HTTP/1.1 are
// agreed on by ALPN. TCP ports are passed through as they are.
//
// +kubebuilder:validation:XValidation:rule="!has(self.clientCertificates) || !has(self.clientCertificates.mode) || self.clientCertificates.mode != 'Require' || self.mode == 'Require'",message="clientCertificates.mode is Require, but mode Permissive also accepts plain HTTP, which has no certificate: write mode: Require, or clientCertificates.mode: Optional",fieldPath=".clientCertificates.mode"
type TLS struct {
	// Mode is Require, or Permissive for a migration: plain HTTP and TLS on the same port, told apart by the first byte. With Require, a plain
	// request never reaches the app: it gets the status 400, or is redirected.
	Mode TLSMode `json:"mode"`

	// Certificates are what the sidecar shows to clients: the first whose names match the server name of the client (SNI), otherwise the first of
	// all. A certificate that changes is used for the next connection, and no connection is closed for it.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Certificates []TLSCertificate `json:"certificates"`

	// MinVersion is the oldest version of TLS that is accepted.
	// +optional
	MinVersion TLSVersion `json:"minVersion,omitempty"`

	// Redirect sends clients that use plain HTTP to https, with the status 308. With mode Permissive, a request that came to a trusted proxy
	// by https is not redirected.
	// +optional
	Redirect *TLSRedirect `json:"redirect,omitempty"`

	// ClientCertificates verifies the certificates of clients (mutual TLS), and makes them credentials. For example: {mode: Optional, caRef: {secretKeyRef: {name:
	// clients-ca, key: ca.crt}}, identity: URISAN}.
	// +optional
	ClientCertificates *ClientCertificates `json:"clientCertificates,omitempty"`
}

// TLSMode is whether plain HTTP is accepted beside TLS.
// +kubebuilder:validation:Enum=Require;Permissive
type TLSMode string

const (
	// TLSRequire accepts TLS only.
	TLSRequire TLSMode = "Require"
	// TLSPermissive accepts TLS and plain HTTP on the same port.
	TLSPermissive TLSMode = "Permissive"
)

// TLSVersion is a version of TLS.
// +kubebuilder:validation:Enum="1.2";"1.3"
type TLSVersion string

const (
	// TLS12 is TLS 1.2 (RFC 5246), with ECDHE and authenticated encryption only.
	TLS12 TLSVersion = "1.2"
	// TLS13 is TLS 1.3 (RFC 8446).
	TLS13 TLSVersion = "1.3"
)

// TLSCertificate is the source of a certificate with its key. Exactly one of secretRef and vault is set.
//
// +kubebuilder:validation:XValidation:rule="has(self.secretRef) != has(self.vault)",message="set exactly one of secretRef and vault, such as secretRef: {name: orders-tls}"
type TLSCertificate struct {
	// SecretRef is a Secret of the type kubernetes.io/tls, as cert-manager writes it: tls.crt with the chain, the server's certificate first, and
	// tls.key. The Secret is mounted into the sidecar, so it must exist in the pod's namespace.
	// +optional
	SecretRef *TLSSecretRef `json:"secretRef,omitempty"`
	// Vault is a certificate from the class's Vault.
	// +optional
	Vault *TLSVault `json:"vault,omitempty"`
}

// TLSSecretRef names a Secret with tls.crt and tls.key.
type TLSSecretRef struct {
	// Name of the Secret.
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")`,message="not the name of a Secret: write lower-case letters, digits, hyphens and dots, such as orders-tls"
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// TLSVault is a certificate from Vault. Exactly one of kv and pki is set.
//
// +kubebuilder:validation:XValidation:rule="has(self.kv) != has(self.pki)",message="set exactly one of kv and pki, such as pki: {role: shop, commonName: orders.shop.svc}"
type TLSVault struct {
	// KV is a secret with the keys tls.crt and tls.key in a KV version 2 engine.
	// +optional
	KV *TLSVaultKV `json:"kv,omitempty"`
	// PKI makes each sidecar get a certificate of its own from a PKI engine. It is renewed at two thirds of its lifetime, and neither it nor
	// its key is ever written to a disk.
	// +optional
	PKI *TLSVaultPKI `json:"pki,omitempty"`
}

// TLSVaultKV selects a secret in a KV version 2 engine.
type TLSVaultKV struct {
	// Path of the secret with its mount, as in the command vault kv get: secret/shop/tls.
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[A-Za-z0-9_.@:=+-]+(/[A-Za-z0-9_.@:=+-]+)+$")`,message="not a path in Vault: write the mount and the path of the secret, such as secret/shop/tls"
	Path string `json:"path"`
}

// TLSVaultPKI is what a sidecar asks a PKI engine for. The role decides what is allowed.
type TLSVaultPKI struct {
	// Mount of the PKI engine.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[A-Za-z0-9_.@:=+-]+(/[A-Za-z0-9_.@:=+-]+)*$")`,message="not a mount in Vault: write it without a slash at its start or end, such as pki or pki/shop"
	Mount string `json:"mount,omitempty"`
	// Role of the engine. The sidecar's Vault policy must allow update on <mount>/issue/<role>.
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[A-Za-z0-9_.@:=+-]+$")`,message="not the name of a role in Vault: write letters, digits, hyphens and dots, such as shop"
	Role string `json:"role"`
	// CommonName of the certificate: a DNS name, which is one of its names (SAN) too.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^([*][.])?[A-Za-z0-9_.-]+$")`,message="not a DNS name: write one such as orders.shop.svc"
	CommonName string `json:"commonName"`
	// AltNames are further DNS names.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:XValidation:rule=`self.matches(r"^([*][.])?[A-Za-z0-9_.-]+$")`,message="not a DNS name: write one such as orders"
	AltNames []string `json:"altNames,omitempty"`
	// TTL is the lifetime of the certificate. It is the role's if it is unset.
	// +optional
	// +kubebuilder:validation:XValidation:rule="(duration(self) >= duration('5m') && duration(self) <= duration('8760h')) || !self.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="ttl is not between 5m and 8760h: write a duration such as 24h"
	TTL Duration `json:"ttl,omitempty"`
}

// TLSRedirect is where plain requests are redirected: to the host and path of the request, by https.
type TLSRedirect struct {
	// Port of the https URL, at which clients reach TLS. 443 is left out of the URL.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`
}

// ClientCertificates verifies the certificates of clients. With identity, a certificate is a credential where a request has no token and no
// API key: its identity has the provider client-certificates, for rules and limits. Without identity, it only admits the connection.
//
// +kubebuilder:validation:XValidation:rule="!has(self.trustDomains) || has(self.identity) && self.identity == 'URISAN'",message="trustDomains applies to identity URISAN only: write identity: URISAN, or remove trustDomains"
// +kubebuilder:validation:XValidation:rule="!has(self.claimsToHeaders) || has(self.identity)",message="without identity a certificate has no claims: add identity, such as identity: URISAN, or remove claimsToHeaders"
// +kubebuilder:validation:XValidation:rule="(has(self.mode) && self.mode == 'None') || has(self.caRef)",message="there is no CA to verify certificates with: add caRef, such as caRef: {secretKeyRef: {name: clients-ca, key: ca.crt}}"
type ClientCertificates struct {
	// Mode is Optional: a client may show a certificate, and one that is not valid is refused in the handshake; Require: a client without a
	// certificate is refused in the handshake; or None.
	// +optional
	Mode ClientCertificateMode `json:"mode,omitempty"`
	// CARef selects the certificates of the CAs that issue the clients' certificates, in PEM. Changed CAs hold for the next request, also on
	// open connections.
	// +optional
	CARef *SecretRef `json:"caRef,omitempty"`
	// CRLRef selects the revocation lists of the CAs, in PEM. A certificate that is listed is refused in the handshake, and at the next
	// request on an open connection. A list that is out of date is used until it is replaced, and the status says so.
	// +optional
	CRLRef *SecretRef `json:"crlRef,omitempty"`
	// Identity is the part of the certificate that is the subject (sub) of the identity: URISAN is its only URI, such as a SPIFFE ID; DNSSAN
	// is its first DNS name; Subject is its distinguished name (RFC 4514). A certificate without that part is refused in the handshake. If it is
	// unset, a certificate identifies nobody, and rules need a token as before.
	// +optional
	Identity CertificateIdentity `json:"identity,omitempty"`
	// TrustDomains are the SPIFFE trust domains whose IDs are accepted, such as example.org. It applies to identity URISAN, and requires a
	// SPIFFE ID.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=255
	// +kubebuilder:validation:items:XValidation:rule=`self.matches(r"^[a-z0-9._-]+$")`,message="not a trust domain: write lower-case letters, digits, dots, hyphens and underscores, such as example.org"
	TrustDomains []string `json:"trustDomains,omitempty"`
	// ClaimsToHeaders sends claims of the certificate to the app: sub, uris, dns, cn, o, ou and x5t#S256. These headers are removed from every
	// request first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	ClaimsToHeaders []ClaimToHeader `json:"claimsToHeaders,omitempty"`
}

// ClientCertificateMode is whether clients need a certificate.
// +kubebuilder:validation:Enum=None;Optional;Require
type ClientCertificateMode string

const (
	// ClientCertificatesNone asks for no certificate.
	ClientCertificatesNone ClientCertificateMode = "None"
	// ClientCertificatesOptional asks for a certificate, and verifies it if the client has one.
	ClientCertificatesOptional ClientCertificateMode = "Optional"
	// ClientCertificatesRequire refuses clients without a valid certificate.
	ClientCertificatesRequire ClientCertificateMode = "Require"
)

// CertificateIdentity is the part of a certificate that identifies its owner.
// +kubebuilder:validation:Enum=URISAN;DNSSAN;Subject
type CertificateIdentity string

const (
	// IdentityURISAN is the URI of the subject alternative name.
	IdentityURISAN CertificateIdentity = "URISAN"
	// IdentityDNSSAN is the first DNS name of the subject alternative name.
	IdentityDNSSAN CertificateIdentity = "DNSSAN"
	// IdentitySubject is the distinguished name.
	IdentitySubject CertificateIdentity = "Subject"
)

// UpstreamTLS is how the sidecar verifies an app that serves TLS itself.
type UpstreamTLS struct {
	// CARef selects the certificates of the CAs of the app's certificate, in PEM. The system's CAs are not used.
	CARef SecretRef `json:"caRef"`
	// ServerName is the name that the app's certificate must have, and the server name that is sent to it (SNI).
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[A-Za-z0-9_.-]+$")`,message="not a DNS name: write one such as orders.shop.svc"
	ServerName string `json:"serverName,omitempty"`
}
