// Package compiled is the document that the operator writes and the sidecar runs: everything that a policy and its class
// say, resolved, with references to secrets and never their values. It is the one package that both binaries share, and
// it depends on the standard library alone.
package compiled

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"
)

// SchemaVersion is the newest version of the document that this build writes and reads. A document has the lowest version
// whose readers can run it: see Feature. A sidecar refuses a newer one and keeps what it runs.
const SchemaVersion = 1

// Policy is one SecurityPolicy, compiled.
type Policy struct {
	SchemaVersion int `json:"schemaVersion"`
	// Namespace and Name are the policy's; a sidecar takes the document of its own policy alone.
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// UID and Generation are the policy object's, for people who compare.
	UID        string `json:"uid,omitempty"`
	Generation int64  `json:"generation,omitempty"`
	// Revision orders the documents of a policy: a sidecar never goes back. Milliseconds since 1970 when the operator
	// wrote the document, and always more than the revision before it.
	Revision int64 `json:"revision"`
	// Deleted says that a person deleted the policy: the sidecar passes traffic through, and says so.
	Deleted bool `json:"deleted,omitempty"`

	Mode Mode `json:"mode"`
	// Ports is empty where every declared container port is HTTP.
	Ports           []Port        `json:"ports,omitempty"`
	UndeclaredPorts FailureMode   `json:"undeclaredPorts"`
	Providers       []Provider    `json:"providers,omitempty"`
	Authorization   Authorization `json:"authorization"`
	// Tokens is nil where the sidecar issues none.
	Tokens   *Tokens   `json:"tokens,omitempty"`
	Sessions *Sessions `json:"sessions,omitempty"`
	// Revocation follows what is revoked in the shared state; nil where only RevokedTokens count.
	Revocation    *Revocation     `json:"revocation,omitempty"`
	RevokedTokens []RevokedTokens `json:"revokedTokens,omitempty"`
	Passwords     *Passwords      `json:"passwords,omitempty"`
	RateLimits    []RateLimit     `json:"rateLimits,omitempty"`
	Headers       *Headers        `json:"headers,omitempty"`
	CORS          *CORS           `json:"cors,omitempty"`
	Compression   *Compression    `json:"compression,omitempty"`
	Sidecar       SidecarOptions  `json:"sidecar"`
	Redis         *Redis          `json:"redis,omitempty"`
	Vault         *Vault          `json:"vault,omitempty"`
}

// Mode says whether a refusal is carried out.
type Mode string

// FailureMode says what happens where a rule cannot be decided.
type FailureMode string

// Values that Validate accepts; their meaning is the SecurityPolicy's.
const (
	Enforce Mode = "Enforce"
	Shadow  Mode = "Shadow"

	Deny  FailureMode = "Deny"
	Allow FailureMode = "Allow"
)

// Protocol is what a port speaks.
type Protocol string

// HTTP is enforced, TCP is passed through untouched.
const (
	HTTP Protocol = "HTTP"
	TCP  Protocol = "TCP"
)

// Port is a port of the app: a number, or the name of a container port that the sidecar resolves with what it was told
// at injection.
type Port struct {
	Number   uint16   `json:"number,omitempty"`
	Name     string   `json:"name,omitempty"`
	Protocol Protocol `json:"protocol"`
}

// Match picks requests; empty dimensions match everything.
type Match struct {
	Methods []string `json:"methods,omitempty"`
	Paths   []string `json:"paths,omitempty"`
}

// Provider is a trusted issuer of tokens.
type Provider struct {
	Name            string          `json:"name"`
	Issuer          string          `json:"issuer"`
	Audiences       []string        `json:"audiences,omitempty"`
	Algorithms      []string        `json:"algorithms"`
	Keys            Keys            `json:"keys"`
	From            []TokenLocation `json:"from,omitempty"`
	TokenTypes      []string        `json:"tokenTypes,omitempty"`
	Leeway          Duration        `json:"leeway,omitempty"`
	MaxLifetime     Duration        `json:"maxLifetime,omitempty"`
	RequiredClaims  []RequiredClaim `json:"requiredClaims,omitempty"`
	ClaimsToHeaders []ClaimToHeader `json:"claimsToHeaders,omitempty"`
	ForwardToken    bool            `json:"forwardToken,omitempty"`
	// BackChannelLogout is nil where the provider may not log people out.
	BackChannelLogout *BackChannelLogout `json:"backChannelLogout,omitempty"`
}

// AssumedTokenLifetime is that of tokens of which nobody says how long they live.
const AssumedTokenLifetime = 24 * time.Hour

