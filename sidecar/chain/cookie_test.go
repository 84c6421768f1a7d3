package chain

import (
	"net/http"
	"strings"
	"testing"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/login/transport"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// cookiePolicy delivers tokens as cookies, to an app that one other origin may call with credentials.
func cookiePolicy(change func(*compiled.Policy)) *compiled.Policy {
	return loginPolicy(func(p *compiled.Policy) {
		p.Tokens.Delivery = "Cookie"
		p.Tokens.TrustedOrigins = []string{"https://admin.example.com"}
		p.CORS = &compiled.CORS{AllowOrigins: []string{"https://APP.example.com:443"}, AllowMethods: []string{"GET", "POST", "DELETE"}, AllowCredentials: true}
		p.Headers = &compiled.Headers{Preset: "Strict"}
		if change != nil {
			change(p)
		}
	})
}

// The cookies of the policy shop/orders. The digest is of that name: printf shop/orders | sha256sum.
const (
	accessCookie  = transport.AccessCookie + "-644f7b8c"
	refreshCookie = transport.RefreshCookie + "-644f7b8c"
)

// browser logs in with cookies.
func (s *sidecar) browser(subject string) []*http.Cookie {
	s.world.t.Helper()
	g := s.send(sent{method: "POST", path: "/login?as=" + subject, host: ownHost, header: http.Header{"Sec-Fetch-Site": {"same-origin"}}})
	if g.status != 200 || len(g.cookies) != 2 || g.json["access_token"] != nil {
		s.world.t.Fatalf("logging in: %d %s %v", g.status, g.text, g.header)
	}
	return jar(g)
}

// TestTwoPoliciesOnOneHost: a browser sends the cookies of both apps to both. Neither replaces, deletes, uses or passes on those of the
// other, malformed or expired or whole, while it logs in, renews, refreshes and logs out.
func TestTwoPoliciesOnOneHost(t *testing.T) {
	w := newWorld(t)
	renewed := func(p *compiled.Policy) { p.Tokens.Renewal, p.Tokens.ForwardToken = "Automatic", true }
	shop := w.sidecar(cookiePolicy(renewed)).ready()
	desk := w.sidecar(cookiePolicy(func(p *compiled.Policy) { renewed(p); p.Name = "desk" })).ready()
	ada, bob := shop.browser("ada"), []*http.Cookie(nil)
	g := desk.send(sent{method: "POST", path: "/login?as=bob", host: ownHost, header: http.Header{"Sec-Fetch-Site": {"same-origin"}}, cookies: ada})
	for _, c := range g.cookies {
		if c.Name == ada[0].Name || c.Name == ada[1].Name {
			t.Errorf("a login at the other app sets %s", c)
		}
		bob = append(bob, c)
	}
	if g.status != 200 || len(bob) != 2 {
		t.Fatalf("logging in: %d %v", g.status, g.header)
	}
	broken := []*http.Cookie{{Name: ada[0].Name, Value: "x"}, {Name: ada[1].Name, Value: "y"}}
	foreign := map[string][]*http.Cookie{"whole": ada, "refresh alone": ada[1:], "malformed": broken}
	for name, foreign := range foreign {
		for path, want := range map[string]int{"/orders": 401, "/public/x": 200} {
			g := desk.send(sent{method: "GET", path: path, cookies: foreign, host: ownHost, header: http.Header{"Sec-Fetch-Site": {"same-origin"}}})
			if g.status != want || len(g.cookies) > 0 || strings.Contains(g.text, "__Host-postern") || strings.Contains(g.text, "ada") {
				t.Errorf("%s at %s alone: %d %s %v", name, path, g.status, g.text, g.header)
			}
		}
		g := desk.send(sent{method: "GET", path: "/orders", cookies: append(append([]*http.Cookie{}, foreign...), bob...), host: ownHost})
		if g.status != 200 || len(g.cookies) > 0 || !strings.Contains(g.text, `"X-Auth-Subject":["bob"]`) || strings.Contains(g.text, foreign[0].Name) {
			t.Errorf("%s beside its own: %d %s %v", name, g.status, g.text, g.header)
		}
	}
	if g := desk.send(sent{method: "POST", path: "/auth/logout", cookies: append(ada, bob...)}); g.status != 204 || g.cookies[ada[0].Name] != nil || g.cookies[ada[1].Name] != nil || len(g.cookies) != 2 {
		t.Errorf("logging out: %d %v", g.status, g.header)
	}
	if g := shop.send(sent{method: "POST", path: "/auth/refresh", cookies: append(ada, bob...)}); g.status != 204 {
		t.Errorf("the first session after the other's logout: %d %s", g.status, g.text)
	}
}

func jar(g got) []*http.Cookie {
	return []*http.Cookie{g.cookies[accessCookie], g.cookies[refreshCookie]}
}

func TestCookies(t *testing.T) {
	w := newWorld(t)
	s := w.sidecar(cookiePolicy(nil)).ready()
	cookies := s.browser("ada")
	for _, c := range cookies {
		if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode || c.MaxAge <= 0 {
			t.Errorf("cookie %s", c)
		}
	}
	g := s.send(sent{method: "GET", path: "/orders", cookies: append(cookies, &http.Cookie{Name: "theme", Value: "dark"})})
	if g.status != 200 || !strings.Contains(g.text, `"X-Auth-Subject":["ada"]`) || !strings.Contains(g.text, `"Cookie":["theme=dark"]`) {
		t.Errorf("using it: %d %s", g.status, g.text)
	}
	g = s.send(sent{method: "POST", path: "/auth/refresh", cookies: cookies})
	if g.status != 204 || len(g.cookies) != 2 || g.cookies[refreshCookie].Value == cookies[1].Value || g.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("refreshing: %d %s %v", g.status, g.text, g.header)
	}
	cookies = jar(g)
	g = s.send(sent{method: "POST", path: "/auth/logout", cookies: cookies})
	if g.status != 204 || g.cookies[accessCookie] == nil || g.cookies[accessCookie].MaxAge >= 0 || g.cookies[refreshCookie].MaxAge >= 0 {
		t.Errorf("logging out: %d %v", g.status, g.header)
	}
	redistest.Eventually(t, "the session to end", func() bool { return s.send(sent{method: "GET", path: "/orders", cookies: cookies}).status == 401 })
	if g := s.send(sent{method: "POST", path: "/auth/refresh", cookies: cookies}); g.status != 400 || g.cookies[refreshCookie].MaxAge >= 0 {
		t.Errorf("refreshing afterwards: %d %v", g.status, g.header)
	}
	if g := s.send(sent{method: "GET", path: "/public/x", cookies: cookies}); g.status != 200 || strings.Contains(g.text, "postern") {
		t.Errorf("the app received tokens: %d %s", g.status, g.text)
	}
}

