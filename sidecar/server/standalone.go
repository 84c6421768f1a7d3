package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"

	"github.com/posterndev/postern/api/compiled"
)

// Standalone is the sidecar without a cluster: one listener, one app, one policy.
type Standalone struct {
	Document *compiled.Policy
	// Updates provides newer documents of the same policy, which are enforced without a restart; nil for none.
	Updates <-chan *compiled.Policy
	// Started, if not nil, is called once with the address of the listener, after requests are served.
	Started  func(netip.AddrPort)
	Upstream *url.URL
	Listen   string
	// Admin is the address of health and metrics; empty for none.
	Admin string
	// Loopback is the address of the app's API; empty for none.
	Loopback   string
	SecretsDir string
	VolumesDir string
	// VaultTokenFile holds a service-account token, for classes that log in to Vault with kubernetes auth.
	VaultTokenFile string
	Version        string
	Level          *slog.LevelVar
	Logger         *slog.Logger
}

// Run serves until ctx ends, and then lets open requests finish.
func (s Standalone) Run(ctx context.Context) error {
	c, err := s.Config()
	if err != nil {
		return err
	}
	return Run(ctx, c)
}

// Config returns the configuration of the sidecar. It fails if the upstream is not of the form http://host:port.
func (s Standalone) Config() (Config, error) {
	app, err := s.app()
	if err != nil {
		return Config{}, err
	}
	return Config{
		Documents: given{document: s.Document, updates: s.Updates}, Inbound: plain{address: s.Listen, app: app},
		Admin: s.Admin, AppAPI: s.Loopback, SecretsDir: s.SecretsDir, VolumesDir: s.VolumesDir, VaultTokenFile: s.VaultTokenFile,
		Started: s.started, Version: s.Version, Level: s.Level, Logger: s.Logger,
	}, nil
}

func (s Standalone) started(addresses []netip.AddrPort) {
	s.Logger.Info("enforcing", "policy", s.Document.Name, "listen", addresses[0].String(), "upstream", s.Upstream.Host)
	if s.Started != nil {
		s.Started(addresses[0])
	}
}

// app returns the address of the upstream.
func (s Standalone) app() (string, error) {
	u := s.Upstream
	if u.Scheme == "https" {
		return "", fmt.Errorf("the upstream %q is not of the form http://host:port: for TLS to the app write spec.upstreamTLS in the policy, and keep http:// here", u.Redacted())
	}
	if u.Scheme != "http" || u.Host == "" || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.User != nil {
		return "", fmt.Errorf("the upstream %q is not of the form http://host:port", u.Redacted())
	}
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "80"), nil
	}
	return u.Host, nil
}
