package v1alpha1

import "slices"

// WithDefaults returns a copy of the spec in which every unset field with a default has it. The sections that tokens implies are
// there as well. Only sidecarClassName, interception, ports and vaultRole stay as they are, because the class or the pod decides
// them, proofOfPossession.methods, because the operator does, and from, tokenTypes and compression.types, because the sidecar does.
func (s *SecurityPolicySpec) WithDefaults() SecurityPolicySpec {
	out := *s.DeepCopy()
	set(&out.Mode, DefaultMode)
	set(&out.Rollout, DefaultRollout)
	set(&out.UndeclaredPorts, DefaultUndeclaredPorts)
	for i := range out.Ports {
		set(&out.Ports[i].Protocol, DefaultProtocol)
	}
	set(&out.UpstreamProtocol, DefaultUpstream)
	if out.UpstreamTLS != nil {
		set(&out.UpstreamTLS.ServerName, DefaultUpstreamServerName)
	}
	if out.TLS != nil {
		out.TLS.setDefaults()
	}
	if out.ForwardClientCert != nil {
		set(&out.ForwardClientCert.FromProxies, DefaultXFCCFromProxies)
	}
	if out.Paths != nil {
		out.Paths.setDefaults()
	}
	out.addImplied()
	if out.JWT != nil {
		for i := range out.JWT.Providers {
			out.JWT.Providers[i].setDefaults()
		}
	}
	if out.Tokens != nil {
		out.Tokens.setDefaults()
	}
	if r := out.Revocation; r != nil {
		set(&r.MaxStaleness, DefaultMaxStaleness)
		set(&r.OnFailure, DefaultRevocationOnFailure)
		set(&r.Mode, DefaultMode)
	}
	if out.Sessions != nil {
		out.Sessions.setDefaults(out.Tokens)
	}
	out.Authorization.setDefaults(out.JWT != nil || out.Tokens != nil || out.APIKeys != nil || out.TLS.Identifies())
	if a := out.APIKeys; a != nil {
		if len(a.From) == 0 && a.KeysRef != nil {
			a.From = []APIKeyLocation{{Header: DefaultAPIKeyHeader}}
		}
		setFormats(a.ClaimsToHeaders)
		set(&a.Mode, DefaultMode)
	}
	if out.LoginProtection != nil {
		out.LoginProtection.setDefaults()
	}
	for i := range out.RateLimits {
		out.RateLimits[i].setDefaults()
	}
	if out.Headers != nil {
		set(&out.Headers.Preset, DefaultPreset)
	}
	if out.Compression != nil {
		set(&out.Compression.MinSize, DefaultMinSize)
	}
	if out.PasswordPolicy != nil {
		out.PasswordPolicy.setDefaults()
	}
	if out.Audit != nil {
		out.Audit.setDefaults()
	}
	return out
}

// addImplied adds the sections that another section needs: tokens have sessions and can be revoked, and what a provider logs out
// must be refused by every sidecar.
func (s *SecurityPolicySpec) addImplied() {
	revocable := s.Tokens != nil
	if s.JWT != nil {
		for i := range s.JWT.Providers {
			revocable = revocable || s.JWT.Providers[i].BackChannelLogout != nil
		}
	}
	if revocable {
		ensure(&s.Revocation)
	}
	if s.Tokens != nil {
		ensure(&s.Sessions)
	}
	ensure(&s.Authorization)
}

func (t *TLS) setDefaults() {
	set(&t.MinVersion, DefaultTLSVersion)
	if t.Redirect != nil {
		set(&t.Redirect.Port, DefaultTLSRedirectPort)
	}
	for i := range t.Certificates {
		if v := t.Certificates[i].Vault; v != nil && v.PKI != nil {
			set(&v.PKI.Mount, DefaultPKIMount)
		}
	}
	if c := t.ClientCertificates; c != nil {
		set(&c.Mode, DefaultClientCertificates)
		setFormats(c.ClaimsToHeaders)
	}
}

// Identifies reports whether the certificate of a client is a credential.
func (t *TLS) Identifies() bool {
	return t != nil && t.ClientCertificates != nil && t.ClientCertificates.Identity != "" && t.ClientCertificates.Mode != ClientCertificatesNone
}

func (p *Paths) setDefaults() {
	p.inherit(&PathOptions{
		EncodedSlash: DefaultPathHandling, Semicolon: DefaultPathHandling, Backslash: DefaultPathHandling, DoubleEncoding: DefaultPathHandling,
		EmptySegments: DefaultEmptySegments,
	})
	for i := range p.Routes {
		p.Routes[i].inherit(&p.PathOptions)
	}
}

// inherit sets what is unset to the values of from.
func (o *PathOptions) inherit(from *PathOptions) {
	set(&o.EncodedSlash, from.EncodedSlash)
	set(&o.Semicolon, from.Semicolon)
	set(&o.Backslash, from.Backslash)
	set(&o.DoubleEncoding, from.DoubleEncoding)
	set(&o.EmptySegments, from.EmptySegments)
}

