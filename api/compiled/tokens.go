package compiled

import (
	"errors"
	"fmt"
	"time"
)

// OwnProvider is the name of the policy's own tokens among its providers, in logs, metrics and identities.
const OwnProvider = "postern"

// Tokens is how the sidecar issues tokens.
type Tokens struct {
	Issuer    string   `json:"issuer"`
	Audiences []string `json:"audiences"`
	// ClientID is the claim client_id, which RFC 9068 requires.
	ClientID       string   `json:"clientID"`
	Algorithm      string   `json:"algorithm"`
	AccessLifetime Duration `json:"accessLifetime"`
	RefreshGrace   Duration `json:"refreshGrace"`
	Claims         []string `json:"claims,omitempty"`
	// Delivery is Body or Cookie, SameSite Lax or Strict.
	Delivery       string     `json:"delivery"`
	SameSite       string     `json:"sameSite"`
	TrustedOrigins []string   `json:"trustedOrigins,omitempty"`
	SigningKey     SigningKey `json:"signingKey"`
	// RotationInterval is 0 where only the key's owner rotates it.
	RotationInterval Duration `json:"rotationInterval,omitempty"`
	RotationOverlap  Duration `json:"rotationOverlap"`
	// Login are the routes on which the app logs people in. Its wire name is the one that older sidecars read.
	Login           []Match         `json:"exchange,omitempty"`
	Prefix          string          `json:"prefix"`
	Leeway          Duration        `json:"leeway"`
	ClaimsToHeaders []ClaimToHeader `json:"claimsToHeaders,omitempty"`
	ForwardToken    bool            `json:"forwardToken,omitempty"`
}

// SigningKey is where the key lies: in Transit, or in a secret.
type SigningKey struct {
	Transit *TransitKey `json:"transit,omitempty"`
	Secret  *SecretRef  `json:"secret,omitempty"`
}

// TransitKey is a key of Vault's Transit engine.
type TransitKey struct {
	Mount string `json:"mount"`
	Key   string `json:"key"`
}

// BackChannelLogout is how a provider logs people out.
type BackChannelLogout struct {
	ClientIDs []string `json:"clientIDs"`
	AnyType   bool     `json:"anyType,omitempty"`
}

// Sessions are the rules for sessions.
type Sessions struct {
	IdleTimeout     Duration `json:"idleTimeout"`
	AbsoluteTimeout Duration `json:"absoluteTimeout"`
	// MaxPerSubject is 0 where the policy names no cap.
	MaxPerSubject int    `json:"maxPerSubject,omitempty"`
	WhenFull      string `json:"whenFull"`
	Bind          string `json:"bind"`
	// SubjectFrom is empty where no sessions of external providers are kept.
	SubjectFrom string      `json:"subjectFrom,omitempty"`
	OnFailure   FailureMode `json:"onFailure"`
	Mode        Mode        `json:"mode"`
}

// Revocation is how what is revoked is followed.
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

// RevokedTokens is what a TokenRevocation names, for one issuer.
type RevokedTokens struct {
	// Name is the object's.
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Issuer string `json:"issuer"`
	// Value is the jti, sid, sub or kid.
	Value string `json:"value"`
	// Before is for a Subject alone: what was issued earlier is revoked. In seconds since 1970.
	Before int64 `json:"before,omitempty"`
	// Expires is when the last of the tokens has expired, in seconds since 1970; 0 for a Key, which stays revoked.
	Expires int64 `json:"expires,omitempty"`
}

// Passwords is how the loopback API hashes. Memory is in KiB.
type Passwords struct {
	Algorithm   string `json:"algorithm"`
	Memory      int    `json:"memory,omitempty"`
	Passes      int    `json:"passes,omitempty"`
	Parallelism int    `json:"parallelism,omitempty"`
	Cost        int    `json:"cost,omitempty"`
}

