package h2

import (
	"bytes"
	"testing"

	"golang.org/x/net/http2"
)

var browser = []string{
	":method", "GET", ":scheme", "https", ":authority", "orders.shop.svc.cluster.local:8080", ":path", "/orders/1234?view=full",
	"user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
	"accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
	"accept-language", "en-GB,en;q=0.5", "accept-encoding", "gzip, deflate, br, zstd",
	"cookie", "__Host-session=0123456789abcdef0123456789abcdef", "sec-fetch-dest", "document", "sec-fetch-mode", "navigate",
}

// loop sends the head of a connection, and then the same bytes again and again.
type loop struct{ next, again []byte }

func (l *loop) read(p []byte) (int, error) {
	if len(l.next) == 0 {
		l.next = l.again
	}
	n := copy(p, l.next)
	l.next = l.next[n:]
	return n, nil
}

// newLoop returns a Reader of requests whose fields are in the dynamic table, and the buffer of net/http.
func newLoop(b *testing.B, fields []string) (*Reader, []byte) {
	c := newClient().headers(1, fields...)
	first := bytes.Clone(c.sent.Bytes())
	c.headers(3, fields...)
	r := NewReader((&loop{next: first, again: c.sent.Bytes()[len(first):]}).read, Config{ListBytes: listBytes})
	buf := make([]byte, MaxFrame+headerSize)
	for range 4 {
		if _, err := r.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
	return r, buf
}

// BenchmarkRequest is the cost of one request with the fields of a browser.
func BenchmarkRequest(b *testing.B) {
	r, buf := newLoop(b, browser)
	b.ReportAllocs()
	for b.Loop() {
		r.last = 1
		if _, err := r.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRefused is the cost of one refused request.
func BenchmarkRefused(b *testing.B) {
	r, buf := newLoop(b, append([]string{":method", "GET", ":scheme", "https", ":path", "/%zz"}, browser[8:]...))
	b.ReportAllocs()
	for b.Loop() {
		r.last = 1
		if _, err := r.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkData is the cost of a frame of 16 KiB that passes.
func BenchmarkData(b *testing.B) {
	var sent bytes.Buffer
	_ = http2.NewFramer(&sent, nil).WriteData(1, false, make([]byte, MaxFrame))
	r := NewReader((&loop{next: []byte(Preface), again: sent.Bytes()}).read, Config{ListBytes: listBytes})
	buf := make([]byte, MaxFrame+headerSize)
	b.SetBytes(MaxFrame)
	b.ReportAllocs()
	for b.Loop() {
		for n := 0; n < MaxFrame; {
			m, err := r.Read(buf)
			if err != nil {
				b.Fatal(err)
			}
			n += m
		}
	}
}
