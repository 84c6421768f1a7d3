package compiled

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Validate reports everything that a sidecar could not run: unknown values, missing values, numbers out of range. Patterns, keys
// and origins are checked by the stages when the chain is built.
func (p *Policy) Validate() error {
	var errs []error
	add := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	add(p.validateHead())
	for i := range p.Ports {
		add(wrap(p.Ports[i].validate(), "ports[%d]", i))
	}
	add(oneOf("upstreamProtocol", p.UpstreamProtocol, "", UpstreamAuto, UpstreamHTTP1, UpstreamH2C))
	add(wrap(p.UpstreamTLS.validate(), "upstreamTLS"))
	add(wrap(p.TLS.validate(), "tls"))
	add(wrap(p.ForwardClientCert.validate(), "forwardClientCert"))
	if p.Paths != nil {
		add(wrap(p.Paths.validate(), "paths"))
	}
	for i := range p.Providers {
		add(wrap(p.Providers[i].validate(), "providers[%d]", i))
	}
	add(p.Authorization.validate())
	for i := range p.RateLimits {
		add(wrap(p.RateLimits[i].validate(), "rateLimits[%d]", i))
	}
	if p.Headers != nil {
		add(p.Headers.validate())
	}
	add(p.Sidecar.validate())
	if p.Redis != nil {
		add(wrap(p.Redis.validate(), "redis"))
	}
	if p.Vault != nil {
		add(wrap(p.Vault.validate(), "vault"))
	}
	add(wrap(p.Telemetry.validate(), "telemetry"))
	add(wrap(p.LoginProtection.validate(), "loginProtection"))
	add(p.validateTokens())
	add(wrap(p.APIKeys.validate(), "apiKeys"))
	add(p.validateAudit())
	add(p.validateSecrets())
	return errors.Join(errs...)
}

func (p *Policy) validateHead() error {
	switch {
	case p.SchemaVersion < 1:
		return fmt.Errorf("schemaVersion %d is not positive", p.SchemaVersion)
	case p.Namespace == "" || p.Name == "":
		return errors.New("namespace and name are required")
	case p.Revision <= 0:
		return errors.New("revision is not positive")
	}
	return errors.Join(oneOf("mode", p.Mode, Enforce, Shadow), oneOf("undeclaredPorts", p.UndeclaredPorts, Deny, Allow))
}

func (h *Headers) validate() error {
	errs := []error{oneOf("headers.preset", h.Preset, "Strict", "API", "None")}
	for i := range h.Routes {
		errs = append(errs, oneOf(fmt.Sprintf("headers.routes[%d].preset", i), h.Routes[i].Preset, "", "Strict", "API", "None"))
	}
	return errors.Join(errs...)
}

func (p Port) validate() error {
	if (p.Number == 0) == (p.Name == "") {
		return errors.New("exactly one of number and name is required")
	}
	return oneOf("protocol", p.Protocol, HTTP, TCP)
}

func (p *Paths) validate() error {
	errs := []error{p.Options.validate()}
	for i := range p.Routes {
		errs = append(errs, wrap(p.Routes[i].Options.validate(), "routes[%d]", i))
	}
	return errors.Join(errs...)
}

func (o *PathOptions) validate() error {
	return errors.Join(
		oneOf("encodedSlash", o.EncodedSlash, PathReject, PathKeep),
		oneOf("semicolon", o.Semicolon, PathReject, PathKeep),
		oneOf("backslash", o.Backslash, PathReject, PathKeep),
		oneOf("doubleEncoding", o.DoubleEncoding, PathReject, PathKeep),
		oneOf("emptySegments", o.EmptySegments, PathKeep, PathMerge, PathReject),
	)
}

func (p *Provider) validate() error {
	sources := 0
	for _, given := range []bool{p.Keys.URI != "", len(p.Keys.Inline) > 0, p.Keys.Secret != nil} {
		if given {
			sources++
		}
	}
	switch {
	case p.Name == "" || p.Issuer == "":
		return errors.New("name and issuer are required")
	case len(p.Algorithms) == 0:
		return errors.New("algorithms are required")
	case sources != 1:
		return errors.New("keys: exactly one of uri, inline and secret is required")
	case len(p.Audiences) == 0 && len(p.RequiredClaims) == 0 && p.Legacy == nil:
		return errors.New("audiences or requiredClaims are required")
	}
	if err := p.validateLegacy(); err != nil {
		return err
	}
	if err := p.ProofOfPossession.validate(); err != nil {
		return err
	}
	return p.Keys.validateBearer()
}

