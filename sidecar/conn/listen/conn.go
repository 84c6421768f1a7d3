// Package listen accepts the pod's connections in each interception mode, determines which of the app's addresses
// each connection is for, and passes it to what serves that port. It refuses ports that are not declared.
package listen

import (
	"net"
	"net/netip"

	"github.com/posterndev/postern/sidecar/conn/capacity"
	"github.com/posterndev/postern/sidecar/conn/nonblock"
)

// Conn is an accepted connection. Its bytes are those of the socket, or those above TLS after a handshake. The server
// of the port need not know which.
type Conn struct {
	net.Conn
	tcp *net.TCPConn
	// protocol was agreed on in the handshake.
	protocol string
	local    netip.AddrPort
	// place is nil for a connection that is refused.
	place *capacity.Place
}

func newConn(tcp *net.TCPConn, local netip.AddrPort) *Conn {
	return &Conn{Conn: nonblock.New(tcp), tcp: tcp, local: local}
}

// Place returns the connection's place among all.
func (c *Conn) Place() *capacity.Place { return c.place }

// evict closes the socket, because the connection has lost its place. What serves the connection notices, and closes
// the layers above.
func (c *Conn) evict() { _ = c.tcp.Close() }

// NegotiatedProtocol returns the protocol that the handshake agreed on by ALPN (RFC 7301), "h2" or "http/1.1". It is
// empty if there was no handshake or no agreement. The first bytes decide then.
func (c *Conn) NegotiatedProtocol() string { return c.protocol }

// Above returns the connection above the socket: after a handshake, that above TLS.
func (c *Conn) Above() net.Conn { return c.Conn }

// Local returns the app's address that the client connected to, before any redirect, unmapped.
func (c *Conn) Local() netip.AddrPort { return c.local }

// LocalAddr returns Local, so that http.LocalAddrContextKey has it too.
func (c *Conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.local) }

// Await waits until there is something to read, as nonblock.Await.
func (c *Conn) Await() error { return nonblock.Await(c.Conn) }

// WriteBuffers writes several buffers, as nonblock.WriteBuffers.
func (c *Conn) WriteBuffers(buffers net.Buffers) (int64, error) {
	return nonblock.WriteBuffers(c.Conn, buffers)
}

// TCP returns the socket, for copying without user space. After a handshake its bytes are TLS records.
func (c *Conn) TCP() *net.TCPConn { return c.tcp }

// CloseWrite closes the sending half.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.tcp.CloseWrite()
}

// SetLinger sets the linger time of the socket.
func (c *Conn) SetLinger(seconds int) error { return c.tcp.SetLinger(seconds) }

// Close closes the connection and frees its place for the next one.
func (c *Conn) Close() error {
	if c.place != nil {
		defer c.place.Done()
	}
	return c.Conn.Close()
}

// reset closes the connection with an RST, as the kernel does for a port without a listener.
func (c *Conn) reset() {
	_ = c.SetLinger(0) // on an error the client gets a FIN instead of an RST
	_ = c.tcp.Close()
	_ = c.Close()
}

// Local returns the app's address of conn. It looks through wrappers with a NetConn method, such as *tls.Conn.
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

// unmap returns addr without the IPv4-in-IPv6 mapping, so that equal addresses compare equal.
func unmap(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}
