package deliver

import (
	"encoding/json"
	"errors"
	"net/http"
)

// refusal is a response other than a document: status and detail are sent to the client, cause is only logged.
type refusal struct {
	status int
	detail string
	cause  error
}

func (r *refusal) Error() string {
	if r.cause == nil {
		return r.detail
	}
	return r.detail + ": " + r.cause.Error()
}

func (r *refusal) Unwrap() error { return r.cause }

// problem writes err as an RFC 9457 problem document, without its causes, and returns the status.
func problem(w http.ResponseWriter, err error) int {
	r := &refusal{status: http.StatusInternalServerError, detail: "the operator could not respond"}
	errors.As(err, &r)
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	switch r.status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="postern"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(r.status)
	// The status is sent; an error here means that the client has disconnected.
	_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(r.status), "status": r.status, "detail": r.detail})
	return r.status
}
