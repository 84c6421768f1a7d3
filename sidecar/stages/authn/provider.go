package authn

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/keys/jwks"
	"github.com/posterndev/postern/sidecar/keys/jwt"
)

// Keys finds the keys of one issuer; jwks.Source is one.
type Keys interface {
	jwt.Keys
	// Holds reports whether key is still active.
	Holds(key *jwks.Key) bool
}

// Provider is an issuer whose tokens are accepted, and the rules for its tokens.
type Provider struct {
	Name string
	// Issuer must equal the iss claim, byte by byte.
	Issuer string
	// Audiences: the aud claim must contain one of them. Empty accepts tokens for any audience, which is only safe if the
	// issuer serves no other app (RFC 8725 §3.9).
	Audiences []string
	// Algorithms are the accepted values of alg. See keyset.CheckAlgorithms.
	Algorithms []string
	Keys       Keys
	// From are the locations of tokens; empty means Location{Header: "Authorization", Prefix: "Bearer "}.
	From []Location
	// Leeway allows for clock differences in exp, nbf and iat; at most five minutes.
	Leeway time.Duration
	// MaxLifetime is the maximum of exp−iat, and makes iat mandatory; zero means no limit.
	MaxLifetime time.Duration
	// TokenTypes are the accepted media types in the typ header, without "application/" and ignoring case. A token without typ
	// has type JWT. Empty means JWT and at+jwt. With at+jwt alone, only access tokens of RFC 9068 are accepted.
	TokenTypes     []string
	RequiredClaims []RequiredClaim
	// ClaimsToHeaders must have different headers.
	ClaimsToHeaders []ClaimHeader
	// Encoding is the encoding of text beyond ASCII in the headers with the format Auto.
	Encoding Encoding
	// ForwardToken leaves a verified token in the request.
	ForwardToken bool
	// Legacy is nil unless the tokens are those of code that the sidecar replaces.
	Legacy *Legacy
	// Proof is nil if the tokens are accepted from every client that has them, whatever they say about its key.
	Proof *Proof
}

// Legacy are the rules for tokens of an app's former code.
type Legacy struct {
	// Until is when the last of the tokens is refused.
	Until time.Time
	// Unnamed says that the tokens have no iss. Issuer stands for them, and no token may name it.
	Unnamed bool
	// SubjectClaim is the claim whose text or number is the subject, by name or dotted path.
	SubjectClaim string
}

// RequiredClaim is a claim that a token must have, by name or dotted path.
type RequiredClaim struct {
	Claim string
	// Values: the claim, or one element if it is an array, must equal one of them; numbers and booleans as JSON writes them.
	// Empty means any value except null.
	Values []string
	// Members are members that the claim must have; nil for none. At most one of Values and Members is set.
	Members *identity.Members
}

// ClaimHeader carries a claim to the app in a request header.
type ClaimHeader struct {
	Claim, Header string
	// Format is the form of the header's value; empty means Auto.
	Format Format
}

// provider is a valid Provider with its defaults filled in. The rules verify its tokens.
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
	if err := p.validate(); err != nil {
		return nil, err
	}
	if len(p.From) == 0 {
		p.From = []Location{{Header: "Authorization", Prefix: "Bearer "}}
	}
	if err := p.Proof.validate(); err != nil {
		return nil, err
	}
	if p.Proof != nil && p.Proof.DPoP && !slices.ContainsFunc(p.From, func(l Location) bool { return l.isDPoP() }) {
		p.From = append(slices.Clone(p.From), dpopLocation())
	}
	types := p.TokenTypes
	if len(types) == 0 {
		types = []string{"JWT", "at+jwt"}
	}
	valid := &provider{Provider: p, rules: jwt.Issuer{
		Issuer: p.Issuer, Audiences: p.Audiences, Algorithms: p.Algorithms, Keys: p.Keys, Leeway: p.Leeway, MaxLifetime: p.MaxLifetime,
	}}
	if l := p.Legacy; l != nil {
		if l.Until.IsZero() || l.SubjectClaim == "" {
			return nil, errors.New("its legacy tokens have no end, or no claim for the subject")
		}
		valid.rules.Until, valid.rules.Unnamed, valid.rules.AnySubject = l.Until, l.Unnamed, true
	}
	for _, t := range types {
		valid.rules.Types = append(valid.rules.Types, jwt.MediaType(t))
	}
	return valid, nil
}

// claimed returns the iss of the provider's tokens.
func (p *provider) claimed() string {
	if p.Legacy != nil && p.Legacy.Unnamed {
		return ""
	}
	return p.Issuer
}

// validate refuses what check.TokenRules refuses.
func (p Provider) validate() error {
	rules := &check.ProviderSection{
		Audiences: p.Audiences, Algorithms: p.Algorithms, TokenTypes: p.TokenTypes,
		Leeway: check.Duration(p.Leeway), MaxLifetime: check.Duration(p.MaxLifetime),
	}
	for _, l := range p.From {
		rules.From = append(rules.From, check.TokenLocation(l))
	}
	for _, c := range p.RequiredClaims {
		rules.RequiredClaims = append(rules.RequiredClaims, check.RequiredClaim{Claim: c.Claim, Values: c.Values, Members: (*check.ClaimMembers)(c.Members)})
	}
	for _, c := range p.ClaimsToHeaders {
		rules.ClaimsToHeaders = append(rules.ClaimsToHeaders, check.ClaimToHeader{Claim: c.Claim, Header: c.Header, Format: string(c.Format)})
	}
	return check.Error(check.TokenRules("provider", rules))
}

// IdentityHeaders returns the canonical names of the headers that only a verified token may set, sorted. The chain removes
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
