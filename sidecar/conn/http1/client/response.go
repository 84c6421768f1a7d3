package client

import (
	"io"
	"net"
	"strings"

	"github.com/posterndev/postern/sidecar/conn/http1/wire"
	"github.com/posterndev/postern/sidecar/conn/nonblock"
)

// Response is the app's response. It is valid until Close or Upgrade.
type Response call

// Status returns the status of the final response.
func (r *Response) Status() int { return r.status }

// Fields returns the response's fields.
func (r *Response) Fields() []wire.Field { return r.fields }

// Length returns the length of the body: 0 if there is none, negative if it is not known.
func (r *Response) Length() int64 { return r.length }

// Next returns the next part of the body, which is valid until the next call, or io.EOF. more says that the body has more and that reading
// it may have to wait for the app: the part may be empty then.
func (r *Response) Next() (part []byte, more bool, err error) {
	for !r.done {
		if r.r == r.w {
			if waits, err := r.receive(); waits || err != nil {
				return nil, waits, err
			}
		}
		part, err := r.decode()
		if err != nil {
			return nil, false, err
		}
		if len(part) > 0 {
			return part, !r.done && r.r == r.w && !r.full, nil
		}
	}
	return nil, false, io.EOF
}

// receive reads more of the body. If the last read has filled the buffer, there may be more already, and it does not wait: waits says that nothing
// is there.
func (r *Response) receive() (waits bool, err error) {
	x := (*call)(r)
	if x.full {
		return !x.fillNow(), nil
	}
	if err := x.fill(); err != nil {
		return false, r.ended(err)
	}
	return false, nil
}

// ended returns what the error of a read means for the body.
func (r *Response) ended(err error) error {
	if err != io.EOF {
		return err
	}
	if r.length == wire.UntilClose {
		r.done = true
		return io.EOF
	}
	return errEarly
}

// decode takes the next part of the body out of the buffer.
func (r *Response) decode() ([]byte, error) {
	b := r.buf[r.r:r.w]
	switch r.length {
	case wire.Chunked:
		part, used, err := r.chunks.Next(b)
		r.r += used
		if err == nil && len(part) > 0 && r.r < r.w {
			err = r.peekEnd()
		}
		r.done = r.chunks.Done()
		return part, err
	case wire.UntilClose:
	default:
		b = b[:min(int64(len(b)), r.left)]
		r.left -= int64(len(b))
		r.done = r.left == 0
	}
	r.r += len(b)
	return b, nil
}

// peekEnd reads the line ends after a chunk, and the last chunk, which have no data.
func (r *Response) peekEnd() error {
	next := r.chunks
	part, used, err := next.Next(r.buf[r.r:r.w])
	if err == nil && len(part) == 0 {
		r.chunks, r.r = next, r.r+used
	}
	return nil // an error is returned when the data before it was sent
}

// Trailer returns the fields of the trailer section, once the body has ended.
func (r *Response) Trailer() ([]wire.Field, error) {
	if r.length != wire.Chunked || !r.done {
		return nil, nil
	}
	return r.chunks.Trailer(nil)
}

// Done reports whether the body was read to its end.
func (r *Response) Done() bool { return r.done }

// Abort makes reads of the body fail. Another goroutine may call it until Close.
func (r *Response) Abort() { r.conn.abort() }

// Close ends the call. The connection is used again if the body was read to its end.
func (r *Response) Close() {
	(*call)(r).finish(r.done && r.length != wire.UntilClose && r.status >= 200)
}

// Upgraded is a connection that the app has switched to another protocol. Its context still closes it, until Close.
type Upgraded struct {
	net.Conn
	ahead  []byte
	unbind func() bool
}

// Upgrade returns the connection of a 101 response. The Response is not used after it.
func (r *Response) Upgrade() *Upgraded {
	u := &Upgraded{Conn: r.conn.net, unbind: (*call)(r).unbind}
	if r.r < r.w {
		u.ahead = append(u.ahead, r.buf[r.r:r.w]...)
	}
	(*call)(r).release()
	return u
}

// Read returns first what the app has sent right after its head.
func (u *Upgraded) Read(p []byte) (int, error) {
	if len(u.ahead) == 0 {
		return u.Conn.Read(p)
	}
	n := copy(p, u.ahead)
	if u.ahead = u.ahead[n:]; len(u.ahead) == 0 {
		u.ahead = nil
	}
	return n, nil
}

// Await waits until there is something to read, as nonblock.Await.
func (u *Upgraded) Await() error {
	if len(u.ahead) > 0 {
		return nil
	}
	return nonblock.Await(u.Conn)
}

// CloseWrite ends the sending half.
func (u *Upgraded) CloseWrite() error {
	if half, ok := u.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close closes the connection.
func (u *Upgraded) Close() error {
	u.unbind()
	return u.Conn.Close()
}

// hasClose reports whether the app says that it closes the connection.
func hasClose(fields []wire.Field) bool {
	for _, f := range fields {
		if f.Name != "Connection" {
			continue
		}
		for element := range strings.SplitSeq(f.Value, ",") {
			if strings.EqualFold(strings.Trim(element, " \t"), "close") {
				return true
			}
		}
	}
	return false
}

// Buffered reports whether a part of the body, or its end, was received with the head.
func (r *Response) Buffered() bool { return r.r < r.w }
