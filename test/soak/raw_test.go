package soak

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// pipeline sends requests without waiting for the responses, which must come in the same order.
func (c *client) pipeline() error {
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	var requests, want []string
	for i := range 2 + c.random.IntN(6) {
		path := fmt.Sprintf("/open/%d", i)
		requests, want = append(requests, "GET "+path+" HTTP/1.1\r\nHost: orders\r\n\r\n"), append(want, "GET "+path+" ")
	}
	if _, err := io.WriteString(conn, strings.Join(requests, "")); err != nil {
		return err
	}
	reader := bufio.NewReader(conn)
	var result error
	for i := range want {
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			return of(fmt.Errorf("response %d: %w", i, err), appAway) // as in client.send
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return of(fmt.Errorf("body %d: %w", i, err), appAway)
		}
		if resp.StatusCode != http.StatusOK {
			result = excuse(fmt.Errorf("response %d: %s: %.300q", i, resp.Status, body), string(body), true)
		} else if err := check(string(body), want[i], nil); err != nil {
			return err
		}
	}
	return result
}

// The heads that must be refused, with a request behind them that must not be served.
var ambiguous = []string{
	"POST /open/a HTTP/1.1\r\nHost: orders\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST /open/a HTTP/1.1\r\nHost: orders\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n",
	"POST /open/a HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
	"GET /open/a HTTP/1.1\r\nHost: orders\r\nX-A: b\r\n Content-Length: 40\r\n\r\n",
	"GET /open/a HTTP/1.1\nHost: orders\n\n",
	"GET /open/a HTTP/1.1\r\nHost: orders\r\nHost: other\r\n\r\n",
	"GET /open/a HTTP/1.1\r\nHost : orders\r\n\r\n",
}

func (c *client) ambiguous() error {
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	head := ambiguous[c.random.IntN(len(ambiguous))]
	if _, err := io.WriteString(conn, head+"GET /open/smuggled HTTP/1.1\r\nHost: orders\r\n\r\n"); err != nil {
		return err
	}
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, nil)
	if err != nil {
		return fmt.Errorf("after %q: %w", head, err)
	}
	rest, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusBadRequest {
		err = fmt.Errorf("%q: %s: %.300q", head, resp.Status, rest)
	}
	if rest, _ := io.ReadAll(reader); err == nil && len(rest) > 0 { // the end of the connection, or its reset
		err = fmt.Errorf("%q: after the refusal came %.300q", head, rest)
	}
	return err
}

// hangUp disconnects in the middle of something.
func (c *client) hangUp() error {
	if c.random.IntN(4) == 0 {
		return c.cancel()
	}
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	if c.random.IntN(2) == 0 {
		_ = conn.(*net.TCPConn).SetLinger(0) // Close sends a reset
	}
	switch c.random.IntN(5) {
	case 0:
		_, err = io.WriteString(conn, "GET /open/a HTTP/1.1\r\nHost: ord")
	case 1:
		_, err = io.WriteString(conn, "POST /open/sum HTTP/1.1\r\nHost: orders\r\nContent-Length: 100000\r\n\r\nbody")
	case 2:
		_, err = io.WriteString(conn, "POST /open/sum HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbo")
	case 3:
		if _, err = io.WriteString(conn, "GET /open/bytes?type=a&n=1000000 HTTP/1.1\r\nHost: orders\r\n\r\n"); err == nil {
			_, err = io.CopyN(io.Discard, conn, 100) // even a refusal is longer
		}
	case 4:
		if err = tls.Client(conn, c.tlsConfig()).Handshake(); err == nil {
			_, err = io.WriteString(conn, "no record of TLS")
		}
	}
	return err
}

// cancel gives up on a request while its response is read.
func (c *client) cancel() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	by := c.any()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url(by, "/open/bytes?type=a&n=1000000"), nil)
	if err != nil {
		return err
	}
	resp, err := by.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.CopyN(io.Discard, resp.Body, 10); err != nil && !errors.Is(err, io.EOF) {
		return of(err, appAway)
	}
	return nil
}
