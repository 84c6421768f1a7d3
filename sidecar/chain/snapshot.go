package chain

import (
	"net/http"
	"net/netip"
	"sync"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/resources"
	"github.com/posterndev/postern/sidecar/stages/clientaddr"
)

// Snapshot is an executable policy. It is immutable and complete before it receives the first request. It is safe for concurrent
// use.
type Snapshot struct {
	policy  *compiled.Policy
	handler http.Handler
	ports   map[uint16]compiled.Protocol
	client  clientaddr.Locator
	// tls and upstreamTLS are nil without TLS.
	tls         *resources.TLS
	upstreamTLS *resources.UpstreamTLS
	// appAPI is nil if the policy is deleted.
	appAPI http.Handler

	// activate informs the resources, which outlive the snapshot, that it is active.
	activate func()

	closeOnce sync.Once
	closers   []func()
}

// ServeHTTP enforces the policy and passes allowed requests to the app.
func (s *Snapshot) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Client returns the client's address as the stage client-address finds it, without changing r, and whether the peer is a trusted
// proxy. The address is invalid if the client is unknown: the peer's address is, or a trusted proxy names no client.
func (s *Snapshot) Client(r *http.Request) (addr netip.Addr, proxied bool) { return s.client.Client(r) }

// Activate is called once, when the snapshot becomes active, and before Close. From then on its revocations apply to responses
// that are still streaming in older snapshots, its timeouts apply to all sessions, and the sessions that its document revokes
// are ended. A snapshot that is not activated changes nothing.
func (s *Snapshot) Activate() { s.activate() }

// AppAPI returns the API for the app itself, for a listener that only the pod can reach. It is nil if the policy is
// deleted.
func (s *Snapshot) AppAPI() http.Handler { return s.appAPI }

// TLS returns what handshakes with clients need; nil if the policy serves plain HTTP.
func (s *Snapshot) TLS() *resources.TLS { return s.tls }

// UpstreamTLS returns what handshakes with the app need; nil for plain HTTP.
func (s *Snapshot) UpstreamTLS() *resources.UpstreamTLS { return s.upstreamTLS }

// Policy returns the document. It must not be changed.
func (s *Snapshot) Policy() *compiled.Policy { return s.policy }

// Ports returns the app's ports by number.
func (s *Snapshot) Ports() map[uint16]compiled.Protocol { return s.ports }

// Decide returns how to handle a connection to a port of the pod: enforce the policy for HTTP, or pass TCP through. If open is
// false, the connection must be closed.
func (s *Snapshot) Decide(port uint16) (protocol compiled.Protocol, open bool) {
	if protocol, ok := s.ports[port]; ok {
		return protocol, true
	}
	pass := s.policy.UndeclaredPorts == compiled.Allow || s.policy.Mode == compiled.Shadow || s.policy.Deleted
	return compiled.TCP, pass
}

// Close releases the resources of the snapshot. Requests that are still in it continue.
func (s *Snapshot) Close() {
	s.closeOnce.Do(func() {
		for _, release := range s.closers {
			release()
		}
	})
}

func (s *Snapshot) onClose(release func()) { s.closers = append(s.closers, release) }

func (s *Snapshot) resolvePorts(p *compiled.Policy, c Config) error {
	if c.OnlyPort != 0 {
		s.ports = map[uint16]compiled.Protocol{c.OnlyPort: compiled.HTTP}
		return nil
	}
	resolved, err := p.ResolvePorts(c.ContainerPorts)
	if err != nil {
		return err
	}
	s.ports = map[uint16]compiled.Protocol{}
	for _, port := range resolved {
		s.ports[port.Number] = port.Protocol
	}
	return nil
}

func (s *Snapshot) httpPorts() []uint16 {
	var ports []uint16
	for port, protocol := range s.ports {
		if protocol == compiled.HTTP {
			ports = append(ports, port)
		}
	}
	return ports
}
