package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// JWT configures which tokens of external issuers identify a caller. The token's iss claim selects the provider. A request with two
// tokens is refused.
//
// +kubebuilder:validation:XValidation:rule="self.providers.all(p, self.providers.exists_one(q, has(q.issuer) == has(p.issuer) && (!has(p.issuer) || q.issuer == p.issuer)))",message="two providers have the same issuer, or two legacy ones have none: merge them into one"
type JWT struct {
	// Providers are the trusted issuers.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Providers []JWTProvider `json:"providers"`
}

// Algorithm is a JWS algorithm (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2). EdDSA and Ed25519 are two names of the same algorithm:
// write the one that the issuer's tokens state, or both.
// +kubebuilder:validation:Enum=RS256;RS384;RS512;PS256;PS384;PS512;ES256;ES384;ES512;EdDSA;Ed25519;HS256;HS384;HS512
type Algorithm string

// JWTProvider is a trusted issuer.
//
// +kubebuilder:validation:XValidation:rule="self.algorithms.all(a, a.startsWith('HS')) || self.algorithms.all(a, !a.startsWith('HS'))",message="algorithms mixes HMAC (HS*) with public-key algorithms, so a public key could be used as an HMAC secret: write one kind, such as [RS256, ES256]"
// +kubebuilder:validation:XValidation:rule="!self.algorithms.exists(a, a.startsWith('HS')) || has(self.jwks.secretKeyRef) || has(self.jwks.vault)",message="HS* algorithms need jwks.secretKeyRef or jwks.vault: an HMAC secret is never fetched or written into a policy"
// +kubebuilder:validation:XValidation:rule="!has(self.backChannelLogout) || has(self.backChannelLogout.clientIDs) || (has(self.audiences) && size(self.audiences) > 0)",message="backChannelLogout needs clientIDs if there are no audiences: write clientIDs: [my-client]"
// +kubebuilder:validation:XValidation:rule="(has(self.audiences) && size(self.audiences) > 0) || (has(self.requiredClaims) && size(self.requiredClaims) > 0) || has(self.legacy)",message="no audience is required, so tokens for other apps would be accepted: write audiences: [my-app], or requiredClaims: [{claim: client_id, values: [my-app]}] if the issuer sends no aud claim"
// +kubebuilder:validation:XValidation:rule="has(self.issuer) || has(self.legacy)",message="there is no issuer: write the exact iss claim of the tokens, such as https://id.example.com"
// +kubebuilder:validation:XValidation:rule="!has(self.legacy) || !has(self.backChannelLogout)",message="legacy tokens belong to no session that a provider could end: remove backChannelLogout"
type JWTProvider struct {
	// Name of the provider in logs and metrics. The name postern is reserved for the policy's own tokens.
	// +kubebuilder:validation:XValidation:rule="self != 'postern'",message="the name postern is reserved for the policy's own tokens: choose another, such as corp"
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")`,message="not a name: write lower-case letters, digits and hyphens inside, such as corp-login"
	Name string `json:"name"`

	// Issuer is the exact value of the token's iss claim. Only a legacy provider may leave it out.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Issuer string `json:"issuer,omitempty"`

	// Audiences are the accepted audiences: the token's aud claim must contain one of them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Audiences []string `json:"audiences,omitempty"`

	// Algorithms are the signature algorithms that the issuer uses. Tokens with another algorithm are refused.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=11
	Algorithms []Algorithm `json:"algorithms"`

	// JWKS is the source of the issuer's keys.
	JWKS JWKS `json:"jwks"`

	// From are the places in a request where the sidecar looks for the token. The scheme DPoP of the Authorization header is one of them
	// unless proofOfPossession excludes it.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	From []TokenLocation `json:"from,omitempty"`

	// TokenTypes are the accepted values of the token's typ header. If the issuer follows RFC 9068, write [at+jwt], so that its ID
	// tokens are refused.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	TokenTypes []string `json:"tokenTypes,omitempty"`

	// Leeway is the accepted clock difference when exp, nbf and iat are checked, at most 5m.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('5m') || !self.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="leeway is more than 5m, and it extends the life of every token: write at most 5m, such as 30s"
	Leeway Duration `json:"leeway,omitempty"`

	// MaxLifetime is the longest accepted lifetime of a token, exp − iat. Tokens with a longer lifetime are refused, and tokens without
	// iat as well.
	// +optional
	MaxLifetime Duration `json:"maxLifetime,omitempty"`

	// RequiredClaims are claims that the token must have, all of them.
	// +optional
	// +listType=map
	// +listMapKey=claim
	// +kubebuilder:validation:MaxItems=16
	RequiredClaims []RequiredClaim `json:"requiredClaims,omitempty"`

	// ClaimsToHeaders copies claims into request headers, so that the app knows the caller. The sidecar removes these headers from the
	// client's request first.
	// +optional
	// +listType=map
	// +listMapKey=header
	// +kubebuilder:validation:MaxItems=32
	ClaimsToHeaders []ClaimToHeader `json:"claimsToHeaders,omitempty"`

	// ForwardToken keeps the token in the request to the app. Otherwise the sidecar removes it.
	// +optional
	ForwardToken bool `json:"forwardToken,omitempty"`

	// BackChannelLogout lets the provider end sessions, from server to server.
	// +optional
	BackChannelLogout *BackChannelLogout `json:"backChannelLogout,omitempty"`

	// ProofOfPossession is how clients prove that a token was issued to them: by a client certificate, or by DPoP. If it is unset, a token
	// that is bound to a client's key is accepted only with the proof of it, as far as the sidecar can check that, and all other
	// tokens as well. For example: {mode: Require, methods: [DPoP]}.
	// +optional
	ProofOfPossession *ProofOfPossession `json:"proofOfPossession,omitempty"`

	// Legacy accepts, until a stated time, the tokens of code that Postern replaces, so that nobody has to log in again. Such tokens often
	// have no iss and no aud. Without issuer the provider is for tokens without iss.
	// +optional
	Legacy *LegacyTokens `json:"legacy,omitempty"`
}

