// Package response is what stages see and change responses with: Decorate changes the header just before it is sent,
// Intercept sees or replaces what comes from behind a stage, and Writer is the base of every ResponseWriter in the sidecar.
//
// Informational responses (100, 103) pass untouched, and a connection that is hijacked (WebSocket) is left alone: its header
// is written past the ResponseWriter. Flushes, trailers and http.ResponseController work through the wrappers.
package response

import (
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// Hook changes h, the header of the final response to r with the given status. It is called once.
type Hook func(r *http.Request, status int, h http.Header)

// Decorate returns a stage that calls hook for every response from behind it. Where a stage there refuses, the hook is
// called with the refusal's status before the error is passed on, so that whatever writes it further out keeps the header.
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
			d.begin(status) // for a response that nobody has written yet
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
