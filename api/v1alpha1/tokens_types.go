package v1alpha1

// Tokens makes the sidecar an issuer of tokens. When the app has verified a password, it sets the header Postern-Subject in its response,
// and the sidecar logs the user in. Every route accepts these tokens, in addition to those of jwt.providers.
//
// +kubebuilder:validation:XValidation:rule="duration(has(self.refreshLifetime) ? self.refreshLifetime : '168h') >= duration(has(self.accessLifetime) ? self.accessLifetime : '15m') || has(self.refreshLifetime) && !self.refreshLifetime.matches('^([0-9]{1,9}(ms|s|m|h))+$') || has(self.accessLifetime) && !self.accessLifetime.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="refreshLifetime is shorter than accessLifetime, so a session would end before its token: write a longer refreshLifetime, such as 168h"
// +kubebuilder:validation:XValidation:rule="!has(self.cookie) || (has(self.delivery) && self.delivery == 'Cookie')",message="cookie applies to delivery Cookie only: write delivery: Cookie, or remove cookie"
// +kubebuilder:validation:XValidation:rule="!has(self.algorithm) || self.algorithm != 'HS256' || !has(self.signingKey.transit)",message="HS256 does not work with Transit, because each verification would need a request to Vault: write algorithm: ES256"
type Tokens struct {
	// Issuer is the iss claim of the tokens: the https URL at which clients and other services reach this app. Discovery and keys are
	// served below it.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^https://[^/?#@ *]+(/[^?# *]*)?$')",message="issuer is not an https URL without user information, query, fragment and asterisk: write https://shop.example.com"
	Issuer string `json:"issuer"`

	// Audiences are the aud claim of the tokens. A token in a request must contain one of them.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Audiences []string `json:"audiences"`

	// Algorithm with which tokens are signed.
	// +optional
	// +kubebuilder:validation:Enum=ES256;RS256;PS256;EdDSA;HS256
	Algorithm Algorithm `json:"algorithm,omitempty"`

	// AccessLifetime is the lifetime of access tokens, in whole seconds, at most 24h.
	// +optional
	// +kubebuilder:validation:XValidation:rule="(duration(self) >= duration('1s') && duration(self) <= duration('24h') && duration(self).getMilliseconds() % 1000 == 0) || !self.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="accessLifetime is not between 1s and 24h in whole seconds: write a duration such as 15m; for longer sessions set refreshLifetime"
	AccessLifetime Duration `json:"accessLifetime,omitempty"`

	// RefreshLifetime is how long a refresh token is valid without being used. Each use renews it, up to sessions.absoluteTimeout.
	// +optional
	// +kubebuilder:validation:XValidation:rule="(duration(self) >= duration('1s') && duration(self) <= duration('8760h')) || !self.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="refreshLifetime is not between 1s and 8760h: write a duration such as 168h"
	RefreshLifetime Duration `json:"refreshLifetime,omitempty"`

	// RefreshGrace is how long a used refresh token is accepted again, for clients that did not get the response. A later use ends the
	// session, because the token may be stolen.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('1m') || !self.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="refreshGrace is more than 1m, and for so long a stolen refresh token goes unnoticed: write at most 1m, such as 10s"
	RefreshGrace Duration `json:"refreshGrace,omitempty"`

	// Claims are the names of the claims that the app may add to tokens, with the header Postern-Claims or the loopback API.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="!self.exists(c, c in ['iss','sub','aud','exp','nbf','iat','jti','client_id','sid','auth_time','acr','amr','azp','nonce','at_hash','c_hash','act','may_act','cnf','events','scope'])",message="one of claims has a defined meaning in tokens: write another name, such as shop_role"
	Claims []string `json:"claims,omitempty"`

	// Delivery is how clients get their tokens: Body sends them as JSON (RFC 6749). Cookie sets cookies that scripts cannot read, and
	// protects against cross-site requests.
	// +optional
	Delivery TokenDelivery `json:"delivery,omitempty"`

	// Cookie configures delivery Cookie.
	// +optional
	Cookie *TokenCookie `json:"cookie,omitempty"`

	// SigningKey selects the key that signs tokens.
	SigningKey SigningKey `json:"signingKey"`

	// Rotation configures the rotation of the signing key.
	// +optional
	Rotation *KeyRotation `json:"rotation,omitempty"`

	// Login are the routes on which the app logs users in, such as POST /login: a 2xx response with the header Postern-Subject logs the
	// client in, with delivery Cookie also a 302 or 303. On all other routes the header has no effect. Login routes need no token, unless a rule of authorization requires one.
	// Add GET to methods if a link logs users in, and protect that link against pages of other origins, with a state or a one-time
	// secret. The sidecar cannot distinguish links of such pages from yours.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.all(m, has(m.paths) && m.paths.size() > 0)",message="a login has no paths: write the paths on which the app logs users in, such as [/login]"
	Login []RouteMatch `json:"login,omitempty"`

	// FieldEncoding is how the app writes Postern-Subject and Postern-Claims, and how it gets text of its claims in the headers of
	// claimsToHeaders with the format Auto. UTF8 is bytes of UTF-8. Latin1 is ISO 8859-1, which WSGI writes. Percent is
	// percent-encoded UTF-8, which every app can write: encodeURIComponent in JavaScript. Node writes either UTF-8 or ISO 8859-1, so use
	// Percent there.
	// +optional
	FieldEncoding FieldEncoding `json:"fieldEncoding,omitempty"`

	// Endpoints configures the public endpoints: refresh, logout, logout-all and sessions.
	// +optional
	Endpoints *TokenEndpoints `json:"endpoints,omitempty"`

	// ClaimsToHeaders copies claims into request headers, so that the app knows the caller. The sidecar removes these headers from the
	// client's request first.
	// +optional
	// +listType=map
	// +listMapKey=header
	// +kubebuilder:validation:MaxItems=32
	ClaimsToHeaders []ClaimToHeader `json:"claimsToHeaders,omitempty"`

	// ForwardToken keeps the access token in the request to the app. Otherwise the sidecar removes it.
	// +optional
	ForwardToken bool `json:"forwardToken,omitempty"`
}

