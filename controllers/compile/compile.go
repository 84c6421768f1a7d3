// Package compile turns a SecurityPolicy and its SidecarClass into the document that sidecars run. It is pure: no client,
// no clock.
package compile

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// Severity says whether a finding keeps the policy from being accepted.
type Severity string

const (
	// Error: the policy cannot be run as written.
	Error Severity = "Error"
	// Warning: the policy runs, and probably not as meant.
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

// Defaults of what policies and classes leave out.
const (
	defaultRefreshInterval = 5 * time.Minute
	defaultMaxStale        = 24 * time.Hour
	defaultRedisTimeout    = 100 * time.Millisecond
	defaultDrainTimeout    = 25 * time.Second
	defaultLeeway          = 30 * time.Second
	defaultMinSize         = 1 << 10
)

// Compile returns the document of policy under class, without a revision, and what is wrong with it. The document is
// nil where a finding is an Error. The same input gives the same document. A class without a name stands for one that is
// not at hand: nothing is said of what it leaves out.
func Compile(policy *v1alpha1.SecurityPolicy, class *v1alpha1.SidecarClass) (*compiled.Policy, []Finding) {
	c := &compiler{}
	if _, err := metav1.LabelSelectorAsSelector(&policy.Spec.Selector); err != nil {
		c.errorf("spec.selector", "%v: as long as it cannot be read, no pod of the namespace is let in without an older policy", err)
	}
	p := c.policy(policy)
	p.Sidecar = c.sidecar(&class.Spec)
	p.Redis = c.redis(class.Spec.Redis)
	p.Vault = c.vault(class.Spec.Vault, policy.Spec.VaultRole)
	c.settleVault(p, policy.Spec.VaultRole)
	c.judge(p)
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

// judge finds what no sidecar could run, as sidecars do. A problem of a field that could not be translated is left out: it is of what
// stands in its place.
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

func (c *compiler) policy(in *v1alpha1.SecurityPolicy) *compiled.Policy {
	spec := &in.Spec
	p := &compiled.Policy{
		SchemaVersion:   1,
		Namespace:       in.Namespace,
		Name:            in.Name,
		UID:             string(in.UID),
		Generation:      in.Generation,
		Mode:            mode(spec.Mode),
		UndeclaredPorts: failure(spec.UndeclaredPorts, compiled.Deny),
		Ports:           c.ports(spec.Ports),
		Tokens:          c.tokens(in),
		Sessions:        c.sessions(spec),
		Revocation:      c.revocation(spec),
		Passwords:       c.passwords(spec.PasswordPolicy),
		Authorization:   c.authorization(spec),
		Headers:         headers(spec.Headers),
		CORS:            c.cors(spec.CORS),
		Compression:     c.compression(spec.Compression),
	}
	if spec.JWT != nil {
		for i := range spec.JWT.Providers {
			p.Providers = append(p.Providers, c.provider(fmt.Sprintf("spec.jwt.providers[%d]", i), &spec.JWT.Providers[i]))
		}
	}
	for i := range spec.RateLimits {
		p.RateLimits = append(p.RateLimits, c.rateLimit(fmt.Sprintf("spec.rateLimits[%d]", i), &spec.RateLimits[i]))
	}
	return p
}

func (c *compiler) ports(in []v1alpha1.Port) []compiled.Port {
	var out []compiled.Port
	for i, p := range in {
		port := compiled.Port{Protocol: compiled.Protocol(orDefault(string(p.Protocol), string(compiled.HTTP)))}
		switch {
		case p.Port.Type == intstr.String:
			port.Name = p.Port.StrVal
		case p.Port.IntVal >= 1 && p.Port.IntVal <= 65535:
			port.Number = uint16(p.Port.IntVal)
		default:
			c.errorf(fmt.Sprintf("spec.ports[%d].port", i), "%d is not a port number", p.Port.IntVal)
		}
		if slices.Contains(compiled.OwnPorts(), port.Number) {
			c.errorf(fmt.Sprintf("spec.ports[%d].port", i), "%d is the sidecar's own port; the app must use another", port.Number)
		}
		if slices.ContainsFunc(out, func(q compiled.Port) bool { return q.Number == port.Number && q.Name == port.Name }) {
			// The CRD cannot say so: the cost of comparing values that are numbers or names is beyond CEL's budget.
			c.errorf(fmt.Sprintf("spec.ports[%d].port", i), "%s is named twice: name each port once", p.Port.String())
		}
		out = append(out, port)
	}
	return out
}

func (c *compiler) duration(field string, d v1alpha1.Duration, otherwise time.Duration) compiled.Duration {
	if d == "" {
		return compiled.Duration(otherwise)
	}
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
		Leeway:      c.duration(field+".leeway", in.Leeway, defaultLeeway),
		MaxLifetime: c.duration(field+".maxLifetime", in.MaxLifetime, 0),

		BackChannelLogout: backChannelLogout(in.BackChannelLogout, in.Audiences),
	}
	for _, a := range in.Algorithms {
		p.Algorithms = append(p.Algorithms, string(a))
	}
	for _, l := range in.From {
		p.From = append(p.From, compiled.TokenLocation(l))
	}
	for _, r := range in.RequiredClaims {
		p.RequiredClaims = append(p.RequiredClaims, compiled.RequiredClaim(r))
	}
	for _, h := range in.ClaimsToHeaders {
		p.ClaimsToHeaders = append(p.ClaimsToHeaders, compiled.ClaimToHeader(h))
	}
	return p
}

func (c *compiler) keys(field string, in *v1alpha1.JWKS) compiled.Keys {
	c.one(field, "uri, inline, secretKeyRef and vault", in.URI != "", in.Inline != "", in.SecretKeyRef != nil, in.Vault != nil)
	k := compiled.Keys{URI: in.URI, CABundle: in.CABundle}
	switch {
	case in.URI != "":
		k.RefreshInterval = c.duration(field+".refreshInterval", in.RefreshInterval, defaultRefreshInterval)
		k.MaxStale = c.duration(field+".maxStale", in.MaxStale, defaultMaxStale)
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

// one refuses a one-of of which none or several are given.
func (c *compiler) one(field, members string, given ...bool) {
	n := 0
	for _, g := range given {
		if g {
			n++
		}
	}
	if n != 1 {
		c.errorf(field, "say exactly one of %s", members)
	}
}

func mode(m v1alpha1.Mode) compiled.Mode {
	if m == v1alpha1.ModeShadow {
		return compiled.Shadow
	}
	return compiled.Enforce
}

func failure(f v1alpha1.FailureMode, otherwise compiled.FailureMode) compiled.FailureMode {
	if f == "" {
		return otherwise
	}
	return compiled.FailureMode(f)
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
