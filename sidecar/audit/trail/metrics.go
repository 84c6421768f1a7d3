package trail

import (
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count records. They are created once for a process.
type Metrics struct {
	recorded, delivered, failures, refused *prometheus.CounterVec
	dropped, unsigned                      *prometheus.CounterVec

	mu sync.Mutex
	// trails are those in use, by policy: the newest, if a new configuration has just replaced another one.
	trails  map[string]*Trail
	used    *prometheus.Desc
	limit   *prometheus.Desc
	pending *prometheus.Desc
}

// NewMetrics registers the metrics. It fails if their names are already registered.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"policy"}, labels...))
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"policy"}, labels...), nil)
	}
	m := &Metrics{
		recorded:  counter("postern_audit_records_total", "Records of the audit trail.", "category"),
		delivered: counter("postern_audit_delivered_total", "Records that a sink has confirmed.", "sink"),
		failures:  counter("postern_audit_delivery_failures_total", "Failed attempts to deliver records.", "sink"),
		refused:   counter("postern_audit_refused_total", "Records that a sink has refused for what is in them, and that it does not have.", "sink"),
		dropped:   counter("postern_audit_dropped_total", "Events that are missing in the audit trail, because its spool was full."),
		unsigned:  counter("postern_audit_checkpoint_failures_total", "Checkpoints that could not be signed."),
		used:      desc("postern_audit_spool_bytes", "Size of the records that wait in the spool."),
		limit:     desc("postern_audit_spool_limit_bytes", "Size at which the spool is full."),
		pending:   desc("postern_audit_pending_items", "Items in the spool that a sink has not confirmed.", "sink"),
		trails:    map[string]*Trail{},
	}
	for _, c := range []prometheus.Collector{m.recorded, m.delivered, m.failures, m.refused, m.dropped, m.unsigned, m} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("registering audit metrics: %w", err)
		}
	}
	return m, nil
}

// Refused counts records of a policy that a sink has refused for what is in them.
func (m *Metrics) Refused(policy, sink string, n int) {
	m.refused.WithLabelValues(policy, sink).Add(float64(n))
}

// watch reports the state of a trail.
func (m *Metrics) watch(t *Trail) {
	m.dropped.WithLabelValues(t.cfg.Policy) // from 0 on, so that the first increase is seen
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trails[t.cfg.Policy] = t
}

// forget ends that, unless another trail of the policy has replaced t.
func (m *Metrics) forget(t *Trail) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.trails[t.cfg.Policy] == t {
		delete(m.trails, t.cfg.Policy)
	}
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
	for policy, t := range m.trails {
		used, limit := t.cfg.Spool.Usage()
		ch <- prometheus.MustNewConstMetric(m.used, prometheus.GaugeValue, float64(used), policy)
		ch <- prometheus.MustNewConstMetric(m.limit, prometheus.GaugeValue, float64(limit), policy)
		for i, s := range t.cfg.Sinks {
			ch <- prometheus.MustNewConstMetric(m.pending, prometheus.GaugeValue, float64(t.delivery.readers[i].Pending()), policy, s.Name())
		}
	}
}
