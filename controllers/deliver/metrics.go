package deliver

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts polls.
type metrics struct {
	held      prometheus.Gauge
	responses *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		held: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "postern_operator_polls_held", Help: "Polls of sidecars that are held until there is a newer document.",
		}),
		responses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_operator_polls_total", Help: "Responses to polls of sidecars, by HTTP status.",
		}, []string{"code"}),
	}
	for _, c := range []prometheus.Collector{m.held, m.responses} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics of polls: %w", err)
		}
	}
	for _, code := range []int{
		http.StatusOK, http.StatusNoContent, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
		http.StatusMethodNotAllowed, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable,
	} {
		m.responses.WithLabelValues(strconv.Itoa(code)) // increase() does not count the response that creates a series
	}
	return m, nil
}

func (m *metrics) responded(code int) { m.responses.WithLabelValues(strconv.Itoa(code)).Inc() }
