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

	"github.com/posterndev/postern/api/check/fieldset"
	"github.com/posterndev/postern/api/check/keyset"
	"github.com/posterndev/postern/api/compiled"
)

// Bounds of durations. maxLeeway is short because the leeway extends the lifetime of every token. minRotationOverlap is twice the
// time in which every replica reads a new signing key.
const (
	maxLeeway          = 5 * time.Minute
	minRefreshInterval = 10 * time.Second
	// The defaults of a document that leaves these out.
	defaultRefreshInterval = 5 * time.Minute
	defaultMaxStale        = 24 * time.Hour
	maxAccessLifetime      = 24 * time.Hour
	maxRefreshGrace        = time.Minute
	minRotationOverlap     = time.Minute
	minSessionTimeout      = time.Second
	maxSessionTimeout      = 8760 * time.Hour
	maxSessions            = 256
)

// providers checks the issuers that the policy trusts.
func (c *checker) providers(p *compiled.Policy) {
	names := map[string]bool{compiled.OwnProvider: p.Tokens != nil, compiled.APIKeysProvider: p.APIKeys != nil, compiled.BasicUsersProvider: p.APIKeys != nil,
		compiled.ClientCertificatesProvider: p.TLS.Identifies()}
	issuers := map[string]bool{compiled.APIKeysIssuer: p.APIKeys != nil, compiled.BasicUsersIssuer: p.APIKeys != nil, compiled.ClientCertificatesIssuer: p.TLS.Identifies()}
	if p.Tokens != nil {
		issuers[p.Tokens.Issuer] = true
	}
	identity := fieldset.New(p.IdentityHeaders()...)
	for i := range p.Providers {
		provider, field := &p.Providers[i], at("spec.jwt.providers", i)
		switch {
		case provider.Name == "":
			c.addf(field+".name", "the name is empty; write one that logs and metrics can show, for example corp")
		case names[provider.Name]:
			c.addf(field+".name", "another provider, or the policy's own tokens, already has the name %.64q; write a unique name", provider.Name)
		}
		switch {
		case provider.Issuer == "":
			c.addf(field+".issuer", "it is empty; write the exact iss claim of the tokens, for example https://id.example.com")
		case issuers[provider.Issuer]:
			c.addf(field+".issuer", "another provider, or spec.tokens, has the same issuer; merge the two providers, or remove this one: the policy's own tokens need no provider")
		}
		names[provider.Name], issuers[provider.Issuer] = true, true
		c.provider(field, provider)
		c.carriers(field+".from", provider.From, identity)
		c.proofOfPossession(field+".proofOfPossession", provider.ProofOfPossession, p)
		if b := provider.BackChannelLogout; b != nil && (len(b.ClientIDs) == 0 || slices.Contains(b.ClientIDs, "")) {
			c.addf(field+".backChannelLogout.clientIDs", "it is empty, and the provider has no audiences to use instead; write the client ID that the provider knows this app by, for example [orders-web]")
		}
	}
}

func (c *checker) provider(field string, p *compiled.Provider) {
	if len(p.Audiences) == 0 && len(p.RequiredClaims) == 0 && p.Legacy == nil {
		c.addf(field+".audiences", "it is empty; write the audiences that tokens must have, for example [orders]. If the issuer sends no aud claim, write requiredClaims instead, for example [{claim: client_id, values: [orders-web]}]")
	}
	if p.Legacy != nil {
		c.add(field+".legacy.subjectClaim", Claim(p.Legacy.SubjectClaim))
		if p.Legacy.ShortSecret && !keyset.Symmetric(p.Algorithms) {
			c.addf(field+".legacy.shortSecret", "it is about the secrets of HS* algorithms, and the provider has none; remove it")
		}
	}
	c.tokenRules(field, p)
	if keyset.CheckAlgorithms(p.Algorithms) == nil {
		c.keys(field+".jwks", p)
	}
}

// TokenRules returns the problems of what a provider requires of its tokens. Their fields begin with field. It does not check the
// provider's name, issuer and keys, and accepts a provider without audiences.
func TokenRules(field string, p *compiled.Provider) []Problem {
	c := &checker{}
	c.tokenRules(field, p)
	return c.problems
}

func (c *checker) tokenRules(field string, p *compiled.Provider) {
	c.nonEmpty(field+".audiences", p.Audiences)
	c.nonEmpty(field+".tokenTypes", p.TokenTypes)
	c.add(field+".algorithms", keyset.CheckAlgorithms(p.Algorithms))
	for i, l := range p.From {
		c.location(at(field+".from", i), l)
	}
	if p.Leeway < 0 || p.Leeway.Std() > maxLeeway {
		c.addf(field+".leeway", "%s is not between 0s and %s; write a duration in that range, for example 30s: the leeway extends the lifetime of every token", p.Leeway.Std(), maxLeeway)
	}
	if p.MaxLifetime < 0 {
		c.addf(field+".maxLifetime", "it is negative; write a duration, for example 1h")
	}
	for i, r := range p.RequiredClaims {
		c.requiredClaim(at(field+".requiredClaims", i), r)
	}
	c.claimsToHeaders(field+".claimsToHeaders", p.ClaimsToHeaders)
}

