// Package response lets a stage change an answer's header just before it is sent, whoever writes it: the app, or a stage
// that refuses.
//
// Informational answers (100, 103) pass untouched, and a connection that is hijacked (WebSocket) is left alone: its header
// is written past the ResponseWriter. Flushes, trailers and http.ResponseController work through the wrapper.
package response

import (
	"bufio"
	"net"
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// Hook changes h, the header of the final answer to r with the given status. It is called once.
type Hook func(r *http.Request, status int, h http.Header)

// Decorate returns a stage that calls hook for every answer from behind it. Where a stage there refuses, the hook is
// called with the refusal's status before the error is passed on, so that what answers it further out keeps the header.
func Decorate(hook Hook) stage.Stage {
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			d := &writer{ResponseWriter: w, hook: hook, r: r}
			err := next.ServeHTTP(d, r)
			status := http.StatusOK
			if err != nil {
				status = httperr.From(err).Status
			}
			d.prepare(status) // for an answer that nobody has written yet
			return err
		})
	}
}

// writer calls hook before the final header.
type writer struct {
	http.ResponseWriter
	hook Hook
	r    *http.Request
	done bool
}

func (w *writer) prepare(status int) {
	if !w.done {
		w.done = true
		w.hook(w.r, status, w.Header())
	}
}

// WriteHeader sends the header, changed where it is the final one.
func (w *writer) WriteHeader(status int) {
	if IsFinal(status) {
		w.prepare(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write sends the header with status 200 unless that has happened, and p.
func (w *writer) Write(p []byte) (int, error) {
	w.prepare(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// FlushError sends what is buffered, the header at least; http.ResponseController calls it.
func (w *writer) FlushError() error {
	w.prepare(http.StatusOK)
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush is FlushError for callers that know http.Flusher alone; the error shows at the next Write.
func (w *writer) Flush() { _ = w.FlushError() }

// Hijack hands the connection over.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.done = true
	}
	return conn, rw, err
}

// Unwrap is for http.ResponseController: deadlines and full duplex.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// IsFinal reports whether status ends the answer's header; 101 does, the other informational ones announce another.
func IsFinal(status int) bool { return status >= 200 || status == http.StatusSwitchingProtocols }
