package ratelimit

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count the charges of costs that come from responses. They are created once for a process. A nil Metrics counts
// nothing.
type Metrics struct {
	charges *prometheus.CounterVec
	lost    prometheus.Counter
}

// The results of a charge: the cost was in the response, or it was not and is 1.
const (
	resultFound   = "found"
	resultDefault = "default"
)

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		charges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_rate_limit_charges_total",
			Help: "Responses that were charged to a limit whose cost comes from the response, by result: found, or default (no readable cost, or no 2xx: charged as 1).",
		}, []string{"result"}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postern_rate_limit_charge_failures_total", Help: "Charges that could not be counted in the shared store.",
		}),
	}
	for _, c := range []prometheus.Collector{m.charges, m.lost} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("registering rate limit metrics: %w", err)
		}
	}
	for _, result := range []string{resultFound, resultDefault} {
		m.charges.WithLabelValues(result) // increase() does not count the event that creates a series
	}
	return m, nil
}

func (m *Metrics) charge(found bool) {
	switch {
	case m == nil:
	case found:
		m.charges.WithLabelValues(resultFound).Inc()
	default:
		m.charges.WithLabelValues(resultDefault).Inc()
	}
}

func (m *Metrics) lose(n int) {
	if m != nil {
		m.lost.Add(float64(n))
	}
}
