package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/posterndev/postern/api/compiled"
)

// keysGrace is how long a sidecar that just got its policy waits, unready, for the issuers' keys, its own signing key and what is
// revoked. After that it serves
// what needs none and answers 503 to the rest: an issuer's outage must not keep the whole app away.
const keysGrace = 30 * time.Second

// health is what the admin port tells about the sidecar.
type health struct {
	started  atomic.Bool // the listeners are bound
	draining atomic.Bool
	server   *core
	now      func() time.Time
}

// readiness is the body of /readyz; whoever is not in the pod gets Ready alone.
type readiness struct {
	Ready    bool   `json:"ready"`
	Reason   string `json:"reason,omitempty"`
	Document string `json:"document,omitempty"`
	// Keys are the providers' key sets, Redis the shared state; both are told, and do not make a serving sidecar unready.
	Keys  []keysState `json:"keys,omitempty"`
	Redis string      `json:"redis,omitempty"`
	// Problems are what the policy depends on and does not have; told, likewise.
	Problems []compiled.Problem `json:"problems,omitempty"`
}

type keysState struct {
	Provider string `json:"provider"`
	Ready    bool   `json:"ready"`
	Error    string `json:"error,omitempty"`
}

func (h *health) readiness() readiness {
	var r readiness
	status := h.server.status()
	r.Document = status.hash
	for _, k := range h.server.shared.Keys() {
		r.Keys = append(r.Keys, keysState{Provider: k.Provider, Ready: k.Ready, Error: k.Err})
	}
	if redis, ok := h.server.shared.Redis(); ok {
		r.Redis = "up"
		if !redis.Up {
			r.Redis = fmt.Sprintf("down: %v", redis.Err)
		}
	}
	r.Problems = h.server.shared.Problems()
	r.Reason = h.unready(status, r.Keys)
	r.Ready = r.Reason == ""
	return r
}

// unready returns why the pod should get no traffic; empty where it should.
func (h *health) unready(status snapshotStatus, keys []keysState) string {
	switch {
	case h.draining.Load():
		return "the sidecar is stopping"
	case !h.started.Load():
		return "the listeners are not open yet"
	case status.hash == "":
		return "no document yet: neither the mounted ConfigMap nor the operator has given one that can be run"
	case h.now().Sub(status.firstAt) >= keysGrace:
		return ""
	}
	for _, k := range keys {
		if !k.Ready {
			return fmt.Sprintf("the keys of provider %q is unavailable: %s", k.Provider, k.Error)
		}
	}
	return h.server.shared.Unready()
}

// adminHandler serves the kubelet and Prometheus. Nothing on it changes anything for a stranger: hooks are guarded by their
// tokens, and only the pod itself can have its sidecar leave.
func adminHandler(h *health, gatherer prometheus.Gatherer, probes http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, true, "ok") })
	mux.HandleFunc("GET /healthz/started", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, h.started.Load(), map[bool]string{true: "started", false: "the listeners are not open yet"}[h.started.Load()])
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		told := h.readiness()
		if !fromPod(r) { // addresses and paths of secrets are nothing for the pod's neighbours
			told = readiness{Ready: told.Ready}
		}
		answer(w, told.Ready, told)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	mux.HandleFunc("POST "+leavePath, h.leave)
	if probes != nil {
		mux.Handle("/probe/", probes)
	}
	return mux
}

// answer writes 200 or 503 with body as JSON.
func answer(w http.ResponseWriter, ok bool, body any) {
	w.Header().Set("Content-Type", "application/json")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(body) // whoever asked has gone
}

// newAdminServer bounds what strangers can make the admin port do.
func newAdminServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: withStallTimeouts(stallTimeout, handler), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
}
