package revocation

import (
	"fmt"
	"math"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics shows the indexes of the process. There are two for a moment while a new configuration replaces one. A nil *Metrics
// shows nothing.
type Metrics struct {
	loads *prometheus.CounterVec
	asks  prometheus.Counter

	mu      sync.Mutex
	indexes map[*Index]struct{}
}

// NewMetrics registers the metrics with reg. Call it once per process.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		loads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_revocation_index_loads_total", Help: "Full loads of the revocation index by result: ok, error.",
		}, []string{"result"}),
		asks: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postern_revocation_index_fallbacks_total", Help: "Look-ups in the store because the index is full.",
		}),
		indexes: map[*Index]struct{}{},
	}
	age := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "postern_revocation_index_age_seconds", Help: "How long revocations may have been missed; +Inf before the first load.",
	}, func() float64 { return m.most(ageSeconds) })
	entries := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "postern_revocation_index_entries", Help: "Revocations held in memory.",
	}, func() float64 { return m.most(func(x *Index) float64 { n, _ := x.Len(); return float64(n) }) })
	for _, c := range []prometheus.Collector{m.loads, m.asks, age, entries} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering revocation metrics: %w", err)
		}
	}
	for _, result := range []string{resultOK, resultError} {
		m.loads.WithLabelValues(result) // increase() does not count the load that creates a series
	}
	return m, nil
}

// Results of a load, as values of a metric's label.
const (
	resultOK    = "ok"
	resultError = "error"
)

func ageSeconds(x *Index) float64 {
	select {
	case <-x.ready:
		return x.Age().Seconds()
	default:
		return math.Inf(1)
	}
}

// most returns the maximum over all indexes.
func (m *Metrics) most(of func(*Index) float64) (value float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for x := range m.indexes {
		value = max(value, of(x))
	}
	return value
}

func (m *Metrics) add(x *Index) {
	if m != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.indexes[x] = struct{}{}
	}
}

func (m *Metrics) remove(x *Index) {
	if m != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.indexes, x)
	}
}

func (m *Metrics) loaded(err error) {
	if m == nil {
		return
	}
	result := resultOK
	if err != nil {
		result = resultError
	}
	m.loads.WithLabelValues(result).Inc()
}

func (m *Metrics) asked() {
	if m != nil {
		m.asks.Inc()
	}
}
