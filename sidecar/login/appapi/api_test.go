package appapi

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/keys/jwt"
	"github.com/posterndev/postern/sidecar/keys/password"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/session/sessionmemory"
	"github.com/posterndev/postern/sidecar/login/subject"
	"github.com/posterndev/postern/sidecar/login/token"
)

const issuer = "https://shop.example.com"

var errUnavailable = errors.New("the store is unavailable")

// revocations is both a store and an index.
type revocations struct {
	entries []revocation.Entry
	err     error
}

func (r *revocations) Add(_ context.Context, entries ...revocation.Entry) (revocation.Position, error) {
	for _, e := range entries {
		if err := e.Check(time.Now()); err != nil {
			return revocation.Position{}, err
		}
	}
	r.entries = append(r.entries, entries...)
	return revocation.Position{}, r.err
}

func (r *revocations) Revoked(_ context.Context, q *revocation.Query) (bool, error) {
	return slices.ContainsFunc(r.entries, func(e revocation.Entry) bool {
		return e.Kind == revocation.Token && e.Value == q.TokenID || e.Kind == revocation.Session && e.Value == q.Session || e.Kind == revocation.Key && e.Value == q.KeyID
	}), r.err
}

// passwords returns err from every call.
type passwords struct{ err error }

func (p passwords) Hash(_ context.Context, password string) (string, error) {
	return "hash of " + password, p.err
}

func (p passwords) Verify(_ context.Context, given, encoded string) (password.Result, error) {
	match := encoded == "hash of "+given
	return password.Result{Match: match, Rehash: match}, p.err
}

// rules refuse one password for one account.
type rules struct{}

func (rules) Check(_ context.Context, password, account string) error {
	if password != "refused" || account != "ada" {
		return nil
	}
	return &httperr.Error{Status: 422, Code: "password-refused", Errors: []httperr.FieldError{{Field: "password", Code: "common", Detail: "It is common."}}}
}

// CheckPrevious refuses every password that has a previous hash.
func (rules) CheckPrevious(_ context.Context, _ string, previous []string) error {
	if len(previous) == 0 {
		return nil
	}
	return &httperr.Error{Status: 422, Code: "password-refused", Errors: []httperr.FieldError{{Field: "password", Code: "reused", Detail: "It was used before."}}}
}

type fixed []byte

func (f fixed) Read(context.Context) (secret.Value, error) { return secret.New(f), nil }

// store is a session store that can be unavailable.
type store struct {
	*sessionmemory.Store
	err error
}

func (s *store) Create(ctx context.Context, n session.New) (session.Session, []string, error) {
	if s.err != nil {
		return session.Session{}, nil, s.err
	}
	return s.Store.Create(ctx, n)
}

func (s *store) Get(ctx context.Context, id string) (session.Session, error) {
	if s.err != nil {
		return session.Session{}, s.err
	}
	return s.Store.Get(ctx, id)
}

func (s *store) List(ctx context.Context, o session.Owner) ([]session.Session, error) {
	if s.err != nil {
		return nil, s.err
	}
	return s.Store.List(ctx, o)
}

func (s *store) End(ctx context.Context, id string) (bool, error) {
	if s.err != nil {
		return false, s.err
	}
	return s.Store.End(ctx, id)
}

func (s *store) Rotate(ctx context.Context, r session.Rotation) (session.Rotated, error) {
	if s.err != nil {
		return session.Rotated{}, s.err
	}
	return s.Store.Rotate(ctx, r)
}

// corp is another issuer whose tokens are accepted.
const corp = "https://id.example.com"

// verifier verifies our own tokens, and looks up those of corp in a map.
type verifier struct {
	own  jwt.Issuer
	corp map[string]*identity.Identity
	now  func() time.Time
	err  error
}

func (v *verifier) Accepts(i string) bool { return i == issuer || i == corp }

