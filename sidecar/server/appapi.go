package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// Bounds of the app's API. A password's hash may have to wait for its turn.
const (
	loopbackRequests = 256
	loopbackTimeout  = 30 * time.Second
	loopbackRetry    = time.Second
)

// loopback serves the app's API of the policy in force, at an address that only the pod reaches.
type loopback struct {
	core    *core
	logger  *slog.Logger
	address string
}

// ServeHTTP answers 503 without a policy, and 404 where the policy has nothing for the app to ask.
func (l loopback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := l.core.current.Load()
	switch {
	case f == nil:
		httperr.Write(w, r, (&httperr.Error{
			Status: http.StatusServiceUnavailable, Code: "no-policy", Detail: "The sidecar has no policy yet.", Cause: errNoPolicy,
		}).With("Retry-After", "1"))
	case f.AppAPI() == nil:
		httperr.Write(w, r, &httperr.Error{
			Status: http.StatusNotFound, Code: "not-enabled", Detail: "The policy has neither tokens, jwt nor passwordPolicy.",
		})
	default:
		f.AppAPI().ServeHTTP(w, r)
	}
}

// start serves in the background until stop is called: also past ctx, for requests that are let finish may be in the middle of
// a login.
func (l loopback) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() { defer close(done); l.run(ctx) }()
	return func() { cancel(); <-done }
}

// run serves until ctx ends. A port that something else in the pod has is tried again: the app alone misses the API, and
// must not be able to end the sidecar by it.
func (l loopback) run(ctx context.Context) {
	listener := l.listen(ctx)
	if listener == nil {
		return
	}
	server := &http.Server{
		Handler:           bounded(loopbackRequests, func() {}, l),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: loopbackTimeout, WriteTimeout: 2 * loopbackTimeout, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       slog.NewLogLogger(l.logger.Handler(), slog.LevelDebug),
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		l.logger.ErrorContext(ctx, "serving the app's API", "error", err)
	}
}

// listen returns nil where ctx ends before the port can be had.
func (l loopback) listen(ctx context.Context) net.Listener {
	for told := false; ; {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.address)
		if err == nil {
			return listener
		}
		if !told && ctx.Err() == nil {
			l.logger.ErrorContext(ctx, "the app's API cannot be opened yet, trying again", "address", l.address, "error", err)
			told = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(loopbackRetry):
		}
	}
}
