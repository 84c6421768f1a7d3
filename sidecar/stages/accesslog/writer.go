package accesslog

import (
	"bufio"
	"net"
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/response"
)

// writer counts what is written and remembers the status.
type writer struct {
	response.Writer
	// status is the final one; zero while nothing was sent.
	status int
	// bytes is the body's length so far.
	bytes int64
}

// BeforeHeader remembers the status.
func (w *writer) BeforeHeader(status int) { w.status = status }

// Write counts.
func (w *writer) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Hijack hands the connection over; from then on the response is an upgrade's.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := w.Writer.Hijack()
	if err == nil {
		w.status = http.StatusSwitchingProtocols
	}
	return conn, rw, err
}

// implicit is net/http's own 200 where a handler wrote nothing.
func (w *writer) implicit() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
}