func (v *verifier) Verify(ctx context.Context, raw string) (*identity.Identity, error) {
	if v.err != nil || v.corp[raw] != nil {
		return v.corp[raw], v.err
	}
	parsed, err := jwt.Parse(raw)
	if err != nil {
		return nil, nil
	}
	t, err := v.own.Verify(ctx, parsed, v.now())
	if err != nil {
		return nil, nil
	}
	return &identity.Identity{Issuer: t.Issuer, Subject: t.Subject, TokenID: t.ID, KeyID: t.Key.ID(), IssuedAt: t.Issued, Expires: t.Expires, Claims: t.Claims}, nil
}

type world struct {
	http.Handler
	ring         *signing.Ring
	loginService *token.LoginService
	verifier     *verifier
	config       Config
	revocations  *revocations
	events       events
	sessions     *store
	offset       time.Duration
}

func newWorld(t testing.TB, p Passwords) *world {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{revocations: &revocations{}}
	now := func() time.Time { return time.Now().Add(w.offset) }
	w.sessions = &store{Store: sessionmemory.New(sessionmemory.Config{})}
	log := slog.New(slog.DiscardHandler)
	content := fixed(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if w.ring, err = signing.NewRing(signing.Config{
		Source: signing.StoredKeys{Secrets: secret.Latest{Source: content}, Algorithm: signing.EdDSA}, Algorithm: signing.EdDSA,
		Overlap: time.Hour, Lifetime: 15 * time.Minute, Logger: log,
	}); err != nil {
		t.Fatal(err)
	}
	if err := w.ring.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	i, err := token.NewIssuer(token.IssuerConfig{Issuer: issuer, Audiences: []string{"orders"}, ClientID: "c", Lifetime: 15 * time.Minute, Claims: []string{"roles"}, Keys: w.ring})
	if err != nil {
		t.Fatal(err)
	}
	sessionManager, err := token.NewSessionManager(token.SessionManagerConfig{
		Issuer: issuer, Lifetime: 15 * time.Minute, Scope: "shop/orders", Sessions: w.sessions, Revocations: w.revocations, Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.loginService, err = token.NewLoginService(token.LoginServiceConfig{
		Issuer: i, SessionManager: sessionManager, Sessions: w.sessions, Logger: log,
		Limits: session.Limits{IdleTimeout: time.Hour, AbsoluteTimeout: 24 * time.Hour, MaxPerSubject: 2, WhenFull: session.Reject},
	})
	if err != nil {
		t.Fatal(err)
	}
	revoker, err := token.NewRevoker(token.RevokerConfig{
		Sessions: sessionManager, Revocations: w.revocations, Now: now, Issuers: []token.TrustedIssuer{
			{Issuer: issuer, Own: true, Lifetime: 15 * time.Minute, SessionLifetime: 24 * time.Hour},
			{Issuer: corp, Lifetime: time.Hour, SessionLifetime: time.Hour},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.verifier = &verifier{now: now, own: jwt.Issuer{
		Issuer: issuer, Audiences: []string{"orders"}, Algorithms: []string{"EdDSA"}, Types: []string{"at+jwt"}, Keys: w.ring,
	}}
	w.config = Config{
		LoginService: w.loginService, SessionManager: sessionManager, Verifier: w.verifier, Revoked: w.revocations, Revoker: revoker, Passwords: p, PasswordRules: rules{}, Locks: locks{w.revocations}, Stores: subject.Stores{
			Sessions: sessionManager, Revocations: w.revocations, Logins: locks{w.revocations}, Passwords: history{w.revocations}, OwnIssuer: issuer, Shared: true,
			Canonical: func(name string) string { return strings.ToLower(strings.Trim(name, "\u200b")) },
		},
		Top: someTop, Logger: log, Now: now,
		Events: event.NewStream("shop/orders", &w.events), Trail: trail{w.revocations}, TrailDenies: true,
	}
	w.Handler, err = New(w.config)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// call sends body as JSON, or no body if it is nil.
func (w *world) call(t testing.TB, method, path string, body any, change ...func(*http.Request)) (int, map[string]any) {
	t.Helper()
	text := ""
	if s, ok := body.(string); ok {
		text = s
	} else if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	r := httptest.NewRequest(method, "http://127.0.0.1:9901"+path, strings.NewReader(text))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(RequestHeader, "true")
	for _, c := range change {
		c(r)
	}
	recorder := httptest.NewRecorder()
	w.ServeHTTP(recorder, r)
	response := map[string]any{}
	_ = json.Unmarshal(recorder.Body.Bytes(), &response)
	return recorder.Code, response
}

type object = map[string]any

func TestNewNeedsItsParts(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("no error")
	}
}

func TestStrangers(t *testing.T) {
	w := newWorld(t, passwords{})
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	tests := map[string]struct {
		change func(*http.Request)
		want   int
	}{
		"the app":          {host("127.0.0.1:9901"), 200},
		"by name":          {host("LocalHost:9901"), 200},
		"without port":     {host("localhost"), 200},
		"IPv6":             {host("[::1]:9901"), 200},
		"DNS rebinding":    {host("evil.example.com:9901"), 421},
		"localhost suffix": {host("localhost.evil.example.com"), 421},
		"no host":          {host(""), 421},
		"pod address":      {host("10.0.0.5:9901"), 421},
		"browser":          {set("Origin", "http://127.0.0.1:9901"), 403},
		"null origin":      {set("Origin", "null"), 403},
		"navigation":       {set("Sec-Fetch-Dest", "document"), 403},
		"another site":     {set("Sec-Fetch-Site", "cross-site"), 403},
		"Node's fetch":     {set("Sec-Fetch-Mode", "cors"), 200},
		"a navigation":     {set("Sec-Fetch-Mode", "navigate"), 403},
		"an image":         {set("Sec-Fetch-Mode", "no-cors"), 403},
		"an empty mode":    {set("Sec-Fetch-Mode", ""), 403},
		"a page's fetch": {func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Mode", "cors")
			r.Header.Set("Origin", "http://evil.example.com")
		}, 403},
		"a referrer":       {set("Referer", "http://evil.example.com/"), 403},
		"a cookie":         {set("Cookie", "a=b"), 403},
		"Cloudflare":       {set("CF-Connecting-IP", "192.0.2.1"), 403},
		"Cloudflare's ray": {set("CF-Ray", "1"), 403},
		"a CDN":            {set("True-Client-IP", "192.0.2.1"), 403},
		"another CDN":      {set("Fastly-Client-IP", "192.0.2.1"), 403},
		"Azure":            {set("X-Azure-ClientIP", "192.0.2.1"), 403},
		"a CDN's loop":     {set("CDN-Loop", "cloudflare"), 403},
		"proxied":          {set("X-Forwarded-For", "192.0.2.1"), 403},
		"proxied, RFC":     {set("Forwarded", "for=192.0.2.1"), 403},
		"proxied, Via":     {set("Via", "1.1 proxy"), 403},
		"proxied, nginx":   {set("X-Real-IP", "192.0.2.1"), 403},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if status, _ := w.call(t, "GET", "/openapi.json", nil, tt.change); status != tt.want {
				t.Errorf("status %d; want %d", status, tt.want)
			}
		})
	}
}

// TestRequestHeader: without the header, a caller that can only make the app fetch a URL gets nothing except the operations of
// RFC 7662 and RFC 7009. openapi.json says which operations require the header.
func TestRequestHeader(t *testing.T) {
	w, d := newWorld(t, passwords{}), readDocument(t)
	plain := []string{"/v1/introspect", "/v1/revoke", "/openapi.json"}
	for _, e := range (&api{}).endpoints() {
		for _, value := range []string{"", "1"} {
			path := strings.NewReplacer("{subject}", "ada", "{id}", "x").Replace(e.path)
			status, response := w.call(t, e.method, path, nil, func(r *http.Request) { r.Header.Set(RequestHeader, value) })
			if refused := status == 403 && response["type"] == "https://postern.dev/problems/not-the-app"; refused == slices.Contains(plain, e.path) {
				t.Errorf("%s %s with %q: %d %v", e.method, e.path, value, status, response)
			}
		}
		described := slices.ContainsFunc(d.Paths[e.path][strings.ToLower(e.method)].Parameters, func(p reference) bool {
			return p.Ref == "#/components/parameters/PosternRequest"
		})
		if described == slices.Contains(plain, e.path) {
			t.Errorf("%s %s requires the header in openapi.json: %v", e.method, e.path, described)
		}
	}
}

// TestUnknown: unknown paths and methods get a problem response.
func TestUnknown(t *testing.T) {
	w := newWorld(t, passwords{})
	for name, tt := range map[string]struct {
		method, path string
		want         int
		code         string
	}{
		"path":           {"GET", "/v1/nothing", 404, "no-operation"},
		"method":         {"GET", "/v1/tokens", 405, "method-not-allowed"},
		"trailing slash": {"POST", "/v1/tokens/", 404, "no-operation"},
		"the root":       {"GET", "/", 404, "no-operation"},
	} {
		status, response := w.call(t, tt.method, tt.path, nil)
		if kind, _ := response["type"].(string); status != tt.want || !strings.HasSuffix(kind, "/"+tt.code) {
			t.Errorf("%s: %d %v", name, status, response)
		}
	}
}

func TestIssue(t *testing.T) {
	tests := map[string]struct {
		body        any
		unavailable error
		logins      int
		want        int
	}{
		"all":                {body: object{"subject": "a", "claims": object{"roles": []string{"x"}}, "device": object{"user_agent": "curl/8", "address": "192.0.2.1"}}, want: 200},
		"subject alone":      {body: object{"subject": "a"}, want: 200},
		"no subject":         {body: object{}, want: 422},
		"claims":             {body: object{"subject": "a", "claims": 1}, want: 422},
		"address":            {body: object{"subject": "a", "device": object{"address": "x"}}, want: 422},
		"unknown":            {body: object{"subject": "a", "admin": true}, want: 400},
		"not JSON":           {body: "x", want: 400},
		"lone surrogate":     {body: `{"subject":"a\ud800"}`, want: 400},
		"surrogate in claim": {body: `{"subject":"a","claims":{"roles":["\udc00"]}}`, want: 400},
		"repeated":           {body: `{"subject":"a","subject":"b"}`, want: 400},
		"too large":          {body: object{"subject": strings.Repeat("x", maxBody)}, want: 413},
		"full":               {body: object{"subject": "a"}, logins: 2, want: 409},
		"store unavailable":  {body: object{"subject": "a"}, unavailable: errUnavailable, want: 503},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, passwords{})
			for range tt.logins {
				w.login(t, "a")
			}
			w.sessions.err = tt.unavailable
			status, response := w.call(t, "POST", "/v1/tokens", tt.body)
			if status != tt.want {
				t.Fatalf("status %d, %v; want %d", status, response, tt.want)
			}
			if status == 200 && (response["access_token"] == "" || response["refresh_token"] == "" || response["expires_in"] != 900.0 || response["session_id"] == "") {
				t.Errorf("response %v", response)
			}
		})
	}
	w := newWorld(t, passwords{})
	plain := func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }
	if status, _ := w.call(t, "POST", "/v1/tokens", object{"subject": "a"}, plain); status != 415 {
		t.Errorf("text/plain: status %d", status)
	}
}