func (c *checker) nonEmpty(field string, texts []string) {
	for i, s := range texts {
		if s == "" {
			c.addf(at(field, i), "the entry is empty; write a value or leave the entry out")
		}
	}
}

func (c *checker) location(field string, l compiled.TokenLocation) {
	switch {
	case (l.Header == "") == (l.Cookie == ""):
		c.addf(field, "write exactly one of header and cookie, for example {header: Authorization, prefix: \"Bearer \"} or {cookie: access_token}")
	case l.Cookie != "" && l.Prefix != "":
		c.addf(field+".prefix", "a prefix is for headers only; leave it out")
	case l.Cookie != "":
		c.add(field+".cookie", CookieName(l.Cookie))
	default:
		c.add(field+".header", TokenHeader(l.Header))
	}
}

// carriers refuses to read a token from a header in which the sidecar sends a claim: it is removed from every request.
func (c *checker) carriers(field string, from []compiled.TokenLocation, identity fieldset.Names) {
	for i, l := range from {
		if l.Header != "" && identity.Has(l.Header) {
			c.addf(at(field, i)+".header", "%s cannot carry a token, because it carries a claim to the app (claimsToHeaders); choose another header for one of the two, for example X-Auth-Subject for the claim", l.Header)
		}
	}
}

func (c *checker) claimsToHeaders(field string, headers []compiled.ClaimToHeader) {
	seen := map[string]bool{}
	for i, h := range headers {
		name := textproto.CanonicalMIMEHeaderKey(h.Header)
		c.add(at(field, i)+".claim", Claim(h.Claim))
		c.add(at(field, i)+".header", IdentityFieldName(h.Header))
		if h.Format != "" {
			c.add(at(field, i)+".format", oneOf(h.Format, "Auto", "Text", "Latin1", "Percent", "JSON", "Base64URL"))
		}
		if seen[name] {
			c.addf(at(field, i)+".header", "%s already carries another claim (header names ignore case); choose another header", name)
		}
		seen[name] = true
	}
}

// keys checks where a provider's keys come from. Its algorithms must be valid.
func (c *checker) keys(field string, p *compiled.Provider) {
	k, sources := &p.Keys, 0
	for _, given := range []bool{k.URI != "", len(k.Inline) > 0, k.Secret != nil} {
		if given {
			sources++
		}
	}
	switch {
	case sources != 1:
		c.addf(field, "write exactly one of uri, inline, secretKeyRef and vault, for example uri: https://id.example.com/keys")
	case k.Secret != nil:
		c.secret(field, k.Secret)
	case keyset.Symmetric(p.Algorithms):
		c.addf(field, "HS* algorithms need secretKeyRef or vault, for example secretKeyRef: {name: hmac, key: secret}: an HMAC secret is never fetched by URL or written in a policy")
	case k.URI != "":
		c.remoteKeys(field, k)
	case k.Bearer != nil || k.InsecureHTTP:
		c.addf(field, "bearerToken and insecureHTTP apply to uri only; leave them out")
	default:
		if _, err := InlineKeys(p); err != nil {
			c.add(field+".inline", err)
		}
	}
}

func (c *checker) remoteKeys(field string, k *compiled.Keys) {
	c.add(field+".uri", KeysURI(k.URI, k.InsecureHTTP))
	if b := k.Bearer; b != nil {
		c.bearer(field+".bearerToken", k.URI, b)
	}
	_, err := Certificates([]byte(k.CABundle))
	c.add(field+".caBundle", err)
	refresh, stale := cmp.Or(k.RefreshInterval.Std(), defaultRefreshInterval), cmp.Or(k.MaxStale.Std(), defaultMaxStale)
	switch {
	case refresh < minRefreshInterval:
		c.addf(field+".refreshInterval", "%s is shorter than %s; write a longer duration, for example 5m", refresh, minRefreshInterval)
	case stale < refresh:
		c.addf(field+".maxStale", "%s is shorter than the refreshInterval of %s, so the keys would expire before they are fetched again; write a longer duration, for example 24h", stale, refresh)
	}
}

