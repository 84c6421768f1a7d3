package check

import (
	"cmp"
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strings"

	"github.com/posterndev/postern/api/check/expression"
	"github.com/posterndev/postern/api/check/fieldset"
	"github.com/posterndev/postern/api/compiled"
)

// maxExpressions is the maximum length of all expressions of a policy together, in bytes, so that compiling them takes less than some
// tenths of a second.
const maxExpressions = 16 << 10

// maxScopes is the maximum length of all scopes of one condition together, in bytes, because a refusal names them in a header.
const maxScopes = 1024

func (c *checker) authorization(p *compiled.Policy) {
	a := &p.Authorization
	c.add("spec.authorization.default", requirement(a.Default))
	c.mode("spec.authorization.mode", a.Mode)
	expressions := 0
	for i := range a.Rules {
		r, field := &a.Rules[i], at("spec.authorization.rules", i)
		if r.Name == "" {
			c.addf(field+".name", "the name is empty; write one that logs and metrics can show, for example public")
		}
		if len(r.Match) == 0 {
			c.addf(field+".match", "the rule matches nothing; write at least one match, for example {paths: [/public/**]}")
		}
		c.matches(field+".match", r.Match)
		c.add(field+".require", requirement(r.Require))
		c.mode(field+".mode", r.Mode)
		c.suits(field, r)
		c.conditions(field, &r.Conditions)
		c.providersExist(field+".providers", p, r.Providers)
		for j := range r.Headers {
			c.add(at(field+".headers", j)+".name", carriesNoToken(p, r.Headers[j].Name))
		}
		if expressions += len(r.Expression); expressions > maxExpressions {
			c.addf(field+".expression", "with this expression, those of the policy have more than %d bytes together; write shorter ones, or conditions such as claims", maxExpressions)
			continue
		}
		c.expression(field+".expression", p, r.Expression)
	}
}

func requirement(r compiled.Requirement) error {
	return oneOf(r, compiled.RequireAuthenticated, compiled.RequireAnonymous, compiled.RequireDeny)
}

// suits refuses conditions that have no meaning with what the rule requires.
func (c *checker) suits(field string, r *compiled.AuthorizationRule) {
	switch {
	case r.Require == compiled.RequireDeny && r.Conditions.Any():
		c.addf(field+".require", "Deny refuses every caller, so conditions change nothing; remove them, or write require: Authenticated to let the callers pass for whom they hold")
	case r.Require == compiled.RequireAnonymous && r.NeedIdentity():
		c.addf(field+".require", "claims, scopes and providers are conditions for the caller's token, and Anonymous requires none; write require: Authenticated")
	}
}

// Conditions returns the problems of the conditions of one rule, without those that depend on the rest of the policy.
func Conditions(in *compiled.Conditions) []Problem {
	c := &checker{}
	c.conditions("rule", in)
	return c.problems
}

func (c *checker) conditions(field string, in *compiled.Conditions) {
	c.claimConditions(field+".claims", in.Claims)
	if in.Scopes != nil {
		c.requiresSome(field+".scopes", in.Scopes, "all: [orders:write]")
		c.scopes(field+".scopes", in.Scopes)
	}
	c.networks(field+".clientAddresses", in.ClientAddresses)
	c.networks(field+".notClientAddresses", in.NotClientAddresses)
	for i, host := range in.Hosts {
		_, err := ParseHostPattern(host)
		c.add(at(field+".hosts", i), err)
	}
	for i := range in.Headers {
		c.headerCondition(at(field+".headers", i), &in.Headers[i])
	}
}

func (c *checker) claimConditions(field string, claims []compiled.ClaimCondition) {
	for i := range claims {
		at, claim := at(field, i), &claims[i]
		c.add(at+".claim", Claim(claim.Claim))
		c.requiresSome(at, &claim.ClaimMembers, "any: [admin]")
		c.notEmpty(at+".all", claim.All)
		c.notEmpty(at+".any", claim.Any)
	}
}

func (c *checker) requiresSome(field string, m *compiled.ClaimMembers, example string) {
	if len(m.All) == 0 && len(m.Any) == 0 {
		c.addf(field, "it requires nothing; write all or any, for example %s", example)
	}
}

// notEmpty refuses empty members, which no claim has. A member may have spaces, as an element of an array.
func (c *checker) notEmpty(field string, members []string) {
	if i := slices.Index(members, ""); i >= 0 {
		c.addf(at(field, i), "the entry is empty; write a member, for example admin, or leave the entry out")
	}
}

// scopes refuses what no scope can contain, and what does not fit into the challenge of a refusal.
func (c *checker) scopes(field string, m *compiled.ClaimMembers) {
	total := 0
	for _, list := range []string{".all", ".any"} {
		scopes := m.All
		if list == ".any" {
			scopes = m.Any
		}
		c.claimMembers(field+list, scopes)
		for i, scope := range scopes {
			total += len(scope) + 1
			if scope != "" && !strings.Contains(scope, " ") && !isScope(scope) {
				c.addf(at(field+list, i), "%.64q is not a scope (RFC 6749 §3.3); write printable ASCII without quotes and backslashes, for example orders:write", scope)
			}
		}
	}
	if total > maxScopes {
		c.addf(field, "the scopes have %d bytes together, and a refusal names them in a header; write at most %d bytes, or a claim condition instead", total, maxScopes)
	}
}

