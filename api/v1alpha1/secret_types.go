package v1alpha1

// SecretRef selects a secret value. Exactly one of vault and secretKeyRef is set. The sidecar reads the value; the operator never does.
//
// +kubebuilder:validation:XValidation:rule="has(self.vault) != has(self.secretKeyRef)",message="set exactly one of vault and secretKeyRef, such as secretKeyRef: {name: redis, key: password}"
type SecretRef struct {
	// Vault selects a value in a KV version 2 engine of the class's Vault. A rotated value is used without a restart.
	// +optional
	Vault *VaultRef `json:"vault,omitempty"`
	// SecretKeyRef selects a key of a Secret. The Secret is mounted into the sidecar, so it must exist in the pod's namespace.
	// +optional
	SecretKeyRef *SecretKeyRef `json:"secretKeyRef,omitempty"`
}

// VaultRef selects a value in a KV version 2 engine.
type VaultRef struct {
	// Path of the secret with its mount, as in the command vault kv get: secret/shop/redis.
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[A-Za-z0-9_.@:=+-]+(/[A-Za-z0-9_.@:=+-]+)+$")`,message="not a path in Vault: write the mount and the path of the secret, such as secret/shop/redis"
	Path string `json:"path"`
	// Key in the secret's data. Its value must be a string.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Key string `json:"key"`
	// Version selects one version of the secret.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Version int32 `json:"version,omitempty"`
}

// SecretKeyRef selects a key of a Secret.
type SecretKeyRef struct {
	// Name of the Secret.
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")`,message="not the name of a Secret: write lower-case letters, digits, hyphens and dots, such as orders-keys"
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Key in the Secret's data.
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[-._a-zA-Z0-9]+$")`,message="not a key of a Secret: write letters, digits, hyphens, underscores and dots, such as password"
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('..') && self != '.'",message="a key of a Secret is not . and does not start with ..: write one such as password"
	Key string `json:"key"`
}
