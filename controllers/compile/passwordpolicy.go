package compile

import (
	"slices"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// minContextWord is the number of code points that a context word needs to have an effect.
const minContextWord = 3

// passwordPolicy translates the rules for new passwords. The namespace and name of the policy are context words too.
func (c *compiler) passwordPolicy(in *v1alpha1.SecurityPolicy, spec *v1alpha1.PasswordPolicy) *compiled.PasswordPolicy {
	if spec == nil || spec.Rules == nil {
		return nil
	}
	r := spec.Rules
	p := &compiled.PasswordPolicy{
		Mode: compiled.Mode(spec.Mode), MinLength: int(r.MinLength), MaxLength: int(r.MaxLength), Common: r.Blocklist == v1alpha1.BlocklistCommon,
		ContextWords: slices.Clone(r.ContextWords), MinScore: int(r.MinScore), Require: texts(r.Require), Shadow: texts(r.Shadow),
	}
	for _, name := range []string{in.Namespace, in.Name} {
		if len(name) >= minContextWord && !slices.Contains(p.ContextWords, name) {
			p.ContextWords = append(p.ContextWords, name)
		}
	}
	p.Breached = c.breached("spec.passwordPolicy.rules.breachedPasswords", r.BreachedPasswords)
	p.History = c.passwordHistory(spec)
	c.weakRules(r)
	for i := range spec.Routes {
		route := &spec.Routes[i]
		p.Routes = append(p.Routes, compiled.PasswordRoute{
			Match: matches(route.Match), Password: compiled.PasswordField(route.Password), Optional: route.Optional,
			Confirmation: (*compiled.PasswordField)(route.Confirmation), Account: (*compiled.PasswordField)(route.Account),
		})
	}
	return p
}

// weakRules warns about rules that NIST SP 800-63B-4 advises against.
func (c *compiler) weakRules(r *v1alpha1.PasswordRules) {
	const field = "spec.passwordPolicy.rules"
	if !r.SecondFactor && r.MinLength < v1alpha1.DefaultPasswordMinLength {
		c.warnf(field+".minLength", "%d is less than the %d characters that NIST SP 800-63B-4 requires of a password without a second factor: raise it, or write secondFactor: true if every login needs one", r.MinLength, v1alpha1.DefaultPasswordMinLength)
	}
	if len(r.Require) > 0 {
		c.warnf(field+".require", "NIST SP 800-63B-4 says that rules about kinds of characters shall not be imposed: remove them, and raise minLength")
	}
	if r.Blocklist == v1alpha1.BlocklistNone {
		c.warnf(field+".blocklist", "common passwords are accepted, which NIST SP 800-63B-4 does not allow: write Common")
	}
}

func texts[T ~string](in []T) []string {
	var out []string
	for _, v := range in {
		out = append(out, string(v))
	}
	return out
}
