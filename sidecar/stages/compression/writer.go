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

	// started says that the handler has written the final header, with status.
	started bool
	status  int
	// held says that the header is held back until the body in buf is long enough.
	held bool
	buf  []byte
	// encoder is nil if the response is not encoded.
	encoder encoder
	// written says that the encoder has received data.
	written bool
}

// WriteHeader passes informational headers on. At the final header it decides whether to encode the body, unless that
// depends on a length that is still unknown.
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
	if status == http.StatusNotModified && w.policy.varies304(w.r, w.info, h) || status == http.StatusPartialContent && w.policy.varies(w.r, w.info, h) {
		field.AddVary(h, "Accept-Encoding") // as in the 200 response (RFC 9110 §15.4.5, §15.3.7)
	}
	if !w.policy.eligible(w.r, w.info, status, h) {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	field.AddVary(h, "Accept-Encoding")
	length, known := contentLength(h)
	switch {
	case w.coding == identity || (known && length < max(1, w.policy.minSize)):
		w.ResponseWriter.WriteHeader(status)
	case w.r.Method == http.MethodHead:
		w.describe()
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

// weakenETag makes a strong tag weak.
func weakenETag(h http.Header) {
	if tag := h.Get("Etag"); strings.HasPrefix(tag, `"`) {
		h.Set("Etag", "W/"+tag)
	}
}

// encode sends the header and starts encoding. If there is no place for an encoder, or none can be created, the response is not encoded.
func (w *writer) encode() {
	w.held = false
	if w.policy.places.take() {
		e, err := w.policy.pools[w.coding].get(w.ResponseWriter)
		if err == nil {
			w.encoder = e
			w.describe()
		} else {
			w.policy.places.release()
		}
	}
	w.ResponseWriter.WriteHeader(w.status)
}

// leave gives back the place of an encoder that is not closed.
func (w *writer) leave() {
	if w.encoder != nil {
		w.encoder = nil
		w.policy.places.release()
	}
}

// describe changes the fields that differ between the encoded response and the app's. A HEAD response gets the same fields as the
// one to GET (RFC 9110 §9.3.2). A GET response of unknown length is encoded too: the proxy flushes what it has of such a body.
func (w *writer) describe() {
	h := w.Header()
	h["Content-Encoding"] = []string{w.coding.name()}
	delete(h, "Content-Length")
	delete(h, "Accept-Ranges")
	weakenETag(h)
}

// Write encodes p, buffers it, or passes it on.
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

// release sends what is buffered.
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

// FlushError sends everything that was written, at least the header. A response whose length is still unknown is then
// a stream, and is encoded.
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

// close ends the body. It returns no errors: the header was already sent, so no error response is possible, and a
// body that is cut short lacks the end marker of its coding, which every client checks.
func (w *writer) close() {
	if w.held { // shorter than MinSize
		w.held = false
		w.ResponseWriter.WriteHeader(w.status)
		_ = w.release()
		return
	}
	if e := w.encoder; e != nil {
		w.encoder = nil
		defer w.policy.places.release()
		_ = e.Close()
		w.policy.pools[w.coding].put(e)
	}
}
