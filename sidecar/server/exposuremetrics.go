package server

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// exposureMetrics show how clients can reach the app around the sidecar.
type exposureMetrics struct{ reachable, unredirected prometheus.Gauge }

func newExposureMetrics(r prometheus.Registerer) (exposureMetrics, error) {
	m := exposureMetrics{
		reachable: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "postern_reachable_around", Help: "Addresses of the pod at which clients reach the app around the sidecar.",
		}),
		unredirected: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "postern_redirect_missing", Help: "1 while the rules that redirect the pod's traffic to the sidecar are missing.",
		}),
	}
	return m, errors.Join(r.Register(m.reachable), r.Register(m.unredirected))
}
