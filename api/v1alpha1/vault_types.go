package v1alpha1

// Vault is the HashiCorp Vault that sidecars read secrets from and sign tokens with. Each sidecar logs in by itself.
//
// +kubebuilder:validation:XValidation:rule="!has(self.maxStale) || duration(self.maxStale) >= duration(has(self.pollInterval) ? self.pollInterval : '30s') + duration(has(self.pollInterval) ? self.pollInterval : '30s')",message="maxStale is less than twice the pollInterval (30s where it is left out): values would be too old before they are read again"
type Vault struct {
	// Address is https://host[:port]; http is accepted for a loopback address alone, as that of a Vault Agent.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^https://[^/?#@ ]+/?$') || self.matches('^http://(localhost|127[.]0[.]0[.]1|\\\\[::1\\\\])(:[0-9]+)?/?$')",message="address is an https URL without a path (http only for localhost)"
	Address string `json:"address"`
	// Namespace of Vault Enterprise. Left out: the root namespace.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Namespace string `json:"namespace,omitempty"`
	// CABundle is the PEM certificates that Vault's is checked against, in place of the system's.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`
	// Auth is how a sidecar logs in.
	Auth VaultAuth `json:"auth"`
	// Timeout of one request to Vault. Left out: 5s.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('100ms') && duration(self) <= duration('60s')",message="timeout is from 100ms to 60s"
	Timeout Duration `json:"timeout,omitempty"`
	// PollInterval is how often secrets are read again: a rotated value is noticed within it. Left out: 30s.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('1h')",message="pollInterval is from 1s to 1h"
	PollInterval Duration `json:"pollInterval,omitempty"`
	// MaxStale is how long the last good value is used while Vault cannot be reached. Left out: 24h.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('8760h')",message="maxStale is at most 8760h"
	MaxStale Duration `json:"maxStale,omitempty"`
}

// VaultAuth is a way to log in: exactly one of its members.
//
// +kubebuilder:validation:XValidation:rule="[has(self.kubernetes), has(self.appRole), has(self.tokenFile)].filter(x, x).size() == 1",message="say exactly one of kubernetes, appRole and tokenFile"
type VaultAuth struct {
	// Kubernetes logs in with a service-account token of the pod.
	// +optional
	Kubernetes *VaultKubernetes `json:"kubernetes,omitempty"`
	// AppRole logs in with a role ID and a secret ID.
	// +optional
	AppRole *VaultAppRole `json:"appRole,omitempty"`
	// TokenFile is the absolute path of a file with a token that something else keeps fresh, such as a Vault Agent's sink;
	// for postern run, since no pod has such a file in its sidecar.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^/`
	TokenFile string `json:"tokenFile,omitempty"`
}

// VaultKubernetes is Vault's Kubernetes auth method.
type VaultKubernetes struct {
	// Mount of the auth method.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_.@:=+-]+(/[A-Za-z0-9_.@:=+-]+)*$`
	Mount string `json:"mount,omitempty"`
	// Role to log in with; a policy's vaultRole overrides it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Role string `json:"role"`
	// Audience of the projected service-account token, which the role should ask for.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Audience string `json:"audience,omitempty"`
}

// VaultAppRole is Vault's AppRole auth method.
type VaultAppRole struct {
	// Mount of the auth method.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_.@:=+-]+(/[A-Za-z0-9_.@:=+-]+)*$`
	Mount string `json:"mount,omitempty"`
	// RoleID of the role.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	RoleID string `json:"roleID"`
	// SecretIDRef names a Secret of the pod's namespace with the secret ID. Left out where the role binds none.
	// +optional
	SecretIDRef *SecretKeyRef `json:"secretIDRef,omitempty"`
}
