package chain

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the format of the list
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/resources"
	"github.com/posterndev/postern/sidecar/stages/loginprotection"
	"github.com/posterndev/postern/sidecar/stages/upstream"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// ownIssuer is the issuer of the policy's own tokens, and ownHost the name under which browsers know the app.
const (
	ownIssuer = "https://shop.example.com"
	ownHost   = "shop.example.com"
)

// loginPolicy returns a document that issues tokens, with state in memory and a mounted key.
func loginPolicy(change func(*compiled.Policy)) *compiled.Policy {
	p := &compiled.Policy{
		SchemaVersion: 1, Namespace: "shop", Name: "orders", Revision: 1, Mode: compiled.Enforce, UndeclaredPorts: compiled.Deny,
		Authorization: compiled.Authorization{Default: compiled.RequireAuthenticated, Mode: compiled.Enforce, Rules: []compiled.AuthorizationRule{
			{Name: "public", Match: []compiled.Match{{Paths: []string{"/public/**", "/login"}}}, Require: compiled.RequireAnonymous, Mode: compiled.Enforce},
		}},
		Tokens: &compiled.Tokens{
			Issuer: ownIssuer, Audiences: []string{"orders"}, ClientID: "shop/orders", Algorithm: "ES256",
			AccessLifetime: compiled.Duration(15 * time.Minute), RefreshGrace: compiled.Duration(10 * time.Second), Claims: []string{"roles"},
			Delivery: "Body", SameSite: "Lax", SigningKey: compiled.SigningKey{Secret: &compiled.SecretRef{Name: "signing", Key: "key.pem"}},
			RotationOverlap: compiled.Duration(time.Hour), Login: []compiled.Match{{Methods: []string{"POST"}, Paths: []string{"/login"}}},
			Prefix: "/auth", Leeway: compiled.Duration(time.Second),
			ClaimsToHeaders: []compiled.ClaimToHeader{{Claim: "sub", Header: "X-Auth-Subject"}, {Claim: "roles", Header: "X-Auth-Roles"}},
		},
		Sessions: &compiled.Sessions{
			IdleTimeout: compiled.Duration(time.Hour), AbsoluteTimeout: compiled.Duration(24 * time.Hour), WhenFull: "EvictOldest", Bind: "None",
			OnFailure: compiled.Deny, Mode: compiled.Enforce,
		},
		Revocation: &compiled.Revocation{MaxStaleness: compiled.Duration(5 * time.Second), OnFailure: compiled.Deny, Mode: compiled.Enforce},
		Sidecar:    compiled.SidecarOptions{AccessLog: "None", LogLevel: "info"},
	}
	if change != nil {
		change(p)
	}
	if err := p.Validate(); err != nil {
		panic(err)
	}
	return p
}

// onRedis makes a policy keep its state in the server at addr.
func onRedis(p *compiled.Policy, addr string) {
	p.Redis = &compiled.Redis{Mode: "Standalone", Addresses: []string{addr}, Timeout: compiled.Duration(250 * time.Millisecond)}
}

// world is one app with sidecars in front of it. The sidecars share their Secrets.
type world struct {
	t       testing.TB
	secrets string
	volumes string
	app     *httptest.Server
	// reached counts the requests that reached the app.
	reached *atomic.Int64
	// log and registry are used by the sidecars started next; nil for none.
	log      *slog.Logger
	registry *prometheus.Registry
	// now and sleep are the clock of the sidecars started next, and how they delay logins; nil for real ones.
	now   func() time.Time
	sleep loginprotection.Sleep
	// http2 makes clients use HTTP/2.
	http2 bool
}

// in returns w for a subtest.
func (w *world) in(t testing.TB) *world {
	c := *w
	c.t = t
	return &c
}

// newWorld returns a world with a signing key and the app loginApp.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, secrets: t.TempDir(), volumes: t.TempDir(), reached: &atomic.Int64{}}
	w.writeKey("signing", "key.pem")
	w.app = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.reached.Add(1)
		loginApp(rw, r)
	}))
	t.Cleanup(w.app.Close)
	return w
}