// LegacyTokens are tokens that the app's former code issued.
type LegacyTokens struct {
	// Until is when the last of these tokens is refused, whatever its exp. Write the time of the change plus the longest lifetime of the
	// old tokens, such as 2026-03-01T00:00:00Z.
	Until metav1.Time `json:"until"`
	// SubjectClaim is the claim that identifies the user, or a path with dots to a nested one: user_id, user.id. Its value is a string or a
	// number.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	SubjectClaim string `json:"subjectClaim,omitempty"`
	// ShortSecret is what happens to a secret of HS* that is shorter than its algorithm requires (RFC 7518 §3.2): Deny does not use it, and
	// Allow uses one of at least 16 bytes. A person who has one token can guess a short secret without asking the sidecar, and then make tokens
	// for anybody.
	// +optional
	ShortSecret FailureMode `json:"shortSecret,omitempty"`
}

// JWKS is a source of keys. Exactly one of uri, inline, secretKeyRef and vault is set.
//
// +kubebuilder:validation:XValidation:rule="[has(self.uri), has(self.inline), has(self.secretKeyRef), has(self.vault)].filter(x, x).size() == 1",message="set exactly one of uri, inline, secretKeyRef and vault, such as uri: https://id.example.com/jwks.json"
// +kubebuilder:validation:XValidation:rule="has(self.uri) || (!has(self.refreshInterval) && !has(self.caBundle) && !has(self.maxStale) && !has(self.bearerToken) && !has(self.insecureHTTP))",message="refreshInterval, maxStale, caBundle, bearerToken and insecureHTTP apply to uri only: add uri, or remove them"
// +kubebuilder:validation:XValidation:rule="!has(self.uri) || !self.uri.startsWith('http:') || (has(self.insecureHTTP) && self.insecureHTTP) || self.uri.matches('^http://(localhost|127[.]0[.]0[.]1|\\\\[::1\\\\])(:[0-9]+)?([/?]|$)')",message="uri is a plain http URL, so anyone on the network can replace the keys: write https://id.example.com/jwks.json, or insecureHTTP: true for a server inside the cluster"
// +kubebuilder:validation:XValidation:rule="!has(self.bearerToken) || !has(self.uri) || self.uri.startsWith('https:')",message="bearerToken would be sent over plain http, where anyone on the network can read it: write an https uri"
type JWKS struct {
	// URI is the https URL of a JSON Web Key Set. http is accepted for localhost, and for other hosts with insecureHTTP.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[^/?#@ ]+([/?][^# ]*)?$')",message="uri is not an https URL without user information and fragment: write https://id.example.com/jwks.json"
	URI string `json:"uri,omitempty"`

	// RefreshInterval is how often the keys are fetched again. A token with an unknown kid causes one early fetch.
	// +optional
	// +kubebuilder:validation:XValidation:rule="(duration(self) >= duration('10s') && duration(self) <= duration('24h')) || !self.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="refreshInterval is not between 10s and 24h: write a duration such as 5m"
	RefreshInterval Duration `json:"refreshInterval,omitempty"`

	// MaxStale is how long the last fetched keys are used while the issuer is unavailable.
	// +optional
	MaxStale Duration `json:"maxStale,omitempty"`

	// CABundle contains the CA certificates, in PEM, that verify the server at uri, in place of the system's.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`

	// BearerToken authenticates the requests to uri, for key sets that are not public. It is never sent after a redirect.
	// +optional
	BearerToken *BearerToken `json:"bearerToken,omitempty"`

	// InsecureHTTP accepts an http URL for uri. An attacker who can change the traffic between the sidecar and the server can replace the keys,
	// and then make valid tokens. Use it only inside the cluster, for servers without TLS.
	// +optional
	InsecureHTTP bool `json:"insecureHTTP,omitempty"`

	// Inline is a JSON Web Key Set with public keys: {"keys": [...]}.
	// +optional
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=65536
	Inline string `json:"inline,omitempty"`

	// SecretKeyRef selects a key of a Secret in the policy's namespace. It contains a JSON Web Key Set, or the plain secret if the
	// algorithms are HS*.
	// +optional
	SecretKeyRef *SecretKeyRef `json:"secretKeyRef,omitempty"`

	// Vault selects a value of the same kind in a KV version 2 engine of the class's Vault.
	// +optional
	Vault *VaultRef `json:"vault,omitempty"`
}

