// Package authz decides whether a request may pass, by its route and by whether authentication gave it an identity. It must
// come after authn in the chain, and before any stage that relies on the identity.
package authz

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// Requirement is what a route requires of a request.
type Requirement string

// The requirements. Anonymous lets every request pass, even one with an invalid token. Deny lets none pass.
const (
	Authenticated Requirement = "Authenticated"
	Anonymous     Requirement = "Anonymous"
	Deny          Requirement = "Deny"
)

// Rule is the requirement of some routes.
type Rule struct {
	// Name is the rule's name in the policy.
	Name    string
	Match   *route.Matcher
	Require Requirement
	// Shadow is true if the rule's refusals are only recorded, and the requests pass.
	Shadow bool
	// Exact is true if the rule applies only to paths that have one reading and are spelled as Match has them. It is for paths that
	// the sidecar itself serves.
	Exact bool
	// Conditions must hold in addition to Require. Deny has none, and Anonymous none that need an identity.
	Conditions
}

// Config configures the stage.
type Config struct {
	// Rules are evaluated in order; the first that matches decides. If apps read the path in several ways, it decides for each
	// reading, and the request passes only if every decision lets it pass.
	Rules []Rule
	// Default is the requirement of requests that no rule matches. Shadow applies to Default.
	Default Requirement
	Shadow  bool
	// Realm is the realm of WWW-Authenticate; empty means "postern".
	Realm string
	// ProofChallenge is the value of WWW-Authenticate that asks for tokens with a proof (RFC 9449 §7.1); empty for none.
	ProofChallenge string
	// Challenges are further values of WWW-Authenticate, for credentials other than tokens.
	Challenges []string
	// Credentials names those that identify a caller, for the refusal of a request without any; empty means a token.
	Credentials []string
	// NoStore keeps the responses of routes that require Authenticated out of caches, if the app says nothing about caching.
	NoStore bool
}

// New returns the stage. It refuses with the error that authentication recorded (401, or 503 if keys are unavailable), with
// 401 if the request has no credentials, with 403 if the route is closed or a condition of its rule does not hold, and with 403 and
// the error insufficient_scope if the token lacks a scope. In Shadow mode the request passes without an identity instead.
func New(c Config) (stage.Stage, error) {
	realm, err := httperr.QuoteRealm(c.Realm)
	if err != nil {
		return nil, fmt.Errorf("building authorization: %w", err)
	}
	a := &authorizer{challenge: "Bearer realm=" + realm, proof: c.ProofChallenge, others: c.Challenges, needed: "This resource needs a token."}
	if len(c.Credentials) > 0 {
		a.needed = "This resource needs " + strings.Join(c.Credentials, " or ") + "."
	}
	for _, r := range c.Rules {
		compiled, err := compile(r, realm)
		if err != nil {
			return nil, fmt.Errorf("building authorization rule %q: %w", r.Name, err)
		}
		a.rules = append(a.rules, compiled)
	}
	a.index()
	if !c.Default.known() {
		return nil, fmt.Errorf("building authorization: unknown default requirement %q", c.Default)
	}
	a.fallback = rule{Rule: Rule{Require: c.Default, Shadow: c.Shadow}, conditions: &conditions{}}
	return func(next stage.Handler) stage.Handler {
		guarded := next
		if c.NoStore {
			guarded = noStore(next)
		}
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			personal, err := a.decide(r)
			if err != nil {
				return err
			}
			if personal && !request.From(r).Shadow {
				return guarded.ServeHTTP(w, r)
			}
			return next.ServeHTTP(w, r)
		})
	}, nil
}

// rule is a valid Rule.
type rule struct {
	Rule
	conditions *conditions
}

