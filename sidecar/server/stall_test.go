package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestStalledBodyEnds(t *testing.T) {
	ended := make(chan error, 1)
	server := httptest.NewServer(withStallTimeouts(stallConfig{stall: 50 * time.Millisecond}, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		ended <- err
	})))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
	if err := <-ended; err == nil {
		t.Error("the body ended without an error")
	}
}

func TestSlowResponseIsNoStall(t *testing.T) {
	server := httptest.NewServer(withStallTimeouts(stallConfig{stall: 50 * time.Millisecond}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-time.After(300 * time.Millisecond): // longer than the stall time
		case <-r.Context().Done():
			return
		}
		_, _ = io.WriteString(w, "done")
	})))
	defer server.Close()
	resp, err := http.Post(server.URL, "text/plain", strings.NewReader("abc"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != "done" {
		t.Errorf("body = %q", body)
	}
}

// dial sends a request's first bytes, and waits at most half a minute for a response.
func dial(t *testing.T, server *httptest.Server, request string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
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

// TestUnreadBodyEnds: net/http reads the rest of an unread body before it responds and before the next request.
func TestUnreadBodyEnds(t *testing.T) {
	for name, respond := range map[string]func(http.ResponseWriter){
		"short response": func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) },
		"long response":  func(w http.ResponseWriter) { _, _ = io.WriteString(w, strings.Repeat("x", 1<<20)) },
		"flushed":        func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() },
	} {
		for framing, head := range map[string]string{"length": "Content-Length: 10\r\n\r\n", "chunked": "Transfer-Encoding: chunked\r\n\r\na\r\n"} {
			t.Run(name+" "+framing, func(t *testing.T) {
				server := httptest.NewServer(withStallTimeouts(stallConfig{stall: 50 * time.Millisecond}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { respond(w) })))
				defer server.Close()
				if _, err := io.ReadAll(dial(t, server, "POST / HTTP/1.1\r\nHost: x\r\n"+head+"abc")); err != nil {
					t.Errorf("the connection stayed open: %v", err)
				}
			})
		}
	}
}

// TestRefusalNeedsNoBody: a client that waits for 100 Continue, or whose body is too large to discard, is refused without its body.
func TestRefusalNeedsNoBody(t *testing.T) {
	server := httptest.NewServer(withStallTimeouts(stallConfig{stall: time.Hour}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	})))
	defer server.CloseClientConnections()
	for name, head := range map[string]string{
		"expecting 100": "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n",
		"large":         "Content-Length: 10000000\r\n\r\nabc",
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := http.ReadResponse(bufio.NewReader(dial(t, server, "POST / HTTP/1.1\r\nHost: x\r\n"+head)), nil)
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

// forEachProtocol runs test with a server and a client of HTTP/1.1, and of HTTP/2 with prior knowledge.
func forEachProtocol(t *testing.T, handler http.Handler, test func(t *testing.T, url string, client *http.Client)) {
	for name, set := range map[string]func(*http.Protocols){
		"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) },
		"HTTP/2":   func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(handler)
			server.Config.Protocols = &http.Protocols{}
			set(server.Config.Protocols)
			server.Start()
			defer server.Close()
			transport := &http.Transport{Protocols: server.Config.Protocols}
			defer transport.CloseIdleConnections()
			test(t, server.URL, &http.Client{Transport: transport})
		})
	}
}

func TestQuietStreamIsNoStall(t *testing.T) {
	quiet := func() { time.Sleep(300 * time.Millisecond) } // longer than the stall time
	handler := withStallTimeouts(stallConfig{stall: 50 * time.Millisecond}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 2 {
			_, _ = io.WriteString(w, "event\n")
			_ = http.NewResponseController(w).Flush()
			quiet()
		}
	}))
	forEachProtocol(t, handler, func(t *testing.T, url string, client *http.Client) {
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
	handler := withStallTimeouts(stallConfig{stall: 50 * time.Millisecond}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for piece := make([]byte, 1<<20); ; {
			if _, err := w.Write(piece); err != nil {
				ended <- err
				return
			}
		}
	}))
	forEachProtocol(t, handler, func(t *testing.T, url string, client *http.Client) {
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
