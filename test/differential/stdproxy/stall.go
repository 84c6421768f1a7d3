package stdproxy

import (
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/posterndev/postern/test/differential/stdproxy/writer"
)

// Limits against clients that hold connections without using them.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = time.Hour
	// stallTimeout is how long one read of a body, or one write of a response, may make no progress. A complete
	// transfer may take any time, as long as the body has its rate; see pace.
	stallTimeout = time.Minute
	maxHeader    = 64 << 10
)

const (
	// restTime is how long a refusal waits for the rest of a body that nothing has read, so that the connection can be kept, and
	// maxRest is how much of it is read, in bytes; net/http has the same bound.
	restTime = 50 * time.Millisecond
	maxRest  = 256 << 10
	// lingerTime is how long the connection of a client that still sends its body stays open after the response. Without it, the
	// client's system would discard the response.
	lingerTime = 5 * time.Second
)

// stallConfig bounds how long an exchange may wait for its client.
type stallConfig struct {
	// stall bounds one read of an HTTP/1.1 body, and one write of a response.
	stall time.Duration
}

// withStallTimeouts ends exchanges that stall: a client that sends its body too slowly, or reads nothing of the response for the
// stall time. A handler may be silent for any time.
func withStallTimeouts(c stallConfig, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := &stallTimeouts{control: http.NewResponseController(w), stall: c.stall}
		if r.Body != nil && r.Body != http.NoBody {
			p.body = true
			if r.ContentLength <= maxRest && r.Header.Get("Expect") == "" {
				p.unread = r.Body
			}
		}
		if p.body {
			// A copy: net/http looks at the body of its own request to decide whether it must be read to the end, and
			// does not know this body. It would wait for a body that the client will not send.
			r = r.WithContext(r.Context())
			r.Body = &stallBody{ReadCloser: r.Body, stallTimeouts: p}
		}
		next.ServeHTTP(&stallWriter{Writer: writer.Writer{ResponseWriter: w}, stallTimeouts: p}, r)
		p.finish(w.Header())
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
	// unread is an HTTP/1.1 body that may be discarded if nothing has read it; otherwise nil.
	unread io.Reader
	// reading counts the operations that may read the body. They overlap, because the app may respond before it has
	// the complete body.
	reading int
	// started says that something has read from the body, discarded that settle has.
	started, discarded bool
	// finished says that the handler has returned, so the deadlines belong to the next request.
	finished bool
}

// beginRead and endRead surround every operation that may read the body. Errors are ignored: a connection that does
// not support deadlines has none.
func (p *stallTimeouts) beginRead() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.startRead()
}

func (p *stallTimeouts) startRead() {
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

// beginBody begins a read of the body by the handler, or by the proxy for the app. ok is false if the body is gone.
func (p *stallTimeouts) beginBody() (ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.discarded {
		return false
	}
	p.started = true
	p.startRead()
	return true
}

// settle is called before the final header. If nothing has read the body, the response is a refusal, and net/http would read a part
// of the body before it sends it: a client that sends no more would wait for its response. So the body has restTime to arrive.
// Otherwise the response says that the connection will be closed, and is sent at once.
func (p *stallTimeouts) settle(h http.Header) {
	p.mu.Lock()
	defer p.mu.Unlock()
	unread := p.unread
	p.unread = nil
	if unread == nil || p.started || p.finished {
		return
	}
	p.started = true
	_ = p.control.SetReadDeadline(time.Now().Add(min(p.stall, restTime)))
	p.discarded = true
	if n, err := io.CopyN(io.Discard, unread, maxRest+1); err != io.EOF || n > maxRest {
		h.Set("Connection", "close")
	}
	_ = p.control.SetReadDeadline(time.Time{})
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
func (p *stallTimeouts) finish(h http.Header) {
	p.settle(h)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finished = true
	_ = p.control.SetWriteDeadline(time.Now().Add(p.stall))
	if p.body {
		_ = p.control.SetReadDeadline(time.Now().Add(min(p.stall, lingerTime)))
	}
}

type stallBody struct {
	io.ReadCloser
	stallTimeouts *stallTimeouts
}

// Read reads from the client's body.
func (b *stallBody) Read(p []byte) (int, error) {
	if !b.stallTimeouts.beginBody() {
		return 0, http.ErrBodyReadAfterClose
	}
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
	writer.Writer
	stallTimeouts *stallTimeouts
}

// WriteHeader sends informational headers immediately; the final one waits for the body.
func (w *stallWriter) WriteHeader(status int) {
	if status < 200 {
		w.stallTimeouts.beginWrite()
		defer w.stallTimeouts.endWrite()
	} else {
		w.stallTimeouts.settle(w.Header())
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write writes to the client.
func (w *stallWriter) Write(p []byte) (int, error) {
	w.stallTimeouts.settle(w.Header())
	w.stallTimeouts.beginWrite()
	defer w.stallTimeouts.endWrite()
	return w.ResponseWriter.Write(p)
}

// FlushError sends what is buffered.
func (w *stallWriter) FlushError() error {
	w.stallTimeouts.settle(w.Header())
	w.stallTimeouts.beginWrite()
	defer w.stallTimeouts.endWrite()
	return w.stallTimeouts.control.Flush()
}
