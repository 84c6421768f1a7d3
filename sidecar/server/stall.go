package server

import (
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/response"
)

// Limits against clients that hold connections without using them.
const (
	readHeaderTimeout = 10 * time.Second
	// idleTimeout is the longest that a class may set. The places of the connections have the one that applies.
	idleTimeout = time.Hour + time.Minute
	// stallTimeout is how long one read of a body, or one write of a response, may make no progress. A complete
	// transfer may take any time.
	stallTimeout = time.Minute
	maxHeader    = 64 << 10
)

// withStallTimeouts ends exchanges that stall: a client that sends no byte of its body, or reads nothing of the
// response, for the stall time. A handler may be silent for any time. The body of an HTTP/2 request is not limited,
// because a gRPC stream may be silent for a long time. There the connection is pinged.
func withStallTimeouts(stall time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := &stallTimeouts{control: http.NewResponseController(w), stall: stall}
		if r.ProtoMajor == 1 && r.Body != nil && r.Body != http.NoBody {
			p.body = true
			// A copy: net/http looks at the body of its own request to decide whether it must be read to the end, and
			// does not know this body. It would wait for a body that the client will not send.
			r = r.WithContext(r.Context())
			r.Body = &stallBody{ReadCloser: r.Body, stallTimeouts: p}
		}
		next.ServeHTTP(&stallWriter{Writer: response.Writer{ResponseWriter: w}, stallTimeouts: p}, r)
		p.finish()
	})
}

// stallTimeouts sets one exchange's deadlines. No deadline remains after an operation: net/http continues to read to
// notice when the client disconnects, and the timer of an HTTP/2 stream ends it even if nothing is being written.
type stallTimeouts struct {
	control *http.ResponseController
	stall   time.Duration
	// body says that the body is read from the connection under a deadline.
	body bool

	mu sync.Mutex
	// reading counts the operations that may read the body. They overlap, because the app may respond before it has
	// the complete body.
	reading int
	// finished says that the handler has returned, so the deadlines belong to the next request.
	finished bool
}

// beginRead and endRead surround every operation that may read the body. Errors are ignored: a connection that does
// not support deadlines has none.
func (p *stallTimeouts) beginRead() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reading++; p.body && !p.finished {
		_ = p.control.SetReadDeadline(time.Now().Add(p.stall))
	}
}

func (p *stallTimeouts) endRead() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reading--; p.body && !p.finished && p.reading == 0 {
		_ = p.control.SetReadDeadline(time.Time{})
	}
}

// beginWrite and endWrite surround every operation that may write to the client. net/http reads the rest of the body
// before it sends the header, so this read is bounded as well.
func (p *stallTimeouts) beginWrite() {
	p.beginRead()
	_ = p.control.SetWriteDeadline(time.Now().Add(p.stall))
}

func (p *stallTimeouts) endWrite() {
	_ = p.control.SetWriteDeadline(time.Time{})
	p.endRead()
}

// finish bounds what net/http does after the handler: it reads the rest of the body and sends the buffered response.
// net/http sets the deadlines again before the next request.
func (p *stallTimeouts) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finished = true
	deadline := time.Now().Add(p.stall)
	_ = p.control.SetWriteDeadline(deadline)
	if p.body {
		_ = p.control.SetReadDeadline(deadline)
	}
}

type stallBody struct {
	io.ReadCloser
	stallTimeouts *stallTimeouts
}

// Read reads from the client's body.
func (b *stallBody) Read(p []byte) (int, error) {
	b.stallTimeouts.beginRead()
	defer b.stallTimeouts.endRead()
	return b.ReadCloser.Read(p)
}

// Close reads a part of the rest of the body, as net/http does.
func (b *stallBody) Close() error {
	b.stallTimeouts.beginRead()
	defer b.stallTimeouts.endRead()
	return b.ReadCloser.Close()
}

type stallWriter struct {
	response.Writer
	stallTimeouts *stallTimeouts
}

// WriteHeader sends informational headers immediately; the final one waits for the body.
func (w *stallWriter) WriteHeader(status int) {
	if status < 200 {
		w.stallTimeouts.beginWrite()
		defer w.stallTimeouts.endWrite()
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write writes to the client.
func (w *stallWriter) Write(p []byte) (int, error) {
	w.stallTimeouts.beginWrite()
	defer w.stallTimeouts.endWrite()
	return w.ResponseWriter.Write(p)
}

// FlushError sends what is buffered.
func (w *stallWriter) FlushError() error {
	w.stallTimeouts.beginWrite()
	defer w.stallTimeouts.endWrite()
	return w.stallTimeouts.control.Flush()
}
