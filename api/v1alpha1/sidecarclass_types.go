package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DefaultClassAnnotation with the value "true" marks the SidecarClass that applies to policies without sidecarClassName.
const DefaultClassAnnotation = "postern.dev/is-default-class"

// SidecarClass configures how sidecars run. It belongs to the platform team.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=sclass,categories=postern
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Default",type=string,JSONPath=`.metadata.annotations.postern\.dev/is-default-class`
// +kubebuilder:printcolumn:name="Interception",type=string,JSONPath=`.spec.interception`
// +kubebuilder:printcolumn:name="Redis",type=string,JSONPath=`.spec.redis.addresses[0]`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type SidecarClass struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec SidecarClassSpec `json:"spec,omitempty"`
	// Status is what the operator observed. Until it has looked at the object, observedGeneration is -1, so that kstatus, and with it Flux and
	// helm --wait, do not take a new object for a ready one.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status SidecarClassStatus `json:"status,omitempty"`
}

// SidecarClassList is a list of SidecarClass.
// +kubebuilder:object:root=true
type SidecarClassList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []SidecarClass `json:"items"`
}

// SidecarClassSpec configures how sidecars run.
//
// +kubebuilder:validation:XValidation:rule="has(self.redis) || !has(self.database) || !has(self.database.via) || self.database.via != 'RedisStream'",message="database.via is RedisStream, and there is no redis: add redis, or write via: Direct"
// +kubebuilder:validation:XValidation:rule="has(self.vault) || !has(self.database) || !has(self.database.credentials) || !has(self.database.credentials.vault)",message="database.credentials are in Vault, and there is no vault: add vault, or write userRef and passwordRef"
// +kubebuilder:validation:XValidation:rule="has(self.vault) || !has(self.audit) || !has(self.audit.signingKey)",message="audit.signingKey is in Vault, and there is no vault: add vault, or use keyRef without signingKey"
type SidecarClassSpec struct {
	// Image of the sidecar. A change applies to pods that are created afterwards; restart the others.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`
	// ImagePullPolicy of the sidecar's image.
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// Resources of the sidecar's container.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
	// Interception is how traffic gets to the sidecar before the app: Redirect needs no change of the app, and an init container with
	// NET_ADMIN. Takeover needs no privilege, and the app must listen on 127.0.0.1.
	// +optional
	Interception Interception `json:"interception,omitempty"`
	// LogLevel of the sidecar: debug, info, warn or error. With warn and error there is no access log. A change applies to running sidecars.
	// +optional
	// +kubebuilder:validation:Enum=debug;info;warn;error
	LogLevel string `json:"logLevel,omitempty"`
	// AccessLog is which requests are logged: All, only Errors (refused or failed requests), or None.
	// +optional
	// +kubebuilder:validation:Enum=All;Errors;None
	AccessLog string `json:"accessLog,omitempty"`
	// AccessLogOptions says what is logged of a request.
	// +optional
	AccessLogOptions *AccessLogOptions `json:"accessLogOptions,omitempty"`
	// RequestID is the id that each request has in logs, in refusals and in the app.
	// +optional
	RequestID *RequestID `json:"requestID,omitempty"`
	// Telemetry sends traces to an OpenTelemetry collector.
	// +optional
	Telemetry *Telemetry `json:"telemetry,omitempty"`
	// TrustedProxies are the networks of load balancers and proxies, in CIDR notation. The sidecar uses the X-Forwarded-For header of
	// these alone to find the client's address.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.all(c, isCIDR(c))",message="trustedProxies has an entry that is no network in CIDR notation: write one such as 10.0.0.0/8 or 2001:db8::/32"
	TrustedProxies []string `json:"trustedProxies,omitempty"`
	// Connections bounds the connections of clients, so that one client cannot use up all of them. The defaults depend on the memory.
	// +optional
	Connections *Connections `json:"connections,omitempty"`
	// DrainTimeout is how long a stopping sidecar waits for open requests, streams and WebSockets. At its end it closes them, which
	// takes up to 3s. Keep it 5s below terminationGracePeriodSeconds of the pods.
	// +optional
	DrainTimeout Duration `json:"drainTimeout,omitempty"`
	// Requests bounds the requests that are open at the same time in one sidecar, so that one client cannot use up the memory.
	// +optional
	Requests *RequestLimits `json:"requests,omitempty"`
	// Upgrades bounds the WebSockets that are open at the same time in one sidecar. They do not count as requests.
	// +optional
	Upgrades *UpgradeLimits `json:"upgrades,omitempty"`
	// Redis is the store that sidecars share, for example {addresses: ["redis.platform.svc:6379"], passwordRef: {secretKeyRef: {name: redis, key: password}}}. Without it, each pod keeps sessions, revocations and counts for itself, and policies have
	// the condition SharedState=False.
	// +optional
	Redis *Redis `json:"redis,omitempty"`
	// Vault is the server of secrets and signing keys, for policies that refer to it. For example: {address: https://vault.platform.svc:8200, auth:
	// {kubernetes: {role: postern}}}.
	// +optional
	Vault *Vault `json:"vault,omitempty"`
	// Database is the PostgreSQL database of the audit trail, for policies with the sink PostgreSQL.
	// +optional
	Database *Database `json:"database,omitempty"`
	// Audit has the keys of the audit trail, and where records wait for their sinks, for policies with audit.
	// +optional
	Audit *AuditOptions `json:"audit,omitempty"`
}

