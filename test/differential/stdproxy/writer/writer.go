// Package writer has the ResponseWriter that those of the standard-library proxy embed.
package writer

import (
	"bufio"
	"net"
	"net/http"
)

// Writer passes everything on to the wrapped ResponseWriter.
type Writer struct{ http.ResponseWriter }

// Unwrap returns the wrapped ResponseWriter.
func (w *Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// FlushError sends what was written.
func (w *Writer) FlushError() error { return http.NewResponseController(w.ResponseWriter).Flush() }

// Hijack takes over the connection.
func (w *Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}
