// Package listen accepts the pod's connections in each mode of interception, says which of the app's addresses each was
// for, and hands it to what serves that port. A port that nobody has declared is refused.
package listen

import (
	"net"
	"net/netip"
	"sync"
)

// Conn is an accepted connection.
type Conn struct {
	*net.TCPConn
	local   netip.AddrPort
	release func()
}

func newConn(tcp *net.TCPConn, local netip.AddrPort, release func()) *Conn {
	return &Conn{TCPConn: tcp, local: local, release: sync.OnceFunc(release)}
}

// Local is the app's address that the client connected to, before any redirect, unmapped.
func (c *Conn) Local() netip.AddrPort { return c.local }

// LocalAddr is Local, so that http.LocalAddrContextKey has it too.
func (c *Conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.local) }

// TCP returns the socket, for copying without user space.
func (c *Conn) TCP() *net.TCPConn { return c.TCPConn }

// Close closes the connection and gives its place to the next.
func (c *Conn) Close() error {
	defer c.release()
	return c.TCPConn.Close()
}

// reset closes the connection with an RST, as the kernel refuses where nobody listens.
func (c *Conn) reset() {
	_ = c.SetLinger(0) // the worst that can happen is a FIN in the RST's place
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