// TestCrossOrigin covers what pages of other origins can do with and without the cookies of a browser.
func TestCrossOrigin(t *testing.T) {
	w := newWorld(t)
	started := w.sidecar(cookiePolicy(nil)).ready()
	from := func(origin, site string) http.Header {
		h := http.Header{}
		for name, value := range map[string]string{"Origin": origin, "Sec-Fetch-Site": site} {
			if value != "" {
				h.Set(name, value)
			}
		}
		return h
	}
	upgrade := func(h http.Header) http.Header {
		h = h.Clone()
		h.Set("Connection", "Upgrade")
		h.Set("Upgrade", "websocket")
		h.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
		h.Set("Sec-WebSocket-Version", "13")
		return h
	}
	evil, old := from("https://evil.example.com", "cross-site"), from("https://evil.example.com", "")
	tests := map[string]struct {
		method, path string
		header       http.Header
		anonymous    bool
		want         int
	}{
		"same origin":                             {"POST", "/orders", from("https://shop.example.com", "same-origin"), false, 200},
		"same origin, old browser":                {"POST", "/orders", from("https://shop.example.com", ""), false, 200},
		"not a browser":                           {"POST", "/orders", nil, false, 200},
		"the address bar":                         {"GET", "/orders", from("", "none"), false, 200},
		"a link":                                  {"GET", "/orders", evil, false, 200},
		"a form":                                  {"POST", "/orders", evil, false, 403},
		"a form, old browser":                     {"POST", "/orders", old, false, 403},
		"DELETE":                                  {"DELETE", "/orders", evil, false, 403},
		"an unknown method":                       {"QUERY", "/orders", evil, false, 403},
		"a sandboxed frame":                       {"POST", "/orders", from("null", "cross-site"), false, 403},
		"a sandboxed frame, old browser":          {"POST", "/orders", from("null", ""), false, 403},
		"another host of the site":                {"POST", "/orders", from("https://blog.example.com", "same-site"), false, 403},
		"another port":                            {"POST", "/orders", from("https://shop.example.com:8443", "same-site"), false, 403},
		"the same name without TLS":               {"POST", "/orders", from("http://shop.example.com", "cross-site"), false, 403},
		"a trusted origin":                        {"POST", "/orders", from("https://admin.example.com", "same-site"), false, 200},
		"a trusted origin without TLS":            {"POST", "/orders", from("http://admin.example.com", "same-site"), false, 403},
		"an origin that CORS allows":              {"POST", "/orders", from("https://app.example.com", "same-site"), false, 200},
		"an origin that CORS allows, old browser": {"POST", "/orders", from("https://app.example.com", ""), false, 200},
		"a WebSocket":                             {"GET", "/orders", upgrade(evil), false, 403},
		"a WebSocket, old browser":                {"GET", "/orders", upgrade(old), false, 403},
		"a WebSocket, same origin":                {"GET", "/orders", upgrade(from("https://shop.example.com", "same-origin")), false, 200},
		"without cookies, a public route":         {"POST", "/public/x", evil, true, 200},
		"a login":                                 {"POST", "/login?as=mallory", evil, true, 403},
		"a login by a sandboxed frame":            {"POST", "/login?as=mallory", from("null", "cross-site"), true, 403},
		"a login, same origin":                    {"POST", "/login?as=ada", from("https://shop.example.com", "same-origin"), true, 200},
		"a login, not a browser":                  {"POST", "/login?as=ada", nil, true, 200},
		"refresh":                                 {"POST", "/auth/refresh", evil, false, 403},
		"logout":                                  {"POST", "/auth/logout", evil, false, 403},
		"logout everywhere":                       {"POST", "/auth/logout-all", evil, false, 403},
		"logout by a link":                        {"GET", "/auth/logout", evil, false, 405},
		"refresh by a link":                       {"GET", "/auth/refresh", evil, false, 405},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := started.in(t)
			r := sent{method: tt.method, path: tt.path, header: tt.header, host: ownHost}
			if !tt.anonymous {
				r.cookies = s.browser("ada")
			}
			before := s.world.reached.Load()
			g := s.send(r)
			if g.status != tt.want || g.status == 403 && g.code() != "cross-origin" {
				t.Fatalf("%d %s; want %d", g.status, g.text, tt.want)
			}
			if g.status == 403 && s.world.reached.Load() != before {
				t.Error("the refused request reached the app")
			}
			if g.status >= 400 && g.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("no security headers on the refusal: %v", g.header)
			}
			allowed := g.header.Get("Access-Control-Allow-Origin")
			if want := tt.header.Get("Origin") == "https://app.example.com"; (allowed != "") != want {
				t.Errorf("CORS: %q", allowed)
			}
			if !tt.anonymous {
				if g := s.send(sent{method: "GET", path: "/orders", cookies: r.cookies}); g.status != 200 && tt.want == 403 {
					t.Errorf("the refused request had an effect: %d", g.status)
				}
			}
		})
	}
}

