package check

import (
	"errors"
	"net/url"
	"slices"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// Bounds of login protection. NIST SP 800-63B-4 §3.2.2 allows at most 100 consecutive failures of one account.
const (
	MaxLoginFailures   = 1000
	maxAccountFailures = 100
	maxLoginLock       = 24 * time.Hour
	maxLoginWindow     = 24 * time.Hour
)

// loginProtection checks the routes and limits of spec.loginProtection.
func (c *checker) loginProtection(policy *compiled.Policy) {
	p := policy.LoginProtection
	if p == nil {
		return
	}
	const field = "spec.loginProtection"
	names := map[string]bool{}
	for i := range p.Routes {
		r, at := &p.Routes[i], at(field+".routes", i)
		if names[r.Name] {
			c.addf(at+".name", "another route has this name; write a unique name, for example login")
		}
		names[r.Name] = true
		c.matches(at+".match", r.Match)
		c.requestField(at+".account", r.Account)
		c.loginPassword(at, r, p.Breached != nil)
		c.reachesLogin(at+".account", policy, r.Account)
		if r.Password != nil {
			c.reachesLogin(at+".password", policy, *r.Password)
		}
		if h := r.FailureHeader; h != nil {
			c.add(at+".failure.header.name", FieldName(h.Name))
		}
	}
	c.loginLimit(field+".perAccount", p.PerAccount, maxAccountFailures)
	c.loginLimit(field+".perAddress", p.PerAddress, MaxLoginFailures)
	c.loginLimit(field+".global", p.Global, MaxLoginFailures)
	c.loginLimit(field+".resets.perAccount", p.ResetsPerAccount, MaxLoginFailures)
	c.loginLimit(field+".resets.perAddress", p.ResetsPerAddress, MaxLoginFailures)
	if ch := p.Challenge; ch != nil {
		c.add(field+".challenge.header", ChallengeHeader(ch.Header))
		c.reachesLogin(field+".challenge", policy, compiled.RequestField{Header: ch.Header})
		c.add(field+".challenge.url", challengeURL(ch.URL, ch.InsecureHTTP))
		_, err := Certificates([]byte(ch.CABundle))
		c.add(field+".challenge.caBundle", err)
	}
	if b := p.Breached; b != nil {
		c.breached(field+".breachedPasswords", b)
		if b.OnFailure == compiled.Deny {
			c.addf(field+".breachedPasswords.onFailure", "no login is refused because of this list; leave onFailure out")
		}
	}
	if p.KnownDevices != nil {
		c.loginLimit(field+".knownDevices", *p.KnownDevices, maxAccountFailures)
	}
}

// reachesLogin refuses a place that authentication removes from every request: login protection would find nothing there.
func (c *checker) reachesLogin(field string, p *compiled.Policy, place compiled.RequestField) {
	const remedy = "and removes it before login protection; write another place"
	reads := ""
	if place.Header != "" {
		reads = ReadsCredential(p, place.Header)
		field += ".header"
	} else if place.Basic && p.APIKeys != nil {
		field += ".basicAuth"
		switch {
		case p.APIKeys.Users != nil:
			reads = "spec.apiKeys.usersRef reads Authorization: Basic"
		case slices.ContainsFunc(p.APIKeys.From, func(l compiled.APIKeyLocation) bool { return l.BasicAuth }):
			reads = "spec.apiKeys.from reads Authorization: Basic"
		}
	}
	if reads != "" {
		c.addf(field, "%s, %s", reads, remedy)
	}
}

func challengeURL(text string, insecure bool) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("it is not a URL without user information and fragment; write for example https://challenges.cloudflare.com/turnstile/v0/siteverify")
	case u.Scheme == "http" && !insecure:
		return errors.New("it is a plain http URL; write https, or insecureHTTP: true for a server inside the cluster")
	}
	return nil
}

func (c *checker) loginLimit(field string, l compiled.LoginLimit, most int) {
	switch {
	case l.Failures < 1 || l.Failures > most:
		c.addf(field, "%d is not between 1 and %d; write a number in that range, for example 5", l.Failures, most)
	case l.Within.Std() < time.Second || l.Within.Std() > maxLoginWindow:
		c.addf(field, "the window %s is not between 1s and %s; write a duration in that range, for example 15m", l.Within.Std(), maxLoginWindow)
	case l.LockFor.Std() > maxLoginLock || l.MaxLock.Std() > maxLoginLock:
		c.addf(field, "a lock is longer than %s; write a shorter one, for example 1h: a client that knows the name of an account could keep its owner out", maxLoginLock)
	case l.MaxLock < l.LockFor:
		c.addf(field+".maxLock", "%s is shorter than lockFor, %s; write a longer one", l.MaxLock.Std(), l.LockFor.Std())
	}
}
