package framing

import (
	"net"
	"testing"
)

// repeat is a connection whose peer sends the same bytes for each read.
type repeat struct {
	net.Conn
	bytes []byte
}

func (r *repeat) Read(p []byte) (int, error) { return copy(p, r.bytes), nil }

const browser = "GET /orders/1234?view=full HTTP/1.1\r\nHost: orders.shop.svc.cluster.local:8080\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n" +
	"Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nConnection: keep-alive\r\n" +
	"Cookie: __Host-session=0123456789abcdef0123456789abcdef\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n\r\n"

// watch returns conn as Listener wraps it.
func watch(conn net.Conn, config Config) *Conn {
	config = config.withDefaults()
	return wrap(conn, &config)
}

func BenchmarkRequestHead(b *testing.B) {
	c := watch(&repeat{bytes: []byte(browser)}, Config{})
	buf := make([]byte, 4096)
	b.SetBytes(int64(len(browser)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	c := watch(&repeat{bytes: []byte(browser)}, Config{})
	buf := make([]byte, 4096)
	allocations := testing.AllocsPerRun(100, func() {
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations a request", allocations)
	}
}
