package drain

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the metrics of streams.
type Metrics struct {
	length, pending, lag, bytes *prometheus.GaugeVec
	written, rejected           *prometheus.CounterVec
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"namespace"})
	}
	m := &Metrics{
		length:  gauge("postern_audit_stream_length", "Entries of the stream of a namespace that are not in the database."),
		pending: gauge("postern_audit_stream_pending", "Entries of the stream of a namespace that a writer has read and not yet written."),
		lag:     gauge("postern_audit_stream_lag_seconds", "Age of the oldest entry of the stream of a namespace that is not in the database; 0 if there is none."),
		bytes:   gauge("postern_audit_stream_bytes", "Memory of the stream of a namespace in Redis."),
		written: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_audit_stream_written_total", Help: "Entries of the stream of a namespace that this writer has written to the database.",
		}, []string{"namespace"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_audit_stream_rejected_total",
			Help: "Entries of the stream of a namespace that were moved aside: malformed (also those of another namespace), or refused by the database.",
		}, []string{"namespace", "reason"}),
	}
	for _, c := range []prometheus.Collector{m.length, m.pending, m.lag, m.bytes, m.written, m.rejected} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("registering the metrics of streams: %w", err)
		}
	}
	return m, nil
}

func (m *Metrics) observe(namespace string, length, pending int64, lag time.Duration, bytes int64) {
	m.length.WithLabelValues(namespace).Set(float64(length))
	m.pending.WithLabelValues(namespace).Set(float64(pending))
	m.lag.WithLabelValues(namespace).Set(lag.Seconds())
	m.bytes.WithLabelValues(namespace).Set(float64(bytes))
}

// forget removes the gauges of a namespace whose stream is gone.
func (m *Metrics) forget(namespace string) {
	m.length.DeleteLabelValues(namespace)
	m.pending.DeleteLabelValues(namespace)
	m.lag.DeleteLabelValues(namespace)
	m.bytes.DeleteLabelValues(namespace)
}
