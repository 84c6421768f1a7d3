package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/test/freeport"
	"github.com/posterndev/postern/test/servertest"
)

// tlsSidecar is a sidecar that serves TLS, with the folder of its Secrets.
type tlsSidecar struct {
	*running
	secrets   string
	authority *servertest.Authority
}

// startTLS starts a sidecar in front of app with a certificate for names in the Secret orders-tls.
func startTLS(t *testing.T, app http.Handler, change func(*compiled.Policy)) *tlsSidecar {
	t.Helper()
	server := httptest.NewServer(app)
	t.Cleanup(server.Close)
	return startPrepared(t, server.URL, change, func(*tlsSidecar) {})
}

// startPrepared starts a sidecar in front of upstream after prepare has written its other Secrets.
func startPrepared(t *testing.T, upstream string, change func(*compiled.Policy), prepare func(*tlsSidecar)) *tlsSidecar {
	t.Helper()
	return startUpdated(t, upstream, change, prepare, nil)
}

// startUpdated also gives the sidecar newer documents.
func startUpdated(t *testing.T, upstream string, change func(*compiled.Policy), prepare func(*tlsSidecar), updates <-chan *compiled.Policy) *tlsSidecar {
	t.Helper()
	authority, err := servertest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	s := &tlsSidecar{secrets: t.TempDir(), authority: authority}
	s.issue(t, "orders-tls", "orders.example.com")
	prepare(s)
	p := makeDocument(func(p *compiled.Policy) {
		p.TLS = &compiled.TLS{Mode: compiled.TLSRequire, MinVersion: compiled.TLS12, Certificates: []compiled.Certificate{secretCertificate("orders-tls")}}
		change(p)
	})
	target, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Standalone{
		Document: p, Updates: updates, Upstream: target, Listen: freeport.Address(t), Loopback: freeport.Address(t), SecretsDir: s.secrets,
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
func (s *tlsSidecar) issue(t *testing.T, secret string, names ...string) {
	t.Helper()
	certificate, key, err := s.authority.Issue(names[0], func(c *x509.Certificate) { c.DNSNames = names })
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, secret, map[string][]byte{"tls.crt": certificate, "tls.key": key})
}

// write replaces files of a Secret.
func (s *tlsSidecar) write(t *testing.T, secret string, files map[string][]byte) {
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
func (s *tlsSidecar) settings() *tls.Config {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.authority.Certificate)
	return &tls.Config{RootCAs: pool, ServerName: "orders.example.com"}
}

// client returns a client of one version of HTTP.
func (s *tlsSidecar) client(t *testing.T, http2 bool, settings *tls.Config) *http.Client {
	t.Helper()
	protocols := &http.Protocols{}
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	transport := &http.Transport{
		Protocols: protocols, TLSClientConfig: settings,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", s.address)
		},
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

// TestTLSPermissive: TLS and plain HTTP on one port, in both versions of HTTP.
func TestTLSPermissive(t *testing.T) {
	t.Parallel()
	s := startTLS(t, http.HandlerFunc(echo), func(p *compiled.Policy) {
		p.TLS.Mode = compiled.TLSPermissive
		p.Headers = &compiled.Headers{Preset: "API"}
	})
	for _, scheme := range []string{"http", "https"} {
		for _, http2 := range []bool{false, true} {
			c := s.client(t, http2, s.settings())
			if http2 && scheme == "http" {
				c.Transport.(*http.Transport).Protocols.SetUnencryptedHTTP2(true)
				c.Transport.(*http.Transport).Protocols.SetHTTP2(false)
			}
			g := fetch(t, c, scheme+"://orders.example.com/a", nil)
			if g.status != 200 || !strings.Contains(g.body, "/a "+scheme+" ") || (g.header.Get("Strict-Transport-Security") != "") != (scheme == "https") {
				t.Errorf("%s, HTTP/2 %t: %+v", scheme, http2, g)
			}
		}
	}
}

// TestTLSRedirect: plain requests are redirected, unless a trusted proxy got them by https.
func TestTLSRedirect(t *testing.T) {
	t.Parallel()
	forwarded := func(proto string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("X-Forwarded-Proto", proto)
			r.Header.Set("X-Forwarded-For", "203.0.113.7")
		}
	}
	for name, tt := range map[string]struct {
		mode       compiled.TLSMode
		port       uint16
		trusted    bool
		change     func(*http.Request)
		wantStatus int
		wantTo     string
	}{
		"Require":                          {mode: compiled.TLSRequire, port: 443, wantStatus: 308, wantTo: "https://orders.example.com/a%20b/?c=d&e"},
		"Permissive":                       {mode: compiled.TLSPermissive, port: 443, wantStatus: 308, wantTo: "https://orders.example.com/a%20b/?c=d&e"},
		"another port":                     {mode: compiled.TLSRequire, port: 8443, wantStatus: 308, wantTo: "https://orders.example.com:8443/a%20b/?c=d&e"},
		"the host's own port":              {mode: compiled.TLSRequire, port: 443, change: func(r *http.Request) { r.Host = "orders.example.com:8080" }, wantStatus: 308, wantTo: "https://orders.example.com/a%20b/?c=d&e"},
		"an address":                       {mode: compiled.TLSRequire, port: 443, change: func(r *http.Request) { r.Host = "[2001:db8::1]:8080" }, wantStatus: 308, wantTo: "https://[2001:db8::1]/a%20b/?c=d&e"},
		"https at a trusted proxy":         {mode: compiled.TLSPermissive, port: 443, trusted: true, change: forwarded("https"), wantStatus: 200},
		"https at a proxy and Require":     {mode: compiled.TLSRequire, port: 443, trusted: true, change: forwarded("https"), wantStatus: 400},
		"http at a trusted proxy":          {mode: compiled.TLSPermissive, port: 443, trusted: true, change: forwarded("http"), wantStatus: 308, wantTo: "https://orders.example.com/a%20b/?c=d&e"},
		"https at a proxy without trust":   {mode: compiled.TLSPermissive, port: 443, change: forwarded("https"), wantStatus: 308, wantTo: "https://orders.example.com/a%20b/?c=d&e"},
		"a POST":                           {mode: compiled.TLSRequire, port: 443, change: func(r *http.Request) { r.Method = http.MethodPost }, wantStatus: 308, wantTo: "https://orders.example.com/a%20b/?c=d&e"},
		"no redirect":                      {mode: compiled.TLSRequire, wantStatus: 400},
		"no redirect and a trusted proxy":  {mode: compiled.TLSRequire, trusted: true, change: forwarded("https"), wantStatus: 400},
		"no redirect, and plain is served": {mode: compiled.TLSPermissive, wantStatus: 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startTLS(t, http.HandlerFunc(echo), func(p *compiled.Policy) {
				p.TLS.Mode, p.TLS.RedirectPort = tt.mode, tt.port
				if tt.trusted {
					p.Sidecar.TrustedProxies = []string{"127.0.0.0/8"}
				}
			})
			g := fetch(t, s.client(t, false, nil), "http://orders.example.com/a%20b/?c=d&e", tt.change)
			if g.status != tt.wantStatus || g.header.Get("Location") != tt.wantTo {
				t.Errorf("%d to %q: %s", g.status, g.header.Get("Location"), g.body)
			}
		})
	}
}

