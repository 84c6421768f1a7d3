package server

import (
	"io"
	"net"
	"strings"
	"testing"
)

// TestShortBodyIsSentWithItsHead: what arrives in one piece reaches the app in one piece, through every stage that looks at bodies.
func TestShortBodyIsSentWithItsHead(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	first := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		b := make([]byte, 64<<10)
		n, _ := conn.Read(b)
		first <- string(b[:n])
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		_, _ = conn.Read(b)
	}()
	c := standaloneConfig(t, makeDocument(visible), "http://"+l.Addr().String())
	r := start(t, c.Inbound.(plain).address, c)
	conn := dial(t, r.address, "POST /orders HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"id\": 7}")
	if resp := response1(t, conn); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
	if got := <-first; !strings.HasSuffix(got, "\r\n\r\n{\"id\": 7}") {
		t.Errorf("the app's first read returned %q", got)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}
