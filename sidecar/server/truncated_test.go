package server

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// TestTruncatedByTheAppOverTLS: a response whose only end is that of the connection does not seem complete, above TLS too: an alert close_notify would say
// that it is (RFC 8446 §6.1).
func TestTruncatedByTheAppOverTLS(t *testing.T) {
	s := startTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "half of it")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}), func(*compiled.Policy) {})
	conn, err := tls.Dial("tcp", s.address, s.settings())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\nHost: orders.example.com\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	var late interface{ Timeout() bool }
	if err == nil || errors.As(err, &late) && late.Timeout() {
		t.Errorf("%q, %v: it seems complete", got, err)
	}
}
