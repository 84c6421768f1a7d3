package jwks

import (
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// origin is an issuer's server over TLS.
type origin struct {
	*httptest.Server
	hits atomic.Int64

	mu      sync.Mutex
	handler http.HandlerFunc
}

func newOrigin(t *testing.T, h http.HandlerFunc) *origin {
	t.Helper()
	o := &origin{handler: h}
	o.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.hits.Add(1)
		o.mu.Lock()
		h := o.handler
		o.mu.Unlock()
		h(w, r)
	}))
	o.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(o.Close)
	return o
}

func (o *origin) handle(h http.HandlerFunc) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.handler = h
}

func serve(body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func (o *origin) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.Certificate().Raw})
}

func (o *origin) spec() Spec {
	return Spec{Provider: "corp", URI: o.URL + "/jwks.json", CABundle: o.ca(), Algorithms: every()}
}

// clock is a clock that tests advance.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// newTestManager returns a manager that retries immediately and waits long, so that tests depend on conditions and not on time.
func newTestManager(t *testing.T, c *clock) (*Manager, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	m, err := NewManager(ManagerConfig{Registerer: registry, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	m.pace.wait = 20 * time.Second
	m.pace.retry = 10 * time.Millisecond
	m.pace.maxRetry = 20 * time.Millisecond
	return m, registry
}

func acquire(t *testing.T, m *Manager, spec Spec) Source {
	t.Helper()
	source, release, err := m.Acquire(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return source
}

// eventually waits up to 20 s for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timeout waiting until %s", what)
		}
	}
}