func (t *Tokens) validate() error {
	if t.Issuer == "" || len(t.Audiences) == 0 || t.ClientID == "" || t.Prefix == "" {
		return errors.New("issuer, audiences, clientID and prefix are needed")
	}
	if t.AccessLifetime <= 0 || t.AccessLifetime.Std()%time.Second != 0 || t.RotationOverlap <= 0 {
		return errors.New("accessLifetime, in whole seconds, and rotationOverlap are needed")
	}
	if (t.SigningKey.Transit == nil) == (t.SigningKey.Secret == nil) {
		return errors.New("signingKey has exactly one of transit and secret")
	}
	if k := t.SigningKey.Transit; k != nil && (k.Mount == "" || k.Key == "") {
		return errors.New("signingKey.transit: mount and key are needed")
	}
	return errors.Join(
		oneOf("algorithm", t.Algorithm, "ES256", "RS256", "PS256", "EdDSA", "HS256"),
		oneOf("delivery", t.Delivery, "Body", "Cookie"), oneOf("sameSite", t.SameSite, "Lax", "Strict"))
}

func (s *Sessions) validate() error {
	if s.IdleTimeout <= 0 || s.AbsoluteTimeout <= 0 || s.MaxPerSubject < 0 {
		return errors.New("idleTimeout and absoluteTimeout are needed, and maxPerSubject is not negative")
	}
	return errors.Join(
		oneOf("whenFull", s.WhenFull, "EvictOldest", "Reject"), oneOf("bind", s.Bind, "None", "UserAgent", "Address"),
		oneOf("subjectFrom", s.SubjectFrom, "", "sid", "sub"), oneOf("onFailure", s.OnFailure, Deny, Allow), oneOf("mode", s.Mode, Enforce, Shadow))
}

func (r *Revocation) validate() error {
	if r.MaxStaleness <= 0 {
		return errors.New("maxStaleness is needed")
	}
	return errors.Join(oneOf("onFailure", r.OnFailure, Deny, Allow), oneOf("mode", r.Mode, Enforce, Shadow))
}

func (p *Passwords) validate() error {
	switch {
	case p.Algorithm == "Argon2id" && (p.Memory <= 0 || p.Passes <= 0 || p.Parallelism <= 0):
		return errors.New("memory, passes and parallelism are needed")
	case p.Algorithm == "Bcrypt" && p.Cost <= 0:
		return errors.New("cost is needed")
	}
	return oneOf("algorithm", p.Algorithm, "Argon2id", "Bcrypt")
}

func (r RevokedTokens) validate() error {
	switch {
	case r.Name == "" || r.Issuer == "" || r.Value == "":
		return errors.New("name, issuer and value are needed")
	case (r.Kind == RevokedSubject) != (r.Before > 0):
		return fmt.Errorf("before goes with kind %s", RevokedSubject)
	case (r.Kind == RevokedKey) != (r.Expires == 0):
		return fmt.Errorf("expires is needed, but for kind %s", RevokedKey)
	}
	return oneOf("kind", r.Kind, RevokedToken, RevokedSession, RevokedSubject, RevokedKey)
}

// ExpiresAt is when the entry may be forgotten; the zero time where it never may.
func (r RevokedTokens) ExpiresAt() time.Time {
	if r.Expires == 0 {
		return time.Time{}
	}
	return time.Unix(r.Expires, 0)
}

// BeforeTime is Before as a time; the zero time but for a Subject.
func (r RevokedTokens) BeforeTime() time.Time {
	if r.Before == 0 {
		return time.Time{}
	}
	return time.Unix(r.Before, 0)
}

// validateTokens checks what is about issuing, keeping and revoking.
func (p *Policy) validateTokens() error {
	var errs []error
	if p.Tokens != nil {
		errs = append(errs, wrap(p.Tokens.validate(), "tokens"))
		if p.Sessions == nil || p.Revocation == nil {
			errs = append(errs, errors.New("tokens need sessions and revocation"))
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
	for i := range p.Providers {
		if b := p.Providers[i].BackChannelLogout; b != nil && (len(b.ClientIDs) == 0 || p.Revocation == nil) {
			errs = append(errs, fmt.Errorf("providers[%d].backChannelLogout: clientIDs are needed, and revocation", i))
		}
	}
	return errors.Join(errs...)
}
