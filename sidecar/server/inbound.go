package server

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/chain"
	http1 "github.com/posterndev/postern/sidecar/conn/http1/server"
	"github.com/posterndev/postern/sidecar/conn/listen"
	"github.com/posterndev/postern/sidecar/conn/passthrough"
	"github.com/posterndev/postern/sidecar/conn/sockets"
)

// Inbound is how connections reach the sidecar, and where the app is: redirected, takeover or plain.
type Inbound interface {
	// open opens the first listeners. If it returns a port that is not 0, there is only one listener with that port,
	// which represents the app whatever ports the policy names.
	open(set *listen.Set) (onlyPort uint16, err error)
	// follow adapts the listeners to a snapshot that will become active; current is nil for the first one. An error
	// refuses the snapshot.
	follow(set *listen.Set, next, current *chain.Snapshot) error
	// target returns the app's address for a connection to local.
	target(local netip.AddrPort) string
	// exposure says which of the pod's listeners count as reachable without the sidecar; ok is false if this is not
	// checked.
	exposure(listening []netip.AddrPort, current *chain.Snapshot) (pod sockets.Pod, ok bool)
}

// redirected is the mode in which every inbound port of the pod is redirected to the sidecar's own port.
type redirected struct {
	port     uint16
	excluded []uint16
}

func (r redirected) open(set *listen.Set) (uint16, error) { return 0, set.Redirect(r.port) }

func (redirected) follow(*listen.Set, *chain.Snapshot, *chain.Snapshot) error { return nil }

// target returns the address to which the client connected.
func (redirected) target(local netip.AddrPort) string { return local.String() }

func (r redirected) exposure([]netip.AddrPort, *chain.Snapshot) (sockets.Pod, bool) {
	return sockets.Pod{Mode: sockets.Redirect, Excluded: r.excluded}, true
}

// takeover listens on the app's ports at the pod's addresses. The app listens on the same ports of loopback.
type takeover struct {
	addresses []netip.Addr
	// declared are the ports that the containers declare. They are opened until the policy names the ports.
	declared []uint16
	// excluded are the ports of the proxy of the pod's mesh.
	excluded []uint16
}

// open does not return bind errors: the listeners retry, and listen.Config.OnBind has logged each failure.
func (t takeover) open(set *listen.Set) (uint16, error) {
	_ = set.Takeover(t.addresses, t.declared)
	return 0, nil
}

// follow refuses a snapshot with a port that cannot be opened, because part of the app would be unavailable, or served without
// the sidecar.
func (t takeover) follow(set *listen.Set, next, current *chain.Snapshot) error {
	err := set.Takeover(t.addresses, portsOf(next))
	if err != nil && current != nil {
		_ = set.Takeover(t.addresses, portsOf(current)) // they were open before
	}
	return err
}

func (takeover) target(local netip.AddrPort) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(local.Port())))
}

func (t takeover) exposure(listening []netip.AddrPort, current *chain.Snapshot) (sockets.Pod, bool) {
	pod := sockets.Pod{Mode: sockets.Takeover, Accepted: t.excluded}
	if current != nil && current.Policy().UndeclaredPorts == compiled.Allow {
		pod.Accepted = append(undeclared(listening, current.Ports()), t.excluded...)
	}
	return pod, true
}

// undeclared returns the ports that the policy does not name. With undeclaredPorts Allow they may be reached.
func undeclared(listening []netip.AddrPort, declared map[uint16]compiled.Protocol) []uint16 {
	var ports []uint16
	for _, l := range listening {
		if _, ok := declared[l.Port()]; !ok {
			ports = append(ports, l.Port())
		}
	}
	return ports
}

// plain is one listener in front of one app, outside of a pod.
type plain struct{ address, app string }

func (p plain) open(set *listen.Set) (uint16, error) {
	bound, err := set.Plain(p.address)
	return bound.Port(), err
}

func (plain) follow(*listen.Set, *chain.Snapshot, *chain.Snapshot) error { return nil }

func (p plain) target(netip.AddrPort) string { return p.app }

func (plain) exposure([]netip.AddrPort, *chain.Snapshot) (sockets.Pod, bool) {
	return sockets.Pod{}, false
}

func portsOf(s *chain.Snapshot) []uint16 {
	var ports []uint16
	for port := range s.Ports() {
		ports = append(ports, port)
	}
	slices.Sort(ports)
	return ports
}

// newTCP creates the proxy of the ports whose bytes are passed through.
func (s *sidecar) newTCP() (*passthrough.Proxy, error) {
	return passthrough.New(passthrough.Config{
		Target: s.cfg.Inbound.target, Logger: s.cfg.Logger,
		OnEnd: func(stats passthrough.Stats) { s.counters.tcp.WithLabelValues(string(stats.End)).Inc() },
	})
}

// newSet creates the listeners; none is open yet.
func (s *sidecar) newSet() (*listen.Set, error) {
	return listen.New(listen.Config{
		Decide:   s.decide,
		Places:   s.connections.Limiter,
		TCP:      func(conn *listen.Conn) { s.tcp.Serve(context.Background(), conn, conn.Local()) },
		OnRefuse: func(_ netip.AddrPort, why listen.Refusal) { s.counters.refused.WithLabelValues(string(why)).Inc() },
		OnBind: func(addr netip.AddrPort, err error) {
			if err != nil {
				s.cfg.Logger.Error("taking over the port failed, retrying", "address", addr.String(), "error", err)
			}
		},
		Logger: s.cfg.Logger,
	})
}

// decide returns what serves a connection. Without a policy every connection is HTTP, and gets 503.
func (s *sidecar) decide(local netip.AddrPort) listen.Decision {
	active := s.enforcer.current()
	if active.Snapshot == nil {
		return listen.HTTP
	}
	protocol, open := active.Decide(local.Port())
	switch {
	case !open:
		return listen.Refuse
	case protocol == compiled.TCP:
		return listen.TCP
	}
	return listen.HTTP
}

// localAddress returns the address and port that the client of a request connected to.
func localAddress(ctx context.Context) netip.AddrPort {
	if conn := http1.From(ctx); conn != nil {
		local, _ := listen.Local(conn)
		return local
	}
	return netip.AddrPort{}
}
