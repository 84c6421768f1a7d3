package token

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
	"github.com/posterndev/postern/sidecar/login/session"
)

// unreached is an app that no request should get to.
func unreached(t *testing.T) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the app got %s %s", r.Method, r.URL.Path) }
}

func req(method, path string) *http.Request { return httptest.NewRequest(method, issuer+path, nil) }

func TestEndpointsRefuseSettings(t *testing.T) {
	w := newWorld(t, options{})
	metadata, err := NewMetadata(MetadataConfig{Issuer: issuer, Delivery: Body, Keys: w.ring, MaxAge: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]func(*EndpointsConfig){
		"no login service": func(c *EndpointsConfig) { c.LoginService = nil },
		"relative":         func(c *EndpointsConfig) { c.Prefix = "auth" },
		"trailing slash":   func(c *EndpointsConfig) { c.Prefix = "/auth/" },
		"pattern":          func(c *EndpointsConfig) { c.Prefix = "/auth/*" },
		"realm":            func(c *EndpointsConfig) { c.Realm = "ä" },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			c := EndpointsConfig{LoginService: w.loginService, TokenTransport: w.tokenTransport, Metadata: metadata}
			change(&c)
			if _, err := Endpoints(c); err == nil {
				t.Error("no error")
			}
		})
	}
}

// TestPaths: what is ours, and what goes on to the app.
func TestPaths(t *testing.T) {
	tests := map[string]struct {
		method, path string
		want         int
		wantAllow    []string
	}{
		"GET refresh":        {"GET", "/auth/refresh", 405, []string{"POST"}},
		"PUT sessions":       {"PUT", "/auth/sessions", 405, []string{"GET", "HEAD"}},
		"GET one session":    {"GET", "/auth/sessions/x", 405, []string{"DELETE"}},
		"POST keys":          {"POST", "/.well-known/jwks.json", 405, []string{"GET", "HEAD"}},
		"OPTIONS":            {"OPTIONS", "/auth/refresh", 204, []string{"POST"}},
		"a slash behind":     {"GET", "/auth/refresh/", 405, []string{"POST"}},
		"one and a slash":    {"GET", "/auth/sessions/x/", 405, []string{"DELETE"}},
		"the app's own":      {"GET", "/auth/login", 299, nil},
		"below a session":    {"DELETE", "/auth/sessions/x/y", 299, nil},
		"sessions and slash": {"DELETE", "/auth/sessions/", 405, []string{"GET", "HEAD"}},
		"another prefix":     {"POST", "/authx/refresh", 299, nil},
		"the prefix itself":  {"GET", "/auth", 299, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{})
			a := send(t, w.chain(t, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(299) }), req(tt.method, tt.path), nil)
			if a.Code != tt.want || !slices.Equal(a.Header()["Allow"], tt.wantAllow) {
				t.Errorf("status %d, Allow %v; want %d, %v", a.Code, a.Header()["Allow"], tt.want, tt.wantAllow)
			}
		})
	}
}

// TestAnonymous: what needs a token says so, with what authentication found.
func TestAnonymous(t *testing.T) {
	w := newWorld(t, options{})
	h := w.chain(t, unreached(t))
	for _, r := range []*http.Request{
		req("POST", "/auth/logout"), req("POST", "/auth/logout-all"), req("GET", "/auth/sessions"), req("DELETE", "/auth/sessions/x"),
	} {
		a := send(t, h, r, nil)
		if a.Code != 401 || a.Header().Get("WWW-Authenticate") != `Bearer realm="postern"` {
			t.Errorf("%s %s: status %d, %v", r.Method, r.URL.Path, a.Code, a.Header())
		}
		a = send(t, h, with(r, "Authorization", "Bearer x"), nil)
		if a.Code != 401 || !strings.Contains(a.Header().Get("WWW-Authenticate"), "invalid_token") {
			t.Errorf("%s %s with a bad token: status %d, %v", r.Method, r.URL.Path, a.Code, a.Header())
		}
	}
}

