package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

const (
	// maxConnections bounds the open connections of browsers.
	maxConnections = 64
	// maxHeader bounds the head of a request, in bytes.
	maxHeader = 32 << 10
	// shutdownTimeout is how long running requests may take when the console ends.
	shutdownTimeout = 2 * time.Second
)

// Serve serves the console until the context ends.
func Serve(ctx context.Context, l net.Listener, k *Console) error {
	server := &http.Server{
		Handler: k, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: maxWait + 2*readTimeout, IdleTimeout: time.Minute,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(netutil.LimitListener(l, maxConnections)) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving the console: %w", err)
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("ending the console: %w", err)
	}
	return server.Close()
}
