package probe

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/posterndev/postern/sidecar/keys/secret"
)

const (
	waitLimit = 20 * time.Second
	token     = "0123456789abcdefghijkl"
)

func portOf(t *testing.T, addr string) uint16 {
	t.Helper()
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return a.Port()
}

// admin serves probes and returns the server's URL.
func admin(t *testing.T, probes ...Probe) string {
	t.Helper()
	h, err := New(Config{Probes: probes, Target: loopback, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func loopback(port uint16) string { return fmt.Sprintf("127.0.0.1:%d", port) }

func app(t *testing.T, h http.HandlerFunc) uint16 {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return portOf(t, s.Listener.Addr().String())
}

// closedPort is a port on which nothing listens, and which no listener gets by chance.
const closedPort = 1

// get sends a request as the kubelet does, with tok unless it is empty.
func get(t *testing.T, url, tok string) (status int, body string, err error) {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if tok != "" {
		r.Header.Set(TokenHeader, tok)
	}
	res, err := (&http.Client{Timeout: waitLimit}).Do(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

func TestHTTPProbe(t *testing.T) {
	elsewhere := app(t, func(http.ResponseWriter, *http.Request) { t.Error("a redirect led to another port") })
	port := app(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
			_, _ = io.WriteString(w, "the app's own words")
		case "/204":
			w.WriteHeader(204)
		case "/404":
			http.NotFound(w, r)
		case "/500":
			w.WriteHeader(500)
		case "/here":
			http.Redirect(w, r, "/500", http.StatusFound)
		case "/there":
			http.Redirect(w, r, "http://"+loopback(elsewhere)+"/", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/slow":
			<-r.Context().Done()
		case "/big":
			_, _ = w.Write(make([]byte, 1<<20))
		case "/headers":
			if r.Host != "shop.example.com" || r.UserAgent() != probeAgent || r.Header.Get("A") != "b" || len(r.Header["C"]) != 2 ||
				r.URL.RawQuery != "x=1" || r.Header.Get("X-Client") != "" || r.Header.Get(TokenHeader) != "" {
				w.WriteHeader(500)
			}
		case "/agent":
			if r.UserAgent() != "mine" || r.Host != "other.example.com" {
				w.WriteHeader(500)
			}
		}
	})
	tests := map[string]struct {
		http       HTTP
		wantStatus int
	}{
		"healthy":                     {http: HTTP{Path: "/ok"}, wantStatus: 200},
		"no content":                  {http: HTTP{Path: "/204"}, wantStatus: 200},
		"no path":                     {http: HTTP{}, wantStatus: 200},
		"path without slash":          {http: HTTP{Path: "ok"}, wantStatus: 200},
		"not found":                   {http: HTTP{Path: "/404"}, wantStatus: 503},
		"broken":                      {http: HTTP{Path: "/500"}, wantStatus: 503},
		"redirect to a broken page":   {http: HTTP{Path: "/here"}, wantStatus: 503},
		"redirect to another port":    {http: HTTP{Path: "/there"}, wantStatus: 200},
		"redirect loop":               {http: HTTP{Path: "/loop"}, wantStatus: 503},
		"too slow":                    {http: HTTP{Path: "/slow"}, wantStatus: 503},
		"a large response":            {http: HTTP{Path: "/big"}, wantStatus: 200},
		"TLS to a plain port":         {http: HTTP{Scheme: "HTTPS", Path: "/ok"}, wantStatus: 503},
		"headers, query and own host": {http: HTTP{Path: "/headers?x=1", Host: "shop.example.com", Headers: []Field{{"a", "b"}, {"c", "1"}, {"C", "2"}}}, wantStatus: 200},
		"headers over the defaults":   {http: HTTP{Path: "/agent", Headers: []Field{{"user-agent", "mine"}, {"host", "other.example.com"}}}, wantStatus: 200},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.http.Port = port
			url := admin(t, Probe{Name: "app/liveness", HTTP: &tt.http, Timeout: 500 * time.Millisecond})
			status, body, err := get(t, url+"/probe/app/liveness?path=/500", "")
			want := map[int]string{200: "ok\n", 503: "failed\n"}[tt.wantStatus]
			if err != nil || status != tt.wantStatus || body != want {
				t.Errorf("%d %q, %v; want %d", status, body, err, tt.wantStatus)
			}
		})
	}
	t.Run("nothing listens", func(t *testing.T) {
		url := admin(t, Probe{Name: "app/liveness", HTTP: &HTTP{Port: closedPort}, Timeout: time.Second})
		if status, _, _ := get(t, url+"/probe/app/liveness", ""); status != 503 {
			t.Errorf("status %d", status)
		}
	})
	t.Run("TLS", func(t *testing.T) {
		s := httptest.NewTLSServer(http.NotFoundHandler())
		defer s.Close()
		p := HTTP{Scheme: "HTTPS", Port: portOf(t, s.Listener.Addr().String())}
		s.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		if status, _, _ := get(t, admin(t, Probe{Name: "app/liveness", HTTP: &p, Timeout: time.Second})+"/probe/app/liveness", ""); status != 200 {
			t.Errorf("status %d", status)
		}
	})
}

func TestTCPProbe(t *testing.T) {
	for want, port := range map[int]uint16{200: app(t, nil), 503: closedPort} {
		url := admin(t, Probe{Name: "app/startup", TCP: &TCP{Port: port}, Timeout: time.Second})
		if status, _, _ := get(t, url+"/probe/app/startup", ""); status != want {
			t.Errorf("status %d, want %d", status, want)
		}
	}
}

func TestGRPCProbe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, h := grpc.NewServer(), health.NewServer()
	healthpb.RegisterHealthServer(s, h)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	h.SetServingStatus("shop", healthpb.HealthCheckResponse_SERVING)
	h.SetServingStatus("down", healthpb.HealthCheckResponse_NOT_SERVING)
	port := portOf(t, l.Addr().String())
	tests := map[string]struct {
		grpc       GRPC
		wantStatus int
	}{
		"the server":      {grpc: GRPC{Port: port}, wantStatus: 200},
		"a service":       {grpc: GRPC{Port: port, Service: "shop"}, wantStatus: 200},
		"not serving":     {grpc: GRPC{Port: port, Service: "down"}, wantStatus: 503},
		"unknown service": {grpc: GRPC{Port: port, Service: "nobody"}, wantStatus: 503},
		"not gRPC":        {grpc: GRPC{Port: app(t, func(http.ResponseWriter, *http.Request) {})}, wantStatus: 503},
		"nothing listens": {grpc: GRPC{Port: closedPort}, wantStatus: 503},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			url := admin(t, Probe{Name: "app/readiness", GRPC: &tt.grpc, Timeout: 5 * time.Second})
			if status, _, _ := get(t, url+"/probe/app/readiness", ""); status != tt.wantStatus {
				t.Errorf("status %d, want %d", status, tt.wantStatus)
			}
		})
	}
}

