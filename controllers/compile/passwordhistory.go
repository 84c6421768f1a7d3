package compile

import (
	"fmt"
	"slices"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// passwordHistory translates the rules about old passwords.
func (c *compiler) passwordHistory(spec *v1alpha1.PasswordPolicy) *compiled.PasswordHistory {
	r := spec.Rules
	if r.Remember == 0 && r.MaxAge == "" {
		return nil
	}
	h := &compiled.PasswordHistory{Remember: int(r.Remember), AccountClaim: r.AccountClaim, OnFailure: compiled.FailureMode(spec.OnFailure)}
	const field = "spec.passwordPolicy.rules"
	if r.MaxAge != "" {
		age, err := r.MaxAge.Std()
		if err != nil {
			c.errorf(field+".maxAge", "%v", err)
		}
		h.MaxAge = compiled.Duration(age)
		c.warnf(field+".maxAge", "NIST SP 800-63B-4 says that passwords shall not be changed periodically: remove it, and refuse breached passwords with breachedPasswords")
	}
	if r.Remember > 0 {
		c.warnf(field+".remember", "NIST SP 800-63B-4 asks for no history of passwords, and old passwords are then kept as hashes: remove it unless another rule that you must follow asks for it")
	}
	return h
}

// warnHistory reports what makes the rules about old passwords useless.
func (c *compiler) warnHistory(p *compiled.Policy) {
	if p.PasswordPolicy == nil || p.PasswordPolicy.History == nil {
		return
	}
	const rules = "spec.passwordPolicy.rules"
	if p.Redis == nil && len(p.PasswordPolicy.Routes) > 0 {
		c.warnf(rules, "the SidecarClass has no Redis, so each pod remembers passwords and their dates by itself until it ends: add spec.redis to the class")
	}
	if p.PasswordPolicy.History.Remember == 0 {
		return
	}
	for i := range p.PasswordPolicy.Routes {
		if !authenticates(p) || isPublic(p, p.PasswordPolicy.Routes[i].Match) {
			c.warnf(fmt.Sprintf("spec.passwordPolicy.routes[%d]", i), "old passwords are remembered, but remember is not judged without a caller's token, because anybody could then test the old passwords of an account: require Authenticated on the route if users change their password there")
		}
	}
}

// authenticates reports whether requests can have an identity.
func authenticates(p *compiled.Policy) bool {
	return p.Tokens != nil || len(p.Providers) > 0 || p.APIKeys != nil || p.TLS.Identifies()
}

// isPublic reports whether a rule of authorization lists the same paths and requires no identity.
func isPublic(p *compiled.Policy, matches []compiled.Match) bool {
	public := func(path string) bool {
		return slices.ContainsFunc(p.Authorization.Rules, func(r compiled.AuthorizationRule) bool {
			return r.Require == compiled.RequireAnonymous && slices.ContainsFunc(r.Match, func(m compiled.Match) bool { return slices.Contains(m.Paths, path) })
		})
	}
	for _, m := range matches {
		for _, path := range m.Paths {
			if public(path) {
				return true
			}
		}
	}
	return false
}
