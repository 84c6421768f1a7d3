package v1alpha1

// Vault is the HashiCorp Vault that sidecars read secrets from and sign tokens with. Each sidecar logs in by itself.
//
// +kubebuilder:validation:XValidation:rule="!has(self.maxStale) || duration(self.maxStale) >= duration(has(self.pollInterval) ? self.pollInterval : '30s') + duration(has(self.pollInterval) ? self.pollInterval : '30s') || has(self.maxStale) && !self.maxStale.matches('^([0-9]{1,9}(ms|s|m|h))+$') || has(self.pollInterval) && !self.pollInterval.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="maxStale is less than twice the pollInterval (30s if it is unset), so values would be too old before they are read again: write a longer maxStale, such as 24h"
type Vault struct {
	// Address is https://host[:port]. http is accepted for a loopback address only, such as that of a Vault Agent.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^https://[^/?#@ ]+/?$') || self.matches('^http://(localhost|127[.]0[.]0[.]1|\\\\[::1\\\\])(:[0-9]+)?/?$')",message="address is not an https URL without a path (http only for localhost): write https://vault.example.com:8200"
	Address string `json:"address"`
	// Namespace of Vault Enterprise.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Namespace string `json:"namespace,omitempty"`
	// CABundle contains the CA certificates, in PEM, that verify Vault, in place of the system's.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`
	// Auth is how a sidecar logs in.
	Auth VaultAuth `json:"auth"`
	// Timeout of one request to Vault.
	// +optional
	// +kubebuilder:validation:XValidation:rule="(duration(self) >= duration('100ms') && duration(self) <= duration('60s')) || !self.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="timeout is not between 100ms and 60s: write a duration such as 5s"
	Timeout Duration `json:"timeout,omitempty"`
	// PollInterval is how often secrets are read again. A rotated value is used after this time at the latest.
	// +optional
	// +kubebuilder:validation:XValidation:rule="(duration(self) >= duration('1s') && duration(self) <= duration('1h')) || !self.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="pollInterval is not between 1s and 1h: write a duration such as 30s"
	PollInterval Duration `json:"pollInterval,omitempty"`
	// MaxStale is how long the last read value is used while Vault is unavailable.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('8760h') || !self.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="maxStale is more than 8760h: write a shorter duration, such as 24h"
	MaxStale Duration `json:"maxStale,omitempty"`
}

// VaultAuth is how a sidecar logs in to Vault. Exactly one of kubernetes, appRole and tokenFile is set.
//
// +kubebuilder:validation:XValidation:rule="[has(self.kubernetes), has(self.appRole), has(self.tokenFile)].filter(x, x).size() == 1",message="set exactly one of kubernetes, appRole and tokenFile, such as kubernetes: {role: postern}"
type VaultAuth struct {
	// Kubernetes logs in with a service-account token of the pod.
	// +optional
	Kubernetes *VaultKubernetes `json:"kubernetes,omitempty"`
	// AppRole logs in with a role ID and a secret ID.
	// +optional
	AppRole *VaultAppRole `json:"appRole,omitempty"`
	// TokenFile is the absolute path of a file with a token that another program renews, such as the sink of a Vault Agent. It is for
	// postern run: no sidecar in a pod has such a file.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`self.startsWith('/')`,message="not an absolute path: write one such as /run/vault/token"
	TokenFile string `json:"tokenFile,omitempty"`
}

// VaultKubernetes is Vault's Kubernetes auth method.
type VaultKubernetes struct {
	// Mount of the auth method.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[A-Za-z0-9_.@:=+-]+(/[A-Za-z0-9_.@:=+-]+)*$")`,message="not a mount in Vault: write it without a slash at its start or end, such as kubernetes or auth/shop"
	Mount string `json:"mount,omitempty"`
	// Role to log in with. vaultRole of a policy overrides it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Role string `json:"role"`
	// Audience of the projected service-account token. The role in Vault should require it.
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
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[A-Za-z0-9_.@:=+-]+(/[A-Za-z0-9_.@:=+-]+)*$")`,message="not a mount in Vault: write it without a slash at its start or end, such as kubernetes or auth/shop"
	Mount string `json:"mount,omitempty"`
	// RoleID of the role.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	RoleID string `json:"roleID"`
	// SecretIDRef selects the secret ID in a Secret of the pod's namespace. Leave it out if the role has bind_secret_id=false.
	// +optional
	SecretIDRef *SecretKeyRef `json:"secretIDRef,omitempty"`
}
