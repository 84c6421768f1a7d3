// Package passwordpolicy refuses new passwords that the policy's rules do not allow, on the routes with which users register, or
// reset or change their password. It comes after limits, so that guesses about the rules are limited, and before the app. Its
// store has old passwords, if the policy wants them to be remembered: see History. While the list of breached passwords is unavailable, it passes the password, or refuses it with 503, as the policy says.
//
// A refusal has the status 422 and lists every rule that failed. A body in which the fields cannot be found has the status of
// reqbody (400, 408, 413 or 415). In Shadow mode, of the policy, the section or one rule, the request passes.
package passwordpolicy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/reqbody"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/passwordrules"
)

// The rules of the stage's own, in addition to those of passwordrules. Body is the rule of a body that cannot be read.
const (
	Missing              passwordrules.Code = "missing"
	ConfirmationMismatch passwordrules.Code = "confirmation-mismatch"
	Breached             passwordrules.Code = "breached"
	Body                 passwordrules.Code = "body"
)

// MaxBody is the size, in bytes, of the largest body of a route.
const MaxBody = 64 << 10

const stageName = "password-policy"

// Route is a route on which a new password is judged.
type Route struct {
	Match *route.Matcher
	// Password, Confirmation and Account say where the fields are. Confirmation and Account are nil for none.
	Password              reqbody.Selector
	Confirmation, Account *reqbody.Selector
	// Optional lets requests without a password pass.
	Optional bool
}

// Config configures the stage and the check of the loopback API.
type Config struct {
	Rules  passwordrules.Rules
	Routes []Route
	// Shadow is true if no refusal is enforced, and ShadowRules lists the rules whose refusals are not enforced.
	Shadow bool
	// Breached is nil if no list is asked.
	Breached    *BreachedList
	ShadowRules []passwordrules.Code
	// History is nil if no old passwords and no dates are kept.
	History *History
	// PolicyShadow is the mode of the policy, for Check. Requests have it in their Info.
	PolicyShadow bool
	// Events receives the refusals by Check; nil for none.
	Events *event.Stream
}

// Policy judges passwords.
type Policy struct{ Config }

// New returns the policy. It returns an error if a route has no match or no password field.
func New(c Config) (*Policy, error) {
	for i, r := range c.Routes {
		if r.Match == nil || len(r.Password.JSON) == 0 && r.Password.Form == "" {
			return nil, fmt.Errorf("building password policy: routes[%d] needs a match and a password field", i)
		}
	}
	return &Policy{c}, nil
}

// Stage returns the stage, or nil if there are no routes.
func (p *Policy) Stage() stage.Stage {
	if len(p.Routes) == 0 {
		return nil
	}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			var changes []*change
			for i := range p.Routes {
				if !p.Routes[i].matches(r) {
					continue
				}
				c, err := p.judge(&p.Routes[i], r)
				if err != nil {
					return err
				}
				changes = append(changes, c)
			}
			return p.forward(w, r, next, changes)
		})
	}
}

// matches reports whether the route matches any reading of the path: an app may use that one.
func (m *Route) matches(r *http.Request) bool {
	target := request.From(r).Target()
	for i := range target.Readings() {
		if m.Match.MatchReading(r.Method, &target, i) {
			return true
		}
	}
	return false
}

// judge returns the refusal of the request, or nil and the change of which the history wants to know, or nil.
func (p *Policy) judge(m *Route, r *http.Request) (*change, error) {
	info := request.From(r)
	found, err := m.read(r)
	if err != nil {
		return nil, info.Refuse(p.rule(Body), httperr.From(err))
	}
	failed := m.failures(p.Rules, found)
	record := func(rule request.Rule, e *httperr.Error) bool { return info.Refuse(rule, e) != nil }
	breached, unavailable := p.lookUp(r.Context(), found.passwordName, found.password, record)
	if err := p.verdict(append(failed, breached...), unavailable, record); err != nil {
		return nil, err // without the expensive look at old passwords
	}
	c := p.History.changeOf(found, info.Identity)
	if c == nil {
		return nil, nil
	}
	return c, p.reused(r.Context(), c, record)
}

// forward sends the request to the app, and remembers the passwords that the app accepts.
func (p *Policy) forward(w http.ResponseWriter, r *http.Request, next stage.Handler, changes []*change) error {
	var kept []*change
	for _, c := range changes {
		if c != nil && c.account != "" && !slices.ContainsFunc(kept, c.same) {
			kept = append(kept, c)
		}
	}
	if len(kept) == 0 {
		return next.ServeHTTP(w, r)
	}
	return response.Intercept(w, r, next, func(status int, _ http.Header) response.Action {
		if status < http.StatusBadRequest {
			p.History.remember(r, kept)
		}
		return response.Action{}
	})
}

// Check judges a password that the loopback API is asked to hash. It returns nil, or the refusal.
func (p *Policy) Check(ctx context.Context, password, account string) error {
	var failed []httperr.FieldError
	for _, f := range p.Rules.Judge(password, account) {
		failed = append(failed, httperr.FieldError{Field: "password", Code: string(f.Code), Detail: f.Detail})
	}
	record := p.recordOutside(ctx)
	breached, unavailable := p.lookUp(ctx, "password", password, record)
	return p.verdict(append(failed, breached...), unavailable, record)
}

// recordOutside records the refusals of passwords that come in no request of a client.
func (p *Policy) recordOutside(ctx context.Context) recorder {
	return func(rule request.Rule, e *httperr.Error) bool {
		d := event.Decision{Stage: rule.Stage, Rule: rule.Name, Shadow: rule.Shadow || p.PolicyShadow, Err: e}
		request.Emit(ctx, p.Events, d.Event())
		return !d.Shadow
	}
}

// A recorder records a refusal, and reports whether it is enforced.
type recorder func(request.Rule, *httperr.Error) bool

// verdict records each failure by itself, and returns the refusal with those that are enforced; otherwise unavailable, or nil.
func (p *Policy) verdict(failed []httperr.FieldError, unavailable *httperr.Error, record recorder) error {
	enforced := slices.DeleteFunc(failed, func(f httperr.FieldError) bool {
		return !record(p.rule(passwordrules.Code(f.Code)), refusal([]httperr.FieldError{f}))
	})
	switch {
	case len(enforced) > 0:
		return refusal(enforced)
	case unavailable != nil:
		return unavailable
	}
	return nil
}

func (p *Policy) rule(code passwordrules.Code) request.Rule {
	return request.Rule{Stage: stageName, Name: string(code), Shadow: p.Shadow || slices.Contains(p.ShadowRules, code)}
}

// refusal returns the error for the client. No cache keeps it, and as a page it loads nothing.
func refusal(failed []httperr.FieldError) *httperr.Error {
	e := &httperr.Error{Status: http.StatusUnprocessableEntity, Code: "password-refused", Detail: "Choose another password.", Errors: failed}
	for _, f := range failed {
		e.Cause = errors.Join(e.Cause, errors.New(f.Code))
	}
	return e.With("Cache-Control", "no-store").With("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
}
