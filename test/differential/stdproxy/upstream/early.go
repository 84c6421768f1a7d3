package upstream

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync/atomic"
	"syscall"
)

// appConn is an HTTP/1.1 connection to the app that is not used again after an early response: one that begins before the request's
// body was sent. An app that has not read the body when it responds may take the rest for the next request (RFC 9112 §9.3). The
// transport cannot be told to give up the connection, but it obeys Connection: close in the response, so Read adds that field. The
// body is still sent until the response ends, because an app may respond while it reads.
type appConn struct {
	net.Conn
	// sending says that a request with a body is not sent yet, and writing that a Write is in progress: the transport reports the
	// request as sent just before its last Write.
	sending, writing atomic.Bool
	// begun says that a request has begun, and nothing of its response was read.
	begun atomic.Bool
	// wrote says that a part of the request was sent, and switched that the app responded with 101.
	wrote, switched atomic.Bool
	// Used only by the reader:
	head responseHead
	// ahead is read from the app, with the added field, and not yet returned.
	ahead []byte
}

// watchSending returns r so that its appConn knows while r is being sent.
func watchSending(r *http.Request) *http.Request {
	var conn *appConn
	return r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn: func(got httptrace.GotConnInfo) {
			if conn, _ = got.Conn.(*appConn); conn != nil {
				conn.sending.Store(true)
				conn.begun.Store(true)
				conn.wrote.Store(false)
			}
		},
		WroteRequest: func(wrote httptrace.WroteRequestInfo) {
			if conn != nil && wrote.Err == nil {
				conn.sending.Store(false)
			}
		},
	}))
}

// Write sends p. An app that responds early may close the connection without reading the body. Then the rest of the body goes nowhere
// instead of failing: at an error the transport would give up the response, which waits to be read. If there is none, Read fails.
func (c *appConn) Write(p []byte) (int, error) {
	c.writing.Store(true)
	defer c.writing.Store(false)
	n, err := c.Conn.Write(p)
	if closed := errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET); closed && c.wrote.Load() && !c.switched.Load() {
		return len(p), nil
	}
	c.wrote.Store(true)
	return n, err
}

// CloseWrite closes the sending half of an upgraded connection.
func (c *appConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Read returns what the app sends, with Connection: close in an early response.
func (c *appConn) Read(p []byte) (int, error) {
	if len(c.ahead) == 0 {
		n, err := c.Conn.Read(p)
		if n > 0 && c.begun.Swap(false) {
			c.head = responseHead{active: true}
		}
		at := c.head.statusLine(p[:n])
		if c.head.switched {
			c.switched.Store(true)
		}
		if at < 0 || !c.sending.Load() && !c.writing.Load() {
			return n, err
		}
		c.ahead = slices.Concat(p[:at], []byte("Connection: close\r\n"), p[at:n]) // a later Read returns err again
	}
	n := copy(p, c.ahead)
	if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
		c.ahead = nil
	}
	return n, nil
}

// responseHead finds the end of the status line of a final response. The zero value looks for nothing.
type responseHead struct {
	active bool
	// switched says that the final response is a 101.
	switched bool
	// interim says that the fields of an informational response are being read. length is the length of the line so far.
	interim bool
	line    [len("HTTP/1.1 100")]byte
	length  int
}

// statusLine reads b, and returns the position after the final response's status line; -1 if b does not have its end. It returns -1
// for a 101 too, whose Connection field says what it switches to.
func (h *responseHead) statusLine(b []byte) int {
	for i := 0; i < len(b) && h.active; i++ {
		switch c := b[i]; {
		case c == '\n' && h.interim:
			h.interim, h.length = h.length > 0, 0
		case c == '\n':
			status := string(h.line[len("HTTP/1.1 "):min(max(h.length, len("HTTP/1.1 ")), len(h.line))])
			h.interim, h.length = len(status) == 3 && status[0] == '1' && status != "101", 0
			h.active, h.switched = h.interim, status == "101"
			if !h.active && !h.switched {
				return i + 1
			}
		case c != '\r':
			if h.length < len(h.line) {
				h.line[h.length] = c
			}
			h.length++
		}
	}
	return -1
}