// RequestLimits bounds open requests. A request is open from its header until its response is complete; gRPC streams and server-sent
// events count as long as they last, and take at most three quarters of Max together. Clients are told apart by their address as
// TrustedProxies says, and by the /64 of an IPv6 address.
//
// +kubebuilder:validation:XValidation:rule="!has(self.max) || !has(self.maxPerAddress) || self.maxPerAddress <= self.max",message="maxPerAddress is greater than max, so it would never apply: write a smaller number, or leave it out for half of max"
type RequestLimits struct {
	// Max is the number of open requests. Further ones get the status 503. More than the memory allows has no effect.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Max int32 `json:"max,omitempty"`
	// MaxPerAddress is the number of open requests of one client address, while half of Max is free. The less is free, the fewer one
	// address may have. Further ones get the status 429. One connection may have half of them.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	MaxPerAddress int32 `json:"maxPerAddress,omitempty"`
	// MinBodyRate is how many bytes of its body a client must send per second, on average over 20 seconds in which the sidecar waits for
	// it. A slower body ends with the status 408. 0 turns this off. Bodies of gRPC calls are exempt, because a stream may be silent.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1048576
	MinBodyRate *int32 `json:"minBodyRate,omitempty"`
}

// UpgradeLimits bounds open WebSockets.
//
// +kubebuilder:validation:XValidation:rule="!has(self.max) || !has(self.maxPerAddress) || self.maxPerAddress <= self.max",message="maxPerAddress is greater than max, so it would never apply: write a smaller number, or leave it out for half of max"
type UpgradeLimits struct {
	// Max is the number of open WebSockets. Further ones get the status 503. More than the memory allows has no effect.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Max int32 `json:"max,omitempty"`
	// MaxPerAddress is the number of open WebSockets of one client address, while half of Max is free. The less is free, the fewer one
	// address may have. Further ones get the status 429.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	MaxPerAddress int32 `json:"maxPerAddress,omitempty"`
}

// RedisMode is how Redis is run.
// +kubebuilder:validation:Enum=Standalone;Sentinel;Cluster
type RedisMode string

const (
	// RedisStandalone is one server.
	RedisStandalone RedisMode = "Standalone"
	// RedisSentinel is a master that Sentinels monitor.
	RedisSentinel RedisMode = "Sentinel"
	// RedisCluster is a Redis Cluster.
	RedisCluster RedisMode = "Cluster"
)

