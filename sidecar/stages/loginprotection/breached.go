package loginprotection

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

// BreachedHeader is the field of the request that tells the app that the password is known from data breaches. Its value is true.
const BreachedHeader = "Postern-Password-Breached"

// BreachedSource counts how often a password is in a list of breached passwords; *breached.File and breached.URL are two. Its errors contain
// nothing of the password.
type BreachedSource interface {
	Count(ctx context.Context, password string) (int, error)
}

// BreachedList is a list of breached passwords, in which passwords are looked up that the app is about to check.
type BreachedList struct {
	Source BreachedSource
	// MinCount is how often a password must be in the list.
	MinCount int
}

// Password says where a request has the password, as Account does for the account.
type Password Account

// read returns the password; "" for none. The error is the refusal of a request in which apps could find another password, which would not be
// looked up.
func (p *Password) read(r *http.Request) (string, error) {
	switch {
	case p.Basic:
		given, err := basic(r)
		if err != nil {
			return "", err
		}
		return given.secrets[1], nil
	case p.Header != "":
		if values := r.Header.Values(p.Header); len(values) > 1 {
			return "", twoWays("The header with the password is repeated.")
		}
		return r.Header.Get(p.Header), nil
	}
	given, err := (*Account)(p).read(r)
	return given.account, err
}

// read returns what the request says.
func (m *Route) read(r *http.Request) (given, error) {
	g, err := m.Account.read(r)
	if err != nil || m.Password == nil {
		return g, err
	}
	if g.password, err = m.Password.read(r); err != nil {
		return given{}, err
	}
	g.secrets = append(g.secrets, g.password)
	return g, nil
}

// looksUp reports whether the password of the attempt is looked up, if the app gets the attempt.
func (a *attempt) looksUp() bool {
	return a.cfg.Breached != nil && a.route.Kind == Login && a.password != ""
}

// lookUp tells the app, and nobody else, that the password of the attempt is breached. Only attempts that the app is about to get are looked
// up, so that nobody has look-ups for free. In shadow mode the app is not told.
func (a *attempt) lookUp(r *http.Request) {
	if !a.looksUp() {
		return
	}
	list := a.cfg.Breached
	count, err := list.Source.Count(r.Context(), a.password)
	lookups := a.cfg.Metrics.lookups
	switch {
	case err != nil:
		lookups.WithLabelValues(lookupUnavailable).Inc()
		a.cfg.Logger.WarnContext(r.Context(), "a password was not looked up", "route", a.route.Name, "error", err)
	case count < list.MinCount:
		lookups.WithLabelValues(lookupUnlisted).Inc()
	default:
		lookups.WithLabelValues(lookupListed).Inc()
		a.breached = true
		if !a.cfg.Shadow && !a.info.Shadow {
			r.Header.Set(BreachedHeader, "true")
		}
	}
}

// Results of look-ups, the values of a label.
const (
	lookupListed      = "listed"
	lookupUnlisted    = "unlisted"
	lookupUnavailable = "unavailable"
)

// startBreached creates the series of the routes, so that increase() counts the first event of each.
func (m *Metrics) startBreached(routes []Route) {
	for i := range routes {
		if routes[i].Kind == Login {
			m.breached.WithLabelValues(routes[i].Name)
		}
	}
}

func newBreachedMetrics() (breached, lookups *prometheus.CounterVec) {
	breached = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_login_breached_passwords_total", Help: "Successful logins with a password that is known from data breaches.",
	}, []string{"route"})
	lookups = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_login_password_lookups_total",
		Help: "Passwords of attempts that were looked up in the list of breached passwords by result: listed, unlisted, unavailable.",
	}, []string{"result"})
	for _, result := range []string{lookupListed, lookupUnlisted, lookupUnavailable} {
		lookups.WithLabelValues(result)
	}
	return breached, lookups
}
