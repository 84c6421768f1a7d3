package authn

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/api/check/keyset"
	"github.com/posterndev/postern/sidecar/keys/jwks"
	"github.com/posterndev/postern/sidecar/keys/jwt"
)

// maxLeeway bounds how wrong clocks may be.
const maxLeeway = time.Hour

// Keys finds the keys of one issuer; jwks.Source is one.
type Keys interface {
	jwt.Keys
	// Holds reports whether key is still in force.
	Holds(key *jwks.Key) bool
}

// Provider is an issuer whose tokens are accepted, and what they must say.
type Provider struct {
	Name string
	// Issuer is compared with "iss" byte by byte.
	Issuer string
	// Audiences: "aud" must hold one of them. Empty accepts a token for anybody, which is safe only where the issuer serves
	// this app alone (RFC 8725 §3.9).
	Audiences []string
	// Algorithms are those that keyset.CheckAlgorithms accepts.
	Algorithms []string
	Keys       Keys
	// From is where the token is looked for; empty for Location{Header: "Authorization", Prefix: "Bearer "}.
	From []Location
	// Leeway is granted to exp, nbf and iat, up to an hour.
	Leeway time.Duration
	// MaxLifetime bounds exp−iat and makes iat mandatory; zero for no bound.
	MaxLifetime time.Duration
	// TokenTypes are the accepted media types in "typ", without "application/" and in any case; a token without typ counts as
	// JWT. Empty for JWT and at+jwt; only at+jwt accepts access tokens by RFC 9068 alone.
	TokenTypes     []string
	RequiredClaims []RequiredClaim
	// ClaimsToHeaders have different headers.
	ClaimsToHeaders []ClaimHeader
	// ForwardToken leaves a verified token in the request.
	ForwardToken bool
}

// RequiredClaim is a claim that a token must have, by name or dotted path.
type RequiredClaim struct {
	Claim string
	// Values: the claim, or one element where it is an array, must be one of them; numbers and booleans as JSON writes them.
	// Empty for any value but null.
	Values []string
}

// ClaimHeader hands a claim to the app.
type ClaimHeader struct {
	Claim, Header string
}

// provider is a Provider with its defaults, checked. The rules are what its tokens must say to be verified.
type provider struct {
	Provider
	rules jwt.Issuer
}

func newProvider(p Provider) (*provider, error) {
	if p.Name == "" || p.Issuer == "" {
		return nil, errors.New("name or issuer is empty")
	}
	if p.Keys == nil {
		return nil, errors.New("it has no keys")
	}
	if err := keyset.CheckAlgorithms(p.Algorithms); err != nil {
		return nil, err
	}
	if p.Leeway < 0 || p.Leeway > maxLeeway {
		return nil, fmt.Errorf("the leeway is not between 0 and %s", maxLeeway)
	}
	if p.MaxLifetime < 0 {
		return nil, errors.New("the maximum lifetime is negative")
	}
	if slices.Contains(p.Audiences, "") {
		return nil, errors.New("an audience is empty")
	}
	if len(p.From) == 0 {
		p.From = []Location{{Header: "Authorization", Prefix: "Bearer "}}
	}
	for _, l := range p.From {
		if err := l.check(); err != nil {
			return nil, err
		}
	}
	if err := checkClaims(p); err != nil {
		return nil, err
	}
	types := p.TokenTypes
	if len(types) == 0 {
		types = []string{"JWT", "at+jwt"}
	}
	compiled := &provider{Provider: p, rules: jwt.Issuer{
		Issuer: p.Issuer, Audiences: p.Audiences, Algorithms: p.Algorithms, Keys: p.Keys, Leeway: p.Leeway, MaxLifetime: p.MaxLifetime,
	}}
	for _, t := range types {
		if t == "" {
			return nil, errors.New("a token type is empty")
		}
		compiled.rules.Types = append(compiled.rules.Types, jwt.MediaType(t))
	}
	return compiled, nil
}

func checkClaims(p Provider) error {
	for _, c := range p.RequiredClaims {
		if err := check.Claim(c.Claim); err != nil {
			return fmt.Errorf("required claims: %w", err)
		}
	}
	seen := map[string]bool{}
	for _, c := range p.ClaimsToHeaders {
		name := http.CanonicalHeaderKey(c.Header)
		if err := check.Claim(c.Claim); err != nil {
			return fmt.Errorf("header %q: %w", c.Header, err)
		}
		if err := check.IdentityFieldName(c.Header); err != nil {
			return fmt.Errorf("claims to headers: %w", err)
		}
		if seen[name] {
			return fmt.Errorf("header %s carries two claims", name)
		}
		seen[name] = true
	}
	return nil
}

// IdentityHeaders returns the canonical names of the headers that only a verified token may set, sorted: the chain removes
// them from every request, whether or not authentication runs for it.
func IdentityHeaders(providers []Provider) []string {
	var names []string
	for _, p := range providers {
		for _, c := range p.ClaimsToHeaders {
			names = append(names, http.CanonicalHeaderKey(c.Header))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
