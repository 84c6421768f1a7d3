package compile

import (
	"fmt"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/api/compiled"
)

// warnForgotten reports routes of users without a token that authorization closes to them, because only its default applies. A rule that
// requires a token is taken for intended.
func (c *compiler) warnForgotten(p *compiled.Policy) {
	if p.Authorization.Default == compiled.RequireAnonymous || !authenticates(p) {
		return
	}
	const remedy = "authorization.default refuses these requests without a token, and no rule of authorization is about them: add a rule with require: Anonymous"
	if l := p.LoginProtection; l != nil {
		for i := range l.Routes {
			if decidedByDefault(p, l.Routes[i].Match, len(l.Routes)) {
				c.warnf(fmt.Sprintf("spec.loginProtection.routes[%d]", i), "%s", remedy)
			}
		}
	}
	l := p.PasswordPolicy
	if l == nil || l.History != nil && l.History.Remember > 0 {
		return
	}
	for i := range l.Routes {
		if l.Routes[i].Account != nil && decidedByDefault(p, l.Routes[i].Match, len(l.Routes)) {
			c.warnf(fmt.Sprintf("spec.passwordPolicy.routes[%d]", i), "%s if people register here, or require: Authenticated if they change a password", remedy)
		}
	}
}

// decidedByDefault reports whether neither a rule of authorization nor tokens.login matches some POST of the matches. It may miss one if
// there are very many rules. Each of so many routes has an equal share of the comparisons.
func decidedByDefault(p *compiled.Policy, matches []compiled.Match, routes int) bool {
	var rules [][]compiled.Match
	for i := range p.Authorization.Rules {
		rules = append(rules, p.Authorization.Rules[i].Match)
	}
	if p.Tokens != nil && len(p.Tokens.Login) > 0 {
		rules = append(rules, p.Tokens.Login)
	}
	var posts []compiled.Match
	for _, m := range matches {
		if len(m.Methods) == 0 {
			m.Methods = []string{"POST"} // a page on the same path is another matter
		}
		posts = append(posts, m)
	}
	coverage := check.NewCoverage(append(rules, posts), p.Paths != nil && p.Paths.CaseInsensitive, maxComparisons/routes)
	return coverage.Escapes(len(rules))
}