func (w *world) login(t testing.TB, subject string) object {
	t.Helper()
	status, response := w.call(t, "POST", "/v1/tokens", object{"subject": subject})
	if status != 200 {
		t.Fatalf("login: status %d", status)
	}
	return response
}

func TestIntrospect(t *testing.T) {
	tests := map[string]struct {
		// spoil makes the token of the login invalid, or returns another token.
		spoil  func(*testing.T, *world, object) any
		active bool
		want   int
	}{
		"good":          {func(_ *testing.T, _ *world, s object) any { return s["access_token"] }, true, 200},
		"refresh token": {func(_ *testing.T, _ *world, s object) any { return s["refresh_token"] }, false, 200},
		"rubbish":       {func(*testing.T, *world, object) any { return "x.y.z" }, false, 200},
		"tampered":      {func(_ *testing.T, _ *world, s object) any { return s["access_token"].(string)[1:] }, false, 200},
		"expired":       {func(_ *testing.T, w *world, s object) any { w.offset = time.Hour; return s["access_token"] }, false, 200},
		"revoked": {func(t *testing.T, w *world, s object) any {
			if status, _ := w.call(t, "POST", "/v1/revoke", object{"token": s["access_token"], "token_type_hint": "access_token"}); status != 200 {
				t.Errorf("revoke: %d", status)
			}
			return s["access_token"]
		}, false, 200},
		"session ended": {func(t *testing.T, w *world, s object) any {
			if _, err := w.sessions.End(t.Context(), s["session_id"].(string)); err != nil {
				t.Error(err)
			}
			return s["access_token"]
		}, false, 200},
		"index unavailable": {func(_ *testing.T, w *world, s object) any {
			w.revocations.err = errUnavailable
			return s["access_token"]
		}, false, 503},
		"store unavailable": {func(_ *testing.T, w *world, s object) any { w.sessions.err = errUnavailable; return s["access_token"] }, false, 503},
		"no token":          {func(*testing.T, *world, object) any { return "" }, false, 400},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, passwords{})
			presented := tt.spoil(t, w, w.login(t, "a"))
			status, response := w.call(t, "POST", "/v1/introspect", object{"token": presented})
			if status != tt.want {
				t.Fatalf("status %d, %v", status, response)
			}
			if status != 200 {
				return
			}
			if response["active"] != tt.active || !tt.active && len(response) != 1 || tt.active && (response["sub"] != "a" || response["iss"] != issuer) {
				t.Errorf("response %v", response)
			}
		})
	}
}

