package accesslog

import (
	"bufio"
	"net"
	"net/http"
)

// writer counts what is written and remembers the status. Deadlines and the like go through Unwrap.
type writer struct {
	http.ResponseWriter
	// status is the final one; zero while nothing was sent.
	status int
	// bytes is the body's length so far.
	bytes int64
}

// Unwrap serves http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader remembers the first final status; informational ones (but 101) come before it.
func (w *writer) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write counts.
func (w *writer) Write(b []byte) (int, error) {
	w.implicit()
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// FlushError sends what is buffered, the header included.
func (w *writer) FlushError() error {
	w.implicit()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush is FlushError for those who ask for an http.Flusher.
func (w *writer) Flush() { _ = w.FlushError() }

// Hijack hands the connection over; from then on the answer is an upgrade's.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.status = http.StatusSwitchingProtocols
	}
	return conn, rw, err
}

// implicit is net/http's own 200 where a body or a flush comes before any header.
func (w *writer) implicit() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
}
