package server

import (
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/conn/budget"
)

// overloadLogInterval is the minimum pause between two log lines about the same kind of refusal. A flood must not become a flood
// of logs.
const overloadLogInterval = 10 * time.Second

// overload counts and logs the requests that were refused because a budget had no place, and the bodies that were too slow.
type overload struct {
	refusals *prometheus.CounterVec
	slow     prometheus.Counter
	logger   *slog.Logger
	now      func() time.Time

	mu     sync.Mutex
	logged map[kind]*repeated
}

// kind is a kind of refusal.
type kind struct {
	budget string
	why    budget.Refusal
}

// repeated is when a kind was logged, and how often it occurred since.
type repeated struct {
	at    time.Time
	since int
}

func newOverload(r prometheus.Registerer, logger *slog.Logger) (*overload, error) {
	o := &overload{
		logger: logger, now: time.Now, logged: map[kind]*repeated{},
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_overload_refusals_total",
			Help: "Requests refused because of a budget, by budget, and by reason: it is full, or the client's address or connection has its share.",
		}, []string{"budget", "reason"}),
		slow: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postern_slow_bodies_total", Help: "Request bodies that ended because the client sent too slowly.",
		}),
	}
	for _, name := range []string{budgetRequests, budgetStreams, budgetUpgrades, budgetHandshakes} {
		for _, why := range []budget.Refusal{budget.Full, budget.Address, budget.Connection} {
			o.refusals.WithLabelValues(name, string(why))
		}
	}
	return o, errors.Join(r.Register(o.refusals), r.Register(o.slow))
}

// refused counts a refusal. The first of its kind in an interval is logged, with the number of those before it.
func (o *overload) refused(name string, why budget.Refusal, client netip.Prefix) {
	o.refusals.WithLabelValues(name, string(why)).Inc()
	o.mu.Lock()
	defer o.mu.Unlock()
	k, now := kind{name, why}, o.now()
	l := o.logged[k]
	if l == nil {
		l = &repeated{}
		o.logged[k] = l
	}
	l.since++
	if now.Sub(l.at) < overloadLogInterval {
		return
	}
	who := "unknown" // a trusted proxy did not say
	if client.IsValid() {
		who = client.String()
	}
	o.logger.Warn("request refused because of a budget", "budget", name, "reason", string(why), "client", who, "refusals", l.since)
	*l = repeated{at: now}
}

// observe registers gauges of the budgets.
func (b *budgets) observe(r prometheus.Registerer) error {
	var errs []error
	for name, of := range map[string]*budget.Budget{budgetRequests: b.requests, budgetStreams: b.streams, budgetUpgrades: b.upgrades, budgetHandshakes: b.handshakes} {
		labels := prometheus.Labels{"budget": name}
		errs = append(errs, r.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "postern_budget_open", Help: "Places of a budget that are taken.", ConstLabels: labels,
		}, func() float64 { return float64(of.Open()) })), r.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "postern_budget_max", Help: "Places of a budget.", ConstLabels: labels,
		}, func() float64 { return float64(of.Limits().Max) })))
	}
	return errors.Join(errs...)
}
