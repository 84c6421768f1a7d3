package token

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/login/session"
)

// Metrics is an Observer that counts in postern_token_events_total. It lives as long as the process and serves one snapshot
// after the other.
type Metrics struct{ events *prometheus.CounterVec }

// NewMetrics registers the counter.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_token_events_total",
		Help: "Logins, refreshes and ends of sessions by event, and by what became of each (ok, or why not).",
	}, []string{"event", "result"})
	if err := r.Register(events); err != nil {
		return nil, fmt.Errorf("registering token metrics: %w", err)
	}
	events.WithLabelValues("refresh", string(session.OutcomeReused)) // there from the start: increase() sees no first value
	return &Metrics{events: events}, nil
}

// TokenEvent implements Observer.
func (m *Metrics) TokenEvent(event, result string) { m.events.WithLabelValues(event, result).Inc() }
