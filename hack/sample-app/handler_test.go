package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/posterndev/postern/test/servertest"
)

func TestRoutes(t *testing.T) {
	for name, test := range map[string]struct {
		method, target, body string
		wantStatus           int
		wantBody             string
		wantHeader           string
	}{
		"echo":                 {method: "PUT", target: "/a?b=c", body: "12345", wantStatus: 200, wantBody: `"bodyBytes":5`},
		"public":               {method: "GET", target: "/public/logo", wantStatus: 200, wantBody: `"path":"/public/logo"`},
		"health":               {method: "GET", target: "/healthz", wantStatus: 200, wantBody: "ok"},
		"login":                {method: "POST", target: "/login", body: `{"user":"ann","password":"demo"}`, wantStatus: 200, wantHeader: "Postern-Subject"},
		"wrong password":       {method: "POST", target: "/login", body: `{"user":"ann","password":"x"}`, wantStatus: 401},
		"login without a body": {method: "POST", target: "/login", wantStatus: 401},
		"new user":             {method: "POST", target: "/users", body: `{"name":"ann"}`, wantStatus: 201, wantBody: `{"id":"1","name":"ann"}`},
		"login too long":       {method: "POST", target: "/login", body: `{"user":"` + strings.Repeat("a", 1<<17), wantStatus: 401},
		"orders":               {method: "GET", target: "/orders", wantStatus: 200, wantBody: `"id":1299`},
		"insecure headers":     {method: "GET", target: "/headers-insecure", wantStatus: 200, wantHeader: "X-Powered-By"},
		"slow":                 {method: "GET", target: "/slow?ms=1", wantStatus: 200, wantBody: "1"},
		"slow, invalid":        {method: "GET", target: "/slow?ms=-1", wantStatus: 400},
		"stream":               {method: "GET", target: "/stream?bytes=70000", wantStatus: 200, wantBody: "0123456789abcdef"},
		"stream, invalid":      {method: "GET", target: "/stream?bytes=x", wantStatus: 400},
		"events":               {method: "GET", target: "/sse?events=2&ms=0", wantStatus: 200, wantBody: `data: {"event":1}`},
		"events, invalid":      {method: "GET", target: "/sse?ms=x", wantStatus: 400},
		"trailers":             {method: "GET", target: "/trailers", wantStatus: 200, wantBody: "a trailer follows"},
		"no WebSocket":         {method: "GET", target: "/ws", wantStatus: 426},
	} {
		t.Run(name, func(t *testing.T) {
			response := httptest.NewRecorder()
			newHandler(nil).ServeHTTP(response, httptest.NewRequest(test.method, test.target, strings.NewReader(test.body)))
			if response.Code != test.wantStatus || !strings.Contains(response.Body.String(), test.wantBody) {
				t.Errorf("got %d %.200q, want %d %q", response.Code, response.Body, test.wantStatus, test.wantBody)
			}
			if test.wantHeader != "" && response.Header().Get(test.wantHeader) == "" {
				t.Errorf("no header %s", test.wantHeader)
			}
		})
	}
}

func TestEventsEndWithTheApp(t *testing.T) {
	stopping := make(chan struct{})
	close(stopping)
	response := httptest.NewRecorder()
	newHandler(stopping).ServeHTTP(response, httptest.NewRequest("GET", "/sse?ms=3600000", nil))
	if got := strings.Count(response.Body.String(), "data:"); got != 1 {
		t.Errorf("got %d events, want 1", got)
	}
}

// startApp runs the app on a free address until the test ends.
func startApp(t *testing.T) (address string) { return startFiles(t, files{}) }

// startFiles runs it with TLS, if there are files.
func startFiles(t *testing.T, tls files) (address string) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = free.Addr().String()
	free.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, slog.New(slog.DiscardHandler), []string{address}, tls) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return address
		}
	}
	t.Fatal("the app does not listen")
	return ""
}

