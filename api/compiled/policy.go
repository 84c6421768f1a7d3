// Package compiled defines the document that the operator writes and the sidecar runs. It contains everything from a policy and
// its class, resolved, with references to secrets and never their values. Both binaries use the package, and it depends only
// on the standard library.
package compiled

import (
	"fmt"
	"time"
)

// SchemaVersion is the newest schema version that this build writes and reads. A document has the lowest version whose readers
// can run it; see Feature. A sidecar refuses a document with a newer version and keeps its current one.
const SchemaVersion = 1

// Policy is a compiled SecurityPolicy.
type Policy struct {
	SchemaVersion int `json:"schemaVersion"`
	// Namespace and Name are those of the policy. A sidecar accepts only documents of its own policy.
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// UID and Generation are those of the policy object, so that a user can compare them.
	UID        string `json:"uid,omitempty"`
	Generation int64  `json:"generation,omitempty"`
	// Revision orders the documents of a policy: a sidecar never replaces its document with one of a lower revision. It is the
	// time of the write in milliseconds since 1970, and always higher than the previous revision.
	Revision int64 `json:"revision"`
	// Deleted says that the policy was deleted: the sidecar passes all traffic through, and reports it.
	Deleted bool `json:"deleted,omitempty"`

	Mode Mode `json:"mode"`
	// Ports is empty if every declared container port is HTTP.
	Ports           []Port      `json:"ports,omitempty"`
	UndeclaredPorts FailureMode `json:"undeclaredPorts"`
	// UpstreamProtocol is empty for Auto.
	UpstreamProtocol UpstreamProtocol `json:"upstreamProtocol,omitempty"`
	// UpstreamTLS is nil if the app gets plain HTTP.
	UpstreamTLS *UpstreamTLS `json:"upstreamTLS,omitempty"`
	// TLS is nil if the sidecar serves plain HTTP.
	TLS *TLS `json:"tls,omitempty"`
	// ForwardClientCert is nil if X-Forwarded-Client-Cert of trusted proxies is passed on, and nothing else is done with it.
	ForwardClientCert *ForwardClientCert `json:"forwardClientCert,omitempty"`
	// Paths is nil if only paths pass that all apps read alike.
	Paths         *Paths        `json:"paths,omitempty"`
	Providers     []Provider    `json:"providers,omitempty"`
	Authorization Authorization `json:"authorization"`
	// Tokens is nil if the sidecar issues no tokens.
	Tokens   *Tokens   `json:"tokens,omitempty"`
	Sessions *Sessions `json:"sessions,omitempty"`
	// Revocation configures how the sidecar follows revocations in the shared state; nil if only RevokedTokens apply.
	Revocation    *Revocation     `json:"revocation,omitempty"`
	RevokedTokens []RevokedTokens `json:"revokedTokens,omitempty"`
	Passwords     *Passwords      `json:"passwords,omitempty"`
	// APIKeys is nil if no API keys are accepted.
	APIKeys *APIKeys `json:"apiKeys,omitempty"`
	// PasswordPolicy is nil if new passwords are not judged.
	PasswordPolicy *PasswordPolicy `json:"passwordPolicy,omitempty"`
	// LoginProtection is nil if no route is protected.
	LoginProtection *LoginProtection `json:"loginProtection,omitempty"`
	RateLimits      []RateLimit      `json:"rateLimits,omitempty"`
	Headers         *Headers         `json:"headers,omitempty"`
	CORS            *CORS            `json:"cors,omitempty"`
	Compression     *Compression     `json:"compression,omitempty"`
	Sidecar         SidecarOptions   `json:"sidecar"`
	Redis           *Redis           `json:"redis,omitempty"`
	Vault           *Vault           `json:"vault,omitempty"`
	// Audit and AuditOptions are nil if there is no audit trail. Database is nil if it has no sink PostgreSQL.
	Audit        *Audit        `json:"audit,omitempty"`
	AuditOptions *AuditOptions `json:"auditOptions,omitempty"`
	Database     *Database     `json:"database,omitempty"`
	Telemetry    *Telemetry    `json:"telemetry,omitempty"`
}

