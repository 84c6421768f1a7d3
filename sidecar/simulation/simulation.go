// Package simulation runs a document on requests without a network: the chain of the sidecar, with state in memory, in front of an
// app that is part of the process. It is the engine of postern test and postern explain.
package simulation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/chain"
	"github.com/posterndev/postern/sidecar/httpkit/secured"
	"github.com/posterndev/postern/sidecar/resources"
	"github.com/posterndev/postern/sidecar/stages/upstream"
)

// appPort is the port of the app.
const appPort = 8080

// Config configures a Simulation.
type Config struct {
	// Keys sign the tokens of the requests; nil for new ones. They are added to the keys of each provider, replace those that cannot be
	// read without another service, and sign the policy's own tokens.
	Keys *Keys
	// Verify is the provider of a token that exists. It has its own keys alone, which may be fetched. Empty for none.
	Verify string
	// Existing says that the tokens of the requests exist: they prove what they are bound to. Tokens that are made for the run prove nothing.
	Existing bool
	// VerifyClients says that the certificates of the requests exist: the policy's own CAs and revocation lists verify them.
	VerifyClients bool
	// SecretsDir has the Secrets of the document, as <name>/<key>; empty for none. It is not changed.
	SecretsDir string
	// VolumesDir has the files of the document's PersistentVolumeClaims, as <name>/<path>; empty for none.
	VolumesDir string
	// Start is the time at the beginning.
	Start time.Time
}

// Simulation is a document that can be sent requests. It is not safe for concurrent use.
type Simulation struct {
	document *compiled.Policy
	keys     *Keys
	// sessions are those of the policy's own tokens that the requests have used.
	sessions map[sessionKey]ownSession
	now      atomic.Pointer[time.Time]
	app      *app
	proxy    *upstream.Proxy
	shared   *resources.Resources
	snapshot *chain.Snapshot
	secrets  string
	// authority is the CA of the run; nil if the policy serves no TLS.
	authority *authority
}

// New returns a simulation of p, which is not changed. The error says what in p cannot run. The caller calls Close.
func New(p *compiled.Policy, c Config) (*Simulation, error) {
	s := &Simulation{keys: c.Keys, sessions: map[sessionKey]ownSession{}, app: newApp()}
	if s.keys == nil {
		s.keys = NewKeys()
	}
	s.now.Store(&c.Start)
	if err := s.start(p, c); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Simulation) start(p *compiled.Policy, c Config) (err error) {
	if s.secrets, err = os.MkdirTemp("", "postern-simulation-"); err != nil {
		return fmt.Errorf("making folder for Secrets: %w", err)
	}
	if s.document, err = local(p); err != nil {
		return err
	}
	replaceVault(s.document)
	if err := s.replaceTLS(s.document, c.VerifyClients); err != nil {
		return err
	}
	if err := s.keys.replaceOwn(s.document, s.secrets); err != nil {
		return err
	}
	if err := s.keys.replace(s.document, c, s.secrets); err != nil {
		return err
	}
	if err := link(s.document, c.SecretsDir, s.secrets); err != nil {
		return err
	}
	logger := slog.New(slog.DiscardHandler)
	s.proxy, err = upstream.New(upstream.Config{
		Target: func(netip.AddrPort) string { return "app.invalid:80" }, DialContext: s.app.dial, Logger: logger,
	})
	if err != nil {
		return err
	}
	s.shared, err = resources.New(resources.Config{
		Registerer: prometheus.NewRegistry(), Logger: logger, SecretsDir: s.secrets, VolumesDir: c.VolumesDir, Now: s.Now,
	})
	if err != nil {
		return err
	}
	s.snapshot, err = chain.Build(s.document, chain.Config{
		Resources: s.shared, App: s.proxy, OnlyPort: appPort, Logger: logger, Trace: true, Now: s.Now,
		TLS: func(ctx context.Context) *secured.Session {
			session, _ := ctx.Value(tlsKey{}).(*secured.Session)
			return session
		},
		Sleep: func(context.Context, time.Duration) {},
		Local: func(context.Context) netip.AddrPort { return netip.AddrPortFrom(netip.IPv4Unspecified(), appPort) },
	})
	if err != nil {
		return err
	}
	s.snapshot.Activate()
	return nil
}

// local returns a copy of p that needs no other service: its state is in memory, and the app speaks HTTP/1.1.
func local(p *compiled.Policy) (*compiled.Policy, error) {
	b, err := compiled.Encode(p)
	if err != nil {
		return nil, fmt.Errorf("copying document: %w", err)
	}
	c, err := compiled.Decode(b)
	if err != nil {
		return nil, fmt.Errorf("copying document: %w", err)
	}
	c.Redis, c.UpstreamProtocol = nil, "HTTP1"
	if l := c.LoginProtection; l != nil && l.Challenge != nil {
		l.Challenge.URL = nowhere
	}
	for _, list := range breachedLists(c) {
		if list.URL != "" { // a file is in the folder of volumes
			list.URL = nowhere
		}
	}
	return c, nil
}

func breachedLists(p *compiled.Policy) (lists []*compiled.BreachedPasswords) {
	if r := p.PasswordPolicy; r != nil && r.Breached != nil {
		lists = append(lists, r.Breached)
	}
	if l := p.LoginProtection; l != nil && l.Breached != nil {
		lists = append(lists, l.Breached)
	}
	return lists
}

// nowhere replaces the URLs of services that would get a secret or a part of a password's hash. They are unavailable, and their onFailure
// decides. Nothing is sent even if something listens there, because it has no certificate for the address.
const nowhere = "https://127.0.0.1:1/"

// Now is the time in the simulation.
func (s *Simulation) Now() time.Time { return *s.now.Load() }

// Advance moves the time forward.
func (s *Simulation) Advance(d time.Duration) error {
	if d < 0 {
		return errors.New("the time cannot go back")
	}
	next := s.Now().Add(d)
	s.now.Store(&next)
	return nil
}

// Close ends the simulation, and removes its folder.
func (s *Simulation) Close() {
	if s.snapshot != nil {
		s.snapshot.Close()
	}
	if s.shared != nil {
		s.shared.Close()
	}
	if s.proxy != nil {
		s.proxy.Close()
	}
	s.app.close()
	if s.secrets != "" {
		_ = os.RemoveAll(s.secrets) // it is in the folder for temporary files
	}
}
