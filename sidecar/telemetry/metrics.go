package telemetry

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count what is exported. They are created once for a process.
type Metrics struct {
	exported prometheus.Counter
	dropped  *prometheus.CounterVec
	requests *prometheus.CounterVec
}

// Reasons why a span is dropped.
const (
	dropFull     = "queue_full"
	dropFailed   = "export_failed"
	dropRejected = "rejected"
)

// NewMetrics registers the metrics. It fails if their names are already registered.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		exported: prometheus.NewCounter(prometheus.CounterOpts{Name: "postern_telemetry_spans_exported_total", Help: "Spans that the collector has accepted."}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_telemetry_spans_dropped_total",
			Help: "Spans that were dropped: the queue was full, the export failed, or the collector rejected them.",
		}, []string{"reason"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_telemetry_exports_total", Help: "Requests to the OpenTelemetry collector.",
		}, []string{"signal", "result"}),
	}
	for _, c := range []prometheus.Collector{m.exported, m.dropped, m.requests} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("registering telemetry metrics: %w", err)
		}
	}
	for _, reason := range []string{dropFull, dropFailed, dropRejected} {
		m.dropped.WithLabelValues(reason)
	}
	for _, s := range []signal{traces, logs} {
		m.requests.WithLabelValues(s.name, "ok")
		m.requests.WithLabelValues(s.name, "error")
	}
	return m, nil
}

func (m *Metrics) drop(reason string, n int) { m.dropped.WithLabelValues(reason).Add(float64(n)) }

// observe counts a request.
func (m *Metrics) observe(signal string, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.requests.WithLabelValues(signal, result).Inc()
}
