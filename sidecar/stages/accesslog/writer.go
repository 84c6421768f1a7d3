package accesslog

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/response"
)

// writer counts the bytes of the body and records the status.
type writer struct {
	response.Writer
	// status is the final status; 0 before anything was sent.
	status int
	// bytes is the length of the body so far.
	bytes int64
	// timing gets the time of the writes.
	timing *request.Timing
	// id is the field with the request's id.
	id struct {
		name  string
		value [1]string
	}
}

// BeforeHeader records the status, and adds the request's id. It replaces an id of the app.
func (w *writer) BeforeHeader(status int) {
	w.status = status
	if w.id.name != "" {
		w.Header()[w.id.name] = w.id.value[:1:1]
	}
}

// Write counts the bytes written.
func (w *writer) Write(b []byte) (int, error) {
	defer w.timing.WroteClient(time.Now())
	n, err := w.Writer.Write(b)
	w.bytes += int64(n)
	return n, err
}

// WriteHeader sends a header.
func (w *writer) WriteHeader(status int) {
	defer w.timing.WroteClient(time.Now())
	w.Writer.WriteHeader(status)
}

// FlushError sends what is buffered.
func (w *writer) FlushError() error {
	defer w.timing.WroteClient(time.Now())
	return w.Writer.FlushError()
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
