package compiled

import (
	"errors"
	"fmt"
	"time"
)

// OwnProvider is the provider name of the tokens that the sidecar itself issues, in logs, metrics and identities.
const OwnProvider = "postern"

// Tokens configures how the sidecar issues tokens.
type Tokens struct {
	Issuer    string   `json:"issuer"`
	Audiences []string `json:"audiences"`
	// ClientID is the claim client_id, which RFC 9068 requires.
	ClientID       string   `json:"clientID"`
	Algorithm      string   `json:"algorithm"`
	AccessLifetime Duration `json:"accessLifetime"`
	RefreshGrace   Duration `json:"refreshGrace"`
	Claims         []string `json:"claims,omitempty"`
	// FieldEncoding is the encoding of Postern-Subject and Postern-Claims, and of text in headers of ClaimsToHeaders: UTF8, Latin1 or
	// Percent. Empty is UTF8.
	FieldEncoding string `json:"fieldEncoding,omitempty"`
	// Delivery is Body or Cookie. SameSite is Lax or Strict.
	Delivery       string   `json:"delivery"`
	SameSite       string   `json:"sameSite"`
	TrustedOrigins []string `json:"trustedOrigins,omitempty"`
	// Renewal is Automatic or Endpoint; empty is Endpoint. It has an effect with delivery Cookie only.
	Renewal    string     `json:"renewal,omitempty"`
	SigningKey SigningKey `json:"signingKey"`
	// RotationInterval is 0 if only the key's owner rotates the key.
	RotationInterval Duration `json:"rotationInterval,omitempty"`
	RotationOverlap  Duration `json:"rotationOverlap"`
	// Login are the app's login routes. The JSON name is the one that older sidecars read.
	Login  []Match  `json:"exchange,omitempty"`
	Prefix string   `json:"prefix"`
	Leeway Duration `json:"leeway"`
	// ClearSiteData is None, Cache, CacheAndStorage or All; empty is None.
	ClearSiteData string `json:"clearSiteData,omitempty"`
	// LogoutRedirect is a path of the same host, or empty.
	LogoutRedirect  string          `json:"logoutRedirect,omitempty"`
	ClaimsToHeaders []ClaimToHeader `json:"claimsToHeaders,omitempty"`
	ForwardToken    bool            `json:"forwardToken,omitempty"`
}

// SigningKey says where the key is: in Vault's Transit engine, or in a secret.
type SigningKey struct {
	Transit *TransitKey `json:"transit,omitempty"`
	Secret  *SecretRef  `json:"secret,omitempty"`
}

// TransitKey is a key of Vault's Transit engine.
type TransitKey struct {
	Mount string `json:"mount"`
	Key   string `json:"key"`
}

// BackChannelLogout configures which logout tokens of a provider are accepted.
type BackChannelLogout struct {
	ClientIDs []string `json:"clientIDs"`
	AnyType   bool     `json:"anyType,omitempty"`
}

// Sessions are the rules for sessions.
type Sessions struct {
	IdleTimeout     Duration `json:"idleTimeout"`
	AbsoluteTimeout Duration `json:"absoluteTimeout"`
	// MaxPerSubject is 0 if the policy sets no limit.
	MaxPerSubject int    `json:"maxPerSubject,omitempty"`
	WhenFull      string `json:"whenFull"`
	// WhenMemoryFull is EvictIdlest or Reject; empty is EvictIdlest.
	WhenMemoryFull string `json:"whenMemoryFull,omitempty"`
	Bind           string `json:"bind"`
	// SubjectFrom is empty if there are no external sessions.
	SubjectFrom string      `json:"subjectFrom,omitempty"`
	OnFailure   FailureMode `json:"onFailure"`
	Mode        Mode        `json:"mode"`
}

// Revocation configures how the sidecar follows revocations in the shared state.
type Revocation struct {
	MaxStaleness Duration    `json:"maxStaleness"`
	OnFailure    FailureMode `json:"onFailure"`
	Mode         Mode        `json:"mode"`
}

// Kinds of RevokedTokens that Validate accepts.
const (
	RevokedToken   = "Token"
	RevokedSession = "Session"
	RevokedSubject = "Subject"
	RevokedKey     = "Key"
)

// MaxRevokedTokens bounds Policy.RevokedTokens.
const MaxRevokedTokens = 1000

// RevokedTokens are the tokens of one issuer that a TokenRevocation names.
type RevokedTokens struct {
	// Name is that of the TokenRevocation.
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Issuer string `json:"issuer"`
	// Value is the jti, sid, sub or kid, depending on Kind.
	Value string `json:"value"`
	// Before is set only for a Subject: tokens that were issued earlier are revoked. In seconds since 1970.
	Before int64 `json:"before,omitempty"`
	// Expires is when the last of the tokens expires, in seconds since 1970; 0 for a Key, which stays revoked.
	Expires int64 `json:"expires,omitempty"`
}

// Passwords configures how the API for the app hashes passwords. Memory is in KiB.
type Passwords struct {
	Algorithm   string `json:"algorithm"`
	Memory      int    `json:"memory,omitempty"`
	Passes      int    `json:"passes,omitempty"`
	Parallelism int    `json:"parallelism,omitempty"`
	Cost        int    `json:"cost,omitempty"`
	// LongBcrypt is Refuse or Truncate; empty is Refuse.
	LongBcrypt string `json:"longBcrypt,omitempty"`
}

