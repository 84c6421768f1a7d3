package differential

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A network connects the parts of a world. Its connections behave as those of TCP on one machine, but a write arrives at once and whole, and
// they live in the bubble of testing/synctest: the clock moves only when every goroutine waits, so no result depends on the load of the
// machine.
type network struct {
	mu        sync.Mutex
	listeners map[string]*listener
	next      uint16
	// quiet and loud are sockets: nothing has arrived at quiet, and the peer of loud has ended.
	quiet, loud int
}

func newNetwork(tb testing.TB) *network {
	tb.Helper()
	n := &network{listeners: map[string]*listener{}, next: 1000}
	var open []int
	for _, to := range []*int{&n.quiet, &n.loud} {
		pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		if err != nil {
			tb.Fatal(err)
		}
		*to, open = pair[0], append(open, pair[:]...)
	}
	if err := syscall.Shutdown(open[3], syscall.SHUT_WR); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		for _, fd := range open {
			_ = syscall.Close(fd)
		}
	})
	return n
}

// address returns one that nothing has had.
func (n *network) address() *net.TCPAddr {
	n.next++
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(n.next)}
}

func (n *network) listen() *listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &listener{addr: n.address(), conns: make(chan net.Conn, 100), done: make(chan struct{})}
	n.listeners[l.addr.String()] = l
	return l
}

// dial is net.Dialer.DialContext.
func (n *network) dial(_ context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[address]
	local := n.address()
	n.mu.Unlock()
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	here, there := newStream(), newStream()
	there.window = l.window
	if !l.pass(&conn{network: n, in: there, out: here, local: l.addr, remote: local}) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	return &conn{network: n, in: here, out: there, local: local, remote: l.addr}, nil
}

// listener is a net.Listener.
type listener struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	// window returns how many bytes may be on the way to what was accepted; nil is any number.
	window func() int
}

// pass lets Accept return conn.
func (l *listener) pass(conn net.Conn) bool {
	select {
	case l.conns <- conn:
		return true
	case <-l.done:
		return false
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }

// stream is one direction of a connection.
type stream struct {
	mu      sync.Mutex
	changed *sync.Cond
	data    []byte
	// ended says that the writer has closed its half, broken that it has reset the connection, and left that the reader has closed it.
	ended, broken, left bool
	window              func() int
	// reading and writing are the deadlines.
	reading, writing deadline
}

// deadline is until when an operation may wait.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func newStream() *stream {
	s := &stream{}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// setDeadline sets one of the deadlines of s.
func (s *stream) setDeadline(d *deadline, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.at = t; !t.IsZero() && !d.passed() {
		d.timer = time.AfterFunc(time.Until(t), s.changed.Broadcast)
	}
	s.changed.Broadcast()
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.left:
			return 0, net.ErrClosed
		case s.reading.passed():
			return 0, os.ErrDeadlineExceeded
		case len(s.data) > 0:
			n := copy(p, s.data)
			s.data = s.data[n:]
			s.changed.Broadcast()
			return n, nil
		case s.broken:
			return 0, os.NewSyscallError("read", syscall.ECONNRESET)
		case s.ended:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

var errReset = errors.New("the reader has closed the connection")

// write writes p, with the end of the stream if last is set. errReset says that the peer has closed the connection and responds with a reset.
func (s *stream) write(p []byte, last bool) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.changed.Broadcast()
	for {
		switch {
		case s.broken:
			return n, net.ErrClosed
		case s.ended:
			return n, os.NewSyscallError("write", syscall.EPIPE)
		case s.writing.passed():
			return n, os.ErrDeadlineExceeded
		case s.left:
			return len(p), errReset
		}
		room := len(p) - n
		if s.window != nil {
			room = min(room, max(0, s.window()-len(s.data)))
		}
		s.data = append(s.data, p[n:n+room]...)
		if n += room; n == len(p) {
			s.ended = last
			return n, nil
		}
		s.changed.Broadcast()
		s.changed.Wait()
	}
}

// end ends the stream for its reader. After an end, a reset is not seen.
func (s *stream) end(reset bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.broken = true, s.broken || reset && !s.ended
	s.changed.Broadcast()
}

// leave ends the stream for its writer, and reports whether bytes were left unread.
func (s *stream) leave() (unread bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	unread = len(s.data) > 0
	s.left, s.data = true, nil
	s.changed.Broadcast()
	return unread
}

// conn is one end of a connection.
type conn struct {
	network       *network
	in, out       *stream
	local, remote net.Addr
	mu            sync.Mutex
	// resets says that Close resets the connection, failed that a write has reported the reset of the peer.
	resets, failed, closed bool
}

func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.in.read(p)
	return n, c.error("read", err)
}

func (c *conn) Write(p []byte) (int, error) { return c.send(p, false) }

// send writes p. If last is set, the end of the stream arrives together with its last byte.
func (c *conn) send(p []byte, last bool) (int, error) {
	c.mu.Lock()
	closed, failed := c.closed, c.failed
	c.mu.Unlock()
	switch {
	case closed:
		return 0, c.error("write", net.ErrClosed)
	case failed:
		return 0, c.error("write", os.NewSyscallError("write", syscall.EPIPE))
	}
	if c.in.isBroken() {
		c.fail()
		return 0, c.error("write", os.NewSyscallError("write", syscall.ECONNRESET))
	}
	n, err := c.out.write(p, last)
	if errors.Is(err, errReset) { // the kernel takes the bytes; the next write gets what the peer responds
		c.fail()
		return len(p), nil
	}
	return n, c.error("write", err)
}

func (c *conn) fail() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = true
}

func (s *stream) isBroken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// error returns err as package net does.
func (c *conn) error(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

// Close closes the connection. As in TCP, the peer gets a reset if not all was read that had arrived.
func (c *conn) Close() error {
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	resets := c.resets
	c.mu.Unlock()
	if closed {
		return c.error("close", net.ErrClosed)
	}
	unread := c.in.leave()
	c.out.end(resets || unread)
	return nil
}

// CloseWrite closes the sending half.
func (c *conn) CloseWrite() error {
	c.out.end(false)
	return nil
}

// SetLinger lets Close reset the connection, for 0.
func (c *conn) SetLinger(seconds int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resets = seconds == 0
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.reading, t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(&c.out.writing, t)
	return nil
}

// SyscallConn lets a caller look at a socket on which something has arrived if something has arrived here.
func (c *conn) SyscallConn() (syscall.RawConn, error) { return rawConn{c}, nil }

type rawConn struct{ *conn }

func (r rawConn) Control(f func(fd uintptr)) error {
	return r.Read(func(fd uintptr) bool { f(fd); return true })
}

func (r rawConn) Read(f func(fd uintptr) bool) error {
	s := r.in
	s.mu.Lock()
	arrived := len(s.data) > 0 || s.ended || s.broken
	s.mu.Unlock()
	if arrived {
		f(uintptr(r.network.loud))
	} else {
		f(uintptr(r.network.quiet))
	}
	return nil
}

func (r rawConn) Write(f func(fd uintptr) bool) error { return syscall.ENOTSUP }