// TestAllowList: only the listed names are served, and a hook only to callers with its token.
func TestAllowList(t *testing.T) {
	var calls atomic.Int32
	port := app(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	url := admin(t,
		Probe{Name: "app/liveness", HTTP: &HTTP{Port: port}, Timeout: time.Second, Token: secret.New([]byte(token))},
		Probe{Name: "app/preStop", HTTP: &HTTP{Port: port}, Timeout: time.Second, Token: secret.New([]byte(token))})
	tests := map[string]struct {
		path, token string
		wantStatus  int
	}{
		"probe with token":      {path: "/probe/app/liveness", token: token, wantStatus: 200},
		"hook with token":       {path: "/probe/app/preStop", token: token, wantStatus: 200},
		"probe without token":   {path: "/probe/app/liveness", wantStatus: 404},
		"hook without token":    {path: "/probe/app/preStop", wantStatus: 404},
		"hook, wrong token":     {path: "/probe/app/preStop", token: token[1:] + "x", wantStatus: 404},
		"hook, part of token":   {path: "/probe/app/preStop", token: token[:21], wantStatus: 404},
		"an unlisted kind":      {path: "/probe/app/readiness", token: token, wantStatus: 404},
		"an unlisted container": {path: "/probe/db/liveness", token: token, wantStatus: 404},
		"below":                 {path: "/probe/app/liveness/x", token: token, wantStatus: 404},
		"above":                 {path: "/probe/", token: token, wantStatus: 404},
		"dots":                  {path: "/probe/app/x/../liveness", token: token, wantStatus: 404},
		"another case":          {path: "/probe/app/Liveness", token: token, wantStatus: 404},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			calls.Store(0)
			status, _, err := get(t, url+tt.path, tt.token)
			if err != nil || status != tt.wantStatus {
				t.Errorf("status %d, %v; want %d", status, err, tt.wantStatus)
			}
			if got := calls.Load() > 0; got != (tt.wantStatus == 200) {
				t.Errorf("the app was called: %v", got)
			}
		})
	}
	t.Run("another method", func(t *testing.T) {
		r := httptest.NewRequest("POST", url+"/probe/app/liveness", nil)
		r.RequestURI = ""
		r.Header.Set(TokenHeader, token)
		res, err := http.DefaultClient.Do(r)
		if err != nil || res.StatusCode != 405 || res.Header.Get("Allow") != "GET" {
			t.Fatalf("%v, %v", res, err)
		}
		_ = res.Body.Close()
	})
}

