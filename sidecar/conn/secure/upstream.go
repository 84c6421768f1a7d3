package secure

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/posterndev/postern/sidecar/conn/nonblock"
	"github.com/posterndev/postern/sidecar/keys/certificate"
)

// Upstream is TLS to the app. It is safe for concurrent use.
type Upstream struct {
	// Authorities gives the CAs of the app's certificate.
	Authorities interface {
		File() (*certificate.Authorities, error)
	}
	// ServerName is the name that the certificate must have.
	ServerName string
	// Now is time.Now if nil.
	Now func() time.Time
}

// Same reports whether both verify the app in the same way. Nil is no TLS.
func (u *Upstream) Same(other *Upstream) bool {
	if u == nil || other == nil {
		return u == other
	}
	return u.Authorities == other.Authorities && u.ServerName == other.ServerName
}

// Over returns a connection above conn after the handshake, for HTTP/2 or HTTP/1.1. An app that agrees on another protocol is refused. On an error conn
// is closed.
func (u *Upstream) Over(ctx context.Context, conn *net.TCPConn, http2 bool) (net.Conn, error) {
	socket := nonblock.New(conn)
	above, err := u.handshake(ctx, socket, http2)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("connecting to the app by TLS: %w", err)
	}
	return &appConn{Conn: above, socket: socket}, nil
}

// appConn is a connection to the app. A client that keeps it for another request asks both layers whether the app has sent something since.
type appConn struct {
	*tls.Conn
	socket *nonblock.Conn
}

// Pending reports whether the app has sent something, or has closed the connection.
func (c *appConn) Pending() bool { return c.socket.Pending() || !c.silent() }

// silent reports whether no bytes wait above the socket. It does not read from the socket.
func (c *appConn) silent() bool {
	if c.SetReadDeadline(time.Unix(1, 0)) != nil {
		return false
	}
	var b [1]byte
	n, err := c.Read(b[:]) // a deadline that has passed leaves crypto/tls what it has read already, and is no lasting error
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && c.SetReadDeadline(time.Time{}) == nil
}

func (u *Upstream) handshake(ctx context.Context, conn net.Conn, http2 bool) (*tls.Conn, error) {
	authorities, err := u.Authorities.File()
	if err != nil {
		return nil, err
	}
	protocol := "http/1.1"
	if http2 {
		protocol = "h2"
	}
	above := tls.Client(conn, &tls.Config{
		RootCAs: authorities.Pool(), ServerName: u.ServerName, NextProtos: []string{protocol}, MinVersion: tls.VersionTLS12, Time: u.Now,
	})
	if err := above.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if agreed := above.ConnectionState().NegotiatedProtocol; http2 && agreed != protocol {
		return nil, fmt.Errorf("the app does not speak HTTP/2: it agreed on %.20q", agreed)
	}
	return above, nil
}