func compile(r Rule, realm string) (rule, error) {
	switch {
	case r.Match == nil:
		return rule{}, errors.New("it has no match")
	case !r.Require.known():
		return rule{}, fmt.Errorf("unknown requirement %q", r.Require)
	}
	c, err := r.Conditions.compile(realm)
	switch {
	case err != nil:
		return rule{}, err
	case r.Require == Deny && c.any(), r.Require == Anonymous && c.needIdentity():
		return rule{}, fmt.Errorf("it has conditions that no request with the requirement %s can meet", r.Require)
	}
	return rule{Rule: r, conditions: c}, nil
}

func (r Requirement) known() bool { return r == Authenticated || r == Anonymous || r == Deny }

type authorizer struct {
	rules []rule
	// open finds the rules without Exact, and exact those with it, by their indexes in rules.
	open, exact *route.Table
	fallback    rule
	challenge   string
	proof       string
	others      []string
	needed      string
}

// decide returns the refusal of the request, or nil, and whether its response is meant for its caller alone: a rule requires an
// identity or has conditions. It refuses the request if the rule of any reading of its path refuses it. Deny takes precedence.
func (a *authorizer) decide(r *http.Request) (personal bool, err error) {
	info := request.From(r)
	target := info.Target()
	var refusing *rule
	var refusal *httperr.Error
	var condition string
	seen := make([]*rule, 0, 8)
	for i := range target.Readings() {
		rule := a.find(r.Method, &target, i)
		if slices.Contains(seen, rule) {
			continue
		}
		seen = append(seen, rule)
		info.Note(rule.Name, string(rule.Require))
		personal = personal || rule.Require == Authenticated || rule.conditions.any()
		refused, kind := a.judge(rule, r, info)
		switch {
		case refused == nil:
		case rule.Shadow:
			_ = info.Refuse(rule.named(kind), refused) // recorded only
		case refusing == nil || rule.Require == Deny:
			refusing, refusal, condition = rule, refused, kind
		}
	}
	if refusing == nil {
		return personal, nil
	}
	return personal, info.Refuse(refusing.named(condition), refusal)
}

func (r *rule) named(condition string) request.Rule {
	return request.Rule{Stage: "authz", Name: r.Name, Condition: condition, Shadow: r.Shadow}
}

// find returns the rule for the reading i of the path.
func (a *authorizer) find(method string, target *route.Target, i int) *rule {
	found := a.open.First(method, target, i)
	if target.Readings() == 1 {
		if exact := a.exact.FirstExact(method, target.Path); exact >= 0 && (found < 0 || exact < found) {
			found = exact
		}
	}
	if found < 0 {
		return &a.fallback
	}
	return &a.rules[found]
}

// index builds the tables of the rules.
func (a *authorizer) index() {
	open, exact := make([]*route.Matcher, len(a.rules)), make([]*route.Matcher, len(a.rules))
	for i := range a.rules {
		if a.rules[i].Exact {
			exact[i] = a.rules[i].Match
		} else {
			open[i] = a.rules[i].Match
		}
	}
	a.open, a.exact = route.NewTable(open), route.NewTable(exact)
}

// judge returns the refusal of the request and the kind of the condition that does not hold, or nil if it may pass.
func (a *authorizer) judge(rule *rule, r *http.Request, info *request.Info) (*httperr.Error, string) {
	switch {
	case rule.Require == Deny:
		return &httperr.Error{Status: http.StatusForbidden, Code: "access-denied", Detail: "This resource is closed."}, ""
	case rule.Require == Anonymous, info.Identity != nil:
		return rule.conditions.judge(r, info)
	case info.AuthnErr != nil:
		return info.AuthnErr, ""
	default:
		return a.noCredentials(), ""
	}
}

// noCredentials returns the refusal of a request without credentials.
func (a *authorizer) noCredentials() *httperr.Error {
	e := &httperr.Error{Status: http.StatusUnauthorized, Code: "no-credentials", Detail: a.needed}
	e = e.With("WWW-Authenticate", a.challenge) // without an error code: RFC 6750 §3.1
	if a.proof != "" {
		e = e.With("WWW-Authenticate", a.proof)
	}
	for _, challenge := range a.others {
		e = e.With("WWW-Authenticate", challenge)
	}
	return e
}