// TestProbesAreShared: the app gets one probe at a time, however many requests arrive.
func TestProbesAreShared(t *testing.T) {
	var calls atomic.Int32
	release := make(chan struct{})
	port := app(t, func(http.ResponseWriter, *http.Request) {
		calls.Add(1)
		<-release
	})
	h, err := New(Config{
		Probes: []Probe{{Name: "app/liveness", HTTP: &HTTP{Port: port}, Timeout: waitLimit}}, Target: loopback, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	// The first client disconnects; the call it started continues for the others.
	ctx, cancel := context.WithCancel(context.Background())
	var first, others sync.WaitGroup
	first.Go(func() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/probe/app/liveness", nil))
		if w.Code != 503 {
			t.Errorf("the client that disconnected got %d", w.Code)
		}
	})
	for end := time.Now().Add(waitLimit); calls.Load() == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	cancel()
	first.Wait()
	for range 20 {
		others.Go(func() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "/probe/app/liveness", nil))
			if w.Code != 200 {
				t.Errorf("status %d", w.Code)
			}
		})
	}
	time.Sleep(50 * time.Millisecond) // lets the others arrive while the call runs; late arrival is also correct
	if got := calls.Load(); got != 1 {
		t.Errorf("%d concurrent calls", got)
	}
	close(release)
	others.Wait()
}

// TestHook: a hook runs once for each request, treats any status as success, and aborts the connection if there was no response.
func TestHook(t *testing.T) {
	var calls atomic.Int32
	port := app(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.UserAgent() != hookAgent {
			t.Errorf("agent %q", r.UserAgent())
		}
		w.WriteHeader(500)
	})
	url := admin(t,
		Probe{Name: "app/postStart", HTTP: &HTTP{Port: port}, Timeout: waitLimit, Token: secret.New([]byte(token))},
		Probe{Name: "db/preStop", HTTP: &HTTP{Port: closedPort}, Timeout: waitLimit, Token: secret.New([]byte(token))})
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if status, _, err := get(t, url+"/probe/app/postStart", token); status != 200 {
				t.Errorf("status %d, %v", status, err)
			}
		})
	}
	wg.Wait()
	if got := calls.Load(); got != 5 {
		t.Errorf("%d calls for 5 requests", got)
	}
	if status, _, err := get(t, url+"/probe/db/preStop", token); err == nil {
		t.Errorf("a hook without a response got status %d", status)
	}
}

func TestNewRefuses(t *testing.T) {
	ok := Config{Target: loopback, Logger: slog.Default()}
	tests := map[string]struct {
		change  func(*Config)
		wantErr string
	}{
		"no target":       {change: func(c *Config) { c.Target = nil }, wantErr: "required"},
		"no logger":       {change: func(c *Config) { c.Logger = nil }, wantErr: "required"},
		"an invalid name": {change: func(c *Config) { c.Probes = []Probe{{Name: "x"}} }, wantErr: "name"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := ok
			tt.change(&cfg)
			if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("error %v, want one with %q", err, tt.wantErr)
			}
		})
	}
}