func (p *LoginProtection) setDefaults() {
	for i := range p.Routes {
		r := &p.Routes[i]
		set(&r.Kind, LoginRouteLogin)
		if r.Kind == LoginRouteLogin && r.Failure == nil {
			r.Failure = &LoginFailure{Statuses: []int32{401, 403, 422}}
		}
	}
	if p.BreachedPasswords != nil {
		p.BreachedPasswords.setDefaults()
	}
	p.PerAccount.setDefaults(DefaultAccountFailures, DefaultAccountLock)
	p.PerAddress.setDefaults(DefaultAddressFailures, DefaultAddressLock)
	set(&p.Global.Failures, DefaultGlobalFailures)
	set(&p.Global.Within, DefaultGlobalWithin)
	set(&p.Resets.PerAccount, DefaultAccountResets)
	set(&p.Resets.PerAddress, DefaultAddressResets)
	if p.KnownDevices.Failures == nil {
		failures := DefaultDeviceFailures
		p.KnownDevices.Failures = &failures
	}
	set(&p.KnownDevices.RememberFor, DefaultRememberDevice)
	if c := p.Challenge; c != nil {
		set(&c.Header, DefaultChallengeHeader)
		set(&c.Timeout, DefaultChallengeTime)
		set(&c.OnFailure, FailDeny)
		if c.AfterFailures == nil {
			after := DefaultChallengeAfter
			c.AfterFailures = &after
		}
	}
	set(&p.Response, DefaultLoginResponse)
	set(&p.OnFailure, DefaultLoginOnFailure)
	set(&p.Mode, DefaultMode)
}

func (l *LoginLimit) setDefaults(failures int32, lock Duration) {
	set(&l.Failures, failures)
	set(&l.Within, DefaultLoginWithin)
	set(&l.LockFor, lock)
	set(&l.MaxLock, DefaultMaxLock)
}

func (p *JWTProvider) setDefaults() {
	set(&p.Leeway, DefaultLeeway)
	setFormats(p.ClaimsToHeaders)
	if p.Legacy != nil {
		set(&p.Legacy.SubjectClaim, DefaultSubjectClaim)
		set(&p.Legacy.ShortSecret, FailDeny)
	}
	if p.JWKS.URI != "" {
		set(&p.JWKS.RefreshInterval, DefaultRefreshInterval)
		set(&p.JWKS.MaxStale, DefaultKeysMaxStale)
	}
	if b := p.BackChannelLogout; b != nil && len(b.ClientIDs) == 0 {
		b.ClientIDs = p.Audiences
	}
	if p.ProofOfPossession != nil {
		p.ProofOfPossession.setDefaults()
	}
}

// setDefaults leaves methods as they are: their default depends on the policy.
func (p *ProofOfPossession) setDefaults() {
	set(&p.Mode, DefaultProofMode)
	if p.Mode != ProofNone && (len(p.Methods) == 0 || slices.Contains(p.Methods, ProofDPoP)) {
		ensure(&p.DPoP)
	}
	if p.DPoP != nil {
		set(&p.DPoP.MaxAge, DefaultProofMaxAge)
		set(&p.DPoP.OnFailure, DefaultProofOnFailure)
	}
}

func setFormats(headers []ClaimToHeader) {
	for i := range headers {
		set(&headers[i].Format, DefaultFormat)
	}
}

func (t *Tokens) setDefaults() {
	set(&t.Algorithm, DefaultAlgorithm)
	set(&t.AccessLifetime, DefaultAccessLifetime)
	set(&t.RefreshLifetime, DefaultRefreshLifetime)
	set(&t.RefreshGrace, DefaultRefreshGrace)
	set(&t.FieldEncoding, DefaultFieldEncoding)
	setFormats(t.ClaimsToHeaders)
	set(&t.Delivery, DefaultDelivery)
	set(&ensure(&t.Cookie).SameSite, DefaultSameSite)
	set(&t.Cookie.Renewal, DefaultRenewal)
	set(&ensure(&t.Rotation).Overlap, DefaultRotationOverlap)
	set(&ensure(&t.Endpoints).Prefix, DefaultPrefix)
	set(&t.Endpoints.ClearSiteData, DefaultClearSiteData)
	if t.SigningKey.Transit != nil {
		set(&t.SigningKey.Transit.Mount, DefaultTransitMount)
	}
	for i := range t.Login {
		// A page of another origin can make a browser send a GET, so a login by GET must be named.
		if len(t.Login[i].Methods) == 0 {
			t.Login[i].Methods = []string{DefaultLoginMethod}
		}
	}
}

func (s *Sessions) setDefaults(tokens *Tokens) {
	set(&s.AbsoluteTimeout, DefaultAbsoluteTimeout)
	set(&s.MaxPerSubject, DefaultMaxPerSubject)
	set(&s.WhenFull, DefaultWhenFull)
	set(&s.WhenMemoryFull, DefaultWhenMemoryFull)
	set(&ensure(&s.Device).Bind, DefaultBind)
	set(&s.OnFailure, DefaultSessionsOnFailure)
	set(&s.Mode, DefaultMode)
	absolute, err := s.AbsoluteTimeout.Std()
	if err != nil {
		return // the compiler reports it
	}
	if tokens != nil {
		if refresh, err := tokens.RefreshLifetime.Std(); err == nil && refresh < absolute {
			set(&s.IdleTimeout, tokens.RefreshLifetime)
		}
	}
	set(&s.IdleTimeout, s.AbsoluteTimeout)
}

