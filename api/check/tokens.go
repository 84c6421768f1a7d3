package check

import (
	"cmp"
	"errors"
	"fmt"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/posterndev/postern/api/check/keyset"
	"github.com/posterndev/postern/api/compiled"
)

// Bounds of times. The longest leeway lengthens the life of every token; the shortest overlap is twice the time in which every
// replica reads a new signing key.
const (
	maxLeeway          = 5 * time.Minute
	minRefreshInterval = 10 * time.Second
	// What a document means that does not write them.
	defaultRefreshInterval = 5 * time.Minute
	defaultMaxStale        = 24 * time.Hour
	maxAccessLifetime      = 24 * time.Hour
	maxRefreshGrace        = time.Minute
	minRotationOverlap     = time.Minute
	minSessionTimeout      = time.Second
	maxSessionTimeout      = 8760 * time.Hour
	maxSessions            = 256
)

// providers are the issuers that the policy trusts.
func (c *checker) providers(p *compiled.Policy) {
	names, issuers := map[string]bool{compiled.OwnProvider: p.Tokens != nil}, map[string]bool{}
	if p.Tokens != nil {
		issuers[p.Tokens.Issuer] = true
	}
	for i := range p.Providers {
		provider, field := &p.Providers[i], at("spec.jwt.providers", i)
		switch {
		case provider.Name == "":
			c.addf(field+".name", "the provider has no name; logs and metrics show it")
		case names[provider.Name]:
			c.addf(field+".name", "the name %.64q is taken by another provider, or by the policy's own tokens; choose another", provider.Name)
		}
		switch {
		case provider.Issuer == "":
			c.addf(field+".issuer", "it is empty; write the exact value of the tokens' iss claim, as https://id.example.com")
		case issuers[provider.Issuer]:
			c.addf(field+".issuer", "another provider, or tokens, has this issuer; merge them: the policy's own tokens need no provider")
		}
		names[provider.Name], issuers[provider.Issuer] = true, true
		c.provider(field, provider)
		if b := provider.BackChannelLogout; b != nil && (len(b.ClientIDs) == 0 || slices.Contains(b.ClientIDs, "")) {
			c.addf(field+".backChannelLogout.clientIDs", "name what the provider calls this client: there are no audiences to take instead")
		}
	}
}

func (c *checker) provider(field string, p *compiled.Provider) {
	if len(p.Audiences) == 0 && len(p.RequiredClaims) == 0 {
		c.addf(field+".audiences", "name the audiences that tokens must be meant for; where the issuer sends no aud claim, name requiredClaims (such as client_id) instead")
	}
	c.nonEmpty(field+".audiences", p.Audiences)
	c.nonEmpty(field+".tokenTypes", p.TokenTypes)
	if err := keyset.CheckAlgorithms(p.Algorithms); err != nil {
		c.add(field+".algorithms", err)
	} else {
		c.keys(field+".jwks", p)
	}
	for i, l := range p.From {
		c.location(at(field+".from", i), l)
	}
	if p.Leeway < 0 || p.Leeway.Std() > maxLeeway {
		c.addf(field+".leeway", "%s is not between 0s and %s: it lengthens the life of every token", p.Leeway.Std(), maxLeeway)
	}
	if p.MaxLifetime < 0 {
		c.addf(field+".maxLifetime", "it is negative; write a duration such as 1h")
	}
	for i, r := range p.RequiredClaims {
		c.add(at(field+".requiredClaims", i)+".claim", Claim(r.Claim))
	}
	c.claimsToHeaders(field+".claimsToHeaders", p.ClaimsToHeaders)
}

func (c *checker) nonEmpty(field string, texts []string) {
	for i, s := range texts {
		if s == "" {
			c.addf(at(field, i), "it is empty; leave the entry out")
		}
	}
}

func (c *checker) location(field string, l compiled.TokenLocation) {
	switch {
	case (l.Header == "") == (l.Cookie == ""):
		c.addf(field, "say exactly one of header and cookie")
	case l.Cookie != "" && l.Prefix != "":
		c.addf(field+".prefix", "a prefix goes with header; leave it out")
	case l.Cookie != "":
		c.add(field+".cookie", CookieName(l.Cookie))
	default:
		c.add(field+".header", TokenHeader(l.Header))
	}
}

