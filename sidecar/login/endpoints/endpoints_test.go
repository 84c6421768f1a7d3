package endpoints

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/login/logintest"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/token"
	"github.com/posterndev/postern/sidecar/login/transport"
)

// chain puts the endpoints in front of app.
func chain(t testing.TB, w *logintest.World, app http.HandlerFunc) stage.Handler {
	t.Helper()
	metadata, err := NewMetadata(MetadataConfig{
		Issuer: logintest.Issuer, Delivery: w.TokenTransport.Delivery(), Keys: w.Ring, MaxAge: 5 * time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{LoginService: w.LoginService, TokenTransport: w.TokenTransport, Metadata: metadata})
	if err != nil {
		t.Fatal(err)
	}
	return w.Chain(t, logintest.App(app), s)
}

// unreached is an app that fails the test on any request.
func unreached(t *testing.T) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the app got %s %s", r.Method, r.URL.Path) }
}

func req(method, path string) *http.Request {
	return httptest.NewRequest(method, logintest.Issuer+path, nil)
}

func TestEndpointsRefuseSettings(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	metadata, err := NewMetadata(MetadataConfig{Issuer: logintest.Issuer, Delivery: transport.Body, Keys: w.Ring, MaxAge: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]func(*Config){
		"no login service": func(c *Config) { c.LoginService = nil },
		"relative":         func(c *Config) { c.Prefix = "auth" },
		"trailing slash":   func(c *Config) { c.Prefix = "/auth/" },
		"pattern":          func(c *Config) { c.Prefix = "/auth/*" },
		"realm":            func(c *Config) { c.Realm = "ä" },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			c := Config{LoginService: w.LoginService, TokenTransport: w.TokenTransport, Metadata: metadata}
			change(&c)
			if _, err := New(c); err == nil {
				t.Error("no error")
			}
		})
	}
}

// TestPaths covers which requests the endpoints handle and which go to the app.
func TestPaths(t *testing.T) {
	tests := map[string]struct {
		method, path string
		want         int
		wantAllow    []string
	}{
		"GET refresh":                      {"GET", "/auth/refresh", 405, []string{"POST"}},
		"PUT sessions":                     {"PUT", "/auth/sessions", 405, []string{"GET", "HEAD"}},
		"GET one session":                  {"GET", "/auth/sessions/x", 405, []string{"DELETE"}},
		"POST keys":                        {"POST", "/.well-known/jwks.json", 405, []string{"GET", "HEAD"}},
		"OPTIONS":                          {"OPTIONS", "/auth/refresh", 204, []string{"POST"}},
		"trailing slash":                   {"GET", "/auth/refresh/", 405, []string{"POST"}},
		"one session and a trailing slash": {"GET", "/auth/sessions/x/", 405, []string{"DELETE"}},
		"the app's path":                   {"GET", "/auth/login", 299, nil},
		"below a session":                  {"DELETE", "/auth/sessions/x/y", 299, nil},
		"sessions and a trailing slash":    {"DELETE", "/auth/sessions/", 405, []string{"GET", "HEAD"}},
		"another prefix":                   {"POST", "/authx/refresh", 299, nil},
		"the prefix itself":                {"GET", "/auth", 299, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := logintest.New(t, logintest.Options{})
			a := logintest.Send(t, chain(t, w, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(299) }), req(tt.method, tt.path), nil)
			if a.Code != tt.want || !slices.Equal(a.Header()["Allow"], tt.wantAllow) {
				t.Errorf("status %d, Allow %v; want %d, %v", a.Code, a.Header()["Allow"], tt.want, tt.wantAllow)
			}
		})
	}
}

// TestAnonymous: endpoints that require a token return the refusal of authentication. A logout with a token that is not valid has
// nothing to end.
func TestAnonymous(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	h := chain(t, w, unreached(t))
	for _, r := range []*http.Request{
		req("POST", "/auth/logout"), req("POST", "/auth/logout-all"), req("GET", "/auth/sessions"), req("DELETE", "/auth/sessions/x"),
	} {
		a := logintest.Send(t, h, r, nil)
		if a.Code != 401 || a.Header().Get("WWW-Authenticate") != `Bearer realm="postern"` {
			t.Errorf("%s %s: status %d, %v", r.Method, r.URL.Path, a.Code, a.Header())
		}
		if r.URL.Path == "/auth/logout" {
			continue
		}
		a = logintest.Send(t, h, logintest.With(r, "Authorization", "Bearer x"), nil)
		if a.Code != 401 || !strings.Contains(a.Header().Get("WWW-Authenticate"), "invalid_token") {
			t.Errorf("%s %s with a bad token: status %d, %v", r.Method, r.URL.Path, a.Code, a.Header())
		}
	}
}

