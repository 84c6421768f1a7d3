// Package response has the ways in which stages see and change responses: Decorate changes the header just before it
// is sent, Intercept sees or replaces the response of the later stages, and Writer is the base of every
// ResponseWriter in the sidecar.
//
// Informational responses (100, 103) are passed on unchanged. A hijacked connection (WebSocket) is not changed,
// because its header is not written through the ResponseWriter. Flushes, trailers and http.ResponseController work
// through the wrappers.
package response

import (
	"io"
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// Hook changes h, the header of the final response to r with the given status. It is called once.
type Hook func(r *http.Request, status int, h http.Header)

// Decorate returns a stage that calls hook for every response of the later stages. If a later stage refuses, hook is
// called with the refusal's status before the error is passed on, so that the error response has the header too.
//
// The stage needs no ResponseWriter of its own if the one around it is a Host, and the order of hooks and ResponseWriters is the same.
func Decorate(hook Hook) stage.Stage {
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			if h, ok := w.(host); ok {
				if mark, ok := h.push(hook, r); ok {
					defer h.drop(mark) // a panic in next has a response of its own
					err := next.ServeHTTP(w, r)
					h.end(mark, statusOf(err))
					return err
				}
			}
			d := &decorator{Writer: Writer{ResponseWriter: w}, hook: hook, r: r}
			d.OnHeader = d
			err := next.ServeHTTP(d, r)
			d.begin(statusOf(err)) // for a response that is not yet written
			return err
		})
	}
}

// statusOf returns the status of a response that is not written when a stage returns err.
func statusOf(err error) int {
	if err != nil {
		return httperr.From(err).Status
	}
	return http.StatusOK
}

// decorator calls hook before the final header.
type decorator struct {
	Writer
	hook Hook
	r    *http.Request
}

// BeforeHeader calls the hook.
func (d *decorator) BeforeHeader(status int) { d.hook(d.r, status, d.Header()) }

// ReadFrom passes the body on.
func (d *decorator) ReadFrom(body io.Reader) (int64, error) { return d.PassFrom(body, nil) }
