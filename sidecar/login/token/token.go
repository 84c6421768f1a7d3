// Package token logs people in and out: it issues access tokens (RFC 9068) and keeps their sessions, turns an app's answer
// into a login (LoginStage), and serves refresh, logout and the lists of sessions to clients (Endpoints).
//
// An app that has checked a password answers 2xx on a route of the policy's tokens.login with
//
//	Postern-Subject: user-42
//	Postern-Claims: {"roles":["admin"]}     (optional; a JSON object of up to 4 KiB)
//
// and the client gets tokens. On every other route and status the fields mean nothing; they never reach a client, because
// the upstream stage takes them out of every answer, and never come from one, because the strip stage takes them out of
// every request.
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

// Signers gives the key that signs now; *signing.Ring does.
type Signers interface {
	Current() (signing.Signer, error)
}

// IssuerConfig is what our access tokens say.
type IssuerConfig struct {
	// Issuer is the claim iss, an https URL without query and fragment (RFC 8414 §2).
	Issuer string
	// Audiences is the claim aud; at least one.
	Audiences []string
	// ClientID is the claim client_id, which RFC 9068 §2.2 requires: the policy stands for the one client that people use.
	ClientID string
	// Lifetime is exp−iat, at most; whole seconds.
	Lifetime time.Duration
	// Claims are the names of further claims that are copied from a login.
	Claims []string
	Keys   Signers
	// Now is time.Now where nil.
	Now func() time.Time
}

// Issuer signs access tokens. It is safe for concurrent use.
type Issuer struct {
	cfg    IssuerConfig
	copied map[string]bool
}

// maxToken is the longest access token in bytes: as a cookie it must stay within the 4096 that browsers keep, with its
// name and attributes (RFC 6265 §6.1).
const maxToken = 3800

// maxLifetime is the longest access lifetime. A revocation is kept as long as what it revokes.
const maxLifetime = 24 * time.Hour

// ErrTooLarge: the claims make a token that clients cannot keep or send.
var ErrTooLarge = fmt.Errorf("issuing token: it would be longer than %d bytes; copy fewer claims", maxToken)

// NewIssuer returns an Issuer, or an error that says which setting to change.
func NewIssuer(c IssuerConfig) (*Issuer, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if err := check.TokenIssuer(c.Issuer); err != nil {
		return nil, fmt.Errorf("building issuer %q: %w", c.Issuer, err)
	}
	switch {
	case c.Keys == nil:
		return nil, errors.New("building issuer: it has no keys")
	case len(c.Audiences) == 0 || c.Audiences[0] == "" || c.ClientID == "":
		return nil, errors.New("building issuer: audiences or the client id are empty")
	case c.Lifetime < time.Second || c.Lifetime > maxLifetime || c.Lifetime%time.Second != 0:
		return nil, fmt.Errorf("building issuer: the lifetime of access tokens is not between 1s and %s in whole seconds", maxLifetime)
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

// Grant is what an access token is to say.
type Grant struct {
	// Subject is the claim sub, and Session the claim sid.
	Subject, Session string
	// Claims is a JSON object, or nil; of its members those that the policy names are copied.
	Claims json.RawMessage
	// NotAfter is the session's end, which no token outlives.
	NotAfter time.Time
}

// Access is an access token.
type Access struct {
	Token string
	// ID is its jti.
	ID              string
	Issued, Expires time.Time
}

// Issue signs a token. It returns ErrTooLarge, signing.ErrNoKey, or the signer's error.
func (i *Issuer) Issue(ctx context.Context, g Grant) (Access, error) {
	signer, err := i.cfg.Keys.Current()
	if err != nil {
		return Access{}, fmt.Errorf("issuing token: %w", err)
	}
	a := Access{ID: newTokenID(), Issued: i.cfg.Now().Truncate(time.Second)}
	a.Expires = a.Issued.Add(i.cfg.Lifetime)
	if end := g.NotAfter.Truncate(time.Second); end.Before(a.Expires) {
		a.Expires = end
	}
	if !a.Expires.After(a.Issued) {
		return Access{}, errors.New("issuing token: the session is over")
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

// claims are the copied ones, and those of RFC 9068 §2.2, which none can replace.
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

// audience is a string where there is one, as most libraries like it best (RFC 7519 §4.1.3).
func audience(audiences []string) any {
	if len(audiences) == 1 {
		return audiences[0]
	}
	return audiences
}

// signingInput is the token up to its second dot.
func signingInput(signer signing.Signer, claims map[string]any) (string, error) {
	header, err := json.Marshal(map[string]string{"alg": string(signer.Algorithm()), "kid": signer.KeyID(), "typ": "at+jwt"})
	if err != nil {
		return "", fmt.Errorf("encoding token's header: %w", err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encoding token's claims: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(payload), nil
}

// newTokenID returns 128 random bits.
func newTokenID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, crypto/rand.Read
	return base64.RawURLEncoding.EncodeToString(b[:])
}
