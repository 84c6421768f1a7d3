package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// Limits of the app's API. A password hash may have to wait for other hashes.
const (
	appAPIRequests = 256
	appAPITimeout  = 30 * time.Second
	appAPIRetry    = time.Second
)

// appAPI serves the API that the app calls, according to the active policy, at an address that only the pod can
// reach.
type appAPI struct {
	enforcer *enforcer
	logger   *slog.Logger
	// address is empty if there is no API.
	address string
}

// checkAppAPI refuses an address that is reachable from outside of the pod, because a client of the API can log in as
// anyone.
func checkAppAPI(address string) error {
	if address == "" {
		return nil
	}
	a, err := netip.ParseAddrPort(address)
	if err != nil || !a.Addr().IsLoopback() {
		return fmt.Errorf("the address of the app's API, %q, is not a loopback address with a port", address)
	}
	return nil
}

// ServeHTTP responds with 503 if there is no policy, and with 404 if the policy was deleted.
func (a appAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	active := a.enforcer.current()
	switch {
	case active.Snapshot == nil:
		httperr.Write(w, r, (&httperr.Error{
			Status: http.StatusServiceUnavailable, Code: "no-policy", Detail: "The sidecar has no policy yet.", Cause: errNoPolicy,
		}).With("Retry-After", "1"))
	case active.AppAPI() == nil:
		httperr.Write(w, r, &httperr.Error{
			Status: http.StatusNotFound, Code: "not-enabled", Detail: "The policy was deleted.",
		})
	default:
		active.AppAPI().ServeHTTP(w, r)
	}
}

// start serves in the background until stop is called, also after ctx ends, because requests that are drained may be
// in the middle of a login.
func (a appAPI) start(ctx context.Context) (stop func()) {
	if a.address == "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() { defer close(done); a.run(ctx) }()
	return func() { cancel(); <-done }
}

// run serves until ctx ends. It retries if another process of the pod uses the port: then only the app's API is
// missing, and the app must not be able to stop the sidecar this way.
func (a appAPI) run(ctx context.Context) {
	listener := a.listen(ctx)
	if listener == nil {
		return
	}
	server := &http.Server{
		Handler:           atMost(appAPIRequests, a),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: appAPITimeout, WriteTimeout: 2 * appAPITimeout, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       slog.NewLogLogger(a.logger.Handler(), slog.LevelDebug),
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		a.logger.ErrorContext(ctx, "serving the app's API", "error", err)
	}
}

// listen returns nil if ctx ends before the port is available.
func (a appAPI) listen(ctx context.Context) net.Listener {
	for logged := false; ; {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.address)
		if err == nil {
			return listener
		}
		if !logged && ctx.Err() == nil {
			a.logger.ErrorContext(ctx, "opening the port of the app's API failed, retrying", "address", a.address, "error", err)
			logged = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(appAPIRetry):
		}
	}
}
