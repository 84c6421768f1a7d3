package v1alpha1

// Tokens makes the sidecar an issuer: an app that has checked a password answers with one header, and its user is logged
// in. Issued tokens are accepted on every route, beside those of jwt.providers.
//
// +kubebuilder:validation:XValidation:rule="duration(has(self.refreshLifetime) ? self.refreshLifetime : '168h') >= duration(has(self.accessLifetime) ? self.accessLifetime : '15m')",message="refreshLifetime is shorter than accessLifetime: a session would end before its token"
// +kubebuilder:validation:XValidation:rule="!has(self.cookie) || (has(self.delivery) && self.delivery == 'Cookie')",message="cookie goes with delivery Cookie"
// +kubebuilder:validation:XValidation:rule="!has(self.algorithm) || self.algorithm != 'HS256' || !has(self.signingKey.transit)",message="HS256 does not work with Transit: nobody could verify without asking Vault; choose ES256"
type Tokens struct {
	// Issuer is the claim iss, an https URL at which clients and other services reach this app: discovery and keys are
	// found below it.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^https://[^/?#@ *]+(/[^?# *]*)?$')",message="issuer is an https URL without user information, query, fragment or asterisk"
	Issuer string `json:"issuer"`

	// Audiences are the claim aud; a token that comes back must hold one of them.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Audiences []string `json:"audiences"`

	// Algorithm that tokens are signed with.
	// +optional
	// +kubebuilder:validation:Enum=ES256;RS256;PS256;EdDSA;HS256
	Algorithm Algorithm `json:"algorithm,omitempty"`

	// AccessLifetime of access tokens, in whole seconds; at most 24h.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h') && duration(self).getMilliseconds() % 1000 == 0",message="accessLifetime is from 1s to 24h, in whole seconds: renewed tokens are what long sessions are made of"
	AccessLifetime Duration `json:"accessLifetime,omitempty"`

	// RefreshLifetime is how long a refresh token may lie unused; each use renews it, up to sessions.absoluteTimeout.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('8760h')",message="refreshLifetime is from 1s to 8760h"
	RefreshLifetime Duration `json:"refreshLifetime,omitempty"`

	// RefreshGrace is for how long a refresh token that was used may come again, because the answer was lost. Later, its
	// use ends the session.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('1m')",message="refreshGrace is at most 1m: so long a stolen refresh token may go unnoticed"
	RefreshGrace Duration `json:"refreshGrace,omitempty"`

	// Claims are the names of claims that are copied from Postern-Claims, or from the loopback API, into tokens.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="!self.exists(c, c in ['iss','sub','aud','exp','nbf','iat','jti','client_id','sid','auth_time','acr','amr','azp','nonce','at_hash','c_hash','act','may_act','cnf','events','scope'])",message="one of claims has a meaning of its own in tokens: rename it"
	Claims []string `json:"claims,omitempty"`

	// Delivery is how clients get their tokens: Body answers with JSON (RFC 6749), Cookie sets cookies that scripts cannot
	// read, and protects from cross-site requests.
	// +optional
	Delivery TokenDelivery `json:"delivery,omitempty"`

	// Cookie says more about delivery Cookie.
	// +optional
	Cookie *TokenCookie `json:"cookie,omitempty"`

	// SigningKey is where the key lies.
	SigningKey SigningKey `json:"signingKey"`

	// Rotation of the signing key.
	// +optional
	Rotation *KeyRotation `json:"rotation,omitempty"`

	// Login names the routes on which a 2xx answer of the app with Postern-Subject logs the client in, such as POST
	// /login. On every other route the header means nothing. They need no token, unless a rule of authorization says so. A match
	// without methods means POST. Name GET where a link logs people in, and protect it from pages of other origins (a state, a
	// one-time secret): the sidecar cannot tell such a page's link from yours.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.all(m, has(m.paths) && m.paths.size() > 0)",message="name the paths on which the app logs people in"
	Login []RouteMatch `json:"login,omitempty"`

	// Endpoints are the public ones: refresh, logout, logout-all, sessions.
	// +optional
	Endpoints *TokenEndpoints `json:"endpoints,omitempty"`

	// ClaimsToHeaders tells the app who calls. A client can never send these headers itself.
	// +optional
	// +listType=map
	// +listMapKey=header
	// +kubebuilder:validation:MaxItems=32
	ClaimsToHeaders []ClaimToHeader `json:"claimsToHeaders,omitempty"`

	// ForwardToken leaves the access token in the request for the app.
	// +optional
	ForwardToken bool `json:"forwardToken,omitempty"`
}

