package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/test/freeport"
	"github.com/posterndev/postern/test/servertest"
)

// secured is a sidecar that serves TLS, with the folder of its Secrets.
type secured struct {
	*running
	secrets   string
	authority *servertest.Authority
}

// startTLS starts a sidecar in front of app with a certificate for names in the Secret orders-tls.
func startTLS(t *testing.T, app http.Handler, change func(*compiled.Policy)) *secured {
	t.Helper()
	server := httptest.NewServer(app)
	t.Cleanup(server.Close)
	return startTLSTo(t, server.URL, change)
}

func startTLSTo(t *testing.T, upstream string, change func(*compiled.Policy)) *secured {
	t.Helper()
	authority, err := servertest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	s := &secured{secrets: t.TempDir(), authority: authority}
	s.issue(t, "orders-tls", "orders.example.com")
	p := makeDocument(func(p *compiled.Policy) {
		p.TLS = &compiled.TLS{Mode: compiled.TLSRequire, MinVersion: compiled.TLS12, Certificates: []compiled.Certificate{secretCertificate("orders-tls")}}
		change(p)
	})
	target, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Standalone{
		Document: p, Upstream: target, Listen: freeport.Address(t), Loopback: freeport.Address(t), SecretsDir: s.secrets,
		Level: &slog.LevelVar{}, Logger: slog.New(slog.DiscardHandler),
	}.Config()
	if err != nil {
		t.Fatal(err)
	}
	s.running = start(t, c.Inbound.(plain).address, c)
	return s
}

func secretCertificate(name string) compiled.Certificate {
	return compiled.Certificate{Chain: &compiled.SecretRef{Name: name, Key: "tls.crt"}, Key: &compiled.SecretRef{Name: name, Key: "tls.key"}}
}

// issue writes a Secret with a certificate for names.
func (s *secured) issue(t *testing.T, secret string, names ...string) {
	t.Helper()
	certificate, key, err := s.authority.Issue(names[0], func(c *x509.Certificate) { c.DNSNames = names })
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, secret, map[string][]byte{"tls.crt": certificate, "tls.key": key})
}

// write replaces files of a Secret.
func (s *secured) write(t *testing.T, secret string, files map[string][]byte) {
	t.Helper()
	dir := filepath.Join(s.secrets, secret)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// settings are those of a client that trusts the authority.
func (s *secured) settings() *tls.Config {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.authority.Certificate)
	return &tls.Config{RootCAs: pool, ServerName: "orders.example.com"}
}

// client returns a client of one version of HTTP.
func (s *secured) client(t *testing.T, http2 bool, settings *tls.Config) *http.Client {
	t.Helper()
	protocols := &http.Protocols{}
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	transport := &http.Transport{
		Protocols: protocols, TLSClientConfig: settings,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "tcp", s.address) },
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// fetched is a response.
type fetched struct {
	status int
	body   string
	header http.Header
}

func fetch(t *testing.T, c *http.Client, url string, change func(*http.Request)) fetched {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatalf("requesting %s: %v", url, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fetched{resp.StatusCode, string(body), resp.Header}
}

// echo is an app that responds with what it sees.
func echo(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %s %s tls=%v subject=%s", r.Proto, r.URL.RequestURI(), r.Header.Get("X-Forwarded-Proto"), r.TLS != nil, r.Header.Get("X-Subject"))
}

// TestTLSRequire: TLS reaches the app in both versions of HTTP, plain requests never do, and HSTS is only on responses over TLS.
func TestTLSRequire(t *testing.T) {
	t.Parallel()
	s := startTLS(t, http.HandlerFunc(echo), func(p *compiled.Policy) { p.Headers = &compiled.Headers{Preset: "API"} })
	for proto, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		g := fetch(t, s.client(t, http2, s.settings()), "https://orders.example.com/a?b=1", nil)
		if !strings.Contains(g.body, "/a?b=1 https") || g.status != 200 || g.header.Get("Strict-Transport-Security") == "" {
			t.Errorf("%s: %+v", proto, g)
		}
	}
	g := fetch(t, s.client(t, false, nil), "http://orders.example.com/a", nil)
	if g.status != http.StatusBadRequest || !strings.Contains(g.body, "tls-required") || g.header.Get("Strict-Transport-Security") != "" {
		t.Errorf("a plain request: %+v", g)
	}
	_, metrics, err := s.ask("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`postern_tls_certificate_not_after_seconds{certificate="secret/orders-tls"}`, `postern_tls_certificate_rotations_total{certificate="secret/orders-tls"} 0`,
		`postern_tls_connections_total{version="1.3"} 2`, `postern_tls_connections_total{version="plain"} 1`, `postern_tls_handshakes_refused_total{reason="version"} 0`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
}
