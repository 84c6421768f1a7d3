package server

import (
	"io"
	"net/http"
	"time"
)

// Limits against clients that hold connections without using them.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	// stallTimeout is how long one read of a body, or one write of an answer, may make no progress. A transfer as a whole
	// may take any time.
	stallTimeout = time.Minute
	maxHeader    = 64 << 10
)

// patient ends exchanges that stall: a client that sends no byte of its body, or takes none of the answer, for
// the stall time. The body of an HTTP/2 request is left alone, since a gRPC stream may be silent for long; there the
// connection is pinged.
func patient(stall time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if r.ProtoMajor == 1 && r.Body != nil && r.Body != http.NoBody {
			r.Body = &patientBody{ReadCloser: r.Body, control: control, stall: stall}
		}
		next.ServeHTTP(&patientWriter{ResponseWriter: w, control: control, stall: stall}, r)
	})
}

type patientBody struct {
	io.ReadCloser
	control *http.ResponseController
	stall   time.Duration
}

func (b *patientBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(b.stall)) // a hijacked connection has its own rules
	// net/http goes on reading, to notice when the client hangs up: a deadline left behind would end a slow answer.
	defer func() { _ = b.control.SetReadDeadline(time.Time{}) }()
	return b.ReadCloser.Read(p)
}

type patientWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
}

func (w *patientWriter) Write(p []byte) (int, error) {
	_ = w.control.SetWriteDeadline(time.Now().Add(w.stall))
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
