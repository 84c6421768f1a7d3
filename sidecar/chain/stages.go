package chain

import (
	"net/http"
	"net/netip"
	"sync"

	"github.com/posterndev/postern/api/check/expression"
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/resources"
	"github.com/posterndev/postern/sidecar/stages/apikey"
	"github.com/posterndev/postern/sidecar/stages/authn"
	"github.com/posterndev/postern/sidecar/stages/clientaddr"
	"github.com/posterndev/postern/sidecar/stages/compression"
	"github.com/posterndev/postern/sidecar/stages/cors"
	"github.com/posterndev/postern/sidecar/stages/headers"
	"github.com/posterndev/postern/sidecar/stages/loginprotection"
	"github.com/posterndev/postern/sidecar/stages/passwordpolicy"
	"github.com/posterndev/postern/sidecar/stages/ratelimit"
)

// builder builds the stages of one document and collects its errors.
type builder struct {
	policy *compiled.Policy
	parts
	// known looks up revocations in the document and in the shared state.
	known revocation.Known
	// cors, rateLimits and tokens build, once, the stages that several steps use.
	cors       func() corsStages
	rateLimits func() limitStages
	tokens     func() tokenStages
	// passwordPolicy builds, once, the rules for new passwords; nil for none.
	passwordPolicy func() *passwordpolicy.Policy
	// expressions compiles, once, the expressions of authorization rules, by the index of the rule.
	expressions func() []*expression.Program
	// stripCredentials removes identity headers and tokens from a request whose token is refused. It is nil without
	// authentication.
	stripCredentials func(http.Header)
	// accepted are the issuers whose tokens are accepted, including the policy itself.
	accepted []authn.Provider
	// files are those of API keys and users.
	files apikey.Files
	// locks clears the locks of accounts; nil without login protection.
	locks *loginprotection.Locks
	errs  []error
}

func newBuilder(p *compiled.Policy, given parts) *builder {
	b := &builder{policy: p, parts: given, known: revocation.Known{Listed: revocation.NewListed(listed(p), given.now), Index: given.index}}
	b.cors, b.rateLimits, b.tokens = sync.OnceValue(b.newCORS), sync.OnceValue(b.newRateLimits), sync.OnceValue(b.newTokens)
	b.passwordPolicy = sync.OnceValue(b.newPasswordPolicy)
	b.expressions = sync.OnceValue(b.newExpressions)
	return b
}

func (b *builder) fail(err error, format string, args ...any) {
	if err = wrap(err, format, args...); err != nil {
		b.errs = append(b.errs, err)
	}
}

func (b *builder) headers() stage.Stage {
	h := b.policy.Headers
	if h == nil {
		return nil
	}
	c := headers.Config{Rules: headerRules(h.Preset, &h.HeaderRules)}
	for _, r := range h.Routes {
		c.Routes = append(c.Routes, headers.Route{Match: routeMatches(r.Match), Rules: headerRules(r.Preset, &r.HeaderRules)})
	}
	s, err := headers.New(c)
	b.fail(err, "headers")
	return s
}

func headerRules(preset string, in *compiled.HeaderRules) headers.Rules {
	out := headers.Rules{Preset: preset, Keep: in.Keep, Omit: in.Omit, Remove: in.Remove}
	for _, f := range in.Set {
		out.Set = append(out.Set, headers.Field(f))
	}
	return out
}

// corsStages are the two stages of CORS.
type corsStages struct{ decorate, preflight stage.Stage }

func (b *builder) newCORS() corsStages {
	c := b.policy.CORS
	if c == nil {
		return corsStages{}
	}
	p, err := cors.New(cors.Config{
		AllowOrigins: c.AllowOrigins, AllowMethods: c.AllowMethods, AllowHeaders: c.AllowHeaders, ExposeHeaders: c.ExposeHeaders,
		AllowCredentials: c.AllowCredentials, MaxAge: c.MaxAge.Std(),
	})
	if err != nil {
		b.fail(err, "cors")
		return corsStages{}
	}
	return corsStages{decorate: p.Decorate(), preflight: p.Preflight()}
}

func (b *builder) compression() stage.Stage {
	c := b.policy.Compression
	if c == nil {
		return nil
	}
	s, err := compression.New(compression.Config{MinSize: c.MinSize, Types: c.Types, Places: b.encoders})
	b.fail(err, "compression")
	return s
}

