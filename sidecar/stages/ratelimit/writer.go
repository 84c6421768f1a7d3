package ratelimit

import "github.com/posterndev/postern/sidecar/httpkit/response"

// writer sets the rate limit fields when the response begins, after the app has set its own.
type writer struct {
	response.Writer
	answer answer
}

// BeforeHeader sets the fields.
func (w *writer) BeforeHeader(int) { w.answer.set(w.Header()) }
