package compile

import (
	"fmt"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

func (c *compiler) loginProtection(in *v1alpha1.LoginProtection) *compiled.LoginProtection {
	if in == nil {
		return nil
	}
	const field = "spec.loginProtection"
	out := &compiled.LoginProtection{
		PerAccount: c.loginLimit(field+".perAccount", in.PerAccount), PerAddress: c.loginLimit(field+".perAddress", in.PerAddress),
		Global:           compiled.LoginLimit{Failures: int(in.Global.Failures), Within: c.duration(field+".global.within", in.Global.Within)},
		ResetsPerAccount: c.resets(field+".resets.perAccount", in.Resets.PerAccount), ResetsPerAddress: c.resets(field+".resets.perAddress", in.Resets.PerAddress),
		Response: string(in.Response), OnFailure: compiled.FailureMode(in.OnFailure), Mode: compiled.Mode(in.Mode),
	}
	if n := in.KnownDevices.Failures; n != nil && *n > 0 {
		out.KnownDevices = &compiled.LoginLimit{Failures: int(*n), Within: out.PerAccount.Within}
		out.RememberDevice = c.duration(field+".knownDevices.rememberFor", in.KnownDevices.RememberFor)
	}
	if ch := in.Challenge; ch != nil {
		out.Challenge = &compiled.Challenge{
			Header: ch.Header, URL: ch.URL, CABundle: ch.CABundle, Secret: c.secretRef(field+".challenge.secretRef", &ch.SecretRef), Hostnames: ch.Hostnames, Action: ch.Action,
			AfterFailures: int(*ch.AfterFailures), SendAddress: ch.SendAddress, Timeout: c.duration(field+".challenge.timeout", ch.Timeout),
			InsecureHTTP: ch.InsecureHTTP, OnFailure: compiled.FailureMode(ch.OnFailure),
		}
	}
	out.Breached = c.breached(field+".breachedPasswords", in.BreachedPasswords)
	for i := range in.Routes {
		out.Routes = append(out.Routes, loginRoute(&in.Routes[i]))
	}
	return out
}

func loginRoute(in *v1alpha1.LoginRoute) compiled.LoginRoute {
	r := compiled.LoginRoute{Name: in.Name, Kind: string(in.Kind), Match: matches(in.Match), Account: requestField(in.Account)}
	if in.Password != nil {
		r.Password = new(compiled.RequestField)
		*r.Password = requestField(*in.Password)
	}
	if f := in.Failure; f != nil {
		for _, s := range f.Statuses {
			r.FailureStatuses = append(r.FailureStatuses, int(s))
		}
		if f.Header != nil {
			r.FailureHeader = &compiled.FailureHeader{Name: f.Header.Name, Prefix: f.Header.Prefix}
		}
	}
	return r
}

func requestField(in v1alpha1.RequestField) compiled.RequestField {
	return compiled.RequestField{JSON: in.JSON, Form: in.Form, Header: in.Header, Basic: in.BasicAuth}
}

func (c *compiler) loginLimit(field string, in v1alpha1.LoginLimit) compiled.LoginLimit {
	return compiled.LoginLimit{
		Failures: int(in.Failures), Within: c.duration(field+".within", in.Within), LockFor: c.duration(field+".lockFor", in.LockFor),
		MaxLock: c.duration(field+".maxLock", in.MaxLock),
	}
}

// resets returns a rate as a limit without locks.
func (c *compiler) resets(field string, in v1alpha1.Rate) compiled.LoginLimit {
	count, period, err := in.Parse()
	if err != nil {
		c.errorf(field, "%v", err)
	}
	return compiled.LoginLimit{Failures: count, Within: compiled.Duration(period)}
}

// warnLogins reports protected routes that the policy itself makes useless.
func (c *compiler) warnLogins(p *compiled.Policy) {
	if p.LoginProtection == nil {
		return
	}
	if p.Redis == nil {
		c.warnf("spec.loginProtection", "the SidecarClass has no Redis, so each pod counts by itself, and an attacker has the limits once per pod: add spec.redis to the class")
	}
	for i := range p.LoginProtection.Routes {
		c.suspectMatches(fmt.Sprintf("spec.loginProtection.routes[%d]", i), p.LoginProtection.Routes[i].Match)
	}
}
