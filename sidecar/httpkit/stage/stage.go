// Package stage defines one step of the request path: a handler that either responds, or returns an error that one
// place writes to the client (sidecar/httpkit/httperr).
package stage

import "net/http"

// Handler serves a request or refuses it. A returned error means that nothing was written yet. An *httperr.Error has
// the text for the client; any other error becomes a 500 without its text.
//
// A server reuses the request, its header and context, the ResponseWriter, and the request's Info for later requests. So ServeHTTP, and every goroutine
// that it starts, uses them only until it returns, or panics. Work that lasts longer gets copies of what it needs, and the context of request.Detach. The
// texts in them, and the slices of lines in a header, may be kept; nobody changes lines in place. An accepted WebSocket outlives ServeHTTP: what
// must end with it, such as a place, ends by upgraded.End in place of a defer statement alone. Until then request, Info and ResponseWriter stay.
type Handler interface {
	ServeHTTP(w http.ResponseWriter, r *http.Request) error
}

// Func is a function that implements Handler.
type Func func(w http.ResponseWriter, r *http.Request) error

// ServeHTTP calls f.
func (f Func) ServeHTTP(w http.ResponseWriter, r *http.Request) error { return f(w, r) }

// Stage wraps the handler that comes after it. Chain skips a nil Stage: the policy does not use that step.
type Stage func(next Handler) Handler

// Chain returns last after stages. The first stage sees the request first.
func Chain(last Handler, stages ...Stage) Handler {
	for i := len(stages) - 1; i >= 0; i-- {
		if stages[i] != nil {
			last = stages[i](last)
		}
	}
	return last
}
