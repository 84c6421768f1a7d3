package server

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestEarlyResponse: a response does not wait for a body that another goroutine still reads. The connection is closed after it.
func TestEarlyResponse(t *testing.T) {
	read := make(chan error, 1)
	conn, in := early(t, func(w http.ResponseWriter, r *http.Request) {
		began := make(chan struct{})
		go func() {
			close(began)
			_, err := io.Copy(io.Discard, r.Body)
			read <- err
		}()
		<-began
		_, _ = io.WriteString(w, "early")
	})
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nfirst"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(res.Body); string(body) != "early" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
	if err := <-read; err == nil {
		t.Error("the body that was cut off seems complete")
	}
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after the response: %v; want its end", err)
	}
}

// TestNoTakeoverWithUnreadBody: what is left of a body is never read as another protocol.
func TestNoTakeoverWithUnreadBody(t *testing.T) {
	taken := make(chan error, 1)
	conn, in := early(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _, err := http.NewResponseController(w).Hijack()
		taken <- err
		w.WriteHeader(http.StatusBadRequest)
	})
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n\x81\x03"); err != nil {
		t.Fatal(err)
	}
	if err := <-taken; !errors.Is(err, errUnreadBody) {
		t.Errorf("Hijack: %v", err)
	}
	if res, err := http.ReadResponse(in, nil); err != nil || res.StatusCode != http.StatusBadRequest {
		t.Errorf("%v, %v", res, err)
	}
}

// early starts a server and connects to it.
func early(t *testing.T, handler http.HandlerFunc) (net.Conn, *bufio.Reader) {
	t.Helper()
	s, err := New(Config{Handler: handler})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}
