package chain

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// TestRenewal: a browser whose access cookie is gone stays logged in on every route, at all replicas at the same time, and a later
// replay of its old refresh cookie ends the session.
func TestRenewal(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w := newWorld(t)
	policy := func() *compiled.Policy {
		return cookiePolicy(func(p *compiled.Policy) {
			onRedis(p, server.Addr)
			p.Redis.Timeout = compiled.Duration(5 * time.Second) // long enough for a busy machine
			p.Tokens.Renewal = automatic
			p.Tokens.RefreshGrace = compiled.Duration(time.Minute)
		})
	}
	replicas := []*sidecar{w.sidecar(policy()).ready(), w.sidecar(policy()).ready()}
	first := replicas[0].browser("ada")[1:]
	var mu sync.Mutex
	seen := map[string][]*http.Cookie{}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			g := replicas[i%2].send(sent{method: "GET", path: "/orders", cookies: first, host: ownHost, header: http.Header{"Sec-Fetch-Site": {"same-origin"}}})
			if g.status != 200 || len(g.cookies) != 2 || g.header.Get("Cache-Control") == "" || !strings.Contains(g.text, `"X-Auth-Subject":["ada"]`) {
				t.Errorf("%d %s %v", g.status, g.text, g.header)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			seen[g.cookies[refreshCookie].Value] = jar(g)
		})
	}
	wg.Wait()
	if len(seen) != 1 {
		t.Fatalf("%d different refresh tokens", len(seen))
	}
	for _, cookies := range seen {
		g := replicas[1].send(sent{method: "GET", path: "/auth/sessions", cookies: cookies[1:]})
		if g.status != 200 || len(g.cookies) != 2 {
			t.Errorf("sessions: %d %s", g.status, g.text)
		}
		g = replicas[0].send(sent{method: "POST", path: "/auth/logout-all", cookies: jar(g)[1:]})
		if g.status != 204 || g.cookies[accessCookie].MaxAge >= 0 || g.cookies[refreshCookie].MaxAge >= 0 {
			t.Errorf("logout-all, renewed on the way: %d %v", g.status, g.header)
		}
	}
	g := replicas[1].send(sent{method: "GET", path: "/orders", cookies: first})
	if g.status != 401 || g.code() != "session-ended" || g.cookies[refreshCookie].MaxAge >= 0 {
		t.Errorf("after the logout: %d %s %v", g.status, g.text, g.header)
	}
}

// TestRenewalReuse: without a grace, the second use of a refresh cookie ends the session for both users of it.
func TestRenewalReuse(t *testing.T) {
	w := newWorld(t)
	s := w.sidecar(cookiePolicy(func(p *compiled.Policy) { p.Tokens.Renewal, p.Tokens.RefreshGrace = automatic, 0 })).ready()
	stolen := s.browser("ada")[1:]
	g := s.send(sent{method: "GET", path: "/orders", cookies: stolen})
	if g.status != 200 {
		t.Fatalf("the owner: %d %s", g.status, g.text)
	}
	owner := jar(g)
	if g := s.send(sent{method: "GET", path: "/orders", cookies: stolen}); g.status != 401 {
		t.Errorf("the thief: %d %s", g.status, g.text)
	}
	if g := s.send(sent{method: "GET", path: "/orders", cookies: owner}); g.status != 401 {
		t.Errorf("the owner, afterwards: %d %s", g.status, g.text)
	}
}

// TestRenewalIsOptional: without the field the old behaviour stays.
func TestRenewalIsOptional(t *testing.T) {
	w := newWorld(t)
	for _, value := range []string{"", "Endpoint"} {
		s := w.sidecar(cookiePolicy(func(p *compiled.Policy) { p.Tokens.Renewal = value })).ready()
		if g := s.send(sent{method: "GET", path: "/orders", cookies: s.browser("ada")[1:]}); g.status != 401 || len(g.cookies) != 0 {
			t.Errorf("%q: %d %s %v", value, g.status, g.text, g.header)
		}
	}
}

// TestPagesAfterLogout: no cache keeps a page of the session, and the logout clears the browser's.
func TestPagesAfterLogout(t *testing.T) {
	w := newWorld(t)
	s := w.sidecar(cookiePolicy(func(p *compiled.Policy) {
		p.Headers, p.Authorization.CacheControl, p.Tokens.ClearSiteData = nil, "NoStore", "Cache"
	})).ready()
	cookies := s.browser("ada")
	if g := s.send(sent{method: "GET", path: "/orders", cookies: cookies}); g.status != 200 || g.header.Get("Cache-Control") != "no-store" {
		t.Errorf("a page: %d %v", g.status, g.header)
	}
	if g := s.send(sent{method: "GET", path: "/public/x", cookies: cookies}); g.status != 200 || g.header.Get("Cache-Control") != "" {
		t.Errorf("a public page: %d %v", g.status, g.header)
	}
	if g := s.send(sent{method: "GET", path: "/.well-known/jwks.json"}); !strings.Contains(g.header.Get("Cache-Control"), "max-age") {
		t.Errorf("the key set: %d %v", g.status, g.header)
	}
	for _, name := range []string{"first", "second"} {
		g := s.send(sent{method: "POST", path: "/auth/logout", cookies: cookies})
		if g.status != 204 || g.header.Get("Clear-Site-Data") != `"cache"` {
			t.Errorf("%s logout: %d %s %v", name, g.status, g.text, g.header)
		}
		cookies = nil
	}
}
