package server

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posterndev/postern/sidecar/conn/nonblock"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// The states of a connection. Shutdown closes those that are new or idle.
const (
	stateNew int32 = iota // no byte of a request yet
	stateIdle
	stateActive
	stateClosed // by Shutdown, or hijacked
)

// conn is one connection. Its fields belong to its goroutine, in which the handler runs, unless they say otherwise.
type conn struct {
	server *Server
	net    net.Conn
	tls    *tls.ConnectionState // nil for none
	place  Place                // nil for none
	remote string
	opened time.Time
	state  atomic.Int32

	// buf[r:w] was read from the client and is not yet used. While a body is read, they belong to its reader.
	buf  []byte
	r, w int
	scan scanner
	// readErr is an error that the watch has read.
	readErr error

	current atomic.Pointer[requestContext]
	slot    *slot // nil after rest
	body    *body

	// parked says that the connection was idle for long: it continues in park. grown says that the stack of its goroutine is large.
	parked, grown bool
	// last says that no request follows, and lingers that the client may still send when the connection is closed.
	last     atomic.Bool
	lingers  bool
	unwanted bool // it is a body that nobody wants
	resets   bool // closing the connection resets it
	hijacked bool
	reported atomic.Bool
	// broken is the refusal of the current request's body.
	broken atomic.Pointer[httperr.Error]

	readAlarm, writeAlarm alarm
	// waiting is since when the handler has run while nothing reads from the client, by the sweeper's clock; 0 if something may read.
	waiting atomic.Int64

	// mu is held while a deadline is set for a late operation, and protects the rest.
	mu        sync.Mutex
	stopping  bool
	unwatched chan struct{}
}

var noDeadline time.Time

func newConn(s *Server, inner net.Conn) *conn {
	c := &conn{server: s, net: inner, remote: inner.RemoteAddr().String(), opened: time.Now(), body: &body{eof: true}}
	c.tls = sessionOf(inner)
	if s.config.PlaceOf != nil {
		c.place = s.config.PlaceOf(inner)
	}
	c.scan = scanner{limits: s.config.Limits}
	return c
}