// authenticated is a client certificate with a SPIFFE ID.
func (s *tlsSidecar) authenticated(t *testing.T, change func(*x509.Certificate)) *tls.Config {
	t.Helper()
	certificate, key, err := s.authority.Issue("client", func(c *x509.Certificate) {
		c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.org", Path: "/ns/shop/sa/web"}}
		if change != nil {
			change(c)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	settings := s.settings()
	settings.Certificates = []tls.Certificate{pair}
	return settings
}

// mutual is a policy that identifies clients by certificates, and a rule for one of them.
func mutual(p *compiled.Policy) {
	p.TLS.ClientCertificates = &compiled.ClientCertificates{
		CA: &compiled.SecretRef{Name: "clients-ca", Key: "ca.crt"}, CRL: &compiled.SecretRef{Name: "clients-ca", Key: "ca.crl"},
		Identity: compiled.IdentityURISAN, ClaimsToHeaders: []compiled.ClaimToHeader{{Claim: "sub", Header: "X-Subject"}},
	}
	p.Authorization.Default = compiled.RequireAuthenticated
	p.Authorization.Rules = []compiled.AuthorizationRule{{
		Name: "public", Match: []compiled.Match{{Paths: []string{"/public"}}}, Require: compiled.RequireAnonymous, Mode: compiled.Enforce,
	}, {
		Name: "web", Match: []compiled.Match{{Paths: []string{"/web"}}}, Require: compiled.RequireAuthenticated, Mode: compiled.Enforce,
		Conditions: compiled.Conditions{
			Providers: []string{compiled.ClientCertificatesProvider},
			Claims:    []compiled.ClaimCondition{{Claim: "sub", ClaimMembers: compiled.ClaimMembers{Any: []string{"spiffe://example.org/ns/shop/sa/web"}}}},
		},
	}}
	p.RateLimits = []compiled.RateLimit{{
		Name: "per-client", Match: []compiled.Match{{Paths: []string{"/limited"}}}, Limit: 1, Period: compiled.Duration(time.Hour), Burst: 1,
		KeyBy: []compiled.RateLimitKey{{Type: compiled.KeySubject}}, Mode: compiled.Enforce, OnFailure: compiled.Deny,
	}}
}

// trust writes the CAs of clients, and the serial numbers that are revoked.
func (s *tlsSidecar) trust(t *testing.T, ca []byte, revoked ...*big.Int) {
	t.Helper()
	list, err := s.authority.Revoke(time.Now().Add(time.Hour), revoked...)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "clients-ca", map[string][]byte{"ca.crt": ca, "ca.crl": list})
}

// startMutual starts a sidecar with the policy of mutual.
func startMutual(t *testing.T, app http.Handler) *tlsSidecar {
	t.Helper()
	server := httptest.NewServer(app)
	t.Cleanup(server.Close)
	return startPrepared(t, server.URL, mutual, func(s *tlsSidecar) { s.trust(t, s.authority.Certificate) })
}

// TestClientCertificates: the identity of a certificate decides rules and limits, and no client can forge its header.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	s := startMutual(t, http.HandlerFunc(echo))
	forged := func(r *http.Request) { r.Header.Set("X-Subject", "forged") }
	web, other := s.client(t, true, s.authenticated(t, nil)), s.client(t, false, s.authenticated(t, func(c *x509.Certificate) { c.URIs[0].Path = "/ns/shop/sa/other" }))
	nobody := s.client(t, false, s.settings())
	for name, tt := range map[string]struct {
		client     *http.Client
		path       string
		wantStatus int
		wantBody   string
	}{
		"the rule's client":        {web, "/web", 200, "subject=spiffe://example.org/ns/shop/sa/web"},
		"another client":           {other, "/web", 403, ""},
		"another client elsewhere": {other, "/else", 200, "subject=spiffe://example.org/ns/shop/sa/other"},
		"no certificate":           {nobody, "/web", 401, "This resource needs a client certificate."},
		"no certificate in public": {nobody, "/public", 200, "subject="},
	} {
		if g := fetch(t, tt.client, "https://orders.example.com"+tt.path, forged); g.status != tt.wantStatus || !strings.Contains(g.body, tt.wantBody) || strings.Contains(g.body, "forged") {
			t.Errorf("%s: %+v", name, g)
		}
	}
	for i, want := range []int{200, 429} {
		for name, c := range map[string]*http.Client{"web": web, "other": other} {
			if g := fetch(t, c, "https://orders.example.com/limited", nil); g.status != want {
				t.Errorf("request %d of %s: %d", i+1, name, g.status)
			}
		}
	}
}

// TestClientCertificatesEnd: a connection outlives neither its CA nor a revocation, a response in progress ends with it, and a new connection is refused in
// the handshake.
func TestClientCertificatesEnd(t *testing.T) {
	t.Parallel()
	stranger, err := servertest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	serial := big.NewInt(4711)
	for name, change := range map[string]func(*testing.T, *tlsSidecar){
		"the CA is removed": func(t *testing.T, s *tlsSidecar) { s.trust(t, stranger.Certificate) },
		"it is revoked":     func(t *testing.T, s *tlsSidecar) { s.trust(t, s.authority.Certificate, serial) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startMutual(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/stream" {
					return
				}
				_, _ = io.WriteString(w, "begun\n")
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			}))
			settings := s.authenticated(t, func(c *x509.Certificate) { c.SerialNumber = serial })
			c, streaming := s.client(t, false, settings), s.client(t, false, settings)
			if g := fetch(t, c, "https://orders.example.com/web", nil); g.status != 200 {
				t.Fatalf("%+v", g)
			}
			resp, err := streaming.Get("https://orders.example.com/stream")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			change(t, s)
			if _, err := io.ReadAll(resp.Body); err == nil {
				t.Error("the response in progress ends well")
			}
			g := fetch(t, c, "https://orders.example.com/public", nil)
			if g.status != http.StatusUnauthorized || !strings.Contains(g.body, "client-certificate") {
				t.Errorf("on the open connection: %+v", g)
			}
			if _, err := c.Get("https://orders.example.com/public"); err == nil {
				t.Error("a new connection is accepted")
			}
		})
	}
}

