package response

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// HeaderHook is called for the final header.
type HeaderHook interface {
	// BeforeHeader is called once with the status, just before the header is sent. It may change the header.
	BeforeHeader(status int)
}

// Writer is the base of the sidecar's ResponseWriters: it passes everything to the ResponseWriter that it wraps.
// Embed it and override the methods that differ. Three methods can send the header: WriteHeader, Write and
// FlushError. Set OnHeader to act before the first of them, or override all three.
//
// Writer deliberately does not implement http.Flusher: an inherited Flush would not call an overridden FlushError.
// The sidecar uses http.ResponseController everywhere, which calls FlushError.
type Writer struct {
	http.ResponseWriter
	// OnHeader may be nil. It is an interface and not a function, so that it needs no allocation.
	OnHeader HeaderHook
	// begun says that the final header was sent, or that the connection is hijacked.
	begun bool
	// hooks are those of the stages inside a Host, the outermost first; nil for no Host.
	hooks []hooked
}

// begin calls the hook for the final header.
func (w *Writer) begin(status int) {
	if w.begun {
		return
	}
	w.begun = true
	w.call(0, status)
	if w.OnHeader != nil {
		w.OnHeader.BeforeHeader(status)
	}
}

// WriteHeader sends the header. Another header follows an informational one (1xx except 101).
func (w *Writer) WriteHeader(status int) {
	if IsFinal(status) {
		w.begin(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write sends the header with status 200 if no header was sent, and then p.
func (w *Writer) Write(p []byte) (int, error) {
	w.begin(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// PassFrom sends the header as Write does, and then body: without a copy in this process if the wrapped ResponseWriter can (io.ReaderFrom), and
// otherwise in pieces of the length of buffer, or of 32 KiB if that is nil. A type whose Write only passes bytes on implements
// io.ReaderFrom with it. Writer itself does not: a type that inspects bytes in Write would inherit a way around it.
func (w *Writer) PassFrom(body io.Reader, buffer []byte) (int64, error) {
	w.begin(http.StatusOK)
	if to, ok := w.ResponseWriter.(io.ReaderFrom); ok {
		return to.ReadFrom(body)
	}
	return io.CopyBuffer(onlyWriter{w.ResponseWriter}, body, buffer)
}

// onlyWriter hides everything but Write.
type onlyWriter struct{ io.Writer }

// FlushError sends what is buffered, at least the header. http.ResponseController calls it.
func (w *Writer) FlushError() error {
	w.begin(http.StatusOK)
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack hands the connection over. The hook is not called, because the header is then not written through the
// ResponseWriter.
func (w *Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.begun = true
	}
	return conn, rw, err
}

// EndBody ends all reading of the request's body, if the server below w can. It reports whether it can.
func EndBody(w http.ResponseWriter) bool {
	for {
		switch t := w.(type) {
		case interface{ EndBody() }:
			t.EndBody()
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = t.Unwrap()
		default:
			return false
		}
	}
}

// Unwrap lets http.ResponseController set deadlines and full duplex.
func (w *Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// IsFinal reports whether status is the status of a final header. This is true for 101, but not for the other
// informational statuses.
func IsFinal(status int) bool { return status >= 200 || status == http.StatusSwitchingProtocols }
