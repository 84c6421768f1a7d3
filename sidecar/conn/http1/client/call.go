package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/conn/http1/wire"
	"github.com/posterndev/postern/sidecar/conn/nonblock"
)

const (
	// maxHead bounds the head of a response, and of all informational responses before it, in bytes.
	maxHead = 128 << 10
	// maxInterim bounds the number of informational responses.
	maxInterim = 100
	// bufferSize is the size of the buffer for reading, in bytes. A connection has it only during a call.
	bufferSize = 16 << 10
)

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

var (
	errHead    = errors.New("reading the response: its head is too large")
	errInterim = errors.New("reading the response: too many informational responses")
	errEarly   = errors.New("reading the response: the connection was closed before the response was complete")
)

// call is the state of a connection during one request.
type call struct {
	client *Client
	conn   *conn
	in     *Request
	sender *sender
	// bound is the context that closes the connection when it ends; if it cannot be bound, stop undoes that.
	bound binder
	stop  func() bool

	buf  []byte
	r, w int
	// full says that the last read has filled the buffer.
	full bool
	// wrote says that a part of the request was sent, and read that a part of the response was received. spoiled says that the body could not be
	// read.
	wrote, read, spoiled bool

	mu sync.Mutex
	// begun says that the final head was read, so that its deadline is over.
	begun bool

	status, minor int
	fields        []wire.Field
	length, left  int64
	chunks        wire.Chunks
	early, done   bool
}

// Do sends r and returns the response as soon as its head was read. It sends r a second time, on a new connection, only if the first
// connection was a kept one that ended without a byte of a response, and nothing of r was sent or r is idempotent and has no body.
func (c *Client) Do(r *Request) (*Response, error) {
	if kept := c.take(r.Target); kept != nil {
		res, err := kept.do(c, r)
		if err == nil || !kept.call.mayRepeat(err) {
			return res, err
		}
	}
	epoch := c.currentEpoch()
	nc, err := c.cfg.Dial(r.In.Context(), "tcp", r.Target)
	if err != nil {
		return nil, err // as it is, for the caller to look at
	}
	return newConn(nc, r.Target, epoch).do(c, r)
}

func (x *call) mayRepeat(err error) bool {
	return x.in.In.Context().Err() == nil && !x.read && !x.spoiled && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, errSend) &&
		!errors.Is(err, errTarget) && !errors.Is(err, errHost) && (!x.wrote || x.in.replayable())
}

// do sends r on the connection, and reads the head of the response. On an error it closes the connection.
func (c *conn) do(client *Client, r *Request) (*Response, error) {
	x := &c.call
	fields := x.fields[:0]
	c.call = call{client: client, conn: c, in: r, fields: fields}
	x.buf = buffers.Get().(*[bufferSize]byte)[:]
	x.abortWith(r.In.Context())
	err := x.send()
	if err == nil {
		err = x.readHead()
	}
	if err != nil {
		if s := x.sender; s != nil {
			if cause := s.cause(); cause != nil {
				err = cause
			}
		}
		x.finish(false)
		return nil, err
	}
	return (*Response)(x), nil
}

// binder is a context that calls a function when it ends, like the server's.
type binder interface {
	Bind(f func()) bool
	Unbind() (prevented bool)
}

// abortWith closes the connection when ctx ends.
func (x *call) abortWith(ctx context.Context) {
	if b, ok := ctx.(binder); ok && b.Bind(x.conn.abort) {
		x.bound = b
	} else if ctx.Done() != nil {
		x.stop = context.AfterFunc(ctx, x.conn.abort)
	}
}

// unbind undoes abortWith, and reports whether it has prevented the end of the connection.
func (x *call) unbind() bool {
	if x.bound != nil {
		return x.bound.Unbind()
	}
	return x.stop == nil || x.stop()
}

// send writes the head, and begins to send the body.
func (x *call) send() error {
	head, err := x.in.appendHead(x.buf[:0])
	if err != nil {
		return err
	}
	if x.in.Body != nil && x.in.Arrived && !x.in.expects() {
		return x.sendWhole(head)
	}
	n, err := x.conn.net.Write(head)
	x.wrote = n > 0
	if err != nil {
		return fmt.Errorf("sending the request: %w", err)
	}
	if x.in.Body == nil {
		x.requestSent()
		return nil
	}
	x.sender = &sender{conn: x.conn, request: x.in, expects: x.in.expects(), wanted: make(chan struct{}), stopped: make(chan struct{}), ended: make(chan struct{})}
	go x.sender.run()
	return nil
}

