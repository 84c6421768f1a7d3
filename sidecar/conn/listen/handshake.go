package listen

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// defaultHandshakeTime bounds a handshake. During the handshake the connection has its place already.
const defaultHandshakeTime = 10 * time.Second

// Handshake performs a handshake on conn, and returns the connection above it with the agreed protocol (ALPN), empty
// for none. It may return conn itself for a client that uses no TLS. It ends when ctx ends. If it returns an error,
// the connection is closed.
type Handshake func(ctx context.Context, conn net.Conn, local netip.AddrPort) (above net.Conn, protocol string, err error)

// handshakes reports whether connections to local begin with a handshake.
func (s *Set) handshakes(local netip.AddrPort) bool {
	return s.config.Handshake != nil && (s.config.Handshakes == nil || s.config.Handshakes(local))
}

// handshake performs the handshake on conn. If that fails, it refuses conn and returns false.
func (s *Set) handshake(conn *Conn) bool {
	ctx, cancel := context.WithTimeout(context.Background(), s.handshakeTime)
	defer cancel()
	above, protocol, err := s.config.Handshake(ctx, conn.Conn, conn.local)
	if err != nil {
		s.log.Debug("handshake failed", "peer", conn.RemoteAddr().String(), "error", err)
		s.refuse(conn, Unagreed)
		return false
	}
	conn.Conn, conn.protocol = above, protocol
	return true
}
