package v1alpha1

// ProofOfPossession is how a client proves that a token was issued to it, so that nobody else can use a token that was stolen. The claim cnf of the token
// names the client's key (RFC 7800). What it names is checked for each request, and a bound token without its proof gets 401 in every mode but None.
//
// +kubebuilder:validation:XValidation:rule="!has(self.mode) || self.mode != 'None' || (!has(self.methods) && !has(self.dpop))",message="mode None checks nothing: remove methods and dpop, or write mode: Optional"
// +kubebuilder:validation:XValidation:rule="!has(self.dpop) || !has(self.methods) || 'DPoP' in self.methods",message="dpop applies to the method DPoP only: add it to methods, or remove dpop"
type ProofOfPossession struct {
	// Mode is Optional: tokens that are bound to no key are accepted as well; Require: they are refused; or None: the claim cnf is ignored, so that
	// the app must check it.
	// +optional
	Mode ProofMode `json:"mode,omitempty"`
	// Methods are the proofs that are accepted: mTLS is the client's certificate (cnf.x5t#S256, RFC 8705), DPoP is a proof in the header
	// DPoP (cnf.jkt, RFC 9449). A token that is bound in another way is refused. mTLS needs tls.clientCertificates, or
	// forwardClientCert.fromProxies: Use.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	Methods []ProofMethod `json:"methods,omitempty"`
	// DPoP configures DPoP proofs.
	// +optional
	DPoP *DPoP `json:"dpop,omitempty"`
}

// ProofMode is whether tokens must be bound to a key of the client.
// +kubebuilder:validation:Enum=None;Optional;Require
type ProofMode string

const (
	// ProofNone ignores the claim cnf.
	ProofNone ProofMode = "None"
	// ProofOptional checks tokens that are bound, and accepts others.
	ProofOptional ProofMode = "Optional"
	// ProofRequire refuses tokens that are not bound.
	ProofRequire ProofMode = "Require"
)

// ProofMethod is how a client proves that it has the key.
// +kubebuilder:validation:Enum=mTLS;DPoP
type ProofMethod string

const (
	// ProofMTLS is a client certificate (RFC 8705).
	ProofMTLS ProofMethod = "mTLS"
	// ProofDPoP is a DPoP proof (RFC 9449).
	ProofDPoP ProofMethod = "DPoP"
)

// DPoP are the rules for DPoP proofs. A proof is accepted once, and names the method and the URI of its request. A nonce is not asked for.
type DPoP struct {
	// Algorithms are the accepted algorithms of proofs. All are with public keys.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=11
	Algorithms []ProofAlgorithm `json:"algorithms,omitempty"`
	// MaxAge is how long a proof is accepted after its iat, in addition to the provider's leeway.
	// +optional
	// +kubebuilder:validation:XValidation:rule="(duration(self) >= duration('1s') && duration(self) <= duration('10m')) || !self.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="maxAge is not between 1s and 10m: write a duration such as 1m"
	MaxAge Duration `json:"maxAge,omitempty"`
	// OnFailure is what happens while Redis, which remembers the used proofs, is unavailable: Deny responds with 503. Allow lets each pod remember its
	// own, so that a proof could be used once at each pod.
	// +optional
	OnFailure FailureMode `json:"onFailure,omitempty"`
}

// ProofAlgorithm is an algorithm of DPoP proofs.
// +kubebuilder:validation:Enum=ES256;ES384;ES512;EdDSA;Ed25519;PS256;PS384;PS512;RS256;RS384;RS512
type ProofAlgorithm string

// ForwardClientCert is the header X-Forwarded-Client-Cert (XFCC), in which Envoy and other proxies describe the client's certificate. It is removed from
// the requests of peers that are not trusted proxies (trustedProxies of the class), whatever this section says.
//
// +kubebuilder:validation:XValidation:rule="has(self.fromProxies) || has(self.toApp)",message="forwardClientCert changes nothing: write fromProxies, toApp or both, such as {toApp: [Hash, Subject, URI]}"
type ForwardClientCert struct {
	// FromProxies is what happens to the header from a trusted proxy: Forward passes it on to the app; Use does the same, and makes the certificate in it
	// the client's, for tokens that are bound to a certificate; Remove removes it. Write Use only if each trusted proxy replaces the header, as
	// Envoy does with SANITIZE_SET: a proxy that passes on what clients send lets every client claim every certificate.
	// +optional
	FromProxies XFCCFromProxies `json:"fromProxies,omitempty"`
	// ToApp sends these details of the certificate that the client has shown on its connection (tls.clientCertificates). They follow what a trusted
	// proxy has sent.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=6
	ToApp []XFCCDetail `json:"toApp,omitempty"`
}

// XFCCFromProxies is what happens to X-Forwarded-Client-Cert from trusted proxies.
// +kubebuilder:validation:Enum=Forward;Use;Remove
type XFCCFromProxies string

const (
	// XFCCForward passes the header on.
	XFCCForward XFCCFromProxies = "Forward"
	// XFCCUse passes the header on, and reads the client's certificate from it.
	XFCCUse XFCCFromProxies = "Use"
	// XFCCRemove removes the header.
	XFCCRemove XFCCFromProxies = "Remove"
)

// XFCCDetail is what X-Forwarded-Client-Cert says about a certificate: Hash is its SHA-256, Cert and Chain are the certificate without and with those that
// the client sent after it (URL-encoded PEM, several KiB), Subject is its distinguished name (RFC 4514), and URI and DNS are its names.
// +kubebuilder:validation:Enum=Hash;Cert;Chain;Subject;URI;DNS
type XFCCDetail string
