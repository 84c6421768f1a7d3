package token

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/login/session"
)

// Metrics is an Observer that counts events in postern_token_events_total. It lives as long as the process and serves all
// snapshots.
type Metrics struct{ events *prometheus.CounterVec }

// NewMetrics registers the counter.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_token_events_total",
		Help: "Logins, ignored logins, refreshes and ends of sessions, by event and result (ok, or the reason of a refusal).",
	}, []string{"event", "result"})
	if err := r.Register(events); err != nil {
		return nil, fmt.Errorf("registering token metrics: %w", err)
	}
	events.WithLabelValues("refresh", string(session.OutcomeReused)) // present from the start, because increase() ignores the first value
	return &Metrics{events: events}, nil
}

// Kinds implements event.Sink.
func (m *Metrics) Kinds() event.Kinds {
	return event.Of(event.Login, event.LoginIgnored, event.Refresh, event.Logout, event.LogoutAll, event.LogoutSession, event.SessionLimit, event.SessionDevice)
}

// Record implements event.Sink.
func (m *Metrics) Record(e event.Event) { m.events.WithLabelValues(Label(e), e.Result()).Inc() }

// Label is the metric's label of an event.
func Label(e event.Event) string {
	if e.Kind == event.LogoutSession {
		return "session_end"
	}
	return e.Kind.String()
}