// FieldEncoding is the encoding of text in header fields.
// +kubebuilder:validation:Enum=UTF8;Latin1;Percent
type FieldEncoding string

// FieldEncodingUTF8 is UTF-8 without an encoding of its own.
const FieldEncodingUTF8 FieldEncoding = "UTF8"

// TokenDelivery is how clients get their tokens.
// +kubebuilder:validation:Enum=Body;Cookie
type TokenDelivery string

const (
	// DeliverBody sends tokens as JSON, as in RFC 6749 §5.1.
	DeliverBody TokenDelivery = "Body"
	// DeliverCookie sets __Host- cookies: Secure, HttpOnly, SameSite.
	DeliverCookie TokenDelivery = "Cookie"
)

// TokenCookie configures the cookies with tokens.
type TokenCookie struct {
	// SameSite attribute of the cookies: with Lax, browsers send them when a user follows a link from another site. With Strict they do
	// not.
	// +optional
	// +kubebuilder:validation:Enum=Lax;Strict
	SameSite string `json:"sameSite,omitempty"`
	// TrustedOrigins are other origins whose pages may send unsafe requests with the cookies, such as https://app.example.com. The first
	// label of a host, and the port, may be *, as in cors.allowOrigins. Origins that cors allows with credentials are trusted as well.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:XValidation:rule=`self.matches(r"^https?://(\[[0-9a-f:.]+\]|(\*\.)?[a-z0-9.-]+)(:([0-9]{1,5}|\*))?$")`,message="not an origin: write http or https and the host in lower case without a path, such as https://app.example.com"
	TrustedOrigins []string `json:"trustedOrigins,omitempty"`
	// Renewal is how an access token that has expired is replaced. With Automatic, the sidecar uses the refresh cookie of any request that
	// needs it, and the response sets the new cookies, so that navigation, deep links and EventSource need no script. With Endpoint, only
	// POST /auth/refresh does.
	// +optional
	Renewal CookieRenewal `json:"renewal,omitempty"`
}

// CookieRenewal is how an access token that has expired is replaced.
// +kubebuilder:validation:Enum=Automatic;Endpoint
type CookieRenewal string

const (
	// RenewalAutomatic replaces it in passing, with the response to any request.
	RenewalAutomatic CookieRenewal = "Automatic"
	// RenewalEndpoint replaces it only at the refresh endpoint.
	RenewalEndpoint CookieRenewal = "Endpoint"
)

