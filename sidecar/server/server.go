// Package server runs the sidecar: it opens the listeners, receives the policy's documents, replaces snapshots while
// requests are served, and drains when it is told to stop.
//
// There is one wiring, Run. A pod (Pod) and `postern run` (Standalone) differ only in their Config.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/chain"
	http1 "github.com/posterndev/postern/sidecar/conn/http1/server"
	"github.com/posterndev/postern/sidecar/conn/listen"
	"github.com/posterndev/postern/sidecar/conn/passthrough"
	"github.com/posterndev/postern/sidecar/conn/secure"
	"github.com/posterndev/postern/sidecar/resources"
	"github.com/posterndev/postern/sidecar/stages/upstream"
)

// Config configures a sidecar. Pod and Standalone create it.
type Config struct {
	// Documents provide the policy.
	Documents Documents
	// Inbound is how connections reach the sidecar, and where the app is.
	Inbound Inbound
	// ContainerPorts are the ports that the pod's containers declare.
	ContainerPorts []compiled.ContainerPort
	// Probes are those that the kubelet sends to the admin port, for the app at the address that ProbeTarget returns.
	Probes      []compiled.Probe
	ProbeTarget func(port uint16) string

	// Admin is the address of health and metrics; empty for none.
	Admin string
	// AppAPI is the loopback address of the API that the app calls; empty for none.
	AppAPI string
	// SecretsDir has one directory for each Secret.
	SecretsDir string
	// VolumesDir has one directory for each PersistentVolumeClaim.
	VolumesDir string
	// VaultTokenFile holds a service-account token, for classes that log in to Vault with kubernetes auth.
	VaultTokenFile string
	// KeysTokenDir has the service-account tokens for key sets, and the cluster's CA; empty if there are none.
	KeysTokenDir string
	// SpoolDir is the folder of a volume in which records of the audit trail wait for their sinks; empty if there is none.
	SpoolDir string

	// Started, if not nil, is called once with the addresses of the listeners, after requests are served.
	Started func([]netip.AddrPort)
	Version string
	Level   *slog.LevelVar
	Logger  *slog.Logger
}

// sidecar is a running sidecar.
type sidecar struct {
	cfg      Config
	registry *prometheus.Registry
	counters counters
	limits   limits
	// connections holds the places of the clients' connections.
	connections *connections
	budgets     *budgets
	resources   *resources.Resources
	enforcer    *enforcer
	health      *health
	proxy       *upstream.Proxy
	tcp         *passthrough.Proxy
	set         *listen.Set
	app         *http1.Server
	upgraded    upgrades
	exposure    exposureMetrics
	// unredirected says that the rules of Redirect were missing at the last check. Only watchSockets uses it.
	unredirected bool
}

// Run serves until ctx ends, and then lets open requests finish. An error says why it could not start or could not
// continue.
func Run(ctx context.Context, cfg Config) error {
	if err := checkAppAPI(cfg.AppAPI); err != nil {
		return err
	}
	defer tuneGC(os.Getenv)()
	s, err := newSidecar(cfg)
	if err != nil {
		return err
	}
	defer s.resources.Close()
	stopAdmin, err := s.serveAdmin()
	if err != nil {
		return err
	}
	defer stopAdmin()
	defer s.abort()
	onlyPort, err := cfg.Inbound.open(s.set)
	if err != nil {
		return err
	}
	s.enforcer.chain.OnlyPort = onlyPort
	watch, stop := context.WithCancel(ctx)
	defer stop()
	reports, err := cfg.Documents.start(watch, s.enforcer)
	if err != nil {
		return err
	}
	failed := s.serve()
	go s.watchProblems(watch, reports)
	go s.connections.run(watch)
	go (&quiet{}).run(watch)
	go s.watchSockets(watch, reports)
	go s.giveBackStartPages(watch)
	defer appAPI{enforcer: s.enforcer, logger: cfg.Logger, address: cfg.AppAPI}.start(ctx)()
	if cfg.Started != nil {
		cfg.Started(s.set.Addrs())
	}
	select {
	case err := <-failed:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
		return s.drain()
	}
}

