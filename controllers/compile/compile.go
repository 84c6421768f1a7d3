// Package compile turns a SecurityPolicy and its SidecarClass into the document that sidecars run. It is pure: no client,
// no clock.
package compile

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// Severity says whether a finding keeps the policy from being accepted.
type Severity string

const (
	// Error: no sidecar can run the policy as it is written.
	Error Severity = "Error"
	// Warning: the policy runs, but probably not as intended.
	Warning Severity = "Warning"
)

// Finding is something about a policy that a person should change.
type Finding struct {
	Severity Severity
	// Field is the path of the field, as "spec.rateLimits[0].limit".
	Field   string
	Message string
}

func (f Finding) String() string { return f.Field + ": " + f.Message }

// HasErrors reports whether one of the findings is an Error.
func HasErrors(findings []Finding) bool {
	for _, f := range findings {
		if f.Severity == Error {
			return true
		}
	}
	return false
}

// Compile returns the document of policy under class, without a revision, and what is wrong with it. The document is
// nil if a finding is an Error. The same input gives the same document. A class without a name stands for one that is unknown:
// there are no warnings about its unset fields.
func Compile(policy *v1alpha1.SecurityPolicy, class *v1alpha1.SidecarClass) (*compiled.Policy, []Finding) {
	if f := tooLarge(SpecSize(&policy.Spec)); f != nil {
		return nil, []Finding{*f}
	}
	c := &compiler{}
	if _, err := ParseSelector(policy); err != nil {
		c.errorf("spec.selector", "%v: until it is correct, every pod of the namespace that no older policy selects is refused", err)
	}
	spec, classSpec := policy.Spec.WithDefaults(), class.Spec.WithDefaults()
	p := c.policy(policy, &spec)
	p.Sidecar = c.sidecar(&classSpec)
	p.Redis = c.redis(classSpec.Redis)
	p.Telemetry = c.telemetry(classSpec.Telemetry)
	p.Vault = c.vault(classSpec.Vault, spec.VaultRole)
	c.addAudit(p, spec.Audit, &classSpec)
	c.settleVault(p, spec.VaultRole)
	c.judge(p)
	c.refuseOrigins(p)
	c.warn(p)
	if HasErrors(c.findings) {
		return nil, c.findings
	}
	c.suspect(p, class)
	p.SchemaVersion = compiled.Schema(nil).VersionOf(p)
	if err := fits(p); err != nil {
		c.errorf("spec", "%v", err)
		return nil, c.findings
	}
	return p, c.findings
}

// judge reports what no sidecar could run, with the checks that sidecars use. A problem of a field that already has an error is left
// out, because the document has a placeholder there.
func (c *compiler) judge(p *compiled.Policy) {
	translated := c.findings
	for _, problem := range check.Document(p) {
		known := slices.ContainsFunc(translated, func(f Finding) bool { return f.Severity == Error && strings.HasPrefix(f.Field, problem.Field) })
		if !known {
			c.errorf(problem.Field, "%s", problem.Message)
		}
	}
}

// compiler collects findings while it translates.
type compiler struct{ findings []Finding }

func (c *compiler) errorf(field, format string, args ...any) {
	c.findings = append(c.findings, Finding{Error, field, fmt.Sprintf(format, args...)})
}

func (c *compiler) warnf(field, format string, args ...any) {
	c.findings = append(c.findings, Finding{Warning, field, fmt.Sprintf(format, args...)})
}

// policy translates the spec of in, with its defaults.
func (c *compiler) policy(in *v1alpha1.SecurityPolicy, spec *v1alpha1.SecurityPolicySpec) *compiled.Policy {
	p := &compiled.Policy{
		SchemaVersion:   1,
		Namespace:       in.Namespace,
		Name:            in.Name,
		UID:             string(in.UID),
		Generation:      in.Generation,
		Mode:            compiled.Mode(spec.Mode),
		UndeclaredPorts: compiled.FailureMode(spec.UndeclaredPorts),
		Ports:           c.ports(spec.Ports),
		Paths:           paths(spec.Paths),
		Tokens:          c.tokens(in, spec.Tokens),
		Sessions:        c.sessions(spec),
		Revocation:      c.revocation(spec.Revocation),
		Passwords:       c.passwords(spec.PasswordPolicy),
		PasswordPolicy:  c.passwordPolicy(in, spec.PasswordPolicy),
		LoginProtection: c.loginProtection(spec.LoginProtection),
		APIKeys:         c.apiKeys(spec.APIKeys),
		TLS:             c.tls(spec.TLS),
		UpstreamTLS:     c.upstreamTLS(spec.UpstreamTLS),

		ForwardClientCert: forwardClientCert(spec.ForwardClientCert),

		Authorization: c.authorization(spec),
		Headers:       headers(spec.Headers),
		CORS:          c.cors(spec.CORS),
		Compression:   c.compression(spec.Compression),
	}
	if spec.UpstreamProtocol != v1alpha1.DefaultUpstream {
		p.UpstreamProtocol = compiled.UpstreamProtocol(spec.UpstreamProtocol)
	}
	if spec.JWT != nil {
		for i := range spec.JWT.Providers {
			p.Providers = append(p.Providers, c.provider(fmt.Sprintf("spec.jwt.providers[%d]", i), &spec.JWT.Providers[i]))
		}
	}
	c.proofs(spec, p)
	for i := range spec.RateLimits {
		p.RateLimits = append(p.RateLimits, c.rateLimit(fmt.Sprintf("spec.rateLimits[%d]", i), &spec.RateLimits[i]))
	}
	return p
}