// Mode says whether a refusal is enforced, or only counted and logged.
type Mode string

// FailureMode says what happens if a rule cannot be decided.
type FailureMode string

// Values that Validate accepts. They have the same meaning as in the SecurityPolicy.
const (
	Enforce Mode = "Enforce"
	Shadow  Mode = "Shadow"

	Deny  FailureMode = "Deny"
	Allow FailureMode = "Allow"
)

// Protocol is the protocol of a port.
type Protocol string

// The policy is enforced for HTTP. TCP is passed through without inspection.
const (
	HTTP Protocol = "HTTP"
	TCP  Protocol = "TCP"
)

// Port is a port of the app: a number, or the name of a container port, which the sidecar resolves with EnvContainerPorts.
type Port struct {
	Number   uint16   `json:"number,omitempty"`
	Name     string   `json:"name,omitempty"`
	Protocol Protocol `json:"protocol"`
}

// Match selects requests. An empty list matches everything.
type Match struct {
	Methods []string `json:"methods,omitempty"`
	Paths   []string `json:"paths,omitempty"`
}

// UpstreamProtocol is the protocol in which requests are sent to the app.
type UpstreamProtocol string

// Values of UpstreamProtocol that Validate accepts.
const (
	UpstreamAuto  UpstreamProtocol = "Auto"
	UpstreamHTTP1 UpstreamProtocol = "HTTP1"
	UpstreamH2C   UpstreamProtocol = "H2C"
)

// Requirement is what a route requires of a request.
type Requirement string

// Requirements that Validate accepts.
const (
	RequireAuthenticated Requirement = "Authenticated"
	RequireAnonymous     Requirement = "Anonymous"
	RequireDeny          Requirement = "Deny"
)

// Authorization is what each route requires. The first matching rule applies.
type Authorization struct {
	Default Requirement         `json:"default"`
	Mode    Mode                `json:"mode"`
	Rules   []AuthorizationRule `json:"rules,omitempty"`
	// CacheControl is NoStore or Unchanged; empty is Unchanged.
	CacheControl string `json:"cacheControl,omitempty"`
}

// AuthorizationRule is what is required of the matching requests.
type AuthorizationRule struct {
	Name    string      `json:"name"`
	Match   []Match     `json:"match"`
	Require Requirement `json:"require"`
	Mode    Mode        `json:"mode"`
	Conditions
}

// RateLimit limits the matching requests per key: Limit requests per Period in the long run, and Burst at once, unless Limit is 0;
// and to MaxInFlight in progress, unless that is 0.
type RateLimit struct {
	Name   string   `json:"name"`
	Match  []Match  `json:"match,omitempty"`
	Limit  int      `json:"limit,omitempty"`
	Period Duration `json:"period,omitempty"`
	Burst  int      `json:"burst,omitempty"`
	// MaxInFlight is how many requests may be in progress at once; 0 for any number.
	MaxInFlight int `json:"maxInFlight,omitempty"`
	// LimitByClaim, Exempt and Cost are nil if the limit is the same for all requests, applies to all, and counts each once.
	LimitByClaim *LimitByClaim   `json:"limitByClaim,omitempty"`
	Exempt       *LimitExemption `json:"exempt,omitempty"`
	Cost         *LimitCost      `json:"cost,omitempty"`
	// IPv6PrefixLength is the length in bits of the IPv6 networks that count as one client; 0 is 64.
	IPv6PrefixLength int            `json:"ipv6PrefixLength,omitempty"`
	KeyBy            []RateLimitKey `json:"keyBy"`
	Mode             Mode           `json:"mode"`
	OnFailure        FailureMode    `json:"onFailure"`
}

// RateLimitKey is a part of the key by which requests are counted separately.
type RateLimitKey struct {
	Type string `json:"type"`
	Name string `json:"name,omitempty"`
}