func (c *checker) bearer(field, uri string, b *compiled.Bearer) {
	switch {
	case (b.ServiceAccount == nil) == (b.Secret == nil):
		c.addf(field, "write exactly one of serviceAccount, vault and secretKeyRef, for example serviceAccount: {}")
	case !strings.HasPrefix(uri, "https:"):
		c.addf(field, "the token would be sent over plain HTTP, where anyone on the network can read it; write an https uri")
	case b.Secret != nil:
		c.secret(field, b.Secret)
	}
}

// InlineKeys returns the key set that is written in a policy for p. The set's Dropped lists the keys that cannot be used. A set
// without a usable key is an error.
func InlineKeys(p *compiled.Provider) (*keyset.Set, error) {
	set, err := keyset.Parse(p.Keys.Inline, keyset.Options{Algorithms: p.Algorithms, Issuer: p.Issuer})
	if err != nil {
		return nil, fmt.Errorf("%w; write a JSON Web Key Set of public keys, for example {\"keys\": [{\"kty\": \"EC\", …}]}", err)
	}
	return set, nil
}

// tokens checks the tokens that the policy issues.
func (c *checker) tokens(p *compiled.Policy) {
	t := p.Tokens
	if t == nil {
		return
	}
	c.add("spec.tokens.issuer", TokenIssuer(t.Issuer))
	if len(t.Audiences) == 0 {
		c.addf("spec.tokens.audiences", "it is empty; write at least one audience, for example [orders]: each token must have one of them")
	}
	c.nonEmpty("spec.tokens.audiences", t.Audiences)
	c.add("spec.tokens.algorithm", oneOf(t.Algorithm, "ES256", "RS256", "PS256", "EdDSA", "HS256"))
	if t.FieldEncoding != "" {
		c.add("spec.tokens.fieldEncoding", oneOf(t.FieldEncoding, "UTF8", "Latin1", "Percent"))
	}
	c.add("spec.tokens.delivery", oneOf(t.Delivery, "Body", "Cookie"))
	c.add("spec.tokens.cookie.sameSite", oneOf(t.SameSite, "Lax", "Strict"))
	c.add("spec.tokens.cookie.renewal", oneOf(t.Renewal, "", "Automatic", "Endpoint"))
	c.add("spec.tokens.endpoints.clearSiteData", oneOf(t.ClearSiteData, "", "None", "Cache", "CacheAndStorage", "All"))
	for i, origin := range t.TrustedOrigins {
		_, err := ParseOriginPattern(origin)
		c.add(at("spec.tokens.cookie.trustedOrigins", i), err)
	}
	for i, name := range t.Claims {
		c.add(at("spec.tokens.claims", i), CopiedClaim(name))
	}
	c.claimsToHeaders("spec.tokens.claimsToHeaders", t.ClaimsToHeaders)
	for i, m := range t.Login {
		if len(m.Paths) == 0 {
			c.addf(at("spec.tokens.login", i)+".paths", "it is empty; write the paths on which the app logs users in, for example [/login]")
		}
	}
	c.matches("spec.tokens.login", t.Login)
	c.tokenTimes(t)
	c.signingKey(t)
	c.endpoints(t)
	c.logoutRedirect(t)
}

func (c *checker) tokenTimes(t *compiled.Tokens) {
	if d := t.AccessLifetime.Std(); d < time.Second || d > maxAccessLifetime || d%time.Second != 0 {
		c.addf("spec.tokens.accessLifetime", "%s is not between 1s and %s in whole seconds; write for example 5m", d, maxAccessLifetime)
	}
	if d := t.RefreshGrace.Std(); d < 0 || d > maxRefreshGrace {
		c.addf("spec.tokens.refreshGrace", "%s is not between 0s and %s; write a duration in that range, for example 10s: a stolen refresh token can be used unnoticed for that long", d, maxRefreshGrace)
	}
	overlap, interval := t.RotationOverlap.Std(), t.RotationInterval.Std()
	switch {
	case overlap < minRotationOverlap:
		c.addf("spec.tokens.rotation.overlap", "%s is shorter than %s, the time in which every replica and verifier fetches the new key; write a longer duration, for example 1h", overlap, minRotationOverlap)
	case interval != 0 && interval/2 < overlap:
		c.addf("spec.tokens.rotation.interval", "%s is less than twice the overlap of %s, so keys would be replaced before they sign; write a longer interval, for example 720h", interval, overlap)
	}
}

func (c *checker) signingKey(t *compiled.Tokens) {
	const field = "spec.tokens.signingKey"
	k := t.SigningKey
	switch {
	case (k.Transit == nil) == (k.Secret == nil):
		c.addf(field, "write exactly one of transit, vault and secretKeyRef, for example transit: {key: shop-tokens}")
	case k.Secret != nil:
		c.secret(field, k.Secret)
	case t.Algorithm == "HS256":
		c.addf("spec.tokens.algorithm", "HS256 cannot be used with Transit, because no token could be verified without a call to Vault; write for example ES256")
	default:
		c.add(field+".transit.mount", VaultPath(k.Transit.Mount))
		c.add(field+".transit.key", TransitKey(k.Transit.Key))
	}
}

