package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DefaultClassAnnotation marks the SidecarClass that applies to policies which name none, where its value is "true".
const DefaultClassAnnotation = "postern.dev/is-default-class"

// SidecarClass says how sidecars are run; it belongs to the platform team.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=sclass,categories=postern
// +kubebuilder:printcolumn:name="Default",type=string,JSONPath=`.metadata.annotations.postern\.dev/is-default-class`
// +kubebuilder:printcolumn:name="Interception",type=string,JSONPath=`.spec.interception`
// +kubebuilder:printcolumn:name="Redis",type=string,JSONPath=`.spec.redis.addresses[0]`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type SidecarClass struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   SidecarClassSpec   `json:"spec,omitempty"`
	Status SidecarClassStatus `json:"status,omitempty"`
}

// SidecarClassList is a list of SidecarClass.
// +kubebuilder:object:root=true
type SidecarClassList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []SidecarClass `json:"items"`
}

// SidecarClassSpec is how sidecars are run.
type SidecarClassSpec struct {
	// Image of the sidecar. Left out: the one that the operator was installed with.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`
	// ImagePullPolicy of the sidecar's image.
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// Resources of the sidecar's container. Left out: requests of 10m CPU and 32Mi memory, a limit of 256Mi memory.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
	// Interception is how the sidecar gets in front of the app.
	// +optional
	Interception Interception `json:"interception,omitempty"`
	// LogLevel of the sidecar.
	// +optional
	// +kubebuilder:validation:Enum=debug;info;warn;error
	LogLevel string `json:"logLevel,omitempty"`
	// AccessLog says which requests are logged: All, Errors (refused or failed ones) or None.
	// +optional
	// +kubebuilder:validation:Enum=All;Errors;None
	AccessLog string `json:"accessLog,omitempty"`
	// TrustedProxies are the CIDRs of load balancers and proxies whose X-Forwarded-For is believed.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.all(c, isCIDR(c))",message="trustedProxies are CIDRs, such as 10.0.0.0/8 or 2001:db8::/32"
	TrustedProxies []string `json:"trustedProxies,omitempty"`
	// DrainTimeout is how long a stopping sidecar lets open requests finish. Left out: 25s; keep it below the pods'
	// terminationGracePeriodSeconds.
	// +optional
	DrainTimeout Duration `json:"drainTimeout,omitempty"`
	// Redis is the state that sidecars share. Left out, every pod counts for itself, and policies say SharedState=False.
	// +optional
	Redis *Redis `json:"redis,omitempty"`
	// Vault is where secrets and signing keys are, for references that name it.
	// +optional
	Vault *Vault `json:"vault,omitempty"`
}

// RedisMode is how Redis is run.
// +kubebuilder:validation:Enum=Standalone;Sentinel;Cluster
type RedisMode string

const (
	// RedisStandalone is one server.
	RedisStandalone RedisMode = "Standalone"
	// RedisSentinel is a master that Sentinels name.
	RedisSentinel RedisMode = "Sentinel"
	// RedisCluster is a Redis Cluster.
	RedisCluster RedisMode = "Cluster"
)

// Redis is a connection to Redis.
//
// +kubebuilder:validation:XValidation:rule="(has(self.mode) && self.mode == 'Sentinel') == has(self.masterName)",message="masterName goes with mode Sentinel, and is needed there"
// +kubebuilder:validation:XValidation:rule="(has(self.mode) && self.mode != 'Standalone') || self.addresses.size() == 1",message="mode Standalone has one address"
// +kubebuilder:validation:XValidation:rule="!has(self.mode) || self.mode != 'Cluster' || !has(self.database) || self.database == 0",message="a Redis Cluster has database 0 alone"
// +kubebuilder:validation:XValidation:rule="!has(self.username) || self.username.size() == 0 || has(self.passwordRef)",message="username needs passwordRef: Redis asks for both"
// +kubebuilder:validation:XValidation:rule="!has(self.sentinelPasswordRef) || (has(self.mode) && self.mode == 'Sentinel')",message="sentinelPasswordRef goes with mode Sentinel"
type Redis struct {
	// Mode of the deployment.
	// +optional
	Mode RedisMode `json:"mode,omitempty"`
	// Addresses are host:port of the server, the Sentinels, or some nodes of the Cluster.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=260
	// +kubebuilder:validation:items:Pattern=`^([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$`
	Addresses []string `json:"addresses"`
	// MasterName is the Sentinels' name for the master.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	MasterName string `json:"masterName,omitempty"`
	// Database number.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	Database int32 `json:"database,omitempty"`
	// Username for AUTH (Redis 6 ACL).
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Username string `json:"username,omitempty"`
	// PasswordRef names the password. A Secret must exist in the namespace of every workload.
	// +optional
	PasswordRef *SecretRef `json:"passwordRef,omitempty"`
	// SentinelPasswordRef is the Sentinels' own password.
	// +optional
	SentinelPasswordRef *SecretRef `json:"sentinelPasswordRef,omitempty"`
	// TLS to Redis. Left out: cleartext.
	// +optional
	TLS *RedisTLS `json:"tls,omitempty"`
	// Timeout of one exchange with Redis. Left out: 100ms.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('5ms') && duration(self) <= duration('5s')",message="timeout is from 5ms to 5s: requests wait for it"
	Timeout Duration `json:"timeout,omitempty"`
}

// RedisTLS is how Redis is known to be the right one, and how the sidecar proves who it is.
//
// +kubebuilder:validation:XValidation:rule="has(self.certificateRef) == has(self.keyRef)",message="certificateRef and keyRef go together"
type RedisTLS struct {
	// ServerName is the name in Redis's certificate. Left out: the address's host.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ServerName string `json:"serverName,omitempty"`
	// CABundle is the PEM certificates that Redis's is checked against, in place of the system's.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`
	// CertificateRef and KeyRef name a client certificate and its private key, in PEM, where Redis asks for one.
	// +optional
	CertificateRef *SecretRef `json:"certificateRef,omitempty"`
	// KeyRef is the private key of certificateRef.
	// +optional
	KeyRef *SecretRef `json:"keyRef,omitempty"`
}

// SidecarClassStatus is what the operator found.
type SidecarClassStatus struct {
	// ObservedGeneration is the generation that the conditions are about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions: Accepted.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
