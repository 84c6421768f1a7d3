package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posterndev/postern/api/compiled"
)

// Bounds of passwords, in code points. NIST SP 800-63B-4 §3.1.1.2 asks for at least 8, and for 64 to be permitted.
const (
	MinPasswordLength    = 8
	MinPasswordMaxLength = 64
	MaxPasswordMaxLength = 1024
	maxContextWords      = 40
	minContextWord       = 3
	maxContextWord       = 256
	maxFormName          = 128
	maxJSONNames         = 8
)

// passwordCodes are the codes of the rules that can be in shadow mode.
var passwordCodes = []string{
	"missing", "too-short", "too-long", "invalid-characters", "common", "context-word", "too-weak",
	"missing-lower", "missing-upper", "missing-digit", "missing-symbol", "breached", "reused", "confirmation-mismatch", "body",
}

func (c *checker) passwordPolicy(policy *compiled.Policy) {
	p := policy.PasswordPolicy
	if p == nil {
		return
	}
	const rules = "spec.passwordPolicy.rules"
	c.mode("spec.passwordPolicy.mode", p.Mode)
	if p.MaxLength < MinPasswordMaxLength || p.MaxLength > MaxPasswordMaxLength {
		c.addf(rules+".maxLength", "%d is not between %d and %d; write a number in that range, for example 128: NIST SP 800-63B-4 permits passwords of 64 characters", p.MaxLength, MinPasswordMaxLength, MaxPasswordMaxLength)
	}
	if p.MinLength < MinPasswordLength || p.MinLength > MinPasswordMaxLength {
		c.addf(rules+".minLength", "%d is not between %d and %d; write a number in that range, for example 15", p.MinLength, MinPasswordLength, MinPasswordMaxLength)
	}
	if p.MinScore < 0 || p.MinScore > 4 {
		c.addf(rules+".minScore", "%d is not between 0 and 4; write a score in that range, for example 3", p.MinScore)
	}
	if len(p.ContextWords) > maxContextWords {
		c.addf(rules+".contextWords", "%d words are more than %d; write fewer", len(p.ContextWords), maxContextWords)
	}
	for i, word := range p.ContextWords {
		if len([]rune(word)) < minContextWord || len(word) > maxContextWord {
			c.addf(at(rules+".contextWords", i), "the word does not have between %d and %d characters; write one such as shop", minContextWord, maxContextWord)
		}
	}
	for i, name := range p.Require {
		c.add(at(rules+".require", i), oneOf(name, "Lower", "Upper", "Digit", "Symbol"))
	}
	for i, code := range p.Shadow {
		c.add(at(rules+".shadow", i), oneOf(code, passwordCodes...))
	}
	if b := p.Breached; b != nil {
		c.breached(rules+".breachedPasswords", b)
	}
	c.passwordHistory(policy)
	for i := range p.Routes {
		c.passwordRoute(at("spec.passwordPolicy.routes", i), &p.Routes[i])
	}
}

func (c *checker) passwordRoute(field string, r *compiled.PasswordRoute) {
	if len(r.Match) == 0 {
		c.addf(field+".match", "the route matches nothing; write at least one match, for example {methods: [POST], paths: [/register]}")
	}
	c.matches(field+".match", r.Match)
	c.add(field+".password", BodyField(r.Password.JSON, r.Password.Form))
	c.besidePassword(field+".confirmation", r.Confirmation, r.Password)
	c.besidePassword(field+".account", r.Account, r.Password)
}

// besidePassword checks a field that is in the same bodies as the password. nil is no field.
func (c *checker) besidePassword(field string, other *compiled.PasswordField, password compiled.PasswordField) {
	if other == nil {
		return
	}
	c.add(field, BodyField(other.JSON, other.Form))
	if (other.JSON == "") != (password.JSON == "") || (other.Form == "") != (password.Form == "") {
		c.addf(field, "the field is not in the same kinds of bodies as password, so requests would be refused; write json and form as in password")
	}
	if *other == password {
		c.addf(field, "the field is the password's; write the name of another field, for example {json: password2}")
	}
}

// BodyField refuses a place of a field that no body has. A path of JSON has names of letters, digits, hyphens and underscores.
func BodyField(json, form string) error {
	if json == "" && form == "" {
		return fmt.Errorf("the field has no place; write {json: user.password}, {form: password} or both")
	}
	names := strings.Split(json, ".")
	if json != "" && (len(names) > maxJSONNames || slices.ContainsFunc(names, func(n string) bool { return n == "" || strings.ContainsFunc(n, notPlain) })) {
		return fmt.Errorf("%.100q is not a path of at most %d JSON names; write names of letters, digits, - and _ with dots between them, for example user.password", json, maxJSONNames)
	}
	if len(form) > maxFormName {
		return fmt.Errorf("the form's name is longer than %d bytes; write a shorter one, for example password", maxFormName)
	}
	return nil
}

func notPlain(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
}
