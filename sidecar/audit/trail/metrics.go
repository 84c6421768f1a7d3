package trail

import (
	"fmt"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/audit/record"
)

// Metrics count records, and show the state of the newest trail. They are created once for a process. There are two trails for a moment
// when new settings replace the old ones.
type Metrics struct {
	recorded, delivered, failures, refused *prometheus.CounterVec
	dropped, unsigned                      prometheus.Counter
	used, limit, pending                   *prometheus.Desc

	mu sync.Mutex
	// trails are those in use, the newest last.
	trails []*Trail
}

// NewMetrics registers the metrics. It fails if their names are already registered.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	counters := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &Metrics{
		recorded:  counters("postern_audit_records_total", "Records of the audit trail, by category.", "category"),
		delivered: counters("postern_audit_delivered_total", "Records that a sink has confirmed.", "sink"),
		failures:  counters("postern_audit_delivery_failures_total", "Failed attempts to deliver records to a sink.", "sink"),
		refused:   counters("postern_audit_refused_total", "Records that a sink has refused for what is in them, and that it does not have.", "sink"),
		dropped:   counter("postern_audit_dropped_total", "Events that are missing in the audit trail, because its spool was full or the process ended."),
		unsigned:  counter("postern_audit_checkpoint_failures_total", "Checkpoints that could not be signed."),
		used:      prometheus.NewDesc("postern_audit_spool_bytes", "Size of the records that wait in the spool.", nil, nil),
		limit:     prometheus.NewDesc("postern_audit_spool_limit_bytes", "Size at which the spool is full.", nil, nil),
		pending:   prometheus.NewDesc("postern_audit_pending_items", "Records, checkpoints and keys in the spool that a sink has not confirmed.", []string{"sink"}, nil),
	}
	for _, c := range []prometheus.Collector{m.recorded, m.delivered, m.failures, m.refused, m.dropped, m.unsigned, m} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("registering audit metrics: %w", err)
		}
	}
	for _, c := range record.Categories() {
		m.recorded.WithLabelValues(string(c))
	}
	return m, nil
}

// Refused counts records that a sink has refused for what is in them.
func (m *Metrics) Refused(sink string, n int) { m.refused.WithLabelValues(sink).Add(float64(n)) }

// watch reports the state of a trail. The counters of its sinks start at zero, so that the first increase is seen.
func (m *Metrics) watch(t *Trail) {
	for _, s := range t.cfg.Sinks {
		for _, c := range []*prometheus.CounterVec{m.delivered, m.failures, m.refused} {
			c.WithLabelValues(s.Name())
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trails = append(m.trails, t)
}

// forget ends that.
func (m *Metrics) forget(t *Trail) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trails = slices.DeleteFunc(m.trails, func(other *Trail) bool { return other == t })
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.used
	ch <- m.limit
	ch <- m.pending
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.trails) == 0 {
		return
	}
	t := m.trails[len(m.trails)-1]
	used, limit := t.cfg.Spool.Usage()
	ch <- prometheus.MustNewConstMetric(m.used, prometheus.GaugeValue, float64(used))
	ch <- prometheus.MustNewConstMetric(m.limit, prometheus.GaugeValue, float64(limit))
	for i, s := range t.cfg.Sinks {
		ch <- prometheus.MustNewConstMetric(m.pending, prometheus.GaugeValue, float64(t.delivery.readers[i].Pending()), s.Name())
	}
}