// requestSent begins the wait for the response's head.
func (x *call) requestSent() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if limit := x.client.cfg.ResponseHeader; limit > 0 && !x.begun {
		_ = x.conn.net.SetReadDeadline(time.Now().Add(limit))
	}
}

// headArrived ends the wait for the head.
func (x *call) headArrived() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.begun = true
	if x.client.cfg.ResponseHeader > 0 {
		_ = x.conn.net.SetReadDeadline(time.Time{})
	}
}

// readHead reads up to the final response's head.
func (x *call) readHead() error {
	size := 0
	for interim := 0; ; interim++ {
		head, err := x.nextHead(maxHead - size)
		if err != nil {
			return err
		}
		size += len(head)
		x.status, x.minor, x.fields, err = wire.ParseResponse(head, x.fields[:0])
		switch {
		case err != nil:
			return err
		case interim > maxInterim:
			return errInterim
		case x.status == http.StatusContinue:
			if x.sender != nil {
				x.sender.asked.Do(func() { close(x.sender.wanted) })
			}
		case x.status < 200 && x.status != http.StatusSwitchingProtocols:
			x.in.Interim.Inform(x.status, x.fields)
		default:
			return x.begin()
		}
	}
}

// begin decides how the final response's body is framed.
func (x *call) begin() (err error) {
	x.headArrived()
	if x.sender != nil {
		x.early = x.sender.early()
	}
	x.length, err = wire.ResponseLength(x.in.In.Method, x.status, x.minor, x.fields)
	x.left = x.length
	x.done = x.length == 0
	return err
}

// nextHead reads one head and returns it as a string of its own.
func (x *call) nextHead(limit int) (string, error) {
	scanned := 0
	for {
		end, at := wire.EndOfHead(x.buf[x.r:x.w], scanned)
		if scanned = at; end > limit || end < 0 && x.w-x.r >= limit {
			return "", errHead
		}
		if end >= 0 {
			head := string(x.buf[x.r : x.r+end])
			x.r += end
			return head, nil
		}
		if err := x.fill(); err != nil {
			if errors.Is(err, io.EOF) {
				err = errEarly
			}
			return "", err
		}
	}
}

// fill reads more into the buffer, which grows if it is full.
func (x *call) fill() error {
	if x.r == x.w {
		x.r, x.w = 0, 0
	}
	if x.w == len(x.buf) {
		if x.r > 0 {
			x.r, x.w = 0, copy(x.buf, x.buf[x.r:x.w])
		} else {
			larger := make([]byte, 2*len(x.buf))
			copy(larger, x.buf)
			x.buf = larger
		}
	}
	n, err := x.conn.net.Read(x.buf[x.w:])
	if x.w += n; n > 0 {
		x.read, x.full = true, x.w == len(x.buf)
		return nil // a later Read returns err again
	}
	if err == nil {
		return io.ErrNoProgress
	}
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return fmt.Errorf("reading the response: %w", err)
}

// fillNow reads what is there into the empty buffer, and reports whether there was something. Above TLS it cannot know. An error is left to the next
// fill.
func (x *call) fillNow() bool {
	x.r, x.w, x.full = 0, 0, false
	plain, ok := x.conn.net.(*nonblock.Conn)
	if !ok {
		return false
	}
	x.w, _ = plain.ReadNow(x.buf)
	x.full = x.w == len(x.buf)
	return x.w > 0
}

// finish ends the call. The connection is kept for another request if keep is set and it is in order. One to an HTTP/1.0 app is never kept, although
// net/http keeps it if the app says keep-alive.
func (x *call) finish(keep bool) {
	if s := x.sender; s != nil {
		keep = s.finish() && keep
	}
	if !x.unbind() {
		keep = false // abort runs or has run
	}
	keep = keep && !x.early && !x.in.Close && x.minor == 1 && x.r == x.w && !hasClose(x.fields)
	x.release()
	if !keep {
		_ = x.conn.net.Close()
		return
	}
	clear(x.fields)
	x.client.keep(x.conn)
}

// release gives the buffer back.
func (x *call) release() {
	if len(x.buf) == bufferSize {
		buffers.Put((*[bufferSize]byte)(x.buf))
	}
	x.buf, x.r, x.w = nil, 0, 0
}
