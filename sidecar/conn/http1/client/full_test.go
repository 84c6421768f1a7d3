package client

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestMoreWithAFullBuffer: a part that ends with the buffer may be the last one for now. Then its caller is told so, before it waits for another one, so
// that it can send this one to the client.
func TestMoreWithAFullBuffer(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	chunk := func(n int) string { return fmt.Sprintf("%x\r\n%s\r\n", n, strings.Repeat("x", n)) }
	first := head
	for len(first)+len(chunk(100)) < bufferSize-200 {
		first += chunk(100)
	}
	first += chunk(bufferSize - len(first) - len("ff\r\n\r\n"))
	if len(first) != bufferSize {
		t.Fatalf("it is not as long as the buffer: %d bytes", len(first))
	}
	next := make(chan struct{})
	addr, _ := app(t, func(_ int64, conn net.Conn, in *bufio.Reader) {
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		_, _ = io.WriteString(conn, first)
		<-next
		_, _ = io.WriteString(conn, "0\r\n\r\n")
		_, _ = in.ReadByte()
	})
	c := newClient(t)
	res, err := c.Do(newRequest(t, "GET", addr, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	var more bool
	for want := strings.Count(first, "x"); want > 0; {
		part, m, err := res.Next()
		if err != nil {
			t.Fatal(err)
		}
		want, more = want-len(part), m
	}
	for !more { // without it Next would wait for the app, until the test's time is over
		part, m, err := res.Next()
		if err != nil || len(part) > 0 {
			t.Fatalf("%q, %v", part, err)
		}
		more = m
	}
	close(next)
	time.AfterFunc(10*time.Second, res.Abort)
	if _, _, err := res.Next(); err != io.EOF {
		t.Errorf("the end: %v", err)
	}
}