// TestRotationWhileStreaming: a certificate is replaced while a response is in progress, and the response goes on.
func TestRotationWhileStreaming(t *testing.T) {
	t.Parallel()
	proceed := make(chan struct{})
	s := startTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/stream" {
			return
		}
		_, _ = io.WriteString(w, "begun ")
		_ = http.NewResponseController(w).Flush()
		<-proceed
		_, _ = io.WriteString(w, "done")
	}), func(*compiled.Policy) {})
	for _, http2 := range []bool{false, true} {
		resp, err := s.client(t, http2, s.settings()).Get("https://orders.example.com/stream")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		name := fmt.Sprintf("rotated-%t.example.com", http2)
		s.issue(t, "orders-tls", name)
		settings := s.settings()
		settings.ServerName = name
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			conn, err := tls.Dial("tcp", s.address, settings)
			if err == nil {
				conn.Close()
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the new certificate is not served: %v", err)
			}
		}
		s.issue(t, "orders-tls", "orders.example.com")
		go func() { proceed <- struct{}{} }()
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "begun done" {
			t.Errorf("HTTP/2 %t: %q, %v", http2, body, err)
		}
		if !http2 {
			for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				if conn, err := tls.Dial("tcp", s.address, s.settings()); err == nil {
					conn.Close()
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("the first name is not served again")
				}
			}
		}
	}
}

