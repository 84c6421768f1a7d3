package compile

import (
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

func matches(in []v1alpha1.RouteMatch) []compiled.Match {
	var out []compiled.Match
	for _, m := range in {
		out = append(out, compiled.Match{Methods: m.Methods, Paths: m.Paths})
	}
	return out
}

func (c *compiler) rateLimit(field string, in *v1alpha1.RateLimit) compiled.RateLimit {
	l := compiled.RateLimit{
		Name: in.Name, Match: matches(in.Match), Burst: int(in.Burst), MaxInFlight: int(in.MaxInFlight),
		Mode: compiled.Mode(in.Mode), OnFailure: compiled.FailureMode(in.OnFailure),
	}
	if in.Limit != "" || in.MaxInFlight == 0 {
		count, period, err := in.Limit.Parse()
		if err != nil {
			c.errorf(field+".limit", "%v", err)
		}
		l.Limit, l.Period = count, compiled.Duration(period)
	}
	for _, k := range in.KeyBy {
		l.KeyBy = append(l.KeyBy, compiled.RateLimitKey{Type: string(k.Type), Name: k.Name})
	}
	c.limitOptions(field, in, &l)
	return l
}

func headers(in *v1alpha1.Headers) *compiled.Headers {
	if in == nil {
		return nil
	}
	h := &compiled.Headers{Preset: string(in.Preset), HeaderRules: headerRules(in.HeaderRules)}
	for _, r := range in.Routes {
		h.Routes = append(h.Routes, compiled.HeaderRoute{Match: matches(r.Match), Preset: string(r.Preset), HeaderRules: headerRules(r.HeaderRules)})
	}
	return h
}

func headerRules(in v1alpha1.HeaderRules) compiled.HeaderRules {
	return compiled.HeaderRules{Keep: in.Keep, Omit: in.Omit, Set: headerFields(in.Set), Remove: in.Remove}
}

func headerFields(in []v1alpha1.HeaderField) []compiled.HeaderField {
	var out []compiled.HeaderField
	for _, f := range in {
		out = append(out, compiled.HeaderField(f))
	}
	return out
}

func (c *compiler) cors(in *v1alpha1.CORS) *compiled.CORS {
	if in == nil {
		return nil
	}
	return &compiled.CORS{
		AllowOrigins: in.AllowOrigins, AllowMethods: in.AllowMethods, AllowHeaders: in.AllowHeaders, ExposeHeaders: in.ExposeHeaders,
		AllowCredentials: in.AllowCredentials, MaxAge: c.duration("spec.cors.maxAge", in.MaxAge),
	}
}

func (c *compiler) compression(in *v1alpha1.Compression) *compiled.Compression {
	if in == nil {
		return nil
	}
	size, err := in.MinSize.Bytes()
	if err != nil {
		c.errorf("spec.compression.minSize", "%v", err)
	}
	return &compiled.Compression{MinSize: size, Types: in.Types}
}

func (c *compiler) sidecar(in *v1alpha1.SidecarClassSpec) compiled.SidecarOptions {
	return compiled.SidecarOptions{
		TrustedProxies: in.TrustedProxies,
		AccessLog:      in.AccessLog,
		LogLevel:       in.LogLevel,
		RequestID:      requestID(in.RequestID),

		AccessLogOptions: c.accessLog(in.AccessLogOptions),
		DrainTimeout:     c.duration("sidecarClass.spec.drainTimeout", in.DrainTimeout),
		Requests:         requestLimits(in.Requests),
		Upgrades:         upgradeLimits(in.Upgrades),
		Connections:      c.connections(in.Connections),
	}
}

func requestLimits(in *v1alpha1.RequestLimits) *compiled.RequestLimits {
	if in == nil {
		return nil
	}
	out := &compiled.RequestLimits{Max: int(in.Max), MaxPerAddress: int(in.MaxPerAddress)}
	if in.MinBodyRate != nil {
		rate := int(*in.MinBodyRate)
		out.MinBodyRate = &rate
	}
	return out
}

func upgradeLimits(in *v1alpha1.UpgradeLimits) *compiled.UpgradeLimits {
	if in == nil {
		return nil
	}
	return &compiled.UpgradeLimits{Max: int(in.Max), MaxPerAddress: int(in.MaxPerAddress)}
}

func (c *compiler) redis(in *v1alpha1.Redis) *compiled.Redis {
	if in == nil {
		return nil
	}
	const field = "sidecarClass.spec.redis"
	r := &compiled.Redis{
		Mode: string(in.Mode), Addresses: in.Addresses, MasterName: in.MasterName,
		Database: int(in.Database), Username: in.Username, Password: c.secretRef(field+".passwordRef", in.PasswordRef),
		SentinelPassword: c.secretRef(field+".sentinelPasswordRef", in.SentinelPasswordRef),
		Timeout:          c.duration(field+".timeout", in.Timeout),
	}
	if in.TLS != nil {
		r.TLS = &compiled.RedisTLS{
			ServerName: in.TLS.ServerName, CABundle: in.TLS.CABundle,
			Certificate: c.secretRef(field+".tls.certificateRef", in.TLS.CertificateRef), Key: c.secretRef(field+".tls.keyRef", in.TLS.KeyRef),
		}
	}
	return r
}