// Redis is a connection to Redis.
//
// +kubebuilder:validation:XValidation:rule="(has(self.mode) && self.mode == 'Sentinel') == has(self.masterName)",message="mode Sentinel needs masterName, and the other modes have none: write mode: Sentinel and masterName: mymaster, or remove masterName"
// +kubebuilder:validation:XValidation:rule="(has(self.mode) && self.mode != 'Standalone') || self.addresses.size() == 1",message="mode Standalone has exactly one address: write one, or mode: Sentinel or mode: Cluster"
// +kubebuilder:validation:XValidation:rule="!has(self.mode) || self.mode != 'Cluster' || !has(self.database) || self.database == 0",message="a Redis Cluster has database 0 only: remove database"
// +kubebuilder:validation:XValidation:rule="!has(self.username) || self.username.size() == 0 || has(self.passwordRef)",message="username needs a password: add passwordRef: {secretKeyRef: {name: redis, key: password}}"
// +kubebuilder:validation:XValidation:rule="!has(self.sentinelPasswordRef) || (has(self.mode) && self.mode == 'Sentinel')",message="sentinelPasswordRef applies to mode Sentinel only: write mode: Sentinel, or remove sentinelPasswordRef"
type Redis struct {
	// Mode of the deployment: Standalone is one server, Sentinel a master with replicas, Cluster a Redis Cluster.
	// +optional
	Mode RedisMode `json:"mode,omitempty"`
	// Addresses of the server, the Sentinels, or some nodes of the Cluster, as host:port.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=260
	// +kubebuilder:validation:items:XValidation:rule=`self.matches(r"^([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$")`,message="not an address: write host:port, such as redis.shop.svc:6379 or [2001:db8::1]:6379"
	Addresses []string `json:"addresses"`
	// MasterName is the name that the Sentinels have for the master.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	MasterName string `json:"masterName,omitempty"`
	// Database is the number of the database.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	Database int32 `json:"database,omitempty"`
	// Username for AUTH (an ACL user of Redis 6 or later).
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Username string `json:"username,omitempty"`
	// PasswordRef selects the password. A Secret must exist in the namespace of every workload.
	// +optional
	PasswordRef *SecretRef `json:"passwordRef,omitempty"`
	// SentinelPasswordRef selects the password of the Sentinels themselves.
	// +optional
	SentinelPasswordRef *SecretRef `json:"sentinelPasswordRef,omitempty"`
	// TLS configures TLS to Redis. Without it, the connection is not encrypted.
	// +optional
	TLS *RedisTLS `json:"tls,omitempty"`
	// Timeout of one request to Redis. Requests of clients wait for it at most once.
	// +optional
	// +kubebuilder:validation:XValidation:rule="(duration(self) >= duration('5ms') && duration(self) <= duration('5s')) || !self.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="timeout is not between 5ms and 5s, and requests wait for it: write a duration such as 100ms"
	Timeout Duration `json:"timeout,omitempty"`
}

// RedisTLS configures how the sidecar verifies Redis, and with which certificate it identifies itself.
//
// +kubebuilder:validation:XValidation:rule="has(self.certificateRef) == has(self.keyRef)",message="certificateRef and keyRef need each other: set both or none"
type RedisTLS struct {
	// ServerName is the name in the certificate of Redis.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ServerName string `json:"serverName,omitempty"`
	// CABundle contains the CA certificates, in PEM, that verify Redis, in place of the system's.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`
	// CertificateRef selects a client certificate, in PEM, if Redis requires one.
	// +optional
	CertificateRef *SecretRef `json:"certificateRef,omitempty"`
	// KeyRef selects the private key of certificateRef, in PEM.
	// +optional
	KeyRef *SecretRef `json:"keyRef,omitempty"`
}

// SidecarClassStatus is the status that the operator observed.
type SidecarClassStatus struct {
	// ObservedGeneration is the generation that the conditions are about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions: Accepted is False if no policy can be compiled with the class, or another class is marked default too; the message names the field.
	// Ready and Stalled repeat it for kstatus (Flux, Helm).
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
