// Package token logs users in and out: an Issuer signs access tokens (RFC 9068), a LoginService begins and refreshes logins, a
// SessionManager lists and ends sessions, and a Revoker revokes tokens of any accepted issuer.
//
// It has no HTTP handlers. Its HTTP fronts are the packages transport, loginstage, endpoints and appapi.
package token

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/keys/signing"
)

// Signers returns the current signing key; *signing.Ring implements it.
type Signers interface {
	Current() (signing.Signer, error)
}

// IssuerConfig configures an Issuer.
type IssuerConfig struct {
	// Issuer is the claim iss, an https URL without query and fragment (RFC 8414 §2).
	Issuer string
	// Audiences is the claim aud; at least one.
	Audiences []string
	// ClientID is the claim client_id, which RFC 9068 §2.2 requires: the policy stands for the one client that users have.
	ClientID string
	// Lifetime is the maximum of exp−iat, in whole seconds.
	Lifetime time.Duration
	// Claims are the names of the claims that are copied from a login.
	Claims []string
	Keys   Signers
	// Now defaults to time.Now.
	Now func() time.Time
}

// Issuer signs access tokens. It is safe for concurrent use.
type Issuer struct {
	cfg    IssuerConfig
	copied map[string]bool
}

// maxToken is the maximum length of an access token in bytes. As a cookie, with name and attributes, it must fit in the 4096
// bytes that browsers store (RFC 6265 §6.1).
const maxToken = 3800

// maxLifetime is the maximum lifetime of an access token. A revocation is kept for as long as the tokens that it revokes live.
const maxLifetime = 24 * time.Hour

// ErrTooLarge reports that the claims make a token that clients cannot store or send.
var ErrTooLarge = fmt.Errorf("issuing token: it would be longer than %d bytes; copy fewer claims", maxToken)

// NewIssuer returns an Issuer. Its error says which setting to change.
func NewIssuer(c IssuerConfig) (*Issuer, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if err := check.TokenIssuer(c.Issuer); err != nil {
		return nil, fmt.Errorf("building issuer %q: %w", c.Issuer, err)
	}
	switch {
	case c.Keys == nil:
		return nil, errors.New("building issuer: Keys is required")
	case len(c.Audiences) == 0 || c.Audiences[0] == "" || c.ClientID == "":
		return nil, errors.New("building issuer: audiences and the client id are required")
	case c.Lifetime < time.Second || c.Lifetime > maxLifetime || c.Lifetime%time.Second != 0:
		return nil, fmt.Errorf("building issuer: the lifetime of access tokens must be between 1s and %s, in whole seconds", maxLifetime)
	}
	i := &Issuer{cfg: c, copied: map[string]bool{}}
	for _, name := range c.Claims {
		if err := check.CopiedClaim(name); err != nil {
			return nil, fmt.Errorf("building issuer: %w", err)
		}
		i.copied[name] = true
	}
	return i, nil
}

// Grant is the content of an access token.
type Grant struct {
	// Subject is the claim sub, and Session the claim sid.
	Subject, Session string
	// Claims is a JSON object or nil. The members that the policy names are copied.
	Claims json.RawMessage
	// NotAfter is the end of the session. The token expires at that time at the latest.
	NotAfter time.Time
	// RoundUp rounds the time of issue up to a whole second, and not down.
	RoundUp bool
}

// Access is an access token.
type Access struct {
	Token string
	// ID is its jti, and KeyID the kid of the key that signed it.
	ID, KeyID       string
	Issued, Expires time.Time
}

// Issue signs a token. It returns ErrTooLarge, signing.ErrNoKey, or the signer's error.
func (i *Issuer) Issue(ctx context.Context, g Grant) (Access, error) {
	signer, err := i.cfg.Keys.Current()
	if err != nil {
		return Access{}, fmt.Errorf("issuing token: %w", err)
	}
	a := Access{ID: newTokenID(), KeyID: signer.KeyID(), Issued: i.cfg.Now().Truncate(time.Second)}
	if g.RoundUp {
		a.Issued = a.Issued.Add(time.Second)
	}
	a.Expires = a.Issued.Add(i.cfg.Lifetime)
	if end := g.NotAfter.Truncate(time.Second); end.Before(a.Expires) {
		a.Expires = end
	}
	if !a.Expires.After(a.Issued) {
		return Access{}, errors.New("issuing token: the session has ended")
	}
	claims, err := i.claims(g, a)
	if err != nil {
		return Access{}, err
	}
	input, err := signingInput(signer, claims)
	if err != nil {
		return Access{}, err
	}
	if len(input) > maxToken {
		return Access{}, ErrTooLarge
	}
	sig, err := signer.Sign(ctx, []byte(input))
	if err != nil {
		return Access{}, fmt.Errorf("issuing token: %w", err)
	}
	a.Token = input + "." + base64.RawURLEncoding.EncodeToString(sig)
	if len(a.Token) > maxToken {
		return Access{}, ErrTooLarge
	}
	return a, nil
}

// claims returns the copied claims and those of RFC 9068 §2.2. A copied claim cannot replace one of the latter.
func (i *Issuer) claims(g Grant, a Access) (map[string]any, error) {
	copied, err := i.Select(g.Claims)
	if err != nil {
		return nil, err
	}
	claims := make(map[string]any, len(copied)+8)
	for name, value := range copied {
		claims[name] = value
	}
	maps.Copy(claims, map[string]any{
		"iss": i.cfg.Issuer, "sub": g.Subject, "aud": audience(i.cfg.Audiences), "client_id": i.cfg.ClientID,
		"iat": a.Issued.Unix(), "exp": a.Expires.Unix(), "jti": a.ID, "sid": g.Session,
	})
	return claims, nil
}

// audience returns a string for a single audience, which most libraries support best (RFC 7519 §4.1.3), and an array otherwise.
func audience(audiences []string) any {
	if len(audiences) == 1 {
		return audiences[0]
	}
	return audiences
}

// signingInput returns the token up to its second dot.
func signingInput(signer signing.Signer, claims map[string]any) (string, error) {
	header, err := json.Marshal(map[string]string{"alg": string(signer.Algorithm()), "kid": signer.KeyID(), "typ": "at+jwt"})
	if err != nil {
		return "", fmt.Errorf("encoding token header: %w", err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encoding token claims: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(payload), nil
}

// newTokenID returns 128 random bits.
func newTokenID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, crypto/rand.Read
	return base64.RawURLEncoding.EncodeToString(b[:])
}
