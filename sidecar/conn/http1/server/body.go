package server

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posterndev/postern/sidecar/conn/pace"
)

// maxRest is how much of a body that the handler has not read is read so that the connection can be kept, in bytes; net/http has the
// same bound.
const maxRest = 256 << 10

// body is the body of the current request. The handler and the goroutine that sends the body to the app may use it at the same time.
type body struct {
	conn    *conn
	request *http.Request
	// none says that the request has no body. eof is true from the end of the body on, and then too.
	none, eof bool
	// expect says that the client waits for 100 Continue, interrupted that finish has ended a read.
	expect, interrupted atomic.Bool

	mu sync.Mutex
	// started says that the handler has read from the body, closed that it will read no more, and finished that it has returned.
	started, closed, finished bool
	err                       error
	// trailer is the part of the trailer that has been read.
	trailer []byte
	pace    pace.Pace
}

// newBody returns the body of r. It is never reused: what sends it to the app may read it after the handler has returned.
func newBody(c *conn, r *http.Request) *body {
	b := &body{conn: c, request: r}
	b.expect.Store(c.scan.seen[expectField] && r.ProtoMinor == 1 && r.Header.Get("Expect") != "")
	if c.server.config.MinRate != nil {
		b.pace = pace.New(c.server.config.MinRate(), c.server.config.Times.Window)
	}
	return b
}

// Read reads from the body.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.finished {
		return 0, http.ErrBodyReadAfterClose
	}
	b.started = true
	if b.expect.Swap(false) && !b.eof {
		if err := b.conn.slot.response.writeContinue(); err != nil {
			return 0, err
		}
	}
	n, err := b.read(p, b.receive)
	switch {
	case err == io.EOF:
		b.conn.wait()
	case n == 0 && b.interrupted.Load():
		err = http.ErrBodyReadAfterClose
	}
	return n, err
}

// Arrived reports whether the rest of a body of a known length is in the buffer, so that Read does not wait for the client (package
// reqbody).
func (b *body) Arrived() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.conn
	return b.eof || b.err == nil && c.scan.state == inBody && uint64(c.w-c.r) >= c.scan.left
}

// Close ends the handler's reading. What is left is read before the response, or after it.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// finish ends all reading, after the handler. A goroutine that still waits for the client, to send the body to the app, is interrupted: the
// end of the response must not wait for a client that sends slowly. The connection is closed then.
func (b *body) finish() {
	if !b.mu.TryLock() {
		c := b.conn
		c.last.Store(true)
		b.interrupted.Store(true)
		_ = c.net.SetReadDeadline(past) // on an error the connection is closed, and the read ends by itself
		b.mu.Lock()
		_ = c.net.SetReadDeadline(noDeadline)
	}
	defer b.mu.Unlock()
	b.finished = true
}

// read reads from the body; receive reads from the client, into p or, if that is nil, into the buffer.
func (b *body) read(p []byte, receive func(p []byte) (int, error)) (int, error) {
	c := b.conn
	for s := &c.scan; !b.eof && b.err == nil; {
		data := s.state == inBody || s.state == inChunkData
		if data && len(p) == 0 {
			return 0, nil
		}
		if c.r == c.w {
			var into []byte
			if data && len(p) >= bufferSize {
				into = p[:min(uint64(len(p)), s.left)]
			}
			n, err := receive(into)
			if err != nil {
				b.err = unexpected(err)
				break
			}
			if into == nil {
				continue
			}
			return b.took(into[:n])
		}
		if data {
			n := copy(p[:min(uint64(len(p)), s.left)], c.buf[c.r:c.w])
			c.r += n
			return b.took(p[:n])
		}
		b.step()
	}
	if b.eof {
		return 0, io.EOF
	}
	return 0, b.err
}

// took counts data, and returns the end of a body of a known length together with its last bytes.
func (b *body) took(data []byte) (int, error) {
	s, next := &b.conn.scan, atStart
	if s.state == inChunkData {
		next = chunkDataCR
	}
	if s.data(data, next); s.state == atStart {
		b.eof = true
		return len(data), io.EOF
	}
	return len(data), nil
}

