package jwks

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/check/keyset"
)

// metrics is a prometheus.Collector of the state of a manager's sources.
type metrics struct {
	manager                          *Manager
	fetches                          *prometheus.CounterVec
	seconds                          *prometheus.HistogramVec
	keys, dropped, age, stale, ready *prometheus.Desc
}

func newMetrics(m *Manager) *metrics {
	provider := []string{"provider"}
	return &metrics{
		manager: m,
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_jwks_fetches_total",
			Help: "Loads of a provider's key set, by result: ok, not_modified or error.",
		}, []string{"provider", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "postern_jwks_fetch_duration_seconds", Help: "Duration of loads of a provider's key set, also of those that failed.",
			Buckets:                     []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}, provider),
		stale: prometheus.NewDesc("postern_jwks_max_stale_seconds", "Age beyond which a provider's key set is not used any more, from jwks.maxStale.", provider, nil),
		keys:  prometheus.NewDesc("postern_jwks_keys", "Usable keys in a provider's active key set.", provider, nil),
		dropped: prometheus.NewDesc("postern_jwks_dropped_keys",
			"Keys of a provider's active key set that are not used, by reason: malformed, use, algorithm, issuer, symmetric or weak.", []string{"provider", "reason"}, nil),
		age:   prometheus.NewDesc("postern_jwks_age_seconds", "Time since the origin last confirmed a provider's key set.", provider, nil),
		ready: prometheus.NewDesc("postern_jwks_ready", "1 if a provider has an active key set; 0 if its tokens are refused with 503.", provider, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *metrics) Describe(ch chan<- *prometheus.Desc) {
	c.fetches.Describe(ch)
	c.seconds.Describe(ch)
	ch <- c.stale
	ch <- c.keys
	ch <- c.dropped
	ch <- c.age
	ch <- c.ready
}

// Collect implements prometheus.Collector.
func (c *metrics) Collect(ch chan<- prometheus.Metric) {
	c.fetches.Collect(ch)
	c.seconds.Collect(ch)
	for _, s := range c.manager.Status() {
		ready := 0.0
		if s.Ready {
			ready = 1
		}
		ch <- prometheus.MustNewConstMetric(c.keys, prometheus.GaugeValue, float64(s.Keys), s.Provider)
		for reason, n := range countReasons(s.Dropped) {
			ch <- prometheus.MustNewConstMetric(c.dropped, prometheus.GaugeValue, n, s.Provider, string(reason))
		}
		if s.MaxStale > 0 {
			ch <- prometheus.MustNewConstMetric(c.stale, prometheus.GaugeValue, s.MaxStale.Seconds(), s.Provider)
		}
		ch <- prometheus.MustNewConstMetric(c.age, prometheus.GaugeValue, s.Age.Seconds(), s.Provider)
		ch <- prometheus.MustNewConstMetric(c.ready, prometheus.GaugeValue, ready, s.Provider)
	}
}

func countReasons(list []keyset.Dropped) map[keyset.Reason]float64 {
	counts := map[keyset.Reason]float64{}
	for _, d := range list {
		counts[d.Reason]++
	}
	return counts
}