func (c *checker) claimsToHeaders(field string, headers []compiled.ClaimToHeader) {
	seen := map[string]bool{}
	for i, h := range headers {
		name := textproto.CanonicalMIMEHeaderKey(h.Header)
		c.add(at(field, i)+".claim", Claim(h.Claim))
		c.add(at(field, i)+".header", IdentityFieldName(h.Header))
		if seen[name] {
			c.addf(at(field, i)+".header", "%s carries another claim already, and names are compared in any case; choose another", name)
		}
		seen[name] = true
	}
}

// keys are where a provider's keys come from; its algorithms are good.
func (c *checker) keys(field string, p *compiled.Provider) {
	k, sources := &p.Keys, 0
	for _, given := range []bool{k.URI != "", len(k.Inline) > 0, k.Secret != nil} {
		if given {
			sources++
		}
	}
	switch {
	case sources != 1:
		c.addf(field, "say exactly one of uri, inline, secretKeyRef and vault")
	case k.Secret != nil:
		c.secret(field, k.Secret)
	case keyset.Symmetric(p.Algorithms):
		c.addf(field, "HS* algorithms need secretKeyRef or vault: an HMAC secret is never fetched or written into a policy")
	case k.URI != "":
		c.remoteKeys(field, k)
	default:
		if _, err := InlineKeys(k.Inline, p.Algorithms); err != nil {
			c.add(field+".inline", err)
		}
	}
}

func (c *checker) remoteKeys(field string, k *compiled.Keys) {
	c.add(field+".uri", KeysURI(k.URI))
	_, err := Certificates([]byte(k.CABundle))
	c.add(field+".caBundle", err)
	refresh, stale := cmp.Or(k.RefreshInterval.Std(), defaultRefreshInterval), cmp.Or(k.MaxStale.Std(), defaultMaxStale)
	switch {
	case refresh < minRefreshInterval:
		c.addf(field+".refreshInterval", "%s is shorter than %s", refresh, minRefreshInterval)
	case stale < refresh:
		c.addf(field+".maxStale", "%s is shorter than the refreshInterval of %s: the keys would be too old before they are fetched again", stale, refresh)
	}
}

// InlineKeys returns a key set that is written in a policy. Keys that cannot be used are in its Skipped; a set without any usable key
// is an error.
func InlineKeys(document []byte, algorithms []string) (*keyset.Set, error) {
	set, err := keyset.Parse(document, keyset.Options{Algorithms: algorithms})
	if err != nil {
		return nil, fmt.Errorf("%w; write a JSON Web Key Set of public keys, as {\"keys\": [{\"kty\": \"EC\", …}]}", err)
	}
	return set, nil
}

// tokens are the policy's own.
func (c *checker) tokens(p *compiled.Policy) {
	t := p.Tokens
	if t == nil {
		return
	}
	c.add("spec.tokens.issuer", TokenIssuer(t.Issuer))
	if len(t.Audiences) == 0 {
		c.addf("spec.tokens.audiences", "name at least one audience: a token that comes back must hold one of them")
	}
	c.nonEmpty("spec.tokens.audiences", t.Audiences)
	c.add("spec.tokens.algorithm", oneOf(t.Algorithm, "ES256", "RS256", "PS256", "EdDSA", "HS256"))
	c.add("spec.tokens.delivery", oneOf(t.Delivery, "Body", "Cookie"))
	c.add("spec.tokens.cookie.sameSite", oneOf(t.SameSite, "Lax", "Strict"))
	for i, origin := range t.TrustedOrigins {
		_, err := Origin(origin)
		c.add(at("spec.tokens.cookie.trustedOrigins", i), err)
	}
	for i, name := range t.Claims {
		c.add(at("spec.tokens.claims", i), CopiedClaim(name))
	}
	c.claimsToHeaders("spec.tokens.claimsToHeaders", t.ClaimsToHeaders)
	for i, m := range t.Login {
		if len(m.Paths) == 0 {
			c.addf(at("spec.tokens.login", i)+".paths", "name the paths on which the app logs people in, as /login")
		}
	}
	c.matches("spec.tokens.login", t.Login)
	c.tokenTimes(t)
	c.signingKey(t)
	c.endpoints(t)
}

