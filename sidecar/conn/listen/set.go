package listen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/posterndev/postern/sidecar/conn/capacity"
)

// Decision says what serves a connection. The zero Decision refuses it.
type Decision uint8

const (
	// Refuse resets the connection.
	Refuse Decision = iota
	// HTTP passes it to the listener that Set.HTTP returns.
	HTTP
	// TCP passes it to Config.TCP.
	TCP
)

// Refusal says why a connection was reset. It is a label of a metric.
type Refusal string

const (
	// Undeclared is a port for which Decide says Refuse.
	Undeclared Refusal = "undeclared"
	// Direct is a connection to the sidecar's inbound port itself, which would be proxied to itself in a loop.
	Direct Refusal = "direct"
	// Untracked is a redirected connection whose original destination the kernel cannot name.
	Untracked Refusal = "untracked"
	// Unagreed is a connection whose handshake failed or took too long.
	Unagreed Refusal = "handshake"
	// Crowded is a connection of a source that has as many as it may have, none of which can close.
	Crowded Refusal = "address"
	// Stopped is a connection that was accepted while the Set shut down.
	Stopped Refusal = "stopped"
)

// Refusals returns every Refusal, for a metric that has each of them from the start.
func Refusals() []Refusal {
	return []Refusal{Undeclared, Direct, Untracked, Unagreed, Crowded, Stopped}
}

// defaultMax is the number of connections without Config.Places.
const defaultMax = 10000

// Config configures a Set. Decide and TCP are required.
type Config struct {
	// Decide returns what serves the app's address local. It is called for each connection, so the decision may
	// change.
	Decide func(local netip.AddrPort) Decision
	// TCP serves a connection and closes it.
	TCP func(conn *Conn)
	// Handshake runs before the HTTP listener gets a connection; nil leaves connections unchanged. It does not run
	// for TCP connections, whose bytes are passed through.
	Handshake Handshake
	// Handshakes reports whether connections to local begin with a handshake now; nil says that all do. The others cost nothing.
	Handshakes func(local netip.AddrPort) bool
	// Places bound the connections; nil bounds only their number, to 10000. A connection takes the place of one that
	// can close. If none can, connections wait, one accepted per listener and the others in the kernel's backlog, and
	// are served in order when others end. So a client waits and does not fail.
	Places *capacity.Limiter
	// KeepAlive configures TCP keep-alive; the zero value detects lost clients within about two minutes.
	KeepAlive net.KeepAliveConfig
	// OnRefuse is called for each connection that was reset; it may be nil.
	OnRefuse func(local netip.AddrPort, why Refusal)
	// OnBind is called when a Takeover address is bound (err is nil) or cannot be bound (err is a *BindError; the Set
	// retries). It may be nil, and must not call the Set.
	OnBind func(addr netip.AddrPort, err error)
	// Logger is slog.Default() if nil.
	Logger *slog.Logger
}

// Set is the set of listeners of one sidecar.
type Set struct {
	config Config
	log    *slog.Logger
	http   *httpListener
	work   sync.WaitGroup // acceptors and binders
	// handshakeTime is defaultHandshakeTime except in tests.
	handshakeTime time.Duration

	mu      sync.Mutex
	stopped bool
	bound   map[netip.AddrPort]*acceptor          // by the address that was bound
	takes   map[netip.AddrPort]context.CancelFunc // by the wanted Takeover address; ends its retries
}

// New returns a Set without listeners.
func New(config Config) (*Set, error) {
	if config.Decide == nil || config.TCP == nil {
		return nil, errors.New("creating listeners: Decide and TCP are required")
	}
	if config.Places == nil {
		config.Places = capacity.New(capacity.Config{Limits: capacity.Limits{Max: defaultMax, MaxPerAddress: defaultMax}})
	}
	if config.KeepAlive == (net.KeepAliveConfig{}) {
		config.KeepAlive = defaultKeepAlive()
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	return &Set{
		config: config, log: config.Logger,
		handshakeTime: defaultHandshakeTime, http: newHTTPListener(), bound: map[netip.AddrPort]*acceptor{}, takes: map[netip.AddrPort]context.CancelFunc{},
	}, nil
}

// HTTP returns the listener of the connections for HTTP, for one http.Server.
func (s *Set) HTTP() net.Listener { return s.http }

// Redirect listens for redirected connections on port at all addresses.
func (s *Set) Redirect(port uint16) error {
	_, err := s.listenAll(port, redirected)
	return err
}

// Plain listens on addr, "host:port" or ":port". Its connections are for the app at that same address. Plain returns
// the bound address, which the caller needs if the port is 0.
func (s *Set) Plain(addr string) (netip.AddrPort, error) {
	resolved, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("resolving listen address %q: %w", addr, err)
	}
	if resolved.IP == nil {
		return s.listenAll(uint16(resolved.Port), direct)
	}
	return s.listen(unmap(resolved.AddrPort()), direct)
}

// listenAll listens on all addresses of both IP versions, or only of IPv4 if the node has no IPv6. It returns the
// IPv4 address.
func (s *Set) listenAll(port uint16, locate locator) (netip.AddrPort, error) {
	bound, err := s.listen(netip.AddrPortFrom(netip.IPv4Unspecified(), port), locate)
	if err != nil {
		return netip.AddrPort{}, err
	}
	_, err = s.listen(netip.AddrPortFrom(netip.IPv6Unspecified(), bound.Port()), locate)
	if err != nil && !errors.Is(err, syscall.EAFNOSUPPORT) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
		return netip.AddrPort{}, err
	}
	return bound, nil
}

// Addrs returns the bound addresses, sorted: the sidecar's own addresses among the pod's listening sockets.
func (s *Set) Addrs() []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs := make([]netip.AddrPort, 0, len(s.bound))
	for addr := range s.bound {
		addrs = append(addrs, addr)
	}
	slices.SortFunc(addrs, netip.AddrPort.Compare)
	return addrs
}

// listen binds addr and starts to accept.
func (s *Set) listen(addr netip.AddrPort, locate locator) (netip.AddrPort, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listenLocked(addr, locate)
}

func (s *Set) listenLocked(addr netip.AddrPort, locate locator) (netip.AddrPort, error) {
	if s.stopped {
		return netip.AddrPort{}, &BindError{Addr: addr, Err: net.ErrClosed}
	}
	tcp, err := listenTCP(addr, s.config.KeepAlive)
	if err != nil {
		return netip.AddrPort{}, &BindError{Addr: addr, Err: err}
	}
	bound := netip.AddrPortFrom(addr.Addr(), uint16(tcp.Addr().(*net.TCPAddr).Port))
	a := &acceptor{set: s, tcp: tcp, locate: locate, inbound: bound.Port(), stop: make(chan struct{})}
	s.bound[bound] = a
	s.work.Go(a.run)
	return bound, nil
}