// Key types that Validate accepts.
const (
	KeyClientAddress = "ClientAddress"
	KeySubject       = "Subject"
	KeyClaim         = "Claim"
	KeyHeader        = "Header"
	KeyRoute         = "Route"
)

// Headers says which headers responses have.
type Headers struct {
	Preset string `json:"preset"`
	HeaderRules
	// Routes change the headers of some responses; the first that matches applies.
	Routes []HeaderRoute `json:"routes,omitempty"`
}

// HeaderRoute changes the headers of the responses to the requests that it matches. An empty Preset is the policy's. The
// lists are added to the policy's; for a header in both Set and Remove, the route decides.
type HeaderRoute struct {
	Match  []Match `json:"match"`
	Preset string  `json:"preset,omitempty"`
	HeaderRules
}

// HeaderRules loosen the preset, and set and remove other headers.
type HeaderRules struct {
	// Keep are headers of the preset whose value the app decides. Omit are headers of the preset that are not added.
	Keep   []string      `json:"keep,omitempty"`
	Omit   []string      `json:"omit,omitempty"`
	Set    []HeaderField `json:"set,omitempty"`
	Remove []string      `json:"remove,omitempty"`
}

// HeaderField is a header's name and value.
type HeaderField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// CORS says which other origins may call the app.
type CORS struct {
	AllowOrigins     []string `json:"allowOrigins"`
	AllowMethods     []string `json:"allowMethods,omitempty"`
	AllowHeaders     []string `json:"allowHeaders,omitempty"`
	ExposeHeaders    []string `json:"exposeHeaders,omitempty"`
	AllowCredentials bool     `json:"allowCredentials,omitempty"`
	MaxAge           Duration `json:"maxAge,omitempty"`
}

// Compression says which responses are compressed. MinSize is in bytes. No Types means the default types.
type Compression struct {
	MinSize int      `json:"minSize"`
	Types   []string `json:"types,omitempty"`
}

// SidecarOptions are the settings of the class that a running sidecar applies without a restart.
type SidecarOptions struct {
	TrustedProxies []string `json:"trustedProxies,omitempty"`
	AccessLog      string   `json:"accessLog"`
	LogLevel       string   `json:"logLevel"`
	// AccessLogOptions is nil for every field of every request.
	AccessLogOptions *AccessLogOptions `json:"accessLogOptions,omitempty"`
	// RequestID is nil for an id of the sidecar in DefaultRequestIDHeader.
	RequestID    *RequestID `json:"requestID,omitempty"`
	DrainTimeout Duration   `json:"drainTimeout"`
	// Connections bounds the connections of clients; nil leaves it to the sidecar.
	Connections *Connections `json:"connections,omitempty"`
	// Requests and Upgrades bound what is open at the same time; nil for what the memory allows.
	Requests *RequestLimits `json:"requests,omitempty"`
	Upgrades *UpgradeLimits `json:"upgrades,omitempty"`
}

// DefaultMinBodyRate is the minimum rate of request bodies in bytes per second if a document names none. Kestrel has the same.
const DefaultMinBodyRate = 240

// RequestLimits bounds open requests. Zero numbers stand for what the memory allows.
type RequestLimits struct {
	Max           int `json:"max,omitempty"`
	MaxPerAddress int `json:"maxPerAddress,omitempty"`
	// MinBodyRate is in bytes per second. It is 0 for no minimum, and nil for DefaultMinBodyRate.
	MinBodyRate *int `json:"minBodyRate,omitempty"`
}

// UpgradeLimits bounds open WebSockets. Zero numbers stand for what the memory allows.
type UpgradeLimits struct {
	Max           int `json:"max,omitempty"`
	MaxPerAddress int `json:"maxPerAddress,omitempty"`
}

// Duration is a time.Duration in Go's text form ("30s").
type Duration time.Duration

// Std returns d as a time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// MarshalText writes the duration in Go's form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads a duration in Go's form. A negative duration is an error.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration", b)
	}
	*d = Duration(v)
	return nil
}
