package response

import (
	"bufio"
	"net"
	"net/http"
)

// HeaderHook is told of the final header just before it is sent.
type HeaderHook interface {
	// BeforeHeader is called once, with the status. The header may still be changed.
	BeforeHeader(status int)
}

// Writer is the base of the sidecar's ResponseWriters: it passes everything to the one that it wraps. Embed it and override
// what is to differ. Three methods can send the header: WriteHeader, Write and FlushError. Set OnHeader to act before
// whichever comes first, or override all three.
//
// It is no http.Flusher on purpose: an inherited Flush would not call an overridden FlushError. http.ResponseController,
// which everything here uses, calls FlushError.
type Writer struct {
	http.ResponseWriter
	// OnHeader may be nil. It is a method's receiver and no function, so that it costs no allocation.
	OnHeader HeaderHook
	// begun says that the final header has been sent, or that the connection is hijacked.
	begun bool
}

// begin calls the hook for the final header.
func (w *Writer) begin(status int) {
	if w.begun {
		return
	}
	w.begun = true
	if w.OnHeader != nil {
		w.OnHeader.BeforeHeader(status)
	}
}

// WriteHeader sends the header. An informational one (1xx but 101) is followed by another.
func (w *Writer) WriteHeader(status int) {
	if IsFinal(status) {
		w.begin(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write sends the header with status 200 unless that has happened, and p.
func (w *Writer) Write(p []byte) (int, error) {
	w.begin(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// FlushError sends what is buffered, the header at least; http.ResponseController calls it.
func (w *Writer) FlushError() error {
	w.begin(http.StatusOK)
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack hands the connection over. Its header is then written past the ResponseWriter, so the hook is not called.
func (w *Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.begun = true
	}
	return conn, rw, err
}

// Unwrap is for http.ResponseController: deadlines and full duplex.
func (w *Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// IsFinal reports whether status ends the response's header; 101 does, the other informational ones announce another.
func IsFinal(status int) bool { return status >= 200 || status == http.StatusSwitchingProtocols }
