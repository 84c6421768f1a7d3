package server

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestRoomForTheLargestHead: a client that sends all of the largest head but its end makes the server hold little more than that.
func TestRoomForTheLargestHead(t *testing.T) {
	const most = 64 << 10
	s, err := New(Config{Handler: http.NotFoundHandler(), Limits: Limits{HeadBytes: most, Fields: 8}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	inner, client := net.Pipe()
	t.Cleanup(func() { _, _ = inner.Close(), client.Close() })
	head := "GET / HTTP/1.1\r\nHost: a\r\nX: "
	go func() { _, _ = io.WriteString(client, head+strings.Repeat("x", most-len(head)+1)) }()
	c := newConn(s, inner)
	for _, want := range []int{most, most + 1} {
		for c.w < want {
			if err := c.fill(); err != nil {
				t.Fatal(err)
			}
		}
		if len(c.buf) > most+bufferSize {
			t.Errorf("a buffer of %d bytes for %d", len(c.buf), c.w)
		}
	}
	if _, _, v := c.scan.readHead(c.buf[:c.w]); v != headTooLarge {
		t.Errorf("the head is refused with %q", v.refusal().Code)
	}
}