// SigningKey selects the key that signs tokens. Exactly one of transit, vault and secretKeyRef is set. A value in vault or secretKeyRef
// is PEM (PKCS#8), a private JWK or a JWK set; for HS256, at least 32 random bytes.
//
// +kubebuilder:validation:XValidation:rule="[has(self.transit), has(self.vault), has(self.secretKeyRef)].filter(x, x).size() == 1",message="set exactly one of transit, vault and secretKeyRef, such as transit: {key: shop}"
type SigningKey struct {
	// Transit signs with a key in the class's Vault. The private key never leaves Vault.
	// +optional
	Transit *TransitKey `json:"transit,omitempty"`
	// Vault selects the key in a KV version 2 engine. A new version of the secret rotates the key.
	// +optional
	Vault *VaultRef `json:"vault,omitempty"`
	// SecretKeyRef selects the key in a Secret of the policy's namespace.
	// +optional
	SecretKeyRef *SecretKeyRef `json:"secretKeyRef,omitempty"`
}

// TransitKey is a key of Vault's Transit engine.
type TransitKey struct {
	// Mount of the engine.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[A-Za-z0-9_.@:=+-]+(/[A-Za-z0-9_.@:=+-]+)*$")`,message="not a mount in Vault: write it without a slash at its start or end, such as kubernetes or auth/shop"
	Mount string `json:"mount,omitempty"`
	// Key is the name of the key. Its type must fit the algorithm: ecdsa-p256 for ES256, rsa-2048 or larger for RS256 and PS256, ed25519
	// for EdDSA.
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[A-Za-z0-9_.@:=+-]+$")`,message="not the name of a Transit key: write one such as orders-tokens"
	Key string `json:"key"`
}

// KeyRotation is how one signing key replaces another. The next key is published for the time of overlap before it signs. The previous
// key is published until its last token has expired.
//
// +kubebuilder:validation:XValidation:rule="!has(self.interval) || duration(self.interval) >= duration(has(self.overlap) ? self.overlap : '1h') + duration(has(self.overlap) ? self.overlap : '1h') || has(self.interval) && !self.interval.matches('^([0-9]{1,9}(ms|s|m|h))+$') || has(self.overlap) && !self.overlap.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="interval is less than twice the overlap (1h if it is unset), so keys would be replaced before they sign: write a longer interval, such as 720h"
type KeyRotation struct {
	// Interval is how long a key signs before the next one does. With transit the sidecars create the next key. Otherwise the status
	// reports that a new key is due. If interval is unset, the owner of the key rotates it.
	// +optional
	Interval Duration `json:"interval,omitempty"`
	// Overlap is how long a new key is published before it signs. It is at least 1m, so that every replica has read the key.
	// +optional
	// +kubebuilder:validation:XValidation:rule="(duration(self) >= duration('1m') && duration(self) <= duration('720h')) || !self.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="overlap is not between 1m and 720h, the time in which every replica and verifier must fetch the new key: write a duration such as 1h"
	Overlap Duration `json:"overlap,omitempty"`
}

// TokenEndpoints configures the endpoints where clients refresh tokens and log out.
type TokenEndpoints struct {
	// Prefix of the paths of the endpoints, such as /auth for /auth/refresh.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^(/[A-Za-z0-9._~-]+)+$")`,message="not a path prefix: write / and a name, without a slash at its end, such as /auth"
	// +kubebuilder:validation:XValidation:rule="!self.matches('/[.]{1,2}(/|$)')",message="prefix has a segment . or .., which no request has: write one such as /auth"
	Prefix string `json:"prefix,omitempty"`
	// ClearSiteData is what a logout makes the browser delete, by the header Clear-Site-Data: the cache, the cache and the storage of
	// scripts, or with All also every cookie of the site, including those of its other hosts.
	// +optional
	ClearSiteData ClearSiteData `json:"clearSiteData,omitempty"`
	// LogoutRedirect is the page that the browser shows after a form has posted to logout or logout-all, such as /login. It is a path of
	// the same host, and may have a query. Such a logout is answered by 303 instead of 204. Scripts still get 204. If unset, every logout
	// is answered by 204, and a form stays on its page.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^/([!-.0-\[\]-~][!-\[\]-~]*)?$")`,message="not a path of the same host: write / and the page to show after a logout, such as /login"
	LogoutRedirect string `json:"logoutRedirect,omitempty"`
}

// ClearSiteData is what a logout makes the browser delete.
// +kubebuilder:validation:Enum=None;Cache;CacheAndStorage;All
type ClearSiteData string

const (
	// ClearNone deletes nothing but the two cookies.
	ClearNone ClearSiteData = "None"
	// ClearCache deletes cached responses and pages.
	ClearCache ClearSiteData = "Cache"
	// ClearCacheAndStorage also deletes what scripts have stored, and service workers.
	ClearCacheAndStorage ClearSiteData = "CacheAndStorage"
	// ClearAll also deletes all cookies of the registrable domain.
	ClearAll ClearSiteData = "All"
)
