package accesslog

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// Metrics counts requests. It is made once for a process and shared by every chain. No label's value comes from a client:
// ports, rules and stages are the policy's, methods and statuses are from a fixed list.
type Metrics struct {
	requests  *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	inFlight  prometheus.Gauge
	decisions *prometheus.CounterVec
	bytes     *prometheus.CounterVec
	panics    prometheus.Counter
}

// NewMetrics registers the metrics; it fails where their names are taken.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		requests: counter("postern_http_requests_total",
			"Requests answered; code is the status, 499 where the client left, aborted where the answer broke off.", "port", "method", "code"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "postern_http_request_duration_seconds",
			Help:    "Time from a request's header to the end of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"port"}),
		inFlight:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "postern_http_requests_in_flight", Help: "Requests and upgraded connections under way."}),
		decisions: counter("postern_decisions_total", "Refusals by the policy's rules, enforced or only recorded.", "stage", "rule", "code", "mode"),
		bytes:     counter("postern_http_response_bytes_total", "Bytes of answers' bodies, upgraded connections not included.", "port"),
		panics:    prometheus.NewCounter(prometheus.CounterOpts{Name: "postern_http_panics_total", Help: "Requests that met a defect of the sidecar and were answered 500."}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.inFlight, m.decisions, m.bytes, m.panics} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("registering request metrics: %w", err)
		}
	}
	return m, nil
}

func (m *Metrics) decide(decisions []request.Decision) {
	for _, d := range decisions {
		mode, code := "enforce", ""
		if d.Shadow {
			mode = "shadow"
		}
		if d.Err != nil {
			code = string(d.Err.Code)
		}
		m.decisions.WithLabelValues(d.Stage, d.Rule, code, mode).Inc()
	}
}

// methodLabel keeps to the methods of RFC 9110 §9 and RFC 5789.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return method
	}
	return "other"
}

// codeLabel keeps to the statuses that RFC 9110 §15 has classes for.
func codeLabel(status int) string {
	if status < 100 || status > 599 {
		return "other"
	}
	return strconv.Itoa(status)
}
