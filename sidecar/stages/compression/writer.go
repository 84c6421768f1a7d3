package compression

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/field"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/response"
)

// writer encodes one response, or passes it through.
type writer struct {
	response.Writer
	policy *policy
	r      *http.Request
	info   *request.Info
	coding coding

	// started says that the final header came from the handler, with status.
	started bool
	status  int
	// held says that the header waits in here until the body in buf is long enough.
	held bool
	buf  []byte
	// encoder is nil where the response passes through.
	encoder encoder
	// written says that the encoder was given something.
	written bool
}

// WriteHeader passes informational headers on. At the final one it decides what becomes of the body, unless that has to
// wait for its length.
func (w *writer) WriteHeader(status int) {
	if !response.IsFinal(status) {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.started {
		return
	}
	w.started, w.status = true, status
	h := w.Header()
	if status == http.StatusNotModified && w.coding != identity {
		weakenETag(h)
	}
	if !w.policy.eligible(w.r, w.info, status, h) {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	field.AddVary(h, "Accept-Encoding")
	length, known := contentLength(h)
	switch {
	case w.coding == identity || w.r.Method == http.MethodHead || (known && length < max(1, w.policy.minSize)):
		w.ResponseWriter.WriteHeader(status)
	case known || w.policy.minSize == 0:
		w.encode()
	default:
		w.held = true
	}
}

func contentLength(h http.Header) (length int, known bool) {
	n, err := strconv.Atoi(h.Get("Content-Length"))
	return n, err == nil
}

// weakenETag marks a strong tag as weak.
func weakenETag(h http.Header) {
	if tag := h.Get("Etag"); strings.HasPrefix(tag, `"`) {
		h.Set("Etag", "W/"+tag)
	}
}

// encode sends the header and starts encoding. Where there is no encoder the response passes through as it is.
func (w *writer) encode() {
	w.held = false
	e, err := w.policy.pools[w.coding].get(w.ResponseWriter)
	if err == nil {
		w.encoder = e
		h := w.Header()
		h["Content-Encoding"] = []string{w.coding.name()}
		delete(h, "Content-Length")
		delete(h, "Accept-Ranges")
		weakenETag(h)
	}
	w.ResponseWriter.WriteHeader(w.status)
}

// Write encodes p, holds it back, or passes it through.
func (w *writer) Write(p []byte) (int, error) {
	if !w.started {
		w.WriteHeader(http.StatusOK)
	}
	if w.held {
		if len(w.buf)+len(p) < w.policy.minSize {
			w.buf = append(w.buf, p...)
			return len(p), nil
		}
		w.encode()
		if err := w.release(); err != nil {
			return 0, err
		}
	}
	return w.send(p)
}

// release sends what was held back.
func (w *writer) release() error {
	if len(w.buf) == 0 {
		return nil
	}
	buf := w.buf
	w.buf = nil
	_, err := w.send(buf)
	return err
}

func (w *writer) send(p []byte) (int, error) {
	if w.encoder == nil {
		return w.ResponseWriter.Write(p)
	}
	w.written = true
	return w.encoder.Write(p)
}

// FlushError sends all that was written, the header at least. A response whose length is still unknown is a stream then,
// and is encoded.
func (w *writer) FlushError() error {
	if !w.started {
		w.WriteHeader(http.StatusOK)
	}
	if w.held {
		w.encode()
		if err := w.release(); err != nil {
			return err
		}
	}
	if w.encoder != nil && w.written {
		if err := w.encoder.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// close ends the body. Errors are not passed on: the header has gone out, so nobody could answer with them, and what is cut
// short is short of the coding's own end, which every client checks.
func (w *writer) close() {
	if w.held { // shorter than MinSize
		w.held = false
		w.ResponseWriter.WriteHeader(w.status)
		_ = w.release()
		return
	}
	if e := w.encoder; e != nil {
		w.encoder = nil
		_ = e.Close()
		w.policy.pools[w.coding].put(e)
	}
}
