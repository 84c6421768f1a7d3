package jwks

import "github.com/prometheus/client_golang/prometheus"

// metrics is a prometheus.Collector of the state of a manager's sources.
type metrics struct {
	manager          *Manager
	fetches          *prometheus.CounterVec
	keys, age, ready *prometheus.Desc
}

func newMetrics(m *Manager) *metrics {
	provider := []string{"provider"}
	return &metrics{
		manager: m,
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_jwks_fetches_total",
			Help: "Loads of a provider's key set, by result: ok, not_modified or error.",
		}, []string{"provider", "result"}),
		keys:  prometheus.NewDesc("postern_jwks_keys", "Usable keys in a provider's active key set.", provider, nil),
		age:   prometheus.NewDesc("postern_jwks_age_seconds", "Time since the origin last confirmed a provider's key set.", provider, nil),
		ready: prometheus.NewDesc("postern_jwks_ready", "1 if a provider has an active key set; 0 if its tokens are refused with 503.", provider, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *metrics) Describe(ch chan<- *prometheus.Desc) {
	c.fetches.Describe(ch)
	ch <- c.keys
	ch <- c.age
	ch <- c.ready
}

// Collect implements prometheus.Collector.
func (c *metrics) Collect(ch chan<- prometheus.Metric) {
	c.fetches.Collect(ch)
	for _, s := range c.manager.Status() {
		ready := 0.0
		if s.Ready {
			ready = 1
		}
		ch <- prometheus.MustNewConstMetric(c.keys, prometheus.GaugeValue, float64(s.Keys), s.Provider)
		ch <- prometheus.MustNewConstMetric(c.age, prometheus.GaugeValue, s.Age.Seconds(), s.Provider)
		ch <- prometheus.MustNewConstMetric(c.ready, prometheus.GaugeValue, ready, s.Provider)
	}
}