// newAuthority returns a CA, and the certificate with its key that it has issued to itself, for an app.
func newAuthority(t *testing.T) (*servertest.Authority, tls.Certificate) {
	t.Helper()
	ca, err := servertest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	own, err := tls.X509KeyPair(ca.Certificate, ca.Key)
	if err != nil {
		t.Fatal(err)
	}
	return ca, own
}

// TestUpstreamTLS: the app is reached by TLS in both versions of HTTP, and one with another certificate is not.
func TestUpstreamTLS(t *testing.T) {
	t.Parallel()
	app, own := newAuthority(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	server.TLS, server.EnableHTTP2 = &tls.Config{Certificates: []tls.Certificate{own}}, true
	server.StartTLS()
	t.Cleanup(server.Close)
	upstream := strings.Replace(server.URL, "https://", "http://", 1)
	for name, tt := range map[string]struct {
		protocol   compiled.UpstreamProtocol
		serverName string
		stranger   bool
		want       string
		wantStatus int
	}{
		"Auto":         {serverName: "localhost", want: "HTTP/1.1 /a https tls=true", wantStatus: 200},
		"HTTP1":        {protocol: compiled.UpstreamHTTP1, serverName: "localhost", want: "HTTP/1.1 /a https tls=true", wantStatus: 200},
		"H2C":          {protocol: compiled.UpstreamH2C, serverName: "localhost", want: "HTTP/2.0 /a https tls=true", wantStatus: 200},
		"another name": {serverName: "orders", wantStatus: 502},
		"another CA":   {serverName: "localhost", stranger: true, wantStatus: 502},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startPrepared(t, upstream, func(p *compiled.Policy) {
				p.UpstreamProtocol = tt.protocol
				p.UpstreamTLS = &compiled.UpstreamTLS{CA: &compiled.SecretRef{Name: "app-ca", Key: "ca.crt"}, ServerName: tt.serverName}
			}, func(s *tlsSidecar) {
				ca := app.Certificate
				if tt.stranger {
					ca = s.authority.Certificate
				}
				s.write(t, "app-ca", map[string][]byte{"ca.crt": ca})
			})
			for _, http2 := range []bool{false, true} {
				if g := fetch(t, s.client(t, http2, s.settings()), "https://orders.example.com/a", nil); g.status != tt.wantStatus || !strings.Contains(g.body, tt.want) {
					t.Errorf("HTTP/2 %t: %+v", http2, g)
				}
			}
		})
	}
}