// isScope reports whether s is a scope-token of RFC 6749 §3.3.
func isScope(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

func (c *checker) networks(field string, networks []string) {
	for i, network := range networks {
		_, err := Network(network)
		c.add(at(field, i), err)
	}
}

func (c *checker) headerCondition(field string, h *compiled.HeaderCondition) {
	c.add(field+".name", conditionField(h.Name))
	set := 0
	for _, given := range []bool{len(h.Values) > 0, h.Prefix != "", h.Present != nil} {
		if given {
			set++
		}
	}
	if set != 1 {
		c.addf(field, "write exactly one of values, prefix and present, for example {name: X-Env, values: [staging]}")
	}
	for i, value := range h.Values {
		if trimmed := strings.TrimRight(value, " \t"); trimmed != value {
			c.addf(at(field+".values", i), "%.64q ends with a space, which is not part of a header's value; write %.64q", value, trimmed)
		}
		c.add(at(field+".values", i), fieldValue(value))
	}
	if h.Prefix != "" {
		c.add(field+".prefix", fieldValue(h.Prefix))
	}
}

// fieldValue refuses a text that is not the beginning of the value of a request header. The spaces around a value are not part of it
// (RFC 9110 §5.5).
func fieldValue(value string) error {
	switch {
	case value == "":
		return errors.New("the value is empty; write a value, or present: false if the request must not have the header")
	case strings.TrimLeft(value, " \t") != value:
		return fmt.Errorf("%.64q starts with a space, which is not part of a header's value; write %.64q", value, strings.TrimLeft(value, " \t"))
	}
	for i := range len(value) {
		if b := value[i]; (b < ' ' && b != '\t') || b == 0x7f {
			return errors.New("the value contains a control character, which no request has; remove it")
		}
	}
	return nil
}

// conditionField refuses the headers that no rule sees as the client sent them.
func conditionField(name string) error {
	if err := requestField(name); err != nil {
		return err
	}
	why := ""
	switch canonical := textproto.CanonicalMIMEHeaderKey(name); {
	case canonical == "Host":
		why = "it is the host; write hosts instead, for example hosts: [shop.example.com]"
	case canonical == "Authorization" || canonical == "Cookie":
		why = "it carries credentials, which authentication reads and removes; write claims, scopes or providers instead"
	case canonical == "X-Forwarded-For" || canonical == "Forwarded" || canonical == "X-Real-Ip":
		why = "it carries addresses; write clientAddresses instead, and the class's trustedProxies decide which address counts"
	case hopByHop.Has(name):
		why = "it belongs to one connection and is removed before the rules (RFC 9110 §7.6.1); choose another header"
	case sidecarsOwn.Has(name) || removed.Has(name):
		why = "it is removed from every request before the rules; choose another header"
	default:
		return nil
	}
	return fmt.Errorf("a rule cannot have a condition for %s: %s", canonical(name), why)
}

var removed = fieldset.New(fieldset.Reserved()...)

func canonical(name string) string { return textproto.CanonicalMIMEHeaderKey(name) }

// providersExist refuses providers that the policy does not have: no token of theirs is ever accepted.
func (c *checker) providersExist(field string, p *compiled.Policy, names []string) {
	known := providerNames(p)
	for i, name := range names {
		switch {
		case slices.Contains(known, name):
		case name == compiled.ClientCertificatesProvider:
			c.addf(at(field, i), "no client certificate identifies its client; write tls.clientCertificates.identity, such as URISAN, with mode: Optional or Require")
		case len(known) == 0:
			c.addf(at(field, i), "the policy has no provider with the name %.64q, and no other; add it to jwt.providers, or leave providers out", name)
		default:
			c.addf(at(field, i), "the policy has no provider with the name %.64q; write one of %s", name, strings.Join(known, ", "))
		}
	}
}

// providerNames returns the providers of the identities that the policy's authentication can find.
func providerNames(p *compiled.Policy) []string {
	var names []string
	for i := range p.Providers {
		names = append(names, p.Providers[i].Name)
	}
	if p.Tokens != nil {
		names = append(names, compiled.OwnProvider)
	}
	if p.APIKeys != nil && p.APIKeys.Keys != nil {
		names = append(names, compiled.APIKeysProvider)
	}
	if p.APIKeys != nil && p.APIKeys.Users != nil {
		names = append(names, compiled.BasicUsersProvider)
	}
	if p.TLS.Identifies() {
		names = append(names, compiled.ClientCertificatesProvider)
	}
	return names
}

// carriesNoToken refuses a header in which the policy's authentication looks for a token, and which it removes.
func carriesNoToken(p *compiled.Policy, header string) error {
	if reads := ReadsCredential(p, header); reads != "" {
		return fmt.Errorf("%s, and removes it; write claims, scopes or providers instead", reads)
	}
	return nil
}

// ReadsCredential says what reads a token or an API key from the header, which is then removed from requests; empty for nothing. It does not
// know the Authorization header of providers that do not name it.
func ReadsCredential(p *compiled.Policy, header string) string {
	for i := range p.Providers {
		for _, from := range p.Providers[i].From {
			if from.Header != "" && strings.EqualFold(from.Header, header) {
				return fmt.Sprintf("the provider %s reads its token from %s", p.Providers[i].Name, canonical(header))
			}
		}
	}
	if p.APIKeys != nil {
		for _, from := range p.APIKeys.From {
			if from.Header != "" && strings.EqualFold(from.Header, header) {
				return fmt.Sprintf("spec.apiKeys reads keys from %s", canonical(header))
			}
		}
	}
	return ""
}

// expression refuses an expression that does not compile, or that looks up headers which no rule sees.
func (c *checker) expression(field string, p *compiled.Policy, text string) {
	if text == "" {
		return
	}
	program, err := expression.Compile(text)
	if err != nil {
		if !strings.Contains(err.Error(), "write") {
			err = fmt.Errorf("%w; write a condition in CEL, for example claims.tenant == \"acme\"", err)
		}
		c.add(field, err)
		return
	}
	for _, name := range program.Headers() {
		c.add(field, cmp.Or(conditionField(name), carriesNoToken(p, name)))
	}
}