// sessionOf looks through wrappers for the state of a TLS connection; nil for none.
func sessionOf(conn net.Conn) *tls.ConnectionState {
	for {
		switch c := conn.(type) {
		case interface{ ConnectionState() tls.ConnectionState }:
			state := c.ConnectionState()
			return &state
		case interface{ Above() net.Conn }:
			conn = c.Above()
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// serve serves the requests of the connection in order, and closes it.
func (c *conn) serve() {
	c.readAlarm.set(&c.server.sweeper, c.server.config.Times.Head)
	_ = nonblock.Await(c.net) // the read that follows returns an error again
	if c.mayBeSecond() {
		second, err := c.detect()
		if err != nil {
			c.close()
			return
		}
		if second {
			c.readAlarm.clear(c, c.net.SetReadDeadline)
			c.passOn()
			return
		}
	}
	c.serveRequests()
}

// serveRequests serves requests until the connection ends, or is idle for long.
func (c *conn) serveRequests() {
	for c.readHead() && c.exchange() {
	}
	switch {
	case c.hijacked:
	case c.parked:
		go c.park()
	default:
		c.close()
	}
}

// close closes the connection, and does not keep Shutdown waiting for a client that still sends.
func (c *conn) close() {
	c.server.remove(c)
	c.release()
	if c.lingers {
		c.linger()
	}
	if c.resets {
		c.reset()
	}
	_ = c.net.Close()
}

// reset makes closing the connection reset it. Below TLS the socket is closed first: an alert close_notify would end the response as if it were complete
// (RFC 8446 §6.1).
func (c *conn) reset() {
	if socket, ok := c.net.(interface{ SetLinger(int) error }); ok {
		_ = socket.SetLinger(0) // on an error the client gets a FIN
	}
	if above, ok := c.net.(interface{ TCP() *net.TCPConn }); ok {
		_ = above.TCP().Close()
	}
}

// readHead reads the next head. It returns false at the end of the connection, and after a refusal.
func (c *conn) readHead() bool {
	if !c.awaitHead() {
		return false
	}
	c.takeSlot()
	defer c.readAlarm.clear(c, c.net.SetReadDeadline)
	for scanned := 0; ; {
		n, done, v := c.scan.readHead(c.buf[c.r+scanned : c.w])
		if scanned += n; v != none {
			c.refuseHead(v.refusal())
			return false
		}
		if done {
			return true
		}
		if c.fill() != nil {
			return false
		}
	}
}

// awaitHead waits for the first byte of a head.
func (c *conn) awaitHead() bool {
	times, fresh := &c.server.config.Times, c.state.Load() == stateNew
	if c.r == c.w {
		if !fresh {
			c.state.Store(stateIdle)
			if c.large() {
				c.rest()
			}
			c.readAlarm.set(&c.server.sweeper, min(times.Park, times.Idle))
		}
		if err := c.fill(); err != nil {
			c.parked = !fresh && errors.Is(err, os.ErrDeadlineExceeded) && times.Park < times.Idle
			return false
		}
	}
	for {
		state := c.state.Load()
		if state == stateClosed {
			return false
		}
		if c.state.CompareAndSwap(state, stateActive) {
			break
		}
	}
	c.readAlarm.clear(c, c.net.SetReadDeadline)
	c.readAlarm.set(&c.server.sweeper, times.Head)
	return true
}

// readHead reads b up to the end of the head. done says that it has ended.
func (s *scanner) readHead(b []byte) (n int, done bool, v violation) {
	for heads := s.heads; n < len(b); {
		read, v := s.step(b[n:])
		if v != none {
			return n, false, v
		}
		if n += read; s.heads != heads {
			return n, true, none
		}
	}
	return n, false, none
}

// exchange serves the request whose head is in the buffer. It returns false if no request follows.
func (c *conn) exchange() bool {
	if v := c.ahead(); v != none {
		c.refuseHead(v.refusal())
		return false
	}
	ctx := &requestContext{conn: c}
	r, err := c.nextRequest(ctx)
	if err != nil {
		c.refuseHead(badTarget.refusal())
		return false
	}
	if !c.grown {
		c.grown = true
		growStack()
	}
	c.current.Store(ctx)
	c.broken.Store(nil)
	w := c.nextResponse(r)
	if c.place != nil {
		c.place.Begin()
	}
	if c.body.eof {
		c.wait()
	}
	completed := c.handle(w, r)
	if c.hijacked {
		c.leave(ctx, completed)
		return false
	}
	if c.place != nil {
		c.place.End()
	}
	c.body.finish()
	c.unwait()
	again := completed && w.finish() && c.finishBody()
	ctx.end()
	if c.broken.Load() != nil && !w.begun {
		w.refuse(c.broken.Load())
	}
	if !again {
		c.endAfter(w, completed)
		return false
	}
	c.endRequest(w)
	if c.place != nil {
		c.place.Unused()
	}
	return true
}

// endAfter decides how the connection ends after w, its last response. If the client may still send, closing the connection at once could reset
// it, and the client would lose the response (RFC 9112 §9.6). A response that was cut short, and whose only end is that of the connection, is
// reset, so that it does not seem complete.
func (c *conn) endAfter(w *response, completed bool) {
	switch {
	case c.lingers || !w.begun || w.err != nil:
	case !completed && w.hasBody() && w.length < 0 && !w.chunked:
		c.resets = true
	case completed || !c.body.eof:
		c.lingers, c.unwanted = true, !c.body.eof
	}
}

// ahead checks what has arrived of the body, so that no handler sees a request that is known to be malformed.
func (c *conn) ahead() violation {
	if c.scan.state == atStart || c.r+c.scan.size == c.w {
		return none
	}
	scan := c.scan
	scan.marks = nil
	_, v := scan.advance(c.buf[c.r+c.scan.size : c.w])
	return v
}

// handle calls the handler, and reports whether it has returned.
func (c *conn) handle(w http.ResponseWriter, r *http.Request) (completed bool) {
	defer c.recovered()
	c.server.config.Handler.ServeHTTP(w, r)
	return true
}

// recovered ends the panic of a handler. It is for defer statements.
func (c *conn) recovered() {
	// Panic(nil) is a *runtime.PanicNilError.
	if p := recover(); p != nil && p != http.ErrAbortHandler && c.server.config.Logger != nil {
		c.server.config.Logger.Debug("handler panicked", "peer", c.remote, "panic", p, "stack", string(debug.Stack()))
	}
}

// fill reads more into the buffer, which grows if it is full of one head.
func (c *conn) fill() error {
	if c.readErr != nil {
		return c.readErr
	}
	c.room()
	n, err := c.net.Read(c.buf[c.w:])
	if c.w += n; n > 0 {
		return nil
	}
	if err == nil {
		err = errNothing
	}
	return err
}

var errNothing = errors.New("reading from the client: no bytes and no error")

// bufferSize is the size of the buffers of a connection, in bytes.
const bufferSize = 4 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// room makes room in the buffer. It grows only if it is full of a head that has not ended, and only as far as the largest head needs: a client that sends
// all of such a head but its end holds no more.
func (c *conn) room() {
	switch {
	case c.buf == nil:
		c.buf = buffers.Get().(*[bufferSize]byte)[:]
	case c.r == c.w:
		c.r, c.w = 0, 0
	case c.w < len(c.buf):
	case c.r > 0:
		c.r, c.w = 0, copy(c.buf, c.buf[c.r:c.w])
	default:
		grown := make([]byte, min(2*len(c.buf), c.server.config.Limits.HeadBytes+bufferSize))
		copy(grown, c.buf)
		c.recycle()
		c.buf = grown
	}
}

// recycle gives the buffer back, unless it has grown.
func (c *conn) recycle() {
	if len(c.buf) == bufferSize && !c.server.config.Poison {
		buffers.Put((*[bufferSize]byte)(c.buf))
	}
	c.buf = nil
}

// release gives back the buffers.
func (c *conn) release() {
	c.recycle()
	c.r, c.w = 0, 0
	if c.slot != nil && c.slot.response.conn != nil {
		c.slot.response.release()
	}
}