func (t *Tokens) validate() error {
	if t.Issuer == "" || len(t.Audiences) == 0 || t.ClientID == "" || t.Prefix == "" {
		return errors.New("issuer, audiences, clientID and prefix are required")
	}
	if t.AccessLifetime <= 0 || t.AccessLifetime.Std()%time.Second != 0 || t.RotationOverlap <= 0 {
		return errors.New("accessLifetime, in whole seconds, and rotationOverlap are required")
	}
	if (t.SigningKey.Transit == nil) == (t.SigningKey.Secret == nil) {
		return errors.New("signingKey: exactly one of transit and secret is required")
	}
	if k := t.SigningKey.Transit; k != nil && (k.Mount == "" || k.Key == "") {
		return errors.New("signingKey.transit: mount and key are required")
	}
	return errors.Join(
		oneOf("algorithm", t.Algorithm, "ES256", "RS256", "PS256", "EdDSA", "HS256"),
		oneOf("delivery", t.Delivery, "Body", "Cookie"), oneOf("sameSite", t.SameSite, "Lax", "Strict"),
		oneOf("renewal", t.Renewal, "", "Automatic", "Endpoint"),
		oneOf("clearSiteData", t.ClearSiteData, "", "None", "Cache", "CacheAndStorage", "All"))
}

func (s *Sessions) validate() error {
	if s.IdleTimeout <= 0 || s.AbsoluteTimeout <= 0 || s.MaxPerSubject < 0 {
		return errors.New("idleTimeout and absoluteTimeout are required, and maxPerSubject must not be negative")
	}
	return errors.Join(
		oneOf("whenFull", s.WhenFull, "EvictOldest", "Reject"), oneOf("whenMemoryFull", s.WhenMemoryFull, "", "EvictIdlest", "Reject"), oneOf("bind", s.Bind, "None", "UserAgent", "Address"),
		oneOf("subjectFrom", s.SubjectFrom, "", "sid", "sub"), oneOf("onFailure", s.OnFailure, Deny, Allow), oneOf("mode", s.Mode, Enforce, Shadow))
}

func (r *Revocation) validate() error {
	if r.MaxStaleness <= 0 {
		return errors.New("maxStaleness is required")
	}
	return errors.Join(oneOf("onFailure", r.OnFailure, Deny, Allow), oneOf("mode", r.Mode, Enforce, Shadow))
}

func (p *Passwords) validate() error {
	switch {
	case p.Algorithm == "Argon2id" && (p.Memory <= 0 || p.Passes <= 0 || p.Parallelism <= 0):
		return errors.New("memory, passes and parallelism are required")
	case p.Algorithm == "Bcrypt" && p.Cost <= 0:
		return errors.New("cost is required")
	}
	return errors.Join(oneOf("algorithm", p.Algorithm, "Argon2id", "Bcrypt"), oneOf("longBcrypt", p.LongBcrypt, "", "Refuse", "Truncate"))
}

func (r RevokedTokens) validate() error {
	switch {
	case r.Name == "" || r.Issuer == "" || r.Value == "":
		return errors.New("name, issuer and value are required")
	case (r.Kind == RevokedSubject) != (r.Before > 0):
		return fmt.Errorf("before is required for kind %s, and not allowed otherwise", RevokedSubject)
	case (r.Kind == RevokedKey) != (r.Expires == 0):
		return fmt.Errorf("expires is required, except for kind %s", RevokedKey)
	}
	return oneOf("kind", r.Kind, RevokedToken, RevokedSession, RevokedSubject, RevokedKey)
}

// ExpiresAt returns when the entry can be removed; the zero time if never.
func (r RevokedTokens) ExpiresAt() time.Time {
	if r.Expires == 0 {
		return time.Time{}
	}
	return time.Unix(r.Expires, 0)
}

// BeforeTime returns Before as a time; the zero time if it is not set.
func (r RevokedTokens) BeforeTime() time.Time {
	if r.Before == 0 {
		return time.Time{}
	}
	return time.Unix(r.Before, 0)
}

// validateTokens validates the sections about tokens, sessions, revocation and passwords.
func (p *Policy) validateTokens() error {
	var errs []error
	if p.Tokens != nil {
		errs = append(errs, wrap(p.Tokens.validate(), "tokens"))
		if p.Sessions == nil || p.Revocation == nil {
			errs = append(errs, errors.New("tokens: the sections sessions and revocation are required"))
		}
	}
	if p.Sessions != nil {
		errs = append(errs, wrap(p.Sessions.validate(), "sessions"))
	}
	if p.Revocation != nil {
		errs = append(errs, wrap(p.Revocation.validate(), "revocation"))
	}
	if len(p.RevokedTokens) > MaxRevokedTokens {
		errs = append(errs, fmt.Errorf("revokedTokens: more than %d", MaxRevokedTokens))
	}
	for i, r := range p.RevokedTokens {
		errs = append(errs, wrap(r.validate(), "revokedTokens[%d]", i))
	}
	if p.Passwords != nil {
		errs = append(errs, wrap(p.Passwords.validate(), "passwords"))
	}
	if p.PasswordPolicy != nil {
		errs = append(errs, wrap(p.PasswordPolicy.validate(), "passwordPolicy"))
	}
	for i := range p.Providers {
		if b := p.Providers[i].BackChannelLogout; b != nil && (len(b.ClientIDs) == 0 || p.Revocation == nil) {
			errs = append(errs, fmt.Errorf("providers[%d].backChannelLogout: clientIDs and the section revocation are required", i))
		}
	}
	return errors.Join(errs...)
}
