package server

import (
	"cmp"
	"context"
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

// restTime is how long a refusal waits for the rest of a body that nothing has read, so that the connection can be kept, and lingerTime how
// long the connection of a client that still sends its body stays open after the response. Without it, the client's system would discard
// the response.
const (
	restTime   = 50 * time.Millisecond
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

// withStallTimeouts ends HTTP/2 streams that stall: a client that sends its body too slowly, or takes nothing of the response for the
// stall time. A handler may be silent for any time. The bodies of gRPC calls are not limited, because a stream may be silent for a
// long time; its connection is pinged. Package http1/server has the times of HTTP/1.x.
func withStallTimeouts(c stallConfig, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &streamWriter{Writer: response.Writer{ResponseWriter: w}, stall: c.stall}
		if c.minRate != nil && !isGRPC(r) {
			s.window = cmp.Or(c.window, paceWindow)
			if s.pace = pace.New(c.minRate(), s.window); s.pace.Limits() {
				s.body = streamBody{ReadCloser: r.Body, stream: s, onSlow: c.onSlow}
				r.Body = &s.body
			}
		}
		next.ServeHTTP(s, r)
		s.finish(r.Context())
	})
}

// streamWriter bounds how long one HTTP/2 stream waits for its client. It has timers of its own, because each change of net/http's deadlines is
// a message to the connection's goroutine.
type streamWriter struct {
	response.Writer
	stall time.Duration
	body  streamBody
	// pace, window and the timer that ends a read are for the goroutine that reads the body.
	pace    pace.Pace
	window  time.Duration
	reading *time.Timer // nil before the first read

	mu sync.Mutex
	// writes counts the writes in progress: a proxy flushes in a goroutine of its own. writing ends them; it is nil before the first.
	writes  int
	writing *time.Timer
	// finished says that the handler has returned: net/http may use the stream's memory again.
	finished bool
}

// control is what net/http's ResponseWriter of a stream has for deadlines.
type control interface {
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// expire ends what the stream waits for, by a deadline in the past.
func (s *streamWriter) expire(set func(control, time.Time) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.ResponseWriter.(control); ok && !s.finished {
		_ = set(c, time.Unix(1, 0))
	}
}

// after starts the timer, which is made when it is first used.
func (s *streamWriter) after(timer **time.Timer, wait time.Duration, set func(control, time.Time) error) {
	if *timer == nil {
		*timer = time.AfterFunc(wait, func() { s.expire(set) })
		return
	}
	(*timer).Reset(wait)
}

// beginWrite and endWrite surround every operation that may write to the client.
func (s *streamWriter) beginWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	s.after(&s.writing, s.stall, control.SetWriteDeadline)
}

func (s *streamWriter) endWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writes--; s.writes == 0 {
		s.writing.Stop()
	}
}

// finish bounds what net/http does after the handler: it sends the rest of the response. ctx is the stream's. There is no rest if the stream has
// ended, and net/http would keep it in memory until the deadline, together with its connection.
func (s *streamWriter) finish(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished = true
	if c, ok := s.ResponseWriter.(control); ok && ctx.Err() == nil {
		_ = c.SetWriteDeadline(time.Now().Add(s.stall))
	}
}

// WriteHeader sends informational headers immediately; net/http keeps the final one until something is sent.
func (s *streamWriter) WriteHeader(status int) {
	if response.IsFinal(status) {
		s.ResponseWriter.WriteHeader(status)
		return
	}
	s.beginWrite()
	defer s.endWrite()
	// If the client resets the stream, net/http returns while it still reads the header. It reads a copy if there is a Content-Length, which it
	// does not send.
	h := s.Header()
	if _, ok := h["Content-Length"]; !ok {
		h["Content-Length"] = nil
		defer delete(h, "Content-Length")
	}
	s.ResponseWriter.WriteHeader(status)
}

// Write writes to the client.
func (s *streamWriter) Write(p []byte) (int, error) {
	s.beginWrite()
	defer s.endWrite()
	return s.ResponseWriter.Write(p)
}

// FlushError sends what is buffered.
func (s *streamWriter) FlushError() error {
	s.beginWrite()
	defer s.endWrite()
	return http.NewResponseController(s.ResponseWriter).Flush()
}

// streamBody is a body that must arrive at the stream's pace.
type streamBody struct {
	io.ReadCloser
	stream *streamWriter
	onSlow func()
}

// Read reads from the client's body.
func (b *streamBody) Read(p []byte) (int, error) {
	s := b.stream
	begin := time.Now()
	s.after(&s.reading, s.pace.Wait(s.window), control.SetReadDeadline)
	n, err := b.ReadCloser.Read(p)
	s.reading.Stop()
	s.pace.Spend(time.Since(begin), n)
	if b.onSlow != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		b.onSlow()
		b.onSlow = nil
	}
	return n, err
}
