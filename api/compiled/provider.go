package compiled

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

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
	// BackChannelLogout is nil if the provider may not log users out.
	BackChannelLogout *BackChannelLogout `json:"backChannelLogout,omitempty"`
	// ProofOfPossession is nil if what tokens are bound to is checked as far as that is possible.
	ProofOfPossession *ProofOfPossession `json:"proofOfPossession,omitempty"`
	// Legacy is nil unless the provider stands for code that Postern replaces.
	Legacy *Legacy `json:"legacy,omitempty"`
}

// Legacy are the rules for tokens of an app's former code.
type Legacy struct {
	// Until is when the last of the tokens is refused.
	Until time.Time `json:"until"`
	// Unnamed says that the tokens have no iss. Issuer then stands for them in the sidecar, and no token may name it.
	Unnamed bool `json:"unnamed,omitempty"`
	// SubjectClaim identifies the user.
	SubjectClaim string `json:"subjectClaim"`
	// ShortSecret accepts a secret that is shorter than its algorithm requires.
	ShortSecret bool `json:"shortSecret,omitempty"`
}

// LegacyIssuer returns the name of the issuer of the tokens without iss that a provider accepts. Revocations use it.
func LegacyIssuer(provider string) string { return "urn:postern:legacy:" + provider }

// AssumedTokenLifetime is the assumed maximum lifetime of tokens if the provider has no MaxLifetime, and AssumedLegacyLifetime that of
// tokens of an app's former code, which often live for weeks.
const (
	AssumedTokenLifetime  = 24 * time.Hour
	AssumedLegacyLifetime = 90 * 24 * time.Hour
)

// TokenLifetime returns how long a revocation of the provider's tokens must be remembered.
func (p *Provider) TokenLifetime() time.Duration {
	if p.Legacy != nil {
		return cmp.Or(p.MaxLifetime.Std(), AssumedLegacyLifetime)
	}
	return cmp.Or(p.MaxLifetime.Std(), AssumedTokenLifetime)
}

// Keys is the source of a provider's keys: exactly one of URI, Inline and Secret.
type Keys struct {
	URI             string          `json:"uri,omitempty"`
	RefreshInterval Duration        `json:"refreshInterval,omitempty"`
	MaxStale        Duration        `json:"maxStale,omitempty"`
	CABundle        string          `json:"caBundle,omitempty"`
	Bearer          *Bearer         `json:"bearer,omitempty"`
	InsecureHTTP    bool            `json:"insecureHTTP,omitempty"`
	Inline          json.RawMessage `json:"inline,omitempty"`
	Secret          *SecretRef      `json:"secret,omitempty"`
}

// Bearer is the token that a request for a key set carries: exactly one of ServiceAccount and Secret.
type Bearer struct {
	ServiceAccount *ServiceAccountToken `json:"serviceAccount,omitempty"`
	Secret         *SecretRef           `json:"secret,omitempty"`
}

// ServiceAccountToken is a projected token of the pod; an empty audience is that of the Kubernetes API.
type ServiceAccountToken struct {
	Audience string `json:"audience,omitempty"`
}

// KeysAudiences returns the audiences of the pod's tokens for key sets, sorted, without duplicates.
func (p *Policy) KeysAudiences() []string {
	var audiences []string
	for i := range p.Providers {
		if b := p.Providers[i].Keys.Bearer; b != nil && b.ServiceAccount != nil {
			audiences = append(audiences, b.ServiceAccount.Audience)
		}
	}
	slices.Sort(audiences)
	return slices.Compact(audiences)
}

// TokenLocation is a header (with the prefix before the token) or a cookie.
type TokenLocation struct {
	Header string `json:"header,omitempty"`
	Prefix string `json:"prefix,omitempty"`
	Cookie string `json:"cookie,omitempty"`
}

// IdentityHeaders returns the headers that only a verified token may set. The sidecar removes them from every request.
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
	if p.APIKeys != nil {
		for _, h := range p.APIKeys.ClaimsToHeaders {
			names = append(names, h.Header)
		}
	}
	if p.TLS != nil && p.TLS.ClientCertificates != nil {
		for _, h := range p.TLS.ClientCertificates.ClaimsToHeaders {
			names = append(names, h.Header)
		}
	}
	return names
}

// RequiredClaim must be in the token. If there are Values, the claim must have one of them. At most one of Values and Members is set.
type RequiredClaim struct {
	Claim   string        `json:"claim"`
	Values  []string      `json:"values,omitempty"`
	Members *ClaimMembers `json:"members,omitempty"`
}

// ClaimMembers are members that a claim must have: all of All, and one of Any unless that is empty. They are the elements of an array,
// or the words of a string.
type ClaimMembers struct {
	All []string `json:"all,omitempty"`
	Any []string `json:"any,omitempty"`
}

// ClaimToHeader copies a claim into a request header.
type ClaimToHeader struct {
	Claim  string `json:"claim"`
	Header string `json:"header"`
	// Format is Auto if it is empty.
	Format string `json:"format,omitempty"`
}
