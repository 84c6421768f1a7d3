package deliver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	"github.com/posterndev/postern/controllers/contextlog"
)

// Bounds of the server. It speaks only HTTP/1.1: a sidecar holds one request, and an HTTP/2 connection costs more memory.
const (
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 60 * time.Second
	maxHeaderBytes    = 32 << 10
	drainTimeout      = 10 * time.Second
	// spareConnections are allowed beyond the polls that may be held.
	spareConnections = 1024
)

// Server serves a Handler over TLS. It is a manager.Runnable that runs on every replica.
type Server struct {
	// Addr is the address to listen on, such as ":9444". Listener, if set, is used instead.
	Addr     string
	Listener net.Listener
	Handler  *Handler
	// Certificate returns the current serving certificate.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
}

// NeedLeaderElection says that every replica serves.
func (s *Server) NeedLeaderElection() bool { return false }

// Start serves until ctx ends. Held polls then end at once, and the sidecars poll another replica.
func (s *Server) Start(ctx context.Context) error {
	listener := s.Listener
	if listener == nil {
		var err error
		if listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", s.Addr); err != nil {
			return fmt.Errorf("listening for polls: %w", err)
		}
	}
	listener = netutil.LimitListener(listener, s.Handler.cfg.MaxHeld+spareConnections)
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	server := &http.Server{
		Handler: s.Handler, Protocols: protocols,
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: s.Certificate},
		ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(contextlog.From(ctx).Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.ServeTLS(listener, "", "") }()
	select {
	case err := <-served:
		return fmt.Errorf("serving polls: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	err := server.Shutdown(drain)
	if served := <-served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if err != nil {
		return fmt.Errorf("ending polls: %w", err)
	}
	return nil
}
