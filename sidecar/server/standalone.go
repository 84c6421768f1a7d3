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
	"github.com/posterndev/postern/sidecar/conn/listen"
	"github.com/posterndev/postern/sidecar/stages/upstream"
)

// Standalone is the sidecar's request path without a cluster: one listener, one app, one policy.
type Standalone struct {
	Document *compiled.Policy
	// Updates brings newer documents of the same policy, each to be enforced without a restart; nil for none.
	Updates <-chan *compiled.Policy
	// Started, if not nil, is called once, when requests are served, with the address of the listener.
	Started  func(netip.AddrPort)
	Upstream *url.URL
	Listen   string
	Admin    string
	// Loopback is the address of the app's API; empty for none.
	Loopback   string
	SecretsDir string
	// VaultTokenFile holds a service-account token, where the class logs in to Vault by kubernetes.
	VaultTokenFile string
	Version        string
	Level          *slog.LevelVar
	Logger         *slog.Logger
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
	limits := capacityFor(memoryLimit())
	set, err := listen.New(listen.Config{
		Decide: func(netip.AddrPort) listen.Decision { return listen.HTTP }, TCP: func(conn *listen.Conn) { conn.Close() },
		MaxConns: limits.connections, Logger: s.Logger,
	})
	if err != nil {
		return err
	}
	defer set.Shutdown()
	address, err := set.Plain(s.Listen)
	if err != nil {
		return err
	}
	registry := newRegistry(s.Version)
	shared, err := chain.NewShared(chain.SharedConfig{
		Registerer: registry, Logger: s.Logger, SecretsDir: s.SecretsDir, VaultTokenFile: s.VaultTokenFile,
		HashMemory: hashMemory(memoryLimit()),
	})
	if err != nil {
		return err
	}
	c := &core{shared: shared, level: s.Level, logger: s.Logger}
	c.chain = chain.Config{Shared: shared, App: proxy, OnlyPort: address.Port(), Logger: s.Logger}
	encoded, err := compiled.Encode(s.Document)
	if err != nil {
		return err
	}
	if err := c.apply(ctx, s.Document, compiled.Signed{Document: encoded}.Hash()); err != nil {
		return err
	}
	s.Logger.InfoContext(ctx, "enforcing", "policy", s.Document.Name, "listen", address.String(), "upstream", s.Upstream.Host)
	return s.serve(ctx, parts{core: c, proxy: proxy, registry: registry, set: set, limits: limits, address: address})
}

// parts are what Run made, and serve runs.
type parts struct {
	core     *core
	proxy    *upstream.Proxy
	registry *prometheus.Registry
	set      *listen.Set
	limits   capacity
	address  netip.AddrPort
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

func (s Standalone) serve(ctx context.Context, p parts) error {
	h := &health{server: p.core, now: time.Now}
	h.started.Store(true)
	admin, err := s.admin(h, p.registry)
	if err != nil {
		return err
	}
	defer admin()
	defer p.core.shared.Close()
	stopAPI, err := s.serveLoopback(ctx, p.core)
	if err != nil {
		return err
	}
	defer stopAPI()
	refused, err := newRefusals(p.registry)
	if err != nil {
		return err
	}
	app := newAppServer(bounded(p.limits.requests, refused.overloaded.Inc, p.core), s.Logger)
	failed := make(chan error, 1)
	go func() { failed <- app.Serve(watched(p.set.HTTP(), s.Logger, refused)) }()
	defer s.follow(ctx, p.core)()
	if s.Started != nil {
		s.Started(p.address)
	}
	select {
	case err := <-failed:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
		h.draining.Store(true)
		p.set.Shutdown()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.core.current.Load().Policy().Sidecar.DrainTimeout.Std())
		defer cancel()
		return drain(ctx, app, p.proxy)
	}
}

// serveLoopback serves the app's API. Whoever reaches it may log in as anybody, so it is at a loopback address or nowhere.
func (s Standalone) serveLoopback(ctx context.Context, c *core) (stop func(), err error) {
	if s.Loopback == "" {
		return func() {}, nil
	}
	address, err := netip.ParseAddrPort(s.Loopback)
	if err != nil || !address.Addr().IsLoopback() {
		return nil, fmt.Errorf("the address of the app's API, %q, is not a loopback address with a port", s.Loopback)
	}
	return loopback{core: c, logger: s.Logger, address: address.String()}.start(ctx), nil
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