func (c *checker) tokenTimes(t *compiled.Tokens) {
	if d := t.AccessLifetime.Std(); d < time.Second || d > maxAccessLifetime || d%time.Second != 0 {
		c.addf("spec.tokens.accessLifetime", "%s is not between 1s and %s in whole seconds", d, maxAccessLifetime)
	}
	if d := t.RefreshGrace.Std(); d < 0 || d > maxRefreshGrace {
		c.addf("spec.tokens.refreshGrace", "%s is not between 0s and %s: so long a stolen refresh token may go unnoticed", d, maxRefreshGrace)
	}
	overlap, interval := t.RotationOverlap.Std(), t.RotationInterval.Std()
	switch {
	case overlap < minRotationOverlap:
		c.addf("spec.tokens.rotation.overlap", "%s is shorter than %s, in which every replica and verifier must fetch the new key", overlap, minRotationOverlap)
	case interval != 0 && interval/2 < overlap:
		c.addf("spec.tokens.rotation.interval", "%s is less than twice the overlap of %s: keys would be replaced before they sign", interval, overlap)
	}
}

func (c *checker) signingKey(t *compiled.Tokens) {
	const field = "spec.tokens.signingKey"
	k := t.SigningKey
	switch {
	case (k.Transit == nil) == (k.Secret == nil):
		c.addf(field, "say exactly one of transit, vault and secretKeyRef")
	case k.Secret != nil:
		c.secret(field, k.Secret)
	case t.Algorithm == "HS256":
		c.addf("spec.tokens.algorithm", "HS256 does not work with Transit: nobody could verify without asking Vault; choose ES256")
	default:
		c.add(field+".transit.mount", VaultPath(k.Transit.Mount))
		c.add(field+".transit.key", TransitKey(k.Transit.Key))
	}
}

// endpoints are those that clients refresh and log out at. They must not lie where the documents of discovery are.
func (c *checker) endpoints(t *compiled.Tokens) {
	const field = "spec.tokens.endpoints.prefix"
	if err := PathPrefix(t.Prefix); err != nil {
		c.add(field, err)
		return
	}
	u, err := url.Parse(t.Issuer)
	if err != nil {
		return // said of the issuer already
	}
	path := strings.TrimSuffix(u.Path, "/")
	documents := []string{"/.well-known/jwks.json", path + "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server" + path}
	for _, name := range []string{"/refresh", "/logout", "/logout-all", "/sessions", "/backchannel-logout"} {
		if slices.Contains(documents, t.Prefix+name) {
			c.addf(field, "%s is the path of the issuer's discovery document; choose another prefix, as /auth", t.Prefix+name)
		}
	}
}

func (c *checker) sessions(p *compiled.Policy) {
	s := p.Sessions
	if s == nil {
		if p.Tokens != nil {
			c.add("spec.sessions", errors.New("tokens need sessions"))
		}
		return
	}
	c.add("spec.sessions.absoluteTimeout", sessionTimeout(s.AbsoluteTimeout.Std()))
	if s.IdleTimeout != s.AbsoluteTimeout { // where it is left out it is the same, and so is what is wrong with it
		c.add("spec.sessions.idleTimeout", sessionTimeout(s.IdleTimeout.Std()))
	}
	if s.MaxPerSubject < 0 || s.MaxPerSubject > maxSessions {
		c.addf("spec.sessions.maxPerSubject", "%d is not between 1 and %d", s.MaxPerSubject, maxSessions)
	}
	c.add("spec.sessions.whenFull", oneOf(s.WhenFull, "EvictOldest", "Reject"))
	c.add("spec.sessions.device.bind", oneOf(s.Bind, "None", "UserAgent", "Address"))
	if s.SubjectFrom != "" {
		c.add("spec.sessions.subjectFrom", oneOf(s.SubjectFrom, "sid", "sub"))
	}
	c.onFailure("spec.sessions.onFailure", s.OnFailure)
	c.mode("spec.sessions.mode", s.Mode)
}

func sessionTimeout(d time.Duration) error {
	if d < minSessionTimeout || d > maxSessionTimeout {
		return fmt.Errorf("%s is not between %s and %s", d, minSessionTimeout, maxSessionTimeout)
	}
	return nil
}

func (c *checker) revocation(p *compiled.Policy) {
	r := p.Revocation
	if r == nil {
		if p.Tokens != nil || slices.ContainsFunc(p.Providers, func(p compiled.Provider) bool { return p.BackChannelLogout != nil }) {
			c.add("spec.revocation", errors.New("tokens and backChannelLogout need revocation"))
		}
		return
	}
	if r.MaxStaleness <= 0 {
		c.addf("spec.revocation.maxStaleness", "%s is not positive; write a duration such as 5s", r.MaxStaleness.Std())
	}
	c.onFailure("spec.revocation.onFailure", r.OnFailure)
	c.mode("spec.revocation.mode", r.Mode)
}