// newSidecar creates every part, and opens nothing.
func newSidecar(cfg Config) (*sidecar, error) {
	s := &sidecar{cfg: cfg, registry: newRegistry(cfg.Version), limits: limitsFor(memoryLimit())}
	var err error
	if s.counters, err = newCounters(s.registry); err != nil {
		return nil, err
	}
	if err := s.openConnections(); err != nil {
		return nil, err
	}
	if s.proxy, err = upstream.New(upstream.Config{Target: cfg.Inbound.target, DialContext: s.dialApp, Logger: cfg.Logger}); err != nil {
		return nil, err
	}
	if s.tcp, err = s.newTCP(); err != nil {
		return nil, err
	}
	if s.set, err = s.newSet(); err != nil {
		return nil, err
	}
	s.resources, err = resources.New(resources.Config{
		Registerer: s.registry, Logger: cfg.Logger, Pod: hostname(), Version: cfg.Version, SecretsDir: cfg.SecretsDir, VolumesDir: cfg.VolumesDir, VaultTokenFile: cfg.VaultTokenFile, KeysTokenDir: cfg.KeysTokenDir,
		AuditOutput: os.Stdout, SpoolDir: cfg.SpoolDir,
		HashMemory: hashMemory(memoryLimit()), SessionMemory: sessionMemory(memoryLimit()), EncoderMemory: encoderMemory(memoryLimit()),
	})
	if err != nil {
		return nil, err
	}
	s.enforcer = &enforcer{
		resources: s.resources, level: cfg.Level, logger: cfg.Logger,
		chain:      chain.Config{Resources: s.resources, ContainerPorts: cfg.ContainerPorts, App: s.proxy, Local: localAddress, TLS: sessionOf, Logger: cfg.Logger},
		onActivate: s.activate, onAppTLS: s.proxy.Renew,
	}
	s.enforcer.security = &security{tickets: secure.NewTickets()}
	if s.enforcer.security.metrics, err = secure.NewMetrics(s.registry); err != nil {
		return nil, err
	}
	if s.enforcer.documents, err = newDocumentMetrics(s.registry); err != nil {
		return nil, err
	}
	if s.exposure, err = newExposureMetrics(s.registry); err != nil {
		return nil, err
	}
	s.health = &health{enforcer: s.enforcer, now: time.Now}
	overload, err := newOverload(s.registry, cfg.Logger)
	if err != nil {
		return nil, err
	}
	s.budgets = newBudgets(s.limits, overload, s.enforcer.clientOf, s.enforcer.refuseOverload)
	stall := stallConfig{stall: stallTimeout, minRate: s.enforcer.minBodyRate, onSlow: overload.slow.Inc}
	s.app, err = newAppServer(appConfig{
		handler: s.budgets.bounded(s.enforcer), upgraded: &s.upgraded, stall: stall,
		onRefuse: s.counters.onRefuse(cfg.Logger), respond: s.enforcer.refuseFraming, logger: cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	return s, s.budgets.observe(s.registry)
}

// activate adapts the listeners, the limits of connections and the budgets to a snapshot that will become active.
func (s *sidecar) activate(next, current *chain.Snapshot) error {
	if err := s.cfg.Inbound.follow(s.set, next, current); err != nil {
		return err
	}
	options, memory := &next.Policy().Sidecar, memoryLimit()
	if next.Policy().Passwords != nil {
		memory -= int64(hashMemory(memory)) << 10 // hashes may take it at any time
	}
	s.connections.apply(options)
	s.budgets.apply(limitsFor(memory), options)
	noteLimits(limitsFor(memory), options, s.cfg.Logger)
	return nil
}

// serve serves the connections of the listeners. A failure is sent to the returned channel.
func (s *sidecar) serve() <-chan error {
	failed := make(chan error, 1)
	go func() {
		err := s.app.Serve(s.set.HTTP())
		if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			failed <- err
		}
	}()
	s.health.started.Store(true)
	return failed
}

// abort closes what is still open. It does not wait for connections: if the sidecar could not start, nothing serves
// them, and a listener that passes them on would wait forever.
func (s *sidecar) abort() {
	_ = s.set.HTTP().Close()
	s.set.Shutdown()
	_ = s.app.Close()
	s.proxy.Close()
}
