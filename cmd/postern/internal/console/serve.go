package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
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
	go func() { ended <- server.Serve(netutil.LimitListener(&ownListener{l, k, peerUser}, maxConnections)) }()
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

// ownListener closes connections of other users of this machine. They have no secret, but browsers send cookies to all ports of 127.0.0.1,
// so another user who lures the person to a server of theirs gets the cookie.
type ownListener struct {
	net.Listener
	console *Console
	user    func(local, remote netip.AddrPort) (int, error)
}

// Accept implements net.Listener.
func (l *ownListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || l.console.cfg.AnyUser {
			return conn, err
		}
		uid, err := l.user(addressOf(conn.LocalAddr()), addressOf(conn.RemoteAddr()))
		if err == nil && mayConnect(uid) {
			return conn, nil
		}
		_ = conn.Close() // it is refused anyway
		l.console.complain("A process of another user connected.", "uid", uid, "error", err)
	}
}

func addressOf(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return tcp.AddrPort()
}
