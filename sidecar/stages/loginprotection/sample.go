package loginprotection

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// Bounds of what is remembered of a response: bytes of its body, and of its header. A longer response is not remembered.
const (
	maxSample       = 16 << 10
	maxSampleHeader = 8 << 10
)

// sample is the app's response to a wrong password, or to a request for a new one.
type sample struct {
	Status int         `json:"status"`
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`
	// Chunked says that the app did not say how long the body is.
	Chunked bool `json:"chunked,omitempty"`
}

// form is the form of a response that the client gets, by its method, the type that it prefers, and its path if the route has several; "" for
// one that is never repeated. A HEAD request would leave a sample without its body.
func (m *Route) form(r *http.Request) string {
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodGet:
	default:
		return ""
	}
	form := r.Method + "-other"
	if httperr.PrefersHTML(r.Header.Get("Accept")) {
		form = r.Method + "-html"
	}
	if m.Match.Fixed(r.URL.Path) {
		return form
	}
	return place{r.URL.Path}.form(form)
}

// unrepeated are fields of a response that belong to one request. What a later stage sets is not in a sample anyway.
func unrepeated(name string) bool {
	switch name {
	case "Date", "Set-Cookie", "Content-Length", "Connection", "Keep-Alive", "Transfer-Encoding", "Trailer", "Upgrade", "Etag", "Last-Modified", "Age", "Retry-After":
		return true
	}
	return strings.HasPrefix(name, "Postern-") || strings.Contains(strings.ToLower(name), "request-id") || strings.HasPrefix(strings.ToLower(name), "x-ratelimit")
}

// write repeats the response as the app sent it: in chunks, or with the length of the body.
func (s *sample) write(w http.ResponseWriter, method string) {
	h := w.Header()
	for name, values := range s.Header {
		h[name] = append([]string(nil), values...)
	}
	if _, ok := s.Header["Content-Type"]; !ok {
		h["Content-Type"] = nil // otherwise net/http guesses one
	}
	if !s.Chunked {
		h.Set("Content-Length", strconv.Itoa(len(s.Body)))
	}
	w.WriteHeader(s.Status)
	if s.Chunked {
		_ = http.NewResponseController(w).Flush() // on an error the client has disconnected
	}
	if method != http.MethodHead {
		_, _ = w.Write(s.Body) // the same
	}
}

var errSample = errors.New("reading stored response: it is malformed")

// decodeSample checks what other processes may have written.
func decodeSample(b []byte) (*sample, error) {
	var s sample
	if len(b) > 2*(maxSample+maxSampleHeader) || json.Unmarshal(b, &s) != nil || s.Status < 200 || s.Status > 599 || len(s.Body) > maxSample {
		return nil, errSample
	}
	for name := range s.Header {
		if http.CanonicalHeaderKey(name) != name || unrepeated(name) {
			return nil, errSample
		}
	}
	return &s, nil
}
