package server

import (
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
)

// documentMetrics show the active document. Their series are replaced with it.
type documentMetrics struct {
	info, revision *prometheus.Desc
	active         atomic.Pointer[activeDocument]
	rejected       prometheus.Counter
}

type activeDocument struct {
	policy, hash, mode string
	revision           float64
}

// Values of the label mode of postern_policy_info, beside those of the policy.
const modeDeleted = "Deleted"

func newDocumentMetrics(r prometheus.Registerer) (*documentMetrics, error) {
	m := &documentMetrics{
		// The label is not named policy, because a scrape sets that one from the pod's annotation.
		info: prometheus.NewDesc("postern_policy_info",
			"1 for the active document: its policy as namespace/name, its hash, and the mode of the policy (Enforce, Shadow, or Deleted, which passes all requests).",
			[]string{"security_policy", "document", "mode"}, nil),
		revision: prometheus.NewDesc("postern_document_revision", "Revision of the active document: the time of its write in milliseconds since 1970.", nil, nil),
		rejected: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postern_documents_rejected_total", Help: "Documents that this sidecar could not run, so that it kept the one before.",
		}),
	}
	return m, errors.Join(r.Register(m), r.Register(m.rejected))
}

// set shows a document.
func (m *documentMetrics) set(p *compiled.Policy, hash string) {
	if m == nil {
		return
	}
	d := &activeDocument{policy: p.Namespace + "/" + p.Name, hash: hash, mode: string(p.Mode), revision: float64(p.Revision)}
	if p.Deleted {
		d.mode = modeDeleted
	}
	m.active.Store(d)
}

func (m *documentMetrics) reject() {
	if m != nil {
		m.rejected.Inc()
	}
}

// Describe implements prometheus.Collector.
func (m *documentMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.info
	ch <- m.revision
}

// Collect implements prometheus.Collector.
func (m *documentMetrics) Collect(ch chan<- prometheus.Metric) {
	d := m.active.Load()
	if d == nil {
		return
	}
	ch <- prometheus.MustNewConstMetric(m.info, prometheus.GaugeValue, 1, d.policy, d.hash, d.mode)
	ch <- prometheus.MustNewConstMetric(m.revision, prometheus.GaugeValue, d.revision)
}
