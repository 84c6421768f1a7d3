package redis

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts for all connections of the process. There are two for a short time when a new configuration replaces one.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  prometheus.Histogram
	lookups  *prometheus.CounterVec

	mu    sync.Mutex
	conns map[*Conn]struct{}
}

// NewMetrics registers the metrics with reg. It may be called once per process.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_state_requests_total",
			Help: "Operations on shared state by result: ok, refused (Redis replied with an error), unavailable (no reply), open (not sent, the breaker is open).",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "postern_state_request_duration_seconds", Help: "Duration of operations on shared state.",
			Buckets:                     []float64{.0002, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}),
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_state_lookups_total",
			Help: "Look-ups after a server was unavailable or refused writes, by kind: master (all connections were made again), topology (of a cluster).",
		}, []string{"kind"}),
		conns: map[*Conn]struct{}{},
	}
	up := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "postern_state_up", Help: "1 while every configured Redis is available.",
	}, m.up)
	open := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "postern_state_breaker_open", Help: "Unavailable Redis servers. No commands are sent to them until a probe succeeds.",
	}, m.open)
	evicts := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "postern_state_evicts", Help: "1 while the maxmemory-policy of a configured Redis is not noeviction.",
	}, m.evicts)
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.lookups, up, open, evicts} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics of shared state: %w", err)
		}
	}
	for _, result := range []string{"ok", "refused", "unavailable", "open"} {
		m.requests.WithLabelValues(result)
	}
	for _, kind := range []string{"master", "topology"} {
		m.lookups.WithLabelValues(kind)
	}
	return m, nil
}

func (m *Metrics) observe(err error, took time.Duration) {
	m.requests.WithLabelValues(result(err)).Inc()
	m.seconds.Observe(took.Seconds())
}

func result(err error) string {
	if errors.Is(err, errOpen) {
		return "open"
	}
	switch classify(err) {
	case answered:
		return "ok"
	case refused, unwritable:
		return "refused"
	default:
		return "unavailable"
	}
}

func (m *Metrics) add(c *Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns[c] = struct{}{}
}

func (m *Metrics) remove(c *Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.conns, c)
}

func (m *Metrics) up() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.conns {
		if !c.Status().Up {
			return 0
		}
	}
	return 1
}

func (m *Metrics) evicts() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.conns {
		if c.evicting() != "" {
			return 1
		}
	}
	return 0
}

func (m *Metrics) open() (n float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.conns {
		n += float64(c.openGuards())
	}
	return n
}
