package chain

import (
	"slices"
	"strings"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/reqbody"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/resources"
	"github.com/posterndev/postern/sidecar/stages/loginprotection"
)

func (b *builder) loginProtection() stage.Stage {
	p := b.policy.LoginProtection
	if p == nil {
		return nil
	}
	c := loginprotection.Config{
		Scope:      resources.Scope(b.policy),
		PerAccount: loginLimit(p.PerAccount), PerAddress: loginLimit(p.PerAddress), Global: loginLimit(p.Global),
		ResetsPerAccount: loginLimit(p.ResetsPerAccount), ResetsPerAddress: loginLimit(p.ResetsPerAddress),
		TooManyRequests: p.Response == "TooManyRequests", OnFailure: loginprotection.OnFailure(p.OnFailure),
		Shadow: p.Mode == compiled.Shadow, Store: b.logins, Local: b.localLogins, Metrics: b.metrics.Logins, Logger: b.logger,
		Now: b.now, Sleep: b.sleep,
	}
	if h := b.passwordPolicy(); h != nil && h.History != nil && !h.Shadow {
		c.PasswordExpired = h.History.Expired
	}
	if p.KnownDevices != nil {
		c.KnownDevice, c.RememberDevice = loginLimit(*p.KnownDevices), p.RememberDevice.Std()
	}
	if ch := p.Challenge; ch != nil {
		verifier, err := b.challenge(ch)
		b.fail(err, "loginProtection.challenge")
		c.Challenge, c.ChallengeAfter, c.ChallengeHeader = verifier, ch.AfterFailures, ch.Header
		c.ChallengeOnFailure = loginprotection.OnFailure(ch.OnFailure)
	}
	if l := p.Breached; l != nil {
		source, err := b.breached(l)
		b.fail(err, "loginProtection.breached")
		c.Breached = &loginprotection.BreachedList{Source: source, MinCount: l.MinCount}
	}
	for i := range p.Routes {
		r := &p.Routes[i]
		route := loginprotection.Route{
			Name: r.Name, Kind: loginprotection.Kind(r.Kind), Match: b.match(r.Match, "loginProtection.routes[%d]", i),
			Account: loginprotection.Account{Body: selector(r.Account), Header: r.Account.Header, Basic: r.Account.Basic}, FailureStatuses: r.FailureStatuses,
			AnyMethod: slices.ContainsFunc(r.Match, func(m compiled.Match) bool { return len(m.Methods) == 0 }),
		}
		if f := r.Password; f != nil {
			route.Password = &loginprotection.Password{Body: selector(*f), Header: f.Header, Basic: f.Basic}
		}
		if h := r.FailureHeader; h != nil {
			route.FailureHeader = loginprotection.HeaderMatch(*h)
		}
		c.Routes = append(c.Routes, route)
	}
	if len(b.errs) > 0 {
		return nil
	}
	locks, err := loginprotection.NewLocks(c, b.policy.Redis != nil)
	b.fail(err, "loginProtection")
	b.locks = locks
	s, err := loginprotection.New(c)
	b.fail(err, "loginProtection")
	return s
}

func loginLimit(l compiled.LoginLimit) loginprotection.Limit {
	return loginprotection.Limit{Failures: l.Failures, Within: l.Within.Std(), LockFor: l.LockFor.Std(), MaxLock: l.MaxLock.Std()}
}

// selector converts the place of a text in a body. The document is checked.
func selector(f compiled.RequestField) reqbody.Selector {
	s := reqbody.Selector{Form: f.Form}
	if f.JSON != "" {
		s.JSON = strings.Split(f.JSON, ".")
	}
	return s
}
