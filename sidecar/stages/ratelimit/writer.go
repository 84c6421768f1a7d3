package ratelimit

import "github.com/posterndev/postern/sidecar/httpkit/response"

// writer sets the rate limit fields just before the header is sent, after the app has set its own fields.
type writer struct {
	response.Writer
	fields shownFields
}

// BeforeHeader sets the fields.
func (w *writer) BeforeHeader(int) { w.fields.set(w.Header()) }
