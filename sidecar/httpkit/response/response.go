// Package response has the ways in which stages see and change responses: Decorate changes the header just before it
// is sent, Intercept sees or replaces the response of the later stages, and Writer is the base of every
// ResponseWriter in the sidecar.
//
// Informational responses (100, 103) are passed on unchanged. A hijacked connection (WebSocket) is not changed,
// because its header is not written through the ResponseWriter. Flushes, trailers and http.ResponseController work
// through the wrappers.
package response

import (
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// Hook changes h, the header of the final response to r with the given status. It is called once.
type Hook func(r *http.Request, status int, h http.Header)

// Decorate returns a stage that calls hook for every response of the later stages. If a later stage refuses, hook is
// called with the refusal's status before the error is passed on, so that the error response has the header too.
func Decorate(hook Hook) stage.Stage {
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			d := &decorator{Writer: Writer{ResponseWriter: w}, hook: hook, r: r}
			d.OnHeader = d
			err := next.ServeHTTP(d, r)
			status := http.StatusOK
			if err != nil {
				status = httperr.From(err).Status
			}
			d.begin(status) // for a response that is not yet written
			return err
		})
	}
}

// decorator calls hook before the final header.
type decorator struct {
	Writer
	hook Hook
	r    *http.Request
}

// BeforeHeader calls the hook.
func (d *decorator) BeforeHeader(status int) { d.hook(d.r, status, d.Header()) }