// TestTwoTokens: requests with two tokens are refused, so it is always clear which one counts.
func TestTwoTokens(t *testing.T) {
	w := newWorld(t)
	started := w.sidecar(cookiePolicy(nil)).ready()
	ada, bob := started.browser("ada"), started.browser("bob")
	access := func(c []*http.Cookie) *http.Cookie { return c[0] }
	refresh := func(c []*http.Cookie) *http.Cookie { return c[1] }
	tests := map[string]struct {
		send sent
		want int
		code string
	}{
		"cookie and bearer":           {sent{method: "GET", path: "/orders", cookies: ada, bearer: access(bob).Value}, 400, "invalid-request"},
		"cookie and bearer, public":   {sent{method: "GET", path: "/public/x", cookies: ada, bearer: access(bob).Value}, 400, "invalid-request"},
		"the same token twice":        {sent{method: "GET", path: "/orders", cookies: ada, bearer: access(ada).Value}, 400, "invalid-request"},
		"two access cookies":          {sent{method: "GET", path: "/orders", cookies: []*http.Cookie{access(ada), access(bob)}}, 400, "invalid-request"},
		"two refresh cookies":         {sent{method: "POST", path: "/auth/refresh", cookies: []*http.Cookie{refresh(ada), refresh(bob)}}, 400, "invalid-request"},
		"two refresh cookies, public": {sent{method: "GET", path: "/public/x", cookies: []*http.Cookie{refresh(ada), refresh(bob)}}, 400, "invalid-request"},
		"an empty second one":         {sent{method: "GET", path: "/orders", cookies: []*http.Cookie{access(ada), {Name: accessCookie}}}, 400, "invalid-request"},
		"only bearer":                 {sent{method: "GET", path: "/orders", bearer: access(ada).Value}, 200, ""},
		"refresh as access":           {sent{method: "GET", path: "/orders", bearer: refresh(ada).Value}, 401, "invalid-token"},
		"access as refresh":           {sent{method: "POST", path: "/auth/refresh", cookies: []*http.Cookie{{Name: refreshCookie, Value: access(ada).Value}}}, 400, ""},
		"refresh in a body":           {sent{method: "POST", path: "/auth/refresh", body: "refresh_token=" + refresh(ada).Value, header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}, 400, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := started.in(t).send(tt.send)
			if g.status != tt.want || g.code() != tt.code {
				t.Errorf("%d %s; want %d %s", g.status, g.text, tt.want, tt.code)
			}
		})
	}
}