func TestSessions(t *testing.T) {
	w := newWorld(t, options{})
	h := w.chain(t, unreached(t))
	other, here, stranger := w.login(t, "a"), w.login(t, "a"), w.login(t, "b")
	a := send(t, h, as(here, req("GET", "/auth/sessions")), nil)
	list, _ := a.body["sessions"].([]any)
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
	}{"another person's": {stranger.Session.ID, 404}, "unknown": {session.NewID(), 404}, "no id": {"x", 404}, "theirs": {other.Session.ID, 204}} {
		if a := send(t, h, as(here, req("DELETE", "/auth/sessions/"+tt.id)), nil); a.Code != tt.want {
			t.Errorf("%s: status %d; want %d", name, a.Code, tt.want)
		}
	}
	if !w.revocations.revoked(other.Session.ID) || w.revocations.revoked(stranger.Session.ID) || w.revocations.revoked(here.Session.ID) {
		t.Errorf("revoked %v", w.revocations.entries)
	}
	if a := send(t, h, as(here, req("DELETE", "/auth/sessions/"+here.Session.ID)), nil); a.Code != 204 || !w.revocations.revoked(here.Session.ID) {
		t.Errorf("the present one: status %d", a.Code)
	}
}

// TestExternalIssuers: the person sees and ends the sessions that are kept of another issuer's tokens.
func TestExternalIssuers(t *testing.T) {
	w := newWorld(t, options{})
	const corp = "https://id.example.com"
	id := session.ExternalID(corp, "s1")
	n := session.New{ID: id, Owner: session.Owner{Issuer: corp, Subject: "a"}, Device: chrome(), Limits: w.loginService.cfg.Limits}
	if _, _, err := w.sessions.Admit(t.Context(), n, 0); err != nil {
		t.Fatal(err)
	}
	own := w.login(t, "a") // the same subject of ours is another person
	as := func(i *request.Info) { i.Identity = &identity.Identity{Issuer: corp, Subject: "a"} }
	h := w.chain(t, unreached(t))
	if list, _ := send(t, h, req("GET", "/auth/sessions"), as).body["sessions"].([]any); len(list) != 1 || list[0].(map[string]any)["id"] != id {
		t.Errorf("sessions %v", list)
	}
	if a := send(t, h, req("DELETE", "/auth/sessions/"+own.Session.ID), as); a.Code != 404 {
		t.Errorf("ending ours: status %d", a.Code)
	}
	if a := send(t, h, req("POST", "/auth/logout"), as); a.Code != 403 {
		t.Errorf("logout: status %d", a.Code)
	}
	if a := send(t, h, req("POST", "/auth/logout-all"), as); a.Code != 204 || w.revocations.revoked(own.Session.ID) {
		t.Errorf("logout-all: status %d", a.Code)
	}
}

