package v1alpha1

// Connections bounds the TCP connections of clients to one sidecar. At the limits the sidecar closes connections that have no
// request in progress, beginning with the clients that have the most. The admin port has limits of its own.
//
// +kubebuilder:validation:XValidation:rule="!has(self.max) || !has(self.maxPerAddress) || self.maxPerAddress <= self.max",message="maxPerAddress is greater than max, so it would never apply: write at most max"
type Connections struct {
	// Max is the maximum number of connections. The sidecar allows no more than fit into its memory and its file descriptors, so a
	// greater value has no effect; it then logs the number that applies. To allow more, raise the memory limit in resources.
	// +optional
	// +kubebuilder:validation:Minimum=16
	// +kubebuilder:validation:Maximum=1000000
	Max int32 `json:"max,omitempty"`
	// MaxPerAddress is the maximum number of connections of one client: an IPv4 address, or the /64 of an IPv6 address. Addresses in
	// trustedProxies have no such limit. An office, or a load balancer that hides the addresses of its clients, is one client.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	MaxPerAddress int32 `json:"maxPerAddress,omitempty"`
	// IdleTimeout is how long a connection may have no request in progress. It does not apply to ports with the protocol TCP.
	// +optional
	// +kubebuilder:validation:XValidation:rule="(duration(self) >= duration('1s') && duration(self) <= duration('1h')) || !self.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="idleTimeout is not between 1s and 1h: write a duration such as 2m"
	IdleTimeout Duration `json:"idleTimeout,omitempty"`
}