func TestServe(t *testing.T) {
	address := startApp(t)
	for name, args := range map[string][]string{"HTTP/1.1": nil, "HTTP/2.0": {"-http2"}} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := get(t.Context(), append(args, "-X", "POST", "-H", "X-Team: blue", "-d", "abc", "http://"+address+"/x"), &out); err != nil {
				t.Fatal(err)
			}
			head, body, _ := strings.Cut(out.String(), "\n\n")
			var got seen
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(head, name+" 200") || got.Proto != name || got.Headers.Get("X-Team") != "blue" || got.BodyBytes != 3 {
				t.Errorf("got %s", out.String())
			}
		})
	}
	t.Run("gRPC", func(t *testing.T) {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		response, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
		if err != nil || response.Status != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("got %v, %v", response, err)
		}
	})
	t.Run("WebSocket", func(t *testing.T) {
		conn, _, err := websocket.Dial(t.Context(), "ws://"+address+"/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		if err := conn.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, message, err := conn.Read(t.Context()); err != nil || string(message) != "hello" {
			t.Errorf("got %q, %v", message, err)
		}
	})
	t.Run("trailers", func(t *testing.T) {
		var out bytes.Buffer
		if err := get(t.Context(), []string{"http://" + address + "/trailers"}, &out); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(out.String(), "X-Body-Bytes: 18\n") {
			t.Errorf("got %q", out.String())
		}
	})
}

// TestServeTLS: with a certificate the app serves both versions of HTTP by TLS, and nothing in clear text.
func TestServeTLS(t *testing.T) {
	a, err := servertest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	f := files{filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")}
	if err := errors.Join(os.WriteFile(f.certificate, a.Certificate, 0o600), os.WriteFile(f.key, a.Key, 0o600)); err != nil {
		t.Fatal(err)
	}
	address := startFiles(t, f)
	settings, err := a.ClientTLS()
	if err != nil {
		t.Fatal(err)
	}
	for proto, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: settings, ForceAttemptHTTP2: http2}}
		defer client.CloseIdleConnections()
		response, err := client.Get("https://" + address + "/")
		if err != nil {
			t.Fatal(err)
		}
		var got seen
		if err := json.NewDecoder(response.Body).Decode(&got); err != nil || got.Proto != proto || !got.TLS {
			t.Errorf("got %+v, %v", got, err)
		}
		response.Body.Close()
	}
	if err := get(t.Context(), []string{"-fail", "http://" + address + "/"}, io.Discard); err == nil {
		t.Error("plain HTTP is served")
	}
}

func TestGetRefuses(t *testing.T) {
	address := startApp(t)
	for name, args := range map[string][]string{
		"no URL":              {},
		"two URLs":            {"http://a", "http://b"},
		"invalid header":      {"-H", "nonsense", "http://" + address},
		"invalid URL":         {":"},
		"nothing listens":     {"http://127.0.0.1:1"},
		"a failure, -fail":    {"-fail", "-X", "POST", "http://" + address + "/login"},
		"a response too slow": {"-timeout", "1ms", "http://" + address + "/slow"},
		"another status":      {"-want", "401", "http://" + address + "/healthz"},
		"never that status":   {"-want", "401", "-within", "50ms", "http://" + address + "/healthz"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := get(t.Context(), args, io.Discard); err == nil {
				t.Error("no error")
			}
		})
	}
	if err := get(t.Context(), []string{"-X", http.MethodPost, "http://" + address + "/login"}, io.Discard); err != nil {
		t.Errorf("a failure without -fail: %v", err)
	}
}

func TestGetRetriesUntilStatus(t *testing.T) {
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests++; requests == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	if err := get(t.Context(), []string{"-want", "401", "-within", "1m", server.URL}, io.Discard); err != nil || requests != 2 {
		t.Errorf("got error %v after %d requests, want none after 2", err, requests)
	}
}

func TestServeRefusesAddress(t *testing.T) {
	if err := serve(t.Context(), slog.New(slog.DiscardHandler), []string{"127.0.0.1:0", "nowhere:x"}, files{}); err == nil {
		t.Error("no error")
	}
}
