package v1alpha1

// LimitByClaim replaces the limit for callers whose token has a value in a claim, such as the plan that they pay for.
type LimitByClaim struct {
	// Claim is the name of a claim, or a path with dots to a nested one: subscription.plan. A string, a number or a boolean is compared
	// as a whole; an array has the value if one of its elements is equal.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Claim string `json:"claim"`
	// Values are tried in order. The first one that the claim has applies. If there is none, or no token, limit and burst apply.
	// +listType=map
	// +listMapKey=value
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Values []ClaimLimit `json:"values"`
}

// ClaimLimit is the limit of callers with one value of the claim. They are counted separately from those with another value: when a
// caller's value changes, the new limit begins with its whole quota.
type ClaimLimit struct {
	// Value of the claim. Case matters. A number or a boolean is written as the token writes it: "2", "true".
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Value string `json:"value"`
	// Limit is the rate that one key may use in the long run, such as 100/minute.
	// +kubebuilder:validation:XValidation:rule="!self.matches('/[1-9][0-9]{0,5}(s|m|h)$') || duration(self.split('/')[1]) <= duration('744h')",message="the period of a rate is more than 744h (31 days): write a shorter one, such as 100/24h"
	Limit Rate `json:"limit"`
	// Burst is how many requests are allowed at once.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Burst int32 `json:"burst,omitempty"`
}

// LimitExemption selects requests that a limit neither counts nor refuses. One match is enough.
//
// +kubebuilder:validation:XValidation:rule="has(self.clientAddresses) || has(self.claims)",message="exempt exempts nobody: write clientAddresses or claims, such as {clientAddresses: [10.0.0.0/8]}, or remove exempt"
type LimitExemption struct {
	// ClientAddresses are networks of clients in CIDR notation. The client's address is that after the class's trustedProxies.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.all(c, isCIDR(c))",message="exempt.clientAddresses has an entry that is no network in CIDR notation: write one such as 10.0.0.0/8 or 2001:db8::/32"
	ClientAddresses []string `json:"clientAddresses,omitempty"`
	// Claims exempt callers whose token meets one of them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Claims []ClaimCondition `json:"claims,omitempty"`
}

// LimitCost is how much of the limit a request uses: a number, or what the app's response says, such as the tokens that a model used.
// A cost that the response says is charged after the response, also beyond the limit; the caller then waits until it is paid off. A
// response that is not 2xx, or has no readable number there, costs 1.
//
// +kubebuilder:validation:XValidation:rule="[has(self.requests), has(self.responseJSON), has(self.responseHeader)].filter(x, x).size() == 1",message="set exactly one of requests, responseJSON and responseHeader, such as responseJSON: usage.total_tokens"
type LimitCost struct {
	// Requests is the number of requests as which each request counts. It is at most the burst.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Requests int32 `json:"requests,omitempty"`
	// ResponseJSON is the path of a number in the response's JSON: names with dots between them, such as usage.total_tokens. In JSON
	// lines and in server-sent events, the last value that has the number counts. The app is asked for a body without encoding.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	ResponseJSON string `json:"responseJSON,omitempty"`
	// ResponseHeader is the name of a response header or trailer with a number, such as X-Cost.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	ResponseHeader string `json:"responseHeader,omitempty"`
}
