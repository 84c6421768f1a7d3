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
		Help: "Logins, ignored logins, refreshes, revocations and ends of sessions, by event and result (ok, what was revoked, or the reason of a refusal).",
	}, []string{"event", "result"})
	if err := r.Register(events); err != nil {
		return nil, fmt.Errorf("registering token metrics: %w", err)
	}
	for kind, results := range knownResults() {
		for _, result := range results {
			// increase() does not count the event that creates a series.
			events.WithLabelValues(Label(event.Event{Kind: kind}), result)
		}
	}
	return &Metrics{events: events}, nil
}

// knownResults returns the results of each kind of event. The login's are the codes of its refusals, which the packages of the
// endpoints define.
func knownResults() map[event.Kind][]string {
	return map[event.Kind][]string{
		event.Login:        {"ok", "session-limit", "login-revoked", "login-response-invalid", "tokens-unavailable", "invalid-request", "unavailable"},
		event.LoginIgnored: {"no-tokens", "route", "status", "delivery", "no-subject"},
		event.Refresh: {
			string(session.OutcomeRotated), string(session.OutcomeRetried), string(session.OutcomeReused), string(session.OutcomeBound),
			string(session.OutcomeExpired), string(session.OutcomeUnknown), "invalid_request", "unavailable",
		},
		event.Logout: {"ok"}, event.LogoutAll: {"ok"}, event.LogoutSession: {"ok"},
		event.SessionLimit: {"shadow"}, event.SessionDevice: {"shadow"}, event.SessionEnded: {"ok"}, event.SessionEvicted: {"ok"},
		event.Revocation:        {"token", "session", "subject", "key"},
		event.BackChannelLogout: {"ok", "unavailable"},
	}
}

// Kinds implements event.Sink.
func (m *Metrics) Kinds() event.Kinds {
	return event.Of(event.Login, event.LoginIgnored, event.Refresh, event.Logout, event.LogoutAll, event.LogoutSession, event.SessionLimit, event.SessionDevice,
		event.SessionEnded, event.SessionEvicted, event.Revocation, event.BackChannelLogout)
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