// BearerToken is a token in the Authorization header of requests for a key set. Exactly one of serviceAccount, vault and secretKeyRef
// is set.
//
// +kubebuilder:validation:XValidation:rule="[has(self.serviceAccount), has(self.vault), has(self.secretKeyRef)].filter(x, x).size() == 1",message="set exactly one of serviceAccount, vault and secretKeyRef, such as serviceAccount: {}"
type BearerToken struct {
	// ServiceAccount is a token of the pod's own service account, which the kubelet renews. It is for the key set of the Kubernetes API,
	// https://kubernetes.default.svc/openid/v1/jwks. Without caBundle the server is verified by the cluster's CA alone.
	// +optional
	ServiceAccount *ServiceAccountToken `json:"serviceAccount,omitempty"`
	// Vault selects a value in a KV version 2 engine of the class's Vault.
	// +optional
	Vault *VaultRef `json:"vault,omitempty"`
	// SecretKeyRef selects a key of a Secret in the policy's namespace.
	// +optional
	SecretKeyRef *SecretKeyRef `json:"secretKeyRef,omitempty"`
}

// ServiceAccountToken is a projected token of the pod's service account.
type ServiceAccountToken struct {
	// Audience of the token.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Audience string `json:"audience,omitempty"`
}

// TokenLocation is a place where a request carries its token: a header or a cookie.
//
// +kubebuilder:validation:XValidation:rule="has(self.header) != has(self.cookie)",message="set exactly one of header and cookie, such as header: Authorization"
// +kubebuilder:validation:XValidation:rule="!has(self.prefix) || has(self.header)",message="prefix applies to header only: add header, or remove prefix"
type TokenLocation struct {
	// Header is the name of a header field. It is read from every peer, also if it is one that proxies set, such as
	// X-Forwarded-Access-Token; variants of the name with underscores are removed. The app sees it only with a valid token, and only
	// with forwardToken. Fields that HTTP itself uses and those in which proxies describe the client are refused.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[A-Za-z0-9-]{1,64}$")`,message="not the name of a header field: write letters, digits and hyphens, such as X-Token"
	Header string `json:"header,omitempty"`
	// Prefix is the text before the token in the header, with its space: "Bearer ".
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Prefix string `json:"prefix,omitempty"`
	// Cookie is the name of a cookie.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[!#$%&'*+.^_|~0-9A-Za-z-]{1,64}$")`,message="not the name of a cookie: write letters, digits, hyphens and underscores, such as __Host-token"
	Cookie string `json:"cookie,omitempty"`
}

