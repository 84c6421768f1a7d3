package compile

import (
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

func (c *compiler) tokens(policy *v1alpha1.SecurityPolicy, in *v1alpha1.Tokens) *compiled.Tokens {
	if in == nil {
		return nil
	}
	t := &compiled.Tokens{
		Issuer: in.Issuer, Audiences: in.Audiences, ClientID: policy.Namespace + "/" + policy.Name,
		Algorithm:        string(in.Algorithm),
		AccessLifetime:   c.duration("spec.tokens.accessLifetime", in.AccessLifetime),
		RefreshGrace:     c.duration("spec.tokens.refreshGrace", in.RefreshGrace),
		Claims:           in.Claims,
		FieldEncoding:    string(in.FieldEncoding),
		Delivery:         string(in.Delivery),
		SameSite:         in.Cookie.SameSite,
		Renewal:          string(in.Cookie.Renewal),
		TrustedOrigins:   in.Cookie.TrustedOrigins,
		SigningKey:       c.signingKey(&in.SigningKey),
		RotationInterval: c.duration("spec.tokens.rotation.interval", in.Rotation.Interval),
		RotationOverlap:  c.duration("spec.tokens.rotation.overlap", in.Rotation.Overlap),
		Login:            matches(in.Login),
		Prefix:           in.Endpoints.Prefix,
		ClearSiteData:    string(in.Endpoints.ClearSiteData),
		LogoutRedirect:   in.Endpoints.LogoutRedirect,
		Leeway:           c.duration("spec.tokens", v1alpha1.DefaultLeeway),
		ForwardToken:     in.ForwardToken,
	}
	t.ClaimsToHeaders = claimsToHeaders(in.ClaimsToHeaders)
	return t
}

func (c *compiler) signingKey(in *v1alpha1.SigningKey) compiled.SigningKey {
	c.one("spec.tokens.signingKey", "transit, vault and secretKeyRef", in.Transit != nil, in.Vault != nil, in.SecretKeyRef != nil)
	switch {
	case in.Transit != nil:
		return compiled.SigningKey{Transit: &compiled.TransitKey{Mount: in.Transit.Mount, Key: in.Transit.Key}}
	case in.Vault != nil:
		return compiled.SigningKey{Secret: vaultRef(in.Vault)}
	}
	return compiled.SigningKey{Secret: keyRef(in.SecretKeyRef)}
}

// sessions returns the limits of sessions. A refresh token is valid as long as its session, so the shorter of its lifetime and the idle
// timeout ends both.
func (c *compiler) sessions(spec *v1alpha1.SecurityPolicySpec) *compiled.Sessions {
	in := spec.Sessions
	if in == nil {
		return nil
	}
	s := &compiled.Sessions{
		AbsoluteTimeout: c.duration("spec.sessions.absoluteTimeout", in.AbsoluteTimeout),
		MaxPerSubject:   int(in.MaxPerSubject), WhenFull: string(in.WhenFull), WhenMemoryFull: string(in.WhenMemoryFull),
		Bind: in.Device.Bind, SubjectFrom: in.SubjectFrom, OnFailure: compiled.FailureMode(in.OnFailure), Mode: compiled.Mode(in.Mode),
		IdleTimeout: c.duration("spec.sessions.idleTimeout", in.IdleTimeout),
	}
	longest := s.AbsoluteTimeout
	if spec.Tokens != nil {
		longest = min(longest, c.duration("spec.tokens.refreshLifetime", spec.Tokens.RefreshLifetime))
	}
	if s.IdleTimeout > longest {
		c.warnf("spec.sessions.idleTimeout", "longer than tokens.refreshLifetime or absoluteTimeout, so unused sessions end after %s: write at most %[1]s", longest.Std())
		s.IdleTimeout = longest
	}
	return s
}

func (c *compiler) revocation(in *v1alpha1.Revocation) *compiled.Revocation {
	if in == nil {
		return nil
	}
	return &compiled.Revocation{
		MaxStaleness: c.duration("spec.revocation.maxStaleness", in.MaxStaleness),
		OnFailure:    compiled.FailureMode(in.OnFailure), Mode: compiled.Mode(in.Mode),
	}
}

func (c *compiler) passwords(in *v1alpha1.PasswordPolicy) *compiled.Passwords {
	if in == nil {
		return nil
	}
	p := &compiled.Passwords{Algorithm: in.Hash.Algorithm, LongBcrypt: string(in.LongBcryptPasswords)}
	if in.Hash.Algorithm != v1alpha1.DefaultHash {
		p.Cost = int(in.Hash.Bcrypt.Cost)
		return p
	}
	cost := in.Hash.Argon2id
	memory, err := cost.Memory.Bytes()
	if err != nil {
		c.errorf("spec.passwordPolicy.hash.argon2id.memory", "%v", err)
	}
	p.Memory, p.Passes, p.Parallelism = memory>>10, int(cost.Passes), int(cost.Parallelism)
	return p
}

func backChannelLogout(in *v1alpha1.BackChannelLogout) *compiled.BackChannelLogout {
	if in == nil {
		return nil
	}
	return &compiled.BackChannelLogout{ClientIDs: in.ClientIDs, AnyType: in.AnyType}
}
