package v1alpha1

// AuthorizationConditions are the conditions of an authorization rule. All of them must hold for a request that the rule's match
// selects; otherwise the request is refused with the status 403. They do not select: a request whose conditions do not hold is
// refused, and later rules are not tried.
type AuthorizationConditions struct {
	// Claims are claims that the caller's token must have, all of them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Claims []ClaimCondition `json:"claims,omitempty"`
	// Scopes are scopes that the caller's token must have. They are the words or the elements of the claim scope, or of scp if the
	// token has no scope. A token without them gets the status 403 with the error insufficient_scope.
	// +optional
	Scopes *ScopeCondition `json:"scopes,omitempty"`
	// Providers are the providers whose tokens are accepted: names of jwt.providers, and postern for the policy's own tokens.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=63
	Providers []string `json:"providers,omitempty"`
	// ClientAddresses are networks, such as 10.0.0.0/8, or addresses. The client's address must be in one of them. The class's
	// trustedProxies decide which address is the client's.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	ClientAddresses []string `json:"clientAddresses,omitempty"`
	// NotClientAddresses are networks or addresses. The client's address must be in none of them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	NotClientAddresses []string `json:"notClientAddresses,omitempty"`
	// Hosts are the accepted hosts of the request, such as shop.example.com, or *.example.com for every name below example.com. The
	// port is ignored. Clients choose the host, so it does not prove who they are.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=255
	Hosts []string `json:"hosts,omitempty"`
	// Headers are conditions for request headers, all of them. Clients choose their headers: only a header that a proxy in front of the
	// sidecar always sets proves something.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Headers []HeaderCondition `json:"headers,omitempty"`
	// Expression is a condition in CEL over request and claims, such as claims.tenant == request.headers["x-tenant"]. It is evaluated
	// after the other conditions. An expression that cannot be evaluated does not hold.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Expression string `json:"expression,omitempty"`
}

// ClaimCondition is a claim that a token must have. The members of a claim are the elements of an array, or the words of a string, which
// spaces separate. They are compared exactly.
//
// +kubebuilder:validation:XValidation:rule="has(self.all) || has(self.any)",message="the claim may have any value: write all or any, such as {claim: realm_access.roles, any: [admin]}"
type ClaimCondition struct {
	// Claim is the name of a claim, or a path with dots to a nested one: realm_access.roles.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Claim string `json:"claim"`
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

// ScopeCondition are scopes that a token must have.
//
// +kubebuilder:validation:XValidation:rule="has(self.all) || has(self.any)",message="scopes requires nothing: write all or any, such as {all: [orders:write]}"
type ScopeCondition struct {
	// All are scopes that the token must have, all of them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	All []string `json:"all,omitempty"`
	// Any are scopes of which the token must have at least one. A refusal names the first, so write the least privileged one first.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	Any []string `json:"any,omitempty"`
}

// HeaderCondition is a condition for one request header. Exactly one of values, prefix and present is set.
//
// +kubebuilder:validation:XValidation:rule="[has(self.values), has(self.prefix), has(self.present)].filter(x, x).size() == 1",message="set exactly one of values, prefix and present, such as {name: X-Env, values: [staging]}"
type HeaderCondition struct {
	// Name of the header, in any case.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[A-Za-z0-9-]{1,64}$")`,message="not the name of a header field: write letters, digits and hyphens, such as X-Env"
	Name string `json:"name"`
	// Values are the accepted values. The request must have the header exactly once, and its value must equal one of them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Values []string `json:"values,omitempty"`
	// Prefix is the beginning of the value. The request must have the header exactly once.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Prefix string `json:"prefix,omitempty"`
	// Present says whether the request must have the header, with any value except an empty one, or must not have it at all.
	// +optional
	Present *bool `json:"present,omitempty"`
}
