package chain

import (
	"slices"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/usage"
)

// usageOf returns what the metrics of usage need to know about a policy. own are the paths that the sidecar itself serves.
func usageOf(p *compiled.Policy, own []string) usage.Policy {
	u := usage.Policy{Patterns: slices.Clone(own), IgnoreCase: p.Paths != nil && p.Paths.CaseInsensitive}
	add := func(matches []compiled.Match) {
		for _, m := range matches {
			u.Patterns = append(u.Patterns, m.Paths...)
		}
	}
	for i := range p.Authorization.Rules {
		add(p.Authorization.Rules[i].Match)
	}
	for i := range p.RateLimits {
		add(p.RateLimits[i].Match)
	}
	if p.Tokens != nil {
		add(p.Tokens.Login)
	}
	if p.PasswordPolicy != nil {
		for i := range p.PasswordPolicy.Routes {
			add(p.PasswordPolicy.Routes[i].Match)
		}
	}
	if p.Headers != nil {
		for i := range p.Headers.Routes {
			add(p.Headers.Routes[i].Match)
		}
	}
	if p.Audit != nil {
		for i := range p.Audit.Lifecycle {
			add(p.Audit.Lifecycle[i].Match)
		}
	}
	if p.LoginProtection != nil {
		for i := range p.LoginProtection.Routes {
			r := &p.LoginProtection.Routes[i]
			add(r.Match)
			if r.Kind == "PasswordReset" {
				u.Resets = append(u.Resets, r.Name)
			} else {
				u.Logins = append(u.Logins, r.Name)
			}
		}
	}
	return u
}