func TestSessions(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	h := chain(t, w, unreached(t))
	other, here, stranger := w.Login(t, "a"), w.Login(t, "a"), w.Login(t, "b")
	a := logintest.Send(t, h, logintest.As(here, req("GET", "/auth/sessions")), nil)
	list, _ := a.JSON["sessions"].([]any)
	if a.Code != 200 || len(list) != 2 || a.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("status %d, %s", a.Code, a.Body)
	}
	for _, v := range list {
		s := v.(map[string]any)
		if s["current"] != (s["id"] == here.Session.ID) || s["browser"] != "Chrome" || s["os"] != "Linux" || s["address"] != "192.0.2.7" || s["first_seen"] == nil {
			t.Errorf("session %v", s)
		}
	}
	for name, tt := range map[string]struct {
		id   string
		want int
	}{"another user's": {stranger.Session.ID, 404}, "unknown": {session.NewID(), 404}, "malformed id": {"x", 404}, "theirs": {other.Session.ID, 204}} {
		if a := logintest.Send(t, h, logintest.As(here, req("DELETE", "/auth/sessions/"+tt.id)), nil); a.Code != tt.want {
			t.Errorf("%s: status %d; want %d", name, a.Code, tt.want)
		}
	}
	if !w.Revocations.Revoked(other.Session.ID) || w.Revocations.Revoked(stranger.Session.ID) || w.Revocations.Revoked(here.Session.ID) {
		t.Errorf("revoked %v", w.Revocations.Entries())
	}
	if a := logintest.Send(t, h, logintest.As(here, req("DELETE", "/auth/sessions/"+here.Session.ID)), nil); a.Code != 204 || !w.Revocations.Revoked(here.Session.ID) {
		t.Errorf("the current session: status %d", a.Code)
	}
}

// TestExternalIssuers: a user sees and ends the external sessions of another issuer's tokens.
func TestExternalIssuers(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	const corp = "https://id.example.com"
	id := session.ExternalID(corp, "s1")
	n := session.New{ID: id, Owner: session.Owner{Issuer: corp, Subject: "a"}, Device: logintest.Chrome(), Limits: w.Limits}
	if _, _, err := w.Sessions.Admit(t.Context(), n, 0); err != nil {
		t.Fatal(err)
	}
	own := w.Login(t, "a") // the same subject of ours is another person
	as := func(i *request.Info) { i.Identity = &identity.Identity{Issuer: corp, Subject: "a"} }
	h := chain(t, w, unreached(t))
	if list, _ := logintest.Send(t, h, req("GET", "/auth/sessions"), as).JSON["sessions"].([]any); len(list) != 1 || list[0].(map[string]any)["id"] != id {
		t.Errorf("sessions %v", list)
	}
	if a := logintest.Send(t, h, req("DELETE", "/auth/sessions/"+own.Session.ID), as); a.Code != 404 {
		t.Errorf("ending ours: status %d", a.Code)
	}
	if a := logintest.Send(t, h, req("POST", "/auth/logout"), as); a.Code != 403 {
		t.Errorf("logout: status %d", a.Code)
	}
	if a := logintest.Send(t, h, req("POST", "/auth/logout-all"), as); a.Code != 204 || w.Revocations.Revoked(own.Session.ID) {
		t.Errorf("logout-all: status %d", a.Code)
	}
}

func TestLogout(t *testing.T) {
	tests := map[string]struct {
		delivery  transport.Delivery
		request   func(token.Tokens) *http.Request
		want      int
		wantEnded bool
	}{
		"access token": {transport.Body, func(s token.Tokens) *http.Request { return logintest.As(s, logintest.Post("/auth/logout", "")) }, 204, true},
		"refresh token": {transport.Body, func(s token.Tokens) *http.Request {
			return logintest.Post("/auth/logout", "refresh_token="+logintest.RefreshToken(s))
		}, 204, true},
		"both": {transport.Body, func(s token.Tokens) *http.Request {
			return logintest.As(s, logintest.Post("/auth/logout", "refresh_token="+logintest.RefreshToken(s)))
		}, 204, true},
		"unknown refresh token": {transport.Body, func(token.Tokens) *http.Request { return logintest.Post("/auth/logout", "refresh_token=x") }, 204, false},
		"malformed body":        {transport.Body, func(s token.Tokens) *http.Request { return logintest.As(s, logintest.Post("/auth/logout", "%zz")) }, 400, false},
		"too large a body": {transport.Body, func(s token.Tokens) *http.Request {
			return logintest.As(s, logintest.Post("/auth/logout", strings.Repeat("x", maxRefreshBody+1)))
		}, 413, false},
		"cookies": {transport.Cookie, func(s token.Tokens) *http.Request {
			return logintest.With(logintest.Post("/auth/logout", ""), "Cookie", transport.AccessCookie+"="+s.Token+"; "+transport.RefreshCookie+"="+logintest.RefreshToken(s))
		}, 204, true},
		"refresh cookie": {transport.Cookie, func(s token.Tokens) *http.Request {
			return logintest.With(logintest.Post("/auth/logout", ""), "Cookie", transport.RefreshCookie+"="+logintest.RefreshToken(s))
		}, 204, true},
		"from another origin": {transport.Cookie, func(s token.Tokens) *http.Request {
			return logintest.With(logintest.With(logintest.Post("/auth/logout", ""), "Cookie", transport.RefreshCookie+"="+logintest.RefreshToken(s)), "Sec-Fetch-Site", "cross-site")
		}, 403, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := logintest.New(t, logintest.Options{Delivery: tt.delivery})
			s := w.Login(t, "a")
			a := logintest.Send(t, chain(t, w, unreached(t)), tt.request(s), nil)
			if a.Code != tt.want || w.Revocations.Revoked(s.Session.ID) != tt.wantEnded {
				t.Fatalf("status %d, revoked %v; want %d, %v", a.Code, w.Revocations.Entries(), tt.want, tt.wantEnded)
			}
			jar := a.Cookies()
			if cleared := jar[transport.AccessCookie] != nil && jar[transport.AccessCookie].MaxAge < 0 && jar[transport.RefreshCookie] != nil && jar[transport.RefreshCookie].MaxAge < 0; cleared != (tt.delivery == transport.Cookie && tt.want == 204) {
				t.Errorf("cookies %v", a.Header()["Set-Cookie"])
			}
		})
	}
}

