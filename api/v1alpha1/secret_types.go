package v1alpha1

// SecretRef names a secret value: exactly one of its members. The sidecar reads it; the operator never does.
//
// +kubebuilder:validation:XValidation:rule="has(self.vault) != has(self.secretKeyRef)",message="say exactly one of vault and secretKeyRef"
type SecretRef struct {
	// Vault names a value in a KV version 2 engine of the class's Vault. A rotated value is taken without a restart.
	// +optional
	Vault *VaultRef `json:"vault,omitempty"`
	// SecretKeyRef names a Secret. It is mounted into the sidecar, so it must exist in the pod's namespace.
	// +optional
	SecretKeyRef *SecretKeyRef `json:"secretKeyRef,omitempty"`
}

// VaultRef names a value in a KV version 2 engine.
type VaultRef struct {
	// Path of the secret with its mount, as vault kv get takes it: secret/shop/redis.
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_.@:=+-]+(/[A-Za-z0-9_.@:=+-]+)+$`
	Path string `json:"path"`
	// Key among the secret's data; its value must be a string.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Key string `json:"key"`
	// Version pins one version of the secret. Left out: the latest.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Version int32 `json:"version,omitempty"`
}

// SecretKeyRef names a key of a Secret.
type SecretKeyRef struct {
	// Name of the Secret.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Key in the Secret's data.
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('..') && self != '.'",message="a Secret has no such key"
	Key string `json:"key"`
}