func (p *Provider) validateLegacy() error {
	l := p.Legacy
	switch {
	case l == nil:
		return nil
	case l.Until.IsZero() || l.SubjectClaim == "":
		return errors.New("legacy: until and subjectClaim are required")
	case l.Unnamed != (p.Issuer == LegacyIssuer(p.Name)):
		return errors.New("legacy: tokens without iss have the issuer of LegacyIssuer")
	case p.BackChannelLogout != nil:
		return errors.New("legacy: there is no back-channel logout")
	}
	return nil
}

func (k *Keys) validateBearer() error {
	switch {
	case k.URI == "" && (k.Bearer != nil || k.InsecureHTTP):
		return errors.New("keys: bearer and insecureHTTP need uri")
	case k.Bearer != nil && (k.Bearer.ServiceAccount == nil) == (k.Bearer.Secret == nil):
		return errors.New("keys.bearer: exactly one of serviceAccount and secret is required")
	}
	return nil
}

func (a *Authorization) validate() error {
	errs := []error{
		oneOf("authorization.default", a.Default, RequireAuthenticated, RequireAnonymous, RequireDeny),
		oneOf("authorization.mode", a.Mode, Enforce, Shadow),
	}
	for i, r := range a.Rules {
		if r.Name == "" || len(r.Match) == 0 {
			errs = append(errs, fmt.Errorf("authorization.rules[%d]: name and match are required", i))
		}
		errs = append(errs, wrap(errors.Join(
			oneOf("require", r.Require, RequireAuthenticated, RequireAnonymous, RequireDeny),
			oneOf("mode", r.Mode, Enforce, Shadow)), "authorization.rules[%d]", i))
	}
	return errors.Join(errs...)
}

func (l *RateLimit) validate() error {
	unlimited := l.Limit == 0 && l.Period == 0 && l.Burst == 0 && l.LimitByClaim == nil && l.Cost == nil && l.MaxInFlight > 0
	if l.Name == "" || !unlimited && (l.Limit < 1 || l.Period <= 0 || l.Burst < 1) || len(l.KeyBy) == 0 {
		return errors.New("name, limit, period, burst and keyBy are required; without limitByClaim and cost, maxInFlight may replace limit, period and burst")
	}
	errs := []error{oneOf("mode", l.Mode, Enforce, Shadow), oneOf("onFailure", l.OnFailure, Deny, Allow), l.validateOptions()}
	for i, k := range l.KeyBy {
		errs = append(errs, wrap(oneOf("type", k.Type, KeyClientAddress, KeySubject, KeyClaim, KeyHeader, KeyRoute), "keyBy[%d]", i))
		if named := k.Type == KeyClaim || k.Type == KeyHeader; named != (k.Name != "") {
			errs = append(errs, fmt.Errorf("keyBy[%d]: name is required for Claim and Header, and not allowed otherwise", i))
		}
	}
	return errors.Join(errs...)
}

func (s *SidecarOptions) validate() error {
	errs := []error{
		oneOf("sidecar.accessLog", s.AccessLog, "All", "Errors", "None"),
		oneOf("sidecar.logLevel", s.LogLevel, "debug", "info", "warn", "error"),
		wrap(s.AccessLogOptions.validate(), "sidecar.accessLogOptions"),
		wrap(s.RequestID.validate(), "sidecar.requestID"),
	}
	for i, cidr := range s.TrustedProxies {
		_, err := netip.ParsePrefix(cidr)
		errs = append(errs, wrap(err, "sidecar.trustedProxies[%d]", i))
	}
	return errors.Join(errs...)
}

func oneOf[T ~string](field string, got T, want ...T) error {
	if slices.Contains(want, got) {
		return nil
	}
	return fmt.Errorf("%s is %q, not one of %q", field, got, want)
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}
