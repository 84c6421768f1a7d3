package accesslog

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/reqbody"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/response"
)

// writer counts the bytes of the body and records the status. The hooks of the stages are its own.
type writer struct {
	response.Writer
	// status is the final status; 0 before anything was sent.
	status int
	// bytes is the length of the body so far.
	bytes int64
	// timing gets the time of the writes, which is read as the time since start: that needs only the monotonic clock.
	timing *request.Timing
	start  time.Time
	// buffers has *[copyBuffer]byte.
	buffers *sync.Pool
	// idField is the field with the request's id, and id its lines; empty for none.
	idField string
	id      []string
	room    response.Room
}

// copyBuffer is the length of the pieces of a body that cannot be sent without a copy.
const copyBuffer = 32 << 10

// BeforeHeader records the status, and adds the request's id. It replaces an id of the app.
func (w *writer) BeforeHeader(status int) {
	w.status = status
	if w.idField != "" {
		w.Header()[w.idField] = w.id
	}
}

// Write counts the bytes written.
func (w *writer) Write(b []byte) (int, error) {
	began := time.Since(w.start)
	n, err := w.Writer.Write(b)
	w.bytes += int64(n)
	w.timing.Wrote(time.Since(w.start) - began)
	return n, err
}

// ReadFrom counts the bytes of a body.
func (w *writer) ReadFrom(body io.Reader) (int64, error) {
	var buffer []byte
	if _, whole := w.ResponseWriter.(io.ReaderFrom); !whole {
		b, ok := w.buffers.Get().(*[copyBuffer]byte)
		if !ok {
			b = new([copyBuffer]byte)
		}
		defer w.buffers.Put(b)
		buffer = b[:]
	}
	inApp, _ := w.timing.InApp()
	began := time.Since(w.start)
	n, err := w.PassFrom(body, buffer)
	w.bytes += n
	w.timing.Sending(time.Since(w.start)-began, inApp)
	return n, err
}

// WriteHeader sends a header. A final one is sent with what follows.
func (w *writer) WriteHeader(status int) {
	if response.IsFinal(status) {
		w.Writer.WriteHeader(status)
		return
	}
	began := time.Since(w.start)
	w.Writer.WriteHeader(status)
	w.timing.Wrote(time.Since(w.start) - began)
}

// FlushError sends what is buffered.
func (w *writer) FlushError() error {
	began := time.Since(w.start)
	err := w.Writer.FlushError()
	w.timing.Wrote(time.Since(w.start) - began)
	return err
}

// body is the client's body. Reading it is not the sidecar's own time.
type body struct {
	io.ReadCloser
	timing *request.Timing
}

// Read reads the body.
func (b *body) Read(p []byte) (int, error) {
	defer b.timing.ReadClient(time.Now())
	return b.ReadCloser.Read(p)
}

// Arrived is for reqbody.Arrived.
func (b *body) Arrived() bool { return reqbody.Arrived(b.ReadCloser) }

// Hijack takes the connection over. The status is then 101.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := w.Writer.Hijack()
	if err == nil {
		w.status = http.StatusSwitchingProtocols
	}
	return conn, rw, err
}

// implicit sets the status to 200, which net/http sends if a handler wrote nothing.
func (w *writer) implicit() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
}
