package server

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/conn/pace"
	"github.com/posterndev/postern/sidecar/httpkit/response"
)

// Limits against clients that hold connections without using them.
const (
	readHeaderTimeout = 10 * time.Second
	// idleTimeout is the longest that a class may set. The places of the connections have the one that applies.
	idleTimeout = time.Hour + time.Minute
	// stallTimeout is how long one read of a body, or one write of a response, may make no progress. A complete
	// transfer may take any time, as long as the body has its rate; see pace.Pace.
	stallTimeout = time.Minute
	maxHeader    = 64 << 10
	// paceWindow is how long a client may let the sidecar wait for its body without sending a byte; see pace.Pace.
	paceWindow = 20 * time.Second
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
	// minRate returns the minimum rate of request bodies in bytes per second; 0, or a nil function, is none.
	minRate func() int
	// window replaces paceWindow in tests.
	window time.Duration
	// onSlow, if not nil, is called for each body that ended because it was too slow.
	onSlow func()
}

// withStallTimeouts ends exchanges that stall: a client that sends its body too slowly, or reads nothing of the response for the
// stall time. A handler may be silent for any time. The bodies of gRPC calls are not limited, because a stream may be silent for a
// long time. There the connection is pinged.
func withStallTimeouts(c stallConfig, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := &stallTimeouts{control: http.NewResponseController(w), stall: c.stall, window: cmp.Or(c.window, paceWindow)}
		if r.Body != nil && r.Body != http.NoBody {
			if c.minRate != nil && !isGRPC(r) {
				p.pace = pace.New(c.minRate(), p.window)
			}
			p.body, p.stream = r.ProtoMajor == 1, r.ProtoMajor == 2 && p.pace.Limits()
			if p.body && r.ContentLength <= maxRest && r.Header.Get("Expect") == "" {
				p.unread = r.Body
			}
		}
		if p.body || p.stream {
			// A copy: net/http looks at the body of its own request to decide whether it must be read to the end, and
			// does not know this body. It would wait for a body that the client will not send.
			r = r.WithContext(r.Context())
			r.Body = &stallBody{ReadCloser: r.Body, stallTimeouts: p, onSlow: c.onSlow}
		}
		next.ServeHTTP(&stallWriter{Writer: response.Writer{ResponseWriter: w}, stallTimeouts: p}, r)
		p.finish(w.Header())
	})
}

// stallTimeouts sets one exchange's deadlines. No deadline remains after an operation: net/http continues to read to
// notice when the client disconnects, and the timer of an HTTP/2 stream ends it even if nothing is being written.
type stallTimeouts struct {
	control *http.ResponseController
	stall   time.Duration
	// body says that the body is read from the connection under a deadline; stream says that it is an HTTP/2 stream with a pace.
	body, stream bool

	mu sync.Mutex
	// unread is an HTTP/1.1 body that may be discarded if nothing has read it; otherwise nil.
	unread io.Reader
	pace   pace.Pace
	// window is that of the pace.
	window time.Duration
	// reading counts the operations that may read the body. They overlap, because the app may respond before it has
	// the complete body.
	reading int
	// started says that something has read from the body, discarded that settle has.
	started, discarded bool
	// timer ends the read of an HTTP/2 stream.
	timer *time.Timer
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
		_ = p.control.SetReadDeadline(time.Now().Add(p.pace.Wait(p.stall)))
	}
}

func (p *stallTimeouts) endRead() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reading--; p.body && !p.finished && p.reading == 0 {
		_ = p.control.SetReadDeadline(time.Time{})
	}
}

// beginBody and endBody surround a read of the body by the handler, or by the proxy for the app. ok is false if the body is gone.
func (p *stallTimeouts) beginBody() (begin time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.discarded {
		return begin, false
	}
	p.started = true
	p.startRead()
	if p.stream && !p.finished {
		// net/http's own timer of a stream costs a message to the connection's goroutine for each change.
		if wait := p.pace.Wait(p.window); p.timer == nil {
			p.timer = time.AfterFunc(wait, p.endStream)
		} else {
			p.timer.Reset(wait)
		}
	}
	return time.Now(), true
}

func (p *stallTimeouts) endBody(begin time.Time, n int) {
	p.mu.Lock()
	if p.timer != nil {
		p.timer.Stop()
	}
	p.pace.Spend(time.Since(begin), n)
	p.mu.Unlock()
	p.endRead()
}

// endStream ends the body of an HTTP/2 stream. After the handler has returned, net/http may use the stream's memory again.
func (p *stallTimeouts) endStream() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.finished {
		_ = p.control.SetReadDeadline(time.Unix(1, 0))
	}
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
	if p.timer != nil {
		p.timer.Stop()
	}
	_ = p.control.SetWriteDeadline(time.Now().Add(p.stall))
	if p.body {
		_ = p.control.SetReadDeadline(time.Now().Add(min(p.stall, lingerTime)))
	}
}

type stallBody struct {
	io.ReadCloser
	stallTimeouts *stallTimeouts
	onSlow        func()
}

// Read reads from the client's body.
func (b *stallBody) Read(p []byte) (int, error) {
	begin, ok := b.stallTimeouts.beginBody()
	if !ok {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.ReadCloser.Read(p)
	b.stallTimeouts.endBody(begin, n)
	if b.onSlow != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		b.onSlow()
		b.onSlow = nil
	}
	return n, err
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
