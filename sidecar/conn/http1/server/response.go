package server

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// prefixRoom is the room in front of the fields for the status line and the fields that are known last: Date, the framing and Connection.
const prefixRoom = 256

// response writes the response to the current request. Head and body are collected in one buffer, which is sent when it is full, when the
// handler flushes, or when it returns.
type response struct {
	conn    *conn
	request *http.Request
	// method is that of the client: a handler may change the request's.
	method   string
	header   http.Header
	status   int // 0 before the final header
	trailers []string

	// buf has the prefix's room, the fields and the body until begun, and then what is not yet sent.
	buf []byte
	// body is where the body begins in buf.
	body int
	// length is the Content-Length, or -1. written counts the body's bytes.
	length, written int64

	// begun says that the prefix is complete, so that the response can no longer be replaced. discarded says that a refusal was sent
	// instead.
	begun, discarded bool
	// excess says that the handler wrote more than its Content-Length.
	excess  bool
	chunked bool
	// coding is the Transfer-Encoding that the handler set.
	coding                           string
	hasDate, hasTrailers, closeAsked bool
	keepAsked                        bool
	// duplex says that the handler reads and writes at the same time.
	duplex, readDeadline, writeDeadline bool
	err                                 error

	// interim protects the writing of 100 Continue, which another goroutine than the handler's may cause.
	interim  sync.Mutex
	poisoned atomic.Bool

	vectors [3][]byte
}

// nextResponse returns the response to r.
func (c *conn) nextResponse(r *http.Request) *response {
	w := &c.slot.response
	if w.header == nil {
		w.header = http.Header{}
	}
	w.conn, w.request, w.method = c, r, r.Method
	w.status, w.length, w.written, w.err = 0, -1, 0, nil
	w.begun, w.discarded, w.chunked, w.coding = false, false, false, ""
	w.hasDate, w.hasTrailers, w.closeAsked, w.keepAsked = false, false, false, false
	w.duplex, w.excess, w.trailers = false, false, w.trailers[:0]
	c.last.Store(r.Close)
	clear(w.header)
	return w
}

// release gives the buffer back.
func (w *response) release() {
	if cap(w.buf) == bufferSize && !w.conn.server.config.Poison {
		buffers.Put((*[bufferSize]byte)(w.buf[:bufferSize]))
	}
	w.buf = nil
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header {
	w.check()
	return w.header
}

// check finds a response that is used after its handler has returned, in tests.
func (w *response) check() {
	if w.poisoned.Load() {
		panic("a response is used after its handler has returned")
	}
}

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	w.check()
	if w.conn.hijacked || w.status != 0 {
		return
	}
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("invalid WriteHeader code %v", status))
	}
	if status < 200 && status != http.StatusSwitchingProtocols {
		w.inform(status)
		return
	}
	if !w.duplex {
		w.conn.body.settle()
	}
	w.interim.Lock()
	w.status = status
	w.interim.Unlock()
	w.setFields()
}

// hasBody reports whether the response has a body.
func (w *response) hasBody() bool { return w.method != http.MethodHead && allowsBody(w.status) }

func allowsBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// begin completes the head. final says that the whole body is in the buffer. It returns false if a refusal was sent instead.
func (w *response) begin(final bool) bool {
	if w.begun {
		return !w.discarded
	}
	if why := w.conn.broken.Load(); why != nil && why.Status != w.status {
		w.refuse(why)
		return false
	}
	if !w.duplex {
		w.conn.body.drain()
		if why := w.conn.broken.Load(); why != nil && why.Status != w.status {
			w.refuse(why)
			return false
		}
	}
	w.begun = true
	var scratch [prefixRoom]byte
	prefix := w.appendPrefix(scratch[:0], final)
	start := prefixRoom - len(prefix)
	copy(w.buf[start:], prefix)
	if n := len(w.buf) - w.body; w.chunked && n > 0 {
		var size [20]byte
		line := append(strconv.AppendInt(size[:0], int64(n), 16), "\r\n"...)
		w.buf = append(w.buf, line...)
		copy(w.buf[w.body+len(line):], w.buf[w.body:len(w.buf)-len(line)])
		copy(w.buf[w.body:], line)
		w.buf = append(w.buf, "\r\n"...)
	}
	w.body = start // where unsent bytes begin
	return true
}

