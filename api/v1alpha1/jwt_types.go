package v1alpha1

// JWT says which tokens identify a caller. The token's issuer picks the provider; a request that carries two tokens is
// refused.
//
// +kubebuilder:validation:XValidation:rule="self.providers.all(p, self.providers.exists_one(q, q.issuer == p.issuer))",message="each issuer has one provider: merge the providers of the same issuer"
type JWT struct {
	// Providers are the issuers that are trusted.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Providers []JWTProvider `json:"providers"`
}

// Algorithm is a JWS algorithm (RFC 7518 §3.1, RFC 8037 §3.1).
// +kubebuilder:validation:Enum=RS256;RS384;RS512;PS256;PS384;PS512;ES256;ES384;ES512;EdDSA;HS256;HS384;HS512
type Algorithm string

// JWTProvider is a trusted issuer.
//
// +kubebuilder:validation:XValidation:rule="self.algorithms.all(a, a.startsWith('HS')) || self.algorithms.all(a, !a.startsWith('HS'))",message="algorithms mixes HMAC (HS*) with public-key algorithms; a provider uses one kind, or its public key could be taken for an HMAC secret"
// +kubebuilder:validation:XValidation:rule="!self.algorithms.exists(a, a.startsWith('HS')) || has(self.jwks.secretKeyRef) || has(self.jwks.vault)",message="HS* algorithms need jwks.secretKeyRef or jwks.vault: an HMAC secret is never fetched or written into a policy"
// +kubebuilder:validation:XValidation:rule="!has(self.backChannelLogout) || has(self.backChannelLogout.clientIDs) || (has(self.audiences) && size(self.audiences) > 0)",message="backChannelLogout needs clientIDs where there are no audiences"
// +kubebuilder:validation:XValidation:rule="(has(self.audiences) && size(self.audiences) > 0) || (has(self.requiredClaims) && size(self.requiredClaims) > 0)",message="name the audiences that tokens must be meant for; where the issuer sends no aud claim, name requiredClaims (such as client_id) instead"
type JWTProvider struct {
	// Name is the provider's name in logs and metrics; postern is that of the policy's own tokens.
	// +kubebuilder:validation:XValidation:rule="self != 'postern'",message="the name postern is kept for the policy's own tokens: choose another"
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`
	Name string `json:"name"`

	// Issuer is the exact value of the token's iss claim.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Issuer string `json:"issuer"`

	// Audiences: the token's aud claim must hold one of them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Audiences []string `json:"audiences,omitempty"`

	// Algorithms are the signature algorithms that the issuer uses.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=10
	Algorithms []Algorithm `json:"algorithms"`

	// JWKS is where the keys come from.
	JWKS JWKS `json:"jwks"`

	// From are the places where the token is looked for. Left out: the Authorization header with the Bearer scheme.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	From []TokenLocation `json:"from,omitempty"`

	// TokenTypes are the accepted values of the typ header. Left out: none, JWT, at+jwt and application/at+jwt. Name
	// at+jwt alone where the issuer follows RFC 9068, so that its ID tokens are refused.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	TokenTypes []string `json:"tokenTypes,omitempty"`

	// Leeway allows for clocks that differ, at exp, nbf and iat; at most 5m.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('5m')",message="leeway is at most 5m: it lengthens the life of every token"
	Leeway Duration `json:"leeway,omitempty"`

	// MaxLifetime bounds exp − iat: a token that was issued to live longer is refused, and so is one without iat.
	// +optional
	MaxLifetime Duration `json:"maxLifetime,omitempty"`

	// RequiredClaims must all be in the token.
	// +optional
	// +listType=map
	// +listMapKey=claim
	// +kubebuilder:validation:MaxItems=16
	RequiredClaims []RequiredClaim `json:"requiredClaims,omitempty"`

	// ClaimsToHeaders tells the app who calls. A client can never send these headers itself.
	// +optional
	// +listType=map
	// +listMapKey=header
	// +kubebuilder:validation:MaxItems=32
	ClaimsToHeaders []ClaimToHeader `json:"claimsToHeaders,omitempty"`

	// ForwardToken leaves the token in the request for the app.
	// +optional
	ForwardToken bool `json:"forwardToken,omitempty"`

	// BackChannelLogout lets the provider log people out, server to server.
	// +optional
	BackChannelLogout *BackChannelLogout `json:"backChannelLogout,omitempty"`
}

// JWKS is a source of keys: exactly one of its members.
//
// +kubebuilder:validation:XValidation:rule="[has(self.uri), has(self.inline), has(self.secretKeyRef), has(self.vault)].filter(x, x).size() == 1",message="say exactly one of uri, inline, secretKeyRef and vault"
// +kubebuilder:validation:XValidation:rule="has(self.uri) || (!has(self.refreshInterval) && !has(self.caBundle) && !has(self.maxStale))",message="refreshInterval, maxStale and caBundle go with uri"
type JWKS struct {
	// URI is fetched over https; http is accepted for localhost alone.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^https://[^/?#@ ]+([/?][^# ]*)?$') || self.matches('^http://(localhost|127[.]0[.]0[.]1|\\\\[::1\\\\])(:[0-9]+)?([/?][^# ]*)?$')",message="uri is an https URL without user information or fragment (http only for localhost)"
	URI string `json:"uri,omitempty"`

	// RefreshInterval is how often the keys are fetched again; a token with an unknown kid causes one early fetch.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10s') && duration(self) <= duration('24h')",message="refreshInterval is from 10s to 24h"
	RefreshInterval Duration `json:"refreshInterval,omitempty"`

	// MaxStale is how long the last good keys are kept while the issuer cannot be reached. Left out: 24h.
	// +optional
	MaxStale Duration `json:"maxStale,omitempty"`

	// CABundle is the PEM certificates that the issuer's is checked against, in place of the system's.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`

	// Inline is a JSON Web Key Set of public keys.
	// +optional
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=65536
	Inline string `json:"inline,omitempty"`

	// SecretKeyRef names a Secret of the policy's namespace that holds a JSON Web Key Set, or the bare secret where the
	// algorithms are HS*.
	// +optional
	SecretKeyRef *SecretKeyRef `json:"secretKeyRef,omitempty"`

	// Vault names the same in a KV version 2 engine of the class's Vault.
	// +optional
	Vault *VaultRef `json:"vault,omitempty"`
}

