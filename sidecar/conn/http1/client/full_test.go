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

// TestMoreWithAFullBuffer: a part that ends with the buffer is the last one for now, if the app has sent no more: its caller must not wait for another
// one before it sends this one to the client.
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
	if !more {
		t.Error("the last part does not say that more of the body has to be waited for")
	}
	close(next)
	time.AfterFunc(10*time.Second, res.Abort)
	if _, _, err := res.Next(); err != io.EOF {
		t.Errorf("the end: %v", err)
	}
}
