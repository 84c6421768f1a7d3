package upstream

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// plainApp responds to every request without a body with response, and allocates nothing for it.
func plainApp(t testing.TB, response string) string {
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
					line, err := in.ReadSlice('\n')
					if err != nil {
						return
					}
					if len(line) > 2 {
						continue
					}
					if _, err := io.WriteString(conn, response); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// maxAllocations is how many allocations a GET with a kept connection may need.
const maxAllocations = 5

// TestAllocations: a warm GET needs few allocations.
func TestAllocations(t *testing.T) {
	addr := plainApp(t, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\nContent-Length: 5\r\n\r\nhello")
	p, err := New(Config{Target: func(netip.AddrPort) string { return addr }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	r, err := http.NewRequest("GET", "http://x/a?b=c", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "*/*")
	info := &request.Info{} // as the server does
	info.Watch(request.Watch{Judge: func(context.Context, request.Watched) *httperr.Error { return nil }})
	r = request.With(r, info)
	w := &nothing{header: http.Header{}}
	got := testing.AllocsPerRun(200, func() {
		clear(w.header)
		if err := p.ServeHTTP(w, r); err != nil {
			t.Fatal(err)
		}
	})
	if got > maxAllocations {
		t.Errorf("%g allocations, want at most %d", got, maxAllocations)
	}
}
