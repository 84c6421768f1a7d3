package postgres

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts for all pools of the process. There are two for a short time when a new configuration replaces one.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  prometheus.Histogram
	connects prometheus.Counter

	mu    sync.Mutex
	pools map[*Pool]struct{}
}

// NewMetrics registers the metrics with reg. It may be called once per process.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_database_requests_total",
			Help: "Requests to the database by result: ok, refused (PostgreSQL replied with an error), unavailable (no usable reply), open (not sent, the breaker is open), busy (all connections were in use), canceled.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "postern_database_request_duration_seconds", Help: "Duration of requests to the database, with waiting for a connection.",
			Buckets:                     []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}),
		connects: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postern_database_connects_total", Help: "Connections made to the database. Each replaces one that was lost, idle or had old credentials, or is the first.",
		}),
		pools: map[*Pool]struct{}{},
	}
	collectors := append(m.gauges(), m.requests, m.seconds, m.connects)
	for _, c := range collectors {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics of the database: %w", err)
		}
	}
	for _, result := range results {
		m.requests.WithLabelValues(result)
	}
	return m, nil
}

// gauges show the state of the pools.
func (m *Metrics) gauges() []prometheus.Collector {
	up := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "postern_database_up", Help: "1 while every configured database is available.",
	}, func() float64 { return m.least(func(p *Pool) bool { return p.Status().Up }) })
	opened := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "postern_database_breaker_open", Help: "Unavailable databases. No requests are sent to them until a probe succeeds.",
	}, func() float64 {
		return m.sum(func(p *Pool) float64 {
			if p.breaker.Open() {
				return 1
			}
			return 0
		})
	})
	collectors := []prometheus.Collector{up, opened}
	for state, count := range map[string]func(*Pool) float64{
		"in_use": func(p *Pool) float64 { return float64(p.pool.Stat().AcquiredConns()) },
		"idle":   func(p *Pool) float64 { return float64(p.pool.Stat().IdleConns()) },
	} {
		collectors = append(collectors, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "postern_database_connections", Help: "Open connections to the database, by state.",
			ConstLabels: prometheus.Labels{"state": state},
		}, func() float64 { return m.sum(count) }))
	}
	return collectors
}

func (m *Metrics) observe(found outcome, took time.Duration) {
	m.requests.WithLabelValues(results[found]).Inc()
	if found != open {
		m.seconds.Observe(took.Seconds())
	}
}

// results are the values of the label result.
var results = map[outcome]string{
	answered: "ok", refused: "refused", unavailable: "unavailable", readOnly: "unavailable", open: "open", busy: "busy", gone: "canceled",
}

func (m *Metrics) add(p *Pool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pools[p] = struct{}{}
}

func (m *Metrics) remove(p *Pool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.pools, p)
}

// least returns 1 if ok is true of every pool.
func (m *Metrics) least(ok func(*Pool) bool) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := range m.pools {
		if !ok(p) {
			return 0
		}
	}
	return 1
}

func (m *Metrics) sum(of func(*Pool) float64) (n float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := range m.pools {
		n += of(p)
	}
	return n
}