// TokenLocation is a place where a request carries its token: a header or a cookie.
//
// +kubebuilder:validation:XValidation:rule="has(self.header) != has(self.cookie)",message="say exactly one of header and cookie"
// +kubebuilder:validation:XValidation:rule="!has(self.prefix) || has(self.header)",message="prefix goes with header"
type TokenLocation struct {
	// Header is a header field's name.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9-]{1,64}$`
	Header string `json:"header,omitempty"`
	// Prefix comes before the token in the header, as "Bearer ".
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Prefix string `json:"prefix,omitempty"`
	// Cookie is a cookie's name.
	// +optional
	// +kubebuilder:validation:Pattern=`^[!#$%&'*+.^_|~0-9A-Za-z-]{1,64}$`
	Cookie string `json:"cookie,omitempty"`
}

// RequiredClaim is a claim that a token must have.
type RequiredClaim struct {
	// Claim is a claim's name, or a dotted path into nested ones.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Claim string `json:"claim"`
	// Values: the claim, or a member of it where it is an array, must equal one of them. Left out, it must be there.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	Values []string `json:"values,omitempty"`
}

// ClaimToHeader copies a claim into a request header.
type ClaimToHeader struct {
	// Claim is a claim's name, or a dotted path into nested ones.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Claim string `json:"claim"`
	// Header is the header field's name. Fields that HTTP itself uses cannot be taken.
	// +kubebuilder:validation:Pattern=`^[A-Za-z][A-Za-z0-9-]*$`
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="!(self.lowerAscii() in ['host','connection','content-length','content-type','content-encoding','transfer-encoding','te','trailer','upgrade','keep-alive','proxy-connection','proxy-authorization','proxy-authenticate','authorization','cookie','expect','origin','range','accept','accept-encoding','forwarded','via','date','x-forwarded-for','x-forwarded-host','x-forwarded-proto','x-forwarded-port','x-real-ip'])",message="this header field has a meaning of its own in HTTP: choose another, such as X-Auth-Subject"
	Header string `json:"header"`
}