// step reads bytes of the coding of chunks, or of the trailer.
func (b *body) step() {
	c := b.conn
	s, trailer := &c.scan, c.scan.trailer
	n, v := s.step(c.buf[c.r:c.w])
	if v != none {
		b.err = c.refusedBody(v.refusal())
		return
	}
	if trailer {
		b.trailer = append(b.trailer, c.buf[c.r:c.r+n]...)
	}
	c.r += n
	if s.state == atStart {
		b.eof = true
		b.setTrailer()
	}
}

// setTrailer sets the request's trailer.
func (b *body) setTrailer() {
	if len(b.conn.slot.marks.fields) == 0 {
		return
	}
	if b.request.Trailer == nil {
		b.request.Trailer = http.Header{}
	}
	text := string(b.trailer)
	for _, m := range b.conn.slot.marks.fields {
		b.request.Trailer.Add(text[m.name:m.nameEnd], trim(text[m.value:m.valueEnd]))
	}
}

// receive reads from the client as long as the stall time and the pace allow.
func (b *body) receive(p []byte) (n int, err error) {
	c := b.conn
	c.readAlarm.set(&c.server.sweeper, b.pace.Wait(c.server.config.Times.Stall))
	begin := time.Now()
	n, err = b.raw(p)
	c.readAlarm.clear(c, c.net.SetReadDeadline)
	b.pace.Spend(time.Since(begin), n)
	if err != nil && !isTimeout(err) {
		c.current.Load().end() // the client is gone
	}
	if onSlow := c.server.config.OnSlow; onSlow != nil && errors.Is(err, os.ErrDeadlineExceeded) && !b.interrupted.Load() {
		onSlow()
	}
	return n, err
}

// raw reads from the client, into p or into the buffer.
func (b *body) raw(p []byte) (int, error) {
	c := b.conn
	if p == nil {
		before := c.w - c.r
		err := c.fill()
		return c.w - c.r - before, err
	}
	if c.readErr != nil {
		return 0, c.readErr
	}
	n, err := c.net.Read(p)
	if n > 0 {
		err = nil
	}
	return n, err
}

// unexpected returns the error of a body that ends too early.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// discard reads the rest of the body, up to maxRest bytes, and reports whether it has ended.
func (b *body) discard(receive func(p []byte) (int, error)) bool {
	if b.conn.scan.state == inBody && b.conn.scan.left > maxRest {
		return false
	}
	scrap := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(scrap)
	for read := 0; read <= maxRest; {
		n, err := b.read(scrap[:bufferSize-1], receive) // not into scrap directly, so that the buffer is used
		if read += n; err != nil {
			return errors.Is(err, io.EOF)
		}
	}
	return false
}

// settle is called before the final header. If nothing has read the body, the response is a refusal: the body has a short time to arrive.
// If it does not, the response says that the connection will be closed, and is sent at once.
func (b *body) settle() {
	if !b.mu.TryLock() {
		return // another goroutine reads it
	}
	defer b.mu.Unlock()
	c := b.conn
	if b.eof || b.started {
		return
	}
	b.started, b.closed = true, true
	if b.expect.Load() || c.scan.state == inBody && c.scan.left > maxRest {
		c.last.Store(true)
		return
	}
	_ = c.net.SetReadDeadline(time.Now().Add(c.server.config.Times.Rest)) // on an error the connection is closed
	if !b.discard(b.raw) {
		c.last.Store(true)
	}
	_ = c.net.SetReadDeadline(noDeadline)
	b.rest()
}

// rest lets the connection be watched from the end of the body on.
func (b *body) rest() {
	if b.eof && !b.finished {
		b.conn.wait()
	}
}

// drain is called when the head of the response is about to be sent. What is left of a body that the handler began to read is read after
// the response: another goroutine may still send it to the app, which may respond while it reads. A client that has not been asked for its body
// is told that the connection will be closed.
func (b *body) drain() {
	if !b.mu.TryLock() {
		return // another goroutine reads it
	}
	defer b.mu.Unlock()
	if !b.eof && (b.err != nil || b.expect.Load()) {
		b.conn.last.Store(true)
	}
}

// finishBody reads the rest of the body after the response, and reports whether another request may follow.
func (c *conn) finishBody() bool {
	b := c.body
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.eof || c.last.Load() || b.err != nil || b.expect.Load() {
		return b.eof && !c.last.Load()
	}
	_ = c.net.SetReadDeadline(time.Now().Add(c.server.config.Times.Unread)) // on an error the connection is closed
	ended := b.discard(b.raw)
	_ = c.net.SetReadDeadline(noDeadline)
	return ended
}