// TokenLifetime is for how long what is revoked of the provider's tokens must be remembered.
func (p *Provider) TokenLifetime() time.Duration {
	return cmp.Or(p.MaxLifetime.Std(), AssumedTokenLifetime)
}

// Keys is where a provider's keys come from: one of URI, Inline and Secret.
type Keys struct {
	URI             string          `json:"uri,omitempty"`
	RefreshInterval Duration        `json:"refreshInterval,omitempty"`
	MaxStale        Duration        `json:"maxStale,omitempty"`
	CABundle        string          `json:"caBundle,omitempty"`
	Inline          json.RawMessage `json:"inline,omitempty"`
	Secret          *SecretRef      `json:"secret,omitempty"`
}

// TokenLocation is a header (with what comes before the token in it) or a cookie.
type TokenLocation struct {
	Header string `json:"header,omitempty"`
	Prefix string `json:"prefix,omitempty"`
	Cookie string `json:"cookie,omitempty"`
}

// IdentityHeaders returns the headers that only a verified token sets: the sidecar removes them from every request.
func (p *Policy) IdentityHeaders() []string {
	var names []string
	for i := range p.Providers {
		for _, h := range p.Providers[i].ClaimsToHeaders {
			names = append(names, h.Header)
		}
	}
	if p.Tokens != nil {
		for _, h := range p.Tokens.ClaimsToHeaders {
			names = append(names, h.Header)
		}
	}
	return names
}

// RequiredClaim must be in the token, with one of Values where there are any.
type RequiredClaim struct {
	Claim  string   `json:"claim"`
	Values []string `json:"values,omitempty"`
}

// ClaimToHeader copies a claim into a request header.
type ClaimToHeader struct {
	Claim  string `json:"claim"`
	Header string `json:"header"`
}

// Requirement is what a route demands.
type Requirement string

// Requirements that Validate accepts.
const (
	RequireAuthenticated Requirement = "Authenticated"
	RequireAnonymous     Requirement = "Anonymous"
	RequireDeny          Requirement = "Deny"
)

// Authorization is what each route demands; the first rule that matches applies.
type Authorization struct {
	Default Requirement         `json:"default"`
	Mode    Mode                `json:"mode"`
	Rules   []AuthorizationRule `json:"rules,omitempty"`
}

// AuthorizationRule is what the matched requests demand.
type AuthorizationRule struct {
	Name    string      `json:"name"`
	Match   []Match     `json:"match"`
	Require Requirement `json:"require"`
	Mode    Mode        `json:"mode"`
}

// RateLimit bounds how often matched requests come from one key: Limit in Period in the long run, Burst at once.
type RateLimit struct {
	Name      string         `json:"name"`
	Match     []Match        `json:"match,omitempty"`
	Limit     int            `json:"limit"`
	Period    Duration       `json:"period"`
	Burst     int            `json:"burst"`
	KeyBy     []RateLimitKey `json:"keyBy"`
	Mode      Mode           `json:"mode"`
	OnFailure FailureMode    `json:"onFailure"`
}

// RateLimitKey is a part of what is counted separately.
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

// Headers says which headers answers carry.
type Headers struct {
	Preset string        `json:"preset"`
	Set    []HeaderField `json:"set,omitempty"`
	Remove []string      `json:"remove,omitempty"`
}

// HeaderField is a header's name and value.
type HeaderField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// CORS says which pages of other origins may call the app.
type CORS struct {
	AllowOrigins     []string `json:"allowOrigins"`
	AllowMethods     []string `json:"allowMethods,omitempty"`
	AllowHeaders     []string `json:"allowHeaders,omitempty"`
	ExposeHeaders    []string `json:"exposeHeaders,omitempty"`
	AllowCredentials bool     `json:"allowCredentials,omitempty"`
	MaxAge           Duration `json:"maxAge,omitempty"`
}

// Compression says which answers are compressed. MinSize is in bytes; no Types means the usual ones.
type Compression struct {
	MinSize int      `json:"minSize"`
	Types   []string `json:"types,omitempty"`
}

// SidecarOptions are the class's settings that a running sidecar can take.
type SidecarOptions struct {
	TrustedProxies []string `json:"trustedProxies,omitempty"`
	AccessLog      string   `json:"accessLog"`
	LogLevel       string   `json:"logLevel"`
	DrainTimeout   Duration `json:"drainTimeout"`
}

// Duration is a time.Duration, written as Go writes it ("30s").
type Duration time.Duration

// Std returns d as a time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// MarshalText writes the duration in Go's form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads a duration in Go's form; a negative one is an error.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration", b)
	}
	*d = Duration(v)
	return nil
}
