package chain

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/resources"
	"github.com/posterndev/postern/sidecar/stages/upstream"
)

// issuer signs tokens as an external issuer.
type issuer struct {
	key  *ecdsa.PrivateKey
	jwks json.RawMessage
}

func newIssuer(t *testing.T) issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return issuer{key, fmt.Appendf(nil, `{"keys":[{"kty":"EC","crv":"P-256","kid":"k","alg":"ES256","x":%q,"y":%q}]}`, b64(point[1:33]), b64(point[33:]))}
}

func (i issuer) token(t *testing.T, subject string) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": "https://id.example.com", "aud": "orders", "sub": subject, "exp": time.Now().Add(time.Hour).Unix(),
	})
	token.Header["kid"] = "k"
	signed, err := token.SignedString(i.key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// policy returns a document with every section.
func policy(i issuer) *compiled.Policy {
	return &compiled.Policy{
		SchemaVersion: 1, Namespace: "shop", Name: "orders", Revision: 1, Mode: compiled.Enforce, UndeclaredPorts: compiled.Deny,
		Providers: []compiled.Provider{{
			Name: "corp", Issuer: "https://id.example.com", Audiences: []string{"orders"}, Algorithms: []string{"ES256"},
			Keys: compiled.Keys{Inline: i.jwks}, ClaimsToHeaders: []compiled.ClaimToHeader{{Claim: "sub", Header: "X-Auth-Subject"}},
		}},
		Authorization: compiled.Authorization{Default: compiled.RequireAuthenticated, Mode: compiled.Enforce, Rules: []compiled.AuthorizationRule{
			{Name: "public", Match: []compiled.Match{{Paths: []string{"/public/**", "/login"}}}, Require: compiled.RequireAnonymous, Mode: compiled.Enforce},
			{Name: "closed", Match: []compiled.Match{{Paths: []string{"/admin/**"}}}, Require: compiled.RequireDeny, Mode: compiled.Enforce},
		}},
		RateLimits: []compiled.RateLimit{{
			Name: "login", Match: []compiled.Match{{Methods: []string{"POST"}, Paths: []string{"/login"}}}, Limit: 2, Burst: 2,
			Period: compiled.Duration(time.Hour), KeyBy: []compiled.RateLimitKey{{Type: compiled.KeyClientAddress}}, Mode: compiled.Enforce, OnFailure: compiled.Allow,
		}, {
			Name: "strangers", Match: []compiled.Match{{Paths: []string{"/counted"}}}, Limit: 2, Burst: 2,
			Period: compiled.Duration(time.Hour), KeyBy: []compiled.RateLimitKey{{Type: compiled.KeyClientAddress}}, Mode: compiled.Enforce, OnFailure: compiled.Allow,
		}},
		Headers:     &compiled.Headers{Preset: "Strict", HeaderRules: compiled.HeaderRules{Remove: []string{"X-App"}}},
		CORS:        &compiled.CORS{AllowOrigins: []string{"https://app.example.com"}, AllowMethods: []string{"GET"}, AllowCredentials: true},
		Compression: &compiled.Compression{MinSize: 64},
		Sidecar:     compiled.SidecarOptions{AccessLog: "None", LogLevel: "info"},
	}
}

func newShared(t *testing.T) *resources.Resources {
	t.Helper()
	s, err := resources.New(resources.Config{Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler), SecretsDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// echo is the app. Its response describes the request.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-App", "secret software")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"path": r.URL.Path, "header": r.Header, "padding": strings.Repeat("x", 200)})
})

// config returns the Config of a chain in front of echo.
func config(t *testing.T, shared *resources.Resources) Config {
	t.Helper()
	return Config{Resources: shared, App: proxyTo(t, echo), OnlyPort: 8080, Logger: slog.New(slog.DiscardHandler)}
}

// proxyTo returns the last stage, in front of handler.
func proxyTo(t *testing.T, handler http.Handler) *upstream.Proxy {
	t.Helper()
	app := httptest.NewUnstartedServer(handler)
	app.Config.Protocols = bothVersions()
	app.Start()
	t.Cleanup(app.Close)
	proxy, err := upstream.New(upstream.Config{
		Target: func(netip.AddrPort) string { return strings.TrimPrefix(app.URL, "http://") }, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	return proxy
}

// serve builds p and returns its address.
func serve(t *testing.T, p *compiled.Policy, c Config) string {
	t.Helper()
	snapshot, err := Build(p, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(snapshot.Close)
	server := httptest.NewServer(snapshot)
	t.Cleanup(server.Close)
	return server.URL
}

type response struct {
	status int
	header http.Header
	body   string
}

func call(t *testing.T, method, url string, header map[string]string) response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{resp.StatusCode, resp.Header, string(body)}
}

func TestRequestPath(t *testing.T) {
	i, stranger := newIssuer(t), newIssuer(t)
	url := serve(t, policy(i), config(t, newShared(t)))
	bearer := map[string]string{"Authorization": "Bearer " + i.token(t, "ada")}
	tests := map[string]struct {
		method, path string
		header       map[string]string
		wantStatus   int
		// wantSeen and wantUnseen are parts of the app's response, or of the refusal.
		wantSeen, wantUnseen string
		// wantHeader are response fields with their values; "" means absent.
		wantHeader map[string]string
	}{
		"no token": {path: "/orders", wantStatus: 401, wantSeen: "no-credentials", wantHeader: map[string]string{
			"WWW-Authenticate": `Bearer realm="orders"`, "X-Content-Type-Options": "nosniff", "Content-Type": "application/problem+json"}},
		"a good token":                   {path: "/orders", header: bearer, wantStatus: 200, wantSeen: `"X-Auth-Subject":["ada"]`, wantUnseen: "Authorization", wantHeader: map[string]string{"X-App": ""}},
		"a forged token":                 {path: "/orders", header: map[string]string{"Authorization": "Bearer " + stranger.token(t, "ada")}, wantStatus: 401, wantSeen: "invalid-token"},
		"a public route":                 {path: "/public/x", wantStatus: 200},
		"a forged header":                {path: "/public/x", header: map[string]string{"X-Auth-Subject": "admin", "x_auth_subject": "admin", "Connection": "x-auth-subject"}, wantStatus: 200, wantUnseen: "admin"},
		"a bad token on a public route":  {path: "/public/x", header: map[string]string{"Authorization": "Bearer x.y.z"}, wantStatus: 200, wantUnseen: "x.y.z"},
		"a closed route":                 {path: "/admin/users", header: bearer, wantStatus: 403, wantSeen: "access-denied"},
		"a closed route, other spelling": {path: "//admin/users/", header: bearer, wantStatus: 403},
		"a closed route, encoded":        {path: "/public%2f..%2fadmin/users", wantStatus: 400, wantSeen: "bad-path"},
		"dot segments":                   {path: "/public/%2e%2e/admin", wantStatus: 400, wantSeen: "bad-path"},
		"a preflight needs no token": {method: "OPTIONS", path: "/orders", header: map[string]string{"Origin": "https://app.example.com", "Access-Control-Request-Method": "GET"},
			wantStatus: 204, wantHeader: map[string]string{"Access-Control-Allow-Origin": "https://app.example.com"}},
		"CORS on a refusal": {path: "/orders", header: map[string]string{"Origin": "https://app.example.com"}, wantStatus: 401,
			wantHeader: map[string]string{"Access-Control-Allow-Origin": "https://app.example.com", "Vary": "Origin"}},
		"the app's CORS is replaced": {path: "/public/x", header: map[string]string{"Origin": "https://evil.example.com"}, wantStatus: 200,
			wantHeader: map[string]string{"Access-Control-Allow-Origin": ""}},
		"compression":      {path: "/public/x", header: map[string]string{"Accept-Encoding": "gzip"}, wantStatus: 200, wantHeader: map[string]string{"Content-Encoding": "gzip"}},
		"TRACE is refused": {method: "TRACE", path: "/public/x", wantStatus: 405},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.method == "" {
				tt.method = "GET"
			}
			got := call(t, tt.method, url+tt.path, tt.header)
			if got.status != tt.wantStatus || !strings.Contains(got.body, tt.wantSeen) {
				t.Errorf("got %d %s; want %d with %q", got.status, got.body, tt.wantStatus, tt.wantSeen)
			}
			if tt.wantUnseen != "" && strings.Contains(got.body, tt.wantUnseen) {
				t.Errorf("%q was seen: %s", tt.wantUnseen, got.body)
			}
			for name, want := range tt.wantHeader {
				if value := got.header.Get(name); value != want {
					t.Errorf("%s: %q; want %q", name, value, want)
				}
			}
		})
	}
}

func TestLimitsOutliveAReload(t *testing.T) {
	i := newIssuer(t)
	c := config(t, newShared(t))
	p := policy(i)
	first := serve(t, p, c)
	for range 2 {
		if got := call(t, "POST", first+"/login", nil); got.status != 200 {
			t.Fatalf("within the limit: %d", got.status)
		}
	}
	second := serve(t, p, c)
	got := call(t, "POST", second+"/login", nil)
	if got.status != 429 || got.header.Get("Retry-After") == "" || got.header.Get("RateLimit-Policy") != `"login";q=2;w=3600` {
		t.Errorf("after a reload: %d %v", got.status, got.header)
	}
}

func TestRefusedCallersCount(t *testing.T) {
	i := newIssuer(t)
	url := serve(t, policy(i), config(t, newShared(t)))
	var got []int
	for range 3 {
		got = append(got, call(t, "GET", url+"/counted", nil).status)
	}
	if fmt.Sprint(got) != "[401 401 429]" {
		t.Errorf("statuses %v: refused requests are not limited", got)
	}
}

func TestShadowLetsPass(t *testing.T) {
	i := newIssuer(t)
	p := policy(i)
	p.Mode = compiled.Shadow
	url := serve(t, p, config(t, newShared(t)))
	for _, path := range []string{"/orders", "/admin/users", "/login", "/login", "/login"} {
		if got := call(t, "POST", url+path, nil); got.status != 200 {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	if got := call(t, "GET", url+"/x/%2e%2e/y", nil); got.status != 400 {
		t.Errorf("an ambiguous path: %d; it must be refused in every mode", got.status)
	}
}

func TestDeletedPolicyRemovesForgedIdentity(t *testing.T) {
	i := newIssuer(t)
	p := policy(i)
	p.Deleted = true
	url := serve(t, p, config(t, newShared(t)))
	got := call(t, "GET", url+"/admin/users", map[string]string{"X-Auth-Subject": "admin"})
	if got.status != 200 || strings.Contains(got.body, `"admin"`) {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

func TestBuildRefuses(t *testing.T) {
	i := newIssuer(t)
	tests := map[string]struct {
		change  func(*compiled.Policy)
		wantErr string
		// wantOnlyBuilt: Check accepts it, because it does not know the pod.
		wantOnlyBuilt bool
	}{
		"a pattern":          {change: func(p *compiled.Policy) { p.Authorization.Rules[0].Match[0].Paths[0] = "public" }, wantErr: "spec.authorization.rules[0].match[0].paths[0]"},
		"a limit's pattern":  {change: func(p *compiled.Policy) { p.RateLimits[0].Match[0].Paths[0] = "/a*" }, wantErr: "spec.rateLimits[0].match[0].paths[0]"},
		"an algorithm":       {change: func(p *compiled.Policy) { p.Providers[0].Algorithms = []string{"none"} }, wantErr: "spec.jwt.providers[0].algorithms"},
		"inline keys":        {change: func(p *compiled.Policy) { p.Providers[0].Keys.Inline = json.RawMessage(`{"keys":[]}`) }, wantErr: "spec.jwt.providers[0].jwks.inline"},
		"an origin":          {change: func(p *compiled.Policy) { p.CORS.AllowOrigins = []string{"null"} }, wantErr: "cors"},
		"a header":           {change: func(p *compiled.Policy) { p.Headers.Set = []compiled.HeaderField{{Name: "a b", Value: "c"}} }, wantErr: "headers"},
		"a type":             {change: func(p *compiled.Policy) { p.Compression.Types = []string{"text"} }, wantErr: "compression"},
		"a proxy":            {change: func(p *compiled.Policy) { p.Sidecar.TrustedProxies = []string{"all"} }, wantErr: "trustedProxies[0]"},
		"an undeclared port": {change: func(p *compiled.Policy) { p.Ports = []compiled.Port{{Name: "grpc", Protocol: compiled.HTTP}} }, wantErr: `named "grpc"`, wantOnlyBuilt: true},
		"an invalid Redis address": {change: func(p *compiled.Policy) {
			p.Redis = &compiled.Redis{Mode: "Standalone", Addresses: []string{"nowhere"}}
		}, wantErr: "redis"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := policy(i)
			tt.change(p)
			c := config(t, newShared(t))
			c.OnlyPort = 0
			if _, err := Build(p, c); err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("Build: %v; want %q", err, tt.wantErr)
			}
			if err := Check(p); !tt.wantOnlyBuilt && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Errorf("Check: %v; want %q", err, tt.wantErr)
			}
		})
	}
}

func TestDecide(t *testing.T) {
	i := newIssuer(t)
	declared := []compiled.ContainerPort{{Name: "http", Number: 8080}, {Name: "raw", Number: 5432}}
	tests := map[string]struct {
		change   func(*compiled.Policy)
		want     map[uint16]string
		wantHTTP int
	}{
		"every declared port": {func(*compiled.Policy) {}, map[uint16]string{8080: "HTTP", 5432: "HTTP", 9: ""}, 2},
		"named ports": {func(p *compiled.Policy) {
			p.Ports = []compiled.Port{{Name: "http", Protocol: compiled.HTTP}, {Name: "raw", Protocol: compiled.TCP}}
		}, map[uint16]string{8080: "HTTP", 5432: "TCP", 9: ""}, 1},
		"undeclared allowed": {func(p *compiled.Policy) { p.UndeclaredPorts = compiled.Allow }, map[uint16]string{9: "TCP"}, 2},
		"shadow":             {func(p *compiled.Policy) { p.Mode = compiled.Shadow }, map[uint16]string{9: "TCP"}, 2},
		"deleted":            {func(p *compiled.Policy) { p.Deleted = true }, map[uint16]string{9: "TCP"}, 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := policy(i)
			tt.change(p)
			c := config(t, newShared(t))
			c.OnlyPort, c.ContainerPorts = 0, declared
			s, err := Build(p, c)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for port, want := range tt.want {
				protocol, open := s.Decide(port)
				if !open {
					protocol = ""
				}
				if string(protocol) != want {
					t.Errorf("port %d: %q; want %q", port, protocol, want)
				}
			}
			if got := len(s.httpPorts()); got != tt.wantHTTP {
				t.Errorf("%d HTTP ports; want %d", got, tt.wantHTTP)
			}
		})
	}
}
