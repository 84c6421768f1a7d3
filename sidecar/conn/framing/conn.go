// Package framing refuses HTTP/1.x requests whose ends can be seen in two ways, before net/http silently repairs them:
// request smuggling lives on what two parsers make of the same bytes (RFC 9112 §11.2).
//
// It watches the bytes of a connection on their way to http.Server and keeps none of them but what a client has sent
// ahead. A connection that turns into something else than HTTP/1.x (HTTP/2, a protocol after Upgrade) is no longer
// inspected. Slow clients are http.Server's matter: its deadlines reach the socket.
//
// It sits above package listen, where a TLS handshake belongs: it reads plain bytes, and does not know whether TLS is below.
package framing

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// Limits bounds a request's head, and its trailer by itself.
type Limits struct {
	// HeadBytes is the most bytes of a head, request line included; 0 is 64 KiB.
	HeadBytes int
	// Fields is the most header fields; 0 is 128.
	Fields int
}

// Config says how connections are watched.
type Config struct {
	Limits Limits
	// HTTP2 lets HTTP/2 pass, by agreement in a handshake or with prior knowledge (RFC 9113 §3.2, §3.3). It must be off where the server does not serve it:
	// net/http would hand the preface to the handler as a request of the method PRI.
	HTTP2 bool
	// OnRefuse is told of each refusal, once a connection; it may be nil.
	OnRefuse func(conn net.Conn, refusal *httperr.Error)
}

func (c Config) withDefaults() Config {
	if c.Limits.HeadBytes <= 0 {
		c.Limits.HeadBytes = 64 << 10
	}
	if c.Limits.Fields <= 0 {
		c.Limits.Fields = 128
	}
	return c
}

// Conn is the server's side of an HTTP/1.x connection, watched. As of http.Server, which it is made for, it expects that
// nothing but a single byte of a request is read before the response to the one before it has been written.
type Conn struct {
	net.Conn
	config *Config
	// Of the reader alone.
	scan               scanner
	detected           bool   // the connection is known to be, or not to be, HTTP/2
	ahead              []byte // read from the client, not yet scanned
	reported, lingered bool

	opaque atomic.Bool
	broken atomic.Pointer[breach]
	// responded says that the final response to the current request has begun; answered that it is this package's own refusal.
	responded, answered atomic.Bool
}

// breach is what a connection has been refused for.
type breach struct {
	refusal *httperr.Error
	// body says that the request's head has passed already, so that a handler may be at work on it.
	body bool
}

// maxKeptAhead bounds the buffer that an idle connection keeps, in bytes: net/http reads by as much.
const maxKeptAhead = 4 << 10

// negotiated is a connection on whose protocol a handshake may have agreed (ALPN): "h2", another one, or none.
type negotiated interface{ NegotiatedProtocol() string }

// wrap inspects conn. Its first bytes tell whether it is HTTP/2, also where a handshake has agreed on that: a client that then
// sends HTTP/1.x must not pass without inspection. One that has agreed on HTTP/1.x cannot change to HTTP/2.
func wrap(conn net.Conn, config *Config) *Conn {
	http2 := config.HTTP2
	if n, ok := conn.(negotiated); ok && http2 {
		agreed := n.NegotiatedProtocol()
		http2 = agreed == "" || agreed == "h2"
	}
	return &Conn{Conn: conn, config: config, detected: !http2, scan: scanner{limits: config.Limits}}
}

// NetConn returns the watched connection.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Opaque ends the watch: what follows is not HTTP/1.x. A handler that has hijacked the connection calls it before
// anyone reads on; see Upgrades, which does.
func (c *Conn) Opaque() {
	c.opaque.Store(true)
	c.broken.Store(nil)
}

// Read returns bytes of one message alone, the next of which has been seen to be well-formed so far. On a breach it
// answers the client, and returns a *net.OpError around the *httperr.Error: for those net/http closes without a word.
func (c *Conn) Read(p []byte) (int, error) {
	for len(p) > 0 {
		if c.opaque.Load() {
			return c.receive(p)
		}
		if b := c.broken.Load(); b != nil {
			return 0, c.refuse(b)
		}
		if !c.detected {
			if err := c.detect(); err != nil {
				return 0, err
			}
			continue
		}
		n, err := c.receive(p)
		if n == 0 {
			return 0, err
		}
		return c.check(p[:n])
	}
	return 0, nil
}

// receive reads what was left ahead, or from the client.
func (c *Conn) receive(p []byte) (int, error) {
	if len(c.ahead) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.ahead)
	if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
		c.ahead = nil
	}
	return n, nil
}

// check scans received, and puts back what follows the current message.
func (c *Conn) check(received []byte) (int, error) {
	first, inHead, heads := c.scan.state == atStart, c.scan.state < inBody && !c.scan.trailer, c.scan.heads
	n, v := c.scan.advance(received)
	if c.scan.heads != heads {
		c.responded.Store(false)
	}
	if v != none {
		b := &breach{refusal: v.refusal(), body: !first && !inHead}
		c.broken.Store(b)
		if first && len(received) == 1 {
			// net/http reads one byte ahead while a handler works. An error now would cancel that good request; one bad byte
			// is no request, and the next read refuses.
			return 1, nil
		}
		return 0, c.refuse(b)
	}
	if n < len(received) {
		c.putBack(received[n:])
	}
	return n, nil
}

// putBack stores what was received beyond the current message before what is still ahead.
func (c *Conn) putBack(rest []byte) {
	ahead := make([]byte, 0, max(len(rest)+len(c.ahead), maxKeptAhead))
	c.ahead = append(append(ahead, rest...), c.ahead...)
}

// refuse ends the connection for b.
func (c *Conn) refuse(b *breach) error {
	if !c.reported && c.config.OnRefuse != nil {
		c.config.OnRefuse(c.Conn, b.refusal)
	}
	c.reported = true
	if !b.body {
		c.answer(b)
	}
	if c.answered.Load() && !c.lingered {
		c.lingered = true
		c.linger()
	}
	return &net.OpError{Op: "read", Net: "tcp", Source: c.Conn.LocalAddr(), Addr: c.Conn.RemoteAddr(), Err: b.refusal}
}

const (
	// lingerTime and lingerBytes bound the reading of what a refused client still sends: closing on unread bytes resets the
	// connection, and the client loses the response (RFC 9112 §9.6). net/http waits as long.
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 64 << 10
)

func (c *Conn) linger() {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	if c.Conn.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	var scrap [1 << 10]byte
	for read := 0; read < lingerBytes; {
		n, err := c.Conn.Read(scrap[:])
		if err != nil {
			return
		}
		read += n
	}
}
