// Package stdproxy is the request path as it was on the standard library: the scanner in front of net/http's server, and
// httputil.ReverseProxy on http.Transport. The stages between them are those of the sidecar. test/differential compares the sidecar with it.
package stdproxy

import (
	"context"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/chain"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/resources"
	"github.com/posterndev/postern/test/differential/stdproxy/framing"
	"github.com/posterndev/postern/test/differential/stdproxy/upstream"
)

// Config says what a proxy serves, and how it reaches the app.
type Config struct {
	Document *compiled.Policy
	Listener net.Listener
	// App is the host:port of the app, and Dial connects to it.
	App  string
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Proxy is a running proxy.
type Proxy struct {
	server    *http.Server
	app       *upstream.Proxy
	snapshot  *chain.Snapshot
	resources *resources.Resources
}

// Start serves the document in front of the app.
func Start(c Config) (*Proxy, error) {
	logger, p := slog.New(slog.DiscardHandler), &Proxy{}
	var err error
	if p.resources, err = resources.New(resources.Config{Registerer: prometheus.NewRegistry(), Logger: logger, SecretsDir: os.TempDir()}); err != nil {
		return nil, err
	}
	p.app, err = upstream.New(upstream.Config{Target: func(netip.AddrPort) string { return c.App }, DialContext: c.Dial, Logger: logger})
	if err != nil {
		return nil, err
	}
	port := netip.MustParseAddrPort(c.Listener.Addr().String()).Port()
	p.snapshot, err = chain.Build(c.Document, chain.Config{Resources: p.resources, App: p.app, Local: local, OnlyPort: port, Logger: logger})
	if err != nil {
		return nil, err
	}
	p.snapshot.Activate()
	p.server = newServer(p.snapshot)
	go func() { _ = p.server.Serve(framing.Listener(c.Listener, framing.Config{Respond: p.refuse})) }() // Close ends it
	return p, nil
}

// Close ends everything.
func (p *Proxy) Close() {
	_ = p.server.Close()
	p.app.Close()
	p.snapshot.Close()
	p.resources.Close()
}

// refuse responds to a request whose head is malformed.
func (p *Proxy) refuse(w http.ResponseWriter, r *http.Request, why *httperr.Error) {
	p.snapshot.ServeHTTP(w, request.Refuse(r, &request.Refusal{Stage: "framing", Err: why}))
}

func newServer(handler http.Handler) *http.Server {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:                      withStallTimeouts(stallConfig{stall: stallTimeout}, framing.Upgrades(WithUpgrades(handler))),
		Protocols:                    protocols,
		ReadHeaderTimeout:            readHeaderTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeader,
		ConnContext:                  framing.ConnContext,
		ErrorLog:                     log.New(io.Discard, "", 0),
		DisableGeneralOptionsHandler: true,
	}
}

// WithUpgrades relays upgraded connections with small buffers.
func WithUpgrades(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header["Upgrade"]) > 0 {
			u := &upgradeWriter{}
			u.ResponseWriter, w = w, u
		}
		next.ServeHTTP(w, r)
	})
}

// local returns the address that the client connected to.
func local(ctx context.Context) netip.AddrPort {
	conn := framing.From(ctx)
	if conn == nil {
		return netip.AddrPort{}
	}
	address, _ := netip.ParseAddrPort(conn.LocalAddr().String())
	return address
}