func (c *compiler) ports(in []v1alpha1.Port) []compiled.Port {
	var out []compiled.Port
	for i, p := range in {
		port := compiled.Port{Protocol: compiled.Protocol(p.Protocol)}
		switch {
		case p.Port.Type == intstr.String:
			port.Name = p.Port.StrVal
			if strings.Trim(port.Name, "0123456789") == "" {
				c.errorf(fmt.Sprintf("spec.ports[%d].port", i), "%q is a name without a letter, which no container port can have: write a number without quotes, such as 8080", port.Name)
			}
		case p.Port.IntVal >= 1 && p.Port.IntVal <= 65535:
			port.Number = uint16(p.Port.IntVal)
		default:
			c.errorf(fmt.Sprintf("spec.ports[%d].port", i), "%d is not a port number: write a number from 1 to 65535, such as 8080", p.Port.IntVal)
		}
		if slices.Contains(compiled.OwnPorts(), port.Number) {
			c.errorf(fmt.Sprintf("spec.ports[%d].port", i), "%d is the sidecar's own port: make the app listen on another port, such as 8080", port.Number)
		}
		if slices.ContainsFunc(out, func(q compiled.Port) bool { return q.Number == port.Number && q.Name == port.Name }) {
			// The CRD cannot check it: comparing values that are numbers or names exceeds the cost budget of CEL.
			c.errorf(fmt.Sprintf("spec.ports[%d].port", i), "port %s is in the list twice: write each port once", p.Port.String())
		}
		out = append(out, port)
	}
	return out
}

// duration returns 0 for a duration that is unset and has no default.
func (c *compiler) duration(field string, d v1alpha1.Duration) compiled.Duration {
	v, err := d.Std()
	if err != nil {
		c.errorf(field, "%v", err)
	}
	return compiled.Duration(v)
}

func (c *compiler) provider(field string, in *v1alpha1.JWTProvider) compiled.Provider {
	p := compiled.Provider{
		Name: in.Name, Issuer: in.Issuer, Audiences: in.Audiences, TokenTypes: in.TokenTypes, ForwardToken: in.ForwardToken,
		Keys:        c.keys(field+".jwks", &in.JWKS),
		Leeway:      c.duration(field+".leeway", in.Leeway),
		MaxLifetime: c.duration(field+".maxLifetime", in.MaxLifetime),

		BackChannelLogout: backChannelLogout(in.BackChannelLogout),
	}
	if l := in.Legacy; l != nil {
		p.Legacy = &compiled.Legacy{
			Until: l.Until.UTC(), Unnamed: in.Issuer == "", SubjectClaim: l.SubjectClaim, ShortSecret: l.ShortSecret == v1alpha1.FailAllow,
		}
		if in.Issuer == "" {
			p.Issuer = compiled.LegacyIssuer(in.Name)
		}
	}
	for _, a := range in.Algorithms {
		p.Algorithms = append(p.Algorithms, string(a))
	}
	for _, l := range in.From {
		p.From = append(p.From, compiled.TokenLocation(l))
	}
	for _, r := range in.RequiredClaims {
		p.RequiredClaims = append(p.RequiredClaims, compiled.RequiredClaim{Claim: r.Claim, Values: r.Values, Members: (*compiled.ClaimMembers)(r.Members)})
	}
	p.ClaimsToHeaders = claimsToHeaders(in.ClaimsToHeaders)
	return p
}

// claimsToHeaders leaves the default format out, which is that of an entry without one.
func claimsToHeaders(in []v1alpha1.ClaimToHeader) []compiled.ClaimToHeader {
	var out []compiled.ClaimToHeader
	for _, h := range in {
		c := compiled.ClaimToHeader{Claim: h.Claim, Header: h.Header}
		if h.Format != v1alpha1.FormatAuto {
			c.Format = string(h.Format)
		}
		out = append(out, c)
	}
	return out
}

func (c *compiler) keys(field string, in *v1alpha1.JWKS) compiled.Keys {
	c.one(field, "uri, inline, secretKeyRef and vault", in.URI != "", in.Inline != "", in.SecretKeyRef != nil, in.Vault != nil)
	k := compiled.Keys{URI: in.URI, CABundle: in.CABundle, InsecureHTTP: in.InsecureHTTP, Bearer: c.bearer(field+".bearerToken", in.BearerToken)}
	switch {
	case in.URI != "":
		k.RefreshInterval = c.duration(field+".refreshInterval", in.RefreshInterval)
		k.MaxStale = c.duration(field+".maxStale", in.MaxStale)
	case in.Inline != "":
		if !json.Valid([]byte(in.Inline)) {
			c.errorf(field+".inline", "this is not JSON; a JSON Web Key Set looks like {\"keys\": [...]}")
			return k // no document can hold it
		}
		k.Inline = json.RawMessage(in.Inline)
	case in.SecretKeyRef != nil:
		k.Secret = keyRef(in.SecretKeyRef)
	case in.Vault != nil:
		k.Secret = vaultRef(in.Vault)
	}
	return k
}

// one refuses a one-of with no member or several members.
func (c *compiler) one(field, members string, given ...bool) {
	n := 0
	for _, g := range given {
		if g {
			n++
		}
	}
	if n != 1 {
		c.errorf(field, "set exactly one of %s", members)
	}
}
