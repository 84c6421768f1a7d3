package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/posterndev/postern/sidecar/chain"
	http1 "github.com/posterndev/postern/sidecar/conn/http1/server"
	"github.com/posterndev/postern/sidecar/conn/secure"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/secured"
	"github.com/posterndev/postern/sidecar/stages/upstream"
)

// security makes what handshakes need. It outlives snapshots.
type security struct {
	tickets *secure.Tickets
	metrics *secure.Metrics
}

// of returns what the handshakes of a snapshot need: with clients, and with the app. They are nil without TLS.
func (s *security) of(snapshot *chain.Snapshot) (clients *secure.Server, app *secure.Upstream, err error) {
	if t := snapshot.TLS(); t != nil {
		clients, err = secure.New(secure.Config{
			Certificates: t.Certificates, MinVersion: t.MinVersion, Clients: t.Clients, Scope: t.Scope, Tickets: s.tickets, Metrics: s.metrics,
		})
	}
	if u := snapshot.UpstreamTLS(); u != nil {
		app = &secure.Upstream{Authorities: u.Authorities, ServerName: u.ServerName}
	}
	return clients, app, err
}

// handshakes reports whether the policy serves TLS. Without a policy every request gets 503, by HTTP.
func (s *sidecar) handshakes(netip.AddrPort) bool {
	return s.enforcer.current().clients != nil
}

// handshake performs the handshake with the certificates of the active policy.
func (s *sidecar) handshake(ctx context.Context, conn net.Conn, local netip.AddrPort) (net.Conn, string, error) {
	active := s.enforcer.current()
	if active.clients == nil {
		return conn, "", nil // the policy has changed since handshakes
	}
	return active.clients.Handshake(ctx, conn, local)
}

// dialApp opens a connection to the app, by TLS if the policy says so.
func (s *sidecar) dialApp(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: upstream.DialTimeout, KeepAlive: 15 * time.Second}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	active := s.enforcer.current()
	if active.app == nil {
		return conn, nil
	}
	ctx, cancel := context.WithTimeout(ctx, upstream.DialTimeout)
	defer cancel()
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("connecting to the app by TLS: a %T", conn)
	}
	if _, err := active.app.Authorities.File(); err != nil {
		_ = conn.Close()
		return nil, &httperr.Error{
			Status: http.StatusServiceUnavailable, Code: "app-ca-unavailable", Cause: fmt.Errorf("verifying the app by upstreamTLS.caRef: %w", err),
			Detail: "The configuration of the sidecar is not complete: it cannot verify the application.",
		}
	}
	return active.app.Over(ctx, tcp, upstream.WantsHTTP2(ctx))
}

// sessionOf returns the TLS session of a request's connection; nil if it has none.
func sessionOf(ctx context.Context) *secured.Session {
	if conn := http1.From(ctx); conn != nil {
		return secure.Of(conn)
	}
	return nil
}
