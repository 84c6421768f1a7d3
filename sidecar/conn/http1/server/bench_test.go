package server

import (
	"io"
	"net"
	"net/http"
	"testing"
)

const browser = "GET /orders/1234?view=full HTTP/1.1\r\nHost: orders.shop.svc.cluster.local:8080\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n" +
	"Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nConnection: keep-alive\r\n" +
	"Cookie: __Host-session=0123456789abcdef0123456789abcdef\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n\r\n"

func BenchmarkRequestHead(b *testing.B) {
	c := quiet(b)
	b.SetBytes(int64(len(browser)))
	b.ReportAllocs()
	for b.Loop() {
		parse(b, c)
	}
}

// TestHeadAllocations: a head needs one string and one context, whatever its fields.
func TestHeadAllocations(t *testing.T) {
	c := quiet(t)
	if n := testing.AllocsPerRun(100, func() { parse(t, c) }); n > 2 {
		t.Errorf("%v allocations a head, want 2", n)
	}
}

// quiet returns a connection whose bytes tests put into its buffer.
func quiet(t testing.TB) *conn {
	t.Helper()
	s, err := New(Config{Handler: http.NotFoundHandler()})
	if err != nil {
		t.Fatal(err)
	}
	c := newConn(s, &script{})
	c.takeSlot()
	c.room()
	return c
}

// parse reads one head of a browser.
func parse(t testing.TB, c *conn) {
	c.r, c.w = 0, copy(c.buf, browser)
	if _, done, v := c.scan.readHead(c.buf[:c.w]); !done || v != none {
		t.Fatal(done, v)
	}
	if _, err := c.nextRequest(&requestContext{conn: c}); err != nil {
		t.Fatal(err)
	}
	c.endRequest(nil)
}

// dialed starts a server with a trivial handler, and returns what makes one request on a connection of its own.
func dialed(t testing.TB) (once func()) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	body, length := make([]byte, 1<<10), []string{"1024"}
	s, err := New(Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Length"] = length
		_, _ = w.Write(body)
	})})
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(inner)
	t.Cleanup(func() { s.Close() })
	conn, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	const head = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 1024\r\n\r\n"
	request, response := []byte(browser), make([]byte, 8<<10)
	return func() {
		if _, err := conn.Write(request); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, response[:len(head)+len(body)]); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkGET is the cost of one request and its response over loopback, with the client's two system calls.
func BenchmarkGET(b *testing.B) {
	once := dialed(b)
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}

// TestAllocations holds the number of allocations of a request.
func TestAllocations(t *testing.T) {
	once := dialed(t)
	if n := testing.AllocsPerRun(1000, once); n > 3 {
		t.Errorf("%v allocations a request, want at most 3", n)
	}
}
