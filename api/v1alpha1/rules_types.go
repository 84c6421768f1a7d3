package v1alpha1

// Requirement is what a route requires of its caller.
// +kubebuilder:validation:Enum=Authenticated;Anonymous;Deny
type Requirement string

const (
	// RequireAuthenticated requires a valid token.
	RequireAuthenticated Requirement = "Authenticated"
	// RequireAnonymous requires nothing. A valid token still identifies the caller.
	RequireAnonymous Requirement = "Anonymous"
	// RequireDeny refuses every caller.
	RequireDeny Requirement = "Deny"
)

// Authorization is what each route requires of the caller.
type Authorization struct {
	// Default applies to requests that no rule matches: Authenticated requires a valid token, Anonymous requires nothing, Deny refuses.
	// +optional
	Default Requirement `json:"default,omitempty"`

	// Mode of the default and of every rule: Enforce refuses requests, Shadow only counts and logs them.
	// +optional
	Mode Mode `json:"mode,omitempty"`

	// CacheControl is what happens to responses of routes that require Authenticated or have conditions, and whose app sends none of
	// Cache-Control, Expires and Pragma. With NoStore they get Cache-Control: no-store, so that no cache keeps them and the browser's Back button does not show
	// them after a logout. With Unchanged they stay as they are.
	// +optional
	CacheControl CacheControl `json:"cacheControl,omitempty"`

	// Rules are tried in order. The first rule that matches a request applies.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Rules []AuthorizationRule `json:"rules,omitempty"`
}

// CacheControl is what happens to responses whose app says nothing about caching.
// +kubebuilder:validation:Enum=NoStore;Unchanged
type CacheControl string

const (
	// CacheNoStore adds Cache-Control: no-store.
	CacheNoStore CacheControl = "NoStore"
	// CacheUnchanged adds nothing.
	CacheUnchanged CacheControl = "Unchanged"
)

// AuthorizationRule is what the requests that it matches require.
//
// +kubebuilder:validation:XValidation:rule="!has(self.require) || self.require != 'Deny' || !(has(self.claims) || has(self.scopes) || has(self.providers) || has(self.clientAddresses) || has(self.notClientAddresses) || has(self.hosts) || has(self.headers) || has(self.expression))",message="Deny refuses every caller, so conditions change nothing: remove them, or write require: Authenticated to let the callers pass for whom they hold"
// +kubebuilder:validation:XValidation:rule="!has(self.require) || self.require != 'Anonymous' || !(has(self.claims) || has(self.scopes) || has(self.providers))",message="claims, scopes and providers are conditions for the caller's token, and Anonymous requires none: write require: Authenticated"
type AuthorizationRule struct {
	// Name of the rule in logs and metrics.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")`,message="not a name: write lower-case letters, digits and hyphens inside, such as corp-login"
	Name string `json:"name"`
	// Match selects requests: one match is enough.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Match []RouteMatch `json:"match"`
	// Require is what the caller needs: Authenticated requires a valid token, Anonymous requires nothing, Deny refuses every caller.
	// +optional
	Require Requirement `json:"require,omitempty"`

	AuthorizationConditions `json:",inline"`

	// Mode of this rule: Enforce refuses requests, Shadow only counts and logs them.
	// +optional
	Mode Mode `json:"mode,omitempty"`
}