// TestSecondLogout: a client that is logged out already gets 204. A page of another origin cannot delete the cookies.
func TestSecondLogout(t *testing.T) {
	ended := func(w *logintest.World, s token.Tokens) {
		if _, err := w.LoginService.EndOwn(t.Context(), s.Session.ID); err != nil {
			t.Fatal(err)
		}
	}
	post := func(fields ...string) func(token.Tokens) *http.Request {
		return func(token.Tokens) *http.Request {
			r := logintest.Post("/auth/logout", "")
			for i := 0; i < len(fields); i += 2 {
				r.Header.Add(fields[i], fields[i+1])
			}
			return r
		}
	}
	tests := map[string]struct {
		delivery transport.Delivery
		request  func(token.Tokens) *http.Request
		// refusal is what earlier stages say about the access token.
		refusal *httperr.Error
		want    int
	}{
		"no cookies":                 {delivery: transport.Cookie, request: post(), want: 204},
		"no cookies, own page":       {delivery: transport.Cookie, request: post("Sec-Fetch-Site", "same-origin"), want: 204},
		"no cookies, another origin": {delivery: transport.Cookie, request: post("Sec-Fetch-Site", "cross-site"), want: 403},
		"no cookies, another, old":   {delivery: transport.Cookie, request: post("Origin", "https://evil.example.com"), want: 403},
		"malformed cookies":          {delivery: transport.Cookie, request: post("Cookie", transport.AccessCookie+"=x; "+transport.RefreshCookie+"=y"), want: 204},
		"cookies of the ended session": {delivery: transport.Cookie, request: func(s token.Tokens) *http.Request {
			return logintest.With(logintest.Post("/auth/logout", ""), "Cookie", transport.RefreshCookie+"="+logintest.RefreshToken(s))
		}, want: 204},
		"refresh token again": {request: func(s token.Tokens) *http.Request {
			return logintest.Post("/auth/logout", "refresh_token="+logintest.RefreshToken(s))
		}, want: 204},
		"access token, revoked":         {request: post(), refusal: httperr.InvalidToken("token-revoked", `"x"`, "The token was revoked"), want: 204},
		"access token, not a token":     {request: post("Authorization", "Bearer x"), want: 204},
		"access token, cannot be known": {request: post(), refusal: &httperr.Error{Status: 503, Code: "revocation-unavailable"}, want: 503},
		"nothing":                       {request: post(), want: 401},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := logintest.New(t, logintest.Options{Delivery: tt.delivery, Grace: time.Second})
			s := w.Login(t, "a")
			ended(w, s)
			a := logintest.Send(t, chain(t, w, unreached(t)), tt.request(s), func(i *request.Info) { i.AuthnErr = tt.refusal })
			if a.Code != tt.want {
				t.Fatalf("status %d, %v; want %d", a.Code, a.Err, tt.want)
			}
			jar := a.Cookies()
			if cleared := len(jar) == 2 && jar[transport.AccessCookie].MaxAge < 0 && jar[transport.RefreshCookie].MaxAge < 0; cleared != (tt.delivery == transport.Cookie && tt.want == 204) {
				t.Errorf("cookies %v", a.Header()["Set-Cookie"])
			}
		})
	}
}

