package authn

import (
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// Metrics is a sink of events that counts tokens in postern_tokens_verified_total. It lives as long as the process, across
// snapshots of the policy.
type Metrics struct{ tokens *prometheus.CounterVec }

// NewMetrics registers the counter.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	tokens := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_tokens_verified_total",
		Help: "Bearer tokens by provider (empty if the token names none), result (ok, or the reason of the refusal), claim (the claim or header parameter that was refused, by its registered or the policy's name, or empty), and whether the verification was cached.",
	}, []string{"provider", "result", "claim", "cached"})
	if err := r.Register(tokens); err != nil {
		return nil, fmt.Errorf("registering token metrics: %w", err)
	}
	return &Metrics{tokens: tokens}, nil
}

// Kinds implements event.Sink.
func (m *Metrics) Kinds() event.Kinds { return event.Of(event.TokenVerified, event.TokenRefused) }

// Record implements event.Sink.
func (m *Metrics) Record(e event.Event) {
	m.tokens.WithLabelValues(e.Provider, e.Result(), e.Claim, strconv.FormatBool(e.Cached)).Inc()
}
