package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/chain"
	"github.com/posterndev/postern/sidecar/upstream"
)

// Standalone is the sidecar's request path without a cluster: one listener, one app, one document.
type Standalone struct {
	Document   *compiled.Policy
	Upstream   *url.URL
	Listen     string
	Admin      string
	SecretsDir string
	Version    string
	Level      *slog.LevelVar
	Logger     *slog.Logger
}

// Run serves until ctx ends, and then lets open requests finish.
func (s Standalone) Run(ctx context.Context) error {
	target, err := s.target()
	if err != nil {
		return err
	}
	proxy, err := upstream.New(upstream.Config{Target: func(netip.AddrPort) string { return target }, Logger: s.Logger})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	defer listener.Close()
	registry := newRegistry(s.Version)
	shared, err := chain.NewShared(chain.SharedConfig{Registerer: registry, Logger: s.Logger, SecretsDir: s.SecretsDir})
	if err != nil {
		return err
	}
	c := &core{shared: shared, level: s.Level, logger: s.Logger}
	c.chain = chain.Config{Shared: shared, App: proxy, OnlyPort: portOf(listener.Addr()), Logger: s.Logger}
	encoded, err := compiled.Encode(s.Document)
	if err != nil {
		return err
	}
	if err := c.apply(ctx, s.Document, compiled.Signed{Document: encoded}.Hash()); err != nil {
		return err
	}
	return s.serve(ctx, c, proxy, registry, listener)
}

func portOf(addr net.Addr) uint16 {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		return tcp.AddrPort().Port()
	}
	return 0
}

func (s Standalone) target() (string, error) {
	u := s.Upstream
	if u.Scheme != "http" || u.Host == "" || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.User != nil {
		return "", fmt.Errorf("the upstream %q is not of the form http://host:port", u.Redacted())
	}
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "80"), nil
	}
	return u.Host, nil
}

func (s Standalone) serve(ctx context.Context, c *core, proxy *upstream.Proxy, registry *prometheus.Registry, listener net.Listener) error {
	h := &health{server: c, now: time.Now}
	h.started.Store(true)
	admin, err := s.admin(h, registry)
	if err != nil {
		return err
	}
	defer admin()
	refused, err := newRefusals(registry)
	if err != nil {
		return err
	}
	app := newAppServer(bounded(capacityFor(memoryLimit()).requests, refused.overloaded.Inc, c), s.Logger)
	failed := make(chan error, 1)
	go func() { failed <- app.Serve(watched(listener, s.Logger, refused)) }()
	s.Logger.InfoContext(ctx, "enforcing", "policy", s.Document.Name, "listen", listener.Addr().String(), "upstream", s.Upstream.Host)
	select {
	case err := <-failed:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
		h.draining.Store(true)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Document.Sidecar.DrainTimeout.Std())
		defer cancel()
		return drain(ctx, app, proxy)
	}
}

// admin serves health and metrics, and returns how to stop that.
func (s Standalone) admin(h *health, registry *prometheus.Registry) (stop func(), err error) {
	if s.Admin == "" {
		return func() {}, nil
	}
	listener, err := net.Listen("tcp", s.Admin)
	if err != nil {
		return nil, fmt.Errorf("listening for health and metrics: %w", err)
	}
	admin := newAdminServer(adminHandler(h, registry, nil))
	go func() {
		if err := admin.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.Logger.Error("serving health and metrics", "error", err)
		}
	}()
	return func() { _ = admin.Close() }, nil
}
