package server

import (
	"bufio"
	"errors"
	"net"
	"net/http"

	"github.com/posterndev/postern/sidecar/conn/nonblock"
)

var errUnreadBody = errors.New("taking the connection over: the request's body was not read to its end")

// Hijack implements http.Hijacker: the handler has the connection from now on, and closes it.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.check()
	c := w.conn
	if c.hijacked {
		return nil, nil, http.ErrHijacked
	}
	if c.body.finish(); !c.body.eof {
		return nil, nil, errUnreadBody // what is left of it would be read as another protocol
	}
	if w.begun {
		if err := w.flush(); err != nil {
			return nil, nil, err
		}
	}
	c.unwait()
	c.state.Store(stateClosed)
	c.hijacked = true
	c.server.remove(c)
	above := &hijackedConn{Conn: c.net, ahead: append([]byte(nil), c.buf[c.r:c.w]...), err: c.readErr}
	if c.writeAlarm.at.Store(0); w.readDeadline || w.writeDeadline {
		w.resetDeadlines()
	}
	c.release()
	c.slot.marks = marks{}
	return above, bufio.NewReadWriter(bufio.NewReaderSize(above, hijackBuffer), bufio.NewWriterSize(above, hijackBuffer)), nil
}

// leave ends the request of a connection that a handler has taken over: now, or after what outlives the handlers. That runs in a goroutine of
// its own, with a small stack.
func (c *conn) leave(ctx *requestContext, completed bool) {
	if !ctx.upgrade.Outlives() {
		c.endTaken(ctx)
		return
	}
	if !completed {
		_ = c.net.Close() // a panic that was on its way ends the upgrade, too
	}
	go func() {
		defer c.endTaken(ctx)
		defer c.recovered()
		ctx.upgrade.Run()
	}()
}

func (c *conn) endTaken(ctx *requestContext) {
	if c.place != nil {
		c.place.End()
	}
	ctx.end()
}

// hijackBuffer is the size of the buffers of a connection that was taken over, in bytes: a handler needs them for a response's head, if at all.
const hijackBuffer = 512

// hijackedConn is a connection that no longer carries HTTP/1.x. What the client has sent ahead is read first.
type hijackedConn struct {
	net.Conn
	ahead []byte
	err   error
}

// NetConn returns the connection below.
func (c *hijackedConn) NetConn() net.Conn { return c.Conn }

// Read reads from the client.
func (c *hijackedConn) Read(p []byte) (int, error) {
	switch {
	case len(c.ahead) > 0:
		n := copy(p, c.ahead)
		if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
			c.ahead = nil
		}
		return n, nil
	case c.err != nil:
		return 0, c.err
	}
	return c.Conn.Read(p)
}

// Await waits until there is something to read, as nonblock.Await.
func (c *hijackedConn) Await() error {
	if len(c.ahead) > 0 || c.err != nil {
		return nil
	}
	return nonblock.Await(c.Conn)
}

// CloseWrite closes the sending half.
func (c *hijackedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}