// TestUpstreamWithoutCA: while the file of caRef is missing, the sidecar sends the app nothing, and does not blame it.
func TestUpstreamWithoutCA(t *testing.T) {
	t.Parallel()
	updates := make(chan *compiled.Policy)
	server := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(server.Close)
	plain := func(p *compiled.Policy) { p.TLS = nil }
	s := startUpdated(t, server.URL, plain, func(*tlsSidecar) {}, updates)
	updates <- makeDocument(func(p *compiled.Policy) {
		p.Revision = 2
		plain(p)
		p.UpstreamTLS = &compiled.UpstreamTLS{CA: &compiled.SecretRef{Name: "app-ca", Key: "ca.crt"}, ServerName: "localhost"}
	})
	servertest.Eventually(t, "the refusal app-ca-unavailable", func() bool {
		g := fetch(t, s.client(t, false, nil), "http://orders.example.com/a", nil)
		return g.status == http.StatusServiceUnavailable && strings.Contains(g.body, "app-ca-unavailable") && strings.Contains(g.body, "configuration of the sidecar")
	})
}

// TestTLSOfANewPolicy: a running sidecar begins to serve TLS, an open plain connection is refused its next request, and a policy that is deleted still
// serves the clients that speak TLS.
func TestTLSOfANewPolicy(t *testing.T) {
	t.Parallel()
	updates := make(chan *compiled.Policy)
	plainPolicy := func(p *compiled.Policy) { p.TLS = nil }
	server := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(server.Close)
	s := startUpdated(t, server.URL, plainPolicy, func(*tlsSidecar) {}, updates)
	open := s.client(t, false, nil)
	if g := fetch(t, open, "http://orders.example.com/a", nil); g.status != 200 {
		t.Fatalf("%+v", g)
	}
	next := func(revision int64, change func(*compiled.Policy)) {
		t.Helper()
		updates <- makeDocument(func(p *compiled.Policy) {
			p.Revision = revision
			p.TLS = &compiled.TLS{Mode: compiled.TLSRequire, MinVersion: compiled.TLS12, Certificates: []compiled.Certificate{secretCertificate("orders-tls")}}
			change(p)
		})
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("timed out waiting for %s", what)
			}
		}
	}
	next(2, func(*compiled.Policy) {})
	until("TLS", func() bool {
		resp, err := s.client(t, true, s.settings()).Get("https://orders.example.com/a")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == 200
	})
	if g := fetch(t, open, "http://orders.example.com/a", nil); g.status != 400 {
		t.Errorf("on the open connection: %+v", g)
	}
	next(3, func(p *compiled.Policy) { p.Deleted = true })
	until("the deletion", func() bool {
		return fetch(t, s.client(t, false, nil), "http://orders.example.com/a", nil).status == 200
	})
	if g := fetch(t, s.client(t, false, s.settings()), "https://orders.example.com/a", nil); g.status != 200 {
		t.Errorf("TLS of a deleted policy: %+v", g)
	}
	updates <- makeDocument(func(p *compiled.Policy) { p.Revision = 4 })
	until("plain HTTP", func() bool {
		_, err := s.client(t, false, s.settings()).Get("https://orders.example.com/a")
		return err != nil
	})
}

