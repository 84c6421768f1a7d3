package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/chain"
	"github.com/posterndev/postern/sidecar/conn/framing"
	"github.com/posterndev/postern/sidecar/conn/listen"
	"github.com/posterndev/postern/sidecar/conn/passthrough"
	"github.com/posterndev/postern/sidecar/conn/sockets"
)

// socketsInterval lies between two looks at the pod's listening sockets.
const socketsInterval = 5 * time.Second

// procNet is where the kernel lists the sockets of the pod's network.
const procNet = "/proc/net"

// newTCP makes the proxy of the ports that the policy does not look into.
func (s *sidecar) newTCP() error {
	ended := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_tcp_connections_total", Help: "Connections passed through untouched, by how they ended.",
	}, []string{"end"})
	if err := s.registry.Register(ended); err != nil {
		return err
	}
	var err error
	s.tcp, err = passthrough.New(passthrough.Config{
		Target: s.target, Logger: s.cfg.Logger, OnEnd: func(stats passthrough.Stats) { ended.WithLabelValues(string(stats.End)).Inc() },
	})
	return err
}

func (s *sidecar) newSet() error {
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_connections_refused_total", Help: "Connections that were reset, by reason.",
	}, []string{"reason"})
	if err := s.registry.Register(refused); err != nil {
		return err
	}
	var err error
	s.set, err = listen.New(listen.Config{
		Decide:   s.decide,
		MaxConns: s.capacity.connections,
		TCP:      func(conn *listen.Conn) { s.tcp.Serve(context.Background(), conn, conn.Local()) },
		OnRefuse: func(_ netip.AddrPort, why listen.Refusal) { refused.WithLabelValues(string(why)).Inc() },
		OnBind: func(addr netip.AddrPort, err error) {
			if err != nil {
				s.cfg.Logger.Error("port not taken over, trying again", "address", addr.String(), "error", err)
			}
		},
		Logger: s.cfg.Logger,
	})
	return err
}

// decide says who serves a connection. Without a policy all are HTTP, which is then answered with 503.
func (s *sidecar) decide(local netip.AddrPort) listen.Decision {
	f := s.core.current.Load()
	if f == nil {
		return listen.HTTP
	}
	protocol, open := f.Decide(local.Port())
	switch {
	case !open:
		return listen.Refuse
	case protocol == compiled.TCP:
		return listen.TCP
	}
	return listen.HTTP
}

// listen opens the ports and serves them.
func (s *sidecar) listen(failed chan<- error) error {
	if err := s.bind(); err != nil {
		return err
	}
	s.core.chain.Local = func(ctx context.Context) netip.AddrPort {
		if conn := framing.From(ctx); conn != nil {
			local, _ := listen.Local(conn)
			return local
		}
		return netip.AddrPort{}
	}
	go func() {
		if err := s.app.Serve(watched(s.set.HTTP(), s.cfg.Logger, s.refused)); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			failed <- err
		}
	}()
	s.health.started.Store(true)
	return nil
}

// bind opens the inbound port under Redirect. Under Takeover it opens the ports that the containers declare, until the
// policy says which of them are meant; one that cannot be opened yet is tried again.
func (s *sidecar) bind() error {
	if s.env.Interception == Redirect {
		return s.set.Redirect(s.env.InboundPort)
	}
	var ports []uint16
	for _, p := range s.env.ContainerPorts {
		ports = append(ports, p.Number)
	}
	_ = s.set.Takeover(s.env.PodIPs, ports) // each failure was logged by OnBind
	return nil
}

// applied brings the listeners in line with a new snapshot. Under Takeover a port that cannot be opened refuses the
// snapshot: part of the app would be served by nobody, or by the app itself.
func (s *sidecar) applied(next *chain.Snapshot) error {
	if s.env.Interception == Redirect {
		return nil
	}
	err := s.set.Takeover(s.env.PodIPs, portsOf(next))
	if err != nil {
		if f := s.core.current.Load(); f != nil {
			_ = s.set.Takeover(s.env.PodIPs, portsOf(f.Snapshot)) // they were open a moment ago
		}
	}
	return err
}

func portsOf(s *chain.Snapshot) []uint16 {
	var ports []uint16
	for port := range s.Ports() {
		ports = append(ports, port)
	}
	return ports
}

// watchSockets reports listeners of the pod that clients reach around the sidecar.
func (s *sidecar) watchSockets(ctx context.Context) {
	ticker := time.NewTicker(socketsInterval)
	defer ticker.Stop()
	for {
		s.lookAtSockets(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (s *sidecar) lookAtSockets(ctx context.Context) {
	listening, err := sockets.Listening(procNet)
	if err != nil {
		s.cfg.Logger.ErrorContext(ctx, "reading the pod's listening sockets", "error", err)
		return
	}
	pod := sockets.Pod{Mode: sockets.Redirect, Own: s.ownAddrs(), Excluded: s.env.ExcludedPorts}
	if s.env.Interception == Takeover {
		pod.Mode = sockets.Takeover
		if f := s.core.current.Load(); f != nil && f.Policy().UndeclaredPorts == compiled.Allow {
			pod.Accepted = undeclared(listening, f.Ports())
		}
	}
	var found []string
	for _, addr := range sockets.Reachable(pod, listening) {
		found = append(found, addr.String())
	}
	s.keeper.SetReachable(found)
}

// ownAddrs are the sidecar's own listeners.
func (s *sidecar) ownAddrs() []netip.AddrPort {
	return append(s.set.Addrs(),
		netip.AddrPortFrom(netip.IPv6Unspecified(), s.env.AdminPort), netip.AddrPortFrom(netip.IPv4Unspecified(), s.env.AdminPort))
}

// undeclared are the ports that the policy does not name: undeclaredPorts Allow says that they may be reached.
func undeclared(listening []netip.AddrPort, declared map[uint16]compiled.Protocol) []uint16 {
	var ports []uint16
	for _, l := range listening {
		if _, ok := declared[l.Port()]; !ok {
			ports = append(ports, l.Port())
		}
	}
	return ports
}
