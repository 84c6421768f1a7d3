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
	// loopback is nil where the policy has nothing for the app to ask.
	loopback http.Handler

	// enforce tells what outlives the snapshot that it is in force.
	activate func()

	closeOnce sync.Once
	closers   []func()
}

// ServeHTTP enforces the policy and passes what may pass to the app.
func (s *Snapshot) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Activate is called once, when the snapshot has been activated, and before Close: answers that are under way in older ones are
// judged by what it knows, sessions keep to its timeouts, and those that its document revokes are ended. A snapshot that was built
// and is not activated changes nothing.
func (s *Snapshot) Activate() { s.activate() }

// Loopback is the app's API, for a listener that only the pod reaches; nil where the policy has nothing for it.
func (s *Snapshot) Loopback() http.Handler { return s.loopback }

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

// Close gives back what the snapshot shares with others. Requests that are still in it go on.
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
