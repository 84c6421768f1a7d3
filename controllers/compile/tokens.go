package compile

import (
	"net/http"
	"slices"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// Defaults of what the sections about tokens leave out. Those that the CRD sets as well are for policies that never saw an
// API server.
const (
	defaultAccessLifetime  = 15 * time.Minute
	defaultRefreshLifetime = 168 * time.Hour
	defaultRefreshGrace    = 10 * time.Second
	defaultOverlap         = time.Hour
	defaultPrefix          = "/auth"
	defaultAbsolute        = 720 * time.Hour
	defaultMaxStaleness    = 5 * time.Second

	defaultArgon2Memory = 19 << 10 // KiB
	defaultArgon2Passes = 2
	defaultBcryptCost   = 12
)

func (c *compiler) tokens(policy *v1alpha1.SecurityPolicy) *compiled.Tokens {
	in := policy.Spec.Tokens
	if in == nil {
		return nil
	}
	t := &compiled.Tokens{
		Issuer: in.Issuer, Audiences: in.Audiences, ClientID: policy.Namespace + "/" + policy.Name,
		Algorithm:      orDefault(string(in.Algorithm), "ES256"),
		AccessLifetime: c.duration("spec.tokens.accessLifetime", in.AccessLifetime, defaultAccessLifetime),
		RefreshGrace:   c.duration("spec.tokens.refreshGrace", in.RefreshGrace, defaultRefreshGrace),
		Claims:         in.Claims,
		Delivery:       orDefault(string(in.Delivery), string(v1alpha1.DeliverBody)), SameSite: "Lax",
		SigningKey:      c.signingKey(&in.SigningKey),
		RotationOverlap: compiled.Duration(defaultOverlap),
		Login:           loginRoutes(in.Login), Prefix: defaultPrefix, Leeway: compiled.Duration(defaultLeeway),
		ForwardToken: in.ForwardToken,
	}
	if in.Cookie != nil {
		t.SameSite, t.TrustedOrigins = orDefault(in.Cookie.SameSite, "Lax"), in.Cookie.TrustedOrigins
	}
	if in.Rotation != nil {
		t.RotationInterval = c.duration("spec.tokens.rotation.interval", in.Rotation.Interval, 0)
		t.RotationOverlap = c.duration("spec.tokens.rotation.overlap", in.Rotation.Overlap, defaultOverlap)
	}
	if in.Endpoints != nil {
		t.Prefix = orDefault(in.Endpoints.Prefix, defaultPrefix)
	}
	for _, h := range in.ClaimsToHeaders {
		t.ClaimsToHeaders = append(t.ClaimsToHeaders, compiled.ClaimToHeader(h))
	}
	return t
}

// loginRoutes has logins come by POST where nothing else is said: a page of another origin can make a browser send a GET.
func loginRoutes(in []v1alpha1.RouteMatch) []compiled.Match {
	out := matches(in)
	for i := range out {
		if len(out[i].Methods) == 0 {
			out[i].Methods = []string{http.MethodPost}
		}
	}
	return out
}

func (c *compiler) signingKey(in *v1alpha1.SigningKey) compiled.SigningKey {
	c.one("spec.tokens.signingKey", "transit, vault and secretKeyRef", in.Transit != nil, in.Vault != nil, in.SecretKeyRef != nil)
	switch {
	case in.Transit != nil:
		return compiled.SigningKey{Transit: &compiled.TransitKey{Mount: orDefault(in.Transit.Mount, "transit"), Key: in.Transit.Key}}
	case in.Vault != nil:
		return compiled.SigningKey{Secret: vaultRef(in.Vault)}
	}
	return compiled.SigningKey{Secret: keyRef(in.SecretKeyRef)}
}

// sessions are kept for tokens of the policy's own in any case. A refresh token is good for as long as its session, so what
// is shorter of its lifetime and the idle timeout ends both.
func (c *compiler) sessions(spec *v1alpha1.SecurityPolicySpec) *compiled.Sessions {
	in := spec.Sessions
	if in == nil && spec.Tokens == nil {
		return nil
	}
	if in == nil {
		in = &v1alpha1.Sessions{}
	}
	s := &compiled.Sessions{
		AbsoluteTimeout: c.duration("spec.sessions.absoluteTimeout", in.AbsoluteTimeout, defaultAbsolute),
		MaxPerSubject:   int(in.MaxPerSubject), WhenFull: orDefault(string(in.WhenFull), string(v1alpha1.WhenFullEvict)),
		Bind: "None", SubjectFrom: in.SubjectFrom, OnFailure: failure(in.OnFailure, compiled.Deny), Mode: mode(in.Mode),
	}
	if in.Device != nil {
		s.Bind = orDefault(in.Device.Bind, "None")
	}
	longest := s.AbsoluteTimeout
	if spec.Tokens != nil {
		refresh := c.duration("spec.tokens.refreshLifetime", spec.Tokens.RefreshLifetime, defaultRefreshLifetime)
		longest = min(longest, refresh)
	}
	s.IdleTimeout = c.duration("spec.sessions.idleTimeout", in.IdleTimeout, longest.Std())
	if s.IdleTimeout > longest {
		c.warnf("spec.sessions.idleTimeout", "longer than the refresh token lives unused: sessions end after %s, by tokens.refreshLifetime or absoluteTimeout", longest.Std())
		s.IdleTimeout = longest
	}
	return s
}

func (c *compiler) revocation(spec *v1alpha1.SecurityPolicySpec) *compiled.Revocation {
	in := spec.Revocation
	if in == nil && spec.Tokens == nil && !hasBackChannelLogout(spec.JWT) {
		return nil
	}
	if in == nil {
		in = &v1alpha1.Revocation{}
	}
	return &compiled.Revocation{
		MaxStaleness: c.duration("spec.revocation.maxStaleness", in.MaxStaleness, defaultMaxStaleness),
		OnFailure:    failure(in.OnFailure, compiled.Deny), Mode: mode(in.Mode),
	}
}

// hasBackChannelLogout: what a provider ends must be refused by every sidecar.
func hasBackChannelLogout(jwt *v1alpha1.JWT) bool {
	return jwt != nil && slices.ContainsFunc(jwt.Providers, func(p v1alpha1.JWTProvider) bool { return p.BackChannelLogout != nil })
}

func (c *compiler) passwords(in *v1alpha1.PasswordPolicy) *compiled.Passwords {
	if in == nil {
		return nil
	}
	hash := in.Hash
	if hash == nil {
		hash = &v1alpha1.PasswordHash{}
	}
	if hash.Algorithm == "Bcrypt" {
		p := &compiled.Passwords{Algorithm: hash.Algorithm, Cost: defaultBcryptCost}
		if hash.Bcrypt != nil && hash.Bcrypt.Cost > 0 {
			p.Cost = int(hash.Bcrypt.Cost)
		}
		return p
	}
	p := &compiled.Passwords{Algorithm: "Argon2id", Memory: defaultArgon2Memory, Passes: defaultArgon2Passes, Parallelism: 1}
	if cost := hash.Argon2id; cost != nil {
		c.argon2(p, cost)
	}
	return p
}

func (c *compiler) argon2(p *compiled.Passwords, cost *v1alpha1.Argon2idCost) {
	if cost.Passes > 0 {
		p.Passes = int(cost.Passes)
	}
	if cost.Parallelism > 0 {
		p.Parallelism = int(cost.Parallelism)
	}
	if cost.Memory != "" {
		n, err := cost.Memory.Bytes()
		if err != nil {
			c.errorf("spec.passwordPolicy.hash.argon2id.memory", "%v", err)
			return
		}
		p.Memory = n >> 10
	}
}

func backChannelLogout(in *v1alpha1.BackChannelLogout, audiences []string) *compiled.BackChannelLogout {
	if in == nil {
		return nil
	}
	b := &compiled.BackChannelLogout{ClientIDs: in.ClientIDs, AnyType: in.AnyType}
	if len(b.ClientIDs) == 0 {
		b.ClientIDs = audiences
	}
	return b
}
