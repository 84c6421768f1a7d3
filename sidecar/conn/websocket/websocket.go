// Package websocket ends upgraded connections as RFC 6455 §7.1 wants it: with a close frame to each end, between two
// frames. Until then it passes the bytes on unchanged, and follows only where frames end.
package websocket

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posterndev/postern/sidecar/conn/nonblock"
)

// goingAway is a close frame with the status 1001, "going away" (RFC 6455 §7.4.1).
var goingAway = [...]byte{0x88, 0x02, 0x03, 0xe9}

// maskedGoingAway is the same from a client. The mask is for caches between a browser and a server (RFC 6455 §10.3);
// between the sidecar and its app there is none, so it need not be random.
var maskedGoingAway = [...]byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9}

// lingerTime is how long a client may still send after the app's end: its close frame, which the app may wait for.
const lingerTime = 2 * time.Second

// Conn is the client's side of an upgraded connection. What is read goes to the app, and what is written comes from
// it. One goroutine reads and one writes.
type Conn struct {
	net.Conn
	onClose func()

	leaving atomic.Bool
	// deadline is when GoAway stops waiting; it is set before leaving.
	deadline time.Time
	// appClosed is closed when the app has sent its close frame.
	appClosed chan struct{}
	appOnce   sync.Once

	// writing protects the direction to the client.
	writing sync.Mutex
	down    scanner
	// said says that the client has got a close frame, so it gets no more frames.
	said bool

	// Used only by the reader:
	up scanner
	// asked says that the app was sent a close frame of this package. pending is what is left of it.
	asked   bool
	pending []byte
}

// New returns conn, before the head of the response that accepts the upgrade is written to it. onClose is called once when it is closed.
func New(conn net.Conn, onClose func()) *Conn {
	return &Conn{Conn: conn, onClose: sync.OnceFunc(onClose), appClosed: make(chan struct{}), down: scanner{heading: true}}
}

// Close closes the connection immediately.
func (c *Conn) Close() error {
	defer c.onClose()
	return c.Conn.Close()
}

// CloseWrite passes on the app's end. What the client sends within lingerTime still reaches the app. Then reading ends, so that a
// client that ignores the end does not keep its connection.
func (c *Conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return c.Close()
	}
	if err := half.CloseWrite(); err != nil {
		return err
	}
	if c.leaving.Load() {
		return nil // GoAway has set a deadline
	}
	return c.Conn.SetReadDeadline(time.Now().Add(lingerTime))
}

// Write sends what the app sent. After a close frame the rest is dropped.
func (c *Conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if !c.leaving.Load() {
		c.scanDown(p)
		return c.Conn.Write(p)
	}
	if c.said {
		c.scanDown(p)
		return len(p), nil
	}
	n := 0
	if !c.down.between() {
		n = c.down.frame(p)
	}
	if n > 0 {
		if sent, err := c.Conn.Write(p[:n]); err != nil {
			return sent, err
		}
	}
	if err := c.sayLocked(); err != nil {
		return n, err
	}
	c.scanDown(p[n:])
	return len(p), nil
}

// scanDown follows what the app sends, and notices its close frame.
func (c *Conn) scanDown(p []byte) {
	if c.down.all(p); c.down.closed {
		c.appOnce.Do(func() { close(c.appClosed) })
	}
}

// sayLocked sends the client a close frame if no other frame is incomplete, and if the app has not sent one.
func (c *Conn) sayLocked() error {
	if c.said || c.down.closed || !c.down.between() {
		return nil
	}
	c.said = true
	_, err := c.Conn.Write(goingAway[:])
	return err
}

// GoAway sends both ends a close frame with the status 1001, each after the frame that is on its way. The connection
// ends when both have responded, and at the latest after grace.
func (c *Conn) GoAway(grace time.Duration) {
	c.deadline = time.Now().Add(grace)
	c.leaving.Store(true)
	// Read wakes up, and a write to a client that reads nothing ends.
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // on an error the connection is closed already
	_ = c.Conn.SetWriteDeadline(c.deadline)
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.sayLocked()
}

// Read returns what the client sent, and after GoAway a close frame in its place.
func (c *Conn) Read(p []byte) (int, error) {
	for len(p) > 0 {
		if n := copy(p, c.pending); n > 0 {
			c.pending = c.pending[n:]
			return n, nil
		}
		if c.asked {
			return 0, c.finish(p)
		}
		if c.leaving.Load() && c.up.between() {
			c.ask()
			continue
		}
		n, err := c.Conn.Read(p)
		if n > 0 {
			return c.pass(p[:n], err)
		}
		if !c.leaving.Load() || !errors.Is(err, os.ErrDeadlineExceeded) || !time.Now().Before(c.deadline) {
			return 0, err
		}
		_ = c.Conn.SetReadDeadline(c.deadline) // the rest of the frame may still arrive
	}
	return 0, nil
}

// Await waits until Read has something to do, as nonblock.Await.
func (c *Conn) Await() error {
	if len(c.pending) > 0 || c.asked || c.leaving.Load() {
		return nil
	}
	return nonblock.Await(c.Conn)
}

// pass follows what the client sent. After GoAway nothing passes behind the current frame.
func (c *Conn) pass(p []byte, err error) (int, error) {
	if !c.leaving.Load() {
		c.up.all(p)
		return len(p), err
	}
	if c.up.between() { // GoAway was called during the read
		if c.up.all(p); c.up.closed {
			return len(p), err // the client leaves by itself
		}
		c.ask()
		return c.Read(p)
	}
	n := c.up.frame(p)
	c.up.all(p[n:])
	return n, nil
}

// ask sends the app a close frame, unless the client has sent one.
func (c *Conn) ask() {
	c.asked = true
	if !c.up.closed {
		c.pending = maskedGoingAway[:]
	}
}

// finish waits until both ends have sent their close frames, or until the grace is over, and returns the error of the
// last read. It uses scrap to read.
func (c *Conn) finish(scrap []byte) error {
	_ = c.Conn.SetReadDeadline(c.deadline)
	for !c.up.closed {
		n, err := c.Conn.Read(scrap)
		c.up.all(scrap[:n])
		if err != nil {
			break // the client is gone or silent; the app gets its time all the same
		}
	}
	timer := time.NewTimer(time.Until(c.deadline))
	defer timer.Stop()
	select {
	case <-c.appClosed:
	case <-timer.C:
	}
	return io.EOF
}