// refuse sends the refusal of the request's body instead of the response.
func (w *response) refuse(why *httperr.Error) {
	w.begun, w.discarded = true, true
	w.conn.last.Store(true)
	w.conn.writeRefusal(render(why))
}

var errHijacked = http.ErrHijacked

// Write implements http.ResponseWriter.
func (w *response) Write(p []byte) (int, error) {
	if err := w.prepare(int64(len(p))); err != nil {
		return 0, err
	}
	if w.method == http.MethodHead || len(p) == 0 {
		return len(p), nil
	}
	if !w.begun {
		if len(w.buf)+len(p)+maxChunkLine <= cap(w.buf) {
			w.buf = append(w.buf, p...)
			return len(p), nil
		}
		w.begin(false)
	}
	if w.discarded {
		return len(p), nil
	}
	return len(p), w.send(p)
}

// WriteString implements io.StringWriter.
func (w *response) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// prepare is called before n bytes of the body are written.
func (w *response) prepare(n int64) error {
	w.check()
	if w.conn.hijacked {
		return errHijacked
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if n == 0 {
		return nil
	}
	if !allowsBody(w.status) {
		return http.ErrBodyNotAllowed
	}
	if w.err != nil {
		return w.err
	}
	if w.excess = w.excess || w.length >= 0 && w.written+n > w.length; w.excess {
		return http.ErrContentLength // the client gets no part of it, and the connection ends before the length
	}
	w.written += n
	return nil
}

// FlushError sends what was written.
func (w *response) FlushError() error {
	if err := w.prepare(0); err != nil {
		return err
	}
	if !w.begin(false) {
		return nil
	}
	return w.flush()
}

// Flush implements http.Flusher.
func (w *response) Flush() { _ = w.FlushError() }

// finish completes the response, and reports whether the connection can be kept.
func (w *response) finish() bool {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.begin(true) {
		return false
	}
	if w.length >= 0 && w.hasBody() && (w.excess || w.written < w.length) {
		w.conn.last.Store(true) // the client waits for more
	}
	if w.chunked {
		w.buf = append(w.buf, "0\r\n"...)
		w.addTrailers()
		w.buf = append(w.buf, "\r\n"...)
	}
	err := w.flush()
	if cap(w.buf) > bufferSize {
		w.buf = nil
	}
	if w.conn.r == w.conn.w {
		w.release()
	}
	w.resetDeadlines()
	return err == nil && !w.conn.last.Load()
}

// addTrailers writes the trailers that were announced, and those with http.TrailerPrefix.
func (w *response) addTrailers() {
	for _, name := range w.trailers {
		w.addFields(name, w.header[name])
	}
	if !w.hasTrailers && len(w.header) == 0 {
		return
	}
	for name, lines := range w.header {
		if bare, ok := strings.CutPrefix(name, http.TrailerPrefix); ok && isTrailer(http.CanonicalHeaderKey(bare)) {
			w.addFields(bare, lines)
		}
	}
}

// EnableFullDuplex lets the handler read the body after it has begun to write.
func (w *response) EnableFullDuplex() error {
	w.duplex = true
	return nil
}

// EndBody ends all reading of the request's body, also that of another goroutine. The handler of a proxy calls it before it returns: such a
// goroutine must not use the request after that.
func (w *response) EndBody() { w.conn.body.finish() }

// SetReadDeadline sets the deadline of reads of the body, until the end of the request.
func (w *response) SetReadDeadline(t time.Time) error {
	w.readDeadline = true
	return w.conn.net.SetReadDeadline(t)
}

// SetWriteDeadline sets the deadline of writes of the response, until the end of the request.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.writeDeadline = true
	return w.conn.net.SetWriteDeadline(t)
}

func (w *response) resetDeadlines() {
	if w.readDeadline {
		w.readDeadline = false
		_ = w.conn.net.SetReadDeadline(noDeadline)
	}
	if w.writeDeadline {
		w.writeDeadline = false
		_ = w.conn.net.SetWriteDeadline(noDeadline)
	}
}
