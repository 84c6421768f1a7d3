package server

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/stages/upstream"
)

// takesBodies is an app that reads the whole body before it responds. It says when the first byte of each has arrived.
func takesBodies(first chan<- struct{}) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadFull(r.Body, make([]byte, 1)); err == nil {
			first <- struct{}{}
		}
		_, _ = io.Copy(io.Discard, r.Body)
	})
}

// TestSlowBodyIsNoDisconnect: a client whose body is too slow is told so with 408.
func TestSlowBodyIsNoDisconnect(t *testing.T) {
	first := make(chan struct{}, 2)
	app := httptest.NewServer(takesBodies(first))
	defer app.Close()
	target := func(netip.AddrPort) string { return app.Listener.Addr().String() }
	proxy, err := upstream.New(upstream.Config{Target: target, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	times := stallConfig{stall: time.Hour, window: 200 * time.Millisecond, minRate: func() int { return 1000 }}
	handler := func(w http.ResponseWriter, r *http.Request) {
		if err := proxy.ServeHTTP(w, r); err != nil {
			w.WriteHeader(httperr.From(err).Status)
		}
	}
	forEachProtocol(t, times, handler, func(t *testing.T, url string, client *http.Client) {
		body, end := io.Pipe()
		defer end.Close()
		go fmt.Fprint(end, "a")
		resp, err := client.Post(url, "text/plain", body)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestTimeout {
			t.Error(resp.Status)
		}
	})
}

// TestMalformedChunkIsNoDisconnect: a violation in a body that the app already reads is recorded as what it is.
func TestMalformedChunkIsNoDisconnect(t *testing.T) {
	first := make(chan struct{}, 1)
	r := startStandalone(t, makeDocument(visible), takesBodies(first))
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprint(conn, "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
	<-first
	fmt.Fprint(conn, "zz\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Fatal(resp, err)
	}
	r.log.await(t, 1, "method=POST path=/upload status=400")
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

// TestDisconnectIsADisconnect: a client that leaves while it sends its body ends the request to the app.
func TestDisconnectIsADisconnect(t *testing.T) {
	first := make(chan struct{}, 1)
	r := startStandalone(t, makeDocument(visible), takesBodies(first))
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na")
	<-first
	conn.Close()
	r.log.await(t, 1, "method=POST path=/upload status=499")
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}
