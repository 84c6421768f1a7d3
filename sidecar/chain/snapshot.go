package chain

import (
	"net/http"
	"sync"

	"github.com/posterndev/postern/api/compiled"
)

// Snapshot is a policy in force: immutable, built whole before it takes the first request. It is safe for concurrent use.
type Snapshot struct {
	policy  *compiled.Policy
	handler http.Handler
	ports   map[uint16]compiled.Protocol
	// appAPI is nil if the policy has nothing for it.
	appAPI http.Handler

	// activate tells the resources, which outlive the snapshot, that it is in force.
	activate func()

	closeOnce sync.Once
	closers   []func()
}

// ServeHTTP enforces the policy and passes what may pass to the app.
func (s *Snapshot) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Activate is called once, when the snapshot comes into force, and before Close: responses that are still streaming in older
// snapshots are judged by its revocations, its timeouts hold for all sessions, and the sessions that its document revokes are
// ended. A snapshot that is not activated changes nothing.
func (s *Snapshot) Activate() { s.activate() }

// AppAPI is the API that the app itself calls, for a listener that only the pod reaches; nil if the policy has nothing for
// it.
func (s *Snapshot) AppAPI() http.Handler { return s.appAPI }

// Policy is the document; it must not be changed.
func (s *Snapshot) Policy() *compiled.Policy { return s.policy }

// Ports are the app's ports by number.
func (s *Snapshot) Ports() map[uint16]compiled.Protocol { return s.ports }

// Decide says what a connection to a port of the pod is: HTTP to enforce, TCP to pass through, or neither, which is to be
// closed.
func (s *Snapshot) Decide(port uint16) (protocol compiled.Protocol, open bool) {
	if protocol, ok := s.ports[port]; ok {
		return protocol, true
	}
	pass := s.policy.UndeclaredPorts == compiled.Allow || s.policy.Mode == compiled.Shadow || s.policy.Deleted
	return compiled.TCP, pass
}

// Close releases what the snapshot has acquired. Requests that are still in it continue.
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
