// Package server runs the sidecar: it opens the listeners, takes the policy's documents as they come, swaps snapshots
// under the requests, and drains when it is told to stop.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/chain"
	"github.com/posterndev/postern/sidecar/conn/listen"
	"github.com/posterndev/postern/sidecar/conn/passthrough"
	"github.com/posterndev/postern/sidecar/document"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/stages/upstream"
)

// Config is what Run needs beside the environment.
type Config struct {
	Environment Environment
	Version     string
	Level       *slog.LevelVar
	Logger      *slog.Logger
}

const (
	// mountedInterval lies between two looks at the mounted document.
	mountedInterval = 2 * time.Second
	// defaultDrain bounds the drain of a sidecar that never got a document.
	defaultDrain = 25 * time.Second
)

// sidecar is a running sidecar.
type sidecar struct {
	cfg      Config
	env      Environment
	core     *core
	health   *health
	keeper   *document.Keeper
	proxy    *upstream.Proxy
	set      *listen.Set
	tcp      *passthrough.Proxy
	app      *http.Server
	registry *prometheus.Registry
	refused  refusals
	capacity capacity
}

// Run serves until ctx ends, and then lets open requests finish. An error says why it could not start or go on.
func Run(ctx context.Context, cfg Config) error {
	s := &sidecar{cfg: cfg, env: cfg.Environment, registry: newRegistry(cfg.Version)}
	if err := s.build(); err != nil {
		return err
	}
	poller, err := document.NewPoller(document.PollConfig{
		URL: s.env.OperatorURL, CA: []byte(s.env.OperatorCA), Token: secret.File(s.env.OperatorTokenFile), Keeper: s.keeper, Logger: cfg.Logger,
	})
	if err != nil {
		return err
	}
	stopAdmin, err := s.serveAdmin()
	if err != nil {
		return err
	}
	defer stopAdmin()
	failed := make(chan error, 1)
	if err := s.listen(failed); err != nil {
		return err
	}
	watch, stop := context.WithCancel(ctx)
	defer stop()
	go document.Mounted{Dir: s.env.DocumentDir, Interval: mountedInterval, Keeper: s.keeper, Logger: cfg.Logger}.Run(watch)
	go poller.Run(watch)
	go s.watchSockets(watch)
	go s.watchProblems(watch)
	api := loopback{core: s.core, logger: cfg.Logger, address: net.JoinHostPort("127.0.0.1", strconv.Itoa(int(s.env.LoopbackPort)))}
	defer api.start(ctx)()
	select {
	case err := <-failed:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
		return s.drain()
	}
}

// build makes every part, and opens nothing.
func (s *sidecar) build() error {
	log := s.cfg.Logger
	shared, err := chain.NewShared(chain.SharedConfig{
		Registerer: s.registry, Logger: log, SecretsDir: s.env.SecretsDir, VaultTokenFile: s.env.VaultTokenFile,
		HashMemory: hashMemory(memoryLimit()),
	})
	if err != nil {
		return err
	}
	s.proxy, err = upstream.New(upstream.Config{Target: s.target, Logger: log})
	if err != nil {
		return err
	}
	s.core = &core{
		shared: shared, level: s.cfg.Level, logger: log, applied: s.applied,
		chain: chain.Config{Shared: shared, ContainerPorts: s.env.ContainerPorts, App: s.proxy, Logger: log},
	}
	s.health = &health{server: s.core, now: time.Now}
	s.keeper = document.NewKeeper(document.Config{
		Namespace: s.env.Namespace, Policy: s.env.Policy, Key: s.env.DocumentKey, Floor: s.env.DocumentFloor,
		Apply: s.core.apply, Version: s.cfg.Version, Logger: log,
	})
	if s.refused, err = newRefusals(s.registry); err != nil {
		return err
	}
	s.capacity = capacityFor(memoryLimit())
	s.app = newAppServer(bounded(s.capacity.requests, s.refused.overloaded.Inc, s.core), log)
	return errors.Join(s.newTCP(), s.newSet())
}

// target is the app's address for a connection: where the client wanted to go under Redirect, loopback under Takeover.
func (s *sidecar) target(local netip.AddrPort) string {
	if s.env.Interception == Redirect {
		return local.String()
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(local.Port())))
}

// probeTarget is where the kubelet would have asked.
func (s *sidecar) probeTarget(port uint16) string {
	return s.target(netip.AddrPortFrom(s.env.PodIPs[0], port))
}

func (s *sidecar) serveAdmin() (stop func(), err error) {
	probes, err := newProbes(s.env.Probes, s.probeTarget, s.cfg.Logger)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", ":"+strconv.Itoa(int(s.env.AdminPort)))
	if err != nil {
		return nil, fmt.Errorf("opening the admin port: %w", err)
	}
	admin := newAdminServer(adminHandler(s.health, s.registry, probes))
	go func() {
		if err := admin.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.cfg.Logger.Error("serving the admin port", "error", err)
		}
	}()
	return func() { _ = admin.Close() }, nil
}

// drain stops accepting, lets open requests finish for as long as the policy says, and then ends what is left.
func (s *sidecar) drain() error {
	s.health.draining.Store(true)
	timeout := defaultDrain
	if f := s.core.current.Load(); f != nil {
		timeout = f.Policy().Sidecar.DrainTimeout.Std()
	}
	s.cfg.Logger.Info("stopping", "drainTimeout", timeout)
	s.set.Shutdown()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	untouched := make(chan error, 1)
	go func() { untouched <- s.tcp.Shutdown(ctx) }()
	defer s.core.shared.Close()
	return errors.Join(drain(ctx, s.app, s.proxy), <-untouched)
}
