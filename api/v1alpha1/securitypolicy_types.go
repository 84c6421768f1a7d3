package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// SecurityPolicy controls the requests to the pods that its selector matches. The operator injects a sidecar into each of these
// pods. The sidecar enforces the policy in front of the app.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=secpol,categories=postern
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[0].status`
// +kubebuilder:printcolumn:name="Accepted",type=string,priority=1,JSONPath=`.status.conditions[2].status`
// +kubebuilder:printcolumn:name="Programmed",type=string,priority=1,JSONPath=`.status.conditions[3].status`
// +kubebuilder:printcolumn:name="Enforced",type=string,JSONPath=`.status.conditions[4].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[4].reason`
// +kubebuilder:printcolumn:name="Pods",type=string,JSONPath=`.status.pods.summary`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="UID",type=string,priority=1,JSONPath=`.metadata.uid`
// +kubebuilder:printcolumn:name="Generation",type=integer,priority=1,JSONPath=`.metadata.generation`
type SecurityPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec SecurityPolicySpec `json:"spec"`
	// Status is what the operator observed. Until it has looked at the object, observedGeneration is -1, so that kstatus, and with it Flux and
	// helm --wait, do not take a new object for a ready one.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status SecurityPolicyStatus `json:"status,omitempty"`
}

// SecurityPolicyList is a list of SecurityPolicy.
// +kubebuilder:object:root=true
type SecurityPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []SecurityPolicy `json:"items"`
}

// SecurityPolicySpec is what the sidecars enforce. Every section is optional: a section that is left out enforces nothing.
//
// +kubebuilder:validation:XValidation:rule="has(self.jwt) || has(self.tokens) || has(self.apiKeys) || (has(self.tls) && has(self.tls.clientCertificates) && has(self.tls.clientCertificates.identity)) || !has(self.authorization) || !has(self.authorization.default) || self.authorization.default != 'Authenticated'",message="authorization.default is Authenticated, but there is neither a jwt, a tokens nor an apiKeys section, nor an identity of tls.clientCertificates, to authenticate with: add jwt.providers, or for client certificates tls.clientCertificates.identity, or write default: Anonymous or default: Deny",fieldPath=".authorization.default"
// +kubebuilder:validation:XValidation:rule="has(self.jwt) || has(self.tokens) || has(self.apiKeys) || (has(self.tls) && has(self.tls.clientCertificates) && has(self.tls.clientCertificates.identity)) || !has(self.authorization) || !has(self.authorization.rules) || self.authorization.rules.all(r, has(r.require) && r.require != 'Authenticated')",message="a rule of authorization requires Authenticated, but there is neither a jwt, a tokens nor an apiKeys section, nor an identity of tls.clientCertificates, to authenticate with: add jwt.providers, or for client certificates tls.clientCertificates.identity",fieldPath=".authorization.rules"
// +kubebuilder:validation:XValidation:rule="has(self.jwt) || has(self.tokens) || has(self.apiKeys) || (has(self.tls) && has(self.tls.clientCertificates) && has(self.tls.clientCertificates.identity)) || !has(self.rateLimits) || self.rateLimits.all(l, !has(l.keyBy) || l.keyBy.all(k, k.type != 'Subject' && k.type != 'Claim'))",message="a rate limit is keyed by Subject or Claim, but there is no jwt, tokens or apiKeys section, and no identity of tls.clientCertificates, that identifies callers: add jwt.providers, or for client certificates tls.clientCertificates.identity, or write keyBy: [{type: ClientAddress}]",fieldPath=".rateLimits"
// +kubebuilder:validation:XValidation:rule="has(self.jwt) || has(self.tokens) || has(self.apiKeys) || (has(self.tls) && has(self.tls.clientCertificates) && has(self.tls.clientCertificates.identity)) || !has(self.rateLimits) || self.rateLimits.all(l, !has(l.limitByClaim) && (!has(l.exempt) || !has(l.exempt.claims)))",message="a rate limit has limitByClaim or exempt.claims, but there is no jwt, tokens or apiKeys section, and no identity of tls.clientCertificates, that identifies callers: add jwt.providers, or for client certificates tls.clientCertificates.identity, or remove them",fieldPath=".rateLimits"
// +kubebuilder:validation:XValidation:rule="!has(self.jwt) || !has(self.tokens) || self.jwt.providers.all(p, !has(p.issuer) || p.issuer != self.tokens.issuer)",message="a provider of jwt has the issuer of tokens: the policy's own tokens are accepted without a provider; remove it"
// +kubebuilder:validation:XValidation:rule="!has(self.sessions) || has(self.tokens) || (has(self.jwt) && has(self.sessions.subjectFrom))",message="there is nothing to keep sessions of: add a tokens section, or a jwt section with sessions.subjectFrom: sid"
// +kubebuilder:validation:XValidation:rule="!has(self.sessions) || !has(self.sessions.subjectFrom) || has(self.jwt)",message="sessions.subjectFrom applies to the tokens of jwt.providers, and there are none: add jwt.providers, or remove subjectFrom"
// +kubebuilder:validation:XValidation:rule="!has(self.revocation) || has(self.jwt) || has(self.tokens) || has(self.apiKeys) || (has(self.tls) && has(self.tls.clientCertificates) && has(self.tls.clientCertificates.identity))",message="there are no tokens or keys to revoke: add a jwt, a tokens or an apiKeys section, or remove revocation"
type SecurityPolicySpec struct {
	// Selector selects pods of this namespace by their labels, for example {matchLabels: {app: orders}}. The empty selector ({}) selects every pod. If two policies select the
	// same pod, the older policy applies. The younger one has the condition Accepted=False with the reason Conflicted.
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator in ['In', 'NotIn'] ? has(e.values) && e.values.size() > 0 : e.operator in ['Exists', 'DoesNotExist'] && (!has(e.values) || e.values.size() == 0))",message="an operator of matchExpressions is In or NotIn with values, or Exists or DoesNotExist without: write {key: app, operator: In, values: [orders]}"
	Selector metav1.LabelSelector `json:"selector"`

	// SidecarClassName is the name of the SidecarClass that configures how the sidecars run: their image, interception, Redis and Vault. The
	// platform team makes classes; see kubectl get sidecarclasses.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:MinLength=1
	SidecarClassName *string `json:"sidecarClassName,omitempty"`

	// Mode of the whole policy: Enforce refuses requests. Shadow only counts and logs what Enforce would refuse, and lets the request
	// pass. Begin with Shadow, look at the metric postern_decisions_total{mode="shadow"}, and then set Enforce.
	// +optional
	Mode Mode `json:"mode,omitempty"`

	// Interception overrides the interception of the class: Redirect or Takeover. A change applies to pods that are created afterwards.
	// +optional
	Interception Interception `json:"interception,omitempty"`

	// Rollout is who restarts pods without a sidecar or with an outdated one: with Manual a person does, with Automatic the operator
	// restarts the workloads that own the pods, one at a time.
	// +optional
	Rollout Rollout `json:"rollout,omitempty"`

	// Ports are the ports on which the app accepts traffic, for example [{port: 8080}, {port: 5432, protocol: TCP}].
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.all(p, self.exists_one(q, q.port == p.port))",message="a port is in the list twice: write each port once"
	Ports []Port `json:"ports,omitempty"`

	// UndeclaredPorts is what happens to connections to all other ports: Deny closes them, Allow passes them to the app without any
	// check.
	// +optional
	UndeclaredPorts FailureMode `json:"undeclaredPorts,omitempty"`

	// UpstreamProtocol is the protocol that the app speaks on its HTTP ports. Auto sends HTTP/2 requests as HTTP/2 to an app that speaks it
	// without TLS (h2c), and everything else as HTTP/1.1. HTTP1 and H2C send every request in one protocol, except WebSockets, which are
	// always HTTP/1.1.
	// +optional
	UpstreamProtocol UpstreamProtocol `json:"upstreamProtocol,omitempty"`

	// UpstreamTLS makes the sidecar use TLS to the app, on all HTTP ports. Without it the app gets plain HTTP from the same pod. With it,
	// upstreamProtocol Auto is HTTP/1.1, and H2C is HTTP/2 over TLS. For example: {caRef: {secretKeyRef: {name: orders-ca, key: ca.crt}},
	// serverName: orders.shop.svc}.
	// +optional
	UpstreamTLS *UpstreamTLS `json:"upstreamTLS,omitempty"`

	// TLS makes the sidecar serve TLS on the HTTP ports. For example: {mode: Require, certificates: [{secretRef: {name: orders-tls}}]}.
	// +optional
	TLS *TLS `json:"tls,omitempty"`

	// ForwardClientCert is what happens to the header X-Forwarded-Client-Cert (XFCC), in which Envoy and other proxies describe the client's
	// certificate. If it is unset, that of a trusted proxy is passed on, and nothing reads or adds it. Behind a gateway that ends
	// mutual TLS, fromProxies is Use. For example: {fromProxies: Remove}.
	// +optional
	ForwardClientCert *ForwardClientCert `json:"forwardClientCert,omitempty"`

	// Paths says which paths are passed on although apps read them in several ways, such as group%2Fproject or ;jsessionid=1. They are
	// refused by default. For example: {encodedSlash: Keep}.
	// +optional
	Paths *Paths `json:"paths,omitempty"`

	// JWT configures which tokens of external issuers identify a caller. Tokens are verified on every request, and a request with an invalid
	// token gets 401. For example: {providers: [{name: corp, issuer: https://id.example.com, audiences: [shop], algorithms: [RS256],
	// jwks: {uri: https://id.example.com/jwks.json}}]}.
	// +optional
	JWT *JWT `json:"jwt,omitempty"`

	// Tokens makes the sidecar issue tokens and keep sessions, for an app that verifies passwords itself. When the app responds to a login route with
	// a success, the sidecar adds the tokens. For example: {issuer: https://shop.example.com, audiences: [shop], login: [{methods: [POST], paths: [/login]}],
	// signingKey: {secretKeyRef: {name: shop-signing-key, key: key.pem}}}.
	// +optional
	Tokens *Tokens `json:"tokens,omitempty"`

	// Revocation refuses tokens before they expire: those that TokenRevocations of the namespace, the app (loopback API) or postern revoke name.
	// For example: {maxStaleness: 10s, onFailure: Deny}. Those of the app hold for other pods only with Redis.
	// +optional
	Revocation *Revocation `json:"revocation,omitempty"`

	// Sessions limits how long users stay logged in, and on how many devices. For example: {maxPerSubject: 5, idleTimeout: 30m}. Needs tokens, or jwt
	// with subjectFrom.
	// +optional
	Sessions *Sessions `json:"sessions,omitempty"`

	// Authorization is what each route requires of the caller. If it is unset, every route requires a valid token, API key or client
	// certificate if the policy has jwt, tokens, apiKeys or tls.clientCertificates.identity, and nothing otherwise. For example: {default: Authenticated, rules: [{name: public, match: [{paths: [/healthz]}], require:
	// Anonymous}, {name: admins, match: [{paths: [/admin/**]}], scopes: {any: [admin]}}]}.
	// +optional
	Authorization *Authorization `json:"authorization,omitempty"`

	// RateLimits limit how often routes are used. All limits that match a request are checked together. A refused request counts
	// against none of them, and gets 429 with Retry-After. For example: [{name: per-client, limit: 100/minute, keyBy: [{type: ClientAddress}]}].
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	RateLimits []RateLimit `json:"rateLimits,omitempty"`

	// Headers sets security headers, such as Strict-Transport-Security, on every response. For example: {preset: API, remove: [Server]}. A preset
	// leaves a header that the app sets itself only if keep or omit names it.
	// +optional
	Headers *Headers `json:"headers,omitempty"`

	// CORS allows pages of other origins to call the app, as the Fetch standard defines. It replaces the app's own CORS headers. For example:
	// {allowOrigins: [https://shop.example.com], allowMethods: [GET, POST], allowHeaders: [Content-Type]}.
	// +optional
	CORS *CORS `json:"cors,omitempty"`

	// Compression compresses responses for clients that accept it. For example: {minSize: 2KiB}. It leaves out responses that the app compressed.
	// +optional
	Compression *Compression `json:"compression,omitempty"`

	// LoginProtection stops the guessing of passwords on the app's own login routes: it counts failures by account and by address, and locks for a while.
	// For example: {routes: [{name: login, match: [{methods: [POST], paths: [/login]}], account: {json: email}, failure: {statuses: [401]}}]}.
	// +optional
	LoginProtection *LoginProtection `json:"loginProtection,omitempty"`

	// PasswordPolicy configures how the loopback API hashes passwords for the app, and the rules for new passwords. For example: {rules: {minLength: 12},
	// routes: [{match: [{methods: [POST], paths: [/users]}], password: {json: password}}]}.
	// +optional
	PasswordPolicy *PasswordPolicy `json:"passwordPolicy,omitempty"`

	// APIKeys accepts API keys as a second credential, for machines. Their hashes are in a file of a Secret, which postern apikey writes. For example:
	// {keysRef: {secretKeyRef: {name: shop-api-keys, key: keys.yaml}}}.
	// +optional
	APIKeys *APIKeys `json:"apiKeys,omitempty"`

	// Audit records logins, sessions, refusals, changes of users and other events, in a trail that shows whether records were changed or
	// removed. If it is unset, there is no trail. For example: {events: [Authentication, Session, Admin], sinks: [Log], onFailure: Allow}.
	// +optional
	Audit *Audit `json:"audit,omitempty"`

	// VaultRole is the role for Vault's Kubernetes auth, in place of the role of the class. With a role for each app, an app reads only
	// its own secrets. Vault decides which service accounts may use a role.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	VaultRole string `json:"vaultRole,omitempty"`
}

// Interception is how the sidecar gets in front of the app.
// +kubebuilder:validation:Enum=Redirect;Takeover
type Interception string

const (
	// InterceptRedirect uses an init container with NET_ADMIN that redirects every inbound TCP port to the sidecar. The app needs no
	// change. Pod Security baseline and restricted do not allow it.
	InterceptRedirect Interception = "Redirect"
	// InterceptTakeover makes the sidecar listen on the pod's address, and the app on 127.0.0.1 with the same port number. It needs no
	// privilege.
	InterceptTakeover Interception = "Takeover"
)

// Rollout is who restarts outdated pods.
// +kubebuilder:validation:Enum=Automatic;Manual
type Rollout string

const (
	// RolloutManual leaves restarts to a person. The status names the pods.
	RolloutManual Rollout = "Manual"
	// RolloutAutomatic restarts the workloads that own outdated pods, one workload at a time.
	RolloutAutomatic Rollout = "Automatic"
)

// Protocol is the protocol of a port.
// +kubebuilder:validation:Enum=HTTP;TCP
type Protocol string

const (
	// ProtocolHTTP is HTTP/1.1, cleartext HTTP/2 and gRPC. The policy is enforced.
	ProtocolHTTP Protocol = "HTTP"
	// ProtocolTCP is passed through without any check: no rule of the policy applies.
	ProtocolTCP Protocol = "TCP"
)

// Port is a port of the app.
type Port struct {
	// Port is a number from 1 to 65535, or the name of a container port.
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=15
	// +kubebuilder:validation:XValidation:rule=`type(self) == int ? self >= 1 && self <= 65535 : string(self).matches(r"^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$")`,message="port is a number from 1 to 65535 or the name of a container port: write port: 8080 or port: http"
	Port intstr.IntOrString `json:"port"`

	// Protocol of the port: the policy is enforced on HTTP, TCP is passed through without any check.
	// +optional
	Protocol Protocol `json:"protocol,omitempty"`
}

// UpstreamProtocol is the protocol in which requests are sent to the app.
// +kubebuilder:validation:Enum=Auto;HTTP1;H2C
type UpstreamProtocol string

const (
	// UpstreamAuto is the client's protocol, if the app speaks it.
	UpstreamAuto UpstreamProtocol = "Auto"
	// UpstreamHTTP1 is HTTP/1.1.
	UpstreamHTTP1 UpstreamProtocol = "HTTP1"
	// UpstreamH2C is HTTP/2 without TLS, with prior knowledge.
	UpstreamH2C UpstreamProtocol = "H2C"
)

// RouteMatch matches requests. An unset field matches everything.
type RouteMatch struct {
	// Methods are HTTP methods in upper case, such as POST. GET also matches HEAD.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=32
	// +kubebuilder:validation:items:XValidation:rule=`self.matches(r"^[A-Z][A-Z-]{0,31}$")`,message="not a method: write it in upper case, such as GET or POST"
	Methods []string `json:"methods,omitempty"`

	// Paths are exact paths or patterns. In a pattern, * stands for one segment, and ** at the end for any number of segments:
	// "/public/**" also matches "/public". They are compared to the normalized, decoded path of the request, without a trailing slash;
	// see paths.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:XValidation:rule="self.startsWith('/')",message="a path starts with /: write one such as /orders, /orders/*/items or /public/**"
	// +kubebuilder:validation:items:Pattern=`^/([^*]|/\*(/|$))*(\*\*)?$`
	Paths []string `json:"paths,omitempty"`
}