func TestLogout(t *testing.T) {
	tests := map[string]struct {
		delivery  Delivery
		request   func(Tokens) *http.Request
		want      int
		wantEnded bool
	}{
		"access token":          {Body, func(s Tokens) *http.Request { return as(s, post("/auth/logout", "")) }, 204, true},
		"refresh token":         {Body, func(s Tokens) *http.Request { return post("/auth/logout", "refresh_token="+refreshOf(s)) }, 204, true},
		"both":                  {Body, func(s Tokens) *http.Request { return as(s, post("/auth/logout", "refresh_token="+refreshOf(s))) }, 204, true},
		"unknown refresh token": {Body, func(Tokens) *http.Request { return post("/auth/logout", "refresh_token=x") }, 204, false},
		"malformed body":        {Body, func(s Tokens) *http.Request { return as(s, post("/auth/logout", "%zz")) }, 400, false},
		"too large a body": {Body, func(s Tokens) *http.Request {
			return as(s, post("/auth/logout", strings.Repeat("x", maxRefreshBody+1)))
		}, 413, false},
		"cookies": {Cookie, func(s Tokens) *http.Request {
			return with(post("/auth/logout", ""), "Cookie", AccessCookie+"="+s.Token+"; "+RefreshCookie+"="+refreshOf(s))
		}, 204, true},
		"refresh cookie": {Cookie, func(s Tokens) *http.Request {
			return with(post("/auth/logout", ""), "Cookie", RefreshCookie+"="+refreshOf(s))
		}, 204, true},
		"from another origin": {Cookie, func(s Tokens) *http.Request {
			return with(with(post("/auth/logout", ""), "Cookie", RefreshCookie+"="+refreshOf(s)), "Sec-Fetch-Site", "cross-site")
		}, 403, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{delivery: tt.delivery})
			s := w.login(t, "a")
			a := send(t, w.chain(t, unreached(t)), tt.request(s), nil)
			if a.Code != tt.want || w.revocations.revoked(s.Session.ID) != tt.wantEnded {
				t.Fatalf("status %d, revoked %v; want %d, %v", a.Code, w.revocations.entries, tt.want, tt.wantEnded)
			}
			jar := a.jar()
			if cleared := jar[AccessCookie] != nil && jar[AccessCookie].MaxAge < 0 && jar[RefreshCookie] != nil && jar[RefreshCookie].MaxAge < 0; cleared != (tt.delivery == Cookie && tt.want == 204) {
				t.Errorf("cookies %v", a.Header()["Set-Cookie"])
			}
		})
	}
}

func TestLogoutAll(t *testing.T) {
	w := newWorld(t, options{})
	a, b, stranger := w.login(t, "a"), w.login(t, "a"), w.login(t, "b")
	if got := send(t, w.chain(t, unreached(t)), as(a, post("/auth/logout-all", "")), nil); got.Code != 204 {
		t.Fatalf("status %d", got.Code)
	}
	if !w.revocations.revoked(a.Session.ID) || !w.revocations.revoked(b.Session.ID) || w.revocations.revoked(stranger.Session.ID) {
		t.Errorf("revoked %v", w.revocations.entries)
	}
}

// TestStoreAway: each endpoint answers 503, and says when to come again.
func TestStoreAway(t *testing.T) {
	tests := map[string]struct {
		request func(Tokens) *http.Request
		away    string
	}{
		"logout":         {func(s Tokens) *http.Request { return as(s, post("/auth/logout", "")) }, "End"},
		"logout refresh": {func(s Tokens) *http.Request { return post("/auth/logout", "refresh_token="+refreshOf(s)) }, "Rotate"},
		"logout-all":     {func(s Tokens) *http.Request { return as(s, post("/auth/logout-all", "")) }, "List"},
		"list":           {func(s Tokens) *http.Request { return as(s, req("GET", "/auth/sessions")) }, "List"},
		"end":            {func(s Tokens) *http.Request { return as(s, req("DELETE", "/auth/sessions/"+s.Session.ID)) }, "Get"},
		"refresh":        {func(s Tokens) *http.Request { return post("/auth/refresh", "refresh_token="+refreshOf(s)) }, "Rotate"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{})
			s := w.login(t, "a")
			w.sessions.take(tt.away)
			a := send(t, w.chain(t, unreached(t)), tt.request(s), nil)
			if a.Code != 503 || a.Header().Get("Retry-After") == "" || strings.Contains(a.Body.String(), errAway.Error()) {
				t.Errorf("status %d, %v, %s", a.Code, a.Header(), a.Body)
			}
		})
	}
	w := newWorld(t, options{})
	a := send(t, w.chain(t, unreached(t)), req("GET", "/auth/sessions"), func(i *request.Info) {
		i.AuthnErr = &httperr.Error{Status: 503, Code: "keys-unavailable"}
	})
	if a.Code != 503 {
		t.Errorf("keys away: status %d", a.Code)
	}
}
