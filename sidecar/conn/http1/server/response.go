package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posterndev/postern/sidecar/conn/http1/wire"
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
	pieces  net.Buffers
}

// nextResponse returns the response to r.
func (c *conn) nextResponse(r *http.Request) *response {
	w := c.response
	if w == nil || c.server.config.Poison {
		w = &response{header: http.Header{}}
		c.response = w
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

// setFields writes the fields into the buffer. Later changes of the header have no effect, except for trailers.
func (w *response) setFields() {
	if w.buf == nil {
		w.buf = buffers.Get().(*[bufferSize]byte)[:0]
	}
	w.buf = w.buf[:prefixRoom]
	for name, lines := range w.header {
		if len(lines) == 0 {
			w.hasDate = w.hasDate || name == "Date" // the handler wants none
			continue
		}
		switch name {
		case "Content-Length":
			w.setLength(lines[0])
		case "Transfer-Encoding":
			w.coding = lines[0]
		case fieldConnection:
			w.setConnection(lines)
		case "Content-Type":
			if w.status != http.StatusNotModified {
				w.addFields(name, lines)
			}
		case "Date":
			w.hasDate = true
			w.addFields(name, lines)
		case "Trailer":
			w.hasTrailers = true
			w.announce(lines)
			w.addFields(name, lines)
		default:
			if strings.HasPrefix(name, http.TrailerPrefix) {
				w.hasTrailers = true
				continue
			}
			w.addFields(name, lines)
		}
	}
	w.buf = append(w.buf, "\r\n"...)
	w.body = len(w.buf)
}

// addFields writes the lines of a field. Names that are no tokens are left out, as in net/http.
func (w *response) addFields(name string, lines []string) {
	if !wire.IsName(name) {
		return
	}
	for _, value := range lines {
		w.buf = append(append(w.buf, name...), ": "...)
		w.buf = append(appendValue(w.buf, trim(value)), "\r\n"...)
	}
}

// appendValue writes a value in which control characters, line ends above all, are spaces: no value can split a response (RFC 9110 §5.5).
func appendValue(to []byte, value string) []byte {
	at := len(to)
	to = append(to, value...)
	for i := at; i < len(to); i++ {
		if c := to[i]; c < ' ' && c != '\t' || c == 0x7f {
			to[i] = ' '
		}
	}
	return to
}

func (w *response) setLength(value string) {
	if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= 0 && value[0] != '+' {
		w.length = n
	}
}

// setConnection looks for what the handler decides about the connection. What it says about other fields is written as it is.
func (w *response) setConnection(lines []string) {
	w.closeAsked = hasToken(lines, "close")
	if len(lines) == 1 && strings.EqualFold(lines[0], "close") {
		return
	}
	if len(lines) == 1 && strings.EqualFold(lines[0], "keep-alive") {
		w.keepAsked = true
		return
	}
	for _, line := range lines {
		for element := range strings.SplitSeq(line, ",") {
			if element = trim(element); element != "" && !strings.EqualFold(element, "close") {
				w.addFields(fieldConnection, []string{element})
			}
		}
	}
}

// announce stores the names of trailers.
func (w *response) announce(lines []string) {
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			if name = http.CanonicalHeaderKey(trim(name)); isTrailer(name) {
				w.trailers = append(w.trailers, name)
			}
		}
	}
}