// writeKey mounts a new key.
func (w *world) writeKey(name, key string) {
	w.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		w.t.Fatal(err)
	}
	w.writeSecret(name, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// writeList writes a list of breached passwords, each once in it, on the volume of a claim.
func (w *world) writeList(claim, name string, passwords ...string) {
	w.t.Helper()
	var lines []string
	for _, p := range passwords {
		lines = append(lines, fmt.Sprintf("%X:1\n", sha1.Sum([]byte(p)))) //nolint:gosec // the format of the list
	}
	slices.Sort(lines)
	file := filepath.Join(w.volumes, claim, filepath.FromSlash(name))
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(strings.Join(lines, "")), 0o600)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) writeSecret(name, key string, content []byte) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Join(w.secrets, name), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.secrets, name, key), content, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// loginApp logs in the user of the query's "as", with the query's status and claims, on every route. Its body describes the
// request.
func loginApp(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	for name, field := range map[string]string{"as": "Postern-Subject", "claims": "Postern-Claims", "trailing": "Trailer"} {
		if v := q.Get(name); v != "" {
			w.Header().Set(field, v)
		}
	}
	if q.Has("early") {
		early := w.Header().Clone()
		w.Header().Set("Postern-Subject", q.Get("early"))
		w.WriteHeader(http.StatusEarlyHints)
		clear(w.Header())
		for name, values := range early {
			w.Header()[name] = values
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if q.Get("status") == "401" {
		w.WriteHeader(http.StatusUnauthorized)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"app": r.URL.Path, "header": r.Header, "caller": strconv.QuoteToASCII(r.Header.Get("X-Auth-Subject")), "padding": strings.Repeat("x", 200)})
	if v := q.Get("trailing"); v != "" {
		w.Header().Set(v, "mallory")
	}
	if q.Has("slow") { // within its body
		_ = http.NewResponseController(w).Flush()
		time.Sleep(2500 * time.Millisecond)
		_, _ = w.Write([]byte(" "))
	}
	if q.Has("broken") { // in the middle of the body
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	if q.Has("stream") { // until the client or the sidecar ends it
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// shared returns the resources of a sidecar process.
func (w *world) shared() *resources.Resources { return w.sharedBy(resources.Config{}) }

// sharedBy is like shared, with the fields of c.
func (w *world) sharedBy(c resources.Config) *resources.Resources {
	w.t.Helper()
	c.SecretsDir, c.VolumesDir, c.Logger, c.Registerer = w.secrets, w.volumes, w.logger(), cmp.Or(w.registry, prometheus.NewRegistry())
	s, err := resources.New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(s.Close)
	return s
}

func (w *world) logger() *slog.Logger {
	if w.log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return w.log
}

// sidecar is a sidecar process that enforces a policy. apply replaces the policy.
type sidecar struct {
	world    *world
	shared   *resources.Resources
	cfg      Config
	url      string
	snapshot *atomic.Pointer[Snapshot]
}

// in returns s for a subtest.
func (s *sidecar) in(t testing.TB) *sidecar {
	c := *s
	c.world = s.world.in(t)
	return &c
}

// sidecar starts a sidecar that enforces p.
func (w *world) sidecar(p *compiled.Policy) *sidecar {
	w.t.Helper()
	return w.sidecarOf(w.shared(), p)
}

func (w *world) sidecarOf(shared *resources.Resources, p *compiled.Policy) *sidecar {
	w.t.Helper()
	log := w.logger()
	proxy, err := upstream.New(upstream.Config{Target: func(netip.AddrPort) string { return strings.TrimPrefix(w.app.URL, "http://") }, Logger: log})
	if err != nil {
		w.t.Fatal(err)
	}
	s := &sidecar{world: w, snapshot: &atomic.Pointer[Snapshot]{}, shared: shared, cfg: Config{Resources: shared, App: proxy, OnlyPort: 8080, Logger: log, Now: w.now, Sleep: w.sleep}}
	s.apply(p)
	w.t.Cleanup(func() {
		s.snapshot.Load().Close()
		proxy.Close()
	})
	s.url = "http://" + front(w.t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { s.snapshot.Load().ServeHTTP(rw, r) }))
	return s
}

// apply activates p in the same way as the server.
func (s *sidecar) apply(p *compiled.Policy) {
	s.world.t.Helper()
	next, err := Build(p, s.cfg)
	if err != nil {
		s.world.t.Fatal(err)
	}
	before := s.snapshot.Swap(next)
	next.Activate()
	if before != nil {
		before.Close()
	}
}

// ready waits until the resources of the policy are available.
func (s *sidecar) ready() *sidecar {
	s.world.t.Helper()
	redistest.Eventually(s.world.t, "the sidecar to be ready", func() bool { return s.shared.Unready() == "" })
	return s
}

// sent is a request.
type sent struct {
	method, path string
	header       http.Header
	body         string
	// bearer and cookies are from earlier responses.
	bearer  string
	cookies []*http.Cookie
	// host defaults to the host of the URL.
	host string
}

// got is a response.
type got struct {
	status  int
	header  http.Header
	trailer http.Header
	text    string
	// json is the body if it is a JSON object.
	json    map[string]any
	cookies map[string]*http.Cookie
}

func (g got) field(name string) string {
	s, _ := g.json[name].(string)
	return s
}

// code returns the problem code.
func (g got) code() string {
	_, code, _ := strings.Cut(g.field("type"), "/problems/")
	return code
}

func (s *sidecar) send(r sent) got {
	s.world.t.Helper()
	g, err := s.try(r)
	if err != nil {
		s.world.t.Fatalf("%s %s: %v", r.method, r.path, err)
	}
	return g
}

func (s *sidecar) try(r sent) (got, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, s.url+r.path, strings.NewReader(r.body))
	if err != nil {
		return got{}, err
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	if r.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+r.bearer)
	}
	for _, c := range r.cookies {
		req.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	req.Host = r.host
	resp, err := s.world.transport().RoundTrip(req)
	if err != nil {
		return got{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return got{}, err
	}
	if (resp.ProtoMajor == 2) != s.world.http2 {
		return got{}, fmt.Errorf("the response is in %s", resp.Proto)
	}
	g := got{status: resp.StatusCode, header: resp.Header, trailer: resp.Trailer, text: string(body), cookies: map[string]*http.Cookie{}}
	_ = json.Unmarshal(body, &g.json)
	for _, c := range resp.Cookies() {
		g.cookies[c.Name] = c
	}
	return g, nil
}

// Transports of clients. That for HTTP/2 sends many requests on a connection.
var (
	roundTripper  = &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	roundTripper2 = &http.Transport{DisableCompression: true, Protocols: onlyHTTP2()}
)

func (w *world) transport() *http.Transport {
	if w.http2 {
		return roundTripper2
	}
	return roundTripper
}

func onlyHTTP2() *http.Protocols {
	p := &http.Protocols{}
	p.SetUnencryptedHTTP2(true)
	return p
}

// tokens are the tokens of a client.
type tokens struct{ access, refresh string }

// login logs a user in through the app.
func (s *sidecar) login(subject string) tokens {
	s.world.t.Helper()
	g := s.send(sent{method: "POST", path: "/login?as=" + url.QueryEscape(subject)})
	if g.status != 200 || g.field("access_token") == "" || g.field("refresh_token") == "" {
		s.world.t.Fatalf("logging in: %d %s", g.status, g.text)
	}
	return tokens{g.field("access_token"), g.field("refresh_token")}
}

// use requests a route that requires a token.
func (s *sidecar) use(t tokens) got {
	s.world.t.Helper()
	return s.send(sent{method: "GET", path: "/orders", bearer: t.access})
}

// refresh posts the refresh token as a form.
func (s *sidecar) refresh(t tokens) got {
	s.world.t.Helper()
	return s.send(sent{
		method: "POST", path: "/auth/refresh", body: url.Values{"refresh_token": {t.refresh}}.Encode(),
		header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
	})
}

// loopback calls the app's API.
func (s *sidecar) loopback(method, path, body string) got {
	s.world.t.Helper()
	r := httptest.NewRequest(method, "http://127.0.0.1"+path, bytes.NewReader([]byte(body)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Postern-Request", "true")
	rec := httptest.NewRecorder()
	s.snapshot.Load().AppAPI().ServeHTTP(rec, r)
	g := got{status: rec.Code, header: rec.Header(), text: rec.Body.String()}
	_ = json.Unmarshal(rec.Body.Bytes(), &g.json)
	return g
}

// sid returns the session of an access token.
func sid(t testing.TB, access string) string {
	t.Helper()
	return claim(t, access, "sid")
}

func claim(t testing.TB, token, name string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("no token: %q", token)
	}
	payload, err := b64.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	s, _ := claims[name].(string)
	return s
}