// TestWebSocketOverTLS: an upgraded connection works above TLS, in both directions.
func TestWebSocketOverTLS(t *testing.T) {
	t.Parallel()
	s := startTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
		_, _ = io.CopyN(conn, buffered, 5)
	}), func(*compiled.Policy) {})
	conn, err := tls.Dial("tcp", s.address, s.settings())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprint(conn, "GET /ws HTTP/1.1\r\nHost: orders.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%+v, %v", resp, err)
	}
	fmt.Fprint(conn, "\x81\x83abc")
	if all, err := io.ReadAll(reader); err != nil || string(all) != "\x81\x83abc" {
		t.Errorf("%q, %v", all, err)
	}
}

// TestSlowHandshakes: clients that never finish a handshake do not keep others from theirs, and are closed.
func TestSlowHandshakes(t *testing.T) {
	t.Parallel()
	s := startTLS(t, http.HandlerFunc(echo), func(p *compiled.Policy) {
		p.Sidecar.Connections = &compiled.Connections{Max: 64, MaxPerAddress: 64, IdleTimeout: compiled.Duration(time.Minute)}
	})
	for range 100 { // more than there are places
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "\x16\x03\x01")
	}
	for range 20 {
		if g := fetch(t, s.client(t, false, s.settings()), "https://orders.example.com/a", nil); g.status != 200 {
			t.Fatalf("%+v", g)
		}
	}
}

// TestLargeBodies: bodies of several MiB pass unchanged both ways, from a client with TLS to an app with and without it.
func TestLargeBodies(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("0123456789abcdef"), 300<<10)
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PRI" {
			return // the sidecar asks whether the app speaks HTTP/2
		}
		got, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("the app got %d bytes, %v", len(got), err)
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	})
	ca, own := newAuthority(t)
	for _, upstreamTLS := range []bool{false, true} {
		server := httptest.NewUnstartedServer(app)
		if upstreamTLS {
			server.TLS = &tls.Config{Certificates: []tls.Certificate{own}}
			server.StartTLS()
		} else {
			server.Start()
		}
		t.Cleanup(server.Close)
		s := startPrepared(t, strings.Replace(server.URL, "https://", "http://", 1), func(p *compiled.Policy) {
			if upstreamTLS {
				p.UpstreamTLS = &compiled.UpstreamTLS{CA: &compiled.SecretRef{Name: "app-ca", Key: "ca.crt"}, ServerName: "localhost"}
			}
		}, func(s *tlsSidecar) { s.write(t, "app-ca", map[string][]byte{"ca.crt": ca.Certificate}) })
		for _, http2 := range []bool{false, true} {
			c := s.client(t, http2, s.settings())
			for range 2 { // the second one on a connection that is kept
				resp, err := c.Post("https://orders.example.com/a", "application/octet-stream", bytes.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("HTTP/2 %t, TLS to the app %t: %d bytes, %v", http2, upstreamTLS, len(got), err)
				}
			}
		}
	}
}

