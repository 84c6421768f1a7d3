package vault

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts for all clients of the process, and shows the state of the newest open one. There are two for a moment when new
// settings replace the old ones.
type Metrics struct {
	requests, logins, renewals, leases *prometheus.CounterVec
	seconds                            prometheus.Histogram
	state, expiry, ready, age          *prometheus.Desc

	mu      sync.Mutex
	clients []*Client // the newest last
}

// NewMetrics registers the metrics with reg. Call it once per process.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := newMetrics()
	for _, state := range results() {
		for _, c := range []*prometheus.CounterVec{m.requests, m.logins, m.renewals, m.leases} {
			c.WithLabelValues(string(state)) // increase() does not count the request that creates a series
		}
	}
	if err := reg.Register(m); err != nil {
		return nil, fmt.Errorf("registering Vault metrics: %w", err)
	}
	return m, nil
}

func newMetrics() *Metrics {
	result := []string{"result"}
	of := []string{"path", "version"}
	return &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_vault_requests_total", Help: "Requests to Vault, by result: ok or the state of the failure.",
		}, result),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "postern_vault_request_duration_seconds", Help: "Duration of requests to Vault, also of those that failed, without logins and renewals.",
			Buckets:                     []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_vault_logins_total", Help: "Logins to Vault, by result: ok or the state of the failure.",
		}, result),
		renewals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_vault_renewals_total", Help: "Renewals of the Vault token, by result: ok or the state of the failure.",
		}, result),
		leases: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_vault_lease_renewals_total", Help: "Renewals of the leases of accounts, by result: ok or the state of the failure.",
		}, result),
		state:  prometheus.NewDesc("postern_vault_state", "1 for the current state of the Vault client, 0 for all others.", []string{"state"}, nil),
		expiry: prometheus.NewDesc("postern_vault_token_expiry_seconds", "Time to the expiry of the Vault token; absent if there is none or it does not expire.", nil, nil),
		ready:  prometheus.NewDesc("postern_vault_secret_ready", "1 if a secret has a valid value; 0 if it has none or it has expired. version 0 follows the latest.", of, nil),
		age:    prometheus.NewDesc("postern_vault_secret_age_seconds", "Time since Vault last confirmed a secret's value.", of, nil),
	}
}

func (m *Metrics) add(c *Client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clients = append(m.clients, c)
}

func (m *Metrics) remove(c *Client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clients = slices.DeleteFunc(m.clients, func(other *Client) bool { return other == c })
}

// newest returns the newest client; nil if there is none.
func (m *Metrics) newest() *Client {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.clients) == 0 {
		return nil
	}
	return m.clients[len(m.clients)-1]
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	m.requests.Describe(ch)
	m.seconds.Describe(ch)
	m.logins.Describe(ch)
	m.renewals.Describe(ch)
	m.leases.Describe(ch)
	for _, d := range []*prometheus.Desc{m.state, m.expiry, m.ready, m.age} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.requests.Collect(ch)
	m.seconds.Collect(ch)
	m.logins.Collect(ch)
	m.renewals.Collect(ch)
	m.leases.Collect(ch)
	if c := m.newest(); c != nil {
		m.collect(ch, c.Status(), c.cfg.Now())
	}
}

func (m *Metrics) collect(ch chan<- prometheus.Metric, status Status, now time.Time) {
	for _, s := range states() {
		ch <- prometheus.MustNewConstMetric(m.state, prometheus.GaugeValue, truth(s == status.State), string(s))
	}
	if !status.TokenExpires.IsZero() {
		left := status.TokenExpires.Sub(now)
		ch <- prometheus.MustNewConstMetric(m.expiry, prometheus.GaugeValue, left.Seconds())
	}
	for _, s := range status.Secrets {
		version := strconv.Itoa(s.Version)
		ch <- prometheus.MustNewConstMetric(m.ready, prometheus.GaugeValue, truth(s.Ready), s.Path, version)
		if s.Current != 0 {
			ch <- prometheus.MustNewConstMetric(m.age, prometheus.GaugeValue, s.Age.Seconds(), s.Path, version)
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
