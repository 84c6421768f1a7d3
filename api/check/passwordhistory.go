package check

import (
	"slices"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// Bounds of the rules about old passwords.
const (
	// MaxRememberedPasswords bounds the work of judging one password, and what Redis keeps of an account.
	MaxRememberedPasswords = 24
	minPasswordAge         = 24 * time.Hour
	maxPasswordAge         = 3 * 366 * 24 * time.Hour
)

// passwordHistory checks the rules about old passwords, and that what they need is there.
func (c *checker) passwordHistory(policy *compiled.Policy) {
	p := policy.PasswordPolicy
	h := p.History
	if h == nil {
		return
	}
	const rules = "spec.passwordPolicy.rules"
	c.onFailure("spec.passwordPolicy.onFailure", h.OnFailure)
	if h.Remember < 0 || h.Remember > MaxRememberedPasswords {
		c.addf(rules+".remember", "%d is not between 0 and %d; write a number in that range, for example 5", h.Remember, MaxRememberedPasswords)
	}
	for i := range p.Routes {
		if p.Routes[i].Account == nil {
			c.addf(at("spec.passwordPolicy.routes", i)+".account", "remember and maxAge need the account whose password it is; write its field, for example {json: email}")
		}
	}
	if h.MaxAge == 0 {
		return
	}
	if d := h.MaxAge.Std(); d < minPasswordAge || d > maxPasswordAge {
		c.addf(rules+".maxAge", "%s is not between 1d and %dd; write a duration in that range, for example 90d", d, maxPasswordAge/(24*time.Hour))
	}
	if len(p.Routes) == 0 {
		c.addf(rules+".maxAge", "no route tells when a password was changed; write passwordPolicy.routes, for example {match: [{paths: [/password]}], password: {json: password}, account: {json: email}}")
	}
	if l := policy.LoginProtection; l == nil || !slices.ContainsFunc(l.Routes, func(r compiled.LoginRoute) bool { return r.Kind == "Login" }) {
		c.addf(rules+".maxAge", "no login tells the app that a password has expired; write a route of loginProtection of the kind Login")
	}
}
