package v1alpha1

// Requirement is what a route demands of its caller.
// +kubebuilder:validation:Enum=Authenticated;Anonymous;Deny
type Requirement string

const (
	// RequireAuthenticated demands a valid token.
	RequireAuthenticated Requirement = "Authenticated"
	// RequireAnonymous demands nothing; a valid token is still recognised.
	RequireAnonymous Requirement = "Anonymous"
	// RequireDeny refuses everybody.
	RequireDeny Requirement = "Deny"
)

// Authorization says what each route demands.
type Authorization struct {
	// Default applies where no rule matches. Left out: Authenticated where jwt is given, else Anonymous.
	// +optional
	Default Requirement `json:"default,omitempty"`

	// Mode Shadow decides, counts and logs, and lets pass, for the default and every rule.
	// +optional
	Mode Mode `json:"mode,omitempty"`

	// Rules: the first that matches a request applies.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Rules []AuthorizationRule `json:"rules,omitempty"`
}

// AuthorizationRule is what the matched requests demand.
type AuthorizationRule struct {
	// Name of the rule in logs and metrics.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`
	Name string `json:"name"`
	// Match picks requests; one match is enough.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Match []RouteMatch `json:"match"`
	// Require is what the caller must show.
	Require Requirement `json:"require"`
	// Mode of this rule.
	// +optional
	Mode Mode `json:"mode,omitempty"`
}

// RateLimit bounds how often matched requests come from one key. Limits are exact across all pods where the class names
// a Redis, and hold per pod where it does not.
type RateLimit struct {
	// Name of the limit in logs, metrics and the RateLimit header fields.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`
	Name string `json:"name"`
	// Match picks requests; one match is enough. Left out, every request.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Match []RouteMatch `json:"match,omitempty"`
	// Limit is the rate that is kept up in the long run.
	// +kubebuilder:validation:XValidation:rule="!self.matches('[0-9](s|m|h)$') || duration(self.split('/')[1]) <= duration('744h')",message="a rate's period is at most 744h (31 days)"
	Limit Rate `json:"limit"`
	// Burst is how many requests may come at once. Left out: the limit's own number.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Burst int32 `json:"burst,omitempty"`
	// KeyBy says what is counted separately; all parts together make the key. Left out: the client's address.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	KeyBy []RateLimitKey `json:"keyBy,omitempty"`
	// Mode of this limit.
	// +optional
	Mode Mode `json:"mode,omitempty"`
	// OnFailure says what happens where Redis does not answer: Allow lets each pod hold the limit on its own, Deny
	// answers 503.
	// +optional
	OnFailure FailureMode `json:"onFailure,omitempty"`
}

// RateLimitKeyType is a part of what is counted separately.
// +kubebuilder:validation:Enum=ClientAddress;Subject;Claim;Header;Route
type RateLimitKeyType string

const (
	// KeyClientAddress is the client's IPv4 address or IPv6 /64.
	KeyClientAddress RateLimitKeyType = "ClientAddress"
	// KeySubject is the token's issuer and subject.
	KeySubject RateLimitKeyType = "Subject"
	// KeyClaim is a claim's value.
	KeyClaim RateLimitKeyType = "Claim"
	// KeyHeader is a request header's value.
	KeyHeader RateLimitKeyType = "Header"
	// KeyRoute is the limit's own set of routes: alone, it makes one limit for everybody together.
	KeyRoute RateLimitKeyType = "Route"
)

// RateLimitKey is one part of a key. Where a request lacks it (no token, no such header), the client's address takes its
// place.
//
// +kubebuilder:validation:XValidation:rule="(self.type in ['Claim','Header']) == has(self.name)",message="name goes with the types Claim and Header, and is needed there"
type RateLimitKey struct {
	Type RateLimitKeyType `json:"type"`
	// Name of the claim or header.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name,omitempty"`
}
