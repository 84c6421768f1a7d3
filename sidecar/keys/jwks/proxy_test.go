package jwks

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
)

// connectProxy is a forward proxy that leads every host to one server.
func connectProxy(t *testing.T, target string) (address string, connects *atomic.Int64) {
	t.Helper()
	connects = &atomic.Int64{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "keys.example.com:443" || r.Header.Get("Authorization") != "" {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		connects.Add(1)
		upstream, err := net.Dial("tcp", target)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer upstream.Close()
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(upstream, conn) }()
		_, _ = io.Copy(conn, upstream)
	}))
	t.Cleanup(s.Close)
	return s.URL, connects
}

// TestProxyOfTheEnvironment: HTTPS_PROXY and NO_PROXY. The environment is read once for each process, so that each case is a process.
func TestProxyOfTheEnvironment(t *testing.T) {
	const child = "JWKS_TEST_CA"
	if ca := os.Getenv(child); ca != "" {
		fetchByProxy(t, ca)
		return
	}
	o := newOrigin(t, serve(jwkSet(t, rsaJWK(t, "a"))))
	proxy, connects := connectProxy(t, o.Listener.Addr().String())
	ca := tokenFile(t, string(o.ca()))
	tests := map[string]struct {
		noProxy      string
		wantConnects int64
		wantKeys     bool
	}{
		"HTTPS_PROXY":           {"", 1, true},
		"NO_PROXY of others":    {"other.example.com", 1, true},
		"NO_PROXY":              {"keys.example.com", 0, false},
		"NO_PROXY of a domain":  {".example.com", 0, false},
		"NO_PROXY of all hosts": {"*", 0, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			before := connects.Load()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxyOfTheEnvironment$", "-test.v")
			cmd.Env = append(os.Environ(), child+"="+ca, "HTTPS_PROXY="+proxy, "NO_PROXY="+tt.noProxy, "no_proxy="+tt.noProxy)
			out, err := cmd.CombinedOutput()
			if (err == nil) != tt.wantKeys {
				t.Errorf("fetched: %v, want %v: %s", err == nil, tt.wantKeys, out)
			}
			if n := connects.Load() - before; (n > 0) != (tt.wantConnects > 0) {
				t.Errorf("%d connections by the proxy, want %d", n, tt.wantConnects)
			}
		})
	}
}

// fetchByProxy fetches a set from a host that only the proxy can reach.
func fetchByProxy(t *testing.T, caFile string) {
	t.Helper()
	ca, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewManager(ManagerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := m.newLoader(Spec{Algorithms: every(), URI: "https://keys.example.com/jwks.json", CABundle: ca})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.load(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
}
