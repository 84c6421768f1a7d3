package usage

import (
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/usage/pattern"
)

// methods and classes are the values of the labels method and code. A method counts as other until the route has served a request with it, so
// that clients cannot make series by requests that the app refuses.
var (
	methods = [...]string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, "other"}
	classes = [...]string{"1xx", "2xx", "3xx", "4xx", "5xx", "aborted"}
)

const (
	otherMethod = len(methods) - 1
	aborted     = len(classes) - 1
)

// counts are the requests of one pattern.
type counts struct {
	served [len(methods)]atomic.Bool
	n      [len(methods)][len(classes)]atomic.Uint64
}

// add counts a request, which was served with a success if ok is set.
func (c *counts) add(s *event.Served, ok bool) {
	m := methodOf(s.Method)
	if ok && !c.served[m].Load() {
		c.served[m].Store(true)
	}
	if !c.served[m].Load() {
		m = otherMethod
	}
	c.n[m][classOf(s)].Add(1)
}

func methodOf(method string) int {
	for i, m := range methods {
		if m == method {
			return i
		}
	}
	return otherMethod
}

func classOf(s *event.Served) int {
	class := s.Status/100 - 1
	switch {
	case s.Aborted:
		return aborted
	case class < 0 || class >= aborted:
		return aborted - 1
	}
	return class
}

func (c *counts) total() (n uint64) {
	for i := range c.n {
		for j := range c.n[i] {
			n += c.n[i][j].Load()
		}
	}
	return n
}

// Describe implements prometheus.Collector.
func (u *Usage) Describe(ch chan<- *prometheus.Desc) {
	u.failed.Describe(ch)
	u.resets.Describe(ch)
	ch <- u.desc
	ch <- u.learned
}

// Collect implements prometheus.Collector.
func (u *Usage) Collect(ch chan<- prometheus.Metric) {
	u.failed.Collect(ch)
	u.resets.Collect(ch)
	ch <- prometheus.MustNewConstMetric(u.learned, prometheus.GaugeValue, float64(u.routes.Learned()))
	u.routes.Each(func(e pattern.Entry[counts]) {
		for m, method := range methods {
			for c, class := range classes {
				if n := e.Value.n[m][c].Load(); n > 0 {
					ch <- prometheus.MustNewConstMetric(u.desc, prometheus.CounterValue, float64(n), e.Pattern, method, class)
				}
			}
		}
	})
}
