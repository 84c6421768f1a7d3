// Package nonblock reads and writes TCP sockets by system calls that Go's scheduler does not hear of. The package net announces each one, because it
// might block: then the scheduler may give the processor to another thread. A call on a socket that never blocks is short, but on a busy machine it
// is long enough for that, and each time costs two switches of threads. docs/design/0035 has the figures.
package nonblock

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// Conn is a TCP connection. Deadlines, Close and errors are those of net.TCPConn.
type Conn struct {
	*net.TCPConn
	raw     syscall.RawConn
	in, out transfer
	gather  gather
	look    struct {
		sync.Mutex
		call    func(fd uintptr)
		pending bool
	}
}

// transfer is the call in progress in one direction.
type transfer struct {
	sync.Mutex
	call  func(fd uintptr) (done bool)
	bytes []byte
	// now says that the call does not wait.
	now   bool
	n     int
	errno syscall.Errno
}

// New returns conn with its own way to read and write.
func New(conn *net.TCPConn) *Conn {
	raw, _ := conn.SyscallConn() // it only fails without a connection
	c := &Conn{TCPConn: conn, raw: raw}
	c.in.call, c.out.call, c.gather.call = c.in.receive, c.out.send, c.gather.send
	c.look.call = func(fd uintptr) { c.look.pending = peek(fd) }
	return c
}

// NetConn returns the connection as package net knows it.
func (c *Conn) NetConn() net.Conn { return c.TCPConn }

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	t := &c.in
	t.Lock()
	defer t.Unlock()
	return c.read(b)
}

// ReadNow reads what is there. If that is nothing, it returns 0 and no error.
func (c *Conn) ReadNow(b []byte) (int, error) {
	t := &c.in
	t.Lock()
	defer t.Unlock()
	t.now = true
	n, err := c.read(b)
	t.now = false
	return n, err
}

func (c *Conn) read(b []byte) (int, error) {
	t := &c.in
	if t.bytes, t.n, t.errno = b, 0, 0; len(b) == 0 {
		return 0, nil
	}
	err := c.raw.Read(t.call)
	t.bytes = nil
	switch {
	case t.now && t.errno == syscall.EAGAIN:
		return 0, nil
	case err != nil || t.errno != 0:
		return 0, c.failed("read", err, t.errno)
	case t.n == 0:
		return 0, io.EOF
	}
	return t.n, nil
}

// Await waits until there is something to read, or the end, without a buffer for it. What a read returns then says more.
func (c *Conn) Await() error {
	t := &c.in
	t.Lock()
	defer t.Unlock()
	t.bytes, t.n = nil, 0
	if err := c.raw.Read(t.call); err != nil {
		return c.failed("read", err, 0)
	}
	return nil
}

// awaiter is a connection with Await.
type awaiter interface{ Await() error }

// Await waits until there is something to read from conn, if conn knows: otherwise the error is errors.ErrUnsupported, at once. What is above
// TLS does not know, because the bytes of a record are not yet its own.
func Await(conn net.Conn) error {
	if a, ok := conn.(awaiter); ok {
		return a.Await()
	}
	return errors.ErrUnsupported
}

// receive is one attempt to read. Without room for bytes it only looks, and after a wait something is there.
func (t *transfer) receive(fd uintptr) bool {
	if t.bytes == nil {
		t.n++
		return t.n > 1 || peek(fd)
	}
	t.n, t.errno = receive(fd, t.bytes)
	return t.now || t.errno != syscall.EAGAIN
}

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (int, error) {
	t := &c.out
	t.Lock()
	defer t.Unlock()
	if t.bytes, t.n, t.errno = b, 0, 0; len(b) == 0 {
		return 0, nil
	}
	err := c.raw.Write(t.call)
	t.bytes = nil
	if err != nil || t.errno != 0 {
		return t.n, c.failed("write", err, t.errno)
	}
	return t.n, nil
}

// send writes until everything is written or the socket is full.
func (t *transfer) send(fd uintptr) bool {
	for t.n < len(t.bytes) {
		n, errno := send(fd, t.bytes[t.n:])
		if errno != 0 {
			t.errno = errno
			return errno != syscall.EAGAIN
		}
		t.n += n
	}
	t.errno = 0
	return true
}

// maxGathered is how many buffers one system call sends.
const maxGathered = 3

// gather is the call in progress that sends several buffers. Conn.out is held during it.
type gather struct {
	call    func(fd uintptr) (done bool)
	buffers net.Buffers
	n       int64
	errno   syscall.Errno
	message message
}

// WriteBuffers writes the buffers one after another, up to maxGathered of them by one system call. It changes the elements of buffers.
func (c *Conn) WriteBuffers(buffers net.Buffers) (int64, error) {
	c.out.Lock()
	defer c.out.Unlock()
	g := &c.gather
	g.buffers, g.n, g.errno = buffers, 0, 0
	err := c.raw.Write(g.call)
	g.buffers, g.message = nil, message{}
	if err != nil || g.errno != 0 {
		return g.n, c.failed("writev", err, g.errno)
	}
	return g.n, nil
}

// send writes until everything is written or the socket is full.
func (g *gather) send(fd uintptr) bool {
	for {
		for len(g.buffers) > 0 && len(g.buffers[0]) == 0 {
			g.buffers = g.buffers[1:]
		}
		if len(g.buffers) == 0 {
			g.errno = 0
			return true
		}
		n, errno := g.message.send(fd, g.buffers[:min(len(g.buffers), maxGathered)])
		if errno != 0 {
			g.errno = errno
			return errno != syscall.EAGAIN
		}
		for g.n += int64(n); n > 0; {
			taken := min(n, len(g.buffers[0]))
			if g.buffers[0], n = g.buffers[0][taken:], n-taken; n > 0 {
				g.buffers = g.buffers[1:]
			}
		}
	}
}

// WriteBuffers writes the buffers to conn, by one system call if conn can. What is above TLS cannot.
func WriteBuffers(conn net.Conn, buffers net.Buffers) (int64, error) {
	if c, ok := conn.(interface {
		WriteBuffers(net.Buffers) (int64, error)
	}); ok {
		return c.WriteBuffers(buffers)
	}
	return buffers.WriteTo(conn)
}

// failed returns the error that net.TCPConn would return. err is from waiting for the socket.
func (c *Conn) failed(op string, err error, errno syscall.Errno) error {
	out := &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
	var waiting *net.OpError
	switch {
	case err == nil:
		out.Err = os.NewSyscallError(op, errno)
	case errors.As(err, &waiting):
		out.Err = waiting.Err
	}
	return out
}

// Pending reports whether the peer has sent something that was not read, or has closed its end. It does not wait. An error counts as something.
func (c *Conn) Pending() bool {
	c.look.Lock()
	defer c.look.Unlock()
	return c.raw.Control(c.look.call) != nil || c.look.pending
}