// isTrailer reports whether a field may be in a trailer, RFC 9110 §6.5.1.
func isTrailer(name string) bool {
	switch name {
	case "", "Transfer-Encoding", "Content-Length", "Trailer", "Host", fieldConnection, "Te", "Upgrade", "Authorization", "Set-Cookie",
		"Content-Encoding", "Content-Range", "Content-Type", "Cache-Control", "Expect", "Max-Forwards", "Pragma", "Range", "Www-Authenticate":
		return false
	}
	return !strings.HasPrefix(name, "If-")
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

// appendPrefix decides how the body is framed and whether the connection is kept, as net/http does, and writes the status line and the
// fields that say so.
func (w *response) appendPrefix(to []byte, final bool) []byte {
	r, c := w.request, w.conn
	body, version11 := w.hasBody(), r.ProtoMinor == 1
	if final && w.length < 0 && !w.hasTrailers && w.coding == "" && allowsBody(w.status) && (body || 0 < w.written && w.written <= bufferSize/2) {
		w.length = w.written
	}
	to = append(to, "HTTP/1.0 "...)
	if version11 {
		to[len("HTTP/1.")] = '1'
	}
	to = appendStatus(to, w.status)
	if !w.hasDate {
		to = append(append(append(to, "Date: "...), c.server.sweeper.date()...), "\r\n"...)
	}
	switch {
	case w.length >= 0 && allowsBody(w.status):
		to = append(strconv.AppendInt(append(to, "Content-Length: "...), w.length, 10), "\r\n"...)
	case !body:
	case version11 && w.coding != "identity":
		w.chunked = true
		to = append(to, "Transfer-Encoding: chunked\r\n"...)
	default:
		c.last.Store(true) // the end of the connection is the end of the body
	}
	if w.closeAsked || c.server.closing.Load() || w.status == http.StatusSwitchingProtocols {
		c.last.Store(true)
	}
	switch {
	case w.status == http.StatusSwitchingProtocols:
	case c.last.Load() && (version11 || w.closeAsked):
		to = append(to, "Connection: close\r\n"...)
	case !c.last.Load() && (!version11 || w.keepAsked):
		to = append(to, "Connection: keep-alive\r\n"...)
	}
	return to
}

// appendStatus appends what follows the version in a status line.
func appendStatus(to []byte, status int) []byte {
	to = append(strconv.AppendInt(to, int64(status), 10), ' ')
	text := http.StatusText(status)
	if text == "" {
		to, text = append(to, "status code "...), strconv.Itoa(status)
	}
	return append(append(to, text...), "\r\n"...)
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

// maxChunkLine is the most that a chunk has besides its data, in bytes.
const maxChunkLine = 20

// send sends or collects p, which is a part of the body of a response that has begun.
func (w *response) send(p []byte) error {
	extra := 0
	if w.chunked {
		extra = maxChunkLine
	}
	if len(w.buf)+len(p)+extra > cap(w.buf) && len(p) < bufferSize/2 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if w.chunked {
		w.buf = append(strconv.AppendInt(w.buf, int64(len(p)), 16), "\r\n"...)
	}
	if len(w.buf)+len(p)+2 <= cap(w.buf) {
		if w.buf = append(w.buf, p...); w.chunked {
			w.buf = append(w.buf, "\r\n"...)
		}
		return nil
	}
	w.vectors = [3][]byte{w.buf[w.body:], p, nil}
	if w.chunked {
		w.vectors[2] = lineEnd
	}
	return w.flushVectors()
}

var lineEnd = []byte("\r\n")

// flush sends what is in the buffer.
func (w *response) flush() error {
	if w.err != nil || len(w.buf) == w.body {
		return w.err
	}
	c := w.conn
	c.writeAlarm.set(&c.server.sweeper, c.server.config.Times.Stall)
	_, err := c.net.Write(w.buf[w.body:])
	c.writeAlarm.clear(c, c.net.SetWriteDeadline)
	return w.sent(err)
}

// flushVectors sends the vectors: in one system call, if the bytes are those of the socket.
func (w *response) flushVectors() error {
	if w.err != nil {
		return w.err
	}
	c := w.conn
	var to io.Writer = c.net
	if c.tcp != nil {
		to = c.tcp
	}
	w.pieces = w.vectors[:]
	c.writeAlarm.set(&c.server.sweeper, c.server.config.Times.Stall)
	_, err := w.pieces.WriteTo(to)
	c.writeAlarm.clear(c, c.net.SetWriteDeadline)
	w.vectors = [3][]byte{}
	return w.sent(err)
}

func (w *response) sent(err error) error {
	w.buf, w.body, w.err = w.buf[:0], 0, err
	if err != nil {
		w.conn.last.Store(true)
		w.conn.current.Load().end() // the client is gone, or has read nothing for too long
	}
	return err
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
		w.release() // the connection may be idle for long
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

// inform sends an interim response, RFC 9110 §15.2.
func (w *response) inform(status int) {
	if w.request.ProtoMinor == 0 {
		return // RFC 9110 §15.2: HTTP/1.0 has none
	}
	if status == http.StatusContinue {
		if w.conn.body.expect.Swap(false) {
			_ = w.writeContinue()
		}
		return
	}
	w.interim.Lock()
	defer w.interim.Unlock()
	saved := w.buf
	w.buf = appendStatus([]byte("HTTP/1.1 "), status)
	for name, lines := range w.header {
		if name != "Content-Length" && name != "Transfer-Encoding" && !strings.HasPrefix(name, http.TrailerPrefix) {
			w.addFields(name, lines)
		}
	}
	w.buf = append(w.buf, "\r\n"...)
	text := w.buf
	w.buf = saved
	_ = w.writeInterim(text) // on an error the client is gone, which the final response notices
}

// writeContinue asks the client for its body, unless it has its response already.
func (w *response) writeContinue() error {
	w.interim.Lock()
	defer w.interim.Unlock()
	if w.status != 0 {
		w.conn.last.Store(true)
		return nil
	}
	return w.writeInterim([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
}

func (w *response) writeInterim(text []byte) error {
	c := w.conn
	c.writeAlarm.set(&c.server.sweeper, c.server.config.Times.Stall)
	defer c.writeAlarm.clear(c, c.net.SetWriteDeadline)
	_, err := c.net.Write(text)
	return err
}

// spliceSize is how much of a body is copied before the client's time to read begins again, in bytes.
const spliceSize = 256 << 10

// ReadFrom copies src to the client. The kernel copies a body of a known length from one socket to another.
func (w *response) ReadFrom(src io.Reader) (n int64, err error) {
	limited, ok := src.(*io.LimitedReader)
	if !ok || w.conn.tcp == nil || w.method == http.MethodHead {
		return io.Copy(writerOnly{w}, src)
	}
	if _, ok := limited.R.(*net.TCPConn); !ok {
		return io.Copy(writerOnly{w}, src)
	}
	if err := w.prepare(0); err != nil {
		return 0, err
	}
	if w.length < 0 || w.length-w.written < limited.N || !allowsBody(w.status) {
		return io.Copy(writerOnly{w}, src)
	}
	if !w.begin(false) {
		return io.Copy(io.Discard, src)
	}
	if err := w.flush(); err != nil {
		return 0, err
	}
	return w.splice(limited)
}

type writerOnly struct{ io.Writer }

func (w *response) splice(src *io.LimitedReader) (n int64, err error) {
	c := w.conn
	for src.N > 0 && err == nil {
		part := io.LimitedReader{R: src.R, N: min(src.N, spliceSize)}
		var copied int64
		c.writeAlarm.set(&c.server.sweeper, c.server.config.Times.Stall)
		copied, err = c.tcp.ReadFrom(&part)
		c.writeAlarm.clear(c, c.net.SetWriteDeadline)
		n, w.written, src.N = n+copied, w.written+copied, src.N-copied
		if copied == 0 {
			break
		}
	}
	var network *net.OpError
	if errors.As(err, &network) && network.Op != "read" {
		_ = w.sent(err)
	}
	return n, err
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