func (b *builder) trustedProxies() []netip.Prefix {
	var trusted []netip.Prefix
	for i, cidr := range b.policy.Sidecar.TrustedProxies {
		prefix, err := netip.ParsePrefix(cidr)
		b.fail(err, "sidecar.trustedProxies[%d]", i)
		trusted = append(trusted, prefix)
	}
	return trusted
}

func (b *builder) clientAddress() clientaddr.Config {
	tokens := tokenHeaders(b.policy)
	if l := b.policy.LoginProtection; l != nil && l.Challenge != nil && !b.policy.Deleted {
		tokens = append(tokens, l.Challenge.Header)
	}
	return clientaddr.Config{Trusted: b.trustedProxies(), Tokens: tokens, TLS: b.policy.TLS != nil, Untrusted: b.untrustedProxy}
}

func routeMatches(ms []compiled.Match) []route.Match {
	matches := make([]route.Match, 0, len(ms))
	for _, m := range ms {
		matches = append(matches, route.Match{Methods: m.Methods, Paths: m.Paths})
	}
	return matches
}

func (b *builder) match(ms []compiled.Match, format string, args ...any) *route.Matcher {
	matcher, err := route.NewMatcher(routeMatches(ms))
	b.fail(err, format, args...)
	return matcher
}

// providers returns the policy's providers, and the provider of its own tokens last.
func (b *builder) providers() []authn.Provider {
	var out []authn.Provider
	for i := range b.policy.Providers {
		p := &b.policy.Providers[i]
		keys, err := b.keys(p)
		b.fail(err, "provider %q", p.Name)
		valid := provider(p, keys)
		valid.Proof = proof(b.policy, p)
		out = append(out, valid)
	}
	if b.policy.Tokens != nil {
		out = append(out, b.ownProvider())
	}
	return out
}

func (b *builder) authn() stage.Stage {
	providers := b.providers()
	if len(providers) == 0 || len(b.errs) > 0 {
		return nil
	}
	b.accepted = providers
	var err error
	b.stripCredentials, err = authn.StripCredentials(providers)
	b.fail(err, "jwt")
	s, err := authn.New(authn.Config{Realm: b.policy.Name, Providers: providers, Proofs: b.proofs(), Now: b.now})
	b.fail(err, "jwt")
	return s
}

func provider(p *compiled.Provider, keys authn.Keys) authn.Provider {
	out := authn.Provider{
		Name: p.Name, Issuer: p.Issuer, Audiences: p.Audiences, Algorithms: p.Algorithms, Keys: keys, TokenTypes: p.TokenTypes,
		Leeway: p.Leeway.Std(), MaxLifetime: p.MaxLifetime.Std(), ForwardToken: p.ForwardToken,
	}
	if l := p.Legacy; l != nil {
		out.Legacy = &authn.Legacy{Until: l.Until, Unnamed: l.Unnamed, SubjectClaim: l.SubjectClaim}
	}
	for _, l := range p.From {
		out.From = append(out.From, authn.Location(l))
	}
	for _, r := range p.RequiredClaims {
		out.RequiredClaims = append(out.RequiredClaims, authn.RequiredClaim{Claim: r.Claim, Values: r.Values, Members: (*identity.Members)(r.Members)})
	}
	out.ClaimsToHeaders = claimHeaders(p.ClaimsToHeaders)
	return out
}

func claimHeaders(in []compiled.ClaimToHeader) []authn.ClaimHeader {
	var out []authn.ClaimHeader
	for _, h := range in {
		out = append(out, authn.ClaimHeader{Claim: h.Claim, Header: h.Header, Format: authn.Format(h.Format)})
	}
	return out
}

// limitStages are the stages of rate limits: before and after authentication, of requests in progress, and next to the app.
type limitStages struct{ before, after, places, charges stage.Stage }

func (b *builder) newRateLimits() limitStages {
	if len(b.policy.RateLimits) == 0 {
		return limitStages{}
	}
	c := ratelimit.Config{Scope: resources.Scope(b.policy), Store: b.store, Local: b.local, Places: b.places, Now: b.now, Metrics: b.metrics.Limits, Logger: b.logger}
	for i := range b.policy.RateLimits {
		c.Rules = append(c.Rules, b.limitRule(i))
	}
	if len(b.errs) > 0 {
		return limitStages{}
	}
	limiter, err := ratelimit.New(c)
	if err != nil {
		b.fail(err, "rateLimits")
		return limitStages{}
	}
	return limitStages{before: limiter.Before(), after: limiter.After(), places: limiter.Places(), charges: limiter.Charges()}
}
