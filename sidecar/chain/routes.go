package chain

import (
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/route"
)

// declaredRoutes returns the path patterns that the policy names.
func declaredRoutes(p *compiled.Policy) (*route.Declared, error) {
	var patterns []string
	add := func(matches []compiled.Match) {
		for i := range matches {
			patterns = append(patterns, matches[i].Paths...)
		}
	}
	for i := range p.Authorization.Rules {
		add(p.Authorization.Rules[i].Match)
	}
	for i := range p.RateLimits {
		add(p.RateLimits[i].Match)
	}
	if p.Headers != nil {
		for i := range p.Headers.Routes {
			add(p.Headers.Routes[i].Match)
		}
	}
	if p.LoginProtection != nil {
		for i := range p.LoginProtection.Routes {
			add(p.LoginProtection.Routes[i].Match)
		}
	}
	if p.PasswordPolicy != nil {
		for i := range p.PasswordPolicy.Routes {
			add(p.PasswordPolicy.Routes[i].Match)
		}
	}
	if p.Tokens != nil {
		add(p.Tokens.Login)
		patterns = append(patterns, p.Tokens.Prefix+"/**")
	}
	return route.NewDeclared(patterns)
}
