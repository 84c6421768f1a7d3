package server

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// hasty is an app that responds as soon as it has a head, and then reads the body.
func hasty(t *testing.T) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly"); err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// TestEarlyResponses: nothing uses a request after its handler has returned, although the app responds while its body is still sent. The memory
// of the request belongs to the next one then: the race detector finds who uses it.
func TestEarlyResponses(t *testing.T) {
	c := standaloneConfig(t, makeDocument(func(*compiled.Policy) {}), hasty(t))
	r := start(t, c.Inbound.(plain).address, c)
	for range 40 {
		conn, err := net.Dial("tcp", r.address)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(conn)
		for range 3 {
			if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"); err != nil {
				break // the connection is closed after an early response
			}
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				break
			}
			if body, err := io.ReadAll(res.Body); string(body) != "early" || err != nil {
				t.Fatalf("%d %q, %v", res.StatusCode, body, err)
			}
		}
		_ = conn.Close()
	}
}
