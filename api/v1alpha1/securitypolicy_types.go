package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// SecurityPolicy says what may pass to the pods that its selector matches. The operator puts a sidecar into each of
// them, which enforces the policy in front of the app.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=secpol,categories=postern
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Programmed",type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name="Enforced",type=string,JSONPath=`.status.conditions[?(@.type=="Enforced")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Enforced")].reason`
// +kubebuilder:printcolumn:name="Pods",type=string,JSONPath=`.status.pods.summary`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type SecurityPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   SecurityPolicySpec   `json:"spec"`
	Status SecurityPolicyStatus `json:"status,omitempty"`
}

// SecurityPolicyList is a list of SecurityPolicy.
// +kubebuilder:object:root=true
type SecurityPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []SecurityPolicy `json:"items"`
}

// SecurityPolicySpec is what is enforced. Every section is optional: what is left out is not enforced.
//
// +kubebuilder:validation:XValidation:rule="has(self.jwt) || has(self.tokens) || !has(self.authorization) || !has(self.authorization.default) || self.authorization.default != 'Authenticated'",message="authorization.default is Authenticated, but there is neither a jwt nor a tokens section to authenticate with: add jwt.providers, or say Anonymous or Deny"
// +kubebuilder:validation:XValidation:rule="has(self.jwt) || has(self.tokens) || !has(self.authorization) || !has(self.authorization.rules) || self.authorization.rules.all(r, r.require != 'Authenticated')",message="a rule of authorization requires Authenticated, but there is neither a jwt nor a tokens section to authenticate with: add jwt.providers"
// +kubebuilder:validation:XValidation:rule="has(self.jwt) || has(self.tokens) || !has(self.rateLimits) || self.rateLimits.all(l, !has(l.keyBy) || l.keyBy.all(k, k.type != 'Subject' && k.type != 'Claim'))",message="a rate limit is keyed by Subject or Claim, but there is neither a jwt nor a tokens section that gives either: add jwt.providers, or key by ClientAddress"
// +kubebuilder:validation:XValidation:rule="!has(self.jwt) || !has(self.tokens) || self.jwt.providers.all(p, p.issuer != self.tokens.issuer)",message="a provider of jwt has the issuer of tokens: the policy's own tokens are accepted without a provider; remove it"
// +kubebuilder:validation:XValidation:rule="!has(self.sessions) || has(self.tokens) || (has(self.jwt) && has(self.sessions.subjectFrom))",message="there is nothing to keep sessions of: add tokens, or jwt with sessions.subjectFrom"
// +kubebuilder:validation:XValidation:rule="!has(self.sessions) || !has(self.sessions.subjectFrom) || has(self.jwt)",message="sessions.subjectFrom is for the tokens of jwt.providers, and there are none"
// +kubebuilder:validation:XValidation:rule="!has(self.revocation) || has(self.jwt) || has(self.tokens)",message="there are no tokens to revoke: add jwt or tokens"
type SecurityPolicySpec struct {
	// Selector picks the pods of this namespace by their labels. The empty selector picks every pod. Where two policies
	// pick the same pod, the older one applies and the younger one says Accepted=False, reason Conflicted.
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator in ['In', 'NotIn'] ? has(e.values) && e.values.size() > 0 : e.operator in ['Exists', 'DoesNotExist'] && (!has(e.values) || e.values.size() == 0))",message="the operators of matchExpressions are In and NotIn, with values, and Exists and DoesNotExist, without"
	Selector metav1.LabelSelector `json:"selector"`

	// SidecarClassName names the SidecarClass that says how the sidecars are run. Left out, the class that is marked
	// default applies.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:MinLength=1
	SidecarClassName *string `json:"sidecarClassName,omitempty"`

	// Mode Shadow decides, counts and logs every refusal of the policy, and lets the request pass.
	// +optional
	Mode Mode `json:"mode,omitempty"`

	// Interception overrides the class's way of getting in front of the app. Pods take it when they are created.
	// +optional
	Interception Interception `json:"interception,omitempty"`

	// Rollout says who restarts pods that run without the sidecar, or with an outdated one: Manual leaves it to a
	// person, Automatic restarts the owners, one workload at a time.
	// +optional
	Rollout Rollout `json:"rollout,omitempty"`

	// Ports are the app's ports that take traffic. Left out, every declared TCP container port is HTTP.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.all(p, self.exists_one(q, q.port == p.port))",message="each port is named once"
	Ports []Port `json:"ports,omitempty"`

	// UndeclaredPorts says what happens to connections to other ports: Deny closes them, Allow passes them through
	// untouched.
	// +optional
	UndeclaredPorts FailureMode `json:"undeclaredPorts,omitempty"`

	// JWT says which tokens identify a caller.
	// +optional
	JWT *JWT `json:"jwt,omitempty"`

	// Tokens makes the sidecar issue tokens and keep sessions for an app that checks passwords itself.
	// +optional
	Tokens *Tokens `json:"tokens,omitempty"`

	// Revocation refuses tokens before they expire.
	// +optional
	Revocation *Revocation `json:"revocation,omitempty"`

	// Sessions bounds how long people stay logged in, and on how many devices.
	// +optional
	Sessions *Sessions `json:"sessions,omitempty"`

	// Authorization says what each route demands of the caller. Left out, every route demands a valid token where jwt or
	// tokens is given, and nothing where neither is.
	// +optional
	Authorization *Authorization `json:"authorization,omitempty"`

	// RateLimits bound how often routes are used. All limits that apply to a request are checked together; a refused
	// request uses none of them up.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	RateLimits []RateLimit `json:"rateLimits,omitempty"`

	// Headers sets security headers on every answer.
	// +optional
	Headers *Headers `json:"headers,omitempty"`

	// CORS lets pages of other origins call the app, by the Fetch standard. The app's own CORS headers are replaced.
	// +optional
	CORS *CORS `json:"cors,omitempty"`

	// Compression compresses answers for clients that accept it.
	// +optional
	Compression *Compression `json:"compression,omitempty"`

	// PasswordPolicy says how the loopback API hashes passwords for the app.
	// +optional
	PasswordPolicy *PasswordPolicy `json:"passwordPolicy,omitempty"`

	// VaultRole to log in with by Vault's Kubernetes auth, in place of the class's, so that each app reads its own secrets
	// alone. Vault decides which service accounts may use it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	VaultRole string `json:"vaultRole,omitempty"`
}

// Interception is how the sidecar gets in front of the app.
// +kubebuilder:validation:Enum=Redirect;Takeover
type Interception string

const (
	// InterceptRedirect has an init container with NET_ADMIN send every inbound TCP port to the sidecar. The app needs no
	// change. It is not allowed under Pod Security baseline and restricted.
	InterceptRedirect Interception = "Redirect"
	// InterceptTakeover has the sidecar listen on the pod's address and the app on 127.0.0.1, at the same port number. It
	// needs no privilege.
	InterceptTakeover Interception = "Takeover"
)

// Rollout says who restarts stale pods.
// +kubebuilder:validation:Enum=Automatic;Manual
type Rollout string

const (
	// RolloutManual leaves restarts to a person; the status names the pods.
	RolloutManual Rollout = "Manual"
	// RolloutAutomatic restarts the workloads that own stale pods, one workload at a time.
	RolloutAutomatic Rollout = "Automatic"
)

// Protocol is what a port speaks.
// +kubebuilder:validation:Enum=HTTP;TCP
type Protocol string

const (
	// ProtocolHTTP is HTTP/1.1, cleartext HTTP/2 and gRPC; the policy is enforced.
	ProtocolHTTP Protocol = "HTTP"
	// ProtocolTCP is passed through untouched: no rule of the policy applies.
	ProtocolTCP Protocol = "TCP"
)

// Port is a port of the app.
type Port struct {
	// Port is a number (1 to 65535) or a container port's name.
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=15
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$`
	// +kubebuilder:validation:XValidation:rule="type(self) != int || (self >= 1 && self <= 65535)",message="port is a number from 1 to 65535 or the name of a container port"
	Port intstr.IntOrString `json:"port"`

	// Protocol of the port: HTTP is enforced, TCP is passed through untouched.
	// +optional
	Protocol Protocol `json:"protocol,omitempty"`
}

// RouteMatch picks requests. Dimensions left out match everything.
type RouteMatch struct {
	// Methods are HTTP methods in upper case. GET means HEAD, too.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Pattern=`^[A-Z][A-Z-]{0,31}$`
	Methods []string `json:"methods,omitempty"`

	// Paths are exact paths, or patterns: * stands for one segment, ** at the end for the rest ("/public/**" matches
	// "/public" as well). They match the normalised, decoded path; a trailing slash makes no difference.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:Pattern=`^/([^*]|/\*(/|$))*(\*\*)?$`
	Paths []string `json:"paths,omitempty"`
}
