package server

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

func TestStalledBodyEnds(t *testing.T) {
	ended := make(chan error, 1)
	address := serveApp(t, stallConfig{stall: 50 * time.Millisecond}, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		ended <- err
	})
	dial(t, address, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
	if err := <-ended; err == nil {
		t.Error("the body ended without an error")
	}
}

func TestSlowResponseIsNoStall(t *testing.T) {
	address := serveApp(t, stallConfig{stall: 50 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-time.After(300 * time.Millisecond): // longer than the stall time
		case <-r.Context().Done():
			return
		}
		_, _ = io.WriteString(w, "done")
	})
	resp, err := http.Post("http://"+address, "text/plain", strings.NewReader("abc"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != "done" {
		t.Errorf("body = %q", body)
	}
}

// serveApp serves an app's port with the times of c until the test ends, and returns its address.
func serveApp(t *testing.T, c stallConfig, handler http.HandlerFunc) (address string) {
	t.Helper()
	server, err := newAppServer(appConfig{handler: handler, upgraded: &upgrades{}, stall: c, logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }()
	return listener.Addr().String()
}

// dial sends a request's first bytes, and waits at most half a minute for a response.
func dial(t *testing.T, address, request string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestUnreadBodyEnds: the rest of a body that nothing reads holds no connection.
func TestUnreadBodyEnds(t *testing.T) {
	for name, respond := range map[string]func(http.ResponseWriter){
		"short response": func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) },
		"long response":  func(w http.ResponseWriter) { _, _ = io.WriteString(w, strings.Repeat("x", 1<<20)) },
		"flushed":        func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() },
	} {
		for framing, head := range map[string]string{"length": "Content-Length: 10\r\n\r\n", "chunked": "Transfer-Encoding: chunked\r\n\r\na\r\n"} {
			t.Run(name+" "+framing, func(t *testing.T) {
				address := serveApp(t, stallConfig{stall: 50 * time.Millisecond}, func(w http.ResponseWriter, _ *http.Request) { respond(w) })
				if _, err := io.ReadAll(dial(t, address, "POST / HTTP/1.1\r\nHost: x\r\n"+head+"abc")); err != nil {
					t.Errorf("the connection stayed open: %v", err)
				}
			})
		}
	}
}

// TestRefusalNeedsNoBody: a client that waits for 100 Continue, or whose body is too large to discard, is refused without its body.
func TestRefusalNeedsNoBody(t *testing.T) {
	address := serveApp(t, stallConfig{stall: time.Hour}, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	})
	for name, head := range map[string]string{
		"expecting 100": "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n",
		"large":         "Content-Length: 10000000\r\n\r\nabc",
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := http.ReadResponse(bufio.NewReader(dial(t, address, "POST / HTTP/1.1\r\nHost: x\r\n"+head)), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusUnauthorized || !resp.Close {
				t.Errorf("status %d, close %t", resp.StatusCode, resp.Close)
			}
		})
	}
}

// forEachProtocol runs test with a server of an app's port, and a client of HTTP/1.1, and of HTTP/2 with prior knowledge.
func forEachProtocol(t *testing.T, c stallConfig, handler http.HandlerFunc, test func(t *testing.T, url string, client *http.Client)) {
	for name, set := range map[string]func(*http.Protocols){
		"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) },
		"HTTP/2":   func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		t.Run(name, func(t *testing.T) {
			transport := &http.Transport{Protocols: &http.Protocols{}}
			set(transport.Protocols)
			defer transport.CloseIdleConnections()
			test(t, "http://"+serveApp(t, c, handler), &http.Client{Transport: transport})
		})
	}
}

func TestQuietStreamIsNoStall(t *testing.T) {
	quiet := func() { time.Sleep(300 * time.Millisecond) } // longer than the stall time
	handler := func(w http.ResponseWriter, _ *http.Request) {
		for range 2 {
			_, _ = io.WriteString(w, "event\n")
			_ = http.NewResponseController(w).Flush()
			quiet()
		}
	}
	forEachProtocol(t, stallConfig{stall: 50 * time.Millisecond}, handler, func(t *testing.T, url string, client *http.Client) {
		resp, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "event\nevent\n" {
			t.Errorf("body %q, %v", body, err)
		}
	})
}

func TestUnreadResponseEnds(t *testing.T) {
	ended := make(chan error, 1)
	handler := func(w http.ResponseWriter, _ *http.Request) {
		for piece := make([]byte, 1<<20); ; {
			if _, err := w.Write(piece); err != nil {
				ended <- err
				return
			}
		}
	}
	forEachProtocol(t, stallConfig{stall: 50 * time.Millisecond}, handler, func(t *testing.T, url string, client *http.Client) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		<-ended
		if ctx.Err() != nil {
			t.Error("the response continued until the client disconnected")
		}
	})
}

// rememberedConns tells when nothing needs an accepted connection any more.
type rememberedConns struct {
	net.Listener
	forgotten chan struct{}
}

func (l rememberedConns) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	conn := &struct{ net.Conn }{inner}
	runtime.AddCleanup(conn, func(forgotten chan struct{}) { close(forgotten) }, l.forgotten)
	return conn, nil
}

// TestResetStreamsAreForgotten: nothing of a stream that its client has reset is kept for the stall time, or a client that opens and resets streams as
// fast as it can would fill the memory.
func TestResetStreamsAreForgotten(t *testing.T) {
	served := make(chan struct{})
	server, err := newAppServer(appConfig{
		handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			defer close(served)
			<-r.Context().Done()
		}),
		upgraded: &upgrades{}, stall: stallConfig{stall: time.Hour}, logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := rememberedConns{inner, make(chan struct{})}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	c := dialHTTP2(t, inner.Addr().String())
	c.check(c.framer.WriteRSTStream(c.send(ask("/")...), http2.ErrCodeCancel))
	<-served
	_ = c.conn.Close()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		runtime.GC()
		select {
		case <-l.forgotten:
			return
		default:
		}
		if time.Now().After(end) {
			t.Fatal("a stream that was reset keeps its connection in memory")
		}
	}
}
