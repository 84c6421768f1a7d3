// Package framing is the byte scanner that stood between the connection and net/http's server before the sidecar had an HTTP/1.1 engine of
// its own. It is kept unchanged, except that it knows no HTTP/2, as the reference of test/differential.
package framing

import (
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// Limits bounds a request's head, and separately its trailer.
type Limits struct {
	// HeadBytes is the maximum size of a head with the request line, in bytes; 0 is 64 KiB.
	HeadBytes int
	// Fields is the maximum number of header fields; 0 is 128.
	Fields int
}

// Config configures the inspection of connections.
type Config struct {
	Limits Limits
	// OnRefuse is called for each refusal, once per connection; it may be nil.
	OnRefuse func(conn net.Conn, refusal *httperr.Error)
	// Respond writes the response to a request whose head is refused. r has only what could be read of it: the method, the path, and
	// the fields Origin and Accept. If Respond is nil, or writes no error, the response is a plain problem document.
	Respond func(w http.ResponseWriter, r *http.Request, refusal *httperr.Error)
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

// Conn is the server's side of an inspected HTTP/1.x connection. It is made for http.Server and relies on its
// behavior: before the response to a request is written, at most one byte of the next request is read.
type Conn struct {
	net.Conn
	config *Config
	// Used only by the reader:
	scan     scanner
	ahead    []byte // read from the client, not yet scanned
	head     []byte // the start of a head of which a part has passed; nil for none
	reported bool

	opaque atomic.Bool
	broken atomic.Pointer[breach]
	// responded says that the final response to the current request has begun, refusalSent that this response is a
	// refusal of this package.
	responded, refusalSent atomic.Bool
	// unfinished says that a message has begun and not ended, lingered that the connection was already closed in the way of linger.
	unfinished, lingered atomic.Bool
}

// breach is a violation for which a connection is refused.
type breach struct {
	refusal *httperr.Error
	// body says that the request's head has already passed, so that a handler may be running.
	body bool
	// head is the start of the refused head, if body is false.
	head []byte
}

// maxKeptAhead bounds the buffer that an idle connection keeps, in bytes. net/http reads in pieces of this size.
const maxKeptAhead = 4 << 10

// wrap inspects conn.
func wrap(conn net.Conn, config *Config) *Conn {
	return &Conn{Conn: conn, config: config, scan: scanner{limits: config.Limits}}
}

// NetConn returns the inspected connection.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Opaque ends the inspection: what follows is not HTTP/1.x. A handler that has hijacked the connection calls it
// before the next read. Upgrades does so.
func (c *Conn) Opaque() {
	c.opaque.Store(true)
	c.broken.Store(nil)
}

// Read returns bytes of at most one message, which are well-formed so far. On a violation it sends the refusal, and
// returns a *net.OpError that wraps the *httperr.Error: for such errors net/http closes the connection without a
// response of its own.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if c.opaque.Load() {
		return c.receive(p)
	}
	if b := c.broken.Load(); b != nil {
		return 0, c.refuse(b)
	}
	n, err := c.receive(p)
	if n == 0 {
		return 0, err
	}
	return c.check(p[:n])
}

// receive reads the bytes that are left ahead, or from the client.
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
	c.unfinished.Store(c.scan.state != atStart)
	if v != none {
		b := &breach{refusal: v.refusal(), body: !first && !inHead}
		if !b.body {
			b.head = slices.Concat(c.head, received, c.ahead)
		}
		c.broken.Store(b)
		if first && len(received) == 1 {
			// net/http reads one byte ahead while a handler runs. An error now would cancel that valid request. One
			// invalid byte is not a request, and the next read refuses it.
			return 1, nil
		}
		return 0, c.refuse(b)
	}
	c.keepHead(received[:n])
	if n < len(received) {
		c.putBack(received[n:])
	}
	return n, nil
}

// putBack stores what was received beyond the current message in front of what is still ahead.
func (c *Conn) putBack(rest []byte) {
	ahead := make([]byte, 0, max(len(rest)+len(c.ahead), maxKeptAhead))
	c.ahead = append(append(ahead, rest...), c.ahead...)
}

// refuse ends the connection because of b.
func (c *Conn) refuse(b *breach) error {
	if !c.reported && c.config.OnRefuse != nil {
		c.config.OnRefuse(c.Conn, b.refusal)
	}
	c.reported = true
	if !b.body {
		c.sendRefusal(b)
	}
	if c.refusalSent.Load() && c.lingered.CompareAndSwap(false, true) {
		c.linger()
	}
	return &net.OpError{Op: "read", Net: "tcp", Source: c.Conn.LocalAddr(), Addr: c.Conn.RemoteAddr(), Err: b.refusal}
}

const (
	// lingerTime bounds how long a connection stays open on which the client still sends, and lingerBytes how much of that is read.
	// Closing with unread bytes resets the connection, and the client loses the response (RFC 9112 §9.6). net/http waits equally long.
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 64 << 10
)

func (c *Conn) linger() {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	end := time.Now().Add(lingerTime)
	if c.Conn.SetReadDeadline(end) != nil {
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
	time.Sleep(time.Until(end))
}