// endpoints checks the endpoints at which clients refresh and log out. Their paths must not be those of the discovery documents.
func (c *checker) endpoints(t *compiled.Tokens) {
	const field = "spec.tokens.endpoints.prefix"
	if err := PathPrefix(t.Prefix); err != nil {
		c.add(field, err)
		return
	}
	u, err := url.Parse(t.Issuer)
	if err != nil {
		return // reported for the issuer already
	}
	path := strings.TrimSuffix(u.Path, "/")
	documents := []string{"/.well-known/jwks.json", path + "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server" + path}
	for _, name := range endpointNames() {
		if slices.Contains(documents, t.Prefix+name) {
			c.addf(field, "%s is the path of the issuer's discovery document; choose another prefix, for example /auth", t.Prefix+name)
		}
	}
}

// endpointNames are the paths of the endpoints, under the prefix.
func endpointNames() []string {
	return []string{"/refresh", "/logout", "/logout-all", "/sessions", "/backchannel-logout"}
}

// logoutRedirect checks the page after a logout. An endpoint is no page.
func (c *checker) logoutRedirect(t *compiled.Tokens) {
	const field = "spec.tokens.endpoints.logoutRedirect"
	if t.LogoutRedirect == "" {
		return
	}
	if err := RedirectPath(t.LogoutRedirect); err != nil {
		c.add(field, err)
		return
	}
	path, _, _ := strings.Cut(t.LogoutRedirect, "?")
	path, _, _ = strings.Cut(path, "#")
	path = strings.TrimSuffix(path, "/")
	for _, name := range endpointNames() {
		if path == t.Prefix+name {
			c.addf(field, "%s is an endpoint of the sidecar, and no page; write the page to show after a logout, for example /login", path)
		}
	}
}

func (c *checker) sessions(p *compiled.Policy) {
	s := p.Sessions
	if s == nil {
		if p.Tokens != nil {
			c.add("spec.sessions", errors.New("it is missing, and tokens need it; write for example sessions: {absoluteTimeout: 24h}"))
		}
		return
	}
	c.add("spec.sessions.absoluteTimeout", sessionTimeout(s.AbsoluteTimeout.Std()))
	if s.IdleTimeout != s.AbsoluteTimeout { // the default is the absolute timeout, whose problem is reported once
		c.add("spec.sessions.idleTimeout", sessionTimeout(s.IdleTimeout.Std()))
	}
	if s.MaxPerSubject < 0 || s.MaxPerSubject > maxSessions {
		c.addf("spec.sessions.maxPerSubject", "%d is not between 1 and %d; write a number in that range, for example 5, or leave it out for %d", s.MaxPerSubject, maxSessions, maxSessions)
	}
	c.add("spec.sessions.whenFull", oneOf(s.WhenFull, "EvictOldest", "Reject"))
	if s.WhenMemoryFull != "" {
		c.add("spec.sessions.whenMemoryFull", oneOf(s.WhenMemoryFull, "EvictIdlest", "Reject"))
	}
	c.add("spec.sessions.device.bind", oneOf(s.Bind, "None", "UserAgent", "Address"))
	if s.SubjectFrom != "" {
		c.add("spec.sessions.subjectFrom", oneOf(s.SubjectFrom, "sid", "sub"))
	}
	c.onFailure("spec.sessions.onFailure", s.OnFailure)
	c.mode("spec.sessions.mode", s.Mode)
}

func sessionTimeout(d time.Duration) error {
	if d < minSessionTimeout || d > maxSessionTimeout {
		return fmt.Errorf("%s is not between %s and %s; write a duration in that range, for example 24h", d, minSessionTimeout, maxSessionTimeout)
	}
	return nil
}

func (c *checker) revocation(p *compiled.Policy) {
	r := p.Revocation
	if r == nil {
		if p.Tokens != nil || slices.ContainsFunc(p.Providers, func(p compiled.Provider) bool { return p.BackChannelLogout != nil }) {
			c.add("spec.revocation", errors.New("it is missing, and tokens and backChannelLogout need it; write for example revocation: {mode: Enforce}"))
		}
		return
	}
	if r.MaxStaleness <= 0 {
		c.addf("spec.revocation.maxStaleness", "%s is not positive; write a duration, for example 5s", r.MaxStaleness.Std())
	}
	c.onFailure("spec.revocation.onFailure", r.OnFailure)
	c.mode("spec.revocation.mode", r.Mode)
}
