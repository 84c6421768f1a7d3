// Package stage says what one step of the request path is: a handler that either answers, or returns an error that is
// written to the client in one place (sidecar/httpkit/httperr).
package stage

import "net/http"

// Handler serves a request or refuses it. A returned error means that nothing has been written yet; *httperr.Error carries
// what the client may know, any other error is answered as 500 without its text.
type Handler interface {
	ServeHTTP(w http.ResponseWriter, r *http.Request) error
}

// Func is a function that is a Handler.
type Func func(w http.ResponseWriter, r *http.Request) error

// ServeHTTP calls f.
func (f Func) ServeHTTP(w http.ResponseWriter, r *http.Request) error { return f(w, r) }

// Stage wraps the handler that comes after it. A nil Stage is skipped by Chain: the policy does not ask for that step.
type Stage func(next Handler) Handler

// Chain returns last behind stages, the first of which sees the request first.
func Chain(last Handler, stages ...Stage) Handler {
	for i := len(stages) - 1; i >= 0; i-- {
		if stages[i] != nil {
			last = stages[i](last)
		}
	}
	return last
}
