package secure

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/secured"
)

// recordHandshake is the first byte of a TLS connection (RFC 8446 §5.1). No request of HTTP begins with it.
const recordHandshake = 0x16

// Bounds of what a client may send in a handshake, in bytes, so that a connection needs no more memory than one with a large head. crypto/tls alone would
// read 64 KiB of a hello, and 256 KiB of certificates.
const (
	maxHandshake       = 16 << 10
	maxHandshakeOfPeer = 48 << 10
)

// Conn is a connection above TLS.
type Conn struct {
	*tls.Conn
	session secured.Session
}

// Of returns the session of a connection, looking through the layers above it; nil if it has no TLS.
func Of(conn net.Conn) *secured.Session {
	for {
		switch c := conn.(type) {
		case *Conn:
			return &c.session
		case interface{ Above() net.Conn }:
			conn = c.Above()
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// Handshake performs the handshake if the first byte is that of TLS. Otherwise it returns the connection as it is: the request path decides about
// plain requests. It is a listen.Handshake.
func (s *Server) Handshake(ctx context.Context, conn net.Conn, _ netip.AddrPort) (above net.Conn, protocol string, err error) {
	b := &begun{Conn: conn, left: maxHandshake}
	if s.cfg.Clients != nil {
		b.left = maxHandshakeOfPeer
	}
	if err := b.peek(ctx); err != nil {
		return nil, "", s.refuse(ctx, b, err)
	}
	if b.first[0] != recordHandshake {
		s.cfg.Metrics.accepted(0)
		b.left = unlimited
		return b, "", nil
	}
	c := &Conn{Conn: tls.Server(b, s.entry)}
	if err := c.HandshakeContext(ctx); err != nil {
		err = s.refuse(ctx, b, err)
		b.farewell(ctx)
		return nil, "", err
	}
	b.left, b.hello = unlimited, nil
	c.session.ConnectionState = c.ConnectionState()
	s.cfg.Metrics.accepted(c.session.Version)
	return c, c.session.NegotiatedProtocol, nil
}

// refuse counts a failed handshake, and adds the reason to its error.
func (s *Server) refuse(ctx context.Context, b *begun, err error) error {
	if ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	reason := s.reasonOf(b, err)
	s.cfg.Metrics.refused(reason)
	return fmt.Errorf("%s: %w", reason, err)
}

const unlimited = -1

// errTooLarge is the error of a handshake in which the client sends too much.
var errTooLarge = errors.New("the client sent too many bytes in its handshake")

// begun is a connection whose first byte was read.
type begun struct {
	net.Conn
	first [1]byte
	// waiting says that first was not returned yet.
	waiting bool
	// left is how many bytes may still be read in the handshake. Only the handshake changes it, before there are other readers.
	left int
	// hello is what the client offered; nil before it was read, and after the handshake.
	hello *tls.ClientHelloInfo
}

// peek reads the first byte.
func (b *begun) peek(ctx context.Context) error {
	deadline, _ := ctx.Deadline() // zero for none
	if err := b.Conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	n, err := b.Conn.Read(b.first[:])
	if n == 0 {
		if err == nil {
			err = errors.New("no byte was read")
		}
		return err
	}
	b.waiting = true
	return b.Conn.SetReadDeadline(time.Time{})
}

// Read implements net.Conn.
func (b *begun) Read(p []byte) (int, error) {
	if b.waiting && len(p) > 0 {
		p[0], b.waiting = b.first[0], false
		return 1, nil
	}
	if b.left == unlimited {
		return b.Conn.Read(p)
	}
	if b.left == 0 {
		return 0, errTooLarge
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// NetConn returns the socket.
func (b *begun) NetConn() net.Conn { return b.Conn }

// The bounds of a farewell.
const (
	farewellTime  = time.Second
	farewellBytes = 64 << 10
)

// farewell lets the client read the alert that says why its handshake failed. With TLS 1.3 a client may have sent its request already, and closing a
// connection with unread bytes makes the client's system discard the alert.
func (b *begun) farewell(ctx context.Context) {
	if ctx.Err() != nil || b.CloseWrite() != nil {
		return
	}
	until := time.Now().Add(farewellTime)
	if at, ok := ctx.Deadline(); ok && at.Before(until) {
		until = at
	}
	if b.Conn.SetReadDeadline(until) == nil {
		_, _ = io.CopyN(io.Discard, b.Conn, farewellBytes)
	}
}

// CloseWrite closes the sending half.
func (b *begun) CloseWrite() error {
	if half, ok := b.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