// RateLimit limits the rate of requests with the same key, how many of them are in progress at once, or both. If the class has Redis,
// the limit is exact across all pods. Otherwise each pod counts by itself.
//
// +kubebuilder:validation:XValidation:rule="has(self.limit) || has(self.maxInFlight)",message="a rate limit limits nothing: write limit, such as 100/minute, or maxInFlight, such as 10"
// +kubebuilder:validation:XValidation:rule="has(self.limit) || !(has(self.burst) || has(self.limitByClaim) || has(self.cost))",message="burst, limitByClaim and cost change limit, and there is none: write limit, such as 100/minute, or remove them"
type RateLimit struct {
	// Name of the limit in logs, metrics and the RateLimit header fields.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")`,message="not a name: write lower-case letters, digits and hyphens inside, such as corp-login"
	Name string `json:"name"`
	// Match selects requests: one match is enough. If it is unset, the limit applies to every request.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Match []RouteMatch `json:"match,omitempty"`
	// Limit is the rate that one key may use in the long run, such as 5/minute or 100/15m. It is required without maxInFlight.
	// +kubebuilder:validation:XValidation:rule="!self.matches('/[1-9][0-9]{0,5}(s|m|h)$') || duration(self.split('/')[1]) <= duration('744h')",message="the period of a rate is more than 744h (31 days): write a shorter one, such as 100/24h"
	// +optional
	Limit Rate `json:"limit,omitempty"`
	// MaxInFlight is how many requests of one key may be in progress at once, until their responses, streams and WebSockets have ended.
	// It is the same for all callers: limitByClaim does not change it.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	MaxInFlight int32 `json:"maxInFlight,omitempty"`
	// Burst is how many requests of limit may come at once.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Burst int32 `json:"burst,omitempty"`
	// LimitByClaim replaces limit and burst for callers with certain values of a claim.
	// +optional
	LimitByClaim *LimitByClaim `json:"limitByClaim,omitempty"`
	// Exempt selects requests that are neither counted nor refused.
	// +optional
	Exempt *LimitExemption `json:"exempt,omitempty"`
	// Cost is how much of the limit a request uses.
	// +optional
	Cost *LimitCost `json:"cost,omitempty"`
	// IPv6PrefixLength is the length in bits of the IPv6 networks that count as one client, where the client's address is a part of the
	// key. Providers often assign a /56 or a /48 to one customer.
	// +optional
	// +kubebuilder:validation:Minimum=32
	// +kubebuilder:validation:Maximum=128
	IPv6PrefixLength int32 `json:"ipv6PrefixLength,omitempty"`
	// KeyBy is what the limit counts by. All parts together make the key, such as the client's address and a header.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	KeyBy []RateLimitKey `json:"keyBy,omitempty"`
	// Mode of this limit: Enforce refuses requests, Shadow only counts and logs them.
	// +optional
	Mode Mode `json:"mode,omitempty"`
	// OnFailure is what happens while Redis is unavailable: with Allow each pod applies the limit by itself, with Deny requests get the
	// status 503.
	// +optional
	OnFailure FailureMode `json:"onFailure,omitempty"`
}

// RateLimitKeyType is the kind of one part of a key.
// +kubebuilder:validation:Enum=ClientAddress;Subject;Claim;Header;Route
type RateLimitKeyType string

const (
	// KeyClientAddress is the client's IPv4 address or IPv6 network of ipv6PrefixLength bits.
	KeyClientAddress RateLimitKeyType = "ClientAddress"
	// KeySubject is the token's issuer and subject.
	KeySubject RateLimitKeyType = "Subject"
	// KeyClaim is a claim's value.
	KeyClaim RateLimitKeyType = "Claim"
	// KeyHeader is a request header's value.
	KeyHeader RateLimitKeyType = "Header"
	// KeyRoute is the set of routes of the limit. Alone, it makes one limit for all clients together.
	KeyRoute RateLimitKeyType = "Route"
)

// RateLimitKey is one part of a key. If a request does not have it (no token, no such header), the client's address is used in its
// place.
//
// +kubebuilder:validation:XValidation:rule="(self.type in ['Claim','Header']) == has(self.name)",message="the types Claim and Header need a name, and the others have none: write {type: Header, name: X-Api-Key} or {type: ClientAddress}"
type RateLimitKey struct {
	// Type of the part: ClientAddress is the IPv4 address or the IPv6 network of ipv6PrefixLength bits, Subject the token's issuer and sub, Claim and Header
	// the value of the claim or header in name, Route one shared count for all clients.
	Type RateLimitKeyType `json:"type"`
	// Name of the claim or of the request header.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name,omitempty"`
}
