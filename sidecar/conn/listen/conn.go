// Package listen accepts the pod's connections in each mode of interception, says which of the app's addresses each was
// for, and hands it to what serves that port. A port that nobody has declared is refused.
package listen

import (
	"net"
	"net/netip"
	"sync"
)

// Conn is an accepted connection. Its bytes are the socket's, or those above TLS where there was a handshake; what serves it
// need not know which.
type Conn struct {
	net.Conn
	tcp *net.TCPConn
	// protocol was agreed on in the handshake.
	protocol string
	local    netip.AddrPort
	release  func()
}

func newConn(tcp *net.TCPConn, local netip.AddrPort, release func()) *Conn {
	return &Conn{Conn: tcp, tcp: tcp, local: local, release: sync.OnceFunc(release)}
}

// NegotiatedProtocol is what the handshake agreed on by ALPN (RFC 7301), "h2" or "http/1.1". It is empty where there was no
// handshake or no agreement: the first bytes tell then.
func (c *Conn) NegotiatedProtocol() string { return c.protocol }

// Local is the app's address that the client connected to, before any redirect, unmapped.
func (c *Conn) Local() netip.AddrPort { return c.local }

// LocalAddr is Local, so that http.LocalAddrContextKey has it too.
func (c *Conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.local) }

// TCP returns the socket, for copying without user space. Where there was a handshake its bytes are TLS's.
func (c *Conn) TCP() *net.TCPConn { return c.tcp }

// CloseWrite ends the sending half.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.tcp.CloseWrite()
}

// SetLinger is the socket's.
func (c *Conn) SetLinger(seconds int) error { return c.tcp.SetLinger(seconds) }

// Close closes the connection and gives its place to the next.
func (c *Conn) Close() error {
	defer c.release()
	return c.Conn.Close()
}

// reset closes the connection with an RST, as the kernel refuses where nobody listens.
func (c *Conn) reset() {
	_ = c.SetLinger(0) // the worst that can happen is a FIN in the RST's place
	_ = c.tcp.Close()
	_ = c.Close()
}

// Local returns the app's address of conn, looking through wrappers with a NetConn method as *tls.Conn has.
func Local(conn net.Conn) (netip.AddrPort, bool) {
	for {
		switch c := conn.(type) {
		case *Conn:
			return c.local, true
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return netip.AddrPort{}, false
		}
	}
}

// unmap is addr without IPv4-in-IPv6 mapping, so that equal addresses compare equal.
func unmap(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}
