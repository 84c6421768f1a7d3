package server

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// TestMetricsOutliveTheirRequest: promhttp leaves a goroutine behind if collecting takes longer than the scraper waits. It reads the request's
// header after that, and the engine uses that header for another request.
func TestMetricsOutliveTheirRequest(t *testing.T) {
	t.Run("the header changes", func(t *testing.T) {
		r, w := httptest.NewRequest("GET", "/metrics", nil), httptest.NewRecorder()
		r.Header.Set("Accept-Encoding", "gzip")
		reused := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
			clear(r.Header) // as the engine does
			return nil, nil
		})
		adminHandler(&health{}, reused, nil).ServeHTTP(w, r)
		if got := w.Header().Get("Content-Encoding"); got != "gzip" {
			t.Errorf("Content-Encoding %q: the handler uses the header of another request", got)
		}
	})
	t.Run("the scraper leaves", func(t *testing.T) { // the race detector decides
		left, ended := make(chan struct{}), make(chan struct{})
		slow := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
			<-left
			return nil, nil
		})
		metrics := adminHandler(&health{}, slow, nil)
		s, err := newAdminServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(ended)
			metrics.ServeHTTP(w, r)
		}), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = s.Serve(l) }()
		defer s.Close()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
		_ = c.(*net.TCPConn).CloseWrite()
		b, _ := io.ReadAll(c)
		close(left)
		<-ended
		if !strings.HasPrefix(string(b), "HTTP/1.1 503 ") {
			t.Errorf("the response is %.100q", b)
		}
	})
}