func (a *Authorization) setDefaults(authenticates bool) {
	if authenticates {
		set(&a.Default, RequireAuthenticated)
	}
	set(&a.Default, RequireAnonymous)
	set(&a.Mode, DefaultMode)
	set(&a.CacheControl, DefaultCacheControl)
	for i := range a.Rules {
		set(&a.Rules[i].Require, DefaultRequire)
		set(&a.Rules[i].Mode, DefaultMode)
	}
}

func (l *RateLimit) setDefaults() {
	// The compiler reports a rate that cannot be parsed.
	if count, _, err := l.Limit.Parse(); err == nil {
		set(&l.Burst, int32(count))
	}
	if l.LimitByClaim != nil {
		for i := range l.LimitByClaim.Values {
			v := &l.LimitByClaim.Values[i]
			if count, _, err := v.Limit.Parse(); err == nil {
				set(&v.Burst, int32(count))
			}
		}
	}
	set(&l.IPv6PrefixLength, DefaultIPv6PrefixLength)
	if len(l.KeyBy) == 0 {
		l.KeyBy = []RateLimitKey{{Type: DefaultRateLimitKey}}
	}
	set(&l.Mode, DefaultMode)
	set(&l.OnFailure, DefaultRateLimitOnFailure)
}

func (p *PasswordPolicy) setDefaults() {
	p.setRuleDefaults()
	set(&p.LongBcryptPasswords, DefaultLongBcrypt)
	hash := ensure(&p.Hash)
	set(&hash.Algorithm, DefaultHash)
	if hash.Algorithm != DefaultHash {
		set(&ensure(&hash.Bcrypt).Cost, DefaultBcryptCost)
		return
	}
	cost := ensure(&hash.Argon2id)
	set(&cost.Memory, DefaultArgon2Memory)
	set(&cost.Passes, DefaultArgon2Passes)
	set(&cost.Parallelism, DefaultArgon2Parallelism)
}

// WithDefaults returns a copy of the spec in which every unset field with a default has it, except image, imagePullPolicy and
// resources: these concern the pod alone, and controllers/render sets them.
func (s *SidecarClassSpec) WithDefaults() SidecarClassSpec {
	out := *s.DeepCopy()
	set(&out.Interception, DefaultInterception)
	set(&out.LogLevel, DefaultLogLevel)
	set(&out.AccessLog, DefaultAccessLog)
	set(&ensure(&out.RequestID).Header, DefaultRequestIDHeader)
	set(&out.RequestID.FromClients, DefaultRequestIDSource)
	if o := out.AccessLogOptions; o != nil {
		if o.SampleRatio == nil {
			*ensure(&o.SampleRatio) = DefaultAccessLogRatio
		}
		set(&o.Format, DefaultAccessLogForm)
	}
	if t := out.Telemetry; t != nil && t.OTLP != nil {
		t.OTLP.setDefaults()
	}
	set(&out.DrainTimeout, DefaultDrainTimeout)
	if r := ensure(&out.Requests); r.MinBodyRate == nil {
		*ensure(&r.MinBodyRate) = DefaultMinBodyRate
	}
	if c := out.Connections; c != nil {
		set(&c.IdleTimeout, DefaultConnectionIdle)
	}
	if r := out.Redis; r != nil {
		set(&r.Mode, DefaultRedisMode)
		set(&r.Timeout, DefaultRedisTimeout)
	}
	if out.Vault != nil {
		out.Vault.setDefaults()
	}
	if out.Database != nil {
		out.Database.setDefaults()
	}
	ensure(&out.Audit).setDefaults()
	return out
}

func (o *OTLP) setDefaults() {
	set(&o.Protocol, DefaultOTLPProtocol)
	if o.SampleRatio == nil {
		*ensure(&o.SampleRatio) = DefaultSampleRatio
	}
	if o.TLS != nil {
		set(&o.TLS.Mode, DefaultOTLPTLSMode)
	}
}

func (v *Vault) setDefaults() {
	set(&v.Timeout, DefaultVaultTimeout)
	set(&v.PollInterval, DefaultVaultPoll)
	set(&v.MaxStale, DefaultVaultMaxStale)
	if k := v.Auth.Kubernetes; k != nil {
		set(&k.Mount, DefaultVaultMount)
		set(&k.Audience, DefaultVaultAudience)
	}
	if a := v.Auth.AppRole; a != nil {
		set(&a.Mount, DefaultVaultRoleMount)
	}
}

// set sets a field that is unset.
func set[T comparable](field *T, value T) {
	var unset T
	if *field == unset {
		*field = value
	}
}

// ensure returns the section, which it makes if it is unset.
func ensure[T any](section **T) *T {
	if *section == nil {
		*section = new(T)
	}
	return *section
}
