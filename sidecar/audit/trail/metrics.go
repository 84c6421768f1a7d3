package trail

import (
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/audit/spool"
)

// Metrics count records. They are created once for a process.
type Metrics struct {
	recorded, delivered, failures *prometheus.CounterVec
	dropped, unsigned             *prometheus.CounterVec

	mu      sync.Mutex
	spools  map[string]spool.Spool
	readers map[[2]string]spool.Reader
	used    *prometheus.Desc
	limit   *prometheus.Desc
	pending *prometheus.Desc
}

// NewMetrics registers the metrics. It fails if their names are already registered.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postern_audit_" + name, Help: help}, append([]string{"policy"}, labels...))
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("postern_audit_"+name, help, append([]string{"policy"}, labels...), nil)
	}
	m := &Metrics{
		recorded:  counter("records_total", "Records of the audit trail.", "category"),
		delivered: counter("delivered_total", "Records that a sink has confirmed.", "sink"),
		failures:  counter("delivery_failures_total", "Failed attempts to deliver records.", "sink"),
		dropped:   counter("dropped_total", "Events that are missing in the audit trail, because its spool was full."),
		unsigned:  counter("checkpoint_failures_total", "Checkpoints that could not be signed."),
		used:      desc("spool_bytes", "Size of the records that wait in the spool."),
		limit:     desc("spool_limit_bytes", "Size at which the spool is full."),
		pending:   desc("pending_items", "Items in the spool that a sink has not confirmed.", "sink"),
		spools:    map[string]spool.Spool{}, readers: map[[2]string]spool.Reader{},
	}
	for _, c := range []prometheus.Collector{m.recorded, m.delivered, m.failures, m.dropped, m.unsigned, m} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("registering audit metrics: %w", err)
		}
	}
	return m, nil
}

// watch reports the state of a spool and of one of its readers.
func (m *Metrics) watch(policy, sink string, r spool.Reader, s spool.Spool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.spools[policy], m.readers[[2]string{policy, sink}] = s, r
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
	for policy, s := range m.spools {
		used, limit := s.Usage()
		ch <- prometheus.MustNewConstMetric(m.used, prometheus.GaugeValue, float64(used), policy)
		ch <- prometheus.MustNewConstMetric(m.limit, prometheus.GaugeValue, float64(limit), policy)
	}
	for key, r := range m.readers {
		ch <- prometheus.MustNewConstMetric(m.pending, prometheus.GaugeValue, float64(r.Pending()), key[0], key[1])
	}
}