// RequiredClaim is a claim that a token must have.
//
// +kubebuilder:validation:XValidation:rule="!has(self.values) || !has(self.members)",message="values compare the whole claim and members a part of it: write one of the two, such as members: {all: [orders:read]}"
type RequiredClaim struct {
	// Claim is the name of a claim, or a path with dots to a nested one: realm_access.roles.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Claim string `json:"claim"`
	// Values are the accepted values. The claim must equal one of them, or contain one if it is an array. If there are no values and
	// no members, any value is accepted.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	Values []string `json:"values,omitempty"`
	// Members are members that the claim must have: elements of an array, or words of a string, which spaces separate. Use it for
	// scope, scp and permissions.
	// +optional
	Members *ClaimMembers `json:"members,omitempty"`
}

// ClaimMembers are members that a claim must have. They are compared exactly.
//
// +kubebuilder:validation:XValidation:rule="has(self.all) || has(self.any)",message="members requires nothing: write all or any, such as {all: [orders:read]}"
type ClaimMembers struct {
	// All are members that the claim must have, all of them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	All []string `json:"all,omitempty"`
	// Any are members of which the claim must have at least one.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Any []string `json:"any,omitempty"`
}

// ClaimToHeader copies a claim into a request header.
type ClaimToHeader struct {
	// Claim is the name of a claim, or a path with dots to a nested one: realm_access.roles.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Claim string `json:"claim"`
	// Header is the name of the header field. The sidecar refuses fields that HTTP itself uses, those in which proxies describe the
	// client, and those by which frameworks replace the path or the method.
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[A-Za-z][A-Za-z0-9-]*$")`,message="not the name of a header field: write letters, digits and hyphens, such as X-Auth-Subject"
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="!(self.lowerAscii() in ['host','connection','content-length','content-type','content-encoding','transfer-encoding','te','trailer','upgrade','keep-alive','proxy-connection','proxy-authorization','proxy-authenticate','authorization','cookie','expect','origin','range','accept','accept-encoding','forwarded','via','date','x-forwarded-for','x-forwarded-host','x-forwarded-proto','x-forwarded-port','x-real-ip','true-client-ip','proxy','x-original-url','x-rewrite-url','x-http-method-override','script-name','path-info'])",message="this header field has a meaning of its own in HTTP: choose another, such as X-Auth-Subject"
	Header string `json:"header"`
	// Format is the form of the header's value. Auto sends a text as it is, the members of an array joined by commas, and anything else
	// as JSON; what could be read in two ways, and text beyond ASCII, is UTF-8'' and percent-encoded UTF-8. Text and Latin1 send a text
	// as it is, in UTF-8 or ISO 8859-1. Percent sends percent-encoded UTF-8, members joined by commas. JSON sends ASCII JSON, Base64URL
	// the same in base64url. A token with a claim that the format cannot hold is refused.
	// +optional
	Format ClaimFormat `json:"format,omitempty"`
}

// ClaimFormat is the form in which a header carries a claim.
// +kubebuilder:validation:Enum=Auto;Text;Latin1;Percent;JSON;Base64URL
type ClaimFormat string

// FormatAuto chooses the form by the claim's JSON type.
const FormatAuto ClaimFormat = "Auto"
