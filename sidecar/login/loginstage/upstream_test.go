package loginstage

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/login/logintest"
	"github.com/posterndev/postern/sidecar/stages/upstream"
)

// behind serves the chain in front of a real app, through the real proxy, over a real connection.
func behind(t *testing.T, w *logintest.World, app http.HandlerFunc) *httptest.Server {
	t.Helper()
	origin := httptest.NewServer(app)
	t.Cleanup(origin.Close)
	proxy, err := upstream.New(upstream.Config{
		Target: func(netip.AddrPort) string { return origin.Listener.Addr().String() }, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	s := w.Chain(t, proxy, loginAt(t, w))
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r = request.With(r, &request.Info{Path: r.URL.Path, ClientAddr: netip.MustParseAddr("192.0.2.7")})
		if err := s.ServeHTTP(rw, r); err != nil {
			httperr.Write(rw, r, err)
		}
	}))
	t.Cleanup(front.Close)
	return front
}

// TestThroughTheProxy: logins through the complete response path, with what apps do to their responses.
func TestThroughTheProxy(t *testing.T) {
	tests := map[string]struct {
		app        http.HandlerFunc
		wantMember bool
	}{
		"length": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"n":1}`)
		}, true},
		"chunks, early hints and trailers": {func(w http.ResponseWriter, _ *http.Request) {
			early := w.Header().Get("Postern-Subject")
			w.Header().Del("Postern-Subject")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Set("Postern-Subject", early)
			w.Header().Set("Trailer", "X-Sum")
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"n":`)
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, `1}`)
			w.Header().Set("X-Sum", "1")
		}, true},
		"no content": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, false},
		"compressed without Accept-Encoding": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, _ = io.WriteString(z, `{"n":1}`)
			_ = z.Close()
			_, _ = w.Write(b.Bytes())
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := logintest.New(t, logintest.Options{})
			front := behind(t, w, func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Postern-Subject", "user-42")
				tt.app(rw, r)
			})
			res, err := front.Client().Post(front.URL+"/login", "application/json", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			var body map[string]any
			if err := json.NewDecoder(res.Body).Decode(&body); err != nil || res.StatusCode != 200 || body["access_token"] == nil {
				t.Fatalf("status %d, %v, %v", res.StatusCode, body, err)
			}
			if (body["n"] != nil) != tt.wantMember || res.Header.Get("Postern-Subject") != "" || res.Header.Get("X-Sum") != "" {
				t.Errorf("body %v, header %v", body, res.Header)
			}
		})
	}
}

// TestThroughTheProxyRefused: the client does not see the app's success if the login fails.
func TestThroughTheProxyRefused(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	w.Sessions.Fail("Create")
	front := behind(t, w, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Postern-Subject", "user-42")
		rw.Header().Set("Set-Cookie", "logged-in=1")
		_, _ = io.WriteString(rw, strings.Repeat("welcome ", 100_000))
	})
	res, err := front.Client().Post(front.URL+"/login", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 503 || strings.Contains(string(body), "welcome") || res.Header.Get("Set-Cookie") != "" {
		t.Errorf("status %d, %.100s, %v, %v", res.StatusCode, body, res.Header, err)
	}
}
