package load

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// app answers GET /N with N bytes, GET /404 with 404, and counts.
func app(t *testing.T) (target Target, served *atomic.Int64) {
	t.Helper()
	served = &atomic.Int64{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		n, _ := strconv.Atoi(r.URL.Path[1:])
		if n == http.StatusNotFound {
			w.WriteHeader(n)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(n))
		_, _ = io.WriteString(w, strings.Repeat("x", n))
	}))
	server.Config.Protocols = &http.Protocols{}
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return Target{Address: server.Listener.Addr().String()}, served
}

func request(path string) []byte { return []byte("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n") }

func TestSession(t *testing.T) {
	block, err := Fields{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "a"}, {Name: ":path", Value: "/9000"}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change   func(*Target)
		requests Requests
		fail     bool
	}{
		"HTTP/1.1":               {requests: Requests{request("/0"), request("/5"), request("/200000")}},
		"a connection each":      {change: func(t *Target) { t.NewConnection = true }, requests: Requests{request("/5")}},
		"HTTP/2":                 {change: func(t *Target) { t.HTTP2 = true }, requests: Requests{block}},
		"a status that is wrong": {requests: Requests{request("/404")}, fail: true},
	} {
		t.Run(name, func(t *testing.T) {
			target, served := app(t)
			if tt.change != nil {
				tt.change(&target)
			}
			s, err := NewSession(t.Context(), 8, target)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			n, err := s.Run(t.Context(), tt.requests, Until{Requests: 500})
			if (err != nil) != tt.fail {
				t.Fatal(err)
			}
			if !tt.fail && (n != 500 || served.Load() != 500) {
				t.Errorf("%d responses, %d requests served; want 500", n, served.Load())
			}
		})
	}
}

func TestOpen(t *testing.T) {
	target, served := app(t)
	latencies, err := Open(t.Context(), target, 4, Requests{request("/5")}, Rate{PerSecond: 500, Time: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if got := served.Load(); got != 500 {
		t.Errorf("%d requests; want 500", got)
	}
	if len(latencies) < 440 || len(latencies) > 450 { // without the warm-up
		t.Errorf("%d latencies", len(latencies))
	}
	if _, err := Open(t.Context(), target, 4, Requests{request("/404")}, Rate{PerSecond: 500, Time: 100 * time.Millisecond}); err == nil {
		t.Error("a status that is wrong is no error")
	}
}
