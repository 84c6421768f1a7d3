package server

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// TestInformationalHeaderOfResetStreams: when a client resets a stream, net/http may still write an informational header, while the handler changes
// its map. Two that use a map at the same time end the process.
func TestInformationalHeaderOfResetStreams(t *testing.T) {
	var running atomic.Int64
	address := serveApp(t, stallConfig{stall: time.Minute}, func(w http.ResponseWriter, r *http.Request) {
		running.Add(1)
		defer running.Add(-1)
		for r.Context().Err() == nil {
			for i := range 100 {
				w.Header().Set(fmt.Sprintf("Link-%d", i), "</style.css>; rel=preload")
			}
			w.WriteHeader(http.StatusEarlyHints)
			clear(w.Header())
		}
	})
	c := dialHTTP2(t, address)
	go func() { _, _ = io.Copy(io.Discard, c.conn) }()
	for range 1000 {
		stream := c.send(ask("/")...)
		c.check(c.framer.WriteRSTStream(stream, http2.ErrCodeCancel))
	}
	_ = c.conn.Close()
	for end := time.Now().Add(20 * time.Second); running.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a handler continues without its client")
		}
	}
}
