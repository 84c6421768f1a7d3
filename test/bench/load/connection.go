// Package load sends HTTP requests for benchmarks as cheaply as it can: requests are rendered once, responses are read into one buffer
// per connection, and nothing is parsed but the status and the length. Closed sends the next request after each response. Open sends
// at a fixed rate, whatever the responses do. It reads responses of programs that the bench started, and no others.
package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
)

// Target is where requests go.
type Target struct {
	// Address is host:port.
	Address string
	// TLS is not nil if the target speaks TLS.
	TLS *tls.Config
	// HTTP2 sends requests as HTTP/2 with prior knowledge (RFC 9113 §3.3), several at a time on a connection. Requests are then the
	// header blocks that Fields.Encode renders.
	HTTP2 bool
	// NewConnection opens a connection for each request.
	NewConnection bool
}

// dialed counts connections, to spread them over addresses.
var dialed atomic.Uint32

// dial opens a connection. The target is on this machine.
func (t Target) dial(ctx context.Context) (net.Conn, error) {
	// The clients have some addresses of the loopback network, because a sidecar limits the requests of one address.
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+dialed.Add(1)%16))}}
	conn, err := d.DialContext(ctx, "tcp", t.Address)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", t.Address, err)
	}
	if t.TLS == nil {
		return conn, nil
	}
	secure := tls.Client(conn, t.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("handshake with %s: %w", t.Address, err)
	}
	return secure, nil
}

// bufferSize is more than a response's head and a small body, and enough for few reads of a large one.
const bufferSize = 64 << 10

// connection sends requests over one HTTP/1.1 connection.
type connection struct {
	net.Conn
	buffer []byte
}

// run sends requests from next until it returns nil, one at a time, and counts the responses.
func (c *connection) run(_ context.Context, next func() []byte, done *atomic.Int64) error {
	for request := next(); request != nil; request = next() {
		if err := c.do(request); err != nil {
			return err
		}
		done.Add(1)
	}
	return nil
}

// connections opens a connection for each request.
type connections struct{ target Target }

func (c connections) run(ctx context.Context, next func() []byte, done *atomic.Int64) error {
	buffer := make([]byte, bufferSize)
	for request := next(); request != nil; request = next() {
		conn, err := c.target.dial(ctx)
		if err != nil {
			return err
		}
		err = (&connection{conn, buffer}).do(request)
		_ = conn.Close()
		if err != nil {
			return err
		}
		done.Add(1)
	}
	return nil
}

func (connections) Close() error { return nil }

// do sends a request and reads the response.
func (c *connection) do(request []byte) error {
	if _, err := c.Write(request); err != nil {
		return fmt.Errorf("sending a request: %w", err)
	}
	return c.receive()
}

// receive reads a response. A status other than 200 is an error.
func (c *connection) receive() error {
	n, head := 0, -1
	for head < 0 {
		if n == len(c.buffer) {
			return errors.New("reading a response: its head is too long")
		}
		read, err := c.Read(c.buffer[n:])
		if err != nil {
			return fmt.Errorf("reading a response: %w", err)
		}
		n += read
		head = bytes.Index(c.buffer[:n], []byte("\r\n\r\n"))
	}
	length, err := judge(c.buffer[:head+2])
	if err != nil {
		return fmt.Errorf("%w\n%s", err, c.buffer[:n])
	}
	for rest := length - (n - head - 4); rest > 0; {
		read, err := c.Read(c.buffer[:min(rest, len(c.buffer))])
		if err != nil {
			return fmt.Errorf("reading a response's body: %w", err)
		}
		rest -= read
	}
	return nil
}

// judge returns the length of the body after a head. A status other than 200 is an error.
func judge(head []byte) (length int, err error) {
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200")) {
		return 0, errors.New("the response is not 200")
	}
	const name = "\r\ncontent-length:"
	for at := 0; at+len(name) < len(head); at++ {
		at2 := bytes.IndexByte(head[at:], '\r')
		if at2 < 0 {
			break
		}
		if at += at2; at+len(name) < len(head) && bytes.EqualFold(head[at:at+len(name)], []byte(name)) {
			value, _, _ := bytes.Cut(head[at+len(name):], []byte("\r"))
			return strconv.Atoi(string(bytes.TrimSpace(value)))
		}
	}
	return 0, errors.New("the response has no Content-Length")
}