// TestClearSiteData: what the browser deletes at the end of the current session, and at no other.
func TestClearSiteData(t *testing.T) {
	for c, want := range map[ClearSiteData]string{"": "", ClearNone: "", ClearCache: `"cache"`, ClearCacheAndStorage: `"cache", "storage"`, ClearAll: `"cache", "storage", "cookies"`} {
		for _, path := range []string{"POST /auth/logout", "POST /auth/logout-all", "DELETE /auth/sessions/own", "DELETE /auth/sessions/other", "POST /auth/logout again"} {
			t.Run(string(c)+" "+path, func(t *testing.T) {
				w := logintest.New(t, logintest.Options{Delivery: transport.Cookie})
				own, other := w.Login(t, "a"), w.Login(t, "a")
				metadata, err := NewMetadata(MetadataConfig{Issuer: logintest.Issuer, Prefix: DefaultPrefix, Keys: w.Ring, MaxAge: time.Minute})
				if err != nil {
					t.Fatal(err)
				}
				s, err := New(Config{LoginService: w.LoginService, TokenTransport: w.TokenTransport, Metadata: metadata, ClearSiteData: c})
				if err != nil {
					t.Fatal(err)
				}
				method, target, _ := strings.Cut(path, " ")
				target, again := strings.CutSuffix(target, " again")
				target = strings.NewReplacer("own", own.Session.ID, "other", other.Session.ID).Replace(target)
				r := httptest.NewRequest(method, logintest.Issuer+target, nil)
				if !again {
					r.Header.Set("Cookie", transport.AccessCookie+"="+own.Token)
				}
				a := logintest.Send(t, w.Chain(t, logintest.App(unreached(t)), s), r, nil)
				expected := want
				if strings.HasSuffix(path, "other") {
					expected = ""
				}
				if got := a.Header().Get("Clear-Site-Data"); a.Code != 204 || got != expected {
					t.Errorf("status %d, Clear-Site-Data %q; want %q", a.Code, got, expected)
				}
			})
		}
	}
	w := logintest.New(t, logintest.Options{})
	if _, err := New(Config{LoginService: w.LoginService, TokenTransport: w.TokenTransport, Metadata: &Metadata{}, ClearSiteData: "Everything"}); err == nil {
		t.Error("an unknown value is accepted")
	}
}

func TestLogoutAll(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	a, b, stranger := w.Login(t, "a"), w.Login(t, "a"), w.Login(t, "b")
	if got := logintest.Send(t, chain(t, w, unreached(t)), logintest.As(a, logintest.Post("/auth/logout-all", "")), nil); got.Code != 204 {
		t.Fatalf("status %d", got.Code)
	}
	if !w.Revocations.Revoked(a.Session.ID) || !w.Revocations.Revoked(b.Session.ID) || w.Revocations.Revoked(stranger.Session.ID) {
		t.Errorf("revoked %v", w.Revocations.Entries())
	}
}

// TestStoreUnavailable: each endpoint responds 503 with Retry-After.
func TestStoreUnavailable(t *testing.T) {
	tests := map[string]struct {
		request     func(token.Tokens) *http.Request
		unavailable string
	}{
		"logout": {func(s token.Tokens) *http.Request { return logintest.As(s, logintest.Post("/auth/logout", "")) }, "End"},
		"logout refresh": {func(s token.Tokens) *http.Request {
			return logintest.Post("/auth/logout", "refresh_token="+logintest.RefreshToken(s))
		}, "Rotate"},
		"logout-all": {func(s token.Tokens) *http.Request { return logintest.As(s, logintest.Post("/auth/logout-all", "")) }, "List"},
		"list":       {func(s token.Tokens) *http.Request { return logintest.As(s, req("GET", "/auth/sessions")) }, "List"},
		"end": {func(s token.Tokens) *http.Request {
			return logintest.As(s, req("DELETE", "/auth/sessions/"+s.Session.ID))
		}, "Get"},
		"refresh": {func(s token.Tokens) *http.Request {
			return logintest.Post("/auth/refresh", "refresh_token="+logintest.RefreshToken(s))
		}, "Rotate"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := logintest.New(t, logintest.Options{})
			s := w.Login(t, "a")
			w.Sessions.Fail(tt.unavailable)
			a := logintest.Send(t, chain(t, w, unreached(t)), tt.request(s), nil)
			if a.Code != 503 || a.Header().Get("Retry-After") == "" || strings.Contains(a.Body.String(), logintest.ErrUnavailable.Error()) {
				t.Errorf("status %d, %v, %s", a.Code, a.Header(), a.Body)
			}
		})
	}
	w := logintest.New(t, logintest.Options{})
	a := logintest.Send(t, chain(t, w, unreached(t)), req("GET", "/auth/sessions"), func(i *request.Info) {
		i.AuthnErr = &httperr.Error{Status: 503, Code: "keys-unavailable"}
	})
	if a.Code != 503 {
		t.Errorf("keys unavailable: status %d", a.Code)
	}
}