// TokenDelivery is how clients get their tokens.
// +kubebuilder:validation:Enum=Body;Cookie
type TokenDelivery string

const (
	// DeliverBody answers with JSON, as RFC 6749 §5.1 says.
	DeliverBody TokenDelivery = "Body"
	// DeliverCookie sets __Host- cookies: Secure, HttpOnly, SameSite.
	DeliverCookie TokenDelivery = "Cookie"
)

// TokenCookie says more about cookies.
type TokenCookie struct {
	// SameSite of the cookies: Lax sends them when another site links to this one, Strict does not.
	// +optional
	// +kubebuilder:validation:Enum=Lax;Strict
	SameSite string `json:"sameSite,omitempty"`
	// TrustedOrigins are further origins whose pages may send unsafe requests with the cookies; those that cors allows with
	// credentials are among them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:Pattern=`^https?://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?$`
	TrustedOrigins []string `json:"trustedOrigins,omitempty"`
}

// SigningKey is where the key that signs tokens lies: exactly one of its members. It holds PEM (PKCS#8), a private JWK or a
// JWK set; for HS256, at least 32 random bytes.
//
// +kubebuilder:validation:XValidation:rule="[has(self.transit), has(self.vault), has(self.secretKeyRef)].filter(x, x).size() == 1",message="say exactly one of transit, vault and secretKeyRef"
type SigningKey struct {
	// Transit signs in the class's Vault: the private key never leaves it.
	// +optional
	Transit *TransitKey `json:"transit,omitempty"`
	// Vault names the key in a KV version 2 engine; a new version of the secret rotates it.
	// +optional
	Vault *VaultRef `json:"vault,omitempty"`
	// SecretKeyRef names the key in a Secret of the policy's namespace.
	// +optional
	SecretKeyRef *SecretKeyRef `json:"secretKeyRef,omitempty"`
}

// TransitKey is a key of Vault's Transit engine.
type TransitKey struct {
	// Mount of the engine.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_.@:=+-]+(/[A-Za-z0-9_.@:=+-]+)*$`
	Mount string `json:"mount,omitempty"`
	// Key is the key's name; its type must fit the algorithm (ecdsa-p256, rsa-2048 and more, ed25519).
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_.@:=+-]+$`
	Key string `json:"key"`
}

// KeyRotation is how one signing key follows another: the next one is published for overlap before it signs, and the one
// before until its last token has expired.
//
// +kubebuilder:validation:XValidation:rule="!has(self.interval) || duration(self.interval) >= duration(has(self.overlap) ? self.overlap : '1h') + duration(has(self.overlap) ? self.overlap : '1h')",message="interval is less than twice the overlap: keys would be replaced before they sign"
type KeyRotation struct {
	// Interval after which a new key signs. With transit the sidecars make it; elsewhere the status says that it is due. Left
	// out: keys are rotated by their owner.
	// +optional
	Interval Duration `json:"interval,omitempty"`
	// Overlap is how long a new key is published before it signs; at least 1m, in which every replica has read it.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('720h')",message="overlap is from 1m to 720h: in it every replica and verifier must fetch the new key"
	Overlap Duration `json:"overlap,omitempty"`
}

// TokenEndpoints are where clients refresh and log out.
type TokenEndpoints struct {
	// Prefix of the endpoints' paths.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^(/[A-Za-z0-9._~-]+)+$`
	// +kubebuilder:validation:XValidation:rule="!self.matches('/[.]{1,2}(/|$)')",message="prefix has no segment . or ..: no request would ever have it"
	Prefix string `json:"prefix,omitempty"`
}
