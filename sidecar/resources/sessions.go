package resources

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/login/session/sessionmemory"
)

// newSessions returns the store of sessions in memory, and registers its metrics.
func newSessions(c Config) (*sessionmemory.Store, error) {
	full := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_sessions_memory_full_total",
		Help: "Sessions in memory that were evicted, or new ones that were rejected, because the memory for sessions is full.",
	}, []string{"outcome"})
	for _, o := range []sessionmemory.Outcome{sessionmemory.Evicted, sessionmemory.Rejected} {
		full.WithLabelValues(string(o))
	}
	store := sessionmemory.New(sessionmemory.Config{
		MaxBytes: c.SessionMemory, Now: c.Now, OnFull: func(o sessionmemory.Outcome) { full.WithLabelValues(string(o)).Inc() },
	})
	held := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "postern_sessions_memory_sessions", Help: "Sessions in memory, with ended ones that are remembered.",
	}, func() float64 { n, _ := store.Len(); return float64(n) })
	bytes := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "postern_sessions_memory_bytes", Help: "Estimated memory of the sessions in memory.",
	}, func() float64 { _, b := store.Len(); return float64(b) })
	if err := errors.Join(c.Registerer.Register(full), c.Registerer.Register(held), c.Registerer.Register(bytes)); err != nil {
		return nil, fmt.Errorf("registering session metrics: %w", err)
	}
	return store, nil
}
