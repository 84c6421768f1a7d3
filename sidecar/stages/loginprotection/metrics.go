package loginprotection

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count attempts. They are created once for a process. No label value comes from a client.
type Metrics struct {
	attempts, refused, locked, challenges *prometheus.CounterVec
	breached, lookups, unlocks            *prometheus.CounterVec
	unavailable                           prometheus.Counter
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		attempts: counter("postern_login_attempts_total",
			"Requests on protected login routes by result: success, failure, neutral (neither), refused, unreadable, unavailable.", "route", "result"),
		refused:     counter("postern_login_refused_total", "Attempts that did not reach the app, by what was used up: account, address, device.", "route", "kind"),
		locked:      counter("postern_login_lockouts_total", "Limits of failed logins that were reached: account (many addresses guess at one), address (one guesses at many), device, global (many at many).", "kind"),
		challenges:  counter("postern_login_challenges_total", "Challenges that an attempt needed by result: solved, missing, rejected, unavailable.", "result"),
		unlocks:     counter("postern_login_unlocks_total", "Accounts whose failures and locks were cleared by the app or an operator, by result: cleared, unavailable.", "result"),
		unavailable: prometheus.NewCounter(prometheus.CounterOpts{Name: "postern_login_store_failures_total", Help: "Attempts that could not be counted in the shared store."}),
	}
	m.breached, m.lookups = newBreachedMetrics()
	for _, c := range []prometheus.Collector{m.breached, m.lookups, m.attempts, m.refused, m.locked, m.challenges, m.unlocks, m.unavailable} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("registering login metrics: %w", err)
		}
	}
	for _, kind := range []string{kindAccount, kindAddress, kindDevice, kindGlobal} {
		m.locked.WithLabelValues(kind) // increase() does not count the event that creates a series
	}
	for _, result := range []string{"solved", "missing", "rejected", "unavailable"} {
		m.challenges.WithLabelValues(result)
	}
	for _, result := range []string{"cleared", "unavailable"} {
		m.unlocks.WithLabelValues(result)
	}
	return m, nil
}

// start creates the series of the routes.
func (m *Metrics) start(routes []Route) {
	for i := range routes {
		for _, result := range []string{"success", "failure", "neutral", "refused", "unreadable", "unavailable"} {
			m.attempts.WithLabelValues(routes[i].Name, result)
		}
		for _, kind := range []string{kindAccount, kindAddress, kindDevice} {
			m.refused.WithLabelValues(routes[i].Name, kind)
		}
	}
}
