package server

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/posterndev/postern/sidecar/conn/framing/h2"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// handover is the listener of the connections that begin with the preface of HTTP/2.
type handover struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newHandover() *handover { return &handover{conns: make(chan net.Conn), done: make(chan struct{})} }

// Accept implements net.Listener.
func (h *handover) Accept() (net.Conn, error) {
	select {
	case conn := <-h.conns:
		return conn, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handover) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr implements net.Listener. The connections come from many listeners.
func (*handover) Addr() net.Addr { return &net.TCPAddr{} }

func (h *handover) pass(conn net.Conn) {
	select {
	case h.conns <- conn:
	case <-h.done:
		_ = conn.Close()
	}
}

// secondConn is a connection of HTTP/2. Reader checks what its peer sends.
type secondConn struct {
	net.Conn
	reader *h2.Reader
	ahead  []byte
	tls    *tls.ConnectionState // nil for none
}

// NetConn returns the connection below.
func (c *secondConn) NetConn() net.Conn { return c.Conn }

// Read returns bytes that were checked.
func (c *secondConn) Read(p []byte) (int, error) { return c.reader.Read(p) }

func (c *secondConn) receive(p []byte) (int, error) {
	if len(c.ahead) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.ahead)
	if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
		c.ahead = nil
	}
	return n, nil
}

// CloseWrite closes the sending half.
func (c *secondConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// WithTLS sets the TLS state of the HTTP/2 requests of next. net/http cannot have it: it would expect an ALPN handshake of its own.
func WithTLS(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, ok := From(r.Context()).(*secondConn); ok {
			r.TLS = conn.tls
		}
		next.ServeHTTP(w, r)
	})
}

// negotiated is a connection whose protocol a handshake may have agreed on (ALPN): "h2", another protocol, or none.
type negotiated interface{ NegotiatedProtocol() string }

// mayBeSecond reports whether the connection may be HTTP/2. The first bytes decide, also after a handshake agreed on it: a client that
// then sends HTTP/1.x must not bypass the parser. A connection that agreed on HTTP/1.x cannot change to HTTP/2.
func (c *conn) mayBeSecond() bool {
	if c.server.second == nil {
		return false
	}
	n, ok := c.net.(negotiated)
	if !ok {
		return true
	}
	agreed := n.NegotiatedProtocol()
	return agreed == "" || agreed == "h2"
}

// detect reads until the first bytes decide whether the connection is HTTP/2, because the first 18 bytes of the preface look like a
// request.
func (c *conn) detect() (second bool, err error) {
	for {
		if err := c.fill(); err != nil {
			if errors.Is(err, io.EOF) && c.w > c.r {
				return false, nil // the next read returns it again
			}
			return false, err
		}
		got := c.buf[c.r:min(c.w, c.r+len(h2.Preface))]
		if !strings.HasPrefix(h2.Preface, string(got)) {
			return false, nil
		}
		if len(got) == len(h2.Preface) {
			return true, nil
		}
	}
}

// listOverhead is what net/http adds to MaxHeaderBytes as the maximum size of a header list, in bytes: a header list counts 32 for each
// field (RFC 9113 §6.5.2).
const listOverhead = 10 * 32

// passOn passes the connection, with what was read of it, to the server of HTTP/2.
func (c *conn) passOn() {
	above := &secondConn{Conn: c.net, tls: c.tls, ahead: append([]byte(nil), c.buf[c.r:c.w]...)}
	above.reader = h2.NewReader(above.receive, h2.Config{
		ListBytes: c.server.config.Limits.HeadBytes + listOverhead, OnRefuse: func(refusal *httperr.Error) {
			if c.server.config.OnRefuse != nil {
				c.server.config.OnRefuse(c.net, refusal)
			}
		},
	})
	c.release()
	c.server.remove(c)
	c.server.second.pass(above)
}