func TestFormParameters(t *testing.T) {
	w := newWorld(t, passwords{})
	s := w.login(t, "a")
	form := func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }
	good := url.Values{"token": {s["access_token"].(string)}, "token_type_hint": {"access_token"}}.Encode()
	if status, response := w.call(t, "POST", "/v1/introspect", good, form); status != 200 || response["active"] != true {
		t.Errorf("status %d, %v", status, response)
	}
	for name, body := range map[string]string{"twice": "token=a&token=b", "malformed": "token=%zz", "none": "x=1"} {
		if status, _ := w.call(t, "POST", "/v1/revoke", body, form); status != 400 {
			t.Errorf("%s: status %d", name, status)
		}
	}
	text := func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }
	if status, _ := w.call(t, "POST", "/v1/revoke", "token=a", text); status != 415 {
		t.Errorf("text/plain: status %d", status)
	}
	if status, _ := w.call(t, "POST", "/v1/revoke", strings.Repeat("x", maxBody+1), form); status != 413 {
		t.Errorf("too large: status %d", status)
	}
}

func TestRevoke(t *testing.T) {
	w := newWorld(t, passwords{})
	s := w.login(t, "a")
	for name, unknown := range map[string]string{"rubbish": "x", "unknown refresh": string(session.NewRefresh(session.NewID()).Token().Reveal())} {
		if status, _ := w.call(t, "POST", "/v1/revoke", object{"token": unknown}); status != 200 || len(w.revocations.entries) != 0 {
			t.Errorf("%s: status %d, %v", name, status, w.revocations.entries)
		}
	}
	w.revocations.err = errUnavailable
	if status, _ := w.call(t, "POST", "/v1/revoke", object{"token": s["access_token"]}); status != 503 {
		t.Errorf("store unavailable: status %d", status)
	}
	w.revocations.err = nil
	if status, _ := w.call(t, "POST", "/v1/revoke", object{"token": s["refresh_token"]}); status != 200 {
		t.Errorf("refresh token: status %d", status)
	}
	if _, err := w.sessions.Get(t.Context(), s["session_id"].(string)); !errors.Is(err, session.ErrEnded) {
		t.Errorf("the session continues: %v", err)
	}
	w.sessions.err = errUnavailable
	if status, _ := w.call(t, "POST", "/v1/revoke", object{"token": s["refresh_token"]}); status != 503 {
		t.Errorf("sessions unavailable: status %d", status)
	}
}
