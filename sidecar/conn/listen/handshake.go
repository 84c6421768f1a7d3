package listen

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// defaultHandshakeTime bounds a handshake. A connection holds its place of Config.MaxConns meanwhile.
const defaultHandshakeTime = 10 * time.Second

// Handshake agrees with the client on what conn's bytes mean, and returns the connection above it with the protocol that was
// agreed on (ALPN), empty for none. It may return conn itself, for a client that wants no TLS. It ends when ctx does. Where it
// returns an error, the connection is closed.
type Handshake func(ctx context.Context, conn net.Conn, local netip.AddrPort) (above net.Conn, protocol string, err error)

// handshake puts conn above TLS, or refuses it and returns false.
func (s *Set) handshake(conn *Conn) bool {
	ctx, cancel := context.WithTimeout(context.Background(), s.handshakeTime)
	defer cancel()
	above, protocol, err := s.config.Handshake(ctx, conn.tcp, conn.local)
	if err != nil {
		s.log.Debug("handshake failed", "peer", conn.RemoteAddr().String(), "error", err)
		s.refuse(conn, Unagreed)
		return false
	}
	conn.Conn, conn.protocol = above, protocol
	return true
}
