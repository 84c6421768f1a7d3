package inflight

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count places that were not renewed. They are created once for a process. A nil Metrics counts nothing.
type Metrics struct{ failures prometheus.Counter }

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{failures: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "postern_in_flight_renewal_failures_total",
		Help: "Requests in progress with a place of a maxInFlight that could not be renewed in the shared store. Each is tried three times in a lease.",
	})}
	if err := r.Register(m.failures); err != nil {
		return nil, fmt.Errorf("registering metrics of requests in progress: %w", err)
	}
	return m, nil
}

func (m *Metrics) fail(n int) {
	if m != nil {
		m.failures.Add(float64(n))
	}
}
