package probe

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"

	"golang.org/x/sync/singleflight"

	"github.com/posterndev/postern/sidecar/keys/secret"
)

// Prefix begins every entry's path: Prefix + Probe.Name.
const Prefix = "/probe/"

// Config is the list of probes and how to reach the app.
type Config struct {
	// Probes are all entries.
	Probes []Probe
	// Target gives the host:port at which the app listens on a port of its own. Required.
	Target func(port uint16) (hostport string)
	// Logger gets the reason of each failure, at debug level. Required.
	Logger *slog.Logger
}

// handler serves the list. It is safe for concurrent use.
type handler struct {
	cfg    Config
	probes map[string]Probe
	caller *caller
	flight singleflight.Group
}

// New returns a handler of GET Prefix+name for the entries, or an error that names the invalid one. It responds with
//   - 200 "ok" or 503 "failed", whatever the app responds: the app's own text does not leave the pod;
//   - 404 for every other path, and if the entry's token is missing or wrong; 405 for other methods.
//
// A probe runs once at a time: requests that arrive while it runs share its result, so a flood costs the app one request at a
// time. A hook runs once for each request. The kubelet looks at a hook's connection and not at its status. So a hook that got
// no response from the app aborts the connection, as the app would have: the handler panics with http.ErrAbortHandler.
func New(cfg Config) (http.Handler, error) {
	if cfg.Target == nil || cfg.Logger == nil {
		return nil, errors.New("checking probe settings: Target and Logger are required")
	}
	if err := validate(cfg.Probes); err != nil {
		return nil, err
	}
	h := &handler{cfg: cfg, probes: make(map[string]Probe, len(cfg.Probes)), caller: newCaller(cfg.Target)}
	for _, p := range cfg.Probes {
		h.probes[Prefix+p.Name] = p
	}
	return h, nil
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, ok := h.probes[r.URL.Path]
	if !ok || !authorized(p, r) {
		respond(w, http.StatusNotFound, "not found")
		return
	}
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		respond(w, http.StatusMethodNotAllowed, "method not allowed")
		return
	}
	if err := h.ask(r.Context(), p); err != nil {
		h.cfg.Logger.DebugContext(r.Context(), "probe failed", "probe", p.Name, "error", err)
		if p.Hook() {
			panic(http.ErrAbortHandler)
		}
		respond(w, http.StatusServiceUnavailable, "failed")
		return
	}
	respond(w, http.StatusOK, "ok")
}

// authorized compares the token in constant time.
func authorized(p Probe, r *http.Request) bool {
	return p.Token.IsZero() || p.Token.Equal(secret.New([]byte(r.Header.Get(TokenHeader))))
}

// ask calls the app, or waits for the call in progress. A shared call does not end with the client that started it; a hook's
// call does, as the kubelet's own connection would.
func (h *handler) ask(ctx context.Context, p Probe) error {
	if p.Hook() {
		return h.caller.hook(ctx, p)
	}
	done := h.flight.DoChan(p.Name, func() (any, error) { return nil, h.caller.check(context.WithoutCancel(ctx), p) })
	select {
	case result := <-done:
		return result.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func respond(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // on an error the kubelet has disconnected
}
