package certificate

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are those of all certificates in use. A policy has a few certificates, and each has its series. The nil Metrics counts nothing.
type Metrics struct {
	held                func() []Held
	notBefore, notAfter *prometheus.Desc
	loaded              *prometheus.Desc
	rotations           *prometheus.CounterVec
}

// NewMetrics registers the metrics of the certificates in use.
func NewMetrics(r prometheus.Registerer, held func() []Held) (*Metrics, error) {
	m := &Metrics{
		held: held,
		notBefore: prometheus.NewDesc("postern_tls_certificate_not_before_seconds",
			"Time from which the certificate in use is valid, in seconds since 1970.", []string{"certificate"}, nil),
		notAfter: prometheus.NewDesc("postern_tls_certificate_not_after_seconds",
			"Time at which the certificate in use expires, in seconds since 1970.", []string{"certificate"}, nil),
		loaded: prometheus.NewDesc("postern_tls_certificate_loaded_seconds",
			"Time from which the certificate is in use here: the last rotation, or the start, in seconds since 1970.", []string{"certificate"}, nil),
		rotations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_tls_certificate_rotations_total", Help: "Certificates that were replaced by another one while in use.",
		}, []string{"certificate"}),
	}
	for _, c := range []prometheus.Collector{m, m.rotations} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("registering certificate metrics: %w", err)
		}
	}
	return m, nil
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.notBefore
	ch <- m.notAfter
	ch <- m.loaded
}

// Collect implements prometheus.Collector. While a document is replaced, two certificates may have the same name: the one that expires first
// counts.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	soonest := map[string]*Certificate{}
	for _, h := range m.held() {
		c, err := h.Current()
		if err != nil {
			continue
		}
		if other := soonest[h.Name()]; other == nil || c.NotAfter().Before(other.NotAfter()) {
			soonest[h.Name()] = c
		}
	}
	for name, c := range soonest {
		ch <- prometheus.MustNewConstMetric(m.notBefore, prometheus.GaugeValue, float64(c.Leaf.NotBefore.Unix()), name)
		ch <- prometheus.MustNewConstMetric(m.notAfter, prometheus.GaugeValue, float64(c.NotAfter().Unix()), name)
		ch <- prometheus.MustNewConstMetric(m.loaded, prometheus.GaugeValue, float64(c.loaded.Unix()), name)
	}
}

// replaced counts a certificate that replaces another one.
func (m *Metrics) replaced(name string, last, next *Certificate) {
	if m == nil {
		return
	}
	c := m.rotations.WithLabelValues(name) // exists from the first certificate on, because increase() does not count the event that creates it
	if last != nil && !last.Same(next) {
		c.Inc()
	}
}