// TestUpstreamTLSOfANewPolicy: when the policy changes how the app is verified, no request goes on over a connection that was verified in another way, however
// busy it is kept.
func TestUpstreamTLSOfANewPolicy(t *testing.T) {
	t.Parallel()
	ca, own := newAuthority(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	server.TLS, server.EnableHTTP2 = &tls.Config{Certificates: []tls.Certificate{own}}, true
	server.StartTLS()
	t.Cleanup(server.Close)
	for _, protocol := range []compiled.UpstreamProtocol{compiled.UpstreamHTTP1, compiled.UpstreamH2C} {
		t.Run(string(protocol), func(t *testing.T) {
			t.Parallel()
			updates := make(chan *compiled.Policy)
			of := func(serverName string) func(*compiled.Policy) {
				return func(p *compiled.Policy) {
					p.UpstreamProtocol = protocol
					p.UpstreamTLS = &compiled.UpstreamTLS{CA: &compiled.SecretRef{Name: "app-ca", Key: "ca.crt"}, ServerName: serverName}
					p.TLS = &compiled.TLS{Mode: compiled.TLSRequire, MinVersion: compiled.TLS12, Certificates: []compiled.Certificate{secretCertificate("orders-tls")}}
				}
			}
			s := startUpdated(t, strings.Replace(server.URL, "https://", "http://", 1), of("localhost"), func(s *tlsSidecar) { s.write(t, "app-ca", map[string][]byte{"ca.crt": ca.Certificate}) }, updates)
			c := s.client(t, true, s.settings())
			if g := fetch(t, c, "https://orders.example.com/a", nil); g.status != 200 {
				t.Fatalf("%+v", g)
			}
			updates <- makeDocument(func(p *compiled.Policy) { p.Revision = 2; of("orders")(p) })
			for deadline := time.Now().Add(20 * time.Second); fetch(t, c, "https://orders.example.com/a", nil).status != http.StatusBadGateway; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("requests go on over connections that were verified by another name")
				}
			}
		})
	}
}

// TestUpstreamConnectionsAreKept: requests one after the other need one handshake with the app.
func TestUpstreamConnectionsAreKept(t *testing.T) {
	t.Parallel()
	ca, own := newAuthority(t)
	for _, protocol := range []compiled.UpstreamProtocol{compiled.UpstreamHTTP1, compiled.UpstreamH2C} {
		t.Run(string(protocol), func(t *testing.T) {
			var opened atomic.Int64
			server := httptest.NewUnstartedServer(http.HandlerFunc(echo))
			server.EnableHTTP2 = true
			server.TLS = &tls.Config{Certificates: []tls.Certificate{own}}
			server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					opened.Add(1)
				}
			}
			server.StartTLS()
			t.Cleanup(server.Close)
			s := startPrepared(t, strings.Replace(server.URL, "https://", "http://", 1), func(p *compiled.Policy) {
				p.UpstreamProtocol = protocol
				p.UpstreamTLS = &compiled.UpstreamTLS{CA: &compiled.SecretRef{Name: "app-ca", Key: "ca.crt"}, ServerName: "localhost"}
			}, func(s *tlsSidecar) { s.write(t, "app-ca", map[string][]byte{"ca.crt": ca.Certificate}) })
			c := s.client(t, false, s.settings())
			const n = 20
			for range n {
				if g := fetch(t, c, "https://orders.example.com/a", nil); g.status != 200 {
					t.Fatalf("%+v", g)
				}
			}
			if got := opened.Load(); got > n/4 { // a slow machine may let some of them become too old
				t.Errorf("%d connections for %d requests", got, n)
			}
		})
	}
}
