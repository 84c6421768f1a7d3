// Package authz decides whether a request may pass, by its route and by whether authentication gave it an identity. It must
// come after authn in the chain, and before any stage that relies on the identity.
package authz

import (
	"fmt"
	"net/http"
	"slices"

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
	// Challenges are further values of WWW-Authenticate, for credentials other than tokens.
	Challenges []string
	// NoStore keeps the responses of routes that require Authenticated out of caches, if the app says nothing about caching.
	NoStore bool
}

// New returns the stage. It refuses with the error that authentication recorded (401, or 503 if keys are unavailable), with
// 401 if the request has no credentials, and with 403 if the route is closed. In Shadow mode the request passes without an
// identity instead.
func New(c Config) (stage.Stage, error) {
	for _, r := range c.Rules {
		switch {
		case r.Match == nil:
			return nil, fmt.Errorf("building authorization rule %q: it has no match", r.Name)
		case !r.Require.known():
			return nil, fmt.Errorf("building authorization rule %q: unknown requirement %q", r.Name, r.Require)
		}
	}
	if !c.Default.known() {
		return nil, fmt.Errorf("building authorization: unknown default requirement %q", c.Default)
	}
	realm, err := httperr.QuoteRealm(c.Realm)
	if err != nil {
		return nil, fmt.Errorf("building authorization: %w", err)
	}
	a := &authorizer{rules: c.Rules, fallback: Rule{Require: c.Default, Shadow: c.Shadow}, challenge: "Bearer realm=" + realm, others: c.Challenges}
	return func(next stage.Handler) stage.Handler {
		guarded := next
		if c.NoStore {
			guarded = noStore(next)
		}
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			require, err := a.decide(r)
			if err != nil {
				return err
			}
			if require == Authenticated && !request.From(r).Shadow {
				return guarded.ServeHTTP(w, r)
			}
			return next.ServeHTTP(w, r)
		})
	}, nil
}

func (r Requirement) known() bool { return r == Authenticated || r == Anonymous || r == Deny }

type authorizer struct {
	rules     []Rule
	fallback  Rule
	challenge string
	others    []string
}

// decide returns what the request's route requires, and the refusal or nil. It refuses the request if the rule of any reading of its
// path refuses it. Deny takes precedence.
func (a *authorizer) decide(r *http.Request) (Requirement, error) {
	info := request.From(r)
	target := info.Target()
	var refusing *Rule
	require := Anonymous
	seen := make([]*Rule, 0, 8)
	for i := range target.Readings() {
		rule := a.find(r.Method, &target, i)
		if slices.Contains(seen, rule) {
			continue
		}
		seen = append(seen, rule)
		if rule.Require == Authenticated {
			require = Authenticated
		}
		refusal := a.judge(rule.Require, info)
		switch {
		case refusal == nil:
		case rule.Shadow:
			_ = info.Refuse(rule.named(), refusal) // recorded only
		case refusing == nil || rule.Require == Deny:
			refusing = rule
		}
	}
	if refusing == nil {
		return require, nil
	}
	return require, info.Refuse(refusing.named(), a.judge(refusing.Require, info))
}

func (r *Rule) named() request.Rule {
	return request.Rule{Stage: "authz", Name: r.Name, Shadow: r.Shadow}
}

// find returns the rule for the reading i of the path.
func (a *authorizer) find(method string, target *route.Target, i int) *Rule {
	for k := range a.rules {
		rule := &a.rules[k]
		if rule.Exact {
			if target.Readings() == 1 && rule.Match.Match(method, target.Path) {
				return rule
			}
			continue
		}
		if rule.Match.MatchReading(method, target, i) {
			return rule
		}
	}
	return &a.fallback
}

// judge returns the refusal of the request, or nil if it may pass.
func (a *authorizer) judge(require Requirement, info *request.Info) *httperr.Error {
	switch {
	case require == Anonymous, require == Authenticated && info.Identity != nil:
		return nil
	case require == Authenticated && info.AuthnErr != nil:
		return info.AuthnErr
	case require == Authenticated:
		return a.noCredentials()
	default:
		return &httperr.Error{Status: http.StatusForbidden, Code: "access-denied", Detail: "This resource is closed."}
	}
}

// noCredentials returns the refusal of a request without credentials.
func (a *authorizer) noCredentials() *httperr.Error {
	e := &httperr.Error{Status: http.StatusUnauthorized, Code: "no-credentials", Detail: "This resource needs a token."}
	if len(a.others) > 0 {
		e.Detail = "This resource needs a token or an API key."
	}
	e = e.With("WWW-Authenticate", a.challenge) // without an error code: RFC 6750 §3.1
	for _, challenge := range a.others {
		e = e.With("WWW-Authenticate", challenge)
	}
	return e
}
