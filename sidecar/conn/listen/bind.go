package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// BindError is an address that the sidecar cannot listen on, with advice for the user.
type BindError struct {
	// Addr is the address.
	Addr netip.AddrPort
	// Advice is a sentence for the policy's status; empty if there is nothing to add to Err.
	Advice string
	Err    error
}

// Error returns the error with its advice.
func (e *BindError) Error() string {
	if e.Advice != "" {
		return fmt.Sprintf("listening on %s: %s: %s", e.Addr, e.Err, e.Advice)
	}
	return fmt.Sprintf("listening on %s: %s", e.Addr, e.Err)
}

// Unwrap returns the cause.
func (e *BindError) Unwrap() error { return e.Err }

// takeoverAdvice returns what to do about a port that cannot be taken over.
func takeoverAdvice(addr netip.AddrPort, err error) string {
	wildcard, loopback := netip.IPv4Unspecified(), netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if addr.Addr().Is6() {
		wildcard, loopback = netip.IPv6Unspecified(), netip.IPv6Loopback()
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Sprintf("the app listens on %s; under Takeover it must listen on %s (or use Redirect)",
			netip.AddrPortFrom(wildcard, addr.Port()), netip.AddrPortFrom(loopback, addr.Port()))
	case errors.Is(err, syscall.EACCES):
		return fmt.Sprintf("port %d is privileged; set the pod's sysctl net.ipv4.ip_unprivileged_port_start to %d or less, "+
			"or have the app use port 1024 or higher", addr.Port(), addr.Port())
	}
	return ""
}

// defaultKeepAlive detects lost clients within about two minutes.
func defaultKeepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4}
}

// listenTCP binds only addr. It never sets SO_REUSEPORT, with which another process of the same user could receive
// some of the connections, and never uses one socket for both IP versions. Multipath TCP, Go's default, is off: its
// sockets support neither SO_ORIGINAL_DST nor splice.
func listenTCP(addr netip.AddrPort, keepAlive net.KeepAliveConfig) (*net.TCPListener, error) {
	config := net.ListenConfig{KeepAliveConfig: keepAlive}
	config.SetMultipathTCP(false)
	network := "tcp4"
	if addr.Addr().Is6() {
		network = "tcp6"
	}
	listener, err := config.Listen(context.Background(), network, addr.String())
	if err != nil {
		return nil, err
	}
	tcp, ok := listener.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("listening on %s: a %T", addr, listener), listener.Close())
	}
	return tcp, nil
}
