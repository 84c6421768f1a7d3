package v1alpha1

// RequestIDSource says whose request ids are kept.
// +kubebuilder:validation:Enum=Never;TrustedProxies;Always
type RequestIDSource string

const (
	// RequestIDNever keeps no id: the sidecar makes one for each request.
	RequestIDNever RequestIDSource = "Never"
	// RequestIDTrustedProxies keeps the id of a request that comes from an address in trustedProxies.
	RequestIDTrustedProxies RequestIDSource = "TrustedProxies"
	// RequestIDAlways keeps the id of every request. A client can then give many requests the same id.
	RequestIDAlways RequestIDSource = "Always"
)

// RequestID is the id that each request has in the access log, in events, in refusals and in the app.
type RequestID struct {
	// Header has the id in the request that the app gets, and in the response to the client. The id that a client sent is replaced,
	// unless fromClients keeps it.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z][A-Za-z0-9-]*$')",message="header is not the name of a header: write letters, digits and hyphens, such as X-Request-ID"
	Header string `json:"header,omitempty"`
	// FromClients says whose ids are kept: Never, TrustedProxies, or Always. An id is kept if it has 1 to 128 letters, digits and the
	// characters - . _ ~ : / + = @ ; |. Otherwise the sidecar makes one, a UUID of version 7.
	// +optional
	FromClients RequestIDSource `json:"fromClients,omitempty"`
}
