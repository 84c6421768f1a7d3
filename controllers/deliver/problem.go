package deliver

import (
	"encoding/json"
	"errors"
	"net/http"
)

// refusal is an answer other than a document: the status and detail are the client's, cause is the log's.
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

// problem writes err as RFC 9457 says, and returns the status. The causes of errors stay here.
func problem(w http.ResponseWriter, err error) int {
	r := &refusal{status: http.StatusInternalServerError, detail: "the operator could not answer"}
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
	// The status is out; a client that is gone by now needs no more.
	_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(r.status), "status": r.status, "detail": r.detail})
	return r.status
}
