package accesslog

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// Metrics count requests and the refusals of rules. They are created once for a process and shared by every chain. No
// label value comes from a client: ports, rules and stages come from the policy, methods and statuses from a fixed
// list.
type Metrics struct {
	requests  *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	overhead  *prometheus.HistogramVec
	inApp     *prometheus.HistogramVec
	inFlight  prometheus.Gauge
	decisions *prometheus.CounterVec
	bytes     *prometheus.CounterVec
	panics    prometheus.Counter
}

// NewMetrics registers the metrics. It fails if their names are already registered.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(native(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}), []string{"port"})
	}
	m := &Metrics{
		requests: counter("postern_http_requests_total",
			"Requests by status code. Code 499: the client disconnected. Code aborted: the response was cut off.", "port", "method", "code"),
		seconds: histogram("postern_http_request_duration_seconds",
			"Time from the request's header to the end of the response.", []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}),
		overhead: histogram("postern_http_request_overhead_seconds",
			"Time that the sidecar itself took for a request, with its look-ups in Redis and other services: without waits for the app and for the client, without upgraded connections and aborted responses.",
			[]float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1}),
		inApp: histogram("postern_http_request_app_seconds",
			"Time for which a request waited for the app, without upgraded connections and aborted responses.", []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}),
		inFlight:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "postern_http_requests_in_flight", Help: "Requests and upgraded connections in flight."}),
		decisions: counter("postern_decisions_total", "Refusals by the policy's rules, in enforce or shadow mode.", "stage", "rule", "code", "mode"),
		bytes:     counter("postern_http_response_bytes_total", "Bytes of response bodies, without upgraded connections.", "port"),
		panics:    prometheus.NewCounter(prometheus.CounterOpts{Name: "postern_http_panics_total", Help: "Panics of the sidecar while it served a request."}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.overhead, m.inApp, m.inFlight, m.decisions, m.bytes, m.panics} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("registering request metrics: %w", err)
		}
	}
	return m, nil
}

// Sink returns the sink of a policy's events. Requests to ports that the policy does not name are counted together as
// "other".
func (m *Metrics) Sink(ports []uint16) event.Sink {
	s := metricsSink{Metrics: m, ports: make(map[uint16]*portMetrics, len(ports)), other: m.port("other")}
	for _, port := range ports {
		s.ports[port] = m.port(strconv.Itoa(int(port)))
	}
	return s
}

// portMetrics are the metrics of one port, looked up once.
type portMetrics struct {
	name                     string
	seconds, overhead, inApp prometheus.Observer
	bytes                    prometheus.Counter
	// requests has the counters of the methods and codes that have occurred. Their number is bounded by the labels.
	requests atomic.Pointer[map[result]prometheus.Counter]
}

// result is a method and a code, as labels have them.
type result struct {
	method string
	code   int
}

// The codes of results without a status.
const (
	codeOther   = -1
	codeAborted = -2
)

func (m *Metrics) port(name string) *portMetrics {
	return &portMetrics{
		name: name, seconds: m.seconds.WithLabelValues(name), overhead: m.overhead.WithLabelValues(name), inApp: m.inApp.WithLabelValues(name), bytes: m.bytes.WithLabelValues(name),
	}
}

type metricsSink struct {
	*Metrics
	ports map[uint16]*portMetrics
	other *portMetrics
}

// Kinds implements event.Sink.
func (metricsSink) Kinds() event.Kinds {
	return event.Of(event.Request, event.AuthorizationRefused, event.LimitHit, event.PasswordRefused, event.RequestRefused)
}

// Record implements event.Sink.
func (s metricsSink) Record(e event.Event) {
	if e.Kind == event.Request {
		s.served(e.Served, e.SampledTrace())
		return
	}
	mode := "enforce"
	if e.Outcome == event.Shadow {
		mode = "shadow"
	}
	s.decisions.WithLabelValues(e.Stage, e.Rule, e.Reason, mode).Inc()
}

func (s metricsSink) served(r *event.Served, trace string) {
	port, ok := s.ports[r.Port]
	if !ok {
		port = s.other
	}
	s.counter(port, result{methodLabel(r.Method), codeOf(r)}).Inc()
	port.bytes.Add(float64(r.Bytes))
	observe(port.seconds, r.Elapsed, trace)
	if r.Aborted || r.Status == http.StatusSwitchingProtocols {
		return
	}
	observe(port.overhead, r.Overhead, trace)
	if r.AskedApp {
		observe(port.inApp, r.InApp, trace)
	}
}

// counter returns the counter of a result at a port. It is looked up by its labels only once.
func (s metricsSink) counter(port *portMetrics, of result) prometheus.Counter {
	for {
		known := port.requests.Load()
		if known != nil {
			if c, ok := (*known)[of]; ok {
				return c
			}
		}
		c := s.requests.WithLabelValues(port.name, of.method, codeLabel(of.code))
		next := map[result]prometheus.Counter{of: c}
		if known != nil {
			maps.Copy(next, *known)
		}
		if port.requests.CompareAndSwap(known, &next) {
			return c
		}
	}
}

// codeOf returns the statuses for which RFC 9110 §15 has a class, and codeOther for every other status.
func codeOf(r *event.Served) int {
	switch {
	case r.ClientGone:
		return statusClientGone
	case r.Aborted:
		return codeAborted
	case r.Status < 100 || r.Status > 599:
		return codeOther
	}
	return r.Status
}

// methodLabel returns the methods of RFC 9110 §9 and RFC 5789 unchanged, and "other" for every other method.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return method
	}
	return "other"
}

func codeLabel(code int) string {
	switch code {
	case codeAborted:
		return "aborted"
	case codeOther:
		return "other"
	}
	return strconv.Itoa(code)
}
