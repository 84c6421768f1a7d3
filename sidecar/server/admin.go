package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/conn/capacity"
	http1 "github.com/posterndev/postern/sidecar/conn/http1/server"
)

// keysGrace is how long a sidecar that just got its policy stays unready while it waits for the issuers' keys, its
// signing key and the revocations. After that it serves the requests that need none of them and responds with 503 to
// the others, because an issuer's outage must not make the whole app unavailable.
const keysGrace = 30 * time.Second

// health is what the admin port reports about the sidecar.
type health struct {
	started  atomic.Bool // the listeners are bound
	draining atomic.Bool
	enforcer *enforcer
	now      func() time.Time
}

// readiness is the body of /readyz. Clients outside of the pod get only Ready.
type readiness struct {
	Ready    bool   `json:"ready"`
	Reason   string `json:"reason,omitempty"`
	Document string `json:"document,omitempty"`
	// Keys are the providers' key sets, and Redis is the shared state. Neither makes a serving sidecar unready.
	Keys  []keysState `json:"keys,omitempty"`
	Redis string      `json:"redis,omitempty"`
	// Problems are the policy's dependencies that are unavailable. They do not make the sidecar unready either.
	Problems []compiled.Problem `json:"problems,omitempty"`
}

type keysState struct {
	Provider string `json:"provider"`
	Ready    bool   `json:"ready"`
	Error    string `json:"error,omitempty"`
}

func (h *health) readiness() readiness {
	var r readiness
	active := h.enforcer.current()
	r.Document = active.hash
	for _, k := range h.enforcer.resources.Keys() {
		r.Keys = append(r.Keys, keysState{Provider: k.Provider, Ready: k.Ready, Error: k.Err})
	}
	if redis, ok := h.enforcer.resources.Redis(); ok {
		r.Redis = "up"
		if !redis.Up {
			r.Redis = fmt.Sprintf("down: %v", redis.Err)
		}
	}
	r.Problems = h.enforcer.resources.Problems()
	r.Reason = h.unready(active, r.Keys)
	r.Ready = r.Reason == ""
	return r
}

// unready returns why the pod should get no traffic; empty if it should get traffic.
func (h *health) unready(active activeSnapshot, keys []keysState) string {
	switch {
	case h.draining.Load():
		return "the sidecar is stopping"
	case !h.started.Load():
		return "the listeners are not open yet"
	case active.hash == "":
		return "no document yet: neither the mounted ConfigMap nor the operator has a document that this sidecar can run"
	case h.now().Sub(active.firstAt) >= keysGrace:
		return ""
	}
	for _, k := range keys {
		if !k.Ready {
			return fmt.Sprintf("the keys of provider %q are unavailable: %s", k.Provider, k.Error)
		}
	}
	return h.enforcer.resources.Unready()
}

// adminHandler serves the kubelet and Prometheus. Clients outside of the pod cannot change anything: hooks require
// their tokens, and only the pod itself can make its sidecar leave.
func adminHandler(h *health, gatherer prometheus.Gatherer, probes http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { respond(w, true, "ok") })
	mux.HandleFunc("GET /healthz/started", func(w http.ResponseWriter, _ *http.Request) {
		respond(w, h.started.Load(), map[bool]string{true: "started", false: "the listeners are not open yet"}[h.started.Load()])
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		body := h.readiness()
		if !fromPod(r) { // addresses, and paths of secrets, are not for other pods
			body = readiness{Ready: body.Ready}
		}
		respond(w, body.Ready, body)
	})
	mux.Handle("GET /metrics", outliving(promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: 4, EnableOpenMetrics: true, Timeout: 10 * time.Second})))
	mux.HandleFunc("POST "+leavePath, h.leave)
	if probes != nil {
		mux.Handle("/probe/", probes)
	}
	return mux
}

// outliving gives next a request of its own. http.TimeoutHandler, which promhttp's Timeout is, leaves a goroutine behind if the time is over or the client
// has disconnected, and the engine reuses the request's URL and header then.
func outliving(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, r.Clone(r.Context())) })
}

// respond writes 200 or 503 with body as JSON.
func respond(w http.ResponseWriter, ok bool, body any) {
	w.Header().Set("Content-Type", "application/json")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(body) // on an error the client has disconnected
}

// The admin port has places of its own, so that it responds while clients hold all others. A new connection always gets
// in: its requests are short, so an old one is closed also if it is busy.
const (
	adminConnections           = 128
	adminConnectionsPerAddress = 32
	// adminStall is shorter than stallTimeout: few clients can be served at once.
	adminStall = 5 * time.Second
)

// newAdminServer returns a server that limits what clients can consume.
func newAdminServer(handler http.Handler, logger *slog.Logger) (*http1.Server, error) {
	return http1.New(http1.Config{
		Handler: handler, Limits: http1.Limits{HeadBytes: 16 << 10}, PlaceOf: http1Place, Logger: logger,
		Times: http1.Times{Head: adminStall, Idle: time.Minute, Stall: adminStall},
	})
}

// adminPlaces returns the places of the admin port.
func adminPlaces(closed *prometheus.CounterVec) *capacity.Limiter {
	return capacity.New(capacity.Config{
		Limits:    capacity.Limits{Max: adminConnections, MaxPerAddress: adminConnectionsPerAddress},
		CloseBusy: true,
		OnLoss:    func(loss capacity.Loss) { closed.WithLabelValues(string(loss.Reason)).Inc() },
	})
}

// serveAdmin serves health, metrics and the kubelet's probes, and returns a function that stops it.
func (s *sidecar) serveAdmin() (stop func(), err error) {
	if s.cfg.Admin == "" {
		return func() {}, nil
	}
	probes, err := newProbes(s.cfg.Probes, s.cfg.ProbeTarget, s.cfg.Logger)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", s.cfg.Admin)
	if err != nil {
		return nil, fmt.Errorf("opening the admin port: %w", err)
	}
	listener = adminPlaces(s.counters.adminClosed).Listener(listener)
	admin, err := newAdminServer(adminHandler(s.health, s.registry, probes), s.cfg.Logger)
	if err != nil {
		return nil, err
	}
	go func() {
		if err := admin.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.cfg.Logger.Error("serving the admin port", "error", err)
		}
	}()
	return func() { _ = admin.Close() }, nil
}
