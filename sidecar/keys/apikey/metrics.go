package apikey

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the uses of the keys of all stores. A key has series from its first use until it is no longer in a file, so there are at
// most as many as keys.
type Metrics struct {
	stores         func() []*Store
	last, requests *prometheus.Desc
}

// NewMetrics registers the metrics of the stores in use.
func NewMetrics(r prometheus.Registerer, stores func() []*Store) (*Metrics, error) {
	m := &Metrics{
		stores: stores,
		last: prometheus.NewDesc("postern_sidecar_api_key_last_used_timestamp_seconds",
			"Time of the last request with an API key at this sidecar, by the key's id.", []string{"key_id"}, nil),
		requests: prometheus.NewDesc("postern_sidecar_api_key_requests_total",
			"Requests with a valid API key at this sidecar, by the key's id.", []string{"key_id"}, nil),
	}
	if err := r.Register(m); err != nil {
		return nil, fmt.Errorf("registering API key metrics: %w", err)
	}
	return m, nil
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) { ch <- m.last; ch <- m.requests }

// Collect implements prometheus.Collector. While a document is replaced there may be two stores with a key of the same id: the later
// use and the sum count.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	type total struct{ last, count int64 }
	totals := map[string]total{}
	for _, s := range m.stores() {
		f, err := s.File()
		if err != nil {
			continue
		}
		for _, e := range f.entries {
			if n := e.use.count.Load(); n > 0 {
				t := totals[e.ID]
				totals[e.ID] = total{max(t.last, e.use.last.Load()), t.count + n}
			}
		}
	}
	for id, t := range totals {
		ch <- prometheus.MustNewConstMetric(m.last, prometheus.GaugeValue, float64(t.last)/1e9, id)
		ch <- prometheus.MustNewConstMetric(m.requests, prometheus.CounterValue, float64(t.count), id)
	}
}
