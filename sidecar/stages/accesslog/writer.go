package accesslog

import (
	"bufio"
	"net"
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/response"
)

// writer counts the bytes of the body and records the status.
type writer struct {
	response.Writer
	// status is the final status; 0 before anything was sent.
	status int
	// bytes is the length of the body so far.
	bytes int64
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
	n, err := w.Writer.Write(b)
	w.bytes += int64(n)
	return n, err
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
